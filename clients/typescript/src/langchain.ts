// SPDX-License-Identifier: Apache-2.0
/**
 * LangChain.js: `createAgent({ model, tools: [new PyexecTool()] })` gives the model a Python that keeps its state. With
 * `new PyexecTool({ tools: [search, mail] })` the code can call these tools: the model writes one program for many calls.
 */
import { createHash, randomUUID } from "node:crypto";

import type { CallbackManagerForToolRun } from "@langchain/core/callbacks/manager";
import type { RunnableConfig } from "@langchain/core/runnables";
import { StructuredTool, type StructuredToolInterface } from "@langchain/core/tools";
import { toJsonSchema } from "@langchain/core/utils/json_schema";

import { CODE_SCHEMA, addTool, describePolicy, describeTools } from "./adapters.js";
import { Pyexec } from "./client.js";
import { PyexecError, sentence } from "./errors.js";
import type { JsonSchema, Tool, ToolContext } from "./tools.js";
import type { Policy, Result } from "./types.js";

export interface PyexecToolOptions {
  /** The tools that the code can call as functions. They run in this process. */
  tools?: readonly StructuredToolInterface[];
  /** A client to share. Without it the tool makes its own client, and `close()` closes it. */
  client?: Pyexec;
  /** The policy of the sessions; its keys replace those of the client's policy. */
  policy?: Policy;
  /**
   * The session to use. Without it each thread of a LangGraph checkpointer (`configurable.thread_id`) has a session, and calls without a
   * thread share one session.
   */
  sessionId?: string;
  name?: string;
  description?: string;
}

/** Makes functions that a script can call, from LangChain's tools: `px.executeOnce(code, { tools: scriptTools([search]) })`. */
export function scriptTools(tools: readonly StructuredToolInterface[], config: RunnableConfig = {}): Record<string, Tool> {
  const offered: Record<string, Tool> = {};
  for (const one of tools) {
    const { $schema: _, ...parameters } = toJsonSchema(one.schema) as JsonSchema;
    addTool(offered, one.name, {
      description: one.description, parameters,
      // The tool checks its arguments itself.
      execute: (args: Record<string, unknown>, { signal }: ToolContext) => one.invoke(args, { ...config, signal }),
    });
  }
  return offered;
}

/** The artifact of the tool's message is the pyexec `Result`. */
export class PyexecTool extends StructuredTool<typeof CODE_SCHEMA, { code: string }, { code: string }> {
  override readonly name: string;
  override readonly description: string;
  override readonly schema = CODE_SCHEMA;
  override readonly responseFormat = "content_and_artifact";
  readonly #client: Pyexec;
  readonly #owned: boolean;
  readonly #policy: Policy | undefined;
  readonly #tools: readonly StructuredToolInterface[];
  readonly #sessionId: string | undefined;
  readonly #prefix = "lc-" + randomUUID().slice(0, 13);

  static override lc_name(): string {
    return "PyexecTool";
  }

  constructor(options: PyexecToolOptions = {}) {
    super();
    this.#owned = !options.client;
    this.#client = options.client ?? new Pyexec();
    this.#policy = options.policy;
    this.#tools = options.tools ?? [];
    this.#sessionId = options.sessionId;
    const whole = { ...this.#client.policy, ...options.policy };
    this.name = options.name ?? "python";
    this.description = options.description ?? describePolicy(whole) + describeTools(scriptTools(this.#tools), whole);
  }

  /** A thread's name may be any text, but only a few characters are allowed in a session's id. */
  #sessionOf(config: RunnableConfig | undefined): string {
    if (this.#sessionId !== undefined) return this.#sessionId;
    const thread: unknown = config?.configurable?.["thread_id"];
    return thread === undefined || thread === null ? this.#prefix
      : `${this.#prefix}-${createHash("sha256").update(String(thread)).digest("hex").slice(0, 32)}`;
  }

  /** @internal */
  protected override async _call({ code }: { code: string }, manager?: CallbackManagerForToolRun, config?: RunnableConfig): Promise<[string, Result | null]> {
    const session = this.#client.session(this.#sessionOf(config), this.#policy ? { policy: this.#policy } : {});
    const { signal } = config ?? {};
    // With the model's call in its config a tool would return a message, and not its value.
    const { toolCall: _, ...rest } = (config ?? {}) as RunnableConfig & { toolCall?: unknown };
    const own = { ...rest, ...(manager ? { callbacks: manager.getChild() } : {}) };
    try {
      const result = await session.execute(code, { tools: scriptTools(this.#tools, own), signal });
      return [result.explain() || "(no output)", result];
    } catch (failure) {
      if (failure instanceof PyexecError) return [sentence(failure), null];       // the model reads it
      throw failure;
    }
  }

  /** Closes the client if the tool made it. */
  async close(): Promise<void> {
    if (this.#owned) await this.#client.close();
  }
}

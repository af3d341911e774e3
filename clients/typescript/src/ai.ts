// SPDX-License-Identifier: Apache-2.0
/**
 * Vercel AI SDK (`ai` 6 and 7): `generateText({ model, tools: { python: await pythonTool() } })` gives the model a Python that keeps its
 * state. With `pythonTool({ tools })` the code can call the tools of a ToolSet: the model writes one program for many calls.
 */
import { asSchema, jsonSchema, tool as aiTool, type Tool as AiTool, type ToolSet } from "ai";

import { CODE_SCHEMA, addTool, describePolicy, describeTools, ensureApproved } from "./adapters.js";
import { Pyexec } from "./client.js";
import { PyexecError, sentence } from "./errors.js";
import { ToolError, type Approve, type JsonSchema, type Tool, type ToolContext } from "./tools.js";
import type { Display, Policy, SessionInfo, Status } from "./types.js";

export interface PythonToolOptions {
  /** The tools that the code can call as functions. They run in this process. Each needs `execute`. */
  tools?: ToolSet;
  /** A client to share. Without it the tool makes its own client, and `close()` closes it. */
  client?: Pyexec;
  /** The policy of the session; its keys replace those of the client's policy. */
  policy?: Policy;
  /** The session to use, for example the id of a chat. Without it each tool object has its own session. */
  sessionId?: string;
  /** Decides about the calls of tools with `needsApproval`. Without it the code can't call them. */
  approve?: Approve;
}

/** What the tool returns to your program. The model gets `text`. */
export interface PythonOutput {
  status: Status;
  /** `Result.explain()`. */
  text: string;
  display: Display[];
  session: SessionInfo | null;
}

export type PythonTool = AiTool<{ code: string }, PythonOutput> & { close(): Promise<void> };

/** What a tool's `execute` gets besides its arguments, in all versions of the SDK. */
interface Options {
  readonly toolCallId: string;
  readonly abortSignal?: AbortSignal | undefined;
}

type Execute = (args: unknown, options: Options) => unknown;

/** Makes functions that a script can call, from a ToolSet: `px.executeOnce(code, { tools: await scriptTools(tools) })`. */
export async function scriptTools(tools: ToolSet, approve?: Approve, options: Partial<Options> = {}): Promise<Record<string, Tool>> {
  const offered: Record<string, Tool> = {};
  for (const [name, one] of Object.entries(tools)) {
    if (typeof one.execute !== "function") throw new TypeError(`tools: '${name}' has no function \`execute\`, so code can't call it`);
    const schema = asSchema(one.inputSchema);
    const { $schema: _, ...parameters } = (await schema.jsonSchema) as JsonSchema;
    const description: unknown = one.description;
    addTool(offered, name, {
      description: typeof description === "string" ? description : undefined, parameters,
      execute: async (args: Record<string, unknown>, context: ToolContext) => {
        const input = await checked(schema, args);
        const own = { messages: [], ...options, toolCallId: `${options.toolCallId ?? "pyexec"}-${context.callId}`, abortSignal: context.signal };
        const needs = one.needsApproval as boolean | ((args: unknown, options: Options) => boolean | PromiseLike<boolean>) | undefined;
        if (typeof needs === "function" ? await needs(input, own) : needs) await ensureApproved(approve, name, args, context);
        return last(await (one.execute as Execute)(input, own));
      },
    });
  }
  return offered;
}

/** A tool may yield preliminary results; the last one counts. */
async function last(value: unknown): Promise<unknown> {
  if (typeof value !== "object" || value === null || !(Symbol.asyncIterator in value)) return value;
  let found: unknown;
  for await (const one of value as AsyncIterable<unknown>) found = one;
  return found;
}

async function checked(schema: ReturnType<typeof asSchema>, args: unknown): Promise<unknown> {
  const found = await schema.validate?.(args);
  if (!found) return args;
  if (found.success) return found.value;
  const issues = (found.error as { issues?: Array<{ message: string; path?: unknown[] }> }).issues ??
    (found.error.cause as { issues?: Array<{ message: string; path?: unknown[] }> } | undefined)?.issues;
  throw new ToolError(issues?.map((issue) => `${issue.path?.join(".") || "the arguments"}: ${issue.message}`).join("; ") ?? found.error.message);
}

/** Makes the tool. It is a promise because the schemas of `tools` may be. */
export async function pythonTool(options: PythonToolOptions = {}): Promise<PythonTool> {
  const { tools = {}, client = new Pyexec(), policy, sessionId, approve } = options;
  const session = client.session(sessionId, { policy });
  const whole = { ...client.policy, ...policy };
  const made = aiTool({
    description: describePolicy(whole) + describeTools(await scriptTools(tools), whole),
    inputSchema: jsonSchema<{ code: string }>({ ...CODE_SCHEMA, required: [...CODE_SCHEMA.required] }, {
      validate: (value) => typeof (value as { code?: unknown } | null)?.code === "string"
        ? { success: true, value: value as { code: string } } : { success: false, error: new TypeError("code must be a text") } }),
    execute: async ({ code }: { code: string }, own: Options): Promise<PythonOutput> => {
      try {
        const result = await session.execute(code, {
          tools: await scriptTools(tools, approve, own), signal: own.abortSignal });
        return { status: result.status, text: result.explain() || "(no output)", display: result.display, session: result.session };
      } catch (failure) {
        // The model reads the message, and needs the hint too.
        throw failure instanceof PyexecError ? new Error(sentence(failure), { cause: failure }) : failure;
      }
    },
    toModelOutput: ({ output }: { output: PythonOutput }) => ({ type: "text" as const, value: output.text }),
  });
  const close = async (): Promise<void> => {
    await (options.client ? session.close() : client.close());
  };
  return Object.assign(made, { close }) as unknown as PythonTool;
}

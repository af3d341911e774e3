// SPDX-License-Identifier: Apache-2.0
/**
 * MCP TypeScript SDK (`@modelcontextprotocol/sdk` 1, `@modelcontextprotocol/server` and `client` 2).
 *
 * `registerPython(server)` gives your own MCP server a tool that runs Python. `mcpTools({ github: client })` makes the tools of other MCP
 * servers functions of the code: one program for many calls. (`pyexec mcp` is an MCP server without any code of yours: docs/mcp.md.)
 */
import { randomUUID } from "node:crypto";

import { z } from "zod";

import { addTool, describePolicy, describeTools } from "./adapters.js";
import { Pyexec } from "./client.js";
import { PyexecError, sentence } from "./errors.js";
import { ToolError, jsonSchemaOf, type Approve, type JsonSchema, type Tool, type ToolContext, type Tools } from "./tools.js";
import type { Policy, Result } from "./types.js";

/** What is used of a client of either SDK. */
export interface McpClient {
  listTools(params?: { cursor?: string }): Promise<{ tools: Array<{ name: string; description?: string | undefined; inputSchema: object; outputSchema?: object | undefined }>;
    nextCursor?: string | undefined }>;
  // The other parameters of the two SDKs differ.
  callTool(params: { name: string; arguments?: Record<string, unknown> }, ...rest: any[]): Promise<unknown>;
}

/** What is used of an McpServer of either SDK. */
export interface McpServer {
  registerTool(name: string, config: any, callback: any): unknown;
}

interface CallResult {
  readonly content?: ReadonlyArray<{ readonly type: string; readonly text?: string }>;
  readonly structuredContent?: unknown;
  readonly isError?: boolean;
}

/**
 * Makes functions that a script can call, from the tools of MCP servers. With several servers a function is called SERVER_TOOL. A function returns the
 * `structuredContent`, or the text, or the list of content. A result with `isError` is a ToolError with the text.
 */
export async function mcpTools(servers: McpClient | Readonly<Record<string, McpClient>>): Promise<Record<string, Tool>> {
  const offered: Record<string, Tool> = {};
  const one = typeof (servers as McpClient).callTool === "function";
  for (const [server, client] of one ? [["", servers as McpClient] as const] : Object.entries(servers as Record<string, McpClient>)) {
    for (let cursor: string | undefined, first = true; first || cursor !== undefined; first = false) {
      const page = await client.listTools(cursor === undefined ? undefined : { cursor });
      for (const { name, description, inputSchema, outputSchema } of page.tools) {
        const { $schema: _, ...parameters } = inputSchema as JsonSchema;
        addTool(offered, server ? `${server}_${name}` : name, {
          description, parameters, returns: outputSchema as JsonSchema | undefined,
          execute: async (args: Record<string, unknown>, { signal }: ToolContext) => valueOf(await call(client, name, args, signal)),
        });
      }
      cursor = page.nextCursor;
    }
  }
  return offered;
}

/** The second parameter is the schema of the result in version 1, and the options in version 2. */
function call(client: McpClient, name: string, args: Record<string, unknown>, signal: AbortSignal): Promise<unknown> {
  const params = { name, arguments: args };
  return "getProtocolEra" in client ? client.callTool(params, { signal }) : client.callTool(params, undefined, { signal });
}

function valueOf(answer: unknown): unknown {
  const { content = [], structuredContent, isError } = answer as CallResult;
  const texts = content.filter((one) => one.type === "text").map((one) => one.text ?? "");
  if (isError) throw new ToolError(texts.join("\n") || "the tool failed");
  if (structuredContent !== undefined) return structuredContent;
  return texts.length === content.length ? texts.join("\n") : content;
}

export interface RegisterPythonOptions {
  /** The name of the tool. Default: "python". */
  name?: string;
  /** Functions that the code can call. They run in this process. */
  tools?: Tools;
  /** A client to share. Without it the tool makes its own client, and `close()` closes it. */
  client?: Pyexec;
  /** The policy of the sessions; its keys replace those of the client's policy. */
  policy?: Policy;
  /** The session to use. Without it each MCP session has one, and calls without an MCP session share one. */
  sessionId?: string;
  /** Decides about the calls of tools with `approval: true`. */
  approve?: Approve;
}

/** The parts that both SDKs give a callback, in different places. */
interface Extra {
  readonly sessionId?: string;
  readonly signal?: AbortSignal;
  readonly mcpReq?: { readonly signal?: AbortSignal };
}

/** Adds a tool that runs Python to an MCP server. */
export function registerPython(server: McpServer, options: RegisterPythonOptions = {}): { close(): Promise<void> } {
  const { name = "python", tools = {}, client = new Pyexec(), policy, approve } = options;
  const prefix = "mcp-" + randomUUID().slice(0, 13);
  const whole = { ...client.policy, ...policy };
  const shown = Object.fromEntries(Object.entries(tools).map(([key, given]) => {
    const one: Tool = typeof given === "function" ? { execute: given } : given;
    return [key, { ...one, parameters: one.parameters && jsonSchemaOf(one.parameters, key), returns: one.returns && jsonSchemaOf(one.returns, key) }];
  }));
  const sessionOf = ({ sessionId }: Extra): string =>
    options.sessionId ?? (sessionId === undefined ? prefix : `${prefix}-${sessionId.replace(/[^A-Za-z0-9._:-]/g, "_")}`.slice(0, 128));
  server.registerTool(name, {
    description: describePolicy(whole) + describeTools(shown, whole),
    inputSchema: z.object({ code: z.string().describe("Python code. Its output and the value of its last expression are returned.") }),
  }, async ({ code }: { code: string }, extra: Extra) => {
    const signal = extra.signal ?? extra.mcpReq?.signal;
    try {
      const result = await client.session(sessionOf(extra), { policy }).execute(code, {
        tools, approve, signal });
      return { content: contentOf(result), isError: !result.ok };
    } catch (failure) {
      if (failure instanceof PyexecError) return { content: [{ type: "text", text: sentence(failure) }], isError: true };
      throw failure;
    }
  });
  return { close: async () => { if (!options.client) await client.close(); } };
}

function contentOf(result: Result): object[] {
  const images = result.display.flatMap(({ data }) => {
    const type = ["image/png", "image/jpeg"].find((one) => typeof data[one] === "string");
    return type === undefined ? [] : [{ type: "image", data: data[type], mimeType: type }];
  });
  return [{ type: "text", text: result.explain() || "(no output)" }, ...images];
}

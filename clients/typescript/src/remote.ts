// SPDX-License-Identifier: Apache-2.0
/** Servers that are somewhere else: what the transports over HTTP (http.ts) and NATS (nats.ts) have in common. */
import { CallNotFoundError, ClosedError, ConnectionLostError, InvalidRequestError, errorFrom, type PyexecError } from "./errors.js";
import { encode } from "./json.js";
import { noSuchTool, quiet, type Answer, type Handlers, type Params, type Pending, type Transport } from "./transport.js";
import { displayFrom, type ProgramInfo, type RunEvent } from "./types.js";

export const CONNECT_MS = 10_000;
export const UNKNOWN = "Whether the code ran is not known.";
export const NEVER = "The code never started.";

interface Route {
  readonly verb: string;
  /** A parameter that it names is not in the body. */
  readonly path: string;
  /** The other parameters are sent as JSON. */
  readonly json?: true;
  /** The answer is a stream of events. */
  readonly events?: true;
}

const ROUTES: Readonly<Record<string, Route>> = {
  execute_once: { verb: "POST", path: "/v1/execute", json: true },
  execute: { verb: "POST", path: "/v1/sessions/{session_id}/execute", json: true },
  create_session: { verb: "POST", path: "/v1/sessions", json: true },
  interrupt: { verb: "POST", path: "/v1/sessions/{session_id}/interrupt" },
  fork_session: { verb: "POST", path: "/v1/sessions/{session_id}/fork", json: true },
  undo: { verb: "POST", path: "/v1/sessions/{session_id}/undo", json: true },
  reset_session: { verb: "POST", path: "/v1/sessions/{session_id}/reset" },
  close_session: { verb: "DELETE", path: "/v1/sessions/{session_id}" },
  list_sessions: { verb: "GET", path: "/v1/sessions" },
  list_environments: { verb: "GET", path: "/v1/environments" },
  list_files: { verb: "GET", path: "/v1/sessions/{session_id}/files" },
  read_file: { verb: "GET", path: "/v1/sessions/{session_id}/files/{path}" },
  write_file: { verb: "PUT", path: "/v1/sessions/{session_id}/files/{path}" },
  delete_file: { verb: "DELETE", path: "/v1/sessions/{session_id}/files/{path}" },
  answer: { verb: "POST", path: "/v1/calls/{call_id}", json: true },
  list_executions: { verb: "GET", path: "/v1/executions" },
  get_execution: { verb: "GET", path: "/v1/executions/{execution_id}?wait_ms={wait_ms}" },
  follow_execution: { verb: "GET", path: "/v1/executions/{execution_id}", events: true },
  cancel_execution: { verb: "DELETE", path: "/v1/executions/{execution_id}" },
  ping: { verb: "GET", path: "/healthz" },
};

/** A request of HTTP. */
export interface RemoteRequest {
  /** The method of JSON-RPC. */
  readonly method: string;
  readonly params: Params;
  /** The key of the request, which is not in its content. */
  readonly key: string | undefined;
  readonly verb: string;
  readonly path: string;
  readonly content: Uint8Array | undefined;
  readonly headers: Readonly<Record<string, string>>;
  /** The caller wants a stream of events. */
  readonly events: boolean;
}

/** What HTTP would answer; the end of a stream of events too. An error of a stream has its problem as the body. */
export interface Reply {
  readonly status: number;
  readonly header: (name: string) => string;
  readonly body: Buffer;
}

/** Sends the answer to a tool call. */
export type Post = (callId: string, answer: Answer) => Promise<unknown>;

/** Gets an event of a stream: its name, data and id, and how to answer it if it is a tool call. */
export type Take = (name: string, data: string, id: string, post: Post) => void;

/** Encodes a name as part of a URL. Refuses '.', '..' and empty parts, because in a URL they would lead to another path. */
function segments(text: string, many: boolean): string {
  const parts = many ? text.split("/") : [text];
  if (parts.some((part) => part === "" || part === "." || part === "..")) {
    throw new InvalidRequestError(`'${text}': outside sandbox, or not a name`, {
      hint: many ? "Give a relative path without '.', '..' and empty parts." : "Give an id of A-Z a-z 0-9 . _ : -, not '.' or '..'." });
  }
  try {
    return parts.map(encodeURIComponent).join("/");
  } catch (failure) {
    throw new InvalidRequestError("the name has half of a character (a lone surrogate)", { hint: "Give a name that is valid Unicode.", cause: failure });
  }
}

/** Takes the parameters that the path names out of `rest`. */
function fillPath(path: string, rest: Record<string, unknown>): string {
  return path.replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = String(rest[name] ?? "");
    delete rest[name];
    return segments(value, name === "path");
  });
}

function requestOf(method: string, params: Params, handlers: Handlers): RemoteRequest {
  const route = ROUTES[method]!;
  const { key, ...rest } = params as Record<string, unknown> & { key?: string };
  if (method === "answer") delete rest["execution_id"];         // it is only for NATS, where it names the node
  const path = fillPath(route.path, rest);
  if (method === "create_session") {
    rest["id"] = rest["session_id"];
    delete rest["session_id"];
  }
  return {
    method, params, path, key, verb: route.verb,
    content: route.json ? encode(rest) : (rest["content"] as Uint8Array | undefined),
    headers: {
      ...(route.json ? { "Content-Type": "application/json" } : {}),
      ...(rest["after"] ? { "Last-Event-ID": String(rest["after"]) } : {}),
    },
    events: route.events ?? !!(handlers.onEvent || handlers.onCall),
  };
}

export function problem(reply: Reply): PyexecError {
  const wait = reply.header("Retry-After");
  try {
    const data = JSON.parse(reply.body.toString("utf8")) as Record<string, unknown>;
    if (typeof data["code"] === "string") return errorFrom(data, /^\d+$/.test(wait) ? Number(wait) * 1000 : undefined);
  } catch {
    // not JSON
  }
  // The answer of a proxy. The code may run behind it, so `retryAfterMs` is not set.
  return errorFrom({ code: "internal", message: `HTTP ${reply.status}: ${reply.body.toString("utf8", 0, 200)}` });
}

function parseObject(text: string): Record<string, unknown> {
  const value: unknown = JSON.parse(text);
  if (typeof value !== "object" || value === null) throw new TypeError("it is not a JSON object");
  return value as Record<string, unknown>;
}

function eventFrom(name: string, data: Record<string, unknown>): RunEvent | undefined {
  if (name === "stdout" || name === "stderr") return { type: "output", stream: name, text: String(data["text"]), seq: Number(data["seq"] ?? 0) };
  if (name === "display") return { type: "display", display: displayFrom(data["display"] ?? data) };
  if (name === "dropped") return { type: "dropped", events: Number(data["events"] ?? 0) };
  return undefined;
}

export abstract class RemoteTransport implements Transport {
  readonly detaches = true;
  readonly #calls = new Set<AbortController>();
  #closed = false;

  /** Sends a request, and returns its answer. `take` gets the events that come before it. An abort ends the run, and throws the signal's reason. */
  protected abstract exchange(request: RemoteRequest, take: Take, signal: AbortSignal): Promise<Reply>;

  /** Closes the connections. */
  protected abstract disconnect(): Promise<void>;

  async start(): Promise<ProgramInfo> {
    await this.call("ping", {}).answer;
    return {};
  }

  call(method: string, params: Params, handlers: Handlers = {}): Pending {
    const ending = new AbortController();
    const run = async (): Promise<unknown> => {
      if (this.#closed) throw new ClosedError("the client is closed", { hint: "Connect again." });
      this.#calls.add(ending);
      const { signal } = ending;
      const aborted = new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true }));
      try {
        return await Promise.race([this.#request(method, params, handlers, signal), quiet(aborted)]);
      } finally {
        this.#calls.delete(ending);
      }
    };
    return { answer: quiet(run()), cancel: () => ending.abort(new ConnectionLostError("the call was cancelled", { hint: UNKNOWN })) };
  }

  async #request(method: string, params: Params, handlers: Handlers, signal: AbortSignal): Promise<unknown> {
    const sessionId = (params["session_id"] ?? null) as string | null;
    const take: Take = (name, text, id, post) => {
      const data = parseObject(text);
      if (id) handlers.onId?.(id);
      if (name === "tool_call" || name === "tool_approval") {
        this.#takeCall(name === "tool_approval", data, sessionId, handlers, post);
        return;
      }
      const event = eventFrom(name, data);
      if (event) handlers.onEvent?.(event);
    };
    const request = requestOf(method, params, handlers);
    try {
      const reply = await this.exchange(request, take, signal);
      if (reply.status >= 400) throw problem(reply);
      if (method === "read_file") return new Uint8Array(reply.body);
      return reply.header("Content-Type").startsWith("application/json") ? parseObject(reply.body.toString("utf8")) : {};
    } catch (failure) {
      if (!(failure instanceof SyntaxError || failure instanceof TypeError || failure instanceof RangeError)) throw failure;
      throw new ConnectionLostError(`an answer that can't be read: ${failure.message}`, {
        hint: `Check that client and server have the same version. ${UNKNOWN}`, cause: failure });
    }
  }

  #takeCall(approval: boolean, data: Record<string, unknown>, sessionId: string | null, handlers: Handlers, post: Post): void {
    const id = String(data["call_id"]);
    const answer = (given: Answer): void => this.#answer(id, given, post);
    if (!handlers.onCall) {
      answer(noSuchTool(approval));
      return;
    }
    handlers.onCall({
      id, approval, name: String(data["name"]), arguments: (data["arguments"] ?? {}) as Record<string, unknown>, sessionId, answer });
  }

  /** Sends an answer. If the server refuses it, the script gets an error that says why. */
  #answer(id: string, answer: Answer, post: Post): void {
    encode({ ...answer });      // what can't be sent throws here
    void post(id, answer).catch((failure: PyexecError) => {
      if ("result" in answer && !(failure instanceof CallNotFoundError) && !this.#closed)
        this.#answer(id, { error: { message: `the answer: ${failure.message}` } }, post);
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const call of this.#calls) call.abort(new ClosedError("the client was closed during the call", { hint: UNKNOWN }));
    await this.disconnect();
  }
}

// SPDX-License-Identifier: Apache-2.0
/** A running `pyexec serve`, over its UNIX socket or TCP. Closing the connection of a call cancels its run. */
import * as http from "node:http";
import * as https from "node:https";

import { CallNotFoundError, ClosedError, ConnectionLostError, InvalidRequestError, PyexecError, errorFrom } from "./errors.js";
import { encode } from "./json.js";
import { serverEvents } from "./sse.js";
import { noSuchTool, quiet, type Answer, type Handlers, type Params, type Pending, type Transport } from "./transport.js";
import { displayFrom, type ProgramInfo, type RunEvent } from "./types.js";

const CONNECT_MS = 10_000;
const IDLE_MS = 4_000;      // shorter than any server's, so that no request is sent on a connection that the server is closing

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

function problem(response: http.IncomingMessage, body: Buffer): PyexecError {
  const wait = response.headers["retry-after"] ?? "";
  const retryAfterMs = /^\d+$/.test(wait) ? Number(wait) * 1000 : undefined;
  try {
    const data = JSON.parse(body.toString("utf8")) as Record<string, unknown>;
    if (typeof data["code"] === "string") return errorFrom(data, retryAfterMs);
  } catch {
    // not a problem document of pyexec, but for example a page of a proxy
  }
  return errorFrom({ code: "internal", message: `HTTP ${response.statusCode}: ${body.toString("utf8", 0, 200)}` }, retryAfterMs);
}

async function bodyOf(response: http.IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of response) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

export class HttpTransport implements Transport {
  readonly detaches = true;
  readonly #url: string;
  readonly #base: URL;
  readonly #socketPath: string | undefined;
  readonly #agent: http.Agent;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #calls = new Set<AbortController>();
  #closed = false;

  constructor(url: string, token?: string) {
    if (!/^(unix:.|https?:\/\/.)/.test(url)) throw new TypeError(`url: "unix:/PATH", "http://HOST:PORT" or "https://HOST", not ${JSON.stringify(url)}`);
    this.#url = url;
    this.#socketPath = url.startsWith("unix:") ? url.slice("unix:".length) : undefined;
    this.#base = new URL(this.#socketPath ? "http://localhost" : url);
    const options = { keepAlive: true, maxFreeSockets: 20, timeout: IDLE_MS };
    this.#agent = this.#base.protocol === "https:" ? new https.Agent(options) : new http.Agent(options);
    this.#headers = token ? { Authorization: "Bearer " + token } : {};
  }

  async start(): Promise<ProgramInfo> {
    await this.call("ping", {}).answer;
    return {};
  }

  call(method: string, params: Params, handlers: Handlers = {}): Pending {
    const ending = new AbortController();
    const run = async (): Promise<unknown> => {
      if (this.#closed) throw new ClosedError("the client is closed", { hint: "Connect again." });
      this.#calls.add(ending);
      try {
        return await this.#request(method, params, handlers, ending.signal);
      } finally {
        this.#calls.delete(ending);
      }
    };
    return { answer: quiet(run()), cancel: () => ending.abort() };
  }

  async #request(method: string, params: Params, handlers: Handlers, signal: AbortSignal): Promise<unknown> {
    const route = ROUTES[method]!;
    const rest: Record<string, unknown> = { ...params };
    const path = fillPath(route.path, rest);
    if (method === "create_session") {
      rest["id"] = rest["session_id"];
      delete rest["session_id"];
    }
    const content = route.json ? encode(rest) : (rest["content"] as Uint8Array | undefined);
    const events = route.events ?? !!(handlers.onEvent || handlers.onCall);
    const response = await this.#send(route.verb, path, content, {
      ...(route.json ? { "Content-Type": "application/json" } : {}),
      ...(events ? { Accept: "text/event-stream" } : {}),
      ...(rest["after"] ? { "Last-Event-ID": String(rest["after"]) } : {}),
    }, signal);
    try {
      if (response.statusCode! >= 400) throw problem(response, await bodyOf(response));
      if (events) return await this.#events(response, (params["session_id"] ?? null) as string | null, handlers);
      const body = await bodyOf(response);
      if (method === "read_file") return new Uint8Array(body);
      return (response.headers["content-type"] ?? "").startsWith("application/json") ? JSON.parse(body.toString("utf8")) : {};
    } catch (failure) {
      throw this.#explain(failure, true);
    } finally {
      if (!response.complete) response.destroy();
    }
  }

  #send(verb: string, path: string, content: Uint8Array | undefined, headers: Record<string, string>, signal: AbortSignal): Promise<http.IncomingMessage> {
    const length: Record<string, string> = content || verb === "POST" || verb === "PUT" ? { "Content-Length": String(content?.length ?? 0) } : {};
    return new Promise((resolve, reject) => {
      let connected = false;
      const request = (this.#base.protocol === "https:" ? https : http).request({
        method: verb, agent: this.#agent, signal, path: this.#base.pathname.replace(/\/$/, "") + path,
        headers: { ...this.#headers, ...headers, ...length },
        ...(this.#socketPath ? { socketPath: this.#socketPath } : { hostname: this.#base.hostname.replace(/^\[|\]$/g, ""), port: this.#base.port }),
      });
      const timer = setTimeout(() => request.destroy(new Error(`no connection after ${CONNECT_MS / 1000} s`)), CONNECT_MS);
      const found = (): void => {
        connected = true;
        clearTimeout(timer);
      };
      request.on("socket", (socket) => {
        if (request.reusedSocket) found();
        else socket.once(this.#base.protocol === "https:" ? "secureConnect" : "connect", found);
      });
      request.on("response", resolve);
      request.on("close", () => clearTimeout(timer));
      request.on("error", (failure) => reject(this.#explain(failure, connected)));
      request.end(content);
    });
  }

  #explain(failure: unknown, connected: boolean): unknown {
    if (failure instanceof PyexecError) return failure;
    if (this.#closed) return new ClosedError("the client was closed during the call", { hint: "Whether its code ran is not known.", cause: failure });
    const told = failure instanceof Error ? failure.message || (failure as NodeJS.ErrnoException).code || failure.name : String(failure);
    const ran = connected ? "Whether the code ran is not known." : "The code never started.";
    return new ConnectionLostError(`${this.#url}: ${told}`, { hint: `Check that \`pyexec serve\` listens there. ${ran}`, cause: failure });
  }

  async #events(response: http.IncomingMessage, session: string | null, handlers: Handlers): Promise<unknown> {
    for await (const { name, data, id } of serverEvents(response)) {
      const found = JSON.parse(data) as Record<string, unknown>;
      if (name === "result") return found;
      if (name === "error") throw errorFrom(found);
      if (id) handlers.onId?.(id);
      if (name === "tool_call" || name === "tool_approval") this.#takeCall(name === "tool_approval", found, session, handlers);
      else {
        const event = eventFrom(name, found);
        if (event) handlers.onEvent?.(event);
      }
    }
    throw new ConnectionLostError(`${this.#url}: the events ended without a result`, { hint: "Whether the code ran to its end is not known." });
  }

  #takeCall(approval: boolean, data: Record<string, unknown>, sessionId: string | null, handlers: Handlers): void {
    const id = String(data["call_id"]);
    if (!handlers.onCall) {
      this.#answer(id, noSuchTool(approval));
      return;
    }
    handlers.onCall({
      id, approval, name: String(data["name"]), arguments: (data["arguments"] ?? {}) as Record<string, unknown>,
      sessionId, answer: (answer) => this.#answer(id, answer),
    });
  }

  /** Sends an answer. If the server refuses it, the script gets an error that says why. */
  #answer(id: string, answer: Answer): void {
    encode({ ...answer });      // what can't be sent throws here
    void this.call("answer", { call_id: id, ...answer }).answer.catch((failure: PyexecError) => {
      if ("result" in answer && !(failure instanceof CallNotFoundError) && !this.#closed)
        this.#answer(id, { error: { message: `the answer: ${failure.message}` } });
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const call of this.#calls) call.abort();
    this.#agent.destroy();
  }
}

function eventFrom(name: string, data: Record<string, unknown>): RunEvent | undefined {
  if (name === "stdout" || name === "stderr") return { type: "output", stream: name, text: String(data["text"]), seq: Number(data["seq"] ?? 0) };
  if (name === "display") return { type: "display", display: displayFrom(data["display"] ?? data) };
  if (name === "dropped") return { type: "dropped", events: Number(data["events"] ?? 0) };
  return undefined;
}

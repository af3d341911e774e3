// SPDX-License-Identifier: Apache-2.0
// The server's API, with the token of the user.
import {readEvents, type ServerEvent} from "./events.js";

export interface Session {
  id: string;
  busy: boolean;
  execution_count: number;
  age_ms: number;
  idle_ms: number;
  policy?: Record<string, unknown>;
}

/** An environment that the caller may choose: a set of packages. */
export interface Environment {
  name: string;
  packages?: {name: string; version: string}[];
  /** Why it can't be used. */
  error?: string;
}

export interface File {
  path: string;
  bytes: number;
}

export interface Denial {
  layer: string;
  what: string;
  line: number | null;
  hint: string | null;
}

export interface Display {
  data: Record<string, unknown>;
  metadata?: Record<string, unknown>;
}

export interface Result {
  status: string;
  exit_code: number;
  stdout_truncated: boolean;
  stdout_bytes: number;
  stderr_truncated: boolean;
  stderr_bytes: number;
  last_value_repr: string | null;
  last_value_truncated: boolean;
  error_repr: string | null;
  error: {type: string; message: string; line: number | null; traceback: string; hint: string | null} | null;
  display: Display[];
  display_dropped?: number;
  files: {path: string; bytes: number; change: string}[];
  denials: Denial[];
  denials_dropped: number;
  missing_layers: string[];
  usage: {wall_ms: number; cpu_ms: number; peak_memory_bytes: number};
  session: {id: string; created: boolean; restarted: string | null; execution_count: number} | null;
}

/** A tool call of a script that waits: for approval, or for the answer of its client. */
export interface WaitingCall {
  call_id: string;
  name: string;
  arguments: unknown;
  since: string;
  approval: boolean;
  session_id: string | null;
}

/** A refusal of the server (RFC 9457), or `unreachable` when there was no answer. */
export class Problem extends Error {
  constructor(readonly status: number, readonly code: string, title: string, readonly hint: string) {
    super(title);
  }
}

const UNREACHABLE = new Problem(0, "unreachable", "The server can't be reached.", "It may have ended: start it again.");

/** Keeps each number as it was written: the reader of 9007199254740993 must not see 9007199254740992. */
function keepDigits(_key: string, value: unknown, context?: {source?: string}): unknown {
  const raw = (JSON as {rawJSON?: (text: string) => unknown}).rawJSON;
  return typeof value === "number" && raw && context?.source ? raw(context.source) : value;
}

const segments = (path: string) => path.split("/").map(encodeURIComponent).join("/");
const ofSession = (id: string) => `v1/sessions/${encodeURIComponent(id)}`;

export class Api {
  /** Kept for this tab only. It is "" if the server asks for none because a proxy in front of it does. */
  private token = sessionStorage.getItem("token") ?? "";
  /** Called with false for each missing answer, and with true for the first answer after that. */
  onReachable: (reachable: boolean) => void = () => {};
  onUnauthorized: () => void = () => {};

  /** Returns true if the token has changed. */
  setToken(token: string): boolean {
    const other = token !== this.token;
    if (other) this.forgetToken();
    this.token = token;
    sessionStorage.setItem("token", token);
    return other;
  }

  /** Also forgets what was kept about the session, because it belongs to this token. */
  forgetToken(): void {
    this.token = "";
    sessionStorage.removeItem("token");
    sessionStorage.removeItem("session");
  }

  get hasToken(): boolean {
    return this.token !== "";
  }

  private async ask(method: string, path: string, body?: BodyInit, headers: Record<string, string> = {}): Promise<Response> {
    const token = this.token;
    if (token) headers["Authorization"] = `Bearer ${token}`;
    let response: Response;
    try {
      response = await fetch(path, {method, body: body ?? null, headers, credentials: "omit", cache: "no-store", redirect: "error"});
    } catch {
      this.onReachable(false);
      throw UNREACHABLE;
    }
    this.onReachable(true);
    if (response.ok) return response;
    const problem = await response.json().catch(() => ({}));
    // This answer may arrive after another token was given.
    if (response.status === 401 && token === this.token) this.onUnauthorized();
    throw new Problem(response.status, problem.code ?? "", problem.title ?? `HTTP ${response.status}`, problem.hint ?? "");
  }

  async sessions(): Promise<Session[]> {
    return (await (await this.ask("GET", "v1/sessions")).json()).sessions;
  }

  async session(id: string): Promise<Session> {
    return (await this.ask("GET", ofSession(id))).json();
  }

  async environments(): Promise<Environment[]> {
    return (await (await this.ask("GET", "v1/environments")).json()).environments;
  }

  async createSession(request: {id?: string; policy?: unknown}): Promise<Session> {
    return (await this.ask("POST", "v1/sessions", JSON.stringify(request), {"Content-Type": "application/json"})).json();
  }

  async closeSession(id: string): Promise<void> {
    await this.ask("DELETE", ofSession(id));
  }

  /** Makes a session that goes on from the state of this one. */
  async fork(id: string): Promise<string> {
    return (await (await this.ask("POST", `${ofSession(id)}/fork`)).json()).sessions[0];
  }

  /** Returns the session to the state before its last run that can be undone. Returns the number of that run. */
  async undo(id: string): Promise<number> {
    return (await (await this.ask("POST", `${ofSession(id)}/undo`)).json()).to;
  }

  async interrupt(id: string): Promise<void> {
    await this.ask("POST", `${ofSession(id)}/interrupt`);
  }

  /** Runs code. Its output and displays come during the run; `result` or `error` is the last event. */
  async *execute(id: string, code: string): AsyncGenerator<ServerEvent> {
    const response = await this.ask("POST", `${ofSession(id)}/execute`, JSON.stringify({code}),
      {"Content-Type": "application/json", "Accept": "text/event-stream"});
    let ended = false;
    try {
      for await (const event of readEvents(response.body!)) {
        ended = event.name === "result" || event.name === "error";
        yield event;
      }
    } catch (failure) {
      if (failure instanceof SyntaxError) throw failure;
    }
    if (ended) return;
    this.onReachable(false);
    throw UNREACHABLE;
  }

  async files(id: string): Promise<File[]> {
    return (await (await this.ask("GET", `${ofSession(id)}/files`)).json()).files;
  }

  async readFile(id: string, path: string): Promise<Blob> {
    return (await this.ask("GET", `${ofSession(id)}/files/${segments(path)}`)).blob();
  }

  async writeFile(id: string, path: string, content: Blob): Promise<void> {
    await this.ask("PUT", `${ofSession(id)}/files/${segments(path)}`, content, {"Content-Type": "application/octet-stream"});
  }

  async deleteFile(id: string, path: string): Promise<void> {
    await this.ask("DELETE", `${ofSession(id)}/files/${segments(path)}`);
  }

  /** False while the server does not know the token of this page. */
  mayAsk = false;

  /** The waiting calls of all runs of the user. Any client of the user may answer the calls of detached runs. */
  async waitingCalls(): Promise<WaitingCall[]> {
    const text = await (await this.ask("GET", "v1/executions")).text();
    const {executions, attached} = JSON.parse(text, keepDigits) as Record<string, {session_id: string | null; calls: WaitingCall[]}[]>;
    return [...attached!, ...executions!].flatMap(one => one.calls.map(call => ({...call, session_id: one.session_id})));
  }

  async answerCall(id: string, answer: unknown): Promise<void> {
    await this.ask("POST", `v1/calls/${encodeURIComponent(id)}`, JSON.stringify(answer), {"Content-Type": "application/json"});
  }

  async isAlive(): Promise<boolean> {
    try {
      return (await fetch("healthz", {cache: "no-store"})).ok;
    } catch {
      return false;
    }
  }
}

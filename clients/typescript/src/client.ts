// SPDX-License-Identifier: Apache-2.0
/** The client: single runs, sessions and their files, streams, detached executions. */
import { randomUUID } from "node:crypto";

import { ConflictError, SessionNotFoundError } from "./errors.js";
import { Execution, type ExecutionEntry } from "./execution.js";
import { HttpTransport } from "./http.js";
import { NatsTransport } from "./nats.js";
import { executionParams, settle, type Operation } from "./operation.js";
import { RetryingTransport } from "./retry.js";
import { RpcTransport } from "./rpc.js";
import { Stream } from "./stream.js";
import type { Tools } from "./tools.js";
import type { NatsOptions, Params, Transport } from "./transport.js";
import { fleetList, resultFrom, type FileEntry, type FleetList, type MissingNode, type Policy, type ProgramInfo, type Request, type RequestFields, type Result, type SessionConfig, type SessionEntry, type EnvironmentEntry } from "./types.js";

const RETRY_OVERLOADED_MS = 10_000;

export interface ConnectOptions extends NatsOptions {
  /** The principal's token; over TCP the server wants one. Over NATS: the token of NATS, if its server wants one. */
  token?: string;
  /**
   * For how many milliseconds a call that was refused as overloaded is repeated, each time after the time in the refusal; its code never
   * started. After that it fails with OverloadedError. 0: the call is not repeated. Default: 10,000.
   */
  retryOverloadedMs?: number;
}

export interface PyexecOptions extends Pick<ConnectOptions, "retryOverloadedMs"> {
  /** Settings of all runs (docs/configuration.md). */
  policy?: Policy;
  /** Settings of sessions. */
  session?: SessionConfig;
  /** The [host] section. */
  host?: Readonly<Record<string, unknown>>;
  /** The path of `pyexec`. Without it: the environment variable PYEXEC, the package pyexec-runtime-…, the program in PATH. */
  program?: string;
}

export interface SessionOptions {
  /** The keys replace those of the client's policy, if this object makes the session. */
  policy?: Policy;
  /** All calls through this object offer these tools. */
  tools?: Tools;
  /** The scripts of all its calls may import these packages (only of a server that allows them). */
  packages?: readonly string[];
}

/** The settings of a detached execution: everything of a request except the functions of its tools, which `Execution.result()` gets. */
export interface DetachedRequest extends Omit<RequestFields, "workspace" | "silent"> {
  /** The tools that the script may call. Only their definitions are sent. */
  tools?: Tools;
  signal?: AbortSignal;
}

/** An undo of a session. */
export interface Undone {
  /** The execution count of the call before which the session is now. */
  readonly to: number;
  /** The calls before which states are still kept. */
  readonly checkpoints: readonly number[];
  /** How long the undo took. */
  readonly pause_ms: number;
}

/** Settings of a call that is not a run. */
export interface CallOptions {
  signal?: AbortSignal;
}

/**
 * Runs code in pyexec. It starts its own `pyexec rpc`, or uses a running `pyexec serve` (`Pyexec.connect`).
 *
 * The process starts with the first call (or `start`). When it has died, the calls in progress fail with ConnectionLostError, and the next
 * call starts it again. Everything ends with `close()`, with the end of an `await using` block, or with this process, however it ends.
 */
export class Pyexec {
  /** The policy that the caller gave; empty over HTTP. */
  readonly policy: Policy;
  /** @internal */
  readonly _transport: Transport;

  constructor(options: PyexecOptions = {}, /** @internal */ transport?: Transport) {
    const { policy, session, host, program, retryOverloadedMs = RETRY_OVERLOADED_MS } = options;
    this.policy = policy ?? {};
    const initialize = { ...(policy ? { policy } : {}), ...(session ? { session } : {}), ...(host ? { host } : {}) };
    this._transport = transport ?? new RetryingTransport(new RpcTransport(program, initialize), retryOverloadedMs);
  }

  /**
   * Makes a client of `pyexec serve` at "unix:/PATH", "http://HOST:PORT" or "https://HOST", or of a fleet of `pyexec worker` at
   * "nats://HOST:PORT" or "tls://HOST:PORT", also several with commas; this needs the package @nats-io/transport-node.
   */
  static connect(url: string, options: ConnectOptions = {}): Pyexec {
    const { retryOverloadedMs = RETRY_OVERLOADED_MS } = options;
    return new Pyexec({}, new RetryingTransport(remoteTransport(url, options), retryOverloadedMs));
  }

  /** Starts `pyexec rpc`, or connects to the server, if that has not been done. Returns what the program says about itself. */
  start(): Promise<ProgramInfo> {
    return this._transport.start();
  }

  /** Cancels all runs, and ends the process or the connections. */
  close(): Promise<void> {
    return this._transport.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Runs code in a new process. */
  executeOnce(code: string, request: Request = {}): Promise<Result> {
    return settle(this._transport, this.#once(code, request), request);
  }

  /** Does the same as an async iterator: it yields output and displays during the run, then the result. The run begins with the iteration. */
  stream(code: string, request: Omit<Request, "onEvent"> = {}): Stream {
    return new Stream(this._transport, () => this.#once(code, request), request);
  }

  /** Runs code in a session: short for `session(id).execute(code, request)`. */
  execute(sessionId: string, code: string, request: Request = {}): Promise<Result> {
    return this.session(sessionId).execute(code, request);
  }

  #once(code: string, request: Request): Operation<Result> {
    return { method: "execute_once", ...executionParams(code, request), decode: resultFrom };
  }

  /** Returns a session, which keeps its state between calls. Its first call makes it. Without an id it gets a random one. */
  session(id: string = randomUUID().replaceAll("-", ""), options: SessionOptions = {}): Session {
    return new Session(this, id, options);
  }

  /** Lists the sessions that live. `missing` of the list names the nodes of a fleet whose sessions are not in it. */
  async sessions(options: CallOptions = {}): Promise<FleetList<SessionEntry>> {
    const { sessions, missing } = await this._ask<{ sessions: SessionEntry[]; missing?: MissingNode[] }>("list_sessions", {}, options);
    return fleetList(sessions, missing);
  }

  /** Lists the environments that a policy may choose with its key `environment`. */
  async environments(options: CallOptions = {}): Promise<EnvironmentEntry[]> {
    return (await this._ask<{ environments: EnvironmentEntry[] }>("list_environments", {}, options)).environments;
  }

  /** Starts a run that continues without this client (only with a server). The answer comes at once. */
  detach(code: string, request: DetachedRequest = {}): Promise<Execution> {
    return this._detach("execute_once", code, request, {});
  }

  /** Returns a detached execution that was started before, also by another client with the same token. */
  execution(id: string): Execution {
    return new Execution(this._transport, id, null);
  }

  /** Lists the detached executions of the caller, in the order of the server. `missing` is as in `sessions()`. */
  async executions(options: CallOptions = {}): Promise<FleetList<ExecutionEntry>> {
    const { executions, missing } = await this._ask<{ executions: ExecutionEntry[]; missing?: MissingNode[] }>("list_executions", {}, options);
    return fleetList(executions, missing);
  }

  /** @internal */
  _ask<T = unknown>(method: string, params: Params, options: CallOptions = {}): Promise<T> {
    return settle(this._transport, { method, params, tools: new Map(), decode: (answer) => answer as T }, options);
  }

  /** @internal */
  async _detach(method: string, code: string, request: DetachedRequest, more: Params, tools?: Tools): Promise<Execution> {
    const { params } = executionParams(code, request, tools);
    const { execution_id: id, session_id: session } = await this._ask<{ execution_id: string; session_id: string | null }>(
      method, { ...more, ...params, detach: true }, { signal: request.signal });
    return new Execution(this._transport, id, session ?? null, { ...tools, ...request.tools });
  }
}

function remoteTransport(url: string, { token, retryOverloadedMs: _, ...nats }: ConnectOptions): Transport {
  if (/^(nats|tls):\/\/./.test(url)) return new NatsTransport(url, token, nats);
  if (!/^(unix:.|https?:\/\/.)/.test(url))
    throw new TypeError(`url: "unix:/PATH", "http://HOST:PORT", "https://HOST", "nats://HOST:PORT" or "tls://HOST:PORT", not ${JSON.stringify(url)}`);
  const wrong = Object.keys(nats).filter((name) => nats[name as keyof NatsOptions] !== undefined);
  if (wrong.length) throw new TypeError(`${wrong.join(", ")}: only for nats:// and tls://; over HTTP the token says who calls`);
  return new HttpTransport(url, token);
}

/** A session. Calls run one after another, in order of arrival. */
export class Session {
  readonly id: string;
  readonly files: Files;
  readonly #client: Pyexec;
  readonly #options: SessionOptions;

  /** @internal */
  constructor(client: Pyexec, id: string, options: SessionOptions) {
    this.#client = client;
    this.id = id;
    this.#options = options;
    this.files = new Files(client, id, async () => {
      try {
        await this.open();
      } catch (failure) {
        if (!(failure instanceof ConflictError)) throw failure;     // another caller has made the session meanwhile
      }
    });
  }

  get #own(): Params {
    const { policy, packages } = this.#options;
    return { session_id: this.id, ...(policy ? { session_policy: policy } : {}), ...(packages ? { packages } : {}) };
  }

  #operation(code: string, request: Request): Operation<Result> {
    const { params, tools } = executionParams(code, request, this.#options.tools);
    return { method: "execute", params: { ...this.#own, ...params }, tools, decode: resultFrom };
  }

  /** Makes the session now. ConflictError: it is there already. Otherwise its first call makes it. */
  async open(options: CallOptions = {}): Promise<void> {
    const { policy, packages } = this.#options;
    await this.#client._ask("create_session", { session_id: this.id, ...(policy ? { policy } : {}), ...(packages ? { packages } : {}) }, options);
  }

  execute(code: string, request: Request = {}): Promise<Result> {
    return settle(this.#client._transport, this.#operation(code, request), request);
  }

  stream(code: string, request: Omit<Request, "onEvent"> = {}): Stream {
    return new Stream(this.#client._transport, () => this.#operation(code, request), request);
  }

  /** A call that continues without this client (only with a server). */
  detach(code: string, request: DetachedRequest = {}): Promise<Execution> {
    return this.#client._detach("execute", code, request, this.#own, this.#options.tools);
  }

  /**
   * Makes new sessions that go on from the state of this one, which stays as it is (docs/branches.md): so many, or one for each of these ids.
   * Needs the policy `forkable`. None of the calls of this session may run or wait.
   */
  async fork(which: number | readonly string[] = 1, options: CallOptions = {}): Promise<Session[]> {
    const params = { session_id: this.id, ...(typeof which === "number" ? { count: which } : { ids: which }) };
    const { sessions } = await this.#client._ask<{ sessions: string[] }>("fork_session", params, options);
    return sessions.map((id) => new Session(this.#client, id, this.#options));
  }

  /**
   * Returns the session to the state before its last call for which a state is kept, or before the call with the execution count `to`
   * (docs/branches.md). Calls keep states with the policy `auto_checkpoint`, or with `checkpoint: true`.
   */
  undo(to?: number, options: CallOptions = {}): Promise<Undone> {
    return this.#client._ask<Undone>("undo", { session_id: this.id, ...(to === undefined ? {} : { to }) }, options);
  }

  /** Returns the session to the state before its first call, if that call has kept it. */
  reset(options: CallOptions = {}): Promise<Undone> {
    return this.#client._ask<Undone>("reset_session", { session_id: this.id }, options);
  }

  /** Stops the running call as Ctrl-C would. The state stays. */
  async interrupt(options: CallOptions = {}): Promise<void> {
    await this.#client._ask("interrupt", { session_id: this.id }, options);
  }

  /** Ends the session if it exists. A running call ends as `cancelled`. */
  async close(options: CallOptions = {}): Promise<void> {
    try {
      await this.#client._ask("close_session", { session_id: this.id }, options);
    } catch (failure) {
      if (!(failure instanceof SessionNotFoundError)) throw failure;
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** The workspace of a session. Needs file access in its policy. */
export class Files {
  readonly #client: Pyexec;
  readonly #id: string;
  readonly #open: () => Promise<void>;

  /** @internal */
  constructor(client: Pyexec, id: string, open: () => Promise<void>) {
    this.#client = client;
    this.#id = id;
    this.#open = open;
  }

  async list(options: CallOptions = {}): Promise<FileEntry[]> {
    return (await this.#client._ask<{ files: FileEntry[] }>("list_files", { session_id: this.#id }, options)).files;
  }

  read(path: string, options: CallOptions = {}): Promise<Uint8Array> {
    return this.#client._ask("read_file", { session_id: this.#id, path }, options);
  }

  /** Reads a file as UTF-8. */
  async readText(path: string, options: CallOptions = {}): Promise<string> {
    return new TextDecoder().decode(await this.read(path, options));
  }

  /** Writes a file. Missing folders in the path are made, and also the session if it does not exist. */
  async write(path: string, content: string | Uint8Array, options: CallOptions = {}): Promise<void> {
    const params = { session_id: this.#id, path, content: typeof content === "string" ? new TextEncoder().encode(content) : content };
    try {
      await this.#client._ask("write_file", params, options);
    } catch (failure) {
      if (!(failure instanceof SessionNotFoundError)) throw failure;
      await this.#open();
      await this.#client._ask("write_file", params, options);
    }
  }

  async delete(path: string, options: CallOptions = {}): Promise<void> {
    await this.#client._ask("delete_file", { session_id: this.#id, path }, options);
  }
}

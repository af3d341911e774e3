// SPDX-License-Identifier: Apache-2.0
/** `pyexec rpc` as a child process: JSON lines on its standard streams. Answers are matched to their requests by id. */
import { spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import type { Socket } from "node:net";

import { ClosedError, ConflictError, ConnectionLostError, InvalidRequestError, ProgramNotFoundError, errorFrom, type PyexecError } from "./errors.js";
import { encode } from "./json.js";
import { findProgram } from "./program.js";
import { noSuchTool, quiet, refuseKey, type Answer, type Handlers, type Params, type Pending, type Transport } from "./transport.js";
import { bytesFrom, displayFrom, type ProgramInfo } from "./types.js";

const PROTOCOL = 1;
const DENIED = -32001;          // docs/rpc.md, Tool calls
const TOOL_FAILED = -32000;
const CLOSE_MS = 10_000;
const EXIT_MS = 1_000;
const SAID_BYTES = 2_000;
const REMEMBERED_SESSIONS = 10_000;

interface Message {
  readonly id?: number | string | null;
  readonly method?: string;
  readonly params?: Record<string, unknown>;
  readonly result?: unknown;
  readonly error?: { readonly message?: string; readonly data?: Record<string, unknown> };
}

interface Waiting extends Handlers {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

/** One `pyexec rpc`, from its start to its end. It knows nothing of the transport, so that a forgotten client can be collected. */
class RpcProcess {
  /** Set when it has ended: why. */
  lost: PyexecError | undefined;
  readonly ended: Promise<void>;
  readonly #program: string;
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #waiting = new Map<number, Waiting>();
  #parts: Buffer[] = [];
  #said = Buffer.alloc(0);
  #garbage: string | undefined;
  #closing = false;
  #end!: () => void;

  constructor(program: string) {
    this.#program = program;
    this.ended = new Promise((resolve) => (this.#end = resolve));
    try {
      // Ctrl-C and the signals of a service manager reach this process too, and it decides what happens to its calls.
      this.#child = spawn(program, ["rpc", "--ignore-signals"], { stdio: ["pipe", "pipe", "pipe"], detached: true });
    } catch (failure) {
      throw this.#unstartable(failure as Error);
    }
    this.#child.on("error", (failure) => this.#finish(this.#unstartable(failure)));
    this.#child.on("exit", (code, signal) => {
      const why = signal ?? String(code);
      const timer = setTimeout(() => this.#exited(why), EXIT_MS);       // if another process has its output open
      this.#child.on("close", () => {
        clearTimeout(timer);
        this.#exited(why);
      });
    });
    this.#child.stdin.on("error", () => undefined);     // it has ended, which the end of its output says
    this.#child.stdout.on("data", (data: Buffer) => this.#read(data));
    this.#child.stdout.on("end", () => void setTimeout(() => this.kill(), EXIT_MS).unref());
    this.#child.stderr.on("data", (data: Buffer) => {
      this.#said = Buffer.concat([this.#said, data]).subarray(-SAID_BYTES);
    });
    this.#keepAlive();
  }

  #unstartable(failure: Error): ProgramNotFoundError {
    return new ProgramNotFoundError(`can't start '${this.#program}': ${failure.message}`, {
      hint: "Check that it is the program `pyexec` for this machine.", cause: failure });
  }

  /** A call in progress keeps this program running. A process that nobody waits for does not. */
  #keepAlive(): void {
    const { stdin, stdout, stderr } = this.#child;
    for (const one of [this.#child, stdin as Socket, stdout as Socket, stderr as Socket])
      if (this.#waiting.size) one.ref?.();
      else one.unref?.();
  }

  /** Sends a request. Its line has the id `number`. */
  request(number: number, line: Buffer, handlers: Handlers = {}): Promise<unknown> {
    if (this.lost) return Promise.reject(this.lost);
    const answer = new Promise<unknown>((resolve, reject) => this.#waiting.set(number, { ...handlers, resolve, reject }));
    this.#keepAlive();
    this.send(line);
    return answer;
  }

  send(line: Buffer): void {
    if (this.lost || !this.#child.stdin.writable) return;
    this.#child.stdin.cork();
    this.#child.stdin.write(line);
    this.#child.stdin.write("\n");
    this.#child.stdin.uncork();
  }

  #read(data: Buffer): void {
    let start = 0;
    for (let end = data.indexOf(10); end >= 0; end = data.indexOf(10, start)) {
      this.#parts.push(data.subarray(start, end));
      const line = this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts);
      this.#parts = [];
      start = end + 1;
      this.#take(line);
    }
    if (start < data.length) this.#parts.push(data.subarray(start));
  }

  #take(line: Buffer): void {
    if (this.#garbage !== undefined) return;
    let message: Message;
    try {
      message = JSON.parse(line.toString("utf8")) as Message;
    } catch {
      this.#garbage = line.toString("utf8", 0, 200);
      this.kill();
      return;
    }
    if (message?.method === "tool_call" || message?.method === "tool_approval") this.#takeCall(message);
    else if (message?.method !== undefined) this.#takeEvent(message.method, message.params ?? {});
    else if (typeof message?.id === "number") this.#takeAnswer(message.id, message);
  }

  #takeAnswer(number: number, message: Message): void {
    const waiting = this.#waiting.get(number);
    if (!waiting) return;
    this.#waiting.delete(number);
    this.#keepAlive();
    if (message.error) waiting.reject(errorFrom(message.error.data ?? { code: "invalid_request", message: message.error.message }));
    else waiting.resolve(message.result);
  }

  #takeEvent(method: string, params: Record<string, unknown>): void {
    const { onEvent } = this.#waiting.get(params["request"] as number) ?? {};
    if (method === "output")
      onEvent?.({ type: "output", stream: params["stream"] as "stdout", text: String(params["text"]), seq: Number(params["seq"] ?? 0) });
    else if (method === "display") onEvent?.({ type: "display", display: displayFrom(params["display"]) });
  }

  #takeCall(message: Message): void {
    const params = message.params ?? {};
    const reply = (part: object): void => this.send(encode({ jsonrpc: "2.0", id: message.id, ...part }));
    const answer = (given: Answer): void => {
      const approval = message.method === "tool_approval";
      if ("deny" in given) reply(approval ? { result: given } : { error: { code: DENIED, message: given.deny } });
      else if ("error" in given) reply({ error: { code: TOOL_FAILED, ...given.error } });
      else reply({ result: "allow" in given ? given : given.result });
    };
    const { onCall } = this.#waiting.get(params["request"] as number) ?? {};
    if (!onCall) {
      answer(noSuchTool(message.method === "tool_approval"));
      return;
    }
    onCall({
      id: String(params["call_id"]), name: String(params["name"]), arguments: (params["arguments"] ?? {}) as Record<string, unknown>,
      sessionId: (params["session_id"] ?? null) as string | null, approval: message.method === "tool_approval", answer,
    });
  }

  #exited(why: string): void {
    if (this.#closing) {
      this.#finish(new ClosedError("the client was closed during the call", { hint: "Whether its code ran is not known." }));
      return;
    }
    const said = this.#garbage === undefined ? this.#said.toString("utf8").trim() : `it wrote a line that is not JSON: ${this.#garbage}`;
    this.#finish(new ConnectionLostError(`\`pyexec rpc\` ended with ${why}${said ? ": " + said : ""}`, {
      hint: "The next call starts it again; sessions begin anew. Whether this call's code ran is not known." }));
  }

  #finish(lost: PyexecError): void {
    if (this.lost) return;
    this.lost = lost;
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const stream of [this.#child.stdin, this.#child.stdout, this.#child.stderr]) stream?.destroy();
    this.#keepAlive();
    for (const one of waiting) one.reject(lost);
    this.#end();
  }

  kill(): void {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill("SIGKILL");
  }

  /** Closes its input: the process then cancels all runs and ends. */
  async close(): Promise<void> {
    if (this.lost) return;
    this.#closing = true;
    this.#child.ref();
    this.#child.stdin.end();
    const timer = setTimeout(() => this.kill(), CLOSE_MS);
    await this.ended;
    clearTimeout(timer);
  }
}

const forgotten = new FinalizationRegistry<RpcProcess>((process) => void quiet(process.close()));

export class RpcTransport implements Transport {
  readonly detaches = false;
  readonly #program: string | undefined;
  readonly #initialize: Params;
  readonly #sessions = new Map<string, boolean>();      // ids of sessions that had a result; true: the state was lost after it
  #number = 0;
  #process: RpcProcess | undefined;
  #running: Promise<RpcProcess> | undefined;
  #info: ProgramInfo = {};
  #closed = false;

  constructor(program: string | undefined, initialize: Params) {
    this.#program = program;
    this.#initialize = { protocol: PROTOCOL, ...initialize };
  }

  async start(): Promise<ProgramInfo> {
    await this.#ready();
    return this.#info;
  }

  #ready(): Promise<RpcProcess> {
    if (this.#closed) return Promise.reject(new ClosedError("the client is closed", { hint: "Make a new Pyexec." }));
    if (!this.#running || this.#process?.lost) {
      for (const id of this.#sessions.keys()) this.#sessions.set(id, true);
      this.#running = quiet(this.#begin());
    }
    return this.#running;
  }

  async #begin(): Promise<RpcProcess> {
    try {
      const program = findProgram(this.#program);
      const started = (this.#process = new RpcProcess(program));
      try {
        this.#info = await this.#greet(started, program);
      } catch (failure) {
        void quiet(started.close());
        throw failure;
      }
      forgotten.register(this, started, this);
      return started;
    } catch (failure) {
      this.#running = undefined;        // the next call tries again
      throw failure;
    }
  }

  async #greet(started: RpcProcess, program: string): Promise<ProgramInfo> {
    const { number, line } = this.#line("initialize", this.#initialize);
    let info: ProgramInfo;
    try {
      info = ((await started.request(number, line)) ?? {}) as ProgramInfo;
    } catch (failure) {
      if (!(failure instanceof ConnectionLostError)) throw failure;
      throw new ConnectionLostError(failure.message, { hint: `Check that '${program}' is the program \`pyexec\`. No code ran.`, cause: failure });
    }
    if (info.protocol !== PROTOCOL) {
      throw new ProgramNotFoundError(`'${program}' (version ${info.version}) speaks protocol ${info.protocol}, and this client protocol ${PROTOCOL}`, {
        hint: "Install versions of the client and the program that fit." });
    }
    return info;
  }

  #line(method: string, params: Params): { number: number; line: Buffer } {
    const number = ++this.#number;
    return { number, line: encode({ jsonrpc: "2.0", id: number, method, params }) };
  }

  call(method: string, params: Params, handlers: Handlers = {}): Pending {
    let cancelled = false;
    let sentTo: RpcProcess | undefined;
    let number = 0;
    const send = async (): Promise<unknown> => {
      const message = this.#line(method, wireParams(method, params, handlers));
      number = message.number;
      let found = await this.#ready();
      if (found.lost) found = await this.#ready();      // it has just ended, and this call was not sent
      if (cancelled) throw new ConnectionLostError("the call was cancelled before it was sent");
      sentTo = found;
      return this.#decode(method, params, found.request(number, message.line, handlers));
    };
    return {
      answer: quiet(send()),
      cancel: () => {
        cancelled = true;
        sentTo?.send(encode({ jsonrpc: "2.0", method: "cancel", params: { request: number } }));
      },
    };
  }

  async #decode(method: string, params: Params, answer: Promise<unknown>): Promise<unknown> {
    const session = params["session_id"] as string;
    if (method === "create_session") return answer.catch((failure: unknown) => this.#explainConflict(session, failure));
    const found = (await answer) as Record<string, unknown>;
    if (method === "read_file") return bytesFrom(String(found["content_base64"]));
    if (method === "close_session") this.#sessions.delete(session);
    if (method === "execute") this.#noteSession(session, found);
    return found;
  }

  /** rpc has no code of its own for a session that is there already. */
  async #explainConflict(session: string, failure: unknown): Promise<never> {
    if (failure instanceof InvalidRequestError) {
      const { sessions } = (await this.call("list_sessions", {}).answer) as { sessions: Array<{ id: string }> };
      if (sessions.some(({ id }) => id === session)) throw new ConflictError(failure.message, { hint: failure.hint, cause: failure });
    }
    throw failure;
  }

  /** Sets `restarted` in the first result of a session whose process was lost. The new process does not know of it. */
  #noteSession(id: string, result: Record<string, unknown>): void {
    const lost = this.#sessions.get(id) ?? false;
    this.#sessions.delete(id);
    this.#sessions.set(id, false);
    if (this.#sessions.size > REMEMBERED_SESSIONS) this.#sessions.delete(this.#sessions.keys().next().value!);
    const told = result["session"] as { restarted?: string | null } | null | undefined;
    if (lost && told && (told.restarted ?? null) === null) told.restarted = "host_restart";
  }

  async close(): Promise<void> {
    this.#closed = true;
    const running = this.#process;
    this.#process = undefined;
    forgotten.unregister(this);
    await running?.close();
  }
}

function wireParams(method: string, params: Params, handlers: Handlers): Params {
  if (params["detach"]) {
    throw new InvalidRequestError("detached executions need a server, because `pyexec rpc` ends with this program", {
      hint: "Start `pyexec serve`, and use Pyexec.connect()." });
  }
  refuseKey(params["key"]);
  const sent = handlers.onEvent ? { ...params, stream: true } : params;
  if (method !== "write_file") return sent;
  const { content, ...rest } = sent;
  return { ...rest, content_base64: content };           // encode() writes bytes as base64
}

// SPDX-License-Identifier: Apache-2.0
/** Detached executions: runs of a server that continue without the client that started them. */
import { ConnectionLostError, InvalidRequestError, errorFrom, type PyexecError } from "./errors.js";
import { settle, type Operation } from "./operation.js";
import { Calls, makeTools, type Approve, type Tools } from "./tools.js";
import type { Answer, Call, Transport } from "./transport.js";
import { resultFrom, type Result, type RunEvent } from "./types.js";

const ATTEMPTS = 5;
const PAUSE_MS = 200;

/** A tool call that waits for its answer, or with `approval` for its decision. */
export interface WaitingCall {
  call_id: string;
  name: string;
  arguments: Record<string, unknown> | null;
  approval?: boolean;
}

export interface ExecutionEntry {
  execution_id: string;
  session_id: string | null;
  state: "waiting" | "running" | "ended";
  calls: WaitingCall[];
}

export interface ExecutionState extends ExecutionEntry {
  /** Set when it has ended with a result. */
  result: Result | null;
  /** Set when it has ended because it could not run. */
  error: PyexecError | null;
}

export interface FollowOptions {
  /** The functions of the tools. Without them those of detach() are used, if this object was made by detach(). */
  tools?: Tools;
  /** Decides about the calls of tools with `approval: true`. Without it these calls wait for another client. */
  approve?: Approve;
  /** Gets the events. The server sends all events again that it still has, except those up to `after`. */
  onEvent?: (event: RunEvent, id: string) => void;
  /** The id of the last event that is known already. */
  after?: string;
  /** Stops the waiting. The execution goes on. */
  signal?: AbortSignal;
}

export class Execution {
  readonly id: string;
  readonly sessionId: string | null;
  readonly #transport: Transport;
  readonly #tools: Tools;

  /** @internal */
  constructor(transport: Transport, id: string, sessionId: string | null, tools: Tools = {}) {
    if (!transport.detaches) {
      throw new InvalidRequestError("detached executions need a server, because `pyexec rpc` ends with this program", {
        hint: "Start `pyexec serve`, and use Pyexec.connect()." });
    }
    this.#transport = transport;
    this.id = id;
    this.sessionId = sessionId;
    this.#tools = tools;
  }

  #ask<T>(method: string, params: Record<string, unknown>, decode: (answer: unknown) => T, signal?: AbortSignal): Promise<T> {
    const operation: Operation<T> = { method, params, tools: new Map(), decode };
    return settle(this.#transport, operation, { signal });
  }

  /** Returns its state, at once or when it has ended, when a tool call waits, or after waitMs (at most 300,000). */
  state(options: { waitMs?: number; signal?: AbortSignal } = {}): Promise<ExecutionState> {
    return this.#ask("get_execution", { execution_id: this.id, wait_ms: options.waitMs ?? 0 }, stateFrom, options.signal);
  }

  /** Cancels it. */
  async cancel(options: { signal?: AbortSignal } = {}): Promise<void> {
    await this.#ask("cancel_execution", { execution_id: this.id }, () => undefined, options.signal);
  }

  /** Answers a tool call that waits: `{ result }`, `{ error: { message, data } }`, `{ deny: reason }` or `{ allow: true }`. */
  async answer(callId: string, answer: Answer, options: { signal?: AbortSignal } = {}): Promise<void> {
    await this.#ask("answer", { execution_id: this.id, call_id: callId, ...answer }, () => undefined, options.signal);
  }

  /**
   * Waits for its result, and meanwhile answers its tool calls with these functions. A lost connection is made again. Calls that were
   * answered before are not repeated; two clients that wait at the same time both run the functions.
   */
  async result(options: FollowOptions = {}): Promise<Result> {
    const tools = makeTools(this.#tools, options.tools);
    const calls = new Calls(tools, options.approve);
    const seen = new Set<string>();
    const take = (call: Call): void => {
      const key = `${call.approval} ${call.id}`;
      if (seen.has(key) || (call.approval ? !options.approve : !tools.has(call.name))) return;
      seen.add(key);
      void this.#waits(call).then((waits) => waits && calls.take(call), () => undefined);
    };
    let after = options.after;
    try {
      for (let attempt = 1; ; attempt++) {
        const before = after;
        try {
          return await this.#follow(after, take, (id) => (after = id), options);
        } catch (failure) {
          if (after !== before) attempt = 0;        // there was progress
          if (!(failure instanceof ConnectionLostError) || attempt >= ATTEMPTS) throw failure;
        }
        await new Promise((resolve) => setTimeout(resolve, PAUSE_MS * attempt));
      }
    } finally {
      calls.end();
    }
  }

  #follow(after: string | undefined, take: (call: Call) => void, note: (id: string) => void, options: FollowOptions): Promise<Result> {
    let last = after ?? "";
    const { onEvent, signal } = options;
    return settle(this.#transport, {
      method: "follow_execution", params: { execution_id: this.id, session_id: this.sessionId, ...(after ? { after } : {}) }, tools: new Map(), decode: resultFrom,
    }, { signal, onEvent: onEvent && ((event) => onEvent(event, last)), onCall: take, onId: (id) => note((last = id)) });
  }

  /** True if nobody has answered the call. An event of a call stays also after its answer. */
  async #waits(call: Call): Promise<boolean> {
    const { calls } = await this.state();
    return calls.some((one) => one.call_id === call.id && (one.approval ?? false) === call.approval);
  }
}

function stateFrom(answer: unknown): ExecutionState {
  const data = answer as ExecutionEntry & { result?: unknown; error?: Record<string, unknown> };
  return { ...data, calls: data.calls ?? [], result: data.result ? resultFrom(data.result) : null, error: data.error ? errorFrom(data.error) : null };
}

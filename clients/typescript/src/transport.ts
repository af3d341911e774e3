// SPDX-License-Identifier: Apache-2.0
/** The interface of all ways to reach pyexec: a call has an answer, and events may come before it. */
import { InvalidRequestError } from "./errors.js";
import type { ProgramInfo, RunEvent } from "./types.js";

export type Params = Readonly<Record<string, unknown>>;

/** The answer to a tool call. */
export type Answer =
  | { readonly result: unknown }
  | { readonly error: { readonly message: string; readonly data?: unknown } }
  | { readonly deny: string }
  | { readonly allow: true };

/** A tool call of a script, which waits for the answer. An answer that comes too late is dropped. */
export interface Call {
  readonly id: string;
  readonly name: string;
  readonly arguments: Readonly<Record<string, unknown>>;
  readonly sessionId: string | null;
  /** True: it asks for the decision about the call. If it is allowed, the call itself follows, with the same id. */
  readonly approval: boolean;
  answer(answer: Answer): void;
}

/** What gets the events of one request. */
export interface Handlers {
  onEvent?: ((event: RunEvent) => void) | undefined;
  onCall?: ((call: Call) => void) | undefined;
  /** Gets the id of each event of a detached execution. */
  onId?: ((id: string) => void) | undefined;
}

/** A request in progress. All its events come before the answer. cancel() asks for the end of the run, and does not wait for it. */
export interface Pending {
  readonly answer: Promise<unknown>;
  cancel(): void;
}

export interface Transport {
  /** True if detached executions are possible. */
  readonly detaches: boolean;
  /** Connects if there is no connection. Returns what the other side says about itself. */
  start(): Promise<ProgramInfo>;
  /** Sends a request. Method and parameters are those of JSON-RPC, but the content of a file is bytes. */
  call(method: string, params: Params, handlers?: Handlers): Pending;
  /** Cancels all runs, and ends everything that the transport has made. */
  close(): Promise<void>;
}

/** Options of Pyexec.connect() that are only for NATS. */
export interface NatsOptions {
  /** The path of a `.creds` file of NATS. */
  credentials?: string;
  /** Whose subjects are used, if the NATS server gives each user own subjects. */
  principal?: string;
  /** The beginning of reply subjects, if the NATS server gives each user its own. Default: "_INBOX". */
  inboxPrefix?: string;
  /** Paths of PEM files: the authority that signed the server's certificate, and the certificate and key of this client. */
  tls?: { caFile?: string; certFile?: string; keyFile?: string; handshakeFirst?: boolean };
}

/** The answer to a call that nobody here can take. A call that waits for a decision can only be allowed or denied. */
export function noSuchTool(approval: boolean): Answer {
  const message = "the client has no such tool";
  return approval ? { deny: message } : { error: { message } };
}

/** Refuses the key of a request, for the transports that have no fleet behind them. */
export function refuseKey(key: unknown): void {
  if (key !== undefined) throw new InvalidRequestError("key: only a fleet over NATS takes it", { hint: "Leave it out, or use Pyexec.connect(\"nats://…\")." });
}

/** A promise that may be left unhandled: its failure is also told to whoever waits for it. */
export function quiet<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}

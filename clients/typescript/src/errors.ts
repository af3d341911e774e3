// SPDX-License-Identifier: Apache-2.0
/** Failures of the host, with a class for each code. A script that fails gives a `Result`, not an error. */

/** What an error may say besides its message. */
export interface ErrorDetails {
  /** What to do next. */
  hint?: string;
  /** Milliseconds after which the call may be repeated. If it is set, the code never started. */
  retryAfterMs?: number;
  /** The name in the protocol, if it is not that of the class. */
  code?: string;
  cause?: unknown;
}

/** The base class of all errors. A code that this version does not know is thrown as this class. */
export class PyexecError extends Error {
  /** The name in the protocol, for example "invalid_policy". */
  readonly code: string;
  /** What to do next, or an empty text. */
  readonly hint: string;
  /** Milliseconds after which the call may be repeated. If it is set, the code never started. */
  readonly retryAfterMs: number | undefined;

  constructor(message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = new.target.name;
    this.code = details.code ?? (new.target as typeof PyexecError).code;
    this.hint = details.hint ?? "";
    this.retryAfterMs = details.retryAfterMs;
  }

  static readonly code: string = "internal";

  /** The message, and the hint in brackets. */
  override toString(): string {
    return this.name + ": " + sentence(this);
  }
}

/** The text for a model or a person: the message, and the hint in brackets. */
export function sentence(error: PyexecError): string {
  return error.hint ? `${error.message} (${error.hint})` : error.message;
}

export class InvalidPolicyError extends PyexecError {
  static override readonly code = "invalid_policy";
}

export class InvalidRequestError extends PyexecError {
  static override readonly code = "invalid_request";
}

export class PythonNotFoundError extends PyexecError {
  static override readonly code = "python_not_found";
}

export class PythonUnsupportedError extends PyexecError {
  static override readonly code = "python_unsupported";
}

export class SandboxUnavailableError extends PyexecError {
  static override readonly code = "sandbox_unavailable";
}

export class SessionLimitError extends PyexecError {
  static override readonly code = "session_limit";
}

export class SessionNotFoundError extends PyexecError {
  static override readonly code = "session_not_found";
}

/** A call of the session runs or waits, so it can't be forked now. */
export class SessionBusyError extends PyexecError {
  static override readonly code = "session_busy";
}

/** The session can't be forked. The message says why. */
export class SessionNotForkableError extends PyexecError {
  static override readonly code = "session_not_forkable";
}

export class OverloadedError extends PyexecError {
  static override readonly code = "overloaded";
}

export class ShuttingDownError extends PyexecError {
  static override readonly code = "shutting_down";
}

export class InternalError extends PyexecError {
  static override readonly code = "internal";
}

/** Over HTTP: missing or unknown token. */
export class UnauthorizedError extends PyexecError {
  static override readonly code = "unauthorized";
}

/** Over HTTP: no such file or path. */
export class NotFoundError extends PyexecError {
  static override readonly code = "not_found";
}

/** A session with this id exists. */
export class ConflictError extends PyexecError {
  static override readonly code = "conflict";
}

/** Over NATS: the node of the session is gone, and the session's state with it. The next call with its id makes a new session. */
export class SessionLostError extends PyexecError {
  static override readonly code = "session_lost";
}

/** Over NATS: a request with this key was started before. It is not started again. */
export class AlreadyStartedError extends PyexecError {
  static override readonly code = "already_started";
}

/** The tool call was already answered, or its script no longer waits. */
export class CallNotFoundError extends PyexecError {
  static override readonly code = "call_not_found";
}

/** The server does not know this detached execution: its time is over, or the server was started again. */
export class ExecutionNotFoundError extends PyexecError {
  static override readonly code = "execution_not_found";
}

/** The program `pyexec` can't be started here. */
export class ProgramNotFoundError extends PyexecError {
  static override readonly code = "program_not_found";
}

/** `pyexec rpc` has ended, or the server does not answer. Its hint says whether it is known that the code did not run. */
export class ConnectionLostError extends PyexecError {
  static override readonly code = "connection_lost";
}

/** The client has been closed. */
export class ClosedError extends PyexecError {
  static override readonly code = "closed";
}

const CLASSES: ReadonlyMap<string, typeof PyexecError> = new Map(
  [
    InvalidPolicyError, InvalidRequestError, PythonNotFoundError, PythonUnsupportedError, SandboxUnavailableError, SessionLimitError,
    SessionNotFoundError, SessionBusyError, SessionNotForkableError, OverloadedError, ShuttingDownError, InternalError, UnauthorizedError, NotFoundError, ConflictError,
    SessionLostError, AlreadyStartedError, CallNotFoundError, ExecutionNotFoundError, ProgramNotFoundError, ConnectionLostError, ClosedError,
  ].map((kind) => [kind.code, kind]),
);

/** The error for an error object of the protocol or a problem of HTTP. */
export function errorFrom(data: Readonly<Record<string, unknown>>, retryAfterMs?: number): PyexecError {
  const text = (key: string): string => (typeof data[key] === "string" ? data[key] : "");
  const code = text("code") || "internal";
  const message = text("message") || text("detail") || text("title") || code;
  const wait = data["retry_after_ms"];
  const details: ErrorDetails = { code, hint: text("hint") };
  if (typeof wait === "number" && wait > 0) details.retryAfterMs = wait;
  else if (retryAfterMs !== undefined) details.retryAfterMs = retryAfterMs;
  return new (CLASSES.get(code) ?? PyexecError)(message, details);
}

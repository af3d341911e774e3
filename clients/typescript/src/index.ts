// SPDX-License-Identifier: Apache-2.0
/**
 * Client of pyexec, which runs unreviewed Python code in a kernel sandbox.
 *
 *     import { Pyexec } from "pyexec-client";
 *
 *     const px = new Pyexec({ policy: { timeout_ms: 2000 } });
 *     console.log((await px.executeOnce("6 * 7")).last_value_repr);     // 42
 *     await px.close();
 *
 * Adapters: pyexec-client/ai, pyexec-client/langchain, pyexec-client/mcp.
 */
export { Files, Pyexec, Session } from "./client.js";
export type { CallOptions, ConnectOptions, DetachedRequest, PyexecOptions, SessionOptions, Undone } from "./client.js";
export {
  AlreadyStartedError, CallNotFoundError, ClosedError, ConflictError, ConnectionLostError, ExecutionNotFoundError, InternalError, InvalidPolicyError,
  InvalidRequestError, NotFoundError, OverloadedError, ProgramNotFoundError, PyexecError, PythonNotFoundError, PythonUnsupportedError,
  SandboxUnavailableError, SessionBusyError, SessionLimitError, SessionLostError, SessionNotForkableError, SessionNotFoundError, ShuttingDownError, UnauthorizedError,
} from "./errors.js";
export type { ErrorDetails } from "./errors.js";
export { Execution } from "./execution.js";
export type { ExecutionEntry, ExecutionState, FollowOptions, WaitingCall } from "./execution.js";
export { findProgram } from "./program.js";
export { Stream } from "./stream.js";
export { tool, ToolDenied, ToolError } from "./tools.js";
export type { ApprovalCall, Approve, Decision, JsonSchema, StandardSchema, Tool, ToolContext, ToolFunction, Tools } from "./tools.js";
export type { Answer } from "./transport.js";
export { DEFAULT_ALLOWED_IMPORTS, DEFAULT_BANNED_IMPORTS, Result } from "./types.js";
export type {
  Denial, Display, Displayed, Dropped, Ended, ErrorInfo, FileChange, FileEntry, FleetList, Json, MissingNode, Output, Policy, ProgramInfo, Request, RequestFields, ResultFields,
  RunEvent, SessionConfig, SessionEntry, EnvironmentEntry, EnvironmentInfo, SessionInfo, Status, Usage,
} from "./types.js";

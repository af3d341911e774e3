// SPDX-License-Identifier: Apache-2.0
/**
 * Types of requests and results. The names are those of the protocol; docs/results.md and docs/configuration.md explain them.
 * A result may have members of a later version that are not in these types.
 */
import { explain } from "./text.js";
import type { Approve, Tools } from "./tools.js";

/** Any value that JSON can have. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

export type Status = "ok" | "error" | "timeout" | "cpu_limit" | "memory_limit" | "killed" | "crashed" | "cancelled";

/**
 * The modules that a script may import by default. A list in a policy replaces the default, so to allow one more module, set
 * `allowed_imports: [...DEFAULT_ALLOWED_IMPORTS, "csv"]`.
 */
// made from policy.def: allowed imports
export const DEFAULT_ALLOWED_IMPORTS = [
  "math", "statistics", "random", "re", "json", "itertools", "functools", "collections", "decimal", "fractions", "string",
  "textwrap", "heapq", "bisect", "array", "base64", "hashlib", "hmac", "uuid", "time", "datetime", "socket", "traceback",
] as const;
// end of allowed imports

/** The modules that a script may not import by default, if `use_import_whitelist` is false. */
// made from policy.def: banned imports
export const DEFAULT_BANNED_IMPORTS = [
  "os", "sys", "subprocess", "pathlib", "shutil", "multiprocessing", "ctypes", "resource", "inspect", "builtins", "pickle",
] as const;
// end of banned imports

/** Limits and permissions. Keys that are left out have their defaults (docs/configuration.md). */
export interface Policy {
  // made from policy.def: keys
  /** The interpreter: a path, or a name in PATH. CPython 3.8 or later, with the GIL; bin/python of a virtual environment works too. */
  python_bin?: string;
  /** The environment whose packages the script may import, as `pyexec env list` names it. It brings its interpreter, and limits with which its packages work, where none are given. Empty: no environment (docs/environments.md). */
  environment?: string;
  /** The environments that callers of a server may choose in addition to its own `environment`. *: all. It matters in the server's policy and in the ceiling of a caller, not in a request. */
  allowed_environments?: readonly string[];
  /** Wall-clock limit of one execution. */
  timeout_ms?: number;
  /** CPU time limit of one execution. It does not apply to the whole life of a session. Null: no limit. */
  cpu_time_seconds?: number | null;
  /** Address-space limit of the process. Null: no limit. */
  address_space_bytes?: number | null;
  /** How many files the script itself may have open at the same time. Null: no limit. */
  max_open_files?: number | null;
  /** How much of standard output is kept. The rest is read, counted and dropped. */
  max_stdout_bytes?: number;
  /** How much of standard error is kept. The rest is read, counted and dropped. */
  max_stderr_bytes?: number;
  /** The greatest length of last_value_repr, last_value_json and the error message. */
  max_value_bytes?: number;
  /** How many displays are kept: display(), figures, a last value with a rich form. Others are counted and dropped. */
  max_displays?: number;
  /** The size of all displays of one execution together, as the result contains them. A display that does not fit is counted and dropped. */
  max_display_bytes?: number;
  /** true: no network, not even loopback and abstract sockets. false: the host's network, resolver and CA certificates, but no UNIX sockets of the host. */
  disable_networking?: boolean;
  /** Hosts that the script may reach, by name, over a proxy of pyexec; nothing else (docs/network.md). A port is 443 if none is given; *.a.example is every name with exactly one more label. Needs disable_networking true. */
  allowed_hosts?: readonly string[];
  /** true: the script has no file access, neither with open() nor in another way. */
  disable_open?: boolean;
  /** Used when disable_open is false. true: the script may read inside the working directory. false: it may also write there. It never has access to other folders. */
  allow_readonly_open?: boolean;
  /** true: the script may import only allowed_imports. false: it may import everything except banned_imports. */
  use_import_whitelist?: boolean;
  /** Modules that the script may import when the whitelist is on. An allowed module may itself import everything that it needs. */
  allowed_imports?: readonly string[];
  /** Modules that the script may not import when the whitelist is off. */
  banned_imports?: readonly string[];
  /** Refuses imports of names that begin or end with two underscores. */
  block_dunder_imports?: boolean;
  /** true: if the last statement is an expression whose value is not None, last_value_repr is its repr. */
  print_last_expression?: boolean;
  /** true: the interpreter runs with -I -S, without site-packages and without PYTHON* variables. */
  isolate_site?: boolean;
  /** Modules that the warm parent imports once, so that runs need not. This does not allow the script to import them. */
  preload_imports?: readonly string[];
  /** How many bytes the files of the workspace may have together (docs/security.md: the quota of a host folder). */
  workspace_bytes?: number;
  /** How many threads the script may have at the same time. It can never start processes. */
  max_threads?: number;
  /** How many calls of the caller's tools one execution may make (docs/tools.md). */
  max_tool_calls?: number;
  /** How long one tool call may wait for its answer. After this time the script gets an error. Null: no limit. */
  tool_timeout_ms?: number | null;
  /** true: the session can be forked, and its calls may keep checkpoints (docs/branches.md). It has no meaning for a single run. */
  forkable?: boolean;
  /** true: each call of the session keeps the state before it, so that it can be undone, and a call that ends its process leaves the session as before the call (docs/branches.md). It has no meaning for a single run. */
  auto_checkpoint?: boolean;
  /** How many states a session keeps. When there is one more, the oldest is removed. Each may hold as much memory and as many files as the session. */
  max_checkpoints?: number;
  // end of keys
}

/** The [session] section; durations as text ("10m") or null. */
export interface SessionConfig {
  enabled?: boolean;
  max_count?: number;
  idle_ttl?: string | null;
  hard_ttl?: string | null;
  workspace_root?: string | null;
  adopt_workspace?: boolean;
}

/** The optional members of one execution that are sent. */
export interface RequestFields {
  policy?: Policy;
  /** Short for this key of `policy`. */
  timeout_ms?: number;
  /** Short for this key of `policy`. */
  print_last_expression?: boolean;
  /** The folder in which the code starts, relative to the workspace. */
  working_dir?: string;
  /** An absolute folder of the host to work in; only for single runs, and only if the client starts the program. */
  workspace?: string;
  /** Environment variables of this call. */
  env?: Readonly<Record<string, string>>;
  /** What the script reads from standard input. */
  stdin?: string;
  /** Files to write into the workspace before the run, by relative path. */
  files?: Readonly<Record<string, string | Uint8Array>>;
  /** Glob patterns. The result has the contents of changed files that match. */
  return_files?: readonly string[];
  /** Variables of the run, as JSON values. A Set is sent as a list, a Map as an object, bytes as base64, a Date as ISO 8601. */
  inputs?: Readonly<Record<string, unknown>>;
  /** The last value also comes as JSON, in `last_value_json`. */
  value_json?: "records" | "split";
  /** The caller's span (W3C Trace Context): the run becomes a part of its trace. */
  traceparent?: string;
  tracestate?: string;
  /** True for a call of a session that the user does not see, and that gets no number; only if the client starts the program. */
  silent?: boolean;
  /** In a session: true keeps the state before the call, false does not, although the policy has auto_checkpoint. */
  checkpoint?: boolean;
  /** Only over NATS: of all requests with this key, at most one starts. The others fail with AlreadyStartedError. 1 to 128 characters of ASCII. */
  key?: string;
  /**
   * Packages that the script may import, as `["numpy", "pandas>=2"]`; only of a server, if its operator allows them. The first request for
   * them waits until they are installed. A session keeps those with which it was made (`session(id, { packages })`).
   */
  packages?: readonly string[];
}

/** The optional members of one execution. */
export interface Request extends RequestFields {
  /** Functions that the script may call, by name; in a session in addition to those of the session. */
  tools?: Tools;
  /** Decides about the calls of tools with `approval: true`. Without it these calls are refused. */
  approve?: Approve;
  /** Gets output and displays during the run. If it throws, the run is cancelled, and the call fails with its error. */
  onEvent?: (event: RunEvent) => void;
  /** Cancels the run. The call then fails with `signal.reason`. */
  signal?: AbortSignal;
}

/** A part of standard output or standard error, during the run. */
export interface Output {
  readonly type: "output";
  readonly stream: "stdout" | "stderr";
  readonly text: string;
  readonly seq: number;
}

/** Something that the script displayed, during the run. */
export interface Displayed {
  readonly type: "display";
  readonly display: Display;
}

/** Events of a detached execution that the server no longer has. */
export interface Dropped {
  readonly type: "dropped";
  readonly events: number;
}

export type RunEvent = Output | Displayed | Dropped;

/** The last event of a stream. */
export interface Ended {
  readonly type: "result";
  readonly result: Result;
}

export interface Display {
  /** Content by MIME type: text and JSON unchanged, all others in base64. */
  data: Record<string, unknown>;
  metadata: Record<string, unknown>;
  /** True if it is the value of the last expression. */
  last_value: boolean;
}

export interface ErrorInfo {
  type: string;
  message: string;
  line: number | null;
  traceback: string | null;
  hint: string | null;
}

/** A refused action. `hint` says what to do instead. */
export interface Denial {
  layer: string;
  what: string;
  line: number | null;
  hint: string;
}

/** A file that the run made, changed or deleted. */
export interface FileChange {
  path: string;
  bytes: number;
  change: "created" | "modified" | "deleted";
  /** Its content, if it matches `return_files`. */
  content: Uint8Array | null;
}

export interface FileEntry {
  path: string;
  bytes: number;
}

export interface Usage {
  wall_ms: number;
  cpu_ms: number;
  peak_memory_bytes: number;
  tool_calls: { count: number; wait_ms: number };
}

/** The session of a call. */
export interface SessionInfo {
  id: string;
  created: boolean;
  /** Null, or why the earlier state of this id is lost ("timeout", "host_restart", …). */
  restarted: string | null;
  execution_count: number;
  /** The call ended the session's process, and the session returned to the state before the call `to`; or null. */
  restored: { to: number; why: string } | null;
  /** Null, or why auto_checkpoint could not keep the state before the call. */
  no_checkpoint: string | null;
}

/** The environment of a run. */
export interface EnvironmentInfo {
  name: string;
  /** The version that the run used. An update gives the name another one. */
  hash: string;
}

/** An environment, in the list of environments. */
export interface EnvironmentEntry {
  /** For the key `environment` of a policy. */
  name: string;
  /** Another set of packages has another hash. */
  hash?: string;
  created?: string;
  /** The interpreter's version. */
  python?: string;
  requirements?: string[];
  packages?: Array<{ name: string; version: string }>;
  /** Modules that scripts may import. */
  imports?: string[];
  /** Limits with which the packages work: defaults of runs in this environment. */
  limits?: Record<string, number>;
  /** Modules that are imported before a run begins. */
  preload?: string[];
  /** Why it can't be used. Then only name, error and hint are there. */
  error?: string;
  hint?: string;
}

/** A session that lives, in the list of sessions. */
export interface SessionEntry {
  id: string;
  busy: boolean;
  execution_count: number;
  age_ms: number;
  idle_ms: number;
}

/** A node of a fleet whose part of a list is not there, because it refused or did not answer. */
export interface MissingNode {
  node: string;
  /** That of HTTP. */
  status: number;
  title: string;
}

/** A list of all nodes of a fleet. */
export type FleetList<T> = T[] & { readonly missing: readonly MissingNode[] };

/** `missing` can't be enumerated, so that the list is equal to an array of its rows. */
export function fleetList<T>(rows: T[], missing: readonly MissingNode[] = []): FleetList<T> {
  return Object.defineProperty(rows, "missing", { value: missing }) as FleetList<T>;
}

/** What `pyexec rpc` says about itself. Over HTTP it is empty. */
export interface ProgramInfo {
  version?: string;
  protocol?: number;
  python?: string;
  layers?: string[];
  missing_layers?: string[];
}

/** The members of a result. docs/results.md says which are facts of the host, and which are claims of the script. */
export interface ResultFields {
  status: Status;
  error: ErrorInfo | null;
  display: Display[];
  files: FileChange[];
  denials: Denial[];
  missing_layers: string[];
  usage: Usage;
  session: SessionInfo | null;
  environment: EnvironmentInfo | null;
  // made from result.def: members
  /** 0, or a number that says how it failed. A fact if the status is a fact. */
  exit_code: number;
  /** The kept part of standard output: the first max_stdout_bytes, as valid UTF-8, cut between characters. */
  stdout: string;
  /** True if a part of it was dropped. */
  stdout_truncated: boolean;
  /** How many bytes the script wrote to it. */
  stdout_bytes: number;
  /** The same for standard error, up to max_stderr_bytes. */
  stderr: string;
  /** True if a part of it was dropped. */
  stderr_truncated: boolean;
  /** How many bytes the script wrote to it. */
  stderr_bytes: number;
  /** The repr of the last expression. Null when its value is None or a semicolon follows it. */
  last_value_repr: string | null;
  /** True if max_value_bytes cut it. */
  last_value_truncated: boolean;
  /** The same value as JSON, if the request has value_json. */
  last_value_json: Json;
  /** Why the value has no JSON. */
  last_value_json_error: string | null;
  /** `Type: message`, or null. */
  error_repr: string | null;
  /** How many displays were dropped because of the limits. */
  display_dropped: number;
  /** True if some files or contents were left out. */
  files_truncated: boolean;
  /** How many more actions were refused. */
  denials_dropped: number;
  /** How complete the sandbox of the run was: full, container or reduced. */
  tier: string;
  // end of members
}

/** The result of one execution. */
export interface Result extends ResultFields {}

export class Result {
  constructor(fields: ResultFields) {
    Object.assign(this, fields);
  }

  get ok(): boolean {
    return this.status === "ok";
  }

  /**
   * A text for a model or a person, in the order of a terminal: what was printed, the value, displays, the error, notes, the hint.
   * It has at most 20,000 bytes. If it is longer, the middle is left out, and a line says how many bytes are missing.
   */
  explain(): string {
    return explain(this);
  }
}

type Data = Readonly<Record<string, unknown>>;

function objectOf(value: unknown): Data | null {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Data) : null;
}

function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

export function displayFrom(data: unknown): Display {
  return { data: {}, metadata: {}, last_value: false, ...objectOf(data) } as Display;
}

function fileFrom(data: unknown): FileChange {
  const { content_base64: content, ...rest } = objectOf(data) ?? {};
  return { path: "", bytes: 0, ...rest, content: typeof content === "string" ? bytesFrom(content) : null } as FileChange;
}

/** Decodes base64. The result is not a Buffer, because the methods of Buffer differ from those of Uint8Array. */
export function bytesFrom(base64: string): Uint8Array {
  return new Uint8Array(Buffer.from(base64, "base64"));
}

/** Makes a result of the object that the program sent. Members that a version of the program does not send have their empty values. */
export function resultFrom(value: unknown): Result {
  const data = objectOf(value) ?? {};
  const error = objectOf(data["error"]);
  const session = objectOf(data["session"]);
  const usage = objectOf(data["usage"]);
  const environment = objectOf(data["environment"]);
  return new Result({
    ...EMPTY,
    ...data,
    error: error && ({ type: "", message: "", line: null, traceback: null, hint: null, ...error } as ErrorInfo),
    display: listOf(data["display"]).map(displayFrom),
    files: listOf(data["files"]).map(fileFrom),
    denials: listOf(data["denials"]).map((one) => ({ layer: "", what: "", line: null, hint: "", ...objectOf(one) }) as Denial),
    missing_layers: listOf(data["missing_layers"]) as string[],
    usage: { wall_ms: 0, cpu_ms: 0, peak_memory_bytes: 0, ...usage,
      tool_calls: { count: 0, wait_ms: 0, ...objectOf(usage?.["tool_calls"]) } } as Usage,
    session: session && ({ id: "", created: false, restarted: null, execution_count: 0, restored: null, no_checkpoint: null, ...session } as SessionInfo),
    environment: environment && ({ name: "", hash: "", ...environment } as EnvironmentInfo),
  });
}

const EMPTY = {
  status: "" as Status,
  // made from result.def: empty values
  exit_code: 0,
  stdout: "",
  stdout_truncated: false,
  stdout_bytes: 0,
  stderr: "",
  stderr_truncated: false,
  stderr_bytes: 0,
  last_value_repr: null as string | null,
  last_value_truncated: false,
  last_value_json: null as Json,
  last_value_json_error: null as string | null,
  error_repr: null as string | null,
  display_dropped: 0,
  files_truncated: false,
  denials_dropped: 0,
  tier: "",
  // end of empty values
};

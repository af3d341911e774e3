# SPDX-License-Identifier: Apache-2.0
"""Types of requests and results. The names are those of the protocol; docs/results.md and docs/configuration.md explain
them. Members of a later version that are unknown here are only in `Result.raw`."""
from __future__ import annotations

import base64
import builtins
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Optional, TypedDict, TypeVar, Union

from . import _text

if TYPE_CHECKING:
    from .tools import Tools

Status = Literal["ok", "error", "timeout", "cpu_limit", "memory_limit", "killed", "crashed", "cancelled"]

# The modules that a script may import by default (a test compares them with the program). A list in a policy replaces the
# default, so to allow one more module, set allowed_imports=[*DEFAULT_ALLOWED_IMPORTS, "csv"].
# made from policy.def: allowed imports
DEFAULT_ALLOWED_IMPORTS = (
    "math", "statistics", "random", "re", "json", "itertools", "functools", "collections", "decimal", "fractions", "string",
    "textwrap", "heapq", "bisect", "array", "base64", "hashlib", "hmac", "uuid", "time", "datetime", "socket", "traceback",
)
# end of allowed imports

# The modules that a script may not import by default, if use_import_whitelist is false.
# made from policy.def: banned imports
DEFAULT_BANNED_IMPORTS = (
    "os", "sys", "subprocess", "pathlib", "shutil", "multiprocessing", "ctypes", "resource", "inspect", "builtins", "pickle",
)
# end of banned imports


class Policy(TypedDict, total=False):
    """Limits and permissions. Keys that are left out have their defaults (docs/configuration.md)."""

    # made from policy.def: keys
    python_bin: str
    environment: str
    allowed_environments: Sequence[str]
    timeout_ms: int
    cpu_time_seconds: Optional[int]
    address_space_bytes: Optional[int]
    max_open_files: Optional[int]
    max_stdout_bytes: int
    max_stderr_bytes: int
    max_value_bytes: int
    max_displays: int
    max_display_bytes: int
    disable_networking: bool
    allowed_hosts: Sequence[str]
    disable_open: bool
    allow_readonly_open: bool
    use_import_whitelist: bool
    allowed_imports: Sequence[str]
    banned_imports: Sequence[str]
    block_dunder_imports: bool
    print_last_expression: bool
    isolate_site: bool
    preload_imports: Sequence[str]
    workspace_bytes: int
    max_threads: int
    max_tool_calls: int
    tool_timeout_ms: Optional[int]
    forkable: bool
    auto_checkpoint: bool
    max_checkpoints: int
    # end of keys


class SessionConfig(TypedDict, total=False):
    """The [session] section; durations as text ("10m") or None."""

    enabled: bool
    max_count: int
    idle_ttl: Optional[str]
    hard_ttl: Optional[str]
    workspace_root: Optional[str]
    adopt_workspace: bool


class RequestFields(TypedDict, total=False):
    """The optional members of one execution.

    workspace: an absolute folder of the host to work in; only if the client starts the program.
    files: files to write into the workspace before the run, by relative path.
    return_files: glob patterns. The result has the contents of changed files that match.
    inputs: variables of the run, as JSON values.
    silent: True for a call of a session that the user does not see, and that gets no number; only if the client starts the
    program.
    checkpoint: in a session: True keeps the state before the call, False does not, although the policy has auto_checkpoint.
    key: 1 to 128 characters of printable ASCII; only for a fleet over NATS. Of all requests of the principal with this key at most one
    starts in a day; the others raise AlreadyStartedError. If its answer is lost, the request is sent again, for up to a minute.
    packages: packages that the script may import, as ["numpy", "pandas>=2"]; only of a server, if its operator allows them. The first
    request for them waits until they are installed. A session keeps those with which it was made (`session(packages=…)`).
    tools: functions that the script may call, by name; in a session in addition to those of the session (pyexec.tools).
    """

    policy: Policy
    timeout_ms: int
    print_last_expression: bool
    working_dir: str
    workspace: str
    env: Mapping[str, str]
    stdin: str
    files: Mapping[str, Union[str, bytes]]
    return_files: Sequence[str]
    inputs: Mapping[str, Any]
    value_json: Literal["records", "split"]
    traceparent: str
    tracestate: str
    silent: bool
    checkpoint: bool
    key: str
    packages: Sequence[str]
    tools: Tools


@dataclass(frozen=True)
class Output:
    """A part of standard output or standard error, during the run."""

    stream: Literal["stdout", "stderr"]
    text: str
    seq: int = 0


@dataclass(frozen=True)
class Display:
    """Something that the script displayed. data: content by MIME type, in base64 for binary types, as Python values for JSON types.
    last_value: True if it is the value of the last expression."""

    data: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    last_value: bool = False


@dataclass(frozen=True)
class ErrorInfo:
    type: str = ""
    message: str = ""
    line: Optional[int] = None
    traceback: str = ""
    hint: Optional[str] = None


@dataclass(frozen=True)
class Denial:
    """A refused action. hint says what to do instead."""

    layer: str = ""
    what: str = ""
    line: Optional[int] = None
    hint: str = ""


@dataclass(frozen=True)
class FileChange:
    """A file that the run made, changed or deleted. It has a content if it matches `return_files`."""

    path: str = ""
    bytes: int = 0
    change: str = ""
    content: Optional[builtins.bytes] = None


@dataclass(frozen=True)
class FileEntry:
    path: str = ""
    bytes: int = 0


class SessionList(list[Mapping[str, Any]]):
    """The sessions that live: id, busy, execution_count, age_ms, idle_ms.

    missing: the nodes of a fleet whose sessions are not here, because they refused or did not answer: node, status, title.
    """

    def __init__(self, sessions: Iterable[Mapping[str, Any]] = (), missing: Iterable[Mapping[str, Any]] = ()) -> None:
        super().__init__(sessions)
        self.missing = tuple(missing)


@dataclass(frozen=True)
class ToolUsage:
    """Calls of the caller's tools, and the time in which at least one call had no answer yet."""

    count: int = 0
    wait_ms: float = 0.0


@dataclass(frozen=True)
class Usage:
    wall_ms: float = 0.0
    cpu_ms: float = 0.0
    peak_memory_bytes: int = 0
    tool_calls: ToolUsage = ToolUsage()


@dataclass(frozen=True)
class Restored:
    """A return of a session to the state before a call. to: the execution count of the call. why: its status."""

    to: int = 0
    why: str = ""


@dataclass(frozen=True)
class SessionInfo:
    """The session of a call. restarted: None, or why the earlier state of this id is lost ("timeout", "host_restart", …).

    restored: None, or the call ended the session's process, and the session returned to the state before the call.
    no_checkpoint: None, or why auto_checkpoint could not keep the state before the call."""

    id: str = ""
    created: bool = False
    restarted: Optional[str] = None
    execution_count: int = 0
    restored: Optional[Restored] = None
    no_checkpoint: Optional[str] = None


@dataclass(frozen=True)
class EnvironmentInfo:
    """The environment of a run. hash: the version that the run used; an update gives the name another one."""

    name: str = ""
    hash: str = ""


@dataclass(frozen=True)
class Result:
    """The result of one execution. docs/results.md explains the statuses, and which fields are facts of the host."""

    status: str = ""
    exit_code: int = 0
    stdout: str = ""
    stdout_truncated: bool = False
    stdout_bytes: int = 0
    stderr: str = ""
    stderr_truncated: bool = False
    stderr_bytes: int = 0
    last_value_repr: Optional[str] = None
    last_value_truncated: bool = False
    last_value_json: Any = None
    last_value_json_error: Optional[str] = None
    error_repr: Optional[str] = None
    error: Optional[ErrorInfo] = None
    display: Sequence[Display] = ()
    files: Sequence[FileChange] = ()
    denials: Sequence[Denial] = ()
    missing_layers: Sequence[str] = ()
    usage: Usage = Usage()
    session: Optional[SessionInfo] = None
    environment: Optional[EnvironmentInfo] = None
    # made from result.def: members
    display_dropped: int = 0
    files_truncated: bool = False
    denials_dropped: int = 0
    tier: str = ""
    # end of members
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def ok(self) -> bool:
        return self.status == "ok"

    def explain(self) -> str:
        """Returns a text for a model or a person, in the order of a terminal: what was printed, the value, displays, the error,
        notes, the hint.

        It has at most 20,000 bytes. If it is longer, the middle is left out, and a line says how many bytes are missing."""
        return _text.explain(self)


T = TypeVar("T")


def _known(cls: type[T], data: Mapping[str, Any]) -> T:
    """Makes the dataclass from the members that it knows."""
    names = [item.name for item in dataclasses.fields(cls)]  # type: ignore[arg-type]
    return cls(**{name: data[name] for name in names if name in data})


def _many(cls: type[T], items: Any) -> tuple[T, ...]:
    return tuple(_known(cls, item) for item in items or ())


def _file_change(data: Mapping[str, Any]) -> FileChange:
    content = data.get("content_base64")
    known = _known(FileChange, {key: value for key, value in data.items() if key != "content"})
    return known if content is None else dataclasses.replace(known, content=base64.b64decode(content))


def display_from(data: Mapping[str, Any]) -> Display:
    return _known(Display, data)


def files_from(items: Any) -> list[FileEntry]:
    return list(_many(FileEntry, items))


def _usage(data: Mapping[str, Any]) -> Usage:
    return _known(Usage, {**data, "tool_calls": _known(ToolUsage, data.get("tool_calls") or {})})


def _session(data: Mapping[str, Any]) -> SessionInfo:
    return _known(SessionInfo, {**data, "restored": _known(Restored, data["restored"]) if data.get("restored") else None})


def usage_from(data: Any) -> Optional[Usage]:
    return _usage(data) if data else None


def error_info_from(data: Any) -> Optional[ErrorInfo]:
    return _known(ErrorInfo, data) if data else None


def result_from(data: Mapping[str, Any]) -> Result:
    nested: dict[str, Any] = {
        "raw": data,
        "display": _many(Display, data.get("display")),
        "denials": _many(Denial, data.get("denials")),
        "files": tuple(_file_change(item) for item in data.get("files") or ()),
        "missing_layers": tuple(data.get("missing_layers") or ()),
        "usage": _usage(data.get("usage") or {}),
        "error": _known(ErrorInfo, data["error"]) if data.get("error") else None,
        "session": _session(data["session"]) if data.get("session") else None,
        "environment": _known(EnvironmentInfo, data["environment"]) if data.get("environment") else None,
    }
    return _known(Result, {**data, **nested})


@dataclass(frozen=True)
class Undone:
    """An undo of a session. to: the execution count of the call before which the session is now. checkpoints: the calls before
    which states are still kept. pause_ms: how long the undo took."""

    to: int = 0
    checkpoints: tuple[int, ...] = ()
    pause_ms: float = 0.0


def undone_from(data: Mapping[str, Any]) -> Undone:
    return _known(Undone, {**data, "checkpoints": tuple(data.get("checkpoints") or ())})

# SPDX-License-Identifier: Apache-2.0
"""What goes in and what comes out. Names are those of the protocol; docs/results.md and docs/configuration.md say
what they mean. Fields of a later version that are not known here are ignored, and are in `Result.raw`."""
from __future__ import annotations

import base64
import builtins
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Optional, TypedDict, TypeVar, Union

from . import _text

if TYPE_CHECKING:
    from .tools import Tools

Status = Literal["ok", "error", "timeout", "cpu_limit", "memory_limit", "killed", "crashed", "cancelled"]

# What a script may import when the policy does not say (checked against the program by a test): lists of a
# policy replace, so that one module more is allowed_imports=[*DEFAULT_ALLOWED_IMPORTS, "csv"].
# made from policy.def: allowed imports
DEFAULT_ALLOWED_IMPORTS = (
    "math", "statistics", "random", "re", "json", "itertools", "functools", "collections", "decimal", "fractions", "string",
    "textwrap", "heapq", "bisect", "array", "base64", "hashlib", "hmac", "uuid", "time", "datetime", "socket", "traceback",
)
# end of allowed imports

# What it may not, where use_import_whitelist is false.
# made from policy.def: banned imports
DEFAULT_BANNED_IMPORTS = (
    "os", "sys", "subprocess", "pathlib", "shutil", "multiprocessing", "ctypes", "resource", "inspect", "builtins", "pickle",
)
# end of banned imports


class Policy(TypedDict, total=False):
    """Limits and permissions; what is left out has its default (docs/configuration.md)."""

    # made from policy.def: keys
    python_bin: str
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

    workspace: an absolute folder of the host to work in; only where the program is started by the client.
    files: put into the workspace first, by relative path. return_files: glob patterns of changed files whose
    contents come with the result. inputs: variables of the run, JSON values. silent: of a session's call that its
    user does not see and that takes no number; only where the program is started by the client. tools: functions that the
    script may call, by name; in a session beside those of the session (pyexec.tools).
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
    silent: bool
    tools: Tools


@dataclass(frozen=True)
class Output:
    """A piece of standard output or standard error, as it comes."""

    stream: Literal["stdout", "stderr"]
    text: str
    seq: int = 0


@dataclass(frozen=True)
class Display:
    """Something shown: MIME type → value; binary types in base64, JSON types unpacked. last_value: it is what
    `last_value_repr` is the repr of."""

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
    """Something that was refused; hint says what to do instead."""

    layer: str = ""
    what: str = ""
    line: Optional[int] = None
    hint: str = ""


@dataclass(frozen=True)
class FileChange:
    """A file that the run made, changed or deleted; content for those that match `return_files`."""

    path: str = ""
    bytes: int = 0
    change: str = ""
    content: Optional[builtins.bytes] = None


@dataclass(frozen=True)
class FileEntry:
    path: str = ""
    bytes: int = 0


@dataclass(frozen=True)
class ToolUsage:
    """Calls of the caller's tools, and the time with at least one under way."""

    count: int = 0
    wait_ms: float = 0.0


@dataclass(frozen=True)
class Usage:
    wall_ms: float = 0.0
    cpu_ms: float = 0.0
    peak_memory_bytes: int = 0
    tool_calls: ToolUsage = ToolUsage()


@dataclass(frozen=True)
class SessionInfo:
    """restarted: None, or why the state that this id had is gone ("timeout", "host_restart", …)."""

    id: str = ""
    created: bool = False
    restarted: Optional[str] = None
    execution_count: int = 0


@dataclass(frozen=True)
class Result:
    """How one execution ended. Statuses, and which fields are facts of the host: docs/results.md."""

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
        """Text for a model or a person, in the order of a terminal: what was printed, the value, displays, the error, notes, the hint.

        At most 20,000 bytes: of a longer text the middle is left out, and a line says how many bytes."""
        return _text.explain(self)


T = TypeVar("T")


def _known(cls: type[T], data: Mapping[str, Any]) -> T:
    """The dataclass, from the members that it knows."""
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


def result_from(data: Mapping[str, Any]) -> Result:
    nested: dict[str, Any] = {
        "raw": data,
        "display": _many(Display, data.get("display")),
        "denials": _many(Denial, data.get("denials")),
        "files": tuple(_file_change(item) for item in data.get("files") or ()),
        "missing_layers": tuple(data.get("missing_layers") or ()),
        "usage": _usage(data.get("usage") or {}),
        "error": _known(ErrorInfo, data["error"]) if data.get("error") else None,
        "session": _known(SessionInfo, data["session"]) if data.get("session") else None,
    }
    return _known(Result, {**data, **nested})

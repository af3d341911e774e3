# SPDX-License-Identifier: Apache-2.0
"""The operations of the clients: each has a method, its parameters and the conversion of its answer. Both clients use them,
and differ only in how they wait."""
from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Callable, Generic, Optional, TypeVar, Union

from .errors import MALFORMED, PyexecError
from .tools import Tool, Tools, make_tools
from .types import FileEntry, Policy, Result, SessionList, Undone, files_from, result_from, undone_from
from .verify import Verified, tests_to_json, verified_from

T = TypeVar("T")


@dataclass(frozen=True)
class Operation(Generic[T]):
    method: str
    params: Mapping[str, Any]
    convert: Callable[[Any], T]
    tools: Mapping[str, Tool] = field(default_factory=dict)

    def decode(self, answer: Any) -> T:
        try:
            return self.convert(answer)
        except MALFORMED as failure:
            raise PyexecError("%s: an answer that can't be read: %s: %s" % (self.method, type(failure).__name__, failure),
                              "Check that client and server have the same version.") from failure


def _nothing(_: Any) -> None:
    return None


def _file(content: Union[str, bytes]) -> Any:
    return content if isinstance(content, str) else {"base64": base64.b64encode(content).decode()}


def _plain(value: Any) -> Any:
    """Converts sets and tuples to lists for JSON. A set is sorted, so that equal policies have the same JSON."""
    return sorted(value) if isinstance(value, (set, frozenset)) else list(value) if isinstance(value, tuple) else value


def plain_policy(policy: Optional[Policy]) -> dict[str, Any]:
    return {key: _plain(value) for key, value in (policy or {}).items()}


def _request(code: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Makes the params of a request. A field that is None is left out."""
    params = {key: _plain(value) for key, value in fields.items() if value is not None}
    if "policy" in params:
        params["policy"] = plain_policy(params["policy"])
    if "files" in params:
        params["files"] = {path: _file(content) for path, content in params["files"].items()}
    return {**params, "code": code}


def _execution(method: str, code: str, fields: Mapping[str, Any], tools: Mapping[str, Tool], **more: Any) -> Operation[Result]:
    own = {key: value for key, value in fields.items() if key != "tools"}
    offered = {**tools, **make_tools(fields.get("tools"))}
    if offered:
        more["tools"] = [tool.definition for tool in offered.values()]
    return Operation(method, {**more, **_request(code, own)}, result_from, offered)


def execute_once(code: str, fields: Mapping[str, Any]) -> Operation[Result]:
    return _execution("execute_once", code, fields, {})


def verify(solution: str, tests: Sequence[Mapping[str, Any]], fields: Mapping[str, Any]) -> Operation[Verified]:
    params = _request(solution, fields)
    params["solution"] = params.pop("code")
    if "each" in params:
        params["each"] = plain_policy(params["each"])
    return Operation("verify", {**params, "tests": tests_to_json(tests)}, verified_from)


def list_environments() -> Operation[list[Mapping[str, Any]]]:
    return Operation("list_environments", {}, lambda answer: list(answer["environments"]))


def list_sessions() -> Operation[SessionList]:
    return Operation("list_sessions", {}, lambda answer: SessionList(answer["sessions"], answer.get("missing") or ()))


class SessionOperations:
    def __init__(self, session_id: str, policy: Optional[Policy], tools: Optional[Tools], packages: Optional[Sequence[str]]) -> None:
        self.id, self.policy, self.tools, self.packages = session_id, plain_policy(policy), make_tools(tools), _plain(packages)

    def _of_creation(self, policy: str) -> dict[str, Any]:
        """What is sent with each call, because any call may make the session."""
        own = {policy: self.policy, "packages": self.packages}
        return {key: value for key, value in own.items() if value}

    def _of(self, method: str, convert: Callable[[Any], T], **params: Any) -> Operation[T]:
        return Operation(method, {"session_id": self.id, **params}, convert)

    def execute(self, code: str, fields: Mapping[str, Any]) -> Operation[Result]:
        return _execution("execute", code, fields, self.tools, session_id=self.id, **self._of_creation("session_policy"))

    def create(self) -> Operation[None]:
        return self._of("create_session", _nothing, **self._of_creation("policy"))

    def interrupt(self) -> Operation[None]:
        return self._of("interrupt", _nothing)

    def close(self) -> Operation[None]:
        return self._of("close_session", _nothing)

    def fork(self, count: Optional[int], ids: Optional[Sequence[str]]) -> Operation[list[str]]:
        which = {"count": count, "ids": ids if ids is None or isinstance(ids, str) else list(ids)}
        return self._of("fork_session", lambda answer: list(answer["sessions"]), **{key: value for key, value in which.items() if value is not None})

    def undo(self, to: Optional[int]) -> Operation[Undone]:
        return self._of("undo", undone_from, **({} if to is None else {"to": to}))

    def reset(self) -> Operation[Undone]:
        return self._of("reset_session", undone_from)

    def list_files(self) -> Operation[list[FileEntry]]:
        return self._of("list_files", lambda answer: files_from(answer["files"]))

    def read_file(self, path: str) -> Operation[bytes]:
        return self._of("read_file", bytes, path=path)

    def write_file(self, path: str, content: Union[str, bytes]) -> Operation[None]:
        return self._of("write_file", _nothing, path=path, content=content.encode() if isinstance(content, str) else content)

    def delete_file(self, path: str) -> Operation[None]:
        return self._of("delete_file", _nothing, path=path)

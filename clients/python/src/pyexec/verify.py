# SPDX-License-Identifier: Apache-2.0
"""verify: one solution, many tests (docs/verify.md). Python values in tests become JSON that keeps their types, and back."""
from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Callable, Literal, Optional, TypedDict, Union

from .types import ErrorInfo, Policy, Usage, error_info_from, usage_from


class Test(TypedDict, total=False):
    """One of {"stdin", "expect_stdout"}, {"call", "args", "kwargs", "expect"} and {"code"}."""

    stdin: str
    expect_stdout: str
    call: str
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    expect: Any
    code: str


class Tolerance(TypedDict, total=False):
    """Numbers a and b are equal if abs(a - b) <= max(rel * max(abs(a), abs(b)), abs)."""

    rel: float
    abs: float


Compare = Union[Literal["exact", "tokens", "lines"], Tolerance]


class VerifyFields(TypedDict, total=False):
    """The optional members of verify. each: limits of each test, such as {"timeout_ms": 2000}. output_bytes: how much of each text
    the answer shows for a test. The others, and the key, are those of an execution."""

    compare: Compare
    stop_on_fail: bool
    each: Policy
    output_bytes: int
    key: str
    policy: Policy
    timeout_ms: int
    working_dir: str
    env: Mapping[str, str]
    files: Mapping[str, Union[str, bytes]]


@dataclass(frozen=True)
class Verdict:
    """The result of one test. claim: True if only the process of the solution says that it passed. value: what the function
    returned, as a Python value; None if value_truncated."""

    index: int
    kind: str
    verdict: str
    claim: bool = False
    value: Any = None
    value_truncated: bool = False
    exit_code: Optional[int] = None
    stdout: str = ""
    stderr: str = ""
    error: Optional[ErrorInfo] = None
    usage: Optional[Usage] = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def passed(self) -> bool:
        return self.verdict == "pass"


@dataclass(frozen=True)
class Verified:
    """The answer of verify. summary: the number of tests and of each verdict. solution: the run of the solution itself, or None
    if there were only tests with stdin."""

    passed: bool
    summary: Mapping[str, int]
    tests: Sequence[Verdict]
    solution: Optional[Mapping[str, Any]] = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


def value_to_json(value: Any) -> Any:
    """Returns the value in the forms of docs/verify.md."""
    kind = type(value)
    if kind is int and not -(1 << 63) <= value < 1 << 63:
        return {"$int": str(value)}
    if kind is float and value - value != 0:
        return {"$float": repr(value)}
    if kind is tuple:
        return {"$tuple": [value_to_json(item) for item in value]}
    if kind in (set, frozenset):
        return {"$set": [value_to_json(item) for item in value]}
    if kind in (bytes, bytearray):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, Mapping):
        if all(type(key) is str for key in value):
            return {"$" + key if key.startswith("$") else key: value_to_json(item) for key, item in value.items()}
        return {"$dict": [[value_to_json(key), value_to_json(item)] for key, item in value.items()]}
    if isinstance(value, (list, tuple)):
        return [value_to_json(item) for item in value]
    if value is None or isinstance(value, (str, int, float)):
        return value
    raise TypeError("args, kwargs and expect of a test can't have a value of the type %s: docs/verify.md has those that they can have; "
                    "write others as a list, a dict or a text" % kind.__name__)


def _key(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


_FORMS: Mapping[str, Callable[[Any], Any]] = {
    "$int": int, "$float": float, "$bytes": base64.b64decode,
    "$tuple": lambda items: tuple(value_from_json(item) for item in items),
    "$set": lambda items: {_key(value_from_json(item)) for item in items},
    "$dict": lambda pairs: {_key(value_from_json(key)): value_from_json(item) for key, item in pairs},
}


def value_from_json(value: Any) -> Any:
    """The other way round. A form that is not valid stays as it is: a script sent it."""
    if isinstance(value, list):
        return [value_from_json(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        name, content = next(iter(value.items()))
        if name in _FORMS:
            try:
                return _FORMS[name](content)
            except (ValueError, TypeError):
                return value
    return {key[1:] if key.startswith("$$") else key: value_from_json(item) for key, item in value.items()}


def _test(test: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(test, Mapping):
        return test             # pyexec refuses it, and says which test it is; so it does with the others of a wrong type
    valued = {key: value_to_json(test[key]) for key in ("expect",) if key in test}
    if isinstance(test.get("args"), Sequence) and not isinstance(test["args"], (str, bytes, bytearray)):
        valued["args"] = [value_to_json(item) for item in test["args"]]
    elif "args" in test:
        valued["args"] = value_to_json(test["args"])
    if "kwargs" in test:
        valued["kwargs"] = value_to_json(test["kwargs"])
    return {**test, **valued}


def tests_to_json(tests: Sequence[Mapping[str, Any]]) -> Any:
    return tests if isinstance(tests, str) else [_test(test) for test in tests]


def _verdict(data: Mapping[str, Any]) -> Verdict:
    return Verdict(
        index=data["index"], kind=data["kind"], verdict=data["verdict"], claim=bool(data.get("claim")),
        value=value_from_json(data.get("value")), value_truncated=bool(data.get("value_truncated")), exit_code=data.get("exit_code"),
        stdout=data.get("stdout", ""), stderr=data.get("stderr", ""), error=error_info_from(data.get("error")),
        usage=usage_from(data.get("usage")), raw=data)


def verified_from(data: Mapping[str, Any]) -> Verified:
    return Verified(passed=bool(data["passed"]), summary=data["summary"], tests=tuple(_verdict(test) for test in data["tests"]),
                    solution=data.get("solution"), raw=data)

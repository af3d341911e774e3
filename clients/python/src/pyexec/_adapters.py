# SPDX-License-Identifier: Apache-2.0
"""Functions that the adapters share: they make a pyexec tool from a framework's tool, and write the descriptions for the model."""
from __future__ import annotations

import builtins
import functools
import inspect
import keyword
import re
from collections.abc import Mapping
from typing import Any, Callable, Optional

from .tools import ToolError
from .types import DEFAULT_ALLOWED_IMPORTS, DEFAULT_BANNED_IMPORTS

ScriptTools = dict[str, tuple[Mapping[str, Any], Callable[..., Any]]]

CODE_SCHEMA: dict[str, Any] = {
    "type": "object", "required": ["code"], "additionalProperties": False,
    "properties": {"code": {"type": "string", "description": "Python code. Its output and the value of its last expression are returned."}}}

_REFUSED = {*keyword.kwlist, *dir(builtins), "tools", "aio", "ToolError"}
_TYPES = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "array": "list", "object": "dict", "null": "None"}


def add_tool(tools: ScriptTools, name: str, description: Optional[str], parameters: Optional[Mapping[str, Any]],
             function: Callable[..., Any], returns: Optional[Mapping[str, Any]] = None) -> str:
    """Adds a framework's tool to `tools`, the tools that a script may call. Returns its name in the script: a name that Python
    does not allow is changed, and the description then has the original name. The function may be async. It gets the arguments by
    name."""
    free = _free_name(name, tools)
    text = (description or "").strip()
    if free != name:
        text = ("%s\n\nThe tool is called %r elsewhere." % (text, name)).strip()
    definition = {"description": text or None, "parameters": parameters or None, "returns": returns or None}
    given = {key: value for key, value in definition.items() if value is not None}
    tools[free] = ({"parameters": {"type": "object"}, **given}, _in_plain_words(function))
    return free


def _free_name(name: str, taken: Mapping[str, Any]) -> str:
    word = re.sub(r"[^A-Za-z0-9_]", "_", name)
    if not re.match(r"[A-Za-z]", word):
        word = "tool_" + word
    if word in _REFUSED:
        word += "_tool"
    free, number = word, 2
    while free in taken:
        free, number = "%s_%d" % (word, number), number + 1
    return free


def _in_plain_words(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps the function: its exceptions go through plain_error()."""
    if inspect.iscoroutinefunction(function):
        @functools.wraps(function)
        async def call_async(**arguments: Any) -> Any:
            try:
                return await function(**arguments)
            except Exception as error:
                raise plain_error(error) from error
        return call_async

    @functools.wraps(function)
    def call(**arguments: Any) -> Any:
        try:
            return function(**arguments)
        except Exception as error:
            raise plain_error(error) from error
    return call


def plain_error(error: Exception) -> Exception:
    """Returns the error. A ValidationError of pydantic becomes a ToolError that only says which argument is wrong, and why."""
    errors = getattr(error, "errors", None)
    if callable(errors) and type(error).__name__ == "ValidationError":
        return ToolError("; ".join("%s: %s" % (".".join(map(str, one["loc"])) or "the arguments", one["msg"]) for one in errors()))
    return error


def describe_policy(policy: Mapping[str, Any], keeps_state: bool = True) -> str:
    """Returns a text that tells a model about the limits of this policy, before its first call."""
    if policy.get("use_import_whitelist", True):
        imports = "It may import these modules and no others: %s." % ", ".join(policy.get("allowed_imports", DEFAULT_ALLOWED_IMPORTS))
    else:
        banned = ", ".join(policy.get("banned_imports", DEFAULT_BANNED_IMPORTS))
        imports = "It may import any module except these: %s." % banned if banned else "It may import any installed module."
    files = "It can't use files."
    if not policy.get("disable_open", True):
        files = "Files: open() with relative paths%s." % (", for reading" if policy.get("allow_readonly_open") else "")
    hosts = ", ".join(policy.get("allowed_hosts", ()))
    network = "no network" if policy.get("disable_networking", True) else "the network"
    if hosts:
        network = "a network with only these hosts, over a proxy that HTTP clients find by themselves (aiohttp: trust_env=True): %s" % hosts
    return (
        "Runs Python code in a sandbox that %s. The value of the last expression is returned, so print() "
        "is not needed for it. %s %s It has %s, and %g s for each call. Read the hint of an error: it says what to do instead."
        % ("keeps variables between calls" if keeps_state else "keeps nothing between calls", imports, files,
           network, policy.get("timeout_ms", 5000) / 1000))


def describe_tools(tools: Mapping[str, tuple[Mapping[str, Any], Any]], policy: Mapping[str, Any], intro: str = "") -> str:
    """Returns a paragraph for the description that a model reads: an introduction, and a line for each tool. Empty without tools."""
    if not tools:
        return ""
    at_once = "; several at once: import asyncio, tools, then await asyncio.gather(tools.aio.NAME(...), ...)" if _may_gather(policy) else ""
    lines = [intro or "\n\nThe code can call these functions, many in one program%s. One that fails raises ToolError." % at_once]
    for name, (definition, _) in tools.items():
        text = " ".join(str(definition.get("description", "")).split())
        lines.append("- %s%s%s" % (name, _signature(definition), ": " + text if text else ""))
    return "\n".join(lines)


def _may_gather(policy: Mapping[str, Any]) -> bool:
    if policy.get("use_import_whitelist", True):
        return "asyncio" in policy.get("allowed_imports", DEFAULT_ALLOWED_IMPORTS)
    return "asyncio" not in policy.get("banned_imports", DEFAULT_BANNED_IMPORTS)


def _signature(definition: Mapping[str, Any]) -> str:
    """Returns the signature in Python's syntax, which needs required parameters first."""
    schema = definition.get("parameters", {})
    properties, required = schema.get("properties") or {}, schema.get("required") or ()
    parts = [_declared(name, part, name in required) for name, part in properties.items()]
    ordered = [part for part, name in zip(parts, properties) if name in required] + \
        [part for part, name in zip(parts, properties) if name not in required]
    returned = _TYPES.get(str((definition.get("returns") or {}).get("type")))
    return "(%s)%s" % (", ".join(ordered), " -> " + returned if returned else "")


def _declared(name: str, schema: Any, required: bool) -> str:
    part = schema if isinstance(schema, Mapping) else {}
    kind = _TYPES.get(str(part.get("type")))
    declared = "%s: %s" % (name, kind) if kind else name
    default = part.get("default", ...)
    shown = repr(default) if default is None or isinstance(default, (bool, int, float, str)) else "..."
    return declared if required else "%s = %s" % (declared, shown if len(shown) <= 100 else "...")

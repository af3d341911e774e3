# SPDX-License-Identifier: Apache-2.0
"""Tools: functions of this program that a script calls (docs/tools.md, From Python).

    px.execute_once("lookup('Paris')", tools={"lookup": lookup})

The schema of a function comes from its type hints and its docstring. A pair (schema, function) brings its own schema.
"""
from __future__ import annotations

import asyncio
import base64
import contextvars
import dataclasses
import datetime
import decimal
import enum
import inspect
import json
import logging
import os
import re
import threading
import types
import typing
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Callable, Optional, Union

from ._transport import BLOCKING_BYTES, ToolCall

Function = Callable[..., Any]
Tools = Mapping[str, Union[Function, tuple[Mapping[str, Any], Function]]]

_log = logging.getLogger("pyexec")
_UNION = (Union, getattr(types, "UnionType", Union))


class ToolDenied(Exception):
    """A tool raises this exception to refuse a call. The script gets a PermissionError with this reason."""


class ToolError(Exception):
    """A tool raises this when it fails. The script gets a ToolError with this message and, as `.data`, this JSON value. For any
    other exception the script gets a ToolError that only has the message."""

    def __init__(self, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.data = data


# ---- Types: their JSON Schema, and the conversion from JSON ----

Convert = Callable[[str, Any], Any]     # arguments: a name for error messages, and a JSON value


def _wrong(where: str, wanted: str, value: Any) -> TypeError:
    text = repr(value)
    return TypeError("%s must be %s, not %s" % (where, wanted, text if len(text) <= 100 else text[:97] + "..."))


def _plain(kind: type, name: str) -> tuple[dict[str, Any], Convert]:
    def convert(where: str, value: Any) -> Any:
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if kind is int and isinstance(value, float) and value.is_integer():
            return int(value)
        if not isinstance(value, kind) or isinstance(value, bool) and kind is not bool:
            raise _wrong(where, name, value)
        return value
    return {"type": name}, convert


def _list_of(item: Any, rebuild: Callable[[list[Any]], Any]) -> tuple[dict[str, Any], Convert]:
    schema, convert_item = _type(item)

    def convert(where: str, value: Any) -> Any:
        if not isinstance(value, list):
            raise _wrong(where, "array", value)
        return rebuild([convert_item("%s[%d]" % (where, i), one) for i, one in enumerate(value)])
    return {"type": "array", **({"items": schema} if schema else {})}, convert


def _object_of(item: Any) -> tuple[dict[str, Any], Convert]:
    schema, convert_item = _type(item)

    def convert(where: str, value: Any) -> Any:
        if not isinstance(value, dict):
            raise _wrong(where, "object", value)
        return {key: convert_item("%s[%r]" % (where, key), one) for key, one in value.items()}
    return {"type": "object", **({"additionalProperties": schema} if schema else {})}, convert


def _choice_of(values: Sequence[Any], rebuild: Callable[[Any], Any]) -> tuple[dict[str, Any], Convert]:
    names = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}
    kinds = list(dict.fromkeys(names[type(value)] for value in values if type(value) in names))

    def convert(where: str, value: Any) -> Any:
        for choice in values:
            if choice == value and type(choice) is type(value):
                return rebuild(value)
        raise _wrong(where, "one of " + ", ".join(map(repr, values)), value)
    return {"enum": list(values), **({"type": kinds[0] if len(kinds) == 1 else kinds} if kinds else {})}, convert


def _one_of(options: Sequence[Any]) -> tuple[dict[str, Any], Convert]:
    parts = [_type(option) for option in options]
    null = type(None) in options
    schemas = [schema for (schema, _), option in zip(parts, options) if option is not type(None)]
    schema: dict[str, Any]
    if len(schemas) == 1 and null:
        kind = schemas[0].get("type")
        schema = {**schemas[0], "type": [kind, "null"]} if isinstance(kind, str) else \
            {"anyOf": [*schemas, {"type": "null"}]} if schemas[0] else {}
        if isinstance(kind, str) and "enum" in schema:
            schema["enum"] = [*schema["enum"], None]
    else:
        schema = {"anyOf": [*schemas, *([{"type": "null"}] if null else [])]} if all(schemas) else {}

    def convert(where: str, value: Any) -> Any:
        failure: Optional[Exception] = None
        for _, convert_part in parts:
            try:
                return convert_part(where, value)
            except (TypeError, ValueError) as error:
                failure = failure or error
        raise failure or _wrong(where, "something", value)
    return schema, convert


def _members(hints: Mapping[str, Any], required: set[str], rebuild: Callable[[dict[str, Any]], Any],
             descriptions: Mapping[str, str]) -> tuple[dict[str, Any], Convert]:
    parts = {name: _type(hint) for name, hint in hints.items()}
    schema: dict[str, Any] = {"type": "object", "properties": {
        name: {**part, **({"description": descriptions[name]} if name in descriptions and "description" not in part else {})}
        for name, (part, _) in parts.items()}, "additionalProperties": False}
    if required:
        schema["required"] = [name for name in parts if name in required]

    def convert(where: str, value: Any) -> Any:
        if not isinstance(value, dict):
            raise _wrong(where, "object", value)
        for name in required - set(value):
            raise TypeError("%s lacks %r" % (where, name))
        for name in value:
            if name not in parts:
                raise TypeError("%s has an unknown key %.100r" % (where, name))
        return rebuild({name: parts[name][1]("%s[%r]" % (where, name), one) for name, one in value.items()})
    return schema, convert


def _hints_of(thing: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(thing, include_extras=True)
    except Exception:
        return dict(getattr(thing, "__annotations__", {}))


def _class(kind: type) -> tuple[dict[str, Any], Convert]:
    if issubclass(kind, enum.Enum):
        return _choice_of([member.value for member in kind], kind)
    if dataclasses.is_dataclass(kind):
        fields = [one for one in dataclasses.fields(kind) if one.init]
        hints = _hints_of(kind)
        required = {one.name for one in fields if one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING}
        return _members({one.name: hints.get(one.name, Any) for one in fields}, required, lambda values: kind(**values),
                        _describe(kind.__doc__ or "")[1])
    if hasattr(kind, "__required_keys__"):      # TypedDict
        return _members(_hints_of(kind), set(kind.__required_keys__), dict, _describe(kind.__doc__ or "")[1])
    for base, name in ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string")):
        if kind is base:
            return _plain(base, name)
    if kind is type(None):
        return _choice_of([None], lambda value: value)
    if kind in (list, tuple, set, frozenset):
        return _list_of(Any, kind)
    return _object_of(Any) if kind is dict else ({}, lambda where, value: value)


def _type(hint: Any) -> tuple[dict[str, Any], Convert]:
    """Returns a schema, which is {} if any JSON is allowed, and a function that converts JSON to the type or raises TypeError."""
    origin, given = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        schema, convert = _type(given[0])
        texts = [one for one in given[1:] if isinstance(one, str)] + [one.description for one in given[1:]
                                                                      if isinstance(getattr(one, "description", None), str)]
        return {**schema, **({"description": texts[0]} if texts else {})}, convert
    if getattr(origin, "__name__", getattr(origin, "_name", "")) in ("Required", "NotRequired", "ReadOnly"):
        return _type(given[0])
    if origin in _UNION:
        return _one_of(given)
    if origin is typing.Literal:
        return _choice_of(given, lambda value: value)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return _object_of(given[1] if len(given) == 2 else Any)
    if origin is tuple:
        return _list_of(given[0] if len(given) == 2 and given[1] is Ellipsis else Any, tuple)
    if isinstance(origin, type) and issubclass(origin, (Sequence, set, frozenset)) or origin in (typing.get_origin(typing.Iterable[int]),):
        return _list_of(given[0] if given else Any, origin if origin in (list, set, frozenset) else list)
    return _class(hint) if isinstance(hint, type) else ({}, lambda where, value: value)


# ---- Docstrings ----

_SECTION = re.compile(r"^(Args|Arguments|Parameters|Returns|Return|Yields|Raises|Examples?|Notes?|Attributes)\s*:\s*$")
_ARGUMENT = re.compile(r"^\*{0,2}(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)$")
_FIELD = re.compile(r"^:(param|parameter|arg|argument|return|returns)\s*([^:]*):\s*(.*)$")


def _describe(text: str) -> tuple[str, dict[str, str], str]:
    """Parses a docstring in the style of Google or reStructuredText. Returns what the function does, its parameters, and what it
    returns."""
    summary: list[str] = []
    parameters: dict[str, str] = {}
    returned = section = current = ""
    indent = 0
    for line in inspect.cleandoc(text).splitlines():
        bare, depth = line.strip(), len(line) - len(line.lstrip())
        named = _SECTION.match(line)
        field = _FIELD.match(bare)
        argument = _ARGUMENT.match(bare) if section in ("Args", "Arguments", "Parameters", "Attributes") else None
        if named:
            section, current, indent = named.group(1), "", 0
        elif field:
            section = "field"
            current = field.group(2).split()[-1] if field.group(1).startswith(("param", "arg")) and field.group(2) else "return"
            if current == "return":
                returned = field.group(3)
            else:
                parameters[current] = field.group(3)
        elif bare.startswith(":") and section == "field":
            current = ""
        elif argument and depth and (not indent or depth <= indent):
            indent, current = depth, argument.group(1)
            parameters[current] = argument.group(2)
        elif section in ("Returns", "Return") or current == "return":
            returned = (returned + " " + bare).strip()
        elif current and depth:
            parameters[current] = (parameters[current] + " " + bare).strip()
        elif not section:
            summary.append(line)
        elif bare and not depth:        # text after a section
            section, current = "rest", ""
    return "\n".join(summary).strip(), {name: words for name, words in parameters.items() if words}, returned


# ---- Tools ----

def _inner(function: Function) -> Any:
    """Returns the function below partials and decorators, which has the type hints and the docstring."""
    while hasattr(function, "func"):        # functools.partial
        function = function.func
    function = inspect.unwrap(function)
    return function if inspect.isroutine(function) else type(function).__call__ if callable(function) and not isinstance(function, type) else function


class Tool:
    """One tool: its definition for the script, and how to call its function."""

    def __init__(self, name: str, given: Union[Function, tuple[Mapping[str, Any], Function]]) -> None:
        self.name = name
        self._converts: Optional[dict[str, Convert]] = None
        self._open = True
        if isinstance(given, tuple):
            schema, self.function = given
            parts = schema if set(schema) & {"parameters", "returns"} else \
                {"parameters": {key: value for key, value in schema.items() if key != "description"},
                 **({"description": schema["description"]} if "description" in schema else {})}
            self.definition: dict[str, Any] = {**parts, "name": name}
        else:
            self.function = given
            self.definition = {"name": name, **self._of_function()}
        if not callable(self.function):
            raise TypeError("tools: %r is neither a function nor a pair (schema, function)" % name)
        inner = _inner(self.function)
        self.is_async = inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(self.function)

    def _of_function(self) -> dict[str, Any]:
        inner = _inner(self.function)
        hints = _hints_of(inner)
        document = inspect.getdoc(self.function) if inspect.isroutine(self.function) else inspect.getdoc(inner)
        summary, descriptions, returned = _describe(document or "")
        properties: dict[str, Any] = {}
        required, self._converts, self._open = [], {}, False
        for parameter in inspect.signature(self.function).parameters.values():
            if parameter.kind is parameter.VAR_KEYWORD:
                self._open = True
                continue
            if parameter.kind is parameter.VAR_POSITIONAL:
                continue
            if parameter.kind is parameter.POSITIONAL_ONLY:
                raise TypeError("tools: %r: its parameter %r is positional-only; scripts pass arguments by name" % (self.name, parameter.name))
            schema, self._converts[parameter.name] = _type(hints.get(parameter.name, Any))
            if parameter.name in descriptions:
                schema = {"description": descriptions[parameter.name], **schema}
            if parameter.default is parameter.empty:
                required.append(parameter.name)
            else:
                try:
                    schema = {**schema, "default": json.loads(encode_value(parameter.default))}
                except ValueError:
                    pass        # not in the schema: the function itself applies its default
            properties[parameter.name] = schema
        parameters: dict[str, Any] = {"type": "object", "properties": properties}
        if required:
            parameters["required"] = required
        parameters["additionalProperties"] = self._open
        result = {"parameters": parameters, **({"description": summary} if summary else {})}
        returns, _ = _type(hints["return"]) if hints.get("return", Any) is not Any else ({}, None)
        if returned:
            returns = {"description": returned, **returns}
        return {**result, **({"returns": returns} if returns else {})}

    def call(self, arguments: Mapping[str, Any]) -> Any:
        """Checks the arguments, which an untrusted script sent, against the type hints, and calls the function. A tool with its own
        schema gets them unchecked."""
        if self._converts is None:
            return self.function(**arguments)
        given = {}
        for name, value in arguments.items():
            convert = self._converts.get(name)
            if convert is None and not self._open:
                raise TypeError("%s() takes no argument %.100r" % (self.name, name))
            given[name] = convert(name, value) if convert else value
        for name in self.definition["parameters"].get("required", ()):
            if name not in given:
                raise TypeError("%s() needs the argument %r" % (self.name, name))
        return self.function(**given)


def _json_of(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, (set, frozenset)):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode()
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (decimal.Decimal, uuid.UUID, os.PathLike)):
        return str(value)
    if callable(getattr(value, "model_dump", None)):    # pydantic
        return value.model_dump(mode="json")
    raise ValueError("a value of the type %s" % type(value).__name__)


def encode_value(value: Any) -> str:
    """Returns the value as JSON. Raises ValueError if it has no JSON form."""
    try:
        return json.dumps(value, default=_json_of, allow_nan=False, separators=(",", ":"))
    except (TypeError, RecursionError) as failure:
        raise ValueError(str(failure)) from failure


def _failure(tool: Tool, error: BaseException) -> dict[str, Any]:
    if isinstance(error, ToolDenied):
        return {"deny": str(error) or "the caller refused this call"}
    _log.debug("the tool %r failed", tool.name, exc_info=error)
    told: dict[str, Any] = {"message": str(error) or type(error).__name__}
    if isinstance(error, ToolError) and error.data is not None:
        try:
            told["data"] = json.loads(encode_value(error.data))
        except ValueError:
            pass
    return {"error": told}


def _success(tool: Tool, value: Any) -> dict[str, Any]:
    try:
        text = encode_value(value)
    except ValueError as failure:
        _log.debug("the tool %r returned a value that is not JSON", tool.name, exc_info=failure)
        return {"error": {"message": "tool %r returned a value that can't be written as JSON: %s" % (tool.name, failure)}}
    return {"result": json.loads(text)}


async def _await(value: Any) -> Any:
    return await value


class Calls:
    """The tool calls of one execution. Functions run on threads, and async functions in the event loop. Without an event loop,
    each async function runs on a thread with its own loop."""

    def __init__(self, tools: Mapping[str, Tool], loop: Optional[asyncio.AbstractEventLoop] = None) -> None:
        self._tools, self._loop = tools, loop
        self._tasks: set[asyncio.Task[None]] = set()
        self._ended = False
        self._context = contextvars.copy_context()

    def __call__(self, call: ToolCall) -> None:
        """Called on a thread of the transport, which must not block."""
        tool = self._tools.get(call.name)
        if tool is None:
            call.answer({"error": {"message": "the client has no tool %r" % call.name}})
        elif tool.is_async and self._loop is not None:
            try:
                self._loop.call_soon_threadsafe(self._begin, tool, call)
            except RuntimeError:        # the loop is closed
                call.answer({"error": {"message": "the event loop of the caller is closed"}})
        else:
            context = self._context.copy()
            threading.Thread(target=context.run, args=(self._on_thread, tool, call), name="pyexec-tool", daemon=True).start()

    def _on_thread(self, tool: Tool, call: ToolCall) -> None:
        try:
            value = tool.call(call.arguments)
            answer = _success(tool, asyncio.run(_await(value)) if inspect.isawaitable(value) else value)
        except BaseException as error:
            answer = _failure(tool, error)
        call.answer(answer)

    def _begin(self, tool: Tool, call: ToolCall) -> None:
        if self._ended or self._loop is None:
            return
        task = self._context.copy().run(self._loop.create_task, self._in_loop(tool, call))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _in_loop(self, tool: Tool, call: ToolCall) -> None:
        try:
            answer = _success(tool, await tool.call(call.arguments))
        except asyncio.CancelledError as error:
            if self._ended:
                raise
            answer = _failure(tool, error)
        except Exception as error:
            answer = _failure(tool, error)
        if len(json.dumps(answer)) > BLOCKING_BYTES:
            await asyncio.to_thread(call.answer, answer)
        else:
            call.answer(answer)

    def end(self, _: Any = None) -> None:
        """Called after the execution: cancels the async functions that still run, because nobody waits for them."""
        def cancel() -> None:
            self._ended = True
            for task in list(self._tasks):
                task.cancel()
        if self._loop is not None:
            try:
                self._loop.call_soon_threadsafe(cancel)
            except RuntimeError:
                pass


def make_tools(given: Optional[Tools]) -> dict[str, Tool]:
    return {name: Tool(name, one) for name, one in (given or {}).items()}

# SPDX-License-Identifier: Apache-2.0
"""Programmatic tool calling of Anthropic's Messages API, with pyexec as the container.

    messages = PyexecMessages(anthropic.Anthropic().messages.create)
    answer = run_tools(messages.create, {"price": price}, model=…, max_tokens=…, messages=[…])

`PyexecMessages.create()` accepts the same requests as the API, and returns the same kinds of responses: the tool `code_execution`,
`allowed_callers`, `server_tool_use`, `tool_use` with a `caller`, `container`, `code_execution_tool_result`. The model gets an
ordinary tool in place of the API's code execution. The code that it sends runs in a session of pyexec, and waits there while your
program answers a tool call. `run_tools()` is a loop that answers these calls; it also works with the API's own `create()`. This
module does not import the package `anthropic`: messages may be objects of that package, or dicts.
"""
from __future__ import annotations

import asyncio
import contextlib
import copy
import dataclasses
import datetime
import json
import threading
import uuid
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import Any, Callable, Optional

from ._adapters import CODE_SCHEMA, ScriptTools, add_tool, describe_policy, describe_tools, plain_error
from ._text import bounded, display_lines
from .client import Pyexec, Session
from .errors import OverloadedError, PyexecError
from .tools import Tool, ToolDenied, ToolError, Tools, encode_value, make_tools
from .types import DEFAULT_ALLOWED_IMPORTS, Policy, Result

CODE_EXECUTION = "code_execution_20260120"      # the type of `caller` in responses, also if the request has another version
_PREFIX = "code_execution_"
_SETTLED = 0.02         # a response waits so many seconds for more calls, to have all calls that the script makes at once
_IDLE = datetime.timedelta(minutes=5)           # for `expires_at`: how long a container lives after its last response
POLICY: Policy = {"allowed_imports": [*DEFAULT_ALLOWED_IMPORTS, "asyncio"], "tool_timeout_ms": 240_000}

# Makes functions like those of the API: they are awaitable, and called with keywords or with one dict. If the script has given
# the name of a tool another value, the name keeps this value.
_FUNCTIONS = '''
def _offer(names):
    import tools

    def made(name):
        plain, call = getattr(tools, name), getattr(tools.aio, name)

        async def function(*args, **kwargs):
            if len(args) == 1 and not kwargs and isinstance(args[0], dict):
                args, kwargs = (), args[0]
            return await call(*args, **kwargs)
        function.__name__, function.__doc__, function.__wrapped__ = name, plain.__doc__, plain
        return function
    for name in names:
        if globals().get(name) is getattr(tools, name):
            globals()[name] = made(name)

_offer(%r)
del _offer
'''
_INTRO = ("\n\nThe code can call these functions, many in one program. They are awaitable and return text, often JSON: "
          "json.loads(await NAME(...)); several at once with await asyncio.gather(...). One that fails raises an exception.")


class _Run:
    """Code of the model that runs in pyexec, and its calls that wait for an answer of the program."""

    def __init__(self, session: Session, block_id: str, code: Any, tools: Sequence[Mapping[str, Any]]) -> None:
        self.id, self.pending = block_id, dict[str, Future[Any]]()
        self._events: SimpleQueue[Any] = SimpleQueue()
        self._lock, self._ended = threading.Lock(), False
        offered: ScriptTools = {}
        for tool in tools:
            add_tool(offered, tool["name"], tool.get("description"), tool.get("input_schema"), self._caller(tool["name"]))
        threading.Thread(target=self._execute, args=(session, code, offered), name="pyexec-code", daemon=True).start()

    def _execute(self, session: Session, code: Any, offered: ScriptTools) -> None:
        try:
            if not isinstance(code, str):
                raise TypeError("the code is not text")
            made = session.execute(_FUNCTIONS % list(offered), tools=offered)
            result = session.execute(code, tools=offered)
            if made.session is not None and made.session.restarted and result.session is not None:
                result = dataclasses.replace(result, session=dataclasses.replace(result.session, restarted=made.session.restarted))
            self._events.put(result)
        except BaseException as error:
            self._events.put(error)

    def _caller(self, name: str) -> Callable[..., Any]:
        def call(**arguments: Any) -> Any:
            block = {"type": "tool_use", "id": "toolu_" + uuid.uuid4().hex, "name": name, "input": arguments,
                     "caller": {"type": CODE_EXECUTION, "tool_id": self.id}}
            answer: Future[Any] = Future()
            with self._lock:
                if self._ended:
                    raise ToolError("the code has ended")
                self._events.put((block, answer))
            return answer.result()
        return call

    def wait(self) -> Any:
        """Waits for calls of the code, and returns them as a list of blocks. When the code has ended, returns its result, or the
        exception if it could not run."""
        blocks: list[Any] = []
        with contextlib.suppress(Empty):
            while True:
                event = self._events.get(timeout=_SETTLED if blocks else None)
                if not isinstance(event, tuple):
                    self.end()
                    return event
                blocks.append(event[0])
                self.pending[event[0]["id"]] = event[1]
        return blocks

    def answer(self, results: Sequence[tuple[str, str, bool]]) -> None:
        """Answers calls. Each item is the id of a call, the text of the answer, and whether the text is an error."""
        for name, text, failed in results:
            answer = self.pending.pop(name)
            if failed:
                answer.set_exception(ToolError(text))
            else:
                answer.set_result(text)

    def end(self) -> None:
        """Fails the calls that still wait: calls of threads that still ran when the code ended."""
        with self._lock:
            self._ended = True
        with contextlib.suppress(Empty):
            while True:
                event = self._events.get_nowait()
                if isinstance(event, tuple):
                    self.pending[event[0]["id"]] = event[1]
        for answer in self.pending.values():
            answer.set_exception(ToolError("the code has ended"))
        self.pending.clear()


@dataclasses.dataclass
class _Container:
    id: str
    session: Session
    run: Optional[_Run] = None
    waiting: list[tuple[str, Any]] = dataclasses.field(default_factory=list)    # code of the model that has not started
    direct: set[str] = dataclasses.field(default_factory=set)                   # ids of the model's own calls that have no answer
    blocks: list[Any] = dataclasses.field(default_factory=list)                 # blocks for the next response
    template: Any = None                                                        # the last message of the model
    tokens: dict[str, int] = dataclasses.field(default_factory=dict)            # tokens to report in the next response
    expires: Optional[datetime.datetime] = None                                 # None: a request uses it, or it has run no code yet

    def close(self) -> None:
        if self.run is not None:
            self.run.end()
        with contextlib.suppress(PyexecError):
            self.session.close()


class PyexecMessages:
    """Has the same `create()` as the Messages API, but runs the code in pyexec.

    create: the function that asks the model, for example `client.messages.create`; for acreate() an async function. It never gets
    the API's code execution tool.
    policy: the policy of the containers; its keys replace those of this module's POLICY.
    client: a client to share. Without it the object makes its own client, and close() closes it.
    """

    def __init__(self, create: Callable[..., Any], *, client: Optional[Pyexec] = None, policy: Optional[Policy] = None) -> None:
        self._create, self._client, self._owned = create, client or Pyexec(), client is None
        self._policy: Policy = {**POLICY, **(policy or {})}
        self._containers: dict[str, _Container] = {}

    def create(self, **request: Any) -> Any:
        steps, answer = self._steps(request), None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as done:
                return done.value
            answer = step.wait() if isinstance(step, _Run) else self._create(**step)

    async def acreate(self, **request: Any) -> Any:
        steps, answer = self._steps(request), None
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as done:
                return done.value
            answer = await (asyncio.to_thread(step.wait) if isinstance(step, _Run) else self._create(**step))

    def close(self) -> None:
        while self._containers:
            self._containers.popitem()[1].close()
        if self._owned:
            self._client.close()

    def _steps(self, request: dict[str, Any]) -> Generator[Any, Any, Any]:
        """Yields requests for the model, and expects the model's message. Yields runs of code, and expects the value of their wait()."""
        tools = [_plain(tool) for tool in request.get("tools") or ()]
        code_tool = next((tool for tool in tools if str(tool.get("type")).startswith(_PREFIX)), None)
        if code_tool is None:
            return (yield request)
        messages = [_plain_message(message) for message in request["messages"]]
        container = self._container(request.pop("container", None))
        called = [tool for tool in tools if any(caller.startswith(_PREFIX) for caller in tool.get("allowed_callers") or ())]
        model_request = {**request, "tools": self._model_tools(code_tool, called, tools)}
        _take_answers(container, messages[-1])
        while True:
            if container.run is None and container.waiting:
                self._containers[container.id] = container
                container.run = _Run(container.session, *container.waiting.pop(0), called)
            if container.run is not None:
                found = yield container.run
                if isinstance(found, list):
                    container.blocks += found
                    return self._respond(container, "tool_use")
                container.blocks.append(_result_block(container.run.id, found))
                container.run = None
            elif container.direct:
                return self._respond(container, "tool_use")
            else:
                container.template = yield {**model_request, "messages": _model_messages(messages, container.blocks)}
                message = _plain(container.template)
                if not _take_message(container, message):
                    return self._respond(container, message["stop_reason"])

    def _container(self, given: Any) -> _Container:
        now = datetime.datetime.now(datetime.timezone.utc)
        for known, container in list(self._containers.items()):
            if container.expires is not None and container.expires < now:
                self._containers.pop(known, container).close()
        name = given.get("id") if isinstance(given, Mapping) else given
        if name is None:
            return _Container("container_" + uuid.uuid4().hex, self._client.session(policy=self._policy))
        if name not in self._containers:
            raise ValueError("there is no container %.100r here, or it has expired: leave it out, and a new one is made" % (name,))
        self._containers[name].expires = None       # a request uses it
        return self._containers[name]

    def _model_tools(self, code_tool: Mapping[str, Any], called: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> list[Any]:
        """Returns the tools for the model. Tools that only code may call are left out: the description of `code_execution` lists them."""
        functions: ScriptTools = {}
        for tool in called:
            add_tool(functions, tool["name"], tool.get("description"), tool.get("input_schema"), str)
        own = {"name": "code_execution", "input_schema": copy.deepcopy(CODE_SCHEMA),
               "description": describe_policy({**self._client.policy, **self._policy}) + describe_tools(functions, self._policy, _INTRO),
               **({"cache_control": code_tool["cache_control"]} if "cache_control" in code_tool else {})}
        direct = [{key: value for key, value in tool.items() if key != "allowed_callers"} for tool in tools
                  if tool is not code_tool and "direct" in (tool.get("allowed_callers") or ("direct",))]
        return [own, *direct]

    def _respond(self, container: _Container, stop_reason: str) -> Any:
        """Returns a response with the blocks since the last response. It has the same type as the model's message."""
        blocks, container.blocks = container.blocks, []
        tokens, container.tokens = container.tokens, {}
        message = _plain(container.template)
        if container.id in self._containers:
            container.expires = datetime.datetime.now(datetime.timezone.utc) + _IDLE
            message["container"] = {"id": container.id, "expires_at": container.expires.isoformat()}
        message.update(content=blocks, stop_reason=stop_reason,
                       usage={**(message.get("usage") or {}), "input_tokens": tokens.get("input_tokens", 0),
                              "output_tokens": tokens.get("output_tokens", 0)})
        return message if isinstance(container.template, Mapping) else type(container.template).model_validate(message)


def _plain(thing: Any) -> dict[str, Any]:
    """Returns a message, a block or a tool as a dict. The argument is a dict, or an object of the package `anthropic`."""
    if isinstance(thing, Mapping):
        return dict(thing)
    made = thing.model_dump(mode="json", exclude_none=True) if hasattr(thing, "model_dump") else thing.to_dict()
    return dict(made)


def _plain_message(message: Any) -> dict[str, Any]:
    content = message["content"] if isinstance(message, Mapping) else message.content
    role = message["role"] if isinstance(message, Mapping) else message.role
    return {"role": role, "content": [{"type": "text", "text": content}] if isinstance(content, str) else [_plain(block) for block in content]}


def _text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    blocks = [_plain(block) for block in content]
    for block in blocks:
        if block.get("type") != "text":
            raise ValueError("the result of a call by code is text, not a block of the type %r" % block.get("type"))
    return "".join(block["text"] for block in blocks)


def _take_answers(container: _Container, last: Mapping[str, Any]) -> None:
    """Checks the tool_result blocks of the last message, and gives the code that waits the answers to its calls."""
    results = {block["tool_use_id"]: block for block in last["content"] if block.get("type") == "tool_result"}
    waiting = container.run.pending if container.run is not None else {}
    if waiting and len(results) != len(last["content"]):
        raise ValueError("code waits for results of its calls: the last message must have tool_result blocks and no others")
    for name in [*waiting, *container.direct]:
        if name not in results:
            raise ValueError("the last message has no tool_result for the call %s" % name)
    container.direct.clear()
    if container.run is not None:
        container.run.answer([(name, _text_of(results[name].get("content", "")), bool(results[name].get("is_error"))) for name in waiting])


def _take_message(container: _Container, message: Mapping[str, Any]) -> bool:
    """Adds the model's blocks to the next response, in the form of the API. Returns False if the message has no code to run."""
    for key in ("input_tokens", "output_tokens"):
        container.tokens[key] = container.tokens.get(key, 0) + ((message.get("usage") or {}).get(key) or 0)
    stopped = message["stop_reason"] != "tool_use"
    for block in map(_plain, message["content"]):
        if block.get("type") != "tool_use" or block.get("name") != "code_execution":
            if block.get("type") == "tool_use":
                block["caller"] = {"type": "direct"}
                container.direct.add(block["id"])
            container.blocks.append(block)
        elif not stopped:       # otherwise the model was stopped while it wrote the code
            made = {"type": "server_tool_use", "id": "srvtoolu_" + uuid.uuid4().hex, "name": "code_execution", "input": block["input"]}
            container.blocks.append(made)
            container.waiting.append((made["id"], block["input"].get("code")))
    return bool(container.waiting)


def _result_block(block_id: str, found: Any) -> dict[str, Any]:
    if isinstance(found, Result):
        shown = found.last_value_repr + "\n" if found.last_value_repr is not None else ""
        lines = [found.stdout + shown, *display_lines(found)]
        rest = dataclasses.replace(found, stdout="", last_value_repr=None, display=[]).explain()
        content: dict[str, Any] = {"type": "code_execution_result", "stdout": bounded("\n".join(lines)), "stderr": rest,
                                   "return_code": found.exit_code, "content": []}
    elif isinstance(found, (PyexecError, TypeError)):
        code = "too_many_requests" if isinstance(found, OverloadedError) else "unavailable" if isinstance(found, PyexecError) else "invalid_tool_input"
        content = {"type": "code_execution_tool_result_error", "error_code": code}
    else:
        raise found
    return {"type": "code_execution_tool_result", "tool_use_id": block_id, "content": content}


def _model_messages(messages: Sequence[Mapping[str, Any]], blocks: Sequence[Any]) -> list[dict[str, Any]]:
    """Returns the conversation for the model: a run of code is an ordinary tool call with a result, and calls by code are left out."""
    made: list[dict[str, Any]] = []
    hidden = set()

    def add(role: str, block: Any) -> None:
        if not made or made[-1]["role"] != role:
            made.append({"role": role, "content": []})
        made[-1]["content"].append(block)
    for message in [*messages, {"role": "assistant", "content": blocks}]:
        for block in message["content"]:
            kind = block.get("type")
            if kind == "server_tool_use" and block.get("name") == "code_execution":
                add("assistant", {"type": "tool_use", "id": block["id"], "name": "code_execution", "input": block["input"]})
            elif kind == "code_execution_tool_result":
                told = {key: value for key, value in block["content"].items() if key not in ("type", "content")}
                add("user", {"type": "tool_result", "tool_use_id": block["tool_use_id"], "content": json.dumps(told, ensure_ascii=False)})
            elif kind == "tool_use" and str((block.get("caller") or {}).get("type")).startswith(_PREFIX):
                hidden.add(block["id"])
            elif kind == "tool_use":
                add("assistant", {key: value for key, value in block.items() if key != "caller"})
            elif kind != "tool_result" or block["tool_use_id"] not in hidden:
                add(message["role"], block)
    return made


# ---- The loop for programs ----

def programmatic_tools(functions: Tools) -> list[dict[str, Any]]:
    """Returns the list `tools` of a request: code execution, and these functions, which only code may call. Their schemas are made from
    their type hints."""
    made: list[dict[str, Any]] = [{"type": CODE_EXECUTION, "name": "code_execution"}]
    for name, tool in make_tools(functions).items():
        made.append({"name": name, "description": tool.definition.get("description", ""), "input_schema": tool.definition["parameters"],
                     "allowed_callers": [CODE_EXECUTION]})
    return made


def run_tools(create: Callable[..., Any], functions: Tools, *, messages: list[Any], **request: Any) -> Any:
    """Asks the model until it has ended its turn. Answers its tool calls, and those of its code, with these functions. Returns the
    last message. All messages of the turn, also the last one, are added to `messages`.

    create: `create()` of the Messages API or of PyexecMessages. tools: the tools of the request; without it
    programmatic_tools(functions).
    """
    steps, answer = _loop(functions, messages, request), None
    with ThreadPoolExecutor(8, thread_name_prefix="pyexec-tool") as threads:
        while True:
            try:
                step = steps.send(answer)
            except StopIteration as done:
                return done.value
            answer = create(**step) if isinstance(step, dict) else list(threads.map(lambda call: asyncio.run(_answer(*call)), step))


async def arun_tools(create: Callable[..., Any], functions: Tools, *, messages: list[Any], **request: Any) -> Any:
    """The same as run_tools() for an async create, such as PyexecMessages.acreate. Async functions run in this event loop."""
    steps, answer = _loop(functions, messages, request), None
    while True:
        try:
            step = steps.send(answer)
        except StopIteration as done:
            return done.value
        answer = await create(**step) if isinstance(step, dict) else await asyncio.gather(*(_answer(*call) for call in step))


def _loop(functions: Tools, messages: list[Any], request: dict[str, Any]) -> Generator[Any, Any, Any]:
    known = make_tools(functions)
    request.setdefault("tools", programmatic_tools(functions))
    while True:
        message = yield {**request, "messages": list(messages)}
        plain = _plain(message)
        messages.append({"role": "assistant", "content": plain["content"]})
        if plain.get("container"):
            request["container"] = plain["container"]["id"]
        calls = [block for block in map(_plain, plain["content"]) if block.get("type") == "tool_use"]
        if plain["stop_reason"] == "tool_use" and calls:
            results = yield [(known.get(call["name"]), call) for call in calls]
            messages.append({"role": "user", "content": results})
        elif plain["stop_reason"] != "pause_turn":
            return message


async def _answer(tool: Optional[Tool], call: Mapping[str, Any]) -> dict[str, Any]:
    """Calls the tool and returns the tool_result block. The input comes from the model or a script, and is checked against the
    type hints."""
    block = {"type": "tool_result", "tool_use_id": call["id"]}
    try:
        if tool is None:
            raise ToolError("the program has no tool %r" % call["name"])
        value = await tool.call(call["input"]) if tool.is_async else await asyncio.to_thread(tool.call, call["input"])
        return {**block, "content": value if isinstance(value, str) else encode_value(value)}
    except ToolDenied as denied:
        return {**block, "content": "denied: %s" % denied, "is_error": True}
    except Exception as error:
        return {**block, "content": str(plain_error(error)) or type(error).__name__, "is_error": True}

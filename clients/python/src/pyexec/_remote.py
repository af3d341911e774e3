# SPDX-License-Identifier: Apache-2.0
"""Servers that are somewhere else: what the transports over HTTP (_http.py) and NATS (_nats.py) have in common. One thread has an
event loop; a call is a task there, and cancelling it cancels the run."""
from __future__ import annotations

import abc
import asyncio
import contextlib
import json
import threading
import weakref
from collections.abc import Awaitable, Coroutine, Mapping
from concurrent.futures import Future
from typing import Any, Callable, NamedTuple, Optional, TypeVar
from urllib.parse import quote

from ._transport import Call, OnCall, OnEvent, ToolCall, Transport, encode
from .errors import MALFORMED, ClosedError, ConnectionLostError, InvalidRequestError, PyexecError, error_from
from .types import Output, display_from

CONNECT_SECONDS = 10.0
T = TypeVar("T")


class _Route(NamedTuple):
    verb: str
    path: str           # a parameter that it names is not in the body
    body: bool = False  # the other parameters are sent as JSON


_ROUTES = {
    "execute_once": _Route("POST", "/v1/execute", True),
    "execute": _Route("POST", "/v1/sessions/{session_id}/execute", True),
    "verify": _Route("POST", "/v1/verify", True),
    "create_session": _Route("POST", "/v1/sessions", True),
    "interrupt": _Route("POST", "/v1/sessions/{session_id}/interrupt"),
    "fork_session": _Route("POST", "/v1/sessions/{session_id}/fork", True),
    "undo": _Route("POST", "/v1/sessions/{session_id}/undo", True),
    "reset_session": _Route("POST", "/v1/sessions/{session_id}/reset"),
    "close_session": _Route("DELETE", "/v1/sessions/{session_id}"),
    "list_sessions": _Route("GET", "/v1/sessions"),
    "list_environments": _Route("GET", "/v1/environments"),
    "list_files": _Route("GET", "/v1/sessions/{session_id}/files"),
    "read_file": _Route("GET", "/v1/sessions/{session_id}/files/{path}"),
    "write_file": _Route("PUT", "/v1/sessions/{session_id}/files/{path}"),
    "delete_file": _Route("DELETE", "/v1/sessions/{session_id}/files/{path}"),
    "answer": _Route("POST", "/v1/calls/{call_id}", True),
    "ping": _Route("GET", "/healthz"),
}


class Request(NamedTuple):
    method: str                 # of JSON-RPC
    params: Mapping[str, Any]
    verb: str
    path: str
    content: Optional[bytes]
    is_json: bool
    key: Optional[str] = None   # of all requests with it, at most one starts


class Answer(NamedTuple):
    """What HTTP would answer; the end of a stream of events too. An error of a stream has its problem as the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Post = Callable[[Mapping[str, Any]], Awaitable[Any]]            # sends the answer to a tool call; raises PyexecError
Take = Callable[[str, bytes, Optional[Post]], None]             # gets an event: its name, its data, and how to answer a tool call


def _segments(text: str, many: bool) -> str:
    """Encodes a name as part of a URL. Refuses '.', '..' and empty parts, because in a URL they would lead to another path."""
    parts = text.split("/") if many else [text]
    if not all(part not in ("", ".", "..") for part in parts):
        raise InvalidRequestError("'%s': outside sandbox, or not a name" % text, "Give a relative path without '.', '..' and empty parts."
                                  if many else "Give an id of A-Z a-z 0-9 . _ : -, not '.' or '..'.")
    return "/".join(quote(part, safe="") for part in parts)


def _request(method: str, params: Mapping[str, Any]) -> Request:
    route, rest = _ROUTES[method], dict(params)
    names = {name: _segments(rest.pop(name), name == "path") for name in ("session_id", "path", "call_id") if "{%s}" % name in route.path}
    if method == "create_session":
        rest["id"] = rest.pop("session_id")
    content, key = rest.pop("content", None), rest.pop("key", None)
    return Request(method, params, route.verb, route.path.format(**names), encode(rest) if route.body else content, route.body, key)


def problem(answer: Answer) -> PyexecError:
    try:
        data = json.loads(answer.body)
        assert isinstance(data, dict) and isinstance(data["code"], str)
    except (*MALFORMED, AssertionError):    # of a proxy: the code may run behind it, so `retry_after` is not set
        return error_from({"message": "HTTP %d: %s" % (answer.status, answer.body[:200].decode(errors="replace"))})
    wait = answer.headers.get("Retry-After", "")
    return error_from(data, float(wait) if wait.isdigit() else None)


class Connection(abc.ABC):
    """The thread and its event loop."""

    name: str       # of the server, without passwords

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.tasks: weakref.WeakSet[asyncio.Task[Any]] = weakref.WeakSet()      # the calls
        self.thread = threading.Thread(target=self._run, name="pyexec-remote", daemon=True)
        self.thread.start()

    @abc.abstractmethod
    async def exchange(self, request: Request, take: Optional[Take]) -> Answer:
        """Sends a request, and returns its answer. `take` gets the events that come before it; None: there are no events."""

    @abc.abstractmethod
    async def disconnect(self) -> None:
        """Closes the connections."""

    def _run(self) -> None:
        self.loop.run_forever()
        self.loop.close()

    async def _end(self) -> None:
        tasks = list(self.tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.disconnect()
        self.loop.stop()

    def start(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Runs a coroutine in the loop, until it ends or the connection is closed."""
        async def run() -> T:
            task = asyncio.current_task()
            assert task is not None
            self.tasks.add(task)
            return await coroutine
        return asyncio.run_coroutine_threadsafe(run(), self.loop)

    def close(self) -> None:
        if self.thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._end(), self.loop)
            self.thread.join()

    async def request(self, method: str, params: Mapping[str, Any], on_event: Optional[OnEvent] = None,
                      on_call: Optional[OnCall] = None) -> Any:
        def take(name: str, data: bytes, post: Optional[Post]) -> None:
            if name == "tool_call" and on_call is not None and post is not None:
                call = json.loads(data)
                on_call(ToolCall(call["name"], call["arguments"], self._answerer(post)))
            elif on_event is not None:
                self._event(name, data, on_event)
        request = _request(method, params)
        try:
            answer = await self.exchange(request, None if on_event is None and on_call is None else take)
            if answer.status >= 400:
                raise problem(answer)
            if method == "read_file":
                return answer.body
            return json.loads(answer.body) if answer.headers.get("Content-Type", "").startswith("application/json") else {}
        except MALFORMED as failure:
            raise ConnectionLostError("%s: an answer that can't be read: %s: %s" % (self.name, type(failure).__name__, failure),
                                      "Check that client and server have the same version. Whether the code ran is not known.") from failure

    def _answerer(self, post: Post) -> Callable[[Mapping[str, Any]], None]:
        async def send(answer: Mapping[str, Any]) -> None:
            try:
                await post(answer)
            except PyexecError as failure:      # if the answer can't be used, the script gets an error instead
                if failure.code != "call_not_found" and "result" in answer:
                    await send({"error": {"message": "the answer: %s" % failure.message}})

        def answer(given: Mapping[str, Any]) -> None:
            with contextlib.suppress(RuntimeError):     # the loop has ended
                self.start(send(given))
        return answer

    @staticmethod
    def _event(name: str, text: bytes, on_event: OnEvent) -> None:
        if name in ("stdout", "stderr"):
            data = json.loads(text)
            on_event(Output("stdout" if name == "stdout" else "stderr", data["text"], data.get("seq", 0)))
        elif name == "display":
            data = json.loads(text)
            on_event(display_from(data.get("display", data)))


class RemoteTransport(Transport):
    def __init__(self, connect: Callable[[], Connection]) -> None:
        super().__init__()
        self._connect = connect
        self._lock = threading.Lock()
        self._connection: Optional[Connection] = None
        self._closed = False
        self._ended: Optional[weakref.finalize[Any, Any]] = None

    def _connected(self) -> Connection:
        with self._lock:
            if self._closed:
                raise ClosedError("the client is closed", "Connect again.")
            if self._connection is None:
                self._connection = self._connect()
                self._ended = weakref.finalize(self, self._connection.close)    # also called when the interpreter exits
            return self._connection

    def start(self) -> Mapping[str, Any]:
        self.call("ping", {}).future.result()
        return {}

    def may_block(self, params: Mapping[str, Any]) -> bool:
        return False

    def call(self, method: str, params: Mapping[str, Any], on_event: Optional[OnEvent] = None, on_call: Optional[OnCall] = None) -> Call:
        connection = self._connected()
        future = connection.start(connection.request(method, params, on_event, on_call))

        def cancel() -> None:
            future.cancel()
        return Call(future, cancel)

    def close(self) -> None:
        with self._lock:
            self._closed = True
            connection, self._connection = self._connection, None
            if self._ended is not None:
                self._ended.detach()
        if connection is not None:
            connection.close()

    def after_fork(self) -> None:
        """The loop's thread does not exist in the child. The sockets are closed when their objects are freed."""
        self._lock = threading.Lock()
        self._connection = None
        if self._ended is not None:
            self._ended.detach()

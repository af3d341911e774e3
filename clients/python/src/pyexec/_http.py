# SPDX-License-Identifier: Apache-2.0
"""A running `pyexec serve`, over its UNIX socket or TCP. One thread has an event loop with httpx's client; a call is a
task there, and cancelling it closes its connection, which cancels the run."""
from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import weakref
from collections.abc import Mapping
from typing import Any, Callable, NamedTuple, Optional
from urllib.parse import quote

from ._transport import Call, OnCall, OnEvent, ToolCall, Transport, encode
from .errors import ClosedError, ConnectionLostError, InvalidRequestError, PyexecError, error_from
from .types import Output, display_from

try:
    import httpx
except ImportError as missing:
    raise ImportError("Pyexec.connect() needs httpx: pip install 'pyexec-client[http]'") from missing

CONNECT_SECONDS = 10.0


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


def _segments(text: str, many: bool) -> str:
    """Encodes a name as part of a URL. Refuses '.', '..' and empty parts, because in a URL they would lead to another path."""
    parts = text.split("/") if many else [text]
    if not all(part not in ("", ".", "..") for part in parts):
        raise InvalidRequestError("'%s': outside sandbox, or not a name" % text, "Give a relative path without '.', '..' and empty parts."
                                  if many else "Give an id of A-Z a-z 0-9 . _ : -, not '.' or '..'.")
    return "/".join(quote(part, safe="") for part in parts)


def _problem(response: httpx.Response, body: bytes) -> PyexecError:
    wait = response.headers.get("Retry-After", "")
    retry_after = float(wait) if wait.isdigit() else None
    try:
        data = json.loads(body)
        assert isinstance(data, dict)
    except (ValueError, AssertionError):
        data = {"code": "internal", "message": "HTTP %d: %s" % (response.status_code, body[:200].decode(errors="replace"))}
    return error_from(data, retry_after)


class _Connection:
    """The thread, its event loop and httpx's client."""

    def __init__(self, url: str, token: Optional[str]) -> None:
        socket = url[len("unix:"):] if url.startswith("unix:") else None
        self.url = url
        self.loop = asyncio.new_event_loop()
        self.client = httpx.AsyncClient(
            base_url="http://localhost" if socket else url,
            headers={"Authorization": "Bearer " + token} if token else None,
            transport=httpx.AsyncHTTPTransport(uds=socket, limits=httpx.Limits(max_keepalive_connections=20)),
            timeout=httpx.Timeout(None, connect=CONNECT_SECONDS))
        self.thread = threading.Thread(target=self._run, name="pyexec-http", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        self.loop.run_forever()
        self.loop.close()

    async def _end(self) -> None:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.client.aclose()
        self.loop.stop()

    def close(self) -> None:
        if self.thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._end(), self.loop)
            self.thread.join()

    async def request(self, method: str, params: Mapping[str, Any], on_event: Optional[OnEvent], on_call: Optional[OnCall] = None) -> Any:
        route, rest = _ROUTES[method], dict(params)
        names = {name: _segments(rest.pop(name), name == "path") for name in ("session_id", "path", "call_id") if "{%s}" % name in route.path}
        if method == "create_session":
            rest["id"] = rest.pop("session_id")
        content = rest.pop("content", None)
        if route.body:
            content = encode(rest)
        headers = {"Content-Type": "application/json"} if route.body else {}
        if on_event is not None or on_call is not None:
            headers["Accept"] = "text/event-stream"
        request = self.client.build_request(route.verb, route.path.format(**names), content=content, headers=headers)
        try:
            if on_event is not None or on_call is not None:
                return await self._events(request, on_event, on_call)
            response = await self.client.send(request)
        except (httpx.ConnectError, httpx.ConnectTimeout) as failure:
            raise ConnectionLostError("%s: %s" % (self.url, failure or type(failure).__name__),
                                      "Check that `pyexec serve` listens there. The code never started.") from failure
        except httpx.HTTPError as failure:
            raise ConnectionLostError("%s: %s" % (self.url, failure or type(failure).__name__),
                                      "Check that `pyexec serve` listens there. Whether the code ran is not known.") from failure
        if response.status_code >= 400:
            raise _problem(response, response.content)
        if method == "read_file":
            return response.content
        return response.json() if response.headers.get("Content-Type", "").startswith("application/json") else {}

    async def _events(self, request: httpx.Request, on_event: Optional[OnEvent], on_call: Optional[OnCall]) -> Any:
        response = await self.client.send(request, stream=True)
        try:
            if response.status_code >= 400:
                raise _problem(response, await response.aread())
            name, data = "", ""
            async for line in response.aiter_lines():
                key, _, value = line.partition(":")
                if key == "event":
                    name = value.strip()
                elif key == "data":
                    data = value
                elif not line and data:
                    found = json.loads(data)
                    if name == "result":
                        return found
                    if name == "error":
                        raise error_from(found)
                    if name == "tool_call" and on_call is not None:
                        on_call(ToolCall(found["name"], found["arguments"], self._answerer(found["call_id"])))
                    elif on_event is not None:
                        self._event(name, found, on_event)
                    name, data = "", ""
        finally:
            await response.aclose()
        raise ConnectionLostError("%s: the events ended without a result" % self.url)

    def _answerer(self, call_id: str) -> Callable[[Mapping[str, Any]], None]:
        async def post(answer: Mapping[str, Any]) -> None:
            try:
                await self.request("answer", {"call_id": call_id, **answer}, None)
            except PyexecError as failure:      # if the answer can't be used, the script gets an error instead
                if failure.code != "call_not_found" and "result" in answer:
                    await post({"error": {"message": "the answer: %s" % failure.message}})

        def answer(given: Mapping[str, Any]) -> None:
            with contextlib.suppress(RuntimeError):     # the loop has ended
                asyncio.run_coroutine_threadsafe(post(given), self.loop)
        return answer

    @staticmethod
    def _event(name: str, data: Mapping[str, Any], on_event: OnEvent) -> None:
        if name in ("stdout", "stderr"):
            on_event(Output("stdout" if name == "stdout" else "stderr", data["text"], data.get("seq", 0)))
        elif name == "display":
            on_event(display_from(data.get("display", data)))


class HttpTransport(Transport):
    def __init__(self, url: str, token: Optional[str]) -> None:
        super().__init__()
        if not url.startswith(("unix:", "http://", "https://")):
            raise ValueError("url: 'unix:/PATH', 'http://HOST:PORT' or 'https://HOST', not %r" % url)
        self._url, self._token = url, token
        self._lock = threading.Lock()
        self._connection: Optional[_Connection] = None
        self._closed = False
        self._ended: Optional[weakref.finalize[Any, Any]] = None

    def _connected(self) -> _Connection:
        with self._lock:
            if self._closed:
                raise ClosedError("the client is closed", "Connect again.")
            if self._connection is None:
                self._connection = _Connection(self._url, self._token)
                self._ended = weakref.finalize(self, self._connection.close)    # also called when the interpreter exits
            return self._connection

    def start(self) -> Mapping[str, Any]:
        self.call("ping", {}).future.result()
        return {}

    def may_block(self, params: Mapping[str, Any]) -> bool:
        return False

    def call(self, method: str, params: Mapping[str, Any], on_event: Optional[OnEvent] = None, on_call: Optional[OnCall] = None) -> Call:
        connection = self._connected()
        future = asyncio.run_coroutine_threadsafe(connection.request(method, params, on_event, on_call), connection.loop)

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

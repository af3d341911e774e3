# SPDX-License-Identifier: Apache-2.0
"""The client that waits."""
from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from queue import SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, Any, Optional, TypeVar, Union

from . import _operations as operations
from ._operations import Operation, SessionOperations, plain_policy
from ._retry import RetryingTransport
from ._rpc import RpcTransport
from ._transport import Call, Event, OnEvent, Transport
from .errors import ConflictError, SessionNotFoundError
from .tools import Calls, Tools
from .types import FileEntry, Policy, RequestFields, Result, SessionConfig

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from .aio import AsyncPyexec

T = TypeVar("T")
RETRY_OVERLOADED = 10.0     # seconds


def rpc_transport(policy: Optional[Policy], session: Optional[SessionConfig], host: Optional[Mapping[str, Any]],
                  program: Optional[str], retry_overloaded: float) -> Transport:
    initialize = {"policy": plain_policy(policy), "session": session, "host": host}
    return RetryingTransport(RpcTransport(program, {key: value for key, value in initialize.items() if value}), retry_overloaded)


def http_transport(url: str, token: Optional[str], retry_overloaded: float) -> Transport:
    from ._http import HttpTransport    # which needs httpx
    return RetryingTransport(HttpTransport(url, token), retry_overloaded)


def begin(transport: Transport, operation: Operation[Any], on_event: Optional[OnEvent] = None) -> Call:
    return transport.call(operation.method, operation.params, on_event, Calls(operation.tools) if operation.tools else None)


class Pyexec:
    """Runs code in pyexec: in a `pyexec rpc` of its own, or (`connect`) in a running `pyexec serve`.

    policy, session, host: the defaults of runs, of sessions, and of the process (docs/configuration.md).
    program: the path of `pyexec`, else the environment variable PYEXEC, else as in PATH.
    retry_overloaded: for so many seconds a call that is refused as overloaded is made again, after the time that the
    refusal says; its code never started. Then it raises OverloadedError. 0: at once.

    For any number of threads. The process starts with the first call (or `start`, or `with`); when it has died, the
    calls that it had raise ConnectionLostError and the next one starts it again. A forked child gets one of its own.
    Ctrl-C cancels the run that is waited for. Everything ends with close(), or with the interpreter.
    """

    def __init__(self, *, policy: Optional[Policy] = None, session: Optional[SessionConfig] = None,
                 host: Optional[Mapping[str, Any]] = None, program: Optional[str] = None,
                 retry_overloaded: float = RETRY_OVERLOADED) -> None:
        self._transport = rpc_transport(policy, session, host, program, retry_overloaded)
        self.policy: Mapping[str, Any] = plain_policy(policy)       # what was given; over HTTP the server's is not known

    @classmethod
    def connect(cls, url: str, *, token: Optional[str] = None, retry_overloaded: float = RETRY_OVERLOADED) -> Self:
        """A client of `pyexec serve` at "unix:/PATH" or "http://HOST:PORT"; needs pyexec-client[http]."""
        client = cls.__new__(cls)
        client._transport, client.policy = http_transport(url, token, retry_overloaded), {}
        return client

    def aio(self) -> AsyncPyexec:
        """The same connection, with the same sessions, for asyncio. Close one of the two."""
        from .aio import AsyncPyexec
        other = AsyncPyexec.__new__(AsyncPyexec)
        other._transport = self._transport
        return other

    def start(self) -> Mapping[str, Any]:
        """Starts or reaches the other side, if that has not been done. What it says of itself: version, python, layers
        (over HTTP nothing)."""
        return self._transport.start()

    def close(self) -> None:
        """Cancels what runs, and ends the process, or the connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: Optional[type[BaseException]], value: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        self.close()

    def execute_once(self, code: str, *, on_event: Optional[OnEvent] = None, **request: Unpack[RequestFields]) -> Result:
        """One run in a fresh process. With on_event, output and displays are given to it as they come, on this thread."""
        return self._execute(operations.execute_once(code, request), on_event)

    def stream(self, code: str, **request: Unpack[RequestFields]) -> Stream:
        """The same as an iterator: Output and Display as they come, then the Result."""
        return Stream(self._transport, operations.execute_once(code, request))

    def session(self, session_id: Optional[str] = None, *, policy: Optional[Policy] = None, tools: Optional[Tools] = None) -> Session:
        """A session, which keeps its state between calls; made by its first call, with this policy over the client's.
        Without an id it has one of its own. All of its calls through this object offer these tools."""
        return Session(self, uuid.uuid4().hex if session_id is None else session_id, policy, tools)

    def sessions(self) -> list[Mapping[str, Any]]:
        """The live ones: id, busy, execution_count, age_ms, idle_ms."""
        return self._run(operations.list_sessions())

    def _run(self, operation: Operation[T]) -> T:
        call = begin(self._transport, operation)
        try:
            return operation.decode(call.future.result())
        except BaseException:       # Ctrl-C, or what a signal handler raises
            if not call.future.done():
                call.cancel()
            raise

    def _execute(self, operation: Operation[Result], on_event: Optional[OnEvent]) -> Result:
        if on_event is None:
            return self._run(operation)
        with Stream(self._transport, operation) as stream:
            for event in stream:
                if not isinstance(event, Result):
                    on_event(event)
        return stream.result()


class Stream(Iterator[Union[Event, Result]]):
    """The events of a run, which has begun, and its result last. Closing it before cancels the run."""

    _call: Optional[Call] = None        # for __del__, when there never was one

    def __init__(self, transport: Transport, operation: Operation[Result]) -> None:
        self._operation = operation
        self._events: SimpleQueue[Union[Event, Future[Any]]] = SimpleQueue()
        self._result: Optional[Result] = None
        self._call = begin(transport, operation, self._events.put)
        self._call.future.add_done_callback(self._events.put)

    def __next__(self) -> Union[Event, Result]:
        if self._result is not None:
            raise StopIteration
        event = self._events.get()
        if not isinstance(event, Future):
            return event
        self._events.put(event)         # so that it ends again when asked again
        self._result = self._operation.decode(event.result())
        return self._result

    def result(self) -> Result:
        """The result; what has not been iterated over is skipped."""
        while self._result is None:
            next(self)
        return self._result

    def close(self) -> None:
        if self._call is not None and not self._call.future.done():
            self._call.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Optional[type[BaseException]], value: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        self.close()

    __del__ = close


class Session:
    """One session; `with` closes it at the end. Calls run one after another, in order of arrival."""

    def __init__(self, client: Pyexec, session_id: str, policy: Optional[Policy], tools: Optional[Tools] = None) -> None:
        self._client, self._operations = client, SessionOperations(session_id, policy, tools)
        self.id = session_id
        self.files = Files(self)

    def execute(self, code: str, *, on_event: Optional[OnEvent] = None, **request: Unpack[RequestFields]) -> Result:
        return self._client._execute(self._operations.execute(code, request), on_event)

    def stream(self, code: str, **request: Unpack[RequestFields]) -> Stream:
        return Stream(self._client._transport, self._operations.execute(code, request))

    def interrupt(self) -> None:
        """Stops the running call as Ctrl-C would; the state stays."""
        self._client._run(self._operations.interrupt())

    def close(self) -> None:
        """Ends it, if it is there; a running call ends as `cancelled`."""
        try:
            self._client._run(self._operations.close())
        except SessionNotFoundError:
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Optional[type[BaseException]], value: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        self.close()


class Files:
    """The workspace of a session. Needs file access in its policy."""

    def __init__(self, session: Session) -> None:
        self._run, self._operations = session._client._run, session._operations

    def list(self) -> list[FileEntry]:
        return self._run(self._operations.list_files())

    def read(self, path: str) -> bytes:
        return self._run(self._operations.read_file(path))

    def write(self, path: str, content: Union[str, bytes]) -> None:
        """Folders on the way are made, and the session too when it is not there."""
        try:
            self._run(self._operations.write_file(path, content))
        except SessionNotFoundError:
            with contextlib.suppress(ConflictError):        # made by somebody else meanwhile
                self._run(self._operations.create())
            self._run(self._operations.write_file(path, content))

    def delete(self, path: str) -> None:
        self._run(self._operations.delete_file(path))

# SPDX-License-Identifier: Apache-2.0
"""The synchronous client: its methods block until the answer is there."""
from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable, Optional, TypeVar, Union

from . import _operations as operations
from ._operations import Operation, SessionOperations, plain_policy
from ._retry import RetryingTransport
from ._rpc import RpcTransport
from ._transport import Call, Event, OnEvent, Transport
from .errors import ConflictError, SessionNotFoundError
from .tools import Calls, Tools
from .types import FileEntry, Policy, RequestFields, Result, SessionConfig, SessionList, Undone
from .verify import Test, Verified, VerifyFields

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

    from .aio import AsyncPyexec

T = TypeVar("T")
RETRY_OVERLOADED = 10.0     # seconds


def rpc_transport(policy: Optional[Policy], session: Optional[SessionConfig], host: Optional[Mapping[str, Any]],
                  program: Optional[str], retry_overloaded: float) -> Transport:
    initialize = {"policy": plain_policy(policy), "session": session, "host": host}
    return RetryingTransport(RpcTransport(program, {key: value for key, value in initialize.items() if value}), retry_overloaded)


def remote_transport(url: str, token: Optional[str], retry_overloaded: float, credentials: Optional[str],
                     principal: Optional[str], inbox_prefix: Optional[str]) -> Transport:
    from ._remote import Connection, RemoteTransport
    connect: Callable[[], Connection]
    if url.startswith(("nats://", "tls://")):
        from ._nats import NatsConnection       # imported only here, because it needs nats-py
        connect = partial(NatsConnection, url, token, credentials, principal, inbox_prefix)
    elif not url.startswith(("unix:", "http://", "https://")):
        raise ValueError("url: 'unix:/PATH', 'http://HOST:PORT', 'https://HOST', 'nats://HOST:PORT' or 'tls://HOST:PORT', not %r" % url)
    elif (credentials, principal, inbox_prefix) != (None, None, None):
        raise ValueError("credentials, principal and inbox_prefix: only for nats:// and tls://; over HTTP the token says who calls")
    else:
        from ._http import HttpConnection       # needs httpx
        connect = partial(HttpConnection, url, token)
    return RetryingTransport(RemoteTransport(connect), retry_overloaded)


def begin(transport: Transport, operation: Operation[Any], on_event: Optional[OnEvent] = None) -> Call:
    return transport.call(operation.method, operation.params, on_event, Calls(operation.tools) if operation.tools else None)


class Pyexec:
    """Runs code in pyexec. It starts its own `pyexec rpc`, or uses a running `pyexec serve` (`connect`).

    policy, session, host: settings of runs, of sessions, and of the process (docs/configuration.md).
    program: the path of `pyexec`. Without it, the environment variable PYEXEC or the program in PATH is used.
    retry_overloaded: how many seconds a call that was refused as overloaded is repeated, each time after the time in the
    refusal; its code never started. After that it raises OverloadedError. 0: the call is not repeated.

    Any number of threads may use it. The process starts with the first call (or `start`, or `with`). When it has died, the
    calls in progress raise ConnectionLostError, and the next call starts it again. A forked child starts its own process.
    Ctrl-C cancels the run for which its thread waits. Everything ends with close(), or with the interpreter.
    """

    def __init__(self, *, policy: Optional[Policy] = None, session: Optional[SessionConfig] = None,
                 host: Optional[Mapping[str, Any]] = None, program: Optional[str] = None,
                 retry_overloaded: float = RETRY_OVERLOADED) -> None:
        self._transport = rpc_transport(policy, session, host, program, retry_overloaded)
        self.policy: Mapping[str, Any] = plain_policy(policy)       # as the caller gave it; empty over HTTP

    @classmethod
    def connect(cls, url: str, *, token: Optional[str] = None, retry_overloaded: float = RETRY_OVERLOADED,
                credentials: Optional[str] = None, principal: Optional[str] = None, inbox_prefix: Optional[str] = None) -> Self:
        """Makes a client of `pyexec serve` at "unix:/PATH" or "http://HOST:PORT" (needs pyexec-client[http]), or of the fleet of a NATS
        server at "nats://HOST:PORT" or "tls://HOST:PORT", several servers with commas between (needs pyexec-client[nats];
        docs/scale.md). Only for NATS: credentials is the path of a .creds file, principal the one whose subjects are used,
        inbox_prefix the beginning of the subjects to which answers come (if this user may not subscribe to _INBOX)."""
        client = cls.__new__(cls)
        client._transport, client.policy = remote_transport(url, token, retry_overloaded, credentials, principal, inbox_prefix), {}
        return client

    def aio(self) -> AsyncPyexec:
        """Returns a client for asyncio with the same connection and the same sessions. Close only one of the two clients."""
        from .aio import AsyncPyexec
        other = AsyncPyexec.__new__(AsyncPyexec)
        other._transport = self._transport
        return other

    def start(self) -> Mapping[str, Any]:
        """Starts `pyexec rpc`, or connects to the server, if that has not been done. Returns what `pyexec rpc` says about itself:
        version, python, layers. Over HTTP the returned mapping is empty."""
        return self._transport.start()

    def close(self) -> None:
        """Cancels all runs, and ends the process or the connections."""
        self._transport.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: Optional[type[BaseException]], value: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        self.close()

    def execute_once(self, code: str, *, on_event: Optional[OnEvent] = None, **request: Unpack[RequestFields]) -> Result:
        """Runs code in a new process. on_event gets output and displays during the run, on this thread."""
        return self._execute(operations.execute_once(code, request), on_event)

    def stream(self, code: str, **request: Unpack[RequestFields]) -> Stream:
        """Does the same as an iterator: it yields Output and Display during the run, then the Result."""
        return Stream(self._transport, operations.execute_once(code, request))

    def verify(self, solution: str, tests: Sequence[Test], **request: Unpack[VerifyFields]) -> Verified:
        """Runs a solution against many tests, each in a fork of it (docs/verify.md). Values in args, kwargs and expect are
        Python values; what a test expects is compared outside the sandbox."""
        return self._run(operations.verify(solution, tests, request))

    def session(self, session_id: Optional[str] = None, *, policy: Optional[Policy] = None, tools: Optional[Tools] = None,
                packages: Optional[Sequence[str]] = None) -> Session:
        """Returns a session, which keeps its state between calls. Its first call makes it. The keys of `policy` replace those of
        the client's policy. Without session_id it gets a random id. All calls through this object offer these tools. Its scripts
        may import `packages` (only of a server that allows them; see RequestFields)."""
        return Session(self, uuid.uuid4().hex if session_id is None else session_id, policy, tools, packages)

    def sessions(self) -> SessionList:
        """Lists the sessions that live: id, busy, execution_count, age_ms, idle_ms. `missing` of the list names nodes whose sessions are not in it."""
        return self._run(operations.list_sessions())

    def environments(self) -> list[Mapping[str, Any]]:
        """Lists the environments that a policy may choose with its key `environment`: name, hash, python, requirements, packages, imports,
        limits, preload. One that can't be used has name, error and hint."""
        return self._run(operations.list_environments())

    def _run(self, operation: Operation[T]) -> T:
        call = begin(self._transport, operation)
        try:
            return operation.decode(call.future.result())
        except BaseException:       # also Ctrl-C, and exceptions of signal handlers
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
    """Yields the events of a run, which has already begun, and its result last. If the stream is closed before the result, the
    run is cancelled."""

    _call: Optional[Call] = None        # for __del__, if begin() raised

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
        self._events.put(event)         # if decode() or the future raises, the next call raises again and does not block
        self._result = self._operation.decode(event.result())
        return self._result

    def result(self) -> Result:
        """Waits for the result and returns it. Events that were not read are skipped."""
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
    """A session. The end of a `with` block closes it. Calls run one after another, in order of arrival."""

    def __init__(self, client: Pyexec, session_id: str, policy: Optional[Policy], tools: Optional[Tools] = None,
                 packages: Optional[Sequence[str]] = None) -> None:
        self._client, self._operations = client, SessionOperations(session_id, policy, tools, packages)
        self.id, self._of_branches = session_id, (policy, tools, packages)
        self.files = Files(self)

    def execute(self, code: str, *, on_event: Optional[OnEvent] = None, **request: Unpack[RequestFields]) -> Result:
        return self._client._execute(self._operations.execute(code, request), on_event)

    def stream(self, code: str, **request: Unpack[RequestFields]) -> Stream:
        return Stream(self._client._transport, self._operations.execute(code, request))

    def fork(self, count: Optional[int] = None, *, ids: Optional[Sequence[str]] = None) -> list[Session]:
        """Makes new sessions that go on from the state of this one, which stays as it is (docs/branches.md): one, or `count`, or
        one for each of `ids`. Needs the policy `forkable`. None of the calls of this session may run or wait."""
        made = self._client._run(self._operations.fork(count, ids))
        return [Session(self._client, one, *self._of_branches) for one in made]

    def undo(self, to: Optional[int] = None) -> Undone:
        """Returns the session to the state before its last call for which a state is kept, or before the call with the execution
        count `to` (docs/branches.md). Calls keep states with the policy `auto_checkpoint`, or with `checkpoint=True`."""
        return self._client._run(self._operations.undo(to))

    def reset(self) -> Undone:
        """Returns the session to the state before its first call, if that call has kept it."""
        return self._client._run(self._operations.reset())

    def interrupt(self) -> None:
        """Stops the running call as Ctrl-C would. The state stays."""
        self._client._run(self._operations.interrupt())

    def close(self) -> None:
        """Ends the session if it exists. A running call ends as `cancelled`."""
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
        """Writes a file. Missing folders in the path are made, and also the session if it does not exist."""
        try:
            self._run(self._operations.write_file(path, content))
        except SessionNotFoundError:
            with contextlib.suppress(ConflictError):        # another caller has made the session meanwhile
                self._run(self._operations.create())
            self._run(self._operations.write_file(path, content))

    def delete(self, path: str) -> None:
        self._run(self._operations.delete_file(path))

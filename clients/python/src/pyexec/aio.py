# SPDX-License-Identifier: Apache-2.0
"""The client for asyncio. It has the methods of `pyexec.client`, which are documented there. Cancelling a task cancels its
run."""
from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Optional, TypeVar, Union

from . import _operations as operations
from ._operations import Operation, SessionOperations
from ._transport import Call, Event, OnEvent, Transport
from .client import RETRY_OVERLOADED, remote_transport, rpc_transport
from .errors import ConflictError, SessionNotFoundError
from .tools import Calls, Tools
from .types import FileEntry, Policy, RequestFields, Result, SessionConfig, SessionList, Undone
from .verify import Test, Verified, VerifyFields

if TYPE_CHECKING:
    from typing_extensions import Self, Unpack

T = TypeVar("T")


async def _begin(transport: Transport, operation: Operation[Any], on_event: Optional[OnEvent] = None) -> Call:
    calls = Calls(operation.tools, asyncio.get_running_loop()) if operation.tools else None
    if transport.may_block(operation.params):
        call = await asyncio.to_thread(transport.call, operation.method, operation.params, on_event, calls)
    else:
        call = transport.call(operation.method, operation.params, on_event, calls)
    if calls is not None:
        call.future.add_done_callback(calls.end)
    return call


async def _answer(call: Call, operation: Operation[T]) -> T:
    try:
        return operation.decode(await asyncio.wrap_future(call.future))
    except BaseException:
        if not call.future.done():
            call.cancel()
        raise


class AsyncPyexec:
    """`Pyexec` for asyncio. It may be used from several event loops; each call belongs to the loop that awaits it."""

    def __init__(self, *, policy: Optional[Policy] = None, session: Optional[SessionConfig] = None,
                 host: Optional[Mapping[str, Any]] = None, program: Optional[str] = None,
                 retry_overloaded: float = RETRY_OVERLOADED) -> None:
        self._transport = rpc_transport(policy, session, host, program, retry_overloaded)

    @classmethod
    def connect(cls, url: str, *, token: Optional[str] = None, retry_overloaded: float = RETRY_OVERLOADED,
                credentials: Optional[str] = None, principal: Optional[str] = None, inbox_prefix: Optional[str] = None) -> Self:
        client = cls.__new__(cls)
        client._transport = remote_transport(url, token, retry_overloaded, credentials, principal, inbox_prefix)
        return client

    async def start(self) -> Mapping[str, Any]:
        return await asyncio.to_thread(self._transport.start)

    async def close(self) -> None:
        await asyncio.to_thread(self._transport.close)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, kind: Optional[type[BaseException]], value: Optional[BaseException],
                        trace: Optional[TracebackType]) -> None:
        await self.close()

    async def execute_once(self, code: str, *, on_event: Optional[OnEvent] = None, **request: Unpack[RequestFields]) -> Result:
        return await self._execute(operations.execute_once(code, request), on_event)

    def stream(self, code: str, **request: Unpack[RequestFields]) -> AsyncStream:
        """The run begins when the iteration begins."""
        return AsyncStream(self._transport, operations.execute_once(code, request))

    async def verify(self, solution: str, tests: Sequence[Test], **request: Unpack[VerifyFields]) -> Verified:
        return await self._run(operations.verify(solution, tests, request))

    def session(self, session_id: Optional[str] = None, *, policy: Optional[Policy] = None, tools: Optional[Tools] = None,
                packages: Optional[Sequence[str]] = None) -> AsyncSession:
        return AsyncSession(self, uuid.uuid4().hex if session_id is None else session_id, policy, tools, packages)

    async def sessions(self) -> SessionList:
        return await self._run(operations.list_sessions())

    async def environments(self) -> list[Mapping[str, Any]]:
        return await self._run(operations.list_environments())

    async def _run(self, operation: Operation[T]) -> T:
        return await _answer(await _begin(self._transport, operation), operation)

    async def _execute(self, operation: Operation[Result], on_event: Optional[OnEvent]) -> Result:
        if on_event is None:
            return await self._run(operation)
        async with AsyncStream(self._transport, operation) as stream:
            async for event in stream:
                if not isinstance(event, Result):
                    on_event(event)
        return await stream.result()


class AsyncStream(AsyncIterator[Union[Event, Result]]):
    """Yields the events of a run, and its result last. If the stream is closed before the result, the run is cancelled."""

    def __init__(self, transport: Transport, operation: Operation[Result]) -> None:
        self._transport, self._operation = transport, operation
        self._events: asyncio.Queue[Optional[Event]] = asyncio.Queue()     # None: the end
        self._call: Optional[Call] = None
        self._result: Optional[Result] = None

    async def _start(self) -> Call:
        loop = asyncio.get_running_loop()

        def put(event: Optional[Event]) -> None:
            with contextlib.suppress(RuntimeError):         # the loop is closed, so nobody reads the events
                loop.call_soon_threadsafe(self._events.put_nowait, event)
        self._call = await _begin(self._transport, self._operation, put)
        self._call.future.add_done_callback(lambda _: put(None))
        return self._call

    async def __anext__(self) -> Union[Event, Result]:
        if self._result is not None:
            raise StopAsyncIteration
        call = self._call or await self._start()
        try:
            event = await self._events.get()
        except BaseException:
            self._cancel()
            raise
        if event is not None:
            return event
        self._events.put_nowait(None)   # if decode() raises, the next call raises the same exception and does not block
        self._result = self._operation.decode(call.future.result())
        return self._result

    async def result(self) -> Result:
        while self._result is None:
            await self.__anext__()
        return self._result

    def _cancel(self) -> None:
        if self._call is not None and not self._call.future.done():
            self._call.cancel()

    async def aclose(self) -> None:
        self._cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: Optional[type[BaseException]], value: Optional[BaseException],
                        trace: Optional[TracebackType]) -> None:
        self._cancel()

    def __del__(self) -> None:
        self._cancel()


class AsyncSession:
    """`Session` for asyncio; `async with` closes it at the end."""

    def __init__(self, client: AsyncPyexec, session_id: str, policy: Optional[Policy], tools: Optional[Tools] = None,
                 packages: Optional[Sequence[str]] = None) -> None:
        self._client, self._operations = client, SessionOperations(session_id, policy, tools, packages)
        self.id, self._of_branches = session_id, (policy, tools, packages)
        self.files = AsyncFiles(self)

    async def execute(self, code: str, *, on_event: Optional[OnEvent] = None, **request: Unpack[RequestFields]) -> Result:
        return await self._client._execute(self._operations.execute(code, request), on_event)

    def stream(self, code: str, **request: Unpack[RequestFields]) -> AsyncStream:
        return AsyncStream(self._client._transport, self._operations.execute(code, request))

    async def fork(self, count: Optional[int] = None, *, ids: Optional[Sequence[str]] = None) -> list[AsyncSession]:
        made = await self._client._run(self._operations.fork(count, ids))
        return [AsyncSession(self._client, one, *self._of_branches) for one in made]

    async def undo(self, to: Optional[int] = None) -> Undone:
        return await self._client._run(self._operations.undo(to))

    async def reset(self) -> Undone:
        return await self._client._run(self._operations.reset())

    async def interrupt(self) -> None:
        await self._client._run(self._operations.interrupt())

    async def close(self) -> None:
        try:
            await self._client._run(self._operations.close())
        except SessionNotFoundError:
            pass

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: Optional[type[BaseException]], value: Optional[BaseException],
                        trace: Optional[TracebackType]) -> None:
        await self.close()


class AsyncFiles:
    def __init__(self, session: AsyncSession) -> None:
        self._run, self._operations = session._client._run, session._operations

    async def list(self) -> list[FileEntry]:
        return await self._run(self._operations.list_files())

    async def read(self, path: str) -> bytes:
        return await self._run(self._operations.read_file(path))

    async def write(self, path: str, content: Union[str, bytes]) -> None:
        try:
            await self._run(self._operations.write_file(path, content))
        except SessionNotFoundError:
            with contextlib.suppress(ConflictError):        # another caller has made the session meanwhile
                await self._run(self._operations.create())
            await self._run(self._operations.write_file(path, content))

    async def delete(self, path: str) -> None:
        await self._run(self._operations.delete_file(path))

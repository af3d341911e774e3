# SPDX-License-Identifier: Apache-2.0
"""The interface of all ways to reach pyexec: a call is a future, and events may come before its result."""
from __future__ import annotations

import abc
import json
import os
import weakref
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Callable, Optional, Union

from .errors import InvalidRequestError
from .types import Display, Output

Event = Union[Output, Display]
OnEvent = Callable[[Event], None]


@dataclass(frozen=True)
class ToolCall:
    """A tool call of a script, which waits for the answer. answer() takes {"result"}, {"error": {"message", "data"}} or
    {"deny"}. It may be called from any thread. An answer that comes too late is dropped."""

    name: str
    arguments: Mapping[str, Any]
    answer: Callable[[Mapping[str, Any]], None]


OnCall = Callable[[ToolCall], None]

# Writing a message of more bytes may block until the other side reads. An event loop must not block.
BLOCKING_BYTES = 32 << 10
MESSAGE_BYTES = 32 << 20    # the limit of the protocol


def encode(message: Mapping[str, Any]) -> bytes:
    """Returns a message as JSON. A message that is not JSON or is too long is refused here: the other side could not read its
    id, so no answer could name it, and the call would wait for ever. The other side refuses all other errors itself. For that,
    non-ASCII characters are written as escapes, because a lone surrogate can't be encoded as UTF-8."""
    try:
        line = json.dumps(message, separators=(",", ":"), allow_nan=False).encode("ascii")
    except ValueError as failure:
        raise InvalidRequestError("JSON can't contain NaN, infinity or a value that contains itself: %s" % failure,
                                  "Send None or a text instead.") from failure
    if len(line) >= MESSAGE_BYTES:
        raise InvalidRequestError("the request has %d bytes of JSON, more than 32 MiB" % len(line),
                                  "Send less at once; files of a session can be written one by one.")
    return line


def refuse_key(key: Optional[str]) -> None:
    """For the transports that have no fleet behind them."""
    if key is not None:
        raise InvalidRequestError("key: only a fleet over NATS takes it", "Leave it out, or use Pyexec.connect(\"nats://…\").")


@dataclass(frozen=True)
class Call:
    """A request in progress. Events come on a thread of the transport, all of them before the future is done.
    cancel() asks for the end of the run, and does not wait for it."""

    future: Future[Any]
    cancel: Callable[[], None]


class Transport(abc.ABC):
    """Thread-safe. A forked child makes its own connection, so it has none of the parent's sessions."""

    def __init__(self) -> None:
        _alive.add(self)

    @abc.abstractmethod
    def start(self) -> Mapping[str, Any]:
        """Connects if there is no connection, and blocks meanwhile. Returns what the other side says about itself."""

    @abc.abstractmethod
    def call(self, method: str, params: Mapping[str, Any], on_event: Optional[OnEvent] = None, on_call: Optional[OnCall] = None) -> Call:
        """Sends a request. Method and parameters are those of JSON-RPC, but the content of a file is bytes. on_call gets the calls
        of tools that the parameters offer, on a thread of the transport, and must not block."""

    @abc.abstractmethod
    def may_block(self, params: Mapping[str, Any]) -> bool:
        """Returns True if call() might block."""

    @abc.abstractmethod
    def close(self) -> None:
        """Cancels all runs, and ends everything that the transport has made. No call may start after this."""

    @abc.abstractmethod
    def after_fork(self) -> None:
        """Called in a forked child: forgets the connection, which belongs to the parent."""


_alive: weakref.WeakSet[Transport] = weakref.WeakSet()


def _forget_all() -> None:
    for transport in list(_alive):
        transport.after_fork()


os.register_at_fork(after_in_child=_forget_all)

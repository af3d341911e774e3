# SPDX-License-Identifier: Apache-2.0
"""The seam between the clients and the ways to reach pyexec: a call is a future that events may come before."""
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
    """A call of a script that waits. answer() takes {"result"}, {"error": {"message", "data"}} or {"deny"}, from any thread; an
    answer that comes too late is dropped."""

    name: str
    arguments: Mapping[str, Any]
    answer: Callable[[Mapping[str, Any]], None]


OnCall = Callable[[ToolCall], None]

# Beyond this a message may have to wait for its reader, which an event loop must not.
BLOCKING_BYTES = 32 << 10
MESSAGE_BYTES = 32 << 20    # the protocol's


def encode(message: Mapping[str, Any]) -> bytes:
    """A message as JSON. What could not be read as JSON, or only in part, has no id that an answer could name, so that the call
    would wait for ever: it is refused here. All else is the other side's to refuse, in its own words: non-ASCII is
    written as escapes, so that a lone surrogate gets there."""
    try:
        line = json.dumps(message, separators=(",", ":"), allow_nan=False).encode("ascii")
    except ValueError as failure:
        raise InvalidRequestError("JSON has no NaN, infinity or value that has itself inside: %s" % failure,
                                  "Send None or a text instead.") from failure
    if len(line) >= MESSAGE_BYTES:
        raise InvalidRequestError("the request has %d bytes of JSON, more than 32 MiB" % len(line),
                                  "Send less at once; files of a session can be written one by one.")
    return line


@dataclass(frozen=True)
class Call:
    """A request under way. Events come on a thread of the transport, all of them before the future is done.
    cancel() asks for the end of the run, and does not wait for it."""

    future: Future[Any]
    cancel: Callable[[], None]


class Transport(abc.ABC):
    """Thread-safe. A forked child begins with a connection of its own, and so without the parent's sessions."""

    def __init__(self) -> None:
        _alive.add(self)

    @abc.abstractmethod
    def start(self) -> Mapping[str, Any]:
        """Connects, when it is not; blocks meanwhile. What the other side says about itself."""

    @abc.abstractmethod
    def call(self, method: str, params: Mapping[str, Any], on_event: Optional[OnEvent] = None, on_call: Optional[OnCall] = None) -> Call:
        """Method and parameters are those of JSON-RPC, but a file's content is bytes. on_call gets the calls of the tools among
        the parameters, on a thread of the transport, and must not wait."""

    @abc.abstractmethod
    def may_block(self, params: Mapping[str, Any]) -> bool:
        """Whether call() might not return at once."""

    @abc.abstractmethod
    def close(self) -> None:
        """Ends what runs, and all that the transport made. No call may start after."""

    @abc.abstractmethod
    def after_fork(self) -> None:
        """In a forked child: forgets what is the parent's."""


_alive: weakref.WeakSet[Transport] = weakref.WeakSet()


def _forget_all() -> None:
    for transport in list(_alive):
        transport.after_fork()


os.register_at_fork(after_in_child=_forget_all)

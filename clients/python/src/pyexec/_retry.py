# SPDX-License-Identifier: Apache-2.0
"""Repeats calls that were refused as overloaded. This is safe because their code never started."""
from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any, Optional

from ._transport import Call, OnCall, OnEvent, Transport
from .errors import OverloadedError

LEAST_WAIT = 0.05       # seconds; used if the refusal has no time
SPREAD = 0.5            # up to this part of the wait is added at random, so that refused callers do not all repeat at once


class RetryingTransport(Transport):
    """Adds repetition to another transport. A call that is refused as overloaded is repeated after the time in the error, if
    that is within `seconds` of the first attempt. Otherwise the error is raised."""

    def __init__(self, inner: Transport, seconds: float) -> None:
        super().__init__()
        self._inner, self._seconds = inner, seconds

    def start(self) -> Mapping[str, Any]:
        return self._inner.start()

    def call(self, method: str, params: Mapping[str, Any], on_event: Optional[OnEvent] = None, on_call: Optional[OnCall] = None) -> Call:
        attempts = _Attempts(self._inner, method, params, on_event, on_call, time.monotonic() + self._seconds)
        attempts.begin()
        return Call(attempts.future, attempts.cancel)

    def may_block(self, params: Mapping[str, Any]) -> bool:
        return self._inner.may_block(params)

    def close(self) -> None:
        self._inner.close()

    def after_fork(self) -> None:
        """Does nothing: the inner transport has its own after_fork(), and the parent's threads and timers do not exist here."""


class _Attempts:
    """One call: the attempt in progress, or the timer of the next attempt."""

    def __init__(self, inner: Transport, method: str, params: Mapping[str, Any], on_event: Optional[OnEvent], on_call: Optional[OnCall],
                 until: float) -> None:
        self.future: Future[Any] = Future()
        self.future.set_running_or_notify_cancel()
        self._inner, self._method, self._params, self._until = inner, method, params, until
        self._on_event, self._on_call = on_event, on_call
        self._lock = threading.Lock()
        self._call: Optional[Call] = None
        self._timer: Optional[threading.Timer] = None
        self._refusal: Optional[OverloadedError] = None
        self._cancelled = False

    def begin(self) -> None:
        call = self._inner.call(self._method, self._params, self._on_event, self._on_call)
        with self._lock:
            self._call, cancelled = call, self._cancelled
        if cancelled:
            call.cancel()
        call.future.add_done_callback(self._ended)

    def cancel(self) -> None:
        with self._lock:
            self._cancelled = True
            call, timer, refusal = self._call, self._timer, self._refusal
            self._timer = None
        if timer is not None:
            timer.cancel()
            assert refusal is not None
            self._fail(refusal)
        elif call is not None:
            call.cancel()

    def _ended(self, answer: Future[Any]) -> None:
        try:
            failure = answer.exception()
        except BaseException as cancelled:
            failure = cancelled
        if isinstance(failure, OverloadedError) and self._wait(failure):
            return
        if failure is not None:
            self._fail(failure)
        elif not self.future.done():
            self.future.set_result(answer.result())

    def _wait(self, refusal: OverloadedError) -> bool:
        """Starts the timer of the next attempt. Returns False if there will be no other attempt."""
        wait = max(refusal.retry_after or 0, LEAST_WAIT) * (1 + SPREAD * random.random())
        timer = threading.Timer(wait, self._again)
        timer.daemon = True
        with self._lock:
            if self._cancelled or time.monotonic() + wait > self._until:
                return False
            self._call, self._timer, self._refusal = None, timer, refusal
            timer.start()
        return True

    def _again(self) -> None:
        with self._lock:
            if self._timer is None:     # cancelled
                return
            self._timer = None
        try:
            self.begin()
        except BaseException as failure:
            self._fail(failure)

    def _fail(self, failure: BaseException) -> None:
        if not self.future.done():
            self.future.set_exception(failure)

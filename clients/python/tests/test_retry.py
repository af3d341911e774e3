"""A call that is refused as overloaded is repeated for a limited time."""
import asyncio
import threading
import time
from concurrent.futures import Future

import pytest

from pyexec import AsyncPyexec, OverloadedError, Pyexec, SessionLimitError
from pyexec._retry import RetryingTransport
from pyexec._transport import Call, Transport

NARROW = {"max_concurrent": 1, "max_asleep": 0, "queue_length": 0}
LONG = {"timeout_ms": 60000, "cpu_time_seconds": 60, "use_import_whitelist": False, "banned_imports": [], "disable_open": False}
UNTIL_TOLD = "import os\nprint('go', flush=True)\nwhile not os.path.exists('end'): pass"


class Refusing(Transport):
    """Refuses this number of calls, and then answers "done"; or fails with another error."""

    def __init__(self, refusals, failure=None, retry_after=0.01):
        super().__init__()
        self.times, self.refusals, self.failure, self.retry_after, self.cancelled = [], refusals, failure, retry_after, 0

    def call(self, method, params, on_event=None, on_call=None):
        self.times.append(time.monotonic())
        answer = Future()
        if len(self.times) <= self.refusals:
            answer.set_exception(OverloadedError("full", "later", self.retry_after))
        elif self.failure:
            answer.set_exception(self.failure)
        else:
            answer.set_result("done")
        return Call(answer, self._cancel)

    def _cancel(self):
        self.cancelled += 1

    def start(self):
        return {}

    def may_block(self, params):
        return False

    def close(self):
        pass

    def after_fork(self):
        pass


def test_the_call_is_made_again_after_the_time_that_the_refusal_says():
    inner = Refusing(3, retry_after=0.2)
    assert RetryingTransport(inner, 60).call("execute_once", {}).future.result(60) == "done"
    assert len(inner.times) == 4
    assert all(later - earlier >= 0.2 for earlier, later in zip(inner.times, inner.times[1:]))


def test_no_attempt_is_made_beyond_the_bound():
    inner = Refusing(1000, retry_after=0.1)
    began = time.monotonic()
    with pytest.raises(OverloadedError):
        RetryingTransport(inner, 1).call("execute_once", {}).future.result(60)
    assert 2 <= len(inner.times) <= 11 and inner.times[-1] <= began + 1.1
    never = Refusing(1000)
    with pytest.raises(OverloadedError):
        RetryingTransport(never, 0).call("execute_once", {}).future.result(60)
    long = Refusing(1000, retry_after=3600)     # longer than the limit, so it does not wait
    with pytest.raises(OverloadedError):
        RetryingTransport(long, 60).call("execute_once", {}).future.result(60)
    assert len(never.times) == len(long.times) == 1


def test_other_errors_are_not_tried_again():
    inner = Refusing(1, SessionLimitError("all are busy", ""))
    with pytest.raises(SessionLimitError):
        RetryingTransport(inner, 60).call("execute", {}).future.result(60)
    assert len(inner.times) == 2


def test_a_call_that_waits_for_its_next_attempt_can_be_cancelled():
    inner = Refusing(1000, retry_after=30)
    call = RetryingTransport(inner, 3600).call("execute_once", {})
    assert not call.future.done()
    call.cancel()
    with pytest.raises(OverloadedError):
        call.future.result(10)
    call.cancel()       # again: nothing
    assert len(inner.times) == 1 and inner.cancelled == 0


def busy(px):
    """A run that has the only turn, and a function that ends it."""
    stream = px.session("busy").stream(UNTIL_TOLD)
    next(stream)
    return stream, lambda: px.session("busy").files.write("end", b"")


def test_a_call_waits_for_the_turn_of_a_full_program():
    with Pyexec(policy=LONG, host=NARROW, retry_overloaded=120) as px, \
            Pyexec(policy=LONG, host=NARROW, retry_overloaded=0) as at_once:
        for client in (px, at_once):
            stream, end = busy(client)
            found = []
            thread = threading.Thread(target=lambda: found.append(client.execute_once("6 * 7")))
            if client is at_once:
                with pytest.raises(OverloadedError) as refused:
                    client.execute_once("1")
                assert refused.value.retry_after > 0
                end()
                assert stream.result().ok
                continue
            thread.start()
            end()
            thread.join(60)
            assert stream.result().ok and found[0].last_value_repr == "42"


def test_a_task_waits_and_can_be_cancelled_meanwhile():
    async def use():
        async with AsyncPyexec(policy=LONG, host=NARROW, retry_overloaded=120) as px:
            busy = px.session("busy").stream(UNTIL_TOLD)
            await anext(busy)
            given_up, waiting = (asyncio.ensure_future(px.execute_once("1")) for _ in range(2))
            await asyncio.sleep(0.3)
            assert not given_up.done() and not waiting.done()
            given_up.cancel()
            with pytest.raises(asyncio.CancelledError):
                await given_up
            await px.session("busy").files.write("end", b"")
            assert (await waiting).last_value_repr == "1"
    asyncio.run(use())


def test_over_http_too():
    from conftest import _Program, serving
    config = "[host]\n" + "".join("%s = %s\n" % pair for pair in NARROW.items())
    with serving(_Program(), "--files", "full", "--any-import", "--timeout", "60s", "--cpu-time-seconds", "60", config=config) as narrow:
        with Pyexec.connect("unix:" + narrow.socket, retry_overloaded=120) as px:
            stream, end = busy(px)
            found = []
            thread = threading.Thread(target=lambda: found.append(px.execute_once("6 * 7")))
            thread.start()
            while 'reason="queue"} 0' in narrow.metrics():
                time.sleep(0.02)
            end()
            thread.join(60)
            assert stream.result().ok and found[0].last_value_repr == "42"

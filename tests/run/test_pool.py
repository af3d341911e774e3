# SPDX-License-Identifier: Apache-2.0
"""Which of the waiting children serves a run, and that none waits for ever."""
import os
import signal
import threading
import time

import pytest

from library import Executor
from test_kills import by_age, children

pytestmark = pytest.mark.usefixtures("nothing_left")

THREADS = "import threading, time\nfor _ in range(3):\n    threading.Thread(target=time.sleep, args=(50,), daemon=True).start()\ntime.sleep(50)"


def until(condition, what, seconds=60):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.01)
    return found


def waiting(executor):
    """The children of the pool, the oldest first. The first process below the supervisor is the only zygote."""
    supervisor = children(children(executor.pid)[0])[0]
    return by_age(children(supervisor))[1:]


def filled(executor, count):
    """Waits until this many children wait and all others have ended."""
    executor.call(None, "1")
    executor.call(None, "1")
    return until(lambda: executor.stats()["pool_ready"] == count and len(found := waiting(executor)) == count and found,
                 "the pool is not full")


def threads_of(pid):
    try:
        return len(os.listdir("/proc/%d/task" % pid))
    except OSError:
        return 0


def test_the_newest_child_serves_the_next_run():
    with Executor(policy={"use_import_whitelist": False, "timeout_ms": 60000}, host={"pool_size": 4, "zygotes": 1}) as executor:
        found = filled(executor, 4)
        run = threading.Thread(target=executor.call, args=(None, THREADS))
        run.start()
        busy = until(lambda: [pid for pid in waiting(executor) if threads_of(pid) == 4], "no child has the script's threads")
        assert busy == found[-1:]
        os.kill(busy[0], signal.SIGKILL)
        run.join()


def test_children_that_died_while_they_waited_serve_no_run():
    with Executor(host={"pool_size": 4, "zygotes": 1}) as executor:
        oldest, *others = filled(executor, 4)
        for pid in others:
            os.kill(pid, signal.SIGKILL)
        until(lambda: waiting(executor) == [oldest], "a killed child still runs")
        assert [executor.call(None, "1 + 1")["status"] for _ in range(6)] == ["ok"] * 6


def test_a_child_that_has_waited_long_goes_before_newer_ones():
    with Executor(host={"pool_size": 4, "zygotes": 1, "pool_idle": 1500}) as executor:
        found = set(filled(executor, 4))

        def run_once():
            assert executor.call(None, "1 + 1")["status"] == "ok"
            return not found & set(waiting(executor))
        until(run_once, "children from the beginning still wait")

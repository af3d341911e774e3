"""Scripts that try to use up the machine: their resources are limited, other sessions still answer, and nothing is
left. neighbours.py measures how long the others wait; this file does not."""
import os
import time

import pytest

from library import Executor
from neighbours import BOMBS, OPEN, beside, explode

ENDS = {"timeout", "cpu_limit", "memory_limit", "error", "killed", "crashed"}


def descriptors(process):
    return len(os.listdir("/proc/%d/fd" % process))


@pytest.mark.parametrize("name", BOMBS)
def test_sessions_answer_beside_a_bomb(name, nothing_left):
    with Executor({**OPEN, "timeout_ms": 20000}) as executor:
        quiet, times, ends = beside(executor, name, 20, 0.5)
        assert len(quiet) >= 20 and len(times) >= 20       # every answer was right, too
        assert set(ends) <= ENDS, ends
        assert len(executor.sessions()) == 20


@pytest.mark.parametrize("name", BOMBS)
def test_after_a_bomb_nothing_is_left(name, nothing_left):
    """The run leaves no process, mount, file or cgroup (nothing_left), no descriptor, and no memory in the host."""
    with Executor({**OPEN, "cpu_time_seconds": 1}, host={"pool_size": 0}) as executor:
        executor.call(None, "1")
        rounds = iter([False, True])
        assert explode(executor, name, lambda: next(rounds)) <= ENDS
        before, rounds = descriptors(executor.pid), iter([False, True])
        assert explode(executor, name, lambda: next(rounds)) <= ENDS
        deadline = time.monotonic() + 3
        while descriptors(executor.pid) > before and time.monotonic() < deadline:
            time.sleep(0.05)
        assert descriptors(executor.pid) <= before
        assert executor.call(None, "6 * 7")["last_value_repr"] == "42"

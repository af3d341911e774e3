"""A zygote is killed between its fork and its answer: the run continues in another child, and the first child ends."""
import ctypes
import os
import signal
import threading
import time

import pytest

from conftest import is_alive
from library import Executor
from test_kills import find

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
PTRACE_DETACH, PTRACE_GETEVENTMSG, PTRACE_SEIZE = 17, 0x4201, 0x4206
PTRACE_O_FORK_VFORK_CLONE = 2 | 4 | 8
WALL = 0x40000000


def ptrace(request, pid, address, data):
    if LIBC.ptrace(request, pid, address, data) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def kill_at_its_next_fork(zygote):
    """Kills the zygote when it has made a child and before it continues. Returns the id of the child, which then runs."""
    while True:
        _, status = os.waitpid(zygote, WALL)
        assert os.WIFSTOPPED(status), status
        if status >> 16 in (1, 2, 3):       # PTRACE_EVENT_FORK, _VFORK, _CLONE
            break
        ptrace(7, zygote, None, None)       # PTRACE_CONT
    message = ctypes.c_ulong()
    ptrace(PTRACE_GETEVENTMSG, zygote, None, ctypes.byref(message))
    child = message.value
    assert child > 1 and zygote > 1
    os.kill(zygote, signal.SIGKILL)
    assert os.waitpid(zygote, WALL)[1] == signal.SIGKILL
    assert os.WIFSTOPPED(os.waitpid(child, WALL)[1])
    ptrace(PTRACE_DETACH, child, None, None)
    return child


def test_a_zygote_killed_before_it_answers(nothing_left):
    with Executor(session={"max_count": 0}, host={"pool_size": 0, "zygotes": 1}) as executor:
        assert executor.call(None, "1")["status"] == "ok"
        zygote = find("zygote", executor.pid)
        try:
            ptrace(PTRACE_SEIZE, zygote, None, PTRACE_O_FORK_VFORK_CLONE)
        except PermissionError:
            pytest.skip("this container refuses ptrace(2)")
        results = []
        thread = threading.Thread(target=lambda: results.append(
            executor.call("s", "import time\ntime.sleep(600)", timeout_ms=600000)))
        thread.start()
        child = kill_at_its_next_fork(zygote)
        deadline = time.monotonic() + 30
        while is_alive(child) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not is_alive(child), "the child of the killed zygote keeps the run's descriptors"
        while thread.is_alive() and time.monotonic() < deadline + 60:
            executor.interrupt("s")
            thread.join(0.5)
        assert results and results[0]["status"] == "error" and results[0]["error"]["type"] == "KeyboardInterrupt", results

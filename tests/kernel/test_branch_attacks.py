# SPDX-License-Identifier: Apache-2.0
"""Sources that attack while they are forked (docs/security.md, Sessions that can be forked): native code in a hook that runs when the host
has allowed one clone. What a branch keeps, and who signals whom: test_branches.py."""
import os
import struct

import pytest

from conftest import ORDINARY
from library import Executor, Failure
from test_escape_sessions import PARK
from test_branches import BRANCH_FLAGS, CAPSET, CLONE, GETPGID, NATIVE, OPEN, started, value

CLONED = "sc(%d, %d, 0, 0, ctypes.addressof(cell), ctypes.addressof(cell), 0)" % (CLONE, BRANCH_FLAGS)
DROP = "sc(%d, ctypes.create_string_buffer(struct.pack('Ii', 0x20080522, 0), 8), ctypes.create_string_buffer(24))" % CAPSET
REPORT = "sc(%d, -1)" % GETPGID
# FORK_ERRNO (EAGAIN) and READY, and LOCKED, of protocol/child_fields.def
NO_BRANCH = struct.pack("HHIi", 30, 0, 4, 11) + struct.pack("HHI", 24, 0, 0)
LOCKED = struct.pack("HHI", 2, 0, 16) + bytes(16)


def test_no_process_outlives_the_fork_that_made_it(any_pyexec, nothing_left):
    """The source says that its clone has failed, and then clones: with much memory, so that it takes the kernel long. The process that
    nobody knows waits for a fork of a sibling, and says that it is the branch."""
    with started(any_pyexec, {**OPEN, "address_space_bytes": 1 << 30, "cpu_time_seconds": 20, "timeout_ms": 30_000}) as executor:
        executor.call("s", NATIVE + "cell, who = ctypes.c_long(), 'nobody'")
        executor.fork("s", "evil", "good")
        executor.call("evil", "memory = bytearray(350 << 20)\nfor i in range(0, len(memory), 4096): memory[i] = 1\nwho = 'evil'\n"
                      "def steal():\n    os.write(3, %r)\n    if %s == 0:\n        %s\n        os.closerange(3, 500)\n        libc.chdir(b'/')\n"
                      "        while %s != 0: pass\n        os.write(3, %r)\n        os.write(1, b'it is evil')\n        while True: time.sleep(1)\n"
                      "os.register_at_fork(before=steal)" % (NO_BRANCH, CLONED, DROP, REPORT, LOCKED))
        for attempt in range(3):
            try:
                executor.fork("evil", "never")
                executor.close("never")     # its clone was quicker than its lie, and passed all checks: a branch like others
            except Failure:
                pass
            # The sibling stands still before its clone, so that the thief is first.
            executor.call("good", "who = 'good'\nif %d == 0: os.register_at_fork(before=lambda: time.sleep(0.2))" % attempt)
            executor.fork("good", "branch")
            assert value(executor, "branch", "who") == "good"
            executor.close("branch")
            if "evil" in {item["id"] for item in executor.sessions()}:
                break       # it was refused its clone, and is as before


def test_a_fork_is_no_way_to_more_threads(any_pyexec, nothing_left):
    with started(any_pyexec, {**OPEN, "max_threads": 3}) as executor:
        executor.call("s", NATIVE + "stop = threading.Event()\nthreading.stack_size(65536)\n"
                      "def fill():\n    try:\n        for _ in range(50): threading.Thread(target=stop.wait, daemon=True).start()\n    except RuntimeError: pass\n"
                      "os.register_at_fork(before=fill)")
        with pytest.raises(Failure, match="session_not_forkable"):
            executor.fork("s", "a")
        result = executor.call("s", "import threading\nthreading.active_count()")
        assert result["status"] == "ok" and int(result["last_value_repr"]) <= 4


@pytest.mark.parametrize("keep, words", [
    ("libc.fchdir(root); os.closerange(3, 500)", "folder"),
    ("libc.chdir(b'/'); os.closerange(3, root); os.closerange(root + 1, 500)", "descriptors"),
])
def test_the_root_of_the_source_is_no_way_to_its_workspace(any_pyexec, nothing_left, keep, words):
    """Its path is / too, but the source's workspace is below it."""
    with started(any_pyexec, {**OPEN, "disable_open": False, "allow_readonly_open": False}) as executor:
        executor.call("s", NATIVE + "cell = ctypes.c_long()\ndef steal():\n    root = libc.open(b'/', os.O_PATH)\n    if %s == 0:\n        %s\n        %s\n"
                      "        %s\n        while True: time.sleep(1)\n    time.sleep(0.5)\nos.register_at_fork(before=steal)" % (CLONED, DROP, keep, REPORT))
        with pytest.raises(Failure, match="session_not_forkable.*" + words):
            executor.fork("s", "a")


def test_descriptors_in_flight_of_other_runs_do_not_prevent_forks(own, nothing_left):
    """The kernel counts them for each user. A session hands over its listener, and pyexec a branch's descriptors, in a message too."""
    keywords = {"user": ORDINARY, "group": ORDINARY, "extra_groups": []} if os.getuid() == 0 else {}
    policy = {**OPEN, "forkable": False, "max_open_files": None, "cpu_time_seconds": 20, "timeout_ms": 30_000}
    with Executor(policy, program=own.path, cwd="/", **keywords) as executor:
        assert value(executor, "greedy", PARK) is True
        executor.call("s", "x = 1", policy={"forkable": True, "max_open_files": 16})
        executor.fork("s", "a", "b")
        executor.fork("a", "c")
        assert [value(executor, name, "x") for name in ("s", "a", "b", "c")] == [1] * 4
        soft, hard = value(executor, "c", "import resource\nresource.getrlimit(resource.RLIMIT_NOFILE)")
        assert (soft, hard) == value(executor, "s", "import resource\nresource.getrlimit(resource.RLIMIT_NOFILE)") and soft < 64 and hard < 256


@pytest.mark.parametrize("deed", ["os._exit(0)", "os.kill(os.getpid(), 9)", "os.close(3)", "os.write(3, b'x' * 100)"])
def test_a_hook_that_ends_the_branch_fails_the_fork_and_the_source_goes_on(any_pyexec, nothing_left, deed):
    with started(any_pyexec) as executor:
        executor.call("s", NATIVE + "x = 1\nharm = True\ndef hook():\n    if harm: %s\nos.register_at_fork(after_in_child=hook)" % deed)
        with pytest.raises(Failure, match="session_not_forkable.*register_at_fork"):
            executor.fork("s", "a")
        assert value(executor, "s", "harm = False\nx") == 1
        assert executor.fork("s", "a") == ["a"] and value(executor, "a", "x") == 1


def test_the_end_of_a_session_by_a_refused_call_is_a_crash_with_facts(pyexec, nothing_left):
    """The process says what was refused, and ends. The host does not read its memory while it ends."""
    with started(pyexec) as executor:
        executor.call("s", NATIVE)
        for number in range(20):
            executor.fork("s", "b")
            result = executor.call("b", "libc.unshare(0)")
            assert result["status"] == "crashed" and result["usage"]["peak_memory_bytes"] > 0, result
            result = executor.call("b", "1")
            assert result["session"]["restarted"] == "crashed", result
            executor.close("b")

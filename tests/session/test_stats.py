"""The counters from which a server makes its metrics: pyexec_stats_json()."""
import os
import signal
import threading
import time

import pytest

from driver import Driver
from library import Executor
from test_sessions import below, pids


@pytest.fixture
def program(compile_host, nothing_left):
    return compile_host("capi_driver.c")


def test_all_is_zero_at_first_and_every_name_is_there(program):
    with Driver(program) as driver:
        stats = driver.do("stats")
        assert stats.pop("zygote_starts") >= 1 and stats.pop("missing_layers") is not None
        assert stats.pop("zygote_memory_bytes")["none"] > 1 << 20
        assert stats == {
            "executions": dict.fromkeys(["ok", "error", "timeout", "cpu_limit", "memory_limit", "killed", "crashed", "cancelled"], 0),
            "denials": dict.fromkeys(["imports", "files", "network", "syscall", "processes", "tools"], 0),
            "network_connections": {"allowed": 0, "denied": 0, "failed": 0}, "network_sent_bytes": 0, "network_received_bytes": 0,
            "stdout_bytes": 0, "stderr_bytes": 0, "running": 0, "asleep": 0, "queued": 0, "pool_ready": 0, "pool_hits": 0, "pool_misses": 0,
            "pool_refills": 0, "forks": 0, "zygote_restarts": 0, "zygote_kinds": {"none": 1}, "sessions": 0, "sessions_busy": 0, "sessions_opened": 0,
            "sessions_ended": dict.fromkeys(["killed", "crashed", "timeout", "cpu_limit", "memory_limit", "idle_ttl", "hard_ttl",
                                             "evicted", "closed"], 0)}


def test_what_runs_do_is_counted(program):
    with Driver(program, policy={"max_stdout_bytes": 10}) as driver:
        driver.call("", "import sys\nprint('x' * 99)")
        driver.call("", "print('x' * 99)")
        driver.call("s", "try:\n    import os\nexcept ImportError: pass\nopen('f')")
        stats = driver.do("stats")
        assert stats["executions"]["ok"] == 1 and stats["executions"]["error"] == 2
        assert stats["denials"] == {"imports": 2, "files": 1, "network": 0, "syscall": 0, "processes": 0, "tools": 0}
        assert stats["stdout_bytes"] == 100 and stats["stderr_bytes"] > 100
        assert (stats["sessions"], stats["sessions_opened"], stats["sessions_busy"]) == (1, 1, 0)
        driver.do("close", "s")
        assert driver.do("stats")["sessions_ended"]["closed"] == 1


def test_the_pool_is_counted(program):
    with Driver(program, host={"pool_size": 2}) as driver:
        driver.call("", "1")
        driver.call("", "1")
        stats = driver.do("stats")
        assert (stats["pool_misses"], stats["pool_hits"]) == (2, 0)
        deadline = time.monotonic() + 20
        while driver.do("stats")["pool_ready"] < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        driver.call("", "1")
        stats = driver.do("stats")
        assert (stats["pool_misses"], stats["pool_hits"]) == (2, 1)
        assert stats["pool_refills"] >= 2 and stats["forks"] >= 2 + stats["pool_refills"]


def test_a_zygote_that_was_replaced_is_counted(program):
    with Driver(program, host={"zygotes": 1, "pool_size": 0}) as driver:
        driver.call("", "1")
        table = pids()
        outer = [pid for pid in below(driver.process.pid, table) if table[pid][0] == "pyexec-launch"]
        supervisor = [pid for pid in outer if table[pid][1] in outer][0]
        os.kill(min(pid for pid, (_, parent) in table.items() if parent == supervisor), signal.SIGKILL)
        driver.call("", "1")
        stats = driver.do("stats")
        assert (stats["zygote_starts"], stats["zygote_restarts"], stats["forks"]) == (2, 1, 2)


def test_a_busy_session_is_counted():
    with Executor() as executor:
        thread = threading.Thread(target=executor.call, args=("s", "import time\ntime.sleep(3)"))
        thread.start()
        deadline = time.monotonic() + 20
        while executor.stats()["running"] == 0 and time.monotonic() < deadline:     # a session becomes busy before its run counts as running
            time.sleep(0.02)
        assert executor.stats()["sessions_busy"] == 1 and executor.stats()["running"] == 1
        executor.interrupt("s")
        thread.join()
        assert executor.stats()["sessions_busy"] == 0

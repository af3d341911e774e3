# SPDX-License-Identifier: Apache-2.0
"""Which of the waiting children serves a run, that none waits for ever, and that runs leave nothing open."""
import os
import resource
import signal
import subprocess
import sys
import threading
import time

import pytest

from library import Executor
from test_kills import by_age, children
from waiting import wait_until

pytestmark = pytest.mark.usefixtures("nothing_left")

THREADS = "import threading, time\nfor _ in range(3):\n    threading.Thread(target=time.sleep, args=(50,), daemon=True).start()\ntime.sleep(50)"


def below_the_supervisor(executor):
    """The only zygote and the children, the oldest first."""
    supervisor = children(children(executor.pid)[0])[0]
    return by_age(children(supervisor))


def waiting(executor):
    return below_the_supervisor(executor)[1:]


def status_of(pid):
    try:
        with open("/proc/%d/status" % pid) as file:
            return dict(line.rstrip("\n").split(":\t", 1) for line in file)
    except OSError:
        return {}


def all_are_locked(executor):
    """A child installs one more filter than its zygote, says that it is locked, and sleeps until it gets its run."""
    zygote, *others = [status_of(pid) for pid in below_the_supervisor(executor)]
    return all(other.get("Seccomp_filters", "0") > zygote["Seccomp_filters"] and other["State"].startswith("S") for other in others)


def filled(executor, count):
    """Waits until this many children wait and all others have ended."""
    executor.call(None, "1")
    executor.call(None, "1")
    return wait_until(lambda: executor.stats()["pool_ready"] == count and len(found := waiting(executor)) == count and
                      all_are_locked(executor) and found, "the pool is not full")


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
        busy = wait_until(lambda: [pid for pid in waiting(executor) if threads_of(pid) == 4], "no child has the script's threads")
        assert busy == found[-1:]
        os.kill(busy[0], signal.SIGKILL)
        run.join()


def test_children_that_died_while_they_waited_serve_no_run():
    with Executor(host={"pool_size": 4, "zygotes": 1}) as executor:
        oldest, *others = filled(executor, 4)
        for pid in others:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: waiting(executor) == [oldest], "a killed child still runs")
        assert [executor.call(None, "1 + 1")["status"] for _ in range(6)] == ["ok"] * 6


def test_a_child_that_has_waited_long_goes_before_newer_ones():
    with Executor(host={"pool_size": 4, "zygotes": 1, "pool_idle": 1500}) as executor:
        found = set(filled(executor, 4))

        def run_once():
            assert executor.call(None, "1 + 1")["status"] == "ok"
            return not found & set(waiting(executor))
        wait_until(run_once, "children from the beginning still wait")


def page_faults(pid):
    with open("/proc/%d/stat" % pid) as file:
        return int(file.read().rsplit(")", 1)[1].split()[7])


def test_children_are_warmed_only_while_cpus_are_idle():
    """Warming touches pages ahead of the run, so a child that was warmed has had more page faults while it waits."""
    with Executor(host={"pool_size": 2, "zygotes": 1}) as executor:
        seen = {page_faults(pid) for pid in filled(executor, 2)}

        def newest():
            seen.add(page_faults(filled(executor, 2)[-1]))
            return seen
        busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(8 * os.cpu_count())]
        try:
            wait_until(lambda: min(newest()) < 0.8 * max(seen), "all children are warmed although the CPUs are busy")
        finally:
            for process in busy:
                process.kill()
                process.wait()
        warmed = max(seen)
        wait_until(lambda: page_faults(filled(executor, 2)[-1]) > 0.9 * warmed, "no child is warmed although the CPUs are idle")


def faults_of_busy_callers(pool_size, runs, callers=8):
    """Page faults of all processes of an executor while these callers make so many runs each, without a pause."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt
    with Executor(host={"pool_size": pool_size, "zygotes": 1}) as executor:
        executor.call(None, "1")
        executor.call(None, "1")
        threads = [threading.Thread(target=lambda: [executor.call(None, "6 * 7") for _ in range(runs)]) for _ in range(callers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt - before


@pytest.mark.skipif("SANITIZE" in os.environ, reason="a sanitizer's memory has page faults of its own")
def test_no_child_is_warmed_while_runs_take_children_faster_than_they_are_made():
    """A pool must not cost throughput. A run has about 165 page faults, and 60 more if its child was warmed."""
    def faults_per_run(pool_size):
        return min((faults_of_busy_callers(pool_size, 34) - faults_of_busy_callers(pool_size, 4)) / (30 * 8) for _ in range(2))
    assert faults_per_run(4) < faults_per_run(0) + 25


@pytest.mark.parametrize("pool_size", [0, 4])
def test_what_a_run_leaves_is_closed_soon_after_it(pool_size):
    """The descriptors of a child are closed when it has ended, also when very many end at once or were killed."""
    policy = {"disable_open": False, "use_import_whitelist": False}
    with Executor(policy=policy, host={"pool_size": pool_size, "zygotes": 1}, session={"max_count": 0}) as executor:
        def open_descriptors():
            return len(os.listdir("/proc/%d/fd" % executor.pid)) if executor.stats()["pool_ready"] == pool_size else -1

        def some_of_each():
            for code in ("1", "open('f', 'w').write('x')", "import os\nos._exit(3)", "1 / 0"):
                executor.call(None, code)
            runs = [threading.Thread(target=executor.call, args=("s%d" % i if i % 2 else None, "1")) for i in range(60)]
            for run in runs:
                run.start()
            for run in runs:
                run.join()
            for i in range(1, 60, 2):
                executor.close("s%d" % i)
        some_of_each()
        wait_until(lambda: open_descriptors() >= 0 and len(waiting(executor)) == pool_size, "children of runs still live")
        before = wait_until(lambda: (first := open_descriptors()) >= 0 and time.sleep(0.2) is None and first == open_descriptors() and first,
                            "the number of descriptors changes")
        some_of_each()
        wait_until(lambda: open_descriptors() == before, "descriptors are still open")

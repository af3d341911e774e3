# SPDX-License-Identifier: Apache-2.0
"""What a single run costs when nothing else goes on: system calls, page faults and waits; counted, not timed.

The numbers in the tests are those of the day when the test was written, with CPython 3.11 of Debian 12. Where a number is larger now,
each run got a step more: find it (tests/support/count_calls.c, `perf trace -F all`) and give its reason here, or take it out."""
import os
import resource

import pytest

from counted import counted
from driver import Driver

__all__ = ["counted"]  # a fixture

HOSTS = {"unpooled": {"pool_size": 0, "zygotes": 1}, "pooled": {"pool_size": 4, "zygotes": 1}}
RUNS = 100


@pytest.fixture(params=HOSTS)
def host(request):
    return request.param


def test_a_run_costs_few_system_calls(counted, compile_host, nothing_left, host):
    with Driver(counted.command(compile_host("capi_driver.c")), host=HOSTS[host]) as driver:
        own, others = counted.per_call(lambda: driver.call("", "6 * 7"))
    # The driver itself makes 2. The host asks a zygote for the child (socket, pipes, its answer), opens the file with the facts, sends
    # the run, polls, reads the result and the facts, kills, and closes 7 descriptors: 39. The thread that fills the pool adds its
    # waits: 43.
    assert 25 < own - 2 <= {"unpooled": 42, "pooled": 47}[host], own
    # The child: 11 for descriptors, 8 signals, 14 limits, 13 Landlock, 5 privileges, 1 filter, about 10 for the run itself. The rest
    # are calls of the zygote and the supervisor. Together 73.
    assert 45 < others <= 77, others


def faults_of(program, host, runs):
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt
    with Driver(program, host=HOSTS[host]) as driver:
        for _ in range(runs):
            driver.call("", "6 * 7")
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt - before


@pytest.mark.skipif("SANITIZE" in os.environ, reason="a sanitizer's memory has page faults of its own")
def test_a_run_costs_few_page_faults(compile_host, nothing_left, host):
    program = compile_host("capi_driver.c")
    # A process that ends too late for the count takes its faults with it, from one of the two numbers.
    found = [(faults_of(program, host, 20 + RUNS) - faults_of(program, host, 20)) / RUNS for _ in range(3)]
    # 92 copies of pages that the child writes to, 70 of mapped files that it uses, 8 new pages: 170. Children of the pool that are
    # warmed take 60 more; on a busy machine none is.
    assert 90 < max(found) and min(found) <= {"unpooled": 190, "pooled": 260}[host], found


def waits_of(process):
    """Returns how often the process's first thread has waited (proc_pid_status(5))."""
    with open("/proc/%d/task/%d/status" % (process.pid, process.pid)) as file:
        return int(file.read().split("\nvoluntary_ctxt_switches:")[1].split()[0])


def test_the_thread_of_a_run_waits_seldom(compile_host, nothing_left, host):
    with Driver(compile_host("capi_driver.c"), host=HOSTS[host]) as driver:
        driver.call("", "6 * 7")
        before = waits_of(driver.process)
        for _ in range(RUNS):
            driver.call("", "6 * 7")
        waits = (waits_of(driver.process) - before) / RUNS
    # For the next line of the test, and for the result. An unpooled run also waits for the zygote's answer and for LOCKED.
    assert 0.5 < waits <= {"unpooled": 4.5, "pooled": 3.5}[host], waits


def test_short_lines_are_read_together(counted, compile_host, nothing_left):
    with Driver(counted.command(compile_host("capi_driver.c")), host=HOSTS["unpooled"]) as driver:
        own, others = counted.per_call(lambda: driver.call("", "for i in range(1000): print('line', i)"), calls=2)
    # The script writes each line at once, so that who watches sees it: 1,000. The host that read each at once made 2,069; one that lets
    # a stream rest for a millisecond after short reads makes about 200 to 400.
    assert 1000 < others < 1200, others
    assert own < 1000, own

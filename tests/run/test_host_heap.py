# SPDX-License-Identifier: Apache-2.0
"""What the host has allocated stays the same however many runs and sessions there were; counted in bytes of malloc()."""
import os
import time

import pytest

from driver import Driver

pytestmark = pytest.mark.skipif("SANITIZE" in os.environ, reason="mallinfo2() knows nothing of a sanitizer's memory")

# mallinfo(3) counts what each thread keeps for its next malloc() as allocated; without this it keeps nothing.
NOTHING_KEPT = ["env", "GLIBC_TUNABLES=glibc.malloc.tcache_count=0"]


def heap_after(driver, times, action):
    """Returns the least that the host has allocated at five moments after it, because its threads free what a run leaves a little later."""
    for _ in range(times):
        action()
    sizes = []
    for _ in range(5):
        action()
        time.sleep(0.1)
        sizes.append(int(driver.do("heap")))
    return min(sizes)


@pytest.mark.parametrize("host", [{"pool_size": 0}, {"pool_size": 4}], ids=["unpooled", "pooled"])
def test_a_thousand_runs_leave_no_memory_behind(compile_host, nothing_left, host):
    with Driver([*NOTHING_KEPT, compile_host("capi_driver.c")], host=dict(host, zygotes=1)) as driver:
        def run():
            driver.call("", "6 * 7")
        # When this test was written there were 68,160 bytes after 2,000 runs, after 12,000 and at each thousand between. The smallest
        # block of malloc() is 32 bytes: one that each run forgets is 32,000.
        before = heap_after(driver, 500, run)
        assert heap_after(driver, 1000, run) - before < 8_000


def test_sessions_leave_only_their_line_in_the_history(compile_host, nothing_left):
    with Driver([*NOTHING_KEPT, compile_host("capi_driver.c")]) as driver:
        def live():
            driver.call("s", "6 * 7")
            driver.do("close", "s")
        before = heap_after(driver, 200, live)
        # Of each of the last 10,000 sessions that ended the host keeps the id: 32 bytes. So the heap grows until there were 10,000.
        assert (heap_after(driver, 400, live) - before) / 400 < 64

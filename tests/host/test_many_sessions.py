"""Many sessions in one process: what each needs, and how many there can be. src/executor/session_order_test.c counts that a session
which is used costs the same however many there are."""
import os
import resource

import pytest

from library import Executor, Failure
from waiting import wait_until

MANY = {"max_count": 0}
# PYEXEC_NIGHTLY: 10,000, or as many as the limit of open files of the machine allows.
WANTED = 10_000 if os.environ.get("PYEXEC_NIGHTLY") else 400
BESIDE = 60     # descriptors of the program itself


def descriptors(executor):
    return len(os.listdir("/proc/%d/fd" % executor.pid))


def opens(executor, session):
    try:
        return executor.call(session, "6 * 7")["last_value_repr"] == "42"
    except Failure as failure:
        assert failure.code == "overloaded"
        return False


@pytest.mark.parametrize("policy, each", [({}, 4), ({"disable_open": False}, 5), ({"forkable": True}, 6)], ids=["plain", "files", "forkable"])
def test_each_session_needs_few_descriptors(own, nothing_left, policy, each):
    """Its message socket, its stdout and stderr, and its pidfd; a workspace; the socket and the pidfd of the family's process."""
    with Executor(policy, session=MANY, host={"zygotes": 1, "pool_size": 0}, program=own.path) as executor:
        for i in range(3):
            executor.call("before-%d" % i, "1")
        before = min(descriptors(executor) for _ in range(50))
        for i in range(20):
            executor.call("s%d" % i, "1")
        # A request holds one for a moment, and so does the start of a process.
        assert abs(min(descriptors(executor) for _ in range(50)) - before - 20 * each) <= 4


def test_there_can_be_as_many_as_the_limit_of_open_files_allows(own, nothing_left):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limit = hard if hard != resource.RLIM_INFINITY and hard < 4 * WANTED + BESIDE else 4 * WANTED + BESIDE
    with Executor(session=MANY, host={"zygotes": 1, "pool_size": 0}, program=own.path, prefix=["prlimit", "--nofile=%d" % limit]) as executor:
        count, failure = 0, None
        while not failure:
            try:
                executor.call("s%d" % count, "x = %d" % count)
                count += 1
            except Failure as found:
                failure = found
        print("\n%d sessions with %d descriptors" % (count, limit))
        assert count >= (limit - BESIDE) // 4
        assert failure.code == "overloaded"
        assert all(word in failure.hint for word in ("RLIMIT_NOFILE", str(limit), "ulimit -n", "LimitNOFILE=", "four to six"))
        assert executor.call("s0", "x")["last_value_repr"] == "0"
        executor.close("s1")
        assert executor.call("s%d" % (count // 2), "x")["last_value_repr"] == str(count // 2)
        wait_until(lambda: opens(executor, "another"), "the descriptors of a closed session are not free", 60)

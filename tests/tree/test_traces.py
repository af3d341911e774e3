"""Tests which traces nothing_left of conftest.py finds."""
from conftest import new_traces, traces
from library import Executor


def test_what_a_host_of_other_tests_begins_is_not_what_a_test_leaves():
    """A host of other tests may fill its pool at any time. For a host that the test itself starts, all traces are found."""
    with Executor() as older:
        older.call(None, "1")
        before = traces()
        for number in range(20):            # more children than its pool has
            older.call("s%d" % number, "1")
        assert traces() - before and new_traces(before) == set()
        with Executor() as own:
            own.call("s", "1")
            kinds = {trace.rsplit(" ", 1)[0] for trace in new_traces(before)}
            assert kinds == {"process pyexec", "process pyexec-launch", "zygote or child"}, kinds

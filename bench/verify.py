#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Tests per second of verify, beside a run per test (execute_once, four in flight), over one `pyexec rpc`. The two are measured in
turn, three times each.

    bench/verify.py [PATH/TO/pyexec]"""
import sys
import time

from rpc_calls import Rpc  # beside this file

PROGRAM = sys.argv[1] if len(sys.argv) > 1 else "pyexec"
MAIN = "a = input()\nprint(int(a) * 2)"
FUNCTIONS = "".join("def g%d(a, b):\n    return [x + %d for x in range(a)] + [b] * %d\n" % (i, i, i) for i in range(40))
FILES = {"policy": {"disable_open": False}}
AT_ONCE = 4


def rate(count, work):
    begin = time.monotonic()
    work()
    return count / (time.monotonic() - begin)


def verify(rpc, solution, tests, more):
    answer = rpc("verify", solution=solution, tests=tests, **more)
    assert answer["passed"], answer["summary"]


def run_each(rpc, code, count, more):
    for i in range(count + AT_ONCE):
        if i >= AT_ONCE:
            assert rpc.receive()["status"] == "ok"
        if i < count:
            rpc.send("execute_once", i, code=code, stdin="%d\n" % i, **more)


def main():
    rpc = Rpc(PROGRAM)
    for name, functions, count, more in (("two lines", "", 200, {}), ("40 functions", FUNCTIONS, 200, {}), ("two lines, with files", "", 100, FILES)):
        inputs = [{"stdin": "%d\n" % i, "expect_stdout": str(2 * i)} for i in range(count)]
        calls = [{"call": "double", "args": [i], "expect": 2 * i} for i in range(count)]
        rates = [(rate(count, lambda: verify(rpc, functions + MAIN, inputs, more)),
                  rate(count, lambda: verify(rpc, functions + "def double(n): return n * 2", calls, more)),
                  rate(count, lambda: run_each(rpc, functions + MAIN, count, more))) for _ in range(3)]
        print("%-22s  stdin %5.0f/s   call %5.0f/s   a run per test %5.0f/s" % (name, *(max(column) for column in zip(*rates))))


if __name__ == "__main__":
    main()

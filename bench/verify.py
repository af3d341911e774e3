#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Tests per second of `verify`, and of three other ways to run the same tests: `execute_once` for each test (over `pyexec rpc`, as verify),
`POST /run_code` of `pyexec serve --sandbox-fusion` for each test (as verl does it), and a file and a new python3 for each test (as
SandboxFusion does it, without isolation). Four requests are always in flight. Each round measures all four in turn and computes their
ratios. It prints the medians of all rounds.

    bench/verify.py [PATH/TO/pyexec] [--rounds N]"""
import argparse
import concurrent.futures
import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from rpc_calls import Rpc  # beside this file

MAIN = "a = input()\nprint(int(a) * 2)"
FUNCTIONS = "".join("def g%d(a, b):\n    return [x + %d for x in range(a)] + [b] * %d\n" % (i, i, i) for i in range(40))
FILES = {"policy": {"disable_open": False}}
AT_ONCE = 4
WAYS = ("verify, stdin", "verify, call", "a run per test", "/run_code", "python3")


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


def start_server(program, files):
    server = subprocess.Popen([program, "serve", "--listen", "127.0.0.1:0", "--sandbox-fusion", "--files", "full" if files else "none"],
                              stderr=subprocess.PIPE, text=True)
    for line in server.stderr:
        if found := re.search(r"listening detail=(\S+)", line):
            threading.Thread(target=server.stderr.read, daemon=True).start()
            return server, found.group(1)
    sys.exit("the server does not start")


def post_each(pool, address, code, count):
    def some(first):
        connection = http.client.HTTPConnection(address)
        for i in range(first, count, AT_ONCE):
            connection.request("POST", "/run_code", json.dumps({"code": code, "language": "python", "stdin": "%d\n" % i}))
            assert json.loads(connection.getresponse().read())["run_result"]["stdout"] == "%d\n" % (2 * i)
        connection.close()
    list(pool.map(some, range(AT_ONCE)))


def start_each(pool, code, count):
    def one(i):
        with tempfile.TemporaryDirectory() as folder:
            with open(folder + "/program.py", "w") as file:
                file.write(code)
            done = subprocess.run(["/usr/bin/python3", "program.py"], cwd=folder, input="%d\n" % i, capture_output=True, text=True)
            assert done.stdout == "%d\n" % (2 * i)
    list(pool.map(one, range(count)))


def measure(program, pool, rounds, functions, count, more):
    inputs = [{"stdin": "%d\n" % i, "expect_stdout": str(2 * i)} for i in range(count)]
    calls = [{"call": "double", "args": [i], "expect": 2 * i} for i in range(count)]
    server, address = start_server(program, bool(more))
    with Rpc(program) as rpc:
        ways = (lambda: verify(rpc, functions + MAIN, inputs, more),
                lambda: verify(rpc, functions + "def double(n): return n * 2", calls, more),
                lambda: run_each(rpc, functions + MAIN, count, more),
                lambda: post_each(pool, address, functions + MAIN, count),
                lambda: start_each(pool, functions + MAIN, count // 4))
        found = []
        for number in range(rounds + 1):
            rates = [rate(count // 4 if way == WAYS[-1] else count, work) for way, work in zip(WAYS, ways)]
            if number:          # the first round warms up
                found.append(rates)
    server.terminate()
    server.wait(30)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program", nargs="?", default="pyexec")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print("%-22s" % "tests per second", *("%15s" % way for way in WAYS))
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for name, functions, count, more in (("two lines", "", 200, {}), ("40 functions", FUNCTIONS, 200, {}), ("two lines, with files", "", 200, FILES)):
            found = measure(options.program, pool, options.rounds, functions, count, more)
            print("%-22s" % name, *("%15.0f" % statistics.median(column) for column in zip(*found)))
            print("%-22s" % "  verify, call / it", *("%15.2f" % statistics.median(rates[1] / rates[i] for rates in found) for i in range(len(WAYS))))
    print("load: %.1f" % os.getloadavg()[0])


if __name__ == "__main__":
    main()

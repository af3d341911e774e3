#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Measures whether large scripts cost in proportion to their size: the CPU time of runs with 250 KB to 2 MB of code in several shapes,
beside what CPython's own compile() needs for 1 MB of the same code.

The last column says how many times more 2 MB cost than 250 KB; 8 is linear. With --check the script fails when it is more than 16 for
a shape. It compares CPU times only with each other, but a busy machine also makes those larger: run it when nothing else runs.

    bench/large_code.py [PYEXEC] [--json] [--check] [--rounds N]
"""
import argparse
import json
import os
import sys
import time

from rpc_calls import Rpc  # beside this file

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
KILOBYTES = (250, 500, 1000, 2000)
POLICY = {"python_bin": "/usr/bin/python3", "timeout_ms": 300_000, "cpu_time_seconds": 300, "address_space_bytes": 4 << 30}
# Each makes a script of about `size` bytes.
SHAPES = {
    "assignments": lambda size: "".join("x%d = %d\n" % (i % 100, i) for i in range(size // 12)),
    "functions": lambda size: "".join("def f%d(a):\n    '''text'''\n    return a + %d\n\n" % (i, i) for i in range(size // 50)),
    "one string": lambda size: "x = '''" + "a line of text\n" * (size // 15) + "'''\nlen(x)",
    "one list": lambda size: "x = [" + "1234, " * (size // 6) + "]\nlen(x)",
    "comments": lambda size: "# a comment\n" * (size // 12) + "1",
    "continued lines": lambda size: "".join("x = %d + \\\n    1\n" % i for i in range(size // 20)),
    "other letters": lambda size: "".join("ä%d = 'ö'\n" % (i % 100) for i in range(size // 13)),
    "error at the end": lambda size: "x = 1\n" * (size // 6) + "1 / 0",
    "syntax error at the end": lambda size: "x = 1\n" * (size // 6) + "1 1",
}


def compile_ms(code):
    begun = time.process_time()
    try:
        compile(code, "<cell>", "exec")
    except SyntaxError:
        pass
    return (time.process_time() - begun) * 1000


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program", nargs="?", default=ROOT + "/build/pyexec")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    rpc, rows = Rpc(options.program, policy=POLICY), {}
    for name, shape in SHAPES.items():
        cpu = [min(rpc("execute_once", code=shape(size * 1000))["usage"]["cpu_ms"] for _ in range(options.rounds)) for size in KILOBYTES]
        rows[name] = {"cpu_ms": dict(zip(KILOBYTES, cpu)), "compile_ms": compile_ms(shape(1_000_000)), "growth": cpu[-1] / cpu[0]}
    if options.json:
        print(json.dumps(rows))
    else:
        print("%-24s%s   compile() of 1 MB   growth" % ("CPU time, ms", "".join("%9d KB" % size for size in KILOBYTES)))
        for name, row in rows.items():
            print("%-24s%s%16.0f%13.1f" % (name, "".join("%12.0f" % ms for ms in row["cpu_ms"].values()), row["compile_ms"], row["growth"]))
    rpc.end()
    slow = [name for name, row in rows.items() if row["growth"] > 16]
    if options.check and slow:
        sys.exit("not linear: " + ", ".join(slow))


main()

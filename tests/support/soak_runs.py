#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Very many runs of one `pyexec serve`: what it holds must not grow, and a run must not take longer.

    tests/support/soak_runs.py [RUNS] [PROGRAM]             default: 1,000,000, build/pyexec

One client sends one run after another over one connection, of a few kinds: values, output, errors, files. The runs are divided into
20 blocks. For each block it prints the median and the 99th percentile of the latency, and at its end the memory, descriptors, threads
and processes of the server. Memory is that of the server and of all processes below it (PSS), so that it contains the warm
interpreters too. The check at the end compares what is held; latencies are only printed, because the machine may be busy.
"""
import contextlib
import json
import os
import pathlib
import statistics
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from serving import serving  # noqa: E402
from soak_serve import ROOT, Own, below  # noqa: E402

BLOCKS = 20
WARM_UP = 2000
RUNS = [json.dumps(body).encode() for body in (
    {"code": "6 * 7"}, {"code": "6 * 7"}, {"code": "6 * 7"}, {"code": "print('x' * 1000)"}, {"code": "1 / 0"},
    {"code": "open('f', 'w').write('y' * 1000)", "policy": {"disable_open": False}}, {"code": "import json; json.dumps([1])"},
    {"code": "import subprocess"})]


def held(server):
    """Returns memory in KiB and counts: of the server's own process, and of everything below it."""
    proc = pathlib.Path("/proc/%d" % server.process.pid)
    pids, memory = [server.process.pid, *below(server.process.pid)], {}
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in pathlib.Path("/proc/%d/smaps_rollup" % pid).read_text().splitlines():
                if line.startswith("Pss:"):
                    memory[pid] = int(line.split()[1])
    return {"server": memory[server.process.pid], "all": sum(memory.values()), "descriptors": len(list((proc / "fd").iterdir())),
            "threads": len(list((proc / "task").iterdir())), "processes": len(pids)}


def measure(connection, runs):
    """Makes so many runs and returns their latencies in microseconds."""
    latencies = []
    for number in range(runs):
        began = time.perf_counter()
        connection.request("POST", "/v1/execute", RUNS[number % len(RUNS)])
        answer = connection.getresponse()
        text = answer.read()
        latencies.append((time.perf_counter() - began) * 1e6)
        assert answer.status == 200, text
    return latencies


def check(blocks):
    """Returns what grew: it was never as little in the last quarter of the blocks as it was at most in the first. The first block
    does not count. Between blocks memory rises and falls, because zygotes are replaced and blocks of freed memory are kept."""
    first, last = blocks[1:BLOCKS // 4 + 1], blocks[-(BLOCKS // 4):]
    grown = []
    for what, slack in (("server", 1024), ("all", 4096), ("descriptors", 8), ("threads", 2), ("processes", 8)):
        before, after = max(block[what] for block in first), min(block[what] for block in last)
        if after > before + slack:
            grown.append("%s: at most %d, then at least %d" % (what, before, after))
    return grown


def main():
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    program = Own(sys.argv[2] if len(sys.argv) > 2 else str(ROOT / "build" / "pyexec"))
    blocks, began = [], time.monotonic()
    with serving(program, "--files", "full", "--log-format", "text", env={"PYEXEC_POLICY_PYTHON_BIN": "/usr/bin/python3"}) as server:
        with contextlib.closing(server.connection()) as connection:
            measure(connection, WARM_UP)
            print("%9s %8s %8s %11s %9s %11s %7s %9s" % ("runs", "p50 us", "p99 us", "server KiB", "all KiB", "descriptors", "threads", "processes"))
            for block in range(BLOCKS):
                latencies = measure(connection, runs // BLOCKS)
                blocks.append(held(server))
                print("%9d %8.0f %8.0f %11d %9d %11d %7d %9d" % ((block + 1) * (runs // BLOCKS), statistics.median(latencies),
                      statistics.quantiles(latencies, n=100)[98], *blocks[-1].values()), flush=True)
    grown = check(blocks)
    print("%d runs in %.0f minutes: %s" % (runs // BLOCKS * BLOCKS, (time.monotonic() - began) / 60, "; ".join(grown) or "nothing grew"))
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())

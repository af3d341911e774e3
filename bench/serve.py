#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Measures how much time HTTP adds: POST /v1/execute over a UNIX socket that stays connected, compared with the C API; a call of a
session; the most requests per second (with wrk, if it is installed); the time from a print to its event; and the memory of an idle
connection. It takes about a minute.

    bench/serve.py [BUILD] [--json]
"""
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/support")]
from serving import dial, serving, token_line  # noqa: E402

BODY = b'{"code": "1 + 1"}'
ROUNDS, BLOCK, PAUSE = 2000, 100, 0.005
WRK = """wrk.method = "POST"
wrk.body = '{"code": "1 + 1"}'
wrk.headers["Authorization"] = "Bearer bench"
"""


class Program:
    def __init__(self, path):
        self.path, self.uid = path, os.getuid()

    def popen(self, *arguments, **keywords):
        return subprocess.Popen([self.path, *arguments], **keywords)


def post(path, body=BODY, extra=b""):
    return b"POST %s HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: %d\r\n\r\n%s" % (path, extra, len(body), body)


def read_answer(sock):
    data = sock.recv(65536)
    head, _, rest = data.partition(b"\r\n\r\n")
    assert b" 200 " in head[:20], data
    left = int(re.search(rb"Content-Length: (\d+)", head)[1]) - len(rest)
    while left > 0:
        left -= len(sock.recv(left))


def timed(sock, request):
    begun = time.perf_counter()
    sock.sendall(request)
    read_answer(sock)
    return (time.perf_counter() - begun) * 1e6


def quantiles(samples):
    cuts = statistics.quantiles(samples, n=100)
    return {"p50": round(cuts[49], 1), "p99": round(cuts[98], 1)}


def compile_library_caller(build, folder):
    path = os.path.join(folder, "capi_lines")
    subprocess.run(["gcc", "-O2", "-I", ROOT / "include", ROOT / "tests" / "support" / "capi_lines.c", "-o", path,
                    os.path.join(build, "libpyexec.so.0"), "-Wl,-rpath," + os.path.abspath(build)], check=True)
    return path


def library_call(caller):
    caller.stdin.write(BODY + b"\n")
    caller.stdin.flush()
    return json.loads(caller.stdout.readline())["elapsed_ms"] * 1000


def by_turns(rounds, samplers, pause=0):
    """Returns p50 and p99 of each sampler. A sampler makes one call and returns its microseconds; there is a pause before each call.
    The first block of calls is not counted, because it only warms up the server."""
    samples = {name: [] for name in samplers}
    for done in range(-BLOCK, rounds, BLOCK):
        for name, sample in samplers.items():
            for _ in range(BLOCK):
                time.sleep(pause)
                got = sample()
                if done >= 0:
                    samples[name].append(got)
    return {name: quantiles(got) for name, got in samples.items()}


def latencies(server, library):
    """Measures calls with a pause before each, in which the pool fills again (at_rest), and without pauses (back_to_back): then each
    run also waits until an interpreter is forked for it. stdbuf makes the library's caller print each line at once."""
    found = {}
    with dial(server.socket) as sock, subprocess.Popen(["stdbuf", "-oL", library], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as caller:
        for pause, how in ((PAUSE, "at_rest"), (0, "back_to_back")):
            found.update(by_turns(ROUNDS, {
                "c_api_" + how: lambda: library_call(caller),
                "http_" + how: lambda: timed(sock, post(b"/v1/execute")),
                "http_session_" + how: lambda: timed(sock, post(b"/v1/sessions/bench/execute")),
            }, pause))
        caller.stdin.close()
    return found


def saturated(server, seconds=8):
    """Returns the requests per second, and the name of the program that sent them."""
    if shutil.which("wrk"):
        with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
            script.write(WRK)
            script.flush()
            done = subprocess.run(["wrk", "-t1", "-c16", "-d%ds" % seconds, "-s", script.name,
                                   "http://%s/v1/execute" % server.tcp], capture_output=True, text=True, check=True)
        assert "Non-2xx" not in done.stdout, done.stdout
        return float(re.search(r"Requests/sec: +([\d.]+)", done.stdout)[1]), "wrk, 16 connections"
    counts, end = [], time.monotonic() + seconds

    def client():
        with dial(server.socket) as sock:
            count = 0
            while time.monotonic() < end:
                timed(sock, post(b"/v1/execute"))
                count += 1
            counts.append(count)
    threads = [threading.Thread(target=client) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / seconds, "8 threads of Python"


def first_events(server):
    """Measures the time from a print of the script to the arrival of its event. The script prints its clock."""
    body = json.dumps({"code": "import time\nprint(time.time(), flush=True)\ntime.sleep(0.02)"}).encode()
    samples = []
    for _ in range(200):
        with dial(server.socket) as sock:
            sock.sendall(post(b"/v1/execute", body, b"Accept: text/event-stream\r\nConnection: close\r\n"))
            data = b""
            while b"event: stdout" not in data or not data.endswith(b"\n"):
                data += sock.recv(65536)
            arrived = time.time()
            samples.append((arrived - float(re.search(rb'"text":"([\d.]+)', data)[1])) * 1e6)
            while sock.recv(65536):
                pass
    return quantiles(samples)


def idle_connections(server, count=1000):
    def memory():
        with open("/proc/%d/status" % server.process.pid) as file:
            return int(next(line for line in file if line.startswith("VmRSS")).split()[1])
    before, kept = memory(), []
    for _ in range(count):
        sock = dial(server.socket)
        sock.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        read_answer(sock)
        kept.append(sock)
    grown = memory() - before
    for sock in kept:
        sock.close()
    return {"connections": count, "rss_kib": memory(), "kib_each": round(grown / count, 1)}


def main():
    arguments = [one for one in sys.argv[1:] if one != "--json"]
    build = arguments[0] if arguments else str(ROOT / "build")
    with tempfile.TemporaryDirectory() as folder, serving(
            Program(os.path.join(build, "pyexec")), tcp=True, tokens=[token_line("bench", "bench")],
            env={"PYEXEC_POLICY_PYTHON_BIN": "/usr/bin/python3"}) as server:
        found = {"us": latencies(server, compile_library_caller(build, folder))}
        found["idle"] = idle_connections(server)
        found["us"]["first_event_after_print"] = first_events(server)
        found["requests_per_second"], found["load"] = saturated(server)
    if "--json" in sys.argv:
        print(json.dumps(found))
        return
    for name, row in found["us"].items():
        print("%-26s p50 %8.1f us   p99 %8.1f us" % (name, row["p50"], row["p99"]))
    for how in ("at_rest", "back_to_back"):
        added = found["us"]["http_" + how]["p50"] - found["us"]["c_api_" + how]["p50"]
        print("HTTP adds %.1f us at p50 %s (goal: at most 100)" % (added, how.replace("_", " ")))
    print("%.0f runs per second (%s; goal: at least 1000)" % (found["requests_per_second"], found["load"]))
    print("%(connections)d idle connections: %(kib_each)s KiB each, %(rss_kib)d KiB in all" % found["idle"])


if __name__ == "__main__":
    main()

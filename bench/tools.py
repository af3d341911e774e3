#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Measures how long a tool call takes, and how much memory and CPU time a session needs while it waits in a tool call.

First, one run calls a tool 10,000 times, and the tool answers at once. The script measures the time of each call. This is done
through the C API, `pyexec rpc`, HTTP (events, and a request for each answer), the Python client and, if it is built, the Java client.
Then 1,000 sessions wait in a tool call. The memory (PSS) and the CPU time of all their processes are measured.
The load of the machine is printed with the figures. Run it as root, because other users may not read the memory of all processes.
It takes about two minutes.

    bench/tools.py [BUILD] [--json] [--calls N] [--sessions N] [--only NAME,…]      NAME: c, rpc, http, python, java, waiting
"""
import argparse
import ast
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time

from rpc_calls import Rpc  # beside this file
from serve import ROOT, Program, dial, serving  # beside this file

POLICY = {"python_bin": "/usr/bin/python3", "timeout_ms": 600000, "cpu_time_seconds": 600, "max_tool_calls": 1000000,
          "use_import_whitelist": False, "banned_imports": []}
TOOL = {"name": "anything", "parameters": {"type": "object", "properties": {"n": {"type": "integer"}}}}
CODE = """
import time
samples = []
for n in range(%d):
    begun = time.perf_counter()
    anything(n=n)
    samples.append(time.perf_counter() - begun)
samples.sort()
[round(samples[len(samples) * part // 1000] * 1e6, 1) for part in (500, 990)] + [len(samples)]
"""
JAVA = """
import com.alibaba.langengine.pyexecutor.*;

public class ToolCalls {
    public static void main(String[] args) throws Exception {
        PyExecutionPolicy policy = new PyExecutionPolicy();
        policy.setTimeout(java.time.Duration.ofMinutes(10));
        policy.setCpuTimeSeconds(600);
        policy.setMaxToolCalls(1000000);
        try (PyExecutor executor = new PyExecutor(policy)) {
            PyExecutionOptions options = new PyExecutionOptions().putTool("anything", args[1], given -> given);
            System.out.println(executor.executeOnce(args[0], options).getLastValueRepr());
        }
    }
}
"""


def figures(text):
    p50, p99, calls = ast.literal_eval(text)
    return {"p50_us": p50, "p99_us": p99, "calls": calls}


# ---- Calls ----

def through_c(build, folder, code):
    path = os.path.join(folder, "capi_tools")
    subprocess.run(["gcc", "-O2", "-I", ROOT / "include", ROOT / "tests/support/capi_tools.c", "-o", path, os.path.join(build, "libpyexec.so.0"),
                    "-Wl,-rpath," + build, "-lpthread"], check=True)
    done = subprocess.run([path, json.dumps({"policy": POLICY}), ""], input=code + "\0", stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])["last_value_repr"]


def through_rpc(build, folder, code):
    """The smallest possible client: of each call it reads only the id."""
    rpc = Rpc(os.path.join(build, "pyexec"), policy=POLICY)
    rpc.send("execute_once", 2, code=code, tools=[TOOL])
    call = re.compile(rb'"id":("c-[^"]*"),"method":"tool_call"')
    for line in rpc.process.stdout:
        if found := call.search(line):
            rpc.process.stdin.write(b'{"jsonrpc":"2.0","id":%s,"result":1}\n' % found[1])
            rpc.process.stdin.flush()
        elif b'"id":2,' in line:
            rpc.end()
            return json.loads(line)["result"]["last_value_repr"]
    raise SystemExit("pyexec rpc has ended")


def through_http(build, folder, code):
    flags = ["--timeout", "10m", "--cpu-time-seconds", "600", "--max-tool-calls", "1000000"]
    head = b"POST %s HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nContent-Length: %d\r\n\r\n%s"
    with serving(Program(os.path.join(build, "pyexec")), *flags, env={"PYEXEC_POLICY_PYTHON_BIN": "/usr/bin/python3"}) as server, \
            dial(server.socket) as events, dial(server.socket) as answers:
        body = json.dumps({"code": code, "tools": [TOOL]}).encode()
        events.sendall(head % (b"/v1/execute", len(body), body))
        wanted = re.compile(rb'"call_id":"([^"]*)"')
        with events.makefile("rb") as stream:
            for line in stream:
                if line.startswith(b'data: {"call_id"'):
                    answers.sendall(head % (b"/v1/calls/" + wanted.search(line)[1], 12, b'{"result":1}'))
                    assert b" 204 " in answers.recv(4096)[:20]
                elif line.startswith(b'data: {"status"'):
                    return json.loads(line[6:])["last_value_repr"]
    raise SystemExit("the events have ended")


def through_python(build, folder, code):
    sys.path.insert(0, str(ROOT / "clients/python/src"))
    os.environ["PYEXEC"] = os.path.join(build, "pyexec")
    from pyexec import Pyexec

    def anything(n: int) -> int:
        return n
    with Pyexec(policy=POLICY) as px:
        return px.execute_once(code, tools={"anything": anything}).last_value_repr


def through_java(build, folder, code):
    classes = ROOT / "clients/java/ali-langengine-pyexecutor/target/classes"
    if not classes.is_dir():
        return None     # `mvn -f clients/java package` compiles them
    with open(os.path.join(folder, "ToolCalls.java"), "w") as file:
        file.write(JAVA)
    subprocess.run(["javac", "-cp", classes, "-d", folder, os.path.join(folder, "ToolCalls.java")], check=True)
    done = subprocess.run(["java", "-cp", "%s:%s" % (classes, folder), "ToolCalls", code, json.dumps({"parameters": TOOL["parameters"]})],
                          stdout=subprocess.PIPE, text=True, check=True,
                          env={**os.environ, "PYEXEC_EXECUTABLE": os.path.join(build, "pyexec"), "PYTHON_BIN": "/usr/bin/python3"})
    return done.stdout.splitlines()[-1]


WAYS = {"c": ("C API", through_c), "rpc": ("rpc", through_rpc), "http": ("HTTP", through_http), "python": ("Python client", through_python),
        "java": ("Java client", through_java)}


# ---- Waiting sessions ----

def below(pid):
    """Returns the ids of this process and of all its descendants."""
    found = [pid]
    with contextlib.suppress(OSError):
        for task in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/children" % (pid, task)) as file:
                for child in file.read().split():
                    found += below(int(child))
    return found


def pss_bytes(pids):
    total = 0
    for pid in pids:
        with open("/proc/%d/smaps_rollup" % pid) as file:
            total += int(re.search(r"^Pss:\s+(\d+) kB", file.read(), re.M)[1]) << 10
    return total


def cpu_seconds(pids):
    total = 0
    for pid in pids:
        with open("/proc/%d/stat" % pid) as file:
            total += sum(map(int, file.read().rsplit(")", 1)[1].split()[11:13]))
    return total / os.sysconf("SC_CLK_TCK")


def waiting(build, sessions, seconds=20):
    rpc = Rpc(os.path.join(build, "pyexec"), policy=POLICY, session={"max_count": 0}, host={"max_asleep": sessions + 100, "queue_length": sessions, "pool_size": 0})
    began = time.monotonic()
    for i in range(sessions):
        rpc.send("execute", i + 2, session_id="s%d" % i, code="kept = list(range(1000))\nanything(n=%d)" % i, tools=[TOOL])
    for _ in range(sessions):
        message = json.loads(rpc.process.stdout.readline())
        assert message.get("method") == "tool_call", message
    ready = time.monotonic() - began
    pids = below(rpc.process.pid)
    before, begun = cpu_seconds(pids), time.monotonic()
    time.sleep(seconds)
    used = (cpu_seconds(pids) - before) / (time.monotonic() - begun)
    found = {"sessions": sessions, "processes": len(pids), "ready_s": round(ready, 1), "pss_mib": round(pss_bytes(pids) / 2 ** 20, 1),
             "host_pss_mib": round(pss_bytes([rpc.process.pid]) / 2 ** 20, 1), "cpu_percent": round(used * 100, 2)}
    rpc.end()
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("build", nargs="?", default=str(ROOT / "build"))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--calls", type=int, default=10000)
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--only", default=",".join([*WAYS, "waiting"]))
    given = parser.parse_args()
    build, only = os.path.abspath(given.build), given.only.split(",")
    found = {"calls": {}, "load": [os.getloadavg()[0]]}
    with tempfile.TemporaryDirectory() as folder:
        for name, (title, through) in WAYS.items():
            if name in only and (text := through(build, folder, CODE % given.calls)):
                found["calls"][title] = row = figures(text)
                if not given.json:
                    print("%-14s p50 %7.1f us   p99 %8.1f us   %d calls in one run" % (title, row["p50_us"], row["p99_us"], row["calls"]), flush=True)
    if "waiting" in only:
        found["waiting"] = row = waiting(build, given.sessions)
        if not given.json:
            print("%(sessions)d sessions wait in a tool call: %(pss_mib).1f MiB (PSS; %(host_pss_mib).1f of them the host), %(cpu_percent).2f %% of a CPU,"
                  " %(processes)d processes, ready in %(ready_s).1f s" % row)
    found["load"].append(os.getloadavg()[0])
    print(json.dumps(found) if given.json else "load of the machine: %.1f before, %.1f after; %d CPUs" % (*found["load"], os.cpu_count()))


if __name__ == "__main__":
    main()

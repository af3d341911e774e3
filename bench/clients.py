#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Measures how much time clients add. In each round it measures every row once: the Python client over `pyexec rpc` and over HTTP on
a UNIX socket, sync and async, and the Java client (if its classes are built), compared with the C API; and a cell in our Jupyter kernel, compared with ipykernel. It takes about a
minute.

    bench/clients.py [BUILD] [--json]
"""
import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

from serve import ROOT, Program, by_turns, compile_library_caller, library_call, serving  # beside this file

ROUNDS, CELLS = 1500, 500
POLICY = {"python_bin": "/usr/bin/python3"}


def timed(call):
    begun = time.perf_counter()
    call()
    return (time.perf_counter() - begun) * 1e6


def java_command(folder):
    """Returns None if the classes of the Java client are not built (mvn -f clients/java compile), or there is no Java."""
    classes = ROOT / "clients" / "java" / "ali-langengine-pyexecutor" / "target" / "classes"
    if not list(classes.glob("**/PyExecutor.class")) or not shutil.which("javac"):
        return None
    subprocess.run(["javac", "-cp", classes, "-d", folder, ROOT / "bench" / "SessionCalls.java"], check=True)
    return ["java", "-Dali.langengine.pyexecutor.executable=" + os.environ["PYEXEC"], "-cp", "%s:%s" % (folder, classes), "SessionCalls"]


def asked(program):
    """The program makes a call for each line, and prints its microseconds."""
    program.stdin.write(b"\n")
    program.stdin.flush()
    return float(program.stdout.readline())


def clients(build, folder):
    from pyexec import AsyncPyexec, Pyexec
    os.environ["PYEXEC"] = os.path.join(build, "pyexec")
    library = compile_library_caller(build, folder)
    java = java_command(folder)
    loop = asyncio.new_event_loop()

    def awaited(call):      # the start and the end of the event loop are not measured
        async def measured():
            begun = time.perf_counter()
            await call("1 + 1")
            return (time.perf_counter() - begun) * 1e6
        return lambda: loop.run_until_complete(measured())

    with serving(Program(os.environ["PYEXEC"]), env={"PYEXEC_POLICY_PYTHON_BIN": "/usr/bin/python3"}) as server, \
            subprocess.Popen(["stdbuf", "-oL", library], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as caller, \
            subprocess.Popen(["stdbuf", "-oL", library, "bench"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as session_caller, \
            subprocess.Popen(java or ["true"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as java_caller, \
            Pyexec(policy=POLICY) as rpc, Pyexec.connect("unix:" + server.socket) as http:
        async_rpc = AsyncPyexec(policy=POLICY)
        loop.run_until_complete(async_rpc.start())
        session, remote = rpc.session(), http.session()
        rows = {
            "C API": lambda: library_call(caller),
            "rpc": lambda: timed(lambda: rpc.execute_once("1 + 1")),
            "rpc, asyncio": awaited(async_rpc.execute_once),
            "HTTP": lambda: timed(lambda: http.execute_once("1 + 1")),
            "C API, session": lambda: library_call(session_caller),
            "rpc, session": lambda: timed(lambda: session.execute("1 + 1")),
            "HTTP, session": lambda: timed(lambda: remote.execute("1 + 1")),
        }
        if java:
            rows["Java, session"] = lambda: asked(java_caller)
        found = by_turns(ROUNDS, rows)
        loop.run_until_complete(async_rpc.close())
        for one in (caller, session_caller, java_caller):
            one.stdin.close()
    loop.close()
    return found


class Notebook:
    """A kernel and its client. round_trip() sends a cell, and waits for its reply and for the status idle."""

    def __init__(self, name):
        from jupyter_client.manager import KernelManager
        begun = time.perf_counter()
        self.manager = KernelManager(kernel_name=name)
        self.manager.start_kernel(stderr=subprocess.DEVNULL)
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)
        self.round_trip()
        self.start_ms = (time.perf_counter() - begun) * 1e3

    def round_trip(self):
        begun = time.perf_counter()
        number = self.client.execute("1 + 1")
        while True:
            message = self.client.get_iopub_msg(timeout=30)
            if message["parent_header"].get("msg_id") == number and message["content"].get("execution_state") == "idle":
                break
        while self.client.get_shell_msg(timeout=30)["parent_header"].get("msg_id") != number:
            pass
        return (time.perf_counter() - begun) * 1e6

    def end(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel()


def notebooks(folder):
    os.environ["JUPYTER_PATH"] = folder + "/share/jupyter"
    subprocess.run([sys.executable, "-m", "pyexec.jupyter", "install", "--prefix", folder, "--set", "python_bin=/usr/bin/python3"],
                   check=True, stdout=subprocess.DEVNULL)
    kernels = {"pyexec's kernel": Notebook("pyexec"), "ipykernel": Notebook("python3")}
    found = by_turns(CELLS, {name: kernel.round_trip for name, kernel in kernels.items()})
    for name, kernel in kernels.items():
        found[name]["start_ms"] = round(kernel.start_ms)
        kernel.end()
    return found


def main():
    arguments = [one for one in sys.argv[1:] if one != "--json"]
    build = os.path.abspath(arguments[0] if arguments else str(ROOT / "build"))
    python = subprocess.run([ROOT / "tools" / "python-venv.sh", build], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    if sys.executable != python:
        os.execv(python, [python, __file__, *sys.argv[1:]])
    with tempfile.TemporaryDirectory() as folder:
        found = {"us": clients(build, folder), "cell_us": notebooks(folder)}
    if "--json" in sys.argv:
        print(json.dumps(found))
        return
    for name, row in found["us"].items():
        print("%-16s p50 %8.1f us   p99 %8.1f us" % (name, row["p50"], row["p99"]))
    for name, row in found["cell_us"].items():
        print("%-16s p50 %8.1f us   p99 %8.1f us   ready in %d ms" % (name, row["p50"], row["p99"], row["start_ms"]))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares pyexec with other programs on this machine: a Jupyter kernel (jupyter_client with ipykernel, which are installed into a
virtual environment for this script) and bubblewrap with a new Python. If one of them can't be measured, the reason is printed.

usage: bench/peers.py PATH/TO/pyexec [--python /usr/bin/python3] [--venv FOLDER] [--quick] [--plot FILE.svg]
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

PINNED = ["jupyter_client==8.6.3", "ipykernel==6.29.5"]

# Runs inside the virtual environment; prints one JSON object.
KERNELS = r"""
import json, statistics, sys, time
from jupyter_client.manager import KernelManager

def private_kib(pid):
    with open("/proc/%d/smaps_rollup" % pid) as file:
        sizes = dict(line.split(":") for line in file if ":" in line and line[0].isupper())
    return int(sizes["Private_Dirty"].split()[0])

def execute(client):
    client.execute("1+1")
    while True:
        message = client.get_iopub_msg(timeout=30)
        if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle" \
                and message["parent_header"].get("msg_type") == "execute_request":
            return client.get_shell_msg(timeout=30)

count, calls = int(sys.argv[1]), int(sys.argv[2])
starts, trips, memory, kernels = [], [], [], []
for _ in range(count):
    began = time.perf_counter()
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)
    execute(client)
    starts.append((time.perf_counter() - began) * 1e6)
    kernels.append((manager, client))
for manager, client in kernels:
    for _ in range(calls):
        began = time.perf_counter()
        execute(client)
        trips.append((time.perf_counter() - began) * 1e6)
    memory.append(private_kib(manager.provisioner.pid))
for manager, client in kernels:
    client.stop_channels()
    manager.shutdown_kernel(now=True)
print(json.dumps({"start_us": statistics.median(starts), "call_us": statistics.median(trips),
                  "private_kib": statistics.median(memory)}))
"""


def last_line(text):
    lines = text.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "no reason given"


def make_environment(python, folder):
    """Makes the virtual environment. Returns the path of its Python, or None and the reason."""
    inside = os.path.join(folder, "bin/python")
    steps = [[python, "-m", "venv", folder], [inside, "-m", "pip", "install", "-q", "--disable-pip-version-check", *PINNED]]
    for step in steps:
        done = subprocess.run(step, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode:
            return None, "%s: %s" % (" ".join(step[1:4]), last_line(done.stdout))
    return inside, None


def measure_kernels(python, folder, count, calls):
    inside, why = make_environment(python, folder)
    if not inside:
        return None, why
    done = subprocess.run([inside, "-c", KERNELS, str(count), str(calls)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    return (json.loads(done.stdout), None) if done.returncode == 0 else (None, last_line(done.stderr))


def measure_bubblewrap(python, count):
    """Returns the median time of a run of one line in microseconds, from the start of bwrap to its end; or None and the reason."""
    if not shutil.which("bwrap"):
        return None, "bwrap is not installed"
    command = ["bwrap", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--unshare-all",
               python, "-I", "-S", "-c", "print(1+1)"]
    samples = []
    for _ in range(count):
        began = time.perf_counter()
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.returncode:
            return None, last_line(done.stderr)
        samples.append((time.perf_counter() - began) * 1e6)
    return statistics.median(samples), None


def measure_pyexec(program, python, quick, plot, peers):
    """Runs `pyexec bench`, which also measures bubblewrap, as a separate row."""
    command = [program, "bench", "--json", "--python-bin", python] + (["--quick"] if quick else [])
    if plot:
        command += ["--plot", plot, "--peers", peers]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)


def show(title, figures):
    print("%-50s" % title + "".join("%14s" % (figure if isinstance(figure, str) else "%.0f" % figure) for figure in figures))


def main():
    parser = argparse.ArgumentParser(description="pyexec beside a Jupyter kernel and bubblewrap, in one run")
    parser.add_argument("program")
    parser.add_argument("--python", default="/usr/bin/python3")
    parser.add_argument("--venv", help="keep the virtual environment in this folder (default: a temporary one)")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--plot", help="also draw all of it, as an SVG")
    options = parser.parse_args()
    scratch = tempfile.mkdtemp(prefix="pyexec-peers-")
    try:
        kernel, no_kernel = measure_kernels(options.python, os.path.abspath(options.venv or os.path.join(scratch, "venv")),
                                            2 if options.quick else 5, 20 if options.quick else 100)
        bubblewrap, no_bubblewrap = measure_bubblewrap(options.python, 10 if options.quick else 50)
        peers = os.path.join(scratch, "peers.json")
        with open(peers, "w") as file:
            json.dump([{"group": "session", "title": title, "us": kernel[key]} for title, key in (
                ("Jupyter kernel: one call of 1+1", "call_us"), ("the same, started for it", "start_us"))] if kernel else [], file)
        ours = measure_pyexec(os.path.abspath(options.program), options.python, options.quick, options.plot, peers)
    finally:
        shutil.rmtree(scratch)
    sessions, none = ours["sessions"], "-"
    print("peers: %s; %s\n" % (" ".join(PINNED), options.python))
    show("p50", ["pyexec", "Jupyter", "bubblewrap"])
    show("a session opened and called, us (ours: 1 / rate)", [1e6 / sessions["opened_per_second"], kernel["start_us"] if kernel else none, none])
    show("a session: one call of 1+1, us", [ours["us"]["session"]["p50"], kernel["call_us"] if kernel else none, none])
    show("a session: private memory, KiB", [sessions["kib"]["private"], kernel["private_kib"] if kernel else none, none])
    show("a fresh run of one line, us", [ours["us"]["execute_once"]["p50"], none, bubblewrap or none])
    show("the same from the warm pool, us", [ours["us"]["execute_once_pooled"]["p50"], none, none])
    for name, why in (("Jupyter", no_kernel), ("bubblewrap", no_bubblewrap)):
        if why:
            print("\n%s was not measured: %s" % (name, why))
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Measures forks of sessions (docs/branches.md): how long the source stands still, by the size of its files and of its data.

Each row is a session of its own, which is forked 20 times; a branch is closed before the next fork. A machine that does other
work makes all of it slower: the load is printed with the figures. Files are measured in memory and in a folder of the host, which
should be on a file system of interest, such as one that can share the bytes of files (btrfs, xfs).

    bench/branches.py [BUILD] [--json] [--forks N] [--folder FOLDER] [--python PYTHON] [--only NAME,…]
    NAME: files, bytearray, numpy, objects. PYTHON is an interpreter with numpy, otherwise numpy is left out
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
POLICY = {"forkable": True, "use_import_whitelist": False, "banned_imports": [], "disable_open": False, "timeout_ms": 120_000,
          "cpu_time_seconds": 120, "address_space_bytes": 6 << 30, "workspace_bytes": 256 << 20}
FILES_MIB = (0, 1, 64)
DATA_MIB = (1, 10, 50, 200, 1024)
ARRAYS = {
    "bytearray": "data = [bytearray(b'x') * (size << 20) for size in [%d]]",
    "numpy": "import numpy\ndata = numpy.ones(%d << 17)",
    # An integer above 256 has 28 bytes, in a block of 32, and its place in the list has 8.
    "objects": "data = list(range(1000, 1000 + %d * 26214))",
}


class Rpc:
    def __init__(self, program, policy, session):
        self.process = subprocess.Popen([program, "rpc"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self("initialize", protocol=1, policy=policy, session=session)

    def __call__(self, method, **params):
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            sys.exit("%s: %s" % (method, answer["error"]))
        return answer["result"]

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.process.stdin.close()
        self.process.wait()


def pauses(program, forks, code, session=None, **policy):
    """Returns the median and the greatest of the times in ms."""
    with Rpc(program, {**POLICY, **policy}, session or {}) as rpc:
        result = rpc("execute", session_id="s", code=code + "\nNone")
        if result["status"] != "ok":
            sys.exit("%r: %s" % (code, result["error"]))
        found = []
        for _ in range(forks):
            found.append(rpc("fork_session", session_id="s", ids=["b"])["pause_ms"])
            rpc("close_session", session_id="b")
    found.sort()
    return {"median_ms": round(found[len(found) // 2], 2), "max_ms": round(found[-1], 2)}


def measure_files(program, forks, folder):
    rows = {}
    for name in ("memory", "folder"):
        for size in FILES_MIB:
            with tempfile.TemporaryDirectory(dir=folder) as root:
                session = {"workspace_root": root} if name == "folder" else None
                code = "with open('f', 'wb') as file: file.write(b'x' * (%d << 20))" % size if size else ""
                rows["files in %s, %d MiB" % ("memory" if name == "memory" else "a folder of the host", size)] = pauses(
                    program, forks, code, session)
    return rows


def measure_data(program, forks, name, python):
    policy = {"python_bin": python, "isolate_site": False} if name == "numpy" else {}
    sizes = DATA_MIB[-1:] if name == "objects" else DATA_MIB
    return {"%s, %d MiB" % (name, size): pauses(program, forks, ARRAYS[name] % size, **policy) for size in sizes}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", nargs="?", default=ROOT + "/build")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--forks", type=int, default=20)
    parser.add_argument("--folder")
    parser.add_argument("--python")
    parser.add_argument("--only", default="files,bytearray,numpy,objects")
    options = parser.parse_args()
    program, rows = options.build + "/pyexec", {}
    for name in options.only.split(","):
        if name == "files":
            rows.update(measure_files(program, options.forks, options.folder))
        elif name != "numpy" or options.python:
            rows.update(measure_data(program, options.forks, name, options.python))
    if options.json:
        print(json.dumps({"load": os.getloadavg()[0], "rows": rows}))
        return
    for name, row in rows.items():
        print("%-40s %8.2f ms %8.2f ms at most" % (name, row["median_ms"], row["max_ms"]))
    print("load: %.1f" % os.getloadavg()[0])


main()

#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Measures forks of sessions (docs/branches.md): how long the source stands still, by the size of its files and of its data.

Each row is a session of its own, which is forked 20 times; a branch is closed before the next fork. The rows of `undo` say how much longer
a call with a checkpoint takes, and how long an undo takes. A machine that does other
work makes all of it slower: the load is printed with the figures. Files are measured in memory and in a folder of the host, which
should be on a file system of interest, such as one that can share the bytes of files (btrfs, xfs).

    bench/branches.py [BUILD] [--json] [--forks N] [--folder FOLDER] [--python PYTHON] [--only NAME,…]
    NAME: files, bytearray, numpy, objects, undo. PYTHON is an interpreter with numpy, otherwise numpy is left out
"""
import argparse
import json
import os
import sys
import tempfile
import time

from rpc_calls import Rpc  # beside this file

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


def pauses(program, forks, code, session=None, **policy):
    """Returns the median and the greatest of the times in ms."""
    with Rpc(program, policy={**POLICY, **policy}, session=session or {}) as rpc:
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


UNDONE = {"nothing": "", "10 MiB": "data = bytearray(b'x') * (10 << 20)", "200 MiB": "data = bytearray(b'x') * (200 << 20)",
          "a file of 1 MiB": "with open('f', 'wb') as file: file.write(b'x' * (1 << 20))", "100 small files": "for i in range(100):\n    with open('f%d' % i, 'w') as file: file.write('x' * 100)"}


def measure_undo(program, rounds):
    """Calls without and with a checkpoint, and undos, in turns over all sessions: what the machine does otherwise meets all of them."""
    found = {name: ([], [], []) for name in UNDONE}
    with Rpc(program, policy=POLICY) as rpc:
        def timed(name, **more):
            began = time.perf_counter()
            rpc("execute", session_id=name, code="x = 1", **more)
            return (time.perf_counter() - began) * 1000
        names = {name: "s%d" % number for number, name in enumerate(UNDONE)}
        for name, code in UNDONE.items():
            rpc("execute", session_id=names[name], code=code)
        for _ in range(rounds):
            for name, (plain, kept, undone) in found.items():
                plain.append(timed(names[name]))
                kept.append(timed(names[name], checkpoint=True))
                undone.append(rpc("undo", session_id=names[name])["pause_ms"])
    rows = {}
    for name, (plain, kept, undone) in found.items():
        extra = sorted(with_one - without for with_one, without in zip(kept, plain))
        rows["checkpoint, %s" % name] = {"median_ms": round(extra[rounds // 2], 2), "max_ms": round(extra[-1], 2)}
        undone.sort()
        rows["undo, %s" % name] = {"median_ms": round(undone[rounds // 2], 2), "max_ms": round(undone[-1], 2)}
    return rows


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", nargs="?", default=ROOT + "/build")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--forks", type=int, default=20)
    parser.add_argument("--folder")
    parser.add_argument("--python")
    parser.add_argument("--only", default="files,bytearray,numpy,objects,undo")
    options = parser.parse_args()
    program, rows = options.build + "/pyexec", {}
    for name in options.only.split(","):
        if name == "undo":
            rows.update(measure_undo(program, options.forks))
        elif name == "files":
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

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares pyexec with other programs that run Python code, on this machine and in one run. They are installed by pip, npm and Maven into
a private folder. bench/peers/README.md has the parts, docs/performance.md the method and the results.

    bench/peers.py PATH/TO/pyexec                                   the table, in about ten minutes
    bench/peers.py PATH/TO/pyexec --quick --only pooled,python_per_call
    bench/peers.py PATH/TO/pyexec --humaneval FILE --half-load 300 --plot docs/bench.svg --markdown docs/performance.md
                                                                    what `make bench-page` does, in about half an hour
"""
import argparse
import importlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

from peers import ALL, report
from peers.driver import Cannot, Driver
from peers.install import Place
from peers.rounds import Rows

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def read_options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", help="the pyexec of a build folder, which also has libpyexec.so")
    parser.add_argument("--python", default="/usr/bin/python3", help="the interpreter that all peers with CPython use")
    parser.add_argument("--folder", help="install the peers here and keep them (default: a temporary folder)")
    parser.add_argument("--only", help="peers, with commas: " + ",".join(ALL))
    parser.add_argument("--humaneval", help="HumanEval.jsonl or HumanEval.jsonl.gz; without it this row is left out")
    parser.add_argument("--no-packages", action="store_true", help="leave out numpy and pandas, which pip downloads")
    parser.add_argument("--quick", action="store_true", help="a few calls of each, to see that everything works")
    parser.add_argument("--sessions", type=int, help="how many sessions share the measured memory (default: 100)")
    parser.add_argument("--half-load", type=int, metavar="SECONDS", help="also run `pyexec bench --half-load SECONDS`")
    parser.add_argument("--no-bench", action="store_true", help="do not run `pyexec bench`: its tables in the page stay as they are")
    parser.add_argument("--pythons", default="", help="interpreters to compare under pyexec, with commas")
    parser.add_argument("--json", help="write everything that was measured to this file")
    parser.add_argument("--plot", help="draw the medians, as an SVG")
    parser.add_argument("--markdown", help="write the tables between the markers of this page")
    options = parser.parse_args()
    options.program = os.path.abspath(options.program)
    # The calls and seconds of a peer in each round; how long it may take for HumanEval and for opening sessions.
    options.rounds, options.calls, options.seconds = (2, 5, 1) if options.quick else (5, 50, 1)
    options.problem_seconds, options.session_seconds = (5, 10) if options.quick else (12, 40)
    options.sessions = options.sessions or (5 if options.quick else 100)
    return options


def say(text):
    print(text, file=sys.stderr, flush=True)


def machine(options):
    with open("/proc/cpuinfo") as file:
        names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    commit = subprocess.run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    version = subprocess.run([options.python, "-c", "import platform; print(platform.python_version())"], stdout=subprocess.PIPE, text=True)
    pyexec = subprocess.run([options.program, "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    return {"cpu": names[0] if names else "unknown CPU", "cpus": os.cpu_count(), "kernel": os.uname().release,
            "load": "%.2f" % os.getloadavg()[0], "python": version.stdout.strip(), "pyexec": pyexec[-1], "commit": commit.stdout.strip()}


def start(place, names, peers):
    """Installs and starts each peer. Returns name → driver; what can't be started has its reason in `peers`."""
    drivers = {}
    for module_name in names:
        module = importlib.import_module("peers." + module_name)
        peer = {"module": module_name, **module.WHAT}
        peers.append(peer)
        say("starting %s" % peer["name"])
        try:
            command, peer["versions"], *environment = module.install(place)
            drivers[peer["name"]] = Driver(command, {"PYTHONPATH": place.bench, **(environment[0] if environment else {})})
        except Cannot as error:
            peer["cannot"] = str(error)
            say("%s: %s" % (peer["name"], error))
    return drivers


def measure_peers(options, folder):
    names = options.only.split(",") if options.only else ALL
    measured = {"day": time.strftime("%Y-%m-%d", time.gmtime()), "quick": options.quick, "sessions": options.sessions,
                "machine": machine(options), "peers": [], "left_out": []}
    drivers = start(Place(folder, options.program, options.python, not options.no_packages), names, measured["peers"])
    rows = Rows(drivers, options, say)
    try:
        for title in ("one_line", "session"):
            say("measuring: " + title)
            getattr(rows, title)()
        if options.humaneval:
            say("measuring: HumanEval")
            from peers.workloads import problems
            rows.humaneval(problems(options.humaneval))
        else:
            measured["left_out"].append("HumanEval, because --humaneval names no file with its problems")
        if options.no_packages:
            measured["left_out"].append("numpy and pandas, by --no-packages")
        for title in ["memory"] if options.no_packages else ["packages", "memory"]:
            say("measuring: " + title)
            getattr(rows, title)()
    finally:
        for driver in drivers.values():
            driver.end()
    for peer in measured["peers"]:
        if "cannot" not in peer:
            peer["rows"] = rows.rows[peer["name"]]
    return measured


def bench(options, *arguments, python=None):
    command = [options.program, "bench", "--json", "--python-bin", python or options.python, *(["--quick"] if options.quick else []), *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode:
        raise Cannot((done.stderr.decode(errors="replace").splitlines() or ["pyexec bench failed"])[0])
    return json.loads(done.stdout)


def compare_pythons(options):
    """Runs `pyexec bench` with one interpreter after the other, in three rounds, and returns the medians."""
    found = {path: [] for path in options.pythons.split(",")}
    for _ in range(1 if options.quick else 3):
        for path, rounds in found.items():
            say("measuring: " + path)
            try:
                rounds.append(bench(options, "--sessions", "100", python=path))
            except Cannot as error:
                raise SystemExit("--pythons: %s" % error)
    table = []
    for path, rounds in found.items():
        version = subprocess.run([path, "-c", "import platform; print(platform.python_version())"], stdout=subprocess.PIPE, text=True, check=True)
        table.append({"path": path, "version": version.stdout.strip(),
                      "us": {key: statistics.median(one["us"][key]["p50"] for one in rounds) for key in ("execute_once_pooled", "execute_once", "session")},
                      "runs_per_second": statistics.median(max(one["runs_per_second"].values()) for one in rounds),
                      "session_kib": statistics.median(one["sessions"]["kib"]["private"] for one in rounds)})
    return table


def own_figures(options, measured, folder):
    """pyexec's own goals, and the plot, which shows both."""
    bars = os.path.join(folder, "bars.json")
    with open(bars, "w") as file:
        json.dump(report.bars(measured), file)
    say("measuring: pyexec bench")
    # With the environment that has numpy and pandas, for the rows that preload them.
    place = Place(folder, options.program, options.python, not options.no_packages)
    measured["bench"] = bench(options, python=place.science(), *(["--plot", options.plot, "--peers", bars] if options.plot else []))
    if options.pythons:
        measured["pythons"] = compare_pythons(options)
    if options.half_load:
        say("measuring: half load")
        measured["half_load"] = bench(options, "--half-load", str(options.half_load))


def write_page(options, measured):
    with open(options.markdown) as file:
        page = file.read()
    page = report.put(page, "peers", report.peers_markdown(measured))
    whats = [importlib.import_module("peers." + name).WHAT for name in ALL if name not in ("unpooled", "command")]
    page = report.put(page, "isolation", report.isolation_markdown(whats))
    for name, text in (("bench", report.goals_markdown), ("pythons", report.pythons_markdown), ("half_load", report.half_load_markdown)):
        if name in measured:
            page = report.put(page, name, text(measured[name]))
    with open(options.markdown, "w") as file:
        file.write(page)


def main():
    options = read_options()
    temporary = None if options.folder else tempfile.mkdtemp(prefix="pyexec-peers-")
    folder = os.path.abspath(options.folder or temporary)
    os.makedirs(folder, exist_ok=True)
    try:
        measured = measure_peers(options, folder)
        print(report.terminal(measured), flush=True)
        if not options.no_bench and (options.plot or options.markdown or options.half_load or options.pythons):
            own_figures(options, measured, folder)
    finally:
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)
    if options.json:
        with open(options.json, "w") as file:
            json.dump(measured, file, indent=1)
    if options.markdown:
        write_page(options, measured)
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the tests that take too long for every commit: the suite under sanitizers, every fault, kills at each point, a
real collector of traces, the Helm chart, long fuzzing, a soak, a million runs of one server.

    tools/nightly.py [--minutes N] [--runs N] [--tests PATH]… [PART…]

Runs the named parts, by default all, one after another at low priority. Writes docs/nightly.md with a row for each part: the commit,
the date, what ran, the result and the time. The rows of parts that do not run now stay as they are; a part that never ran has a row that
says so. `--minutes` is the time of each fuzz target and of the soak (default 60). With `--tests` the sanitizers run only these
whole-program tests; each such set of tests has a row of its own, until the part runs as a whole.
"""
import argparse
import concurrent.futures
import datetime
import os
import re
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGE = os.path.join(ROOT, "docs", "nightly.md")
HEAD = """# Nightly

`make nightly` runs what takes too long for every commit, and writes this page (`tools/nightly.py`). Each row has the commit and the time
of its own run.

Machine of the last run: %(cpus)d CPUs, Linux %(kernel)s.

| part | commit | date (UTC) | what ran | result | minutes |
|---|---|---|---|---|---|
"""


def run(command, **environment):
    """Runs the command at low priority. Returns its status and output."""
    done = subprocess.run(["nice", "-n", "19", *command], cwd=ROOT, env={**os.environ, **environment}, text=True, errors="replace",
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode, done.stdout


def run_tests(path, *options, **environment):
    """Runs a file of tests as in the night."""
    return run(["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--color=no", *options, path], PYEXEC_NIGHTLY="1",
               PYEXEC_BUILD=os.path.join(ROOT, "build"), PYTHONDONTWRITEBYTECODE="1", **environment)


def sanitized(name, paths):
    """Runs the suite under a sanitizer; with --tests only the unit tests and these whole-program tests."""
    status, output = run(["make", name], **({"TESTS": " ".join(paths)} if paths else {}))
    build = os.path.join(ROOT, "build-" + name)
    with open(build + "/nightly.txt", "w") as file:
        file.write(output)
    try:
        with open(build + "/summary.txt") as file:
            result = file.read().strip()
    except FileNotFoundError:
        result, status = "no summary: see %s/nightly.txt" % os.path.basename(build), 1
    return "`make %s`: %s" % (name, "unit tests, " + ", ".join(paths) if paths else "everything"), result, status == 0


def run_files(*paths, more="", needs_passed=False):
    """Runs files of tests. `more`: what else the row says about them. `needs_passed`: if all tests of a file were skipped, the part has failed."""
    done = [run_tests(path) for path in paths]
    return (", ".join("`%s`" % path for path in paths) + more, "; ".join(output.strip().splitlines()[-1] for _, output in done),
            all(status == 0 and ("passed" in output or not needs_passed) for status, output in done))


def faults():
    """Makes each call of the host that can fail do so. `make test` does this only for some of the calls."""
    return run_files("tests/host/test_fault_loops.py", more=", without strides")


def kills():
    """Kills the caller, the server and the script with SIGKILL at each point, 50 times."""
    return run_files("tests/serve/test_serve_kills.py", more=", each point 50 times")


def branches():
    """Runs the whole corpus in branches in all ways, and more forks and kills than `make test`."""
    return run_files("tests/kernel/test_branch_escape.py", "tests/kernel/test_branch_storms.py")


def batch():
    """Runs 100,000 tasks in a fleet, while the command, workers and the NATS server are killed 200 times."""
    return run_files("tests/fleet/test_fleet_batch.py", more=", 100,000 tasks and 200 kills")


def fleet():
    """Runs a storm of faults with 10,000 keyed requests; and, with PYEXEC_OLD, an older build beside this one."""
    return run_files("tests/fleet/test_fleet_faults.py", *["tests/fleet/test_fleet_skew.py"] * bool(os.environ.get("PYEXEC_OLD")))


def arm64():
    """Runs the suite on an emulated arm64 machine, cross-built, and traces the system calls there."""
    return run_files("tests/kernel/test_arm64.py", "tests/kernel/test_arm64_calls.py", needs_passed=True)


def musl():
    """Runs the core of the suite with a CPython for musl, and the wheel for musl in a tree without glibc."""
    return run_files("tests/kernel/test_musl.py", needs_passed=True)


def interpreters():
    """Runs the core of the suite with each CPython of the machine, and with those of Debian 13 and sid in trees. GraalPy and a free-threaded
    CPython must be refused."""
    path, others = "tests/run/test_interpreters.py", os.path.join(ROOT, "build", "other-pythons")
    status, output = run(["tools/other-pythons.sh", others])
    if status:
        return "`tools/other-pythons.sh`", output.strip().splitlines()[-1], False
    status, output = run_tests(path, "-rP", "-k", "core_holds or real_one", PATH=others + "/bin:" + os.environ["PATH"])
    counts = [line for line in output.splitlines() if re.search(r"python\S*: \d+ passed", line)]
    return "`%s -k 'core_holds or real_one'`" % path, "; ".join([*counts, output.strip().splitlines()[-1]]), status == 0 and bool(counts)


def artifacts():
    """Installs the tarball and the Debian packages on fresh trees of Debian 12 and 13, and all artifacts for arm64 on an emulated machine."""
    return run_files("tests/kernel/test_arm64_artifacts.py", "tests/tree/test_fresh_debian.py", more=", Debian 12 and 13")


def built_first(tool, path):
    """Runs tests of a program in Go, which this tool builds."""
    status, output = run([tool, os.path.join(ROOT, "build")])
    return ("`%s`" % path, output.strip().splitlines()[-1], False) if status else run_files(path, needs_passed=True)


def collector():
    """Sends traces to OpenTelemetry's own collector."""
    return built_first("tools/otelcol.sh", "tests/serve/test_otlp_collector.py")


def chart():
    """Lints and renders the Helm chart, and validates what it renders."""
    return built_first("tools/helm.sh", "tests/tree/test_helm.py")


def fuzz(minutes):
    targets = sorted(os.listdir(os.path.join(ROOT, "fuzz", "seeds")))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as threads:
        done = list(threads.map(lambda target: run(["tools/fuzz.sh", str(minutes * 60), target]), targets))
    lines = [line for _, output in done for line in output.splitlines() if line.split(":")[0] in targets]
    return ("each target for %d minutes" % minutes, "; ".join(lines),
            not any(status for status, _ in done) and len(lines) == len(targets))


def soak(minutes):
    status, output = run(["tests/support/soak_serve.py", str(minutes), os.path.join(ROOT, "build", "pyexec")])
    return "`make soak-serve MINUTES=%d`" % minutes, output.strip().splitlines()[-1], status == 0


def runs(count):
    """Sends very many runs to one server, which must hold no more at the end than at the beginning."""
    status, output = run(["tests/support/soak_runs.py", str(count), os.path.join(ROOT, "build", "pyexec")])
    return "`tests/support/soak_runs.py %d`" % count, output.strip().splitlines()[-1], status == 0


def read_rows(text, parts):
    """Returns the rows of a page: part → what ran → line."""
    rows = {name: {} for name in parts}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 6 and cells[0] in rows and cells[3] != "nothing":
            rows[cells[0]][cells[3]] = line + "\n"
    return rows


def add_row(rows, name, whole, *cells):
    """Adds a row, in place of the one about the same run. A run of the whole part also takes the place of the runs of its pieces."""
    commit, date, what, *rest = (str(cell).replace("|", "/") for cell in cells)
    if whole:
        rows[name].clear()
    rows[name][what] = "| %s |\n" % " | ".join([name, commit, date, what, *rest])
    return rows[name][what]


def page(rows):
    """Returns the text of docs/nightly.md."""
    text = HEAD % {"cpus": os.cpu_count(), "kernel": os.uname().release.split("-")[0]}
    return text + "".join("".join(rows[name].values()) or "| %s | | | nothing | not run | |\n" % name for name in rows)


def main():
    parts = {"asan": lambda: sanitized("asan", given.tests), "tsan": lambda: sanitized("tsan", given.tests), "faults": faults,
             "kills": kills, "branches": branches, "batch": batch, "fleet": fleet, "arm64": arm64, "musl": musl,
             "interpreters": interpreters, "artifacts": artifacts, "collector": collector, "chart": chart,
             "fuzz": lambda: fuzz(given.minutes), "soak": lambda: soak(given.minutes), "runs": lambda: runs(given.runs)}
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(parts))
    parser.add_argument("--runs", type=int, default=1000000, help="how many runs the part `runs` makes")
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--tests", action="append", default=[], metavar="PATH")
    given = parser.parse_args()
    if set(given.parts) - set(parts):
        parser.error("the parts are " + ", ".join(parts))
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    with open(PAGE) as file:
        rows = read_rows(file.read(), parts)
    good = True
    for name, part in parts.items():
        if given.parts and name not in given.parts:
            continue
        began = time.monotonic()
        what, result, passed = part()
        good &= passed
        print(add_row(rows, name, not (given.tests and name in ("asan", "tsan")), commit,
                      datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M"), what,
                      ("" if passed else "**FAILED**: ") + result, round((time.monotonic() - began) / 60)), end="", flush=True)
        with open(PAGE, "w") as file:
            file.write(page(rows))
    return not good


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The whole-program tests, in two lanes side by side; then, one after another, the files that need the machine to themselves.

    tools/lanes.py [--clients] BUILD [PATH…]

Each lane runs pytest on its own files, in namespaces of its own (processes, mounts, IPC) with its own /tmp, /var/tmp and
/dev/shm: what a test looks for on "the machine" is its lane's alone. tests/lanes.txt says which files run alone and why, and
how long files take; the lanes follow from it, the same each time. With --clients the Java client's tests end the first lane and
the Python client's the second one. Without root, or where no namespace can be made, all runs in one lane, in order.

Up to five failed tests are run once more at the end, with nothing beside them. One that passes then counts as passed, and is
named as unstable in the summary: it is a fault to look for, of the test or of the program. With a sanitizer none is run again.

Each lane leaves BUILD/lanes/NAME.xml, and what it printed in NAME.txt. PATH: files or folders of tests/, in place of all.
"""
import argparse
import contextlib
import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import xml.etree.ElementTree as xml

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TABLE = os.path.join(ROOT, "tests", "lanes.txt")
PYTEST = ["/usr/bin/python3", "-m", "pytest", "-q"]
AGAIN = 5                       # failed tests that are run once more; with more of them something is broken
# Files that are not in the table, as a new one, count as this many seconds.
UNKNOWN = 5
CLIENTS = {"java": 190, "python": 165}
LONGEST = 3600                  # seconds of one lane, longer than any good run
SANITIZED = 6                   # times as long
INCOMPLETE = 3                  # the exit status when a lane did not come to its end; 1 is a failed test, as of pytest
UNSHARE = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "--propagation", "private", "--ipc", "--"]


def table():
    """Returns file → its seconds and its place: "alone", the name of a group, or an empty text."""
    rows = {}
    with open(TABLE) as file:
        for line in file:
            words = line.split("#")[0].split()
            if words:
                rows[words[0]] = (float(words[1]), words[2] if len(words) > 2 else "")
    return rows


def files(paths):
    """Returns the test files in these files and folders, as paths below the tree."""
    found = []
    for path in paths:
        full = os.path.join(ROOT, path)
        found += sorted(glob.glob(full + "/**/test_*.py", recursive=True)) if os.path.isdir(full) else [full]
    return [os.path.relpath(path, ROOT) for path in dict.fromkeys(found)]


def split(chosen, rows, clients):
    """The files of the two lanes and those that run alone. Files of one group are in one lane; "java" is the first one's."""
    groups, alone = {}, []
    for path in chosen:
        seconds, place = rows.get(path, (UNKNOWN, ""))
        if place == "alone":
            alone.append(path)
            continue
        group = groups.setdefault(place or path, [0, []])
        group[0] += seconds
        group[1].append(path)
    lanes, took = [[], []], [CLIENTS[name] if clients else 0 for name in CLIENTS]
    first = groups.pop("java", [0, []])
    lanes[0] += first[1]
    took[0] += first[0]
    for seconds, members in sorted(groups.values(), key=lambda group: (-group[0], group[1])):
        lane = took.index(min(took))
        lanes[lane] += members
        took[lane] += seconds
    return lanes, alone


# ---- Inside a lane ----

def inside(folder, reports, needed, commands):
    """The first process of a lane: it mounts what is the lane's own, and runs the commands one after another."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)        # of a terminal: pytest ends, and then this
    if reports:                                         # see tools/sanitizers.sh
        os.makedirs(os.path.join(folder, "tmp", os.path.basename(reports)))
        subprocess.run(["mount", "--bind", os.path.join(reports, os.path.basename(folder)),
                        os.path.join(folder, "tmp", os.path.basename(reports))], check=True)
    # Folders inside a folder that this hides, such as a clone in /tmp.
    for path in needed:
        for part, hidden in (("tmp", "/tmp/"), ("var", "/var/tmp/")):
            if path.startswith(hidden):
                target = os.path.join(folder, part, path[len(hidden):])
                os.makedirs(target, exist_ok=True)
                subprocess.run(["mount", "--rbind", path, target], check=True)
    subprocess.run(["mount", "-t", "proc", "-o", "nosuid,nodev,noexec", "proc", "/proc"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "nosuid,nodev,mode=1777", "shm", "/dev/shm"], check=True)
    subprocess.run(["mount", "--rbind", os.path.join(folder, "var"), "/var/tmp"], check=True)
    subprocess.run(["mount", "--rbind", os.path.join(folder, "tmp"), "/tmp"], check=True)
    os.chdir(ROOT)
    # Numbers of processes as on a machine that has run for a while, and others than in the next lane: scripts know themselves
    # by small ones, and tests make names of theirs. Nor is this process, number 1, the parent of pytest.
    with contextlib.suppress(OSError), open("/proc/sys/kernel/ns_last_pid", "w") as file:
        file.write("%d" % (10000 * int(folder[-1])))
    failed = 0
    for command in commands:
        child = subprocess.Popen(["sh", "-c", '"$@"; exit $?', "sh", *command], preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        while True:                                     # others lose their parents, and become this process's
            pid, status = os.waitpid(-1, 0)
            if pid == child.pid:
                break
        code = os.waitstatus_to_exitcode(status)
        failed = max(failed, code if code >= 0 else 128 - code)
    return failed


# ---- Outside ----

def _needed(build, chosen):
    """Returns the folders that the tests use, wherever they are."""
    shared = os.environ.get("PYEXEC_SHARED", os.path.join(os.path.dirname(ROOT), "shared"))
    others = sorted({os.path.dirname(os.path.join(ROOT, path)) for path in chosen if path.startswith("..")})
    paths = [os.path.realpath(path) for path in (ROOT, build, shared, os.path.expanduser("~"), *others)]
    return [path for path in paths if os.path.isdir(path)]


class Lane:
    """Runs commands one after another. `needed`: in their own namespaces, with these folders."""
    def __init__(self, name, build, commands, environment, needed=None):
        self.name, self.out = name, open(os.path.join(build, "lanes", name + ".txt"), "w")
        self.folder = self.reports = None
        if needed is not None:
            # Names that traces() of tests/conftest.py leaves alone.
            self.folder = os.path.join(tempfile.mkdtemp(prefix="pyexec-test-lane-", dir="/tmp"), name)
            os.chmod(os.path.dirname(self.folder), 0o755)
            for part in ("", "tmp", "var"):
                os.makedirs(os.path.join(self.folder, part), exist_ok=True)
            for part in ("tmp", "var"):
                os.chmod(os.path.join(self.folder, part), 0o1777)
            self.reports = environment.get("PYEXEC_REPORTS", "")
            if self.reports:
                os.mkdir(os.path.join(self.reports, name))
                os.chmod(os.path.join(self.reports, name), 0o1777)
            commands = [[*UNSHARE, "/usr/bin/python3", "-B", os.path.abspath(__file__), "--inside", self.folder, self.reports,
                         json.dumps(needed), json.dumps(commands)]]
            environment = {**environment, "TMPDIR": "/tmp"}
        self.commands, self.environment, self.status, self.process = commands, environment, 0, None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        with open(self.out.name, errors="replace") as seen:
            for command in self.commands:
                self.process = subprocess.Popen(command, cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL, stdout=self.out,
                                                stderr=subprocess.STDOUT)
                # A file, not a pipe: a pipe ends only when the last process that has it does.
                while self.process.poll() is None:
                    time.sleep(0.2)
                    self._show(seen)
                self.status = max(self.status, abs(self.process.returncode))
            self._show(seen, last=True)

    def _show(self, seen, last=False):
        """Prints the new complete lines, each with the lane's name."""
        place, text = seen.tell(), seen.read()
        whole = text if last else text[:text.rfind("\n") + 1]
        if whole != text:
            seen.seek(place)
            whole = "".join(seen.readline() for _ in range(whole.count("\n")))
        with contextlib.suppress(BrokenPipeError):      # it is all in the file
            for line in whole.splitlines():
                print("%s| %s" % (self.name, line), flush=True)

    def wait(self, until):
        self.thread.join(max(0, until - time.monotonic()))
        if self.thread.is_alive():
            print("lane %s is ended: it takes too long" % self.name, flush=True)
            self.end()
            self.thread.join()
            self.status = max(self.status, 124)

    def end(self):
        """With all its processes, when it has namespaces."""
        self.commands = []
        if self.process and self.process.poll() is None:
            self.process.kill()

    def close(self):
        self.out.close()
        if self.folder:
            shutil.rmtree(os.path.dirname(self.folder), ignore_errors=True)


class Terminated(KeyboardInterrupt):
    """SIGTERM."""


def terminate(*_):
    raise Terminated


def possible():
    """Returns True if lanes can have namespaces here."""
    script = "mount -t proc proc /proc && mount --bind /tmp /var/tmp && mount -t tmpfs none /dev/shm"
    return os.getuid() == 0 and shutil.which("unshare") and subprocess.run([*UNSHARE, "sh", "-c", script], capture_output=True).returncode == 0


def failed_tests(build, name):
    """Returns how many tests of a lane failed. pytest writes their names to its cache."""
    with contextlib.suppress(OSError, ValueError), open(os.path.join(build, "lanes", name + ".cache", "v", "cache", "lastfailed")) as file:
        return len(json.load(file))
    return 0


def cases(root):
    """Class and name of each test → its elements: one, or two when its end failed as well."""
    found = {}
    for case in root.iter("testcase"):
        found.setdefault((case.get("classname"), case.get("name")), []).append(case)
    return found


def wrong(case):
    return [element for element in case if element.tag in ("failure", "error")]


def merge(build, names):
    """One report of all lanes, pytest.xml; how many tests failed, and the names of lanes that have left no report.

    What failed and then passed in the lane "again" becomes `unstable` there. `names`: also "again-NAME".
    """
    whole, again, missing = xml.Element("testsuites"), {}, []
    for name in names:
        try:
            root = xml.parse(os.path.join(build, "lanes", name + ".xml")).getroot()
        except (OSError, xml.ParseError):
            missing.append(name)
            continue
        if name.startswith("again"):
            again.update(cases(root))
        else:
            whole.extend(root)
    for key, elements in cases(whole).items():
        passed = key in again and not any(wrong(case) or case.find("skipped") is not None for case in again[key])
        for element in (element for case in elements for element in wrong(case) if passed):
            element.tag = "unstable"
    xml.ElementTree(whole).write(os.path.join(build, "pytest.xml"), encoding="utf-8", xml_declaration=True)
    return sum(bool(wrong(case)) for case in whole.iter("testcase")), missing


def run_again(build, ran, environment, until):
    """Runs what failed once more, when it is little. `ran`: lane → its files. The lanes whose tests ran again, and the new lane or None."""
    failed = {name: count for name in ran if (count := failed_tests(build, name))}
    if not 0 < sum(failed.values()) <= AGAIN or os.environ.get("SANITIZE"):
        return [], None
    print("once more, with nothing beside them: the failed tests of " + ", ".join(failed), flush=True)
    commands = [command for name in failed for command in pytest_command(build, name, ran[name], "again-")]
    lane = Lane("again", build, commands, environment)
    lane.wait(until)
    return list(failed), lane


def pytest_command(build, name, members, prefix=""):
    """pytest on these files, as a list of at most one command; it leaves its report and its cache in BUILD/lanes.

    With a prefix, which its report's name gets, it runs what failed the time before.
    """
    folder = os.path.join(build, "lanes")
    options = ["-o", "cache_dir=%s/%s.cache" % (folder, name), "--junitxml", "%s/%s%s.xml" % (folder, prefix, name)]
    return [[*PYTEST, *options, *(["--last-failed"] if prefix else []), *members]] if members else []


def run(build, paths, clients):
    shutil.rmtree(os.path.join(build, "lanes"), ignore_errors=True)
    os.makedirs(os.path.join(build, "lanes"))
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(build, "pytest.xml"))
    environment = {**os.environ, "PYEXEC_BUILD": build, "PYTHONDONTWRITEBYTECODE": "1"}
    chosen = files(paths)
    apart = possible()
    lanes, alone = split(chosen, table(), clients) if apart else ([], chosen)
    # Their exit status is in a file of its own. Sanitizers have seen the same server and RPC in the whole-program tests.
    names = [name for name in CLIENTS if clients and (name == "java" or not os.environ.get("SANITIZE"))]
    extra = [[["sh", "-c", 'tools/client-tests.sh "$@" || true', "sh", name, build]] if name in names else [] for name in CLIENTS]
    until = time.monotonic() + LONGEST * (SANITIZED if os.environ.get("SANITIZE") else 1)

    status, ran, again, running = 0, {}, [], []
    try:
        for number, members in enumerate(lanes):
            name = "lane%d" % (number + 1)
            commands = pytest_command(build, name, members) + extra[number]
            ran.update({name: members} if members else {})
            if commands:
                running.append(Lane(name, build, commands, environment, _needed(build, chosen)))
        for lane in running:
            lane.wait(until)
        commands = pytest_command(build, "alone", alone) + ([] if apart else extra[0] + extra[1])
        if commands:
            ran.update({"alone": alone} if alone else {})
            running.append(Lane("alone", build, commands, environment))
            running[-1].wait(until)
        again, lane = run_again(build, ran, environment, until)
        running += [lane] if lane else []
    except KeyboardInterrupt as ending:
        # Each pytest got a terminal's signal too, and says where it was.
        for lane in running:
            lane.thread.join(0 if isinstance(ending, Terminated) else 10)
            lane.end()
            lane.thread.join()
        status = 130
    for lane in running:
        lane.close()
        # 1 is a failed test, which the report has.
        status = max(status, lane.status if lane.status != 1 else 0)
        with open(os.path.join(build, "lanes", lane.name + ".status"), "w") as file:
            file.write("%d\n" % lane.status)
    failed, missing = merge(build, [*ran, *("again-" + name for name in again)])
    for name in missing:
        print("%s has left no report" % name, flush=True)
        status = INCOMPLETE
    return status or min(failed, 1)


def main():
    if sys.argv[1:2] == ["--inside"]:
        folder, reports, needed, commands = sys.argv[2:6]
        return inside(folder, reports, json.loads(needed), json.loads(commands))
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--clients", action="store_true", help="the Java and the Python client's tests too")
    parser.add_argument("--list", action="store_true", help="print which files are where, and run nothing")
    parser.add_argument("build")
    parser.add_argument("paths", nargs="*")
    given = parser.parse_args()
    sys.stdout.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, terminate)
    paths = given.paths or ["tests"]
    if given.list:
        rows = table()
        lanes, alone = split(files(paths), rows, given.clients)
        for name, members in zip(("lane1", "lane2", "alone"), (*lanes, alone)):
            print("%s: %d s: %s" % (name, sum(rows.get(path, (UNKNOWN, ""))[0] for path in members), " ".join(members)))
        return 0
    return run(os.path.abspath(given.build), paths, given.clients)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Exception:
        traceback.print_exc()
        sys.exit(INCOMPLETE)

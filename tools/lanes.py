#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the whole-program tests in three lanes at the same time. Then runs the files that need the machine to themselves, one by one.

    tools/lanes.py [--clients] BUILD [PATH…]

Each lane runs pytest on its own files, in its own namespaces (processes, mounts, IPC), with its own /tmp, /var/tmp and /dev/shm. So
a test that searches "the machine" for processes or files finds only those of its lane. tests/lanes.txt says which files run alone
and why, and how many seconds files take. The lanes are made from these numbers, and are the same each time. With --clients the first
lane also runs the tests of the Java client, the second lane those of the Python client, and the third those of the TypeScript client.
Without root, or if namespaces can't be made, all files run in one lane, in order.

If at most five tests failed, they are run once more at the end, while nothing else runs. A test that passes then counts as passed,
and the summary names it as unstable: the test or the program has a fault. With a sanitizer no test is run again.

Each lane writes BUILD/lanes/NAME.xml, and its output to NAME.txt. PATH: files or folders of tests/ to run, instead of all.
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
AGAIN = 5                       # at most so many failed tests are run once more; if more fail, something is broken
# A file that is not in the table, such as a new one, counts as so many seconds.
UNKNOWN = 5
# Tests wait for about half of their time, so three lanes keep two CPUs busy. The number is the same on all machines: a lane's files are too.
LANES = 3
CLIENTS = {"java": (190, 0), "python": (165, 1), "typescript": (75, 2)}     # the seconds of its tests, and the lane
LONGEST = 3600                  # the most seconds for one lane; a lane without a fault needs less
SANITIZED = 6                   # how many times longer it may take with a sanitizer
INCOMPLETE = 3                  # the exit status when a lane did not finish; 1 means that a test failed, as in pytest
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
    """Returns the files of each lane, and those that run alone. Files of one group are in the same lane, and "java" in the first."""
    groups, alone = {}, []
    for path in chosen:
        seconds, place = rows.get(path, (UNKNOWN, ""))
        if place == "alone":
            alone.append(path)
            continue
        group = groups.setdefault(place or path, [0, []])
        group[0] += seconds
        group[1].append(path)
    lanes = [[] for _ in range(LANES)]
    took = [sum(seconds for seconds, at in CLIENTS.values() if clients and at == lane) for lane in range(LANES)]
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
    """The first process of a lane. It mounts the lane's own folders, and runs the commands one after another."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)        # a Ctrl-C of the terminal ends pytest, and then this process ends
    if reports:                                         # see tools/sanitizers.sh
        os.makedirs(os.path.join(folder, "tmp", os.path.basename(reports)))
        subprocess.run(["mount", "--bind", os.path.join(reports, os.path.basename(folder)),
                        os.path.join(folder, "tmp", os.path.basename(reports))], check=True)
    # Folders inside /tmp or /var/tmp that the tests need, such as a clone in /tmp; the mounts below would hide them.
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
    # Process ids begin at a large number, which is different in each lane: scripts in the sandbox have small ids, and tests use their
    # ids in names. For the same reason a shell is the parent of pytest, and not this process, which has the id 1.
    with contextlib.suppress(OSError), open("/proc/sys/kernel/ns_last_pid", "w") as file:
        file.write("%d" % (10000 * int(folder[-1])))
    failed = 0
    for command in commands:
        child = subprocess.Popen(["sh", "-c", '"$@"; exit $?', "sh", *command], preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        while True:                                     # other processes become children of this one when their parents end
            pid, status = os.waitpid(-1, 0)
            if pid == child.pid:
                break
        code = os.waitstatus_to_exitcode(status)
        failed = max(failed, code if code >= 0 else 128 - code)
    return failed


# ---- Outside ----

def _needed(build, chosen):
    """Returns the paths of the folders that the tests use."""
    shared = os.environ.get("PYEXEC_SHARED", os.path.join(os.path.dirname(ROOT), "shared"))
    others = sorted({os.path.dirname(os.path.join(ROOT, path)) for path in chosen if path.startswith("..")})
    paths = [os.path.realpath(path) for path in (ROOT, build, shared, os.path.expanduser("~"), *others)]
    return [path for path in paths if os.path.isdir(path)]


class Lane:
    """Runs commands one after another. With `needed` they run in their own namespaces, with these folders."""
    def __init__(self, name, build, commands, environment, needed=None):
        self.name, self.out = name, open(os.path.join(build, "lanes", name + ".txt"), "w")
        self.folder = self.reports = None
        if needed is not None:
            # Names that traces() of tests/conftest.py ignores.
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
                # The output is a file and not a pipe: reading a pipe ends only when the last process that has it open ends.
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
        with contextlib.suppress(BrokenPipeError):      # the output is also in the file
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
        """Ends the lane, and all its processes if it has namespaces."""
        self.commands = []
        if self.process and self.process.poll() is None:
            self.process.kill()

    def close(self):
        self.out.close()
        if self.folder:
            shutil.rmtree(os.path.dirname(self.folder), ignore_errors=True)


class Terminated(KeyboardInterrupt):
    """Raised by SIGTERM."""


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
    """Returns (class, name) of each test → its elements: two if both the test and its teardown failed, else one."""
    found = {}
    for case in root.iter("testcase"):
        found.setdefault((case.get("classname"), case.get("name")), []).append(case)
    return found


def wrong(case):
    return [element for element in case if element.tag in ("failure", "error")]


def merge(build, names):
    """Writes pytest.xml, one report of all lanes. Returns how many tests failed, and the names of lanes without a report.

    A failure of a test that passed in the lane "again" becomes `unstable` in the report. `names` also has names "again-NAME".
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
    """Runs the failed tests once more if they are few. `ran`: lane → its files. Returns the lanes whose tests ran again, and the new lane
    or None."""
    failed = {name: count for name in ran if (count := failed_tests(build, name))}
    if not 0 < sum(failed.values()) <= AGAIN or os.environ.get("SANITIZE"):
        return [], None
    print("once more, with nothing beside them: the failed tests of " + ", ".join(failed), flush=True)
    commands = [command for name in failed for command in pytest_command(build, name, ran[name], "again-")]
    lane = Lane("again", build, commands, environment)
    lane.wait(until)
    return list(failed), lane


def pytest_command(build, name, members, prefix=""):
    """Returns the pytest command for these files, in a list that is empty without files. pytest writes its report and its cache to
    BUILD/lanes.

    With a prefix it only runs the tests that failed the last time, and the name of the report begins with the prefix.
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
    # client-tests.sh writes its exit status to a file. With sanitizers the Python and TypeScript clients' tests are left out: the
    # whole-program tests have used the same server and RPC already.
    names = [name for name in CLIENTS if clients and (name == "java" or not os.environ.get("SANITIZE"))]
    extra = [[["sh", "-c", 'tools/client-tests.sh "$@" || true', "sh", name, build] for name in names if CLIENTS[name][1] == lane]
             for lane in range(LANES)]
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
        commands = pytest_command(build, "alone", alone) + ([] if apart else sum(extra, []))
        if commands:
            ran.update({"alone": alone} if alone else {})
            running.append(Lane("alone", build, commands, environment))
            running[-1].wait(until)
        again, lane = run_again(build, ran, environment, until)
        running += [lane] if lane else []
    except KeyboardInterrupt as ending:
        # A Ctrl-C at the terminal also reached each pytest, which prints where it was.
        for lane in running:
            lane.thread.join(0 if isinstance(ending, Terminated) else 10)
            lane.end()
            lane.thread.join()
        status = 130
    for lane in running:
        lane.close()
        # 1 means that a test failed; the report has it.
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
    parser.add_argument("--clients", action="store_true", help="the tests of the clients (Java, Python, TypeScript) too")
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
        for name, members in zip((*("lane%d" % (number + 1) for number in range(LANES)), "alone"), (*lanes, alone)):
            print("%s: %d s: %s" % (name, sum(rows.get(path, (UNKNOWN, ""))[0] for path in members), " ".join(members)))
        return 0
    return run(os.path.abspath(given.build), paths, given.clients)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Exception:
        traceback.print_exc()
        sys.exit(INCOMPLETE)

# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the whole-program tests. Everything goes through the built program.

Run with `make test` (tools/lanes.py), or without it: /usr/bin/python3 -m pytest tests -k files
PYEXEC_BUILD names the build folder (default: build/ of this tree).
"""
import atexit
import glob
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import pytest

# `meson test` sets it. With it, a copy of the program would load the library of the build folder.
os.environ.pop("LD_LIBRARY_PATH", None)

# A child process inherits ignored and blocked signals. A shell ignores SIGINT in its background jobs, nohup ignores SIGHUP, and
# some supervisors block signals. So all signals are reset here.
signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGCHLD):
    signal.signal(number, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_SETMASK, [])

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.environ.get("PYEXEC_BUILD", os.path.join(ROOT, "build"))
# Helpers, and tests that have tables which other tests use.
sys.path += sorted(glob.glob(os.path.join(ROOT, "tests", "*", "")))
# Temporary files of the tests and of what they start, apart from those of other programs (see traces()).
TEMPORARY = tempfile.mkdtemp(prefix="pyexec-test-")
os.chmod(TEMPORARY, 0o1777)
os.environ["TMPDIR"] = tempfile.tempdir = TEMPORARY
FOLDER = "pyexec-folder-%s-" % os.path.basename(TEMPORARY)[12:]       # tests name cgroups after their folder
SHARED = os.environ.get("PYEXEC_SHARED", os.path.join(os.path.dirname(ROOT), "shared"))
PARTS = ["pyexec", "pyexec-launch", "pyexec_guest.abi3.so", "pyexec_serve.so", "libpyexec.so", "libpyexec.so.0"]
OPTIONAL = ["pyexec-mcp-http", "pyexec-otlp", "pyexec-egress", "pyexec-worker", "pyexec_gateway.so"]  # built only if their libraries were found
MUSL_GUEST = "pyexec_guest_musl.abi3.so"             # tests/kernel/test_musl.py puts it into its build folder
COPY = "/nowhere"               # the copy of the program, when it has been made
SANITIZERS = ["ASAN_OPTIONS", "LSAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS"]
# Runs the scripts of the tests. The core of the suite (tests/run/test_interpreters.py) runs with others too.
PYTHON = os.environ.get("PYEXEC_POLICY_PYTHON_BIN", "/usr/bin/python3")
SLOWER = int(os.environ.get("PYEXEC_TEST_SLOWER", "1"))     # so many times slower is an emulated machine (tests/support/vm.py)
ORDINARY = 60123                # an id that no account has


@atexit.register
def _remove_temporary(creator=os.getpid()):
    """Removes the folder, but not in a forked copy of this process, and not through a mount that a test left there."""
    with open("/proc/self/mounts") as file:
        if os.getpid() == creator and TEMPORARY not in file.read():
            shutil.rmtree(TEMPORARY, ignore_errors=True)


def preload(shim):
    """Returns LD_PRELOAD for a program of the build. The runtime of a sanitizer must come before the shim."""
    kinds = [kind for kind in ("address", "thread") if kind in os.environ.get("SANITIZE", "")]
    names = ["lib%ssan.so" % kind[0] for kind in kinds]
    return " ".join([subprocess.run(["gcc", "-print-file-name=" + name], capture_output=True, text=True, check=True).stdout.strip()
                     for name in names] + [str(shim)])


def sanitizer_options():
    """What the environment of every program of a build with a sanitizer must have, so that its reports are seen."""
    return {name: os.environ[name] for name in SANITIZERS if name in os.environ}


def without_leak_search():
    """Returns the environment of a program that may start no process. LeakSanitizer would start one at the program's end."""
    return {**os.environ, "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}


class Program:
    """The built program as one user runs it."""

    def __init__(self, folder, uid):
        self.folder = folder
        self.path = os.path.join(folder, "pyexec")
        self.uid = uid

    def popen(self, *arguments, **keywords):
        keywords.setdefault("cwd", "/")
        if self.uid != os.getuid():
            keywords.setdefault("user", self.uid)
            keywords.setdefault("group", self.uid)
            keywords.setdefault("extra_groups", [])
        environment = dict(keywords.pop("env", os.environ))
        environment.setdefault("PYEXEC_POLICY_PYTHON_BIN", PYTHON)
        environment.update(sanitizer_options())
        return subprocess.Popen([self.path, *arguments], env=environment, **keywords)

    def run(self, *arguments, input=b"", timeout=60, **keywords):
        """Runs the program and returns the finished process, with bytes in stdout and stderr."""
        if isinstance(input, str):
            input = input.encode()
        keywords.setdefault("stdout", subprocess.PIPE)
        keywords.setdefault("stderr", subprocess.PIPE)
        keywords.setdefault("stdin", subprocess.PIPE)
        with self.popen(*arguments, **keywords) as process:
            try:
                out, err = process.communicate(input, timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def result(self, code, *flags, **keywords):
        """Returns the result object of `pyexec run --json`."""
        done = self.run("run", "--json", *flags, "-c", code, **keywords)
        assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
        return json.loads(done.stdout)

    def json(self, *arguments, **keywords):
        """Returns the output of the program, parsed as JSON."""
        done = self.run(*arguments, **keywords)
        assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
        return json.loads(done.stdout)

    def error(self, code, *flags, **keywords):
        """Returns the error object of a run that never began."""
        done = self.run("run", "--json", *flags, "-c", code, **keywords)
        assert done.returncode == 125, (done.returncode, done.stdout, done.stderr)
        return json.loads(done.stdout)


def _readable_copy(folder, replaced={}):
    """Copies the program to a place where every user can reach it. Some of its parts come from other folders of the build."""
    os.chmod(folder, 0o755)
    optional = [name for name in [*OPTIONAL, MUSL_GUEST] if os.path.exists(os.path.join(BUILD, name))]
    for name in PARTS + optional:
        shutil.copy(os.path.join(BUILD, replaced.get(name, name)), os.path.join(folder, name))
        os.chmod(os.path.join(folder, name), 0o755)
    return folder


def _variant(folder, name, replaced):
    path = os.path.join(folder, name)
    if not os.path.isdir(path):
        os.mkdir(path)
        _readable_copy(path, replaced)
    return path


@pytest.fixture(scope="session")
def _copy():
    global COPY
    folder = COPY = _readable_copy(tempfile.mkdtemp(prefix="pyexec-test-"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def own(_copy):
    """The program as the user who runs the tests."""
    return Program(_copy, os.getuid())


UNGUARDED = {"pyexec_guest.abi3.so": "tests/pyexec_guest_noguard.abi3.so", MUSL_GUEST: "tests/pyexec_guest_musl_noguard.abi3.so"}
USERS = ["root", "ordinary"] if os.getuid() == 0 else ["ordinary"]


def uid_of(user):
    return os.getuid() if user == "root" or os.getuid() != 0 else ORDINARY


@pytest.fixture(scope="session", params=USERS)
def pyexec(request, _copy):
    """The program as root and as an ordinary user (as the latter only when not root)."""
    return Program(_copy, uid_of(request.param))


@pytest.fixture(scope="session", params=[user + guard for guard in ("", "-unguarded") for user in USERS])
def any_pyexec(request, _copy):
    """The same, and then without the Python-level guard: everything that is still refused is refused by the kernel."""
    user, _, unguarded = request.param.partition("-")
    if unguarded:
        _copy = _variant(_copy, "unguarded", UNGUARDED)
    return Program(_copy, uid_of(user))


@pytest.fixture(scope="session")
def compile_host(_copy):
    """Compiles a C program of the tests against the built library."""
    def build(name):
        target = os.path.join(_copy, name[:-2])
        subprocess.run(["gcc", "-Wall", "-Werror", "-g", "-O1", *os.environ.get("SANITIZE", "").split(), "-I",
                        os.path.join(ROOT, "include"), os.path.join(ROOT, "tests", "support", name), "-o", target,
                        os.path.join(_copy, "libpyexec.so.0"), "-Wl,-rpath," + _copy, "-lpthread"], check=True)
        return target
    return build


@pytest.fixture(scope="session", params=USERS)
def bare(request, _copy):
    """The program without the guard, and with a launcher that leaves out every layer of --allow-missing."""
    copy = _variant(_copy, "bare", {**UNGUARDED, "pyexec-launch": "tests/pyexec-launch-layers"})
    return Program(copy, uid_of(request.param))


@pytest.fixture
def open_folder():
    """A folder that every user can reach. The folders of pytest are private."""
    path = pathlib.Path(tempfile.mkdtemp(prefix=FOLDER))
    os.chmod(path, 0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def session_folder():
    path = pathlib.Path(tempfile.mkdtemp(prefix=FOLDER))
    os.chmod(path, 0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def science(session_folder, pytestconfig):
    """The python of a virtual environment with the packages for data analysis and displays, where every user can read it."""
    import environments
    folder = session_folder / "science"
    python = environments.copy(environments.science(), folder)
    with pytestconfig.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print("\nscience:", *environments.versions(python))
    subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
    return python


def is_alive(pid):
    """Returns False for a process that is gone or has ended, and nobody has waited for it."""
    try:
        with open("/proc/%d/stat" % pid) as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def _ours():
    """Returns the names of this build's files and of its copy, as in /proc/PID/maps."""
    keys = set()
    for guest in glob.glob(COPY + "/**/pyexec_guest*.abi3.so", recursive=True) + glob.glob(BUILD + "/pyexec_guest*.abi3.so"):
        try:
            status = os.stat(guest)
        except OSError:
            continue
        keys.add("%02x:%02x %d" % (os.major(status.st_dev), os.minor(status.st_dev), status.st_ino))
    return keys


def _processes():
    """Returns only processes of this build: another build may be in use on this machine at the same time."""
    ours = _ours()
    for folder in glob.glob("/proc/[0-9]*"):
        try:
            try:
                program = os.readlink(folder + "/exe")
            except PermissionError:     # not root, and the process is not dumpable
                program = ""
            if program.startswith((COPY + "/", BUILD + "/")) and os.path.basename(program).startswith("pyexec"):
                yield "process %s %s" % (os.path.basename(program), folder[6:])
                continue
            # A compiler that compiles the extension has this name in its command line too.
            if program and "py" not in os.path.basename(program):
                continue
            with open(folder + "/cmdline", "rb") as file:
                if b"pyexec_guest" not in file.read():
                    continue
            try:
                with open(folder + "/maps") as file:
                    maps = file.read()
                if "pyexec_guest" not in maps:      # the process is about to load the extension
                    maps = os.readlink(folder + "/fd/4")
            except PermissionError:
                maps = None
        except OSError:
            continue
        # The process has loaded our extension, or one whose path can't be seen and so may be ours.
        if maps is None or maps.startswith((COPY + "/", BUILD + "/")) or any(" %s " % key in maps for key in ours):
            yield "zygote or child " + folder[6:]


def traces():
    """Returns everything that a run could leave behind on this machine."""
    found = set(_processes())
    with open("/proc/self/mounts") as file:
        found |= {"mount " + line.strip() for line in file if "/containers/" not in line}
    found |= {"file %s/%s" % (TEMPORARY, name) for name in os.listdir(TEMPORARY)
              if not name.startswith(("pyexec-test-", "pyexec-folder-", "pytest-", "tmp", "cc", "pip-"))}
    # Other programs of this machine make files too, so only our names count.
    for folder in ("/tmp", "/var/tmp", "/dev/shm"):
        found |= {"file %s/%s" % (folder, name) for name in os.listdir(folder)
                  if name.startswith("pyexec") and not name.startswith(("pyexec-test-", "pyexec-folder-"))}
    found |= {"cgroup " + path for path in glob.glob("/sys/fs/cgroup/**/*pyexec*/", recursive=True)
              if "/pyexec-folder-" not in path or FOLDER in path}
    return found


@pytest.fixture(scope="session", autouse=True)
def _folders_of_the_machine():
    """Fails the suite when a test changes the mode or owner of a folder that all programs share."""
    def look():
        return {path: (oct(status.st_mode & 0o7777), status.st_uid, status.st_gid)
                for path in ("/", "/tmp", "/var/tmp", "/dev/shm") for status in [os.stat(path)]}
    before = look()
    yield
    changed = {path: (was, now) for path, now in look().items() if (was := before[path]) != now}
    assert not changed, "a test changed (before, after): %s" % changed


def _ancestors(pid):
    """Returns the ancestors of a process, the nearest first, as far as they still exist."""
    while pid > 1:
        try:
            with open("/proc/%d/stat" % pid) as file:
                pid = int(file.read().rsplit(")", 1)[1].split()[1])
        except OSError:
            return
        yield pid


def _process(trace):
    """Returns the PID of a trace that is a process, or 0."""
    return int(trace.rsplit(" ", 1)[1]) if trace.startswith(("process ", "zygote or child ")) else 0


def new_traces(before):
    """Returns the traces that are new. A host of other tests, which existed before, may start children for its pool: they do not
    count."""
    older = set(map(_process, before)) - {0}
    return {trace for trace in traces() - before if not older.intersection(_ancestors(_process(trace)))}


@pytest.fixture
def nothing_left():
    """Fails the test when it leaves a process, mount, temporary file or cgroup behind."""
    before = traces()
    yield
    deadline = time.monotonic() + 20        # on a busy machine, the kernel may need long to end processes
    left = new_traces(before)
    while left and time.monotonic() < deadline:
        time.sleep(0.05)
        left &= new_traces(before)      # a trace that appears later belongs to another program
    assert not left, sorted(left)


@pytest.fixture(autouse=True)
def _nothing_reported():
    """Fails the test in which a sanitizer reports; the report stays for tools/test-summary.py."""
    folder = os.environ.get("PYEXEC_REPORTS")
    before = set(os.listdir(folder)) if folder else set()
    yield
    for name in sorted(set(os.listdir(folder)) - before if folder else ()):
        with open(os.path.join(folder, name), errors="replace") as file:
            pytest.fail(file.read(), pytrace=False)


@pytest.fixture(scope="session")
def shared():
    """The folder with the corpus and HumanEval. Without it the test is skipped."""
    if not os.path.isdir(SHARED):
        pytest.skip("no shared folder with the corpus and data at " + SHARED)
    return SHARED

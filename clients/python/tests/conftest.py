"""Fixtures of the client's tests: the program in the build folder (PYEXEC_BUILD), a server, and a client for each transport."""
import importlib.metadata
import os
import signal
import subprocess
import sys
import time

import pytest

from pyexec import AsyncPyexec, Pyexec

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
BUILD = os.environ.get("PYEXEC_BUILD", os.path.join(ROOT, "build"))
sys.path += [os.path.join(ROOT, "tests"), os.path.join(ROOT, "tests", "support")]
from nats_fleet import Server, Worker, server_program  # noqa: E402
from serving import serving, token_line  # noqa: E402

os.environ["PYEXEC"] = PROGRAM = os.path.join(BUILD, "pyexec")
# `python3` of the sandbox; the environment of these tests is not for scripts.
os.environ["PATH"] = "/usr/bin:/bin"

# A signal that this process ignores or blocks (nohup, a background job of a shell) is also ignored in all processes that it starts.
signal.signal(signal.SIGINT, signal.default_int_handler)
for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGCHLD):
    signal.signal(number, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_SETMASK, [])

POLICY = {"disable_open": False, "use_import_whitelist": False, "banned_imports": []}


def pytest_report_header():
    with open(os.path.join(ROOT, "clients", "python", "tests", "requirements.txt")) as file:
        names = [line.partition("==")[0] for line in file if "==" in line]
    return "packages: " + ", ".join("%s %s" % (name, importlib.metadata.version(name)) for name in names)


class _Program:
    """The program, in the form that serving() of tests/support needs."""

    uid = os.getuid()

    def popen(self, *arguments, **keywords):
        return subprocess.Popen([PROGRAM, *arguments], **keywords)


@pytest.fixture(scope="session")
def server():
    with serving(_Program(), "--files", "full", "--any-import", tcp=True, tokens=[token_line("test", "secret", "rate=100000")]) as running:
        yield running


@pytest.fixture(scope="session")
def fleet():
    """Two workers at a NATS server. A call of a session must reach the right one."""
    if not os.path.exists(PROGRAM + "-worker"):
        pytest.skip("the build has no pyexec-worker")
    if not server_program():
        pytest.skip("nats-server is not installed")
    flags, environment = ["--files", "full", "--any-import"], {**os.environ, "PYEXEC_ENV_ROOT": "/nonexistent"}
    with Server() as running, Worker(_Program(), running, "one", *flags, env=environment), \
            Worker(_Program(), running, "two", *flags, env=environment):
        yield running


def _make(cls, transport, request):
    if transport == "rpc":
        return cls(policy=POLICY)
    if transport == "nats":
        return cls.connect(request.getfixturevalue("fleet").url)
    server = request.getfixturevalue("server")
    return cls.connect("unix:" + server.socket) if transport == "unix" else cls.connect("http://" + server.tcp, token="secret")


@pytest.fixture(params=["rpc", "unix", "tcp", "nats"])
def transport(request):
    return request.param


@pytest.fixture
def px(transport, request):
    with _make(Pyexec, transport, request) as client:
        yield client


@pytest.fixture
def make_async(transport, request):
    return lambda: _make(AsyncPyexec, transport, request)


@pytest.fixture
def rpc():
    with Pyexec(policy=POLICY) as client:
        yield client


def children(of=None):
    """Returns the processes below this one (or below another), with zombies."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open("/proc/%s/stat" % name) as file:
                    parents[int(name)] = int(file.read().rpartition(")")[2].split()[1])
            except OSError:
                pass
    found, wanted = set(), {of or os.getpid()}
    while wanted:
        found |= wanted
        wanted = {pid for pid, parent in parents.items() if parent in wanted} - found
    return found - {of or os.getpid()}


@pytest.fixture(autouse=True)
def _no_process_left(request):
    """Fails a test that leaves a process. The server is not counted, because it lives for the whole test session."""
    if {"server", "fleet", "px", "make_async"} & set(request.fixturenames):
        yield
        return
    before = children()

    def left():
        """Processes that the server of other tests starts are not counted: it fills its pool at any time."""
        return children() - before - set().union(*map(children, before))
    yield
    deadline = time.monotonic() + 20
    while left() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not left()

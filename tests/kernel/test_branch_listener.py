# SPDX-License-Identifier: Apache-2.0
"""The process that answers the questions of a family's filter (launch/family_process.c): when it is slow or dead, when the asking process
ends or gets signals meanwhile, when many ask, and when another program already listens. Floods, clones and reports that the host has not
asked for: test_branches.py, test_branch_attacks.py."""
import contextlib
import ctypes
import os
import signal
import socket
import struct
import threading

import pytest

from conftest import is_alive
from library import Failure
from test_branches import BRANCH_FLAGS, CLONE, KILL, NATIVE, OPEN, X86, below, started, value
from waiting import wait_until

root = pytest.mark.skipif(os.getuid() != 0, reason="only root sees where another user's process waits")


def host_pid(executor, session):
    """The number of the session's process on the host, while the executor has one family."""
    own = value(executor, session, "import os\nos.getpid()")
    found = below(executor.pid)
    depth = max(len(status["NSpid"].split()) for status in found.values())
    (pid,) = [pid for pid, status in found.items() if len(status["NSpid"].split()) == depth and int(status["NSpid"].split()[-1]) == own]
    return pid


def listener_of(pid):
    """The first process of the family to which this process belongs."""
    family = os.readlink("/proc/%d/ns/pid" % pid)
    (first,) = [int(name) for name in os.listdir("/proc") if name.isdigit() and is_first(name, family)]
    return first


def is_first(name, family):
    try:
        with open("/proc/%s/status" % name) as file:
            number = [line.split()[-1] for line in file if line.startswith("NSpid:")]
        return number == ["1"] and os.readlink("/proc/%s/ns/pid" % name) == family
    except OSError:
        return False


def is_in_call(pid, number):
    try:
        with open("/proc/%d/syscall" % pid) as file:
            return file.read().split()[0] == str(number)
    except OSError:
        return False


def send(pid, number):
    assert pid > 1
    os.kill(pid, number)


@contextlib.contextmanager
def stopped(pid):
    send(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            send(pid, signal.SIGCONT)


class Forking(threading.Thread):
    """A fork in another thread; `failure` is what it raised."""

    def __init__(self, executor, *arguments):
        super().__init__()
        self.executor, self.arguments, self.failure = executor, arguments, None
        self.start()

    def run(self):
        try:
            self.executor.fork(*self.arguments)
        except Failure as failure:
            self.failure = failure


@contextlib.contextmanager
def three(program):
    """A session and two branches; their processes on the host, and that which listens."""
    with started(program) as executor:
        executor.call("s", NATIVE + "x = 1")
        executor.fork("s", "one", "two")
        executor.members = [host_pid(executor, name) for name in ("s", "one", "two")]
        executor.source, executor.listener = executor.members[0], listener_of(executor.members[0])
        yield executor


@pytest.fixture
def family(pyexec, nothing_left):
    with three(pyexec) as executor:
        yield executor


@root
def test_a_fork_waits_for_a_slow_listener_and_signals_meanwhile_are_not_lost(family):
    family.call("s", "got = []\nsignal.signal(signal.SIGUSR1, lambda number, frame: got.append(os.getpid()))")
    with stopped(family.listener):
        fork = Forking(family, "s", "late")
        wait_until(lambda: is_in_call(family.source, CLONE), "the source does not clone itself")
        for _ in range(20):
            send(family.source, signal.SIGUSR1)
        assert value(family, "one", "x + 1") == 2      # the others go on, as long as they ask nothing
    fork.join()
    assert fork.failure is None
    assert value(family, "late", "x, got") == (1, [])       # signals belong to the process that got them
    seen, own = value(family, "s", "got, os.getpid()")
    assert seen and set(seen) == {own}
    assert family.fork("late", "later") == ["later"] and value(family, "later", "x") == 1


@root
def test_a_source_that_dies_while_its_clone_waits_takes_nobody_with_it(family):
    with stopped(family.listener):
        fork = Forking(family, "s", "never")
        wait_until(lambda: is_in_call(family.source, CLONE), "the source does not clone itself")
        send(family.source, signal.SIGKILL)
        wait_until(lambda: not is_alive(family.source), "it lives")
    fork.join()
    assert fork.failure.code == "session_not_forkable" and "ended" in fork.failure.message
    assert value(family, "one", "os.kill(os.getpid(), 0); x") == 1
    assert family.fork("one", "three") == ["three"] and value(family, "three", "x") == 1
    assert {item["id"] for item in family.sessions()} == {"one", "two", "three"}


@root
def test_without_an_answer_the_fork_fails_and_so_does_only_what_asks(own, nothing_left):
    """Nothing of the script can stop the listener. Should it ever hang, the limits still hold."""
    with three(own) as family:
        with stopped(family.listener):
            fork = Forking(family, "s", "never")
            wait_until(lambda: is_in_call(family.source, CLONE), "the source does not clone itself")
            assert family.call("one", "os.kill(os.getpid(), 0)", timeout_ms=300)["status"] == "timeout"
            assert value(family, "two", "x") == 1
            family.call("other", "y = 2")
            assert family.fork("other", "another") == ["another"]       # another family
            fork.join()
            assert fork.failure.code == "session_not_forkable"
            wait_until(lambda: not is_alive(family.source), "it lives, and nobody knows whether its clone was allowed")
        assert value(family, "two", "os.kill(os.getpid(), 0); x") == 1
        assert family.fork("two", "three") == ["three"]
        assert value(family, "another", "y") == 2


@pytest.mark.parametrize("moment", ["between forks", pytest.param("in a fork", marks=root)])
def test_a_dead_listener_ends_its_family_and_no_other(family, moment):
    family.call("other", "y = 2")
    with stopped(family.listener):
        fork = Forking(family, "s", "never") if moment == "in a fork" else None
        if fork:
            wait_until(lambda: is_in_call(family.source, CLONE), "the source does not clone itself")
        send(family.listener, signal.SIGKILL)
        wait_until(lambda: not any(map(is_alive, family.members)), "members of the family live on")
    if fork:
        fork.join()
        assert fork.failure is not None
    wait_until(lambda: {item["id"] for item in family.sessions()} == {"other"}, "sessions of the family are left")
    assert family.fork("other", "another") == ["another"] and value(family, "another", "y") == 2
    again = family.call("s", "'x' in globals()")
    assert again["last_value_repr"] == "False" and again["session"]["restarted"] in ("killed", "crashed")
    assert family.fork("s", "new") == ["new"]


def test_signals_of_a_timer_do_not_disturb_forks(pyexec, nothing_left):
    """A signal can arrive between the answer to the clone and its begin, and in each step of the branch."""
    with started(pyexec, {**OPEN, "cpu_time_seconds": 60}) as executor:
        executor.call("s", NATIVE + "count = 0\ndef tick(*unused):\n    global count\n    count += 1\nsignal.signal(signal.SIGALRM, tick)\n"
                      "signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)")
        for _ in range(60):
            executor.fork("s", "b")
            assert value(executor, "b", "before = count\ntime.sleep(0.005)\ncount == before") is True     # timers are not inherited
            executor.close("b")
        assert value(executor, "s", "before = count\ntime.sleep(0.05)\ncount > before") is True


def test_questions_that_signals_withdraw_and_processes_that_die_with_a_question_do_not_stop_it(pyexec, nothing_left):
    flood = ("signal.signal(signal.SIGALRM, lambda *a: None)\nsignal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)\n"
             "def flood():\n    while True: sc(%d, 1, 0); sc(%d, %d, 0, 0, 0, 0, 0)\n"
             "threads = [threading.Thread(target=flood, daemon=True) for _ in range(3)]\nfor t in threads: t.start()\n" % (KILL, CLONE, BRANCH_FLAGS))
    with started(pyexec) as executor:
        executor.call("s", NATIVE + "x = 1")
        for round in range(3):
            executor.fork("s", "flood", "quiet")
            result = executor.call("flood", flood + "flood()", timeout_ms=200)
            assert result["status"] == "timeout"
            assert executor.fork("quiet", "branch") == ["branch"]
            assert value(executor, "branch", "os.kill(os.getpid(), 0); x") == 1
            for name in ("flood", "quiet", "branch"):
                with contextlib.suppress(Failure):
                    executor.close(name)


def test_many_forks_at_once_make_each_its_own_branch(pyexec, nothing_left):
    """Members of one family are forked one after another, those of others at the same time; while a session is forked it is busy."""
    with started(pyexec, session={"max_count": 0}) as executor:
        executor.call("s", "import os\nname = 's'")
        executor.call("t", "import os\nname = 't'")
        executor.fork("s", "s1", "s2", "s3")
        for name in ("s1", "s2", "s3"):
            executor.call(name, "name = %r" % name)
        forks = [(name, Forking(executor, name, "%s.%d" % (name, number))) for number in range(3) for name in ("s", "s1", "s2", "s3", "t")]
        made = []
        for name, fork in forks:
            fork.join()
            if fork.failure:
                assert fork.failure.code == "session_busy"
            else:
                made.append(fork.arguments[1])
                assert value(executor, made[-1], "name") == name
        assert {name.split(".")[0] for name in made} == {"s", "s1", "s2", "s3", "t"}
        ids = [value(executor, name, "os.getpid()") for name in made if name[0] == "s"]
        assert len(set(ids)) == len(ids)


def listen_first():
    """Runs in the new process, before the program begins: another filter with a listener, as that of a container's manager."""
    libc = ctypes.CDLL(None, use_errno=True)
    code = struct.pack("HBBI", 6, 0, 0, 0x7fff0000)         # BPF_RET, SECCOMP_RET_ALLOW
    buffer = ctypes.create_string_buffer(code, 8)
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", 1, ctypes.addressof(buffer)), 16)
    assert libc.prctl(38, 1, 0, 0, 0) == 0
    libc.syscall.restype = ctypes.c_long
    listener = libc.syscall(ctypes.c_long(317 if X86 else 277), ctypes.c_long(1), ctypes.c_long(8), program)
    assert listener >= 0, ctypes.get_errno()
    os.dup2(listener, LISTENER.fileno())


LISTENER, OTHER_END = socket.socketpair()       # a descriptor that the program keeps


def test_a_listener_of_a_container_is_named_and_plain_sessions_work(pyexec, nothing_left):
    with started(pyexec, preexec_fn=listen_first, pass_fds=[LISTENER.fileno()]) as executor:
        for _ in range(20):
            with pytest.raises(Failure) as failure:
                executor.call("s", "1")
            assert failure.value.code == "sandbox_unavailable" and failure.value.hint, (failure.value.message, failure.value.hint)
            assert "seccomp" in failure.value.message
        assert value(executor, "plain", "1 + 1", policy={"forkable": False}) == 2
        assert executor.call(None, "1 + 1", policy={"forkable": False})["last_value_repr"] == "2"
        assert {item["id"] for item in executor.sessions()} == {"plain"}

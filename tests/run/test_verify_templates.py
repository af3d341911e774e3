# SPDX-License-Identifier: Apache-2.0
"""Templates: the processes of which verify makes its tests (docs/security.md, Templates). What a test, or code in the template itself, tries
to leave for a later test; tests that reach for each other and for their template; and what is left of thousands of them."""
import os
import resource
import signal
import threading

import pytest

from library import Executor, Failure
from test_branches import CLONE, GETPGID, KILL, NATIVE, TGKILL, below, started
from waiting import wait_until

OPEN = {"use_import_whitelist": False, "banned_imports": [], "block_dunder_imports": False, "cpu_time_seconds": 20, "timeout_ms": 20_000}
CHECKPOINT_FLAGS = 0x00008000 | 0x01000000 | 0x00200000
LANE = {"max_concurrent": 1}        # one lane, so that each test follows the one before


def verdicts(answer):
    return [test["verdict"] for test in answer["tests"]]


def calls(count, expect=None):
    return [{"call": "f", "args": [n], "expect": n if expect is None else expect} for n in range(count)]


LEAVES = NATIVE + '''
import fcntl, mmap, resource, socket
kept = []
def threads(most):
    stop = threading.Event()
    for i in range(most):
        try: threading.Thread(target=stop.wait, daemon=True).start()
        except RuntimeError: return i
    return most
def f(n):
    free = os.dup(0)
    seen = [free, [fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK for fd in range(4)], len(kept), signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL,
            signal.getitimer(signal.ITIMER_REAL)[0], os.getcwd(), os.environ.get("LEFT"), sys.getrecursionlimit(), threading.active_count(),
            resource.getrlimit(resource.RLIMIT_NOFILE), os.umask(0o22), signal.pthread_sigmask(signal.SIG_BLOCK, []) == set(),
            sys.stdin.read(), sys.stdin is sys.__stdin__, threads(100)]
    for fd in range(4): fcntl.fcntl(fd, fcntl.F_SETFL, os.O_NONBLOCK)
    kept.extend([os.pipe(), socket.socketpair(), mmap.mmap(-1, 4096, mmap.MAP_PRIVATE), n])
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.setitimer(signal.ITIMER_REAL, 30)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    os.environ["LEFT"] = "x"
    sys.setrecursionlimit(500)
    resource.setrlimit(resource.RLIMIT_NOFILE, (9, 9))
    os.umask(0)
    sys.stdin.close()
    return repr(seen)
'''


def test_a_test_finds_the_state_of_the_solution_and_nothing_of_the_test_before(pyexec, nothing_left):
    with started(pyexec, dict(OPEN, max_threads=5), host=LANE) as executor:
        answer = executor.verify(LEAVES, calls(6, ""))
        seen = [test["value"] for test in answer["tests"]]
        assert len(set(seen)) == 1 and seen[0].startswith("[") and seen[0].endswith(", 5]"), seen
        # The whole program leaves its things too.
        program = LEAVES + "print(f(0))"
        answer = executor.verify(program, [{"stdin": "", "expect_stdout": ""}] * 6)
        assert len({test["stdout"] for test in answer["tests"]}) == 1, [test["stdout"] for test in answer["tests"]]


def test_files_are_those_of_the_solution_for_each_test(pyexec, nothing_left):
    solution = "import os\ndef f(n):\n    seen = sorted(os.listdir('.'))\n    open('left%d' % n, 'w').write('x')\n    return repr(seen)"
    with started(pyexec, dict(OPEN, disable_open=False), host=LANE) as executor:
        assert executor.verify("open('own', 'w').close()\n" + solution, calls(6, "['own']"))["passed"]


def test_no_test_reaches_another_or_its_template(any_pyexec, nothing_left):
    """By signals, and by saying that it is the next test."""
    solution = NATIVE + '''
def f(n):
    others = [pid for pid in range(1, 60) if pid != os.getpid()]
    tries = [sc(%d, pid, 9) for pid in others] + [sc(%d, pid, pid, 9) for pid in others] + [sc(%d, -2, pid) for pid in range(0, 60)]
    return sorted(set(tries + [sc(%d, %d, 0, 0, 0, 0), sc(%d, -1, 0)]))
''' % (KILL, TGKILL, GETPGID, CLONE, CHECKPOINT_FLAGS, GETPGID)
    with started(any_pyexec, OPEN) as executor:
        answer = executor.verify(solution, calls(30, [-1]))
        assert answer["passed"], answer["tests"][0]


HOOK = NATIVE + '''
import socket
kept = []
forks = 0
def hook():
    """The second time it runs in a template, after the host has looked at that."""
    global forks
    forks += 1
    if forks >= 2: kept.append(%s)
os.register_at_fork(before=hook)
def f(n): return n
'''


@pytest.mark.parametrize("deed, words", [
    ("1", None),
    ("os.pipe()", "kept descriptors"), ("socket.socketpair()", "kept descriptors"), ("libc.open(b'/dev/null', 0)", "kept descriptors"),
    ("threading.Thread(target=time.sleep, args=(60,), daemon=True).start()", "several threads"),
    ("os._exit(0)", "ended"), ("os.kill(os.getpid(), 9)", "ended"), ("sc(%d, -1, 0)" % GETPGID, None), ("sc(%d, -2, os.getpid())" % GETPGID, None)])
def test_a_template_that_would_share_something_with_its_tests_makes_none(pyexec, nothing_left, deed, words):
    with started(pyexec, OPEN, host=LANE) as executor:
        answer = executor.verify(HOOK % deed, calls(4), each={"timeout_ms": 2000})
        assert set(verdicts(answer)) == ({"error"} if words else {"pass"}), answer["tests"][0]
        assert not words or words in answer["tests"][0]["error"]["message"], answer["tests"][0]["error"]
        assert executor.verify("def f(n): return n", calls(12))["passed"]


def test_hooks_of_a_fork_run_in_the_limits_of_the_test(own, nothing_left):
    """In the template itself they run once, so what they count there does not grow."""
    solution = ("import os\ncounts = [0, 0]\ndef before(): counts[0] += 1\ndef after(): counts[1] += 1\n"
                "os.register_at_fork(before=before, after_in_child=after)\ndef f(n): return counts")
    with Executor(OPEN, program=own.path, host=LANE) as executor:
        assert executor.verify(solution, calls(8, [2, 2]))["passed"]
        slow = "import os\nforks = 0\ndef after():\n    global forks\n    forks += 1\n    while forks > 1: pass\nos.register_at_fork(after_in_child=after)\ndef f(n): return n"
        assert set(verdicts(executor.verify(slow, calls(4), each={"timeout_ms": 200}))) <= {"timeout", "killed"}


def members(executor):
    """The processes of the families: PID 1, the solution's process, templates and tests."""
    statuses = below(executor.pid)
    depth = max(len(status["NSpid"].split()) for status in statuses.values())
    return sorted(int(status["Pid"]) for status in statuses.values() if len(status["NSpid"].split()) == depth >= 3)


@pytest.mark.skipif(os.getuid() != 0, reason="only root sees another user's processes")
@pytest.mark.parametrize("which", range(4))
def test_a_verify_whose_process_is_killed_ends_and_leaves_nothing(pyexec, nothing_left, which):
    """PID 1, the solution's process, and both templates."""
    with started(pyexec, OPEN) as executor:
        executor.verify("def f(n): return n", calls(12))
        solution, answers = "import time\ndef f(n):\n    time.sleep(0.05)\n    return n", []

        def verify():
            try:
                answers.append(executor.verify(solution, calls(40)))
            except Failure as failure:
                answers.append(failure)
        thread = threading.Thread(target=verify)
        thread.start()
        seen = []
        wait_until(lambda: seen.append(members(executor)) or len(seen[-1]) >= 6 or not thread.is_alive(), "no template and test")
        victim = seen[-1][which]
        assert victim > 1
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            pass        # it was a test, which has ended, or the verify has
        thread.join()
        if not isinstance(answers[0], Failure):
            assert len(answers[0]["tests"]) == 40 and set(verdicts(answers[0])) <= {"pass", "error", "killed", "crashed"}
            assert all(test["value"] == test["index"] for test in answers[0]["tests"] if test["verdict"] == "pass")
        assert executor.verify("def f(n): return n", calls(12))["passed"]
        wait_until(lambda: len(below(executor.pid)) <= 8, "processes are left")


def descriptors(executor):
    return len(os.listdir("/proc/%d/fd" % executor.pid))


def test_two_thousand_tests_leave_nothing(own, nothing_left):
    with Executor(OPEN, program=own.path) as executor:
        executor.verify("def f(n): return n", calls(100))
        wait_until(lambda: len(below(executor.pid)) <= 8, "processes are left")
        before = descriptors(executor)
        assert executor.verify("def f(n): return n", calls(2000))["passed"]
        wait_until(lambda: len(below(executor.pid)) <= 8, "processes are left")
        wait_until(lambda: descriptors(executor) <= before + 8, "descriptors are left")


def faults_of(program, count, stdin):
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt
    with Executor(program=program.path, host={"pool_size": 0, "zygotes": 1, "max_concurrent": 1}) as executor:
        tests = [{"stdin": "2\n", "expect_stdout": "4"}] * count if stdin else [{"call": "f", "args": [n], "expect": n * 2} for n in range(count)]
        assert executor.verify("print(int(input()) * 2)" if stdin else "def f(n): return n * 2", tests)["passed"]
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt - before


@pytest.mark.skipif("SANITIZE" in os.environ, reason="a sanitizer's memory has page faults of its own")
@pytest.mark.parametrize("stdin", [False, True])
def test_a_test_costs_few_page_faults(own, nothing_left, stdin):
    found = [(faults_of(own, 140, stdin) - faults_of(own, 40, stdin)) / 100 for _ in range(3)]
    # A call: 150 copies of pages that the test writes to, 35 of mapped files that it uses. A whole program takes as many.
    assert 20 < max(found) and min(found) <= 240, found

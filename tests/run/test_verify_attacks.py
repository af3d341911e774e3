# SPDX-License-Identifier: Apache-2.0
"""Solutions that attack the verify that runs them (docs/verify.md, What a pass is worth), and a verify whose processes are killed."""
import os
import signal
import threading
import time

import pytest

from library import Executor, Failure
from test_branches import BRANCH_FLAGS, CLONE, GETPGID, KILL, NATIVE, started
from test_kills import children
from waiting import wait_until

OPEN = {"use_import_whitelist": False, "banned_imports": [], "block_dunder_imports": False, "cpu_time_seconds": 20, "timeout_ms": 20_000}
EXPECTED = "expected-%d-of-the-host"
TESTS = [{"call": "f", "args": [n], "expect": EXPECTED % n} for n in range(4)]


@pytest.fixture
def executor(any_pyexec, nothing_left):
    with started(any_pyexec, OPEN) as made:
        yield made


def verdicts(answer):
    return [test["verdict"] for test in answer["tests"]]


def test_what_is_expected_is_nowhere_in_the_process(executor):
    """All objects, all frames, all memory that the process can read by its own pointers, its files and its environment."""
    solution = NATIVE + '''
import gc
def f(n):
    seen = []
    for thing in gc.get_objects():
        try: seen.append(repr(thing))
        except BaseException: pass
    frame = sys._getframe()
    while frame:
        seen.append(repr((frame.f_locals, frame.f_globals.keys(), frame.f_code.co_consts)))
        frame = frame.f_back
    seen.append(repr(os.environ))
    for number in range(64):
        try: seen.append(repr(os.read(number, 1 << 16)) if number != 3 else repr(__import__("socket").socket(fileno=os.dup(3)).recv(1 << 16, 0x42)))
        except BaseException: pass
    text = "".join(seen).encode()
    return [text.count(b"cted-%d-of" % n), len(text) > 100000]
'''
    answer = executor.verify(solution, TESTS)
    assert [test["value"] for test in answer["tests"]] == [[0, True]] * 4, answer["tests"][0]


@pytest.mark.parametrize("code", [
    "import builtins\nclass Same(str):\n    def __eq__(self, other): return True\n    def __hash__(self): return 0\ndef f(n): return Same('x')",
    "class Any:\n    def __eq__(self, other): return True\n    def __repr__(self): return 'x'\ndef f(n): return Any()",
    "import json, builtins\njson.dumps = lambda *a, **k: 'expected'\nbuiltins.isinstance = lambda *a: True\nbuiltins.type = lambda *a: str\ndef f(n): return 5",
    "import os\ndef f(n): os._exit(0)",
    "import sys\ndef f(n): sys.exit(0)",
    "import sys\nsys.exit(0)",
    "import sys\ndef f(n):\n    frame = sys._getframe()\n    while frame.f_back: frame = frame.f_back\n    frame.f_globals['given'] = frame.f_globals['value'] = True\n    return frame.f_locals.get('expect', 0)",
    "def f(n): return float('nan')", "def f(n): return {'$any': 1}", "def f(n): raise SystemExit(None)", "def f(n): raise AssertionError",
])
def test_no_cheap_trick_passes(own, nothing_left, code):
    with Executor(OPEN, program=own.path) as executor:
        answer = executor.verify(code, TESTS)
        assert not answer["passed"] and "pass" not in verdicts(answer), answer["tests"][0]
        # Nor does the whole program.
        answer = executor.verify(code + "\nprint('Same')", [{"stdin": "1", "expect_stdout": EXPECTED % n} for n in range(3)])
        assert "pass" not in verdicts(answer)


def test_a_number_beyond_all_doubles_is_close_to_itself_alone(own, nothing_left):
    with Executor(OPEN, program=own.path) as executor:
        for compare in ("exact", {"rel": 1e-9}, {"abs": 1}):
            answer = executor.verify("def f(n): return [10 ** 400, -10 ** 400, 10 ** 400 + 1, float('inf')][n]",
                                     [{"call": "f", "args": [n], "expect": {"$int": "1" + "0" * 400}} for n in range(4)], compare=compare)
            assert verdicts(answer) == ["pass", "wrong", "wrong", "wrong"]


def test_a_test_leaves_nothing_for_the_next_and_reaches_no_sibling(executor):
    solution = NATIVE + '''
seen, cell = [], ctypes.c_long()
def f(n):
    had = list(seen)
    seen.append(n)
    try:
        with open("left", "a") as file: file.write("x")
    except OSError: pass
    tries = [sc(%d, pid, 9) for pid in range(1, 40) if pid != os.getpid()] + [sc(%d, -1, 9), sc(%d, %d, 0, 0, ctypes.addressof(cell), ctypes.addressof(cell), 0), sc(%d, -1)]
    try: return [had, sorted(set(tries)), os.listdir(".")]
    except OSError: return [had, sorted(set(tries)), []]
''' % (KILL, KILL, CLONE, BRANCH_FLAGS, GETPGID)
    answer = executor.verify(solution, [{"call": "f", "args": [n], "expect": [[], [-1], []]} for n in range(40)])
    assert answer["passed"], answer["tests"][0]
    answer = executor.verify(solution, [{"call": "f", "args": [n], "expect": [[], [-1], ["left"]]} for n in range(40)],
                             policy={"disable_open": False})
    assert answer["passed"], answer["tests"][0]


def test_hooks_of_a_fork_have_the_time_of_a_test(own, nothing_left):
    """Code that runs in the solution's process when it is forked is in no test's limits. It must not hold the turn for ever."""
    with Executor(OPEN, program=own.path) as executor:
        for hook in ("before=lambda: time.sleep(30)", "after_in_child=lambda: time.sleep(30)", "after_in_child=lambda: os._exit(0)"):
            answer = executor.verify("import os, time\nos.register_at_fork(%s)\ndef f(n): return n" % hook,
                                     [{"call": "f", "args": [n], "expect": n} for n in range(300)], each={"timeout_ms": 100})
            assert set(verdicts(answer)) == {"error"} and answer["tests"][0]["error"]["type"] == "NotForkable"
        assert executor.verify("def f(n): return n", [{"call": "f", "args": [1], "expect": 1}])["passed"]


@pytest.mark.parametrize("deed", ["os._exit(0)", "os.kill(os.getpid(), 9)", "ctypes.memset(8, 0, 1)", "libc.unshare(0)",
                                  "os.write(3, b'x' * 100)", "os.closerange(0, 100)", "sc(%d, %d, 0, 0, 0, 0, 0)" % (CLONE, BRANCH_FLAGS)])
def test_a_source_that_ends_or_forges_in_a_fork_fails_its_own_tests_alone(pyexec, nothing_left, deed):
    with started(pyexec, OPEN) as executor:
        solution = NATIVE + "forks = 0\ndef hook():\n    global forks\n    forks += 1\n    if forks == 3: %s\nos.register_at_fork(before=hook)\ndef f(n): return n" % deed
        answers = {}

        def one(name, code):
            answers[name] = executor.verify(code, [{"call": "f", "args": [n], "expect": n} for n in range(12)], each={"timeout_ms": 1000})
        threads = [threading.Thread(target=one, args=work) for work in (("evil", solution), ("good", "def f(n): return n"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers["good"]["passed"]
        evil = answers["evil"]
        assert len(evil["tests"]) == 12 and set(verdicts(evil)) <= {"pass", "error", "crashed", "killed"}
        assert all(test["value"] == test["index"] for test in evil["tests"] if test["verdict"] == "pass")


@pytest.mark.skipif(os.getuid() != 0, reason="only root sees another user's processes")
@pytest.mark.parametrize("solution, tests", [
    # A warning of the compiler: each test is a run of its own, while the verify holds the process that has the program compiled.
    ("'\\d'\nimport time\ntime.sleep(0.4)\nprint('out')", [{"stdin": "", "expect_stdout": "out\n"}] * 6),
    ("import time\ndef f(n):\n    time.sleep(0.2)\n    return n", [{"call": "f", "args": [n], "expect": n} for n in range(20)]),
])
def test_a_verify_whose_supervisor_is_killed_returns_and_the_next_one_works(pyexec, nothing_left, solution, tests):
    with started(pyexec, OPEN) as executor:
        executor.call(None, "1")
        supervisor = children(children(executor.pid)[0])[0]
        answers = []

        def verify():
            try:
                answers.append(executor.verify(solution, tests))
            except Failure as failure:
                answers.append(failure)
        thread = threading.Thread(target=verify)
        thread.start()
        wait_until(lambda: len(children(supervisor)) > 2, "no process of the verify")
        time.sleep(0.6)
        assert supervisor > 1
        os.kill(supervisor, signal.SIGKILL)
        thread.join()
        assert isinstance(answers[0], Failure) or not answers[0]["passed"]
        assert executor.verify("def f(n): return n", [{"call": "f", "args": [1], "expect": 1}])["passed"]

# SPDX-License-Identifier: Apache-2.0
"""Checkpoints and undo (docs/branches.md): variables and files are as before the call, also when the call ended the process, and
nothing is left. The attacks are native code (ctypes) with the guard off."""
import os
import random
import signal
import threading

import pytest

from library import Executor, Failure
from test_branches import BRANCH_FLAGS, CAPSET, CLONE, GETPGID, MIXED, NATIVE, OPEN, below, started, value
from waiting import wait_until

FILES = {**OPEN, "disable_open": False, "allow_readonly_open": False}
AUTO = {**FILES, "forkable": False, "auto_checkpoint": True}
CHECKPOINT_FLAGS = 0x00008000 | 0x01000000 | 0x00200000
CLONED = "sc(%d, %d, 0, 0, ctypes.addressof(cell), ctypes.addressof(cell), 0)" % (CLONE, CHECKPOINT_FLAGS)
REPORT = "sc(%d, -1)" % GETPGID


def keep(executor, session, code, **request):
    """A call that keeps the state before it."""
    result = executor.call(session, code, checkpoint=True, **request)
    assert result["status"] == "ok", result
    return result


def test_an_undo_returns_to_the_state_before_the_call(pyexec, nothing_left):
    with started(pyexec, FILES) as executor:
        executor.call("s", "import random\nitems = [1]\ndef f(): return len(items)\nopen('a.txt', 'w').write('one')")
        keep(executor, "s", "items.append(2)\nopen('a.txt', 'w').write('two')\nopen('b.txt', 'w').write('new')\nrandom.seed(5)")
        assert value(executor, "s", "(f(), open('a.txt').read(), random.random())") == (2, "two", random.Random(5).random())
        assert executor.undo("s") == 2
        result = executor.call("s", "import os\n(f(), open('a.txt').read(), os.path.exists('b.txt'))")
        assert result["last_value_repr"] == "(1, 'one', False)"
        assert result["session"] == {"id": "s", "created": False, "restarted": None, "execution_count": 2, "restored": None, "no_checkpoint": None}
        assert executor.call("s", "1 / 0")["error"]["traceback"].count("<cell 3>") == 1


def test_the_same_random_numbers_come_again(pyexec, nothing_left):
    """They are a part of the state. Numbers that are secrets do not come again."""
    with started(pyexec) as executor:
        executor.call("s", "import random, uuid, ssl, secrets")
        drawn = []
        for _ in range(3):
            keep(executor, "s", "pass")
            drawn.append(value(executor, "s", "random.random(), uuid.uuid4().hex, ssl.RAND_bytes(8), secrets.token_hex()"))
            executor.undo("s")
        same, *others = zip(*drawn)
        assert len(set(same)) == 1 and all(len(set(column)) == 3 for column in others)


def test_it_returns_to_the_call_that_is_named(pyexec, nothing_left):
    with started(pyexec, {**AUTO, "max_checkpoints": 3}) as executor:
        for i in range(1, 7):
            executor.call("s", "x = %d" % i)
        with pytest.raises(Failure, match="invalid_request.*call 3 is not kept.*1,4,5,6"):
            executor.undo("s", 3)
        assert executor._do("undo", session_id="s", to=5)["checkpoints"] == [1, 4]
        assert executor.call("s", "x", checkpoint=False)["last_value_repr"] == "4"
        assert executor.undo("s") == 4
        assert executor.call("s", "x", checkpoint=False)["last_value_repr"] == "3"
        assert executor.undo("s") == 1
        with pytest.raises(Failure, match="invalid_request.*no checkpoint.*auto_checkpoint"):
            executor.undo("s")
        assert executor.call("s", "'x' in globals()", checkpoint=False)["session"]["execution_count"] == 1


def test_the_first_call_can_be_undone(pyexec, nothing_left):
    with started(pyexec, AUTO) as executor:
        assert executor.call("s", "import math\nx = 1")["session"]["created"]
        assert executor.undo("s") == 1
        result = executor.call("s", "'x' in globals(), __import__('math').pi > 3")
        assert (result["last_value_repr"], result["session"]["execution_count"]) == ("(False, True)", 1)


def test_a_session_that_can_not_keep_says_which_field_is_missing(own, nothing_left):
    with Executor({**FILES, "forkable": False}) as executor:
        executor.call("s", "x = 1")
        with pytest.raises(Failure, match="session_not_forkable.*forkable.*auto_checkpoint: true"):
            executor.call("s", "x = 2", checkpoint=True)
        assert value(executor, "s", "x") == 1
        with pytest.raises(Failure, match="invalid_request.*no checkpoint"):
            executor.undo("s")
        with pytest.raises(Failure, match="invalid_request.*single run"):
            executor.call(None, "1", checkpoint=True)
        with pytest.raises(Failure, match="session_not_found"):
            executor.undo("other")
        for wrong in (0, -1, "1", True):
            with pytest.raises(Failure, match="invalid_request.*to: "):
                executor._do("undo", session_id="s", to=wrong)


def test_a_session_with_auto_checkpoint_alone_can_not_be_forked(own, nothing_left):
    with Executor(AUTO) as executor:
        executor.call("s", "x = 1")
        with pytest.raises(Failure, match="session_not_forkable.*forkable: true"):
            executor.fork("s", "a")


def test_an_undo_without_a_checkpoint_says_how_to_get_one(own, nothing_left):
    for policy, says in ({}, "auto_checkpoint: true"), ({"forkable": True}, "checkpoint: true"):
        with Executor(policy) as executor:
            executor.call("s", "1")
            with pytest.raises(Failure, match="the session 's' has no checkpoint.*" + says):
                executor.undo("s")


def test_what_can_not_be_kept_says_why_and_the_call_runs(own, nothing_left):
    with Executor(AUTO) as executor:
        executor.call("s", "import threading\nstop = threading.Event()\nt = threading.Thread(target=stop.wait, daemon=True)\nt.start()")
        result = executor.call("s", "x = 5\nx")
        assert result["last_value_repr"] == "5"
        assert "2 threads" in result["session"]["no_checkpoint"] and "join them" in result["session"]["no_checkpoint"]
        with pytest.raises(Failure, match="session_not_forkable.*2 threads"):
            executor.call("s", "x = 6", checkpoint=True)
        assert executor.call("s", "stop.set()\nt.join()\nx")["last_value_repr"] == "5"
        # The kernel may count a thread for a moment after it was joined.
        wait_until(lambda: executor.call("s", "x")["session"]["no_checkpoint"] is None, "no state is kept")
        result = executor.call("s", "x = 7")
        assert result["session"]["no_checkpoint"] is None and executor.undo("s") == result["session"]["execution_count"]
        assert executor.call("s", "x", checkpoint=False)["last_value_repr"] == "5"


def test_an_undo_waits_for_no_call(own, nothing_left):
    with Executor(AUTO) as executor:
        executor.call("s", "import time\nx = 1")
        running = threading.Thread(target=executor.call, args=("s", "time.sleep(60)"), kwargs={"timeout_ms": 90_000})
        running.start()
        wait_until(lambda: executor.sessions()[0]["busy"], "the call does not begin")
        with pytest.raises(Failure, match="session_busy.*Undo it between two calls"):
            executor.undo("s")
        executor.interrupt("s")
        running.join()
        assert executor.undo("s") == 2 and value(executor, "s", "x") == 1


def test_a_reset_returns_to_the_freshly_opened_session(pyexec, nothing_left):
    with started(pyexec, {**AUTO, "max_checkpoints": 2, "preload_imports": ["json"]}) as executor:
        for _ in range(3):
            for i in range(5):
                executor.call("s", "x = %d\nopen('f%d', 'w').close()" % (i, i))
            assert executor.reset("s")["to"] == 1
            assert executor.reset("s")["checkpoints"] == []       # once more changes nothing
            result = executor.call("s", "import os\n('x' in globals(), os.listdir('.'))")
            assert (result["last_value_repr"], result["session"]["execution_count"]) == ("(False, [])", 1)
            assert executor.call("s", "os._exit(1)")["session"]["restored"]["to"] == 2
            executor.reset("s")


def test_what_was_not_kept_can_not_be_reset(own, nothing_left):
    with Executor(FILES) as executor:
        executor.call("s", "x = 1")
        with pytest.raises(Failure, match="invalid_request.*first state.*auto_checkpoint"):
            executor.reset("s")
        assert value(executor, "s", "x") == 1
        executor.call("t", "x = 1", checkpoint=True)
        executor.call("t", "x = 2")
        assert executor.reset("t")["to"] == 1
        with pytest.raises(Failure, match="session_not_found"):
            executor.reset("other")


# ---- Files ----

TREE = """
import os, stat
os.makedirs('d/e'); open('d/e/deep', 'wb').write(b'deep'); open('one', 'wb').write(b'1' * 100_000)
os.link('one', 'same'); os.symlink('one', 'link'); os.chmod('one', 0o640); os.utime('one', (1, 2)); os.mkdir('empty')
os.chmod('d', 0o500); os.mkdir('closed'); open('closed/x', 'w').close(); os.chmod('closed', 0)
with open('holes', 'wb') as f: f.truncate(8 << 20); f.seek(4 << 20); f.write(b'middle')
os.utime('empty', (3, 4)); os.utime('.', (5, 6))
"""
LOOK = """
def look():
    found = {}
    def walk(path):
        s = os.lstat(path)
        found[path] = (stat.S_IMODE(s.st_mode), stat.S_IFMT(s.st_mode), s.st_nlink, s.st_mtime)
        if stat.S_ISLNK(s.st_mode): found[path] += (os.readlink(path),)
        elif stat.S_ISREG(s.st_mode): found[path] += (s.st_size, s.st_blocks, hash(open(path, 'rb').read()))
        elif s.st_mode & 0o400:
            for name in sorted(os.listdir(path)): walk(path + '/' + name)
    walk('.')
    return found, os.stat('one').st_ino == os.stat('same').st_ino
"""
SPOIL = """
import shutil
os.chmod('closed', 0o700); os.chmod('d', 0o700)
for name in ('d', 'closed', 'empty'): shutil.rmtree(name)
os.mkdir('one.d'); os.remove('same'); os.remove('link'); os.rename('holes', 'renamed'); os.chmod('.', 0o700)
path = 'x'
for i in range(150):
    os.mkdir(path); os.chdir(path); path = 'x'
os.chdir('/tmp/s')
for i in range(500): open('many-%d' % i, 'w').write('m')
os.mkdir('locked'); open('locked/in', 'w').write('x'); os.chmod('locked', 0)
half = open('one', 'r+b'); half.write(b'2' * 5); half.flush(); half.truncate(50_000); half.write(b'half')
left = os.open('unlinked', os.O_RDWR | os.O_CREAT); os.write(left, b'l' * (20 << 20)); os.remove('unlinked')
"""


@pytest.mark.parametrize("ending", ["undo", "kill"])
def test_files_are_as_before(pyexec, nothing_left, ending):
    with started(pyexec, {**FILES, "workspace_bytes": 32 << 20}) as executor:
        executor.call("s", TREE + LOOK)
        before = value(executor, "s", "look()")
        result = executor.call("s", SPOIL + ("os.kill(os.getpid(), 9)" if ending == "kill" else ""), checkpoint=True)
        if ending == "kill":
            assert (result["status"], result["session"]["restored"]) == ("killed", {"to": 3, "why": "killed"})
        else:
            assert result["status"] == "ok", result
            executor.undo("s")
        after = value(executor, "s", "look()")
        assert after == before
        # The quota is the same, and so is what is seen from outside.
        assert executor.call("s", "open('big', 'wb').write(b'b' * (28 << 20))")["status"] == "ok"
        assert {"big", "one", "d/e/deep"} <= {item["path"] for item in executor.list_files("s")}
        executor.write_file("s", "outside", b"written")
        assert value(executor, "s", "open('outside').read()") == "written"


@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_files_are_listed_in_the_order_of_before(pyexec, nothing_left, count):
    with started(pyexec, FILES) as executor:
        executor.call("s", "import os\n" + MIXED + "mix(%d)" % count)
        before = value(executor, "s", "listed()")
        for _ in range(2):
            keep(executor, "s", "for name in range(20, 40): open('new%d' % name, 'w').close()")
            executor.undo("s")
            assert value(executor, "s", "listed()") == before


def test_open_files_lead_nowhere_after_an_undo(pyexec, nothing_left):
    with started(pyexec, FILES) as executor:
        executor.call("s", "f = open('log', 'w+')\nf.write('a')\nf.flush()")
        keep(executor, "s", "f.write('b')\nf.flush()")
        executor.undo("s")
        assert "OSError" in executor.call("s", "f.write('c')\nf.flush()")["error_repr"]
        assert value(executor, "s", "open('log').read()") == "a"


def test_a_mapped_file_can_not_be_kept(pyexec, nothing_left):
    with started(pyexec, FILES) as executor:
        executor.call("s", "import mmap\nopen('a', 'wb').write(b'x' * 4096)\nf = open('a', 'r+b')\nm = mmap.mmap(f.fileno(), 4096)")
        with pytest.raises(Failure, match="session_not_forkable.*mmap.close"):
            executor.call("s", "1", checkpoint=True)
        executor.call("s", "m.close()")
        keep(executor, "s", "1")


# ---- Endings ----

DEAF = "\nwhile True:\n    try:\n        while True: time.sleep(0.01)\n    except BaseException: pass"
ENDINGS = {
    "killed": ("os.kill(os.getpid(), signal.SIGKILL)", {}),
    "crashed": ("ctypes.string_at(0)", {}),
    "crashed-exit": ("os._exit(0)", {}),
    "crashed-abort": ("os.abort()", {}),
    "timeout": (DEAF, {"timeout_ms": 300}),
    "cpu_limit": ("sum(range(10**12))", {"policy": {"cpu_time_seconds": 1, "timeout_ms": 60_000}}),
}


@pytest.mark.parametrize("ending", sorted(ENDINGS))
def test_a_call_that_ends_the_process_leaves_the_session_as_before(pyexec, nothing_left, ending):
    code, request = ENDINGS[ending]
    with started(pyexec, AUTO) as executor:
        executor.call("s", NATIVE + "x = 1\nopen('file', 'w').write('whole')")
        for number in (2, 3):
            result = executor.call("s", "x = 2\nopen('other', 'w').write('o')\nf = open('file', 'w')\nf.write('ha')\nf.flush()\n" + code, **request)
            status = ending.partition("-")[0]
            assert result["status"] == status, result
            assert result["session"] == {"id": "s", "created": False, "restarted": None, "execution_count": number,
                                         "restored": {"to": number, "why": status}, "no_checkpoint": None}
            result = executor.call("s", "(x, open('file').read(), os.path.exists('other'))")
            assert (result["last_value_repr"], result["session"]["restarted"]) == ("(1, 'whole', False)", None)
        assert executor.undo("s", 1) == 1
        assert executor.call("s", "'x' in globals()")["last_value_repr"] == "False"


def test_an_end_that_python_handles_keeps_what_the_call_did(pyexec, nothing_left):
    with started(pyexec, AUTO) as executor:
        executor.call("s", "import time\nx = 1")
        result = executor.call("s", "x = 2\ntime.sleep(60)", timeout_ms=200)
        assert (result["status"], result["session"]["restored"]) == ("timeout", None)
        assert executor.call("s", "x")["last_value_repr"] == "2" and executor.undo("s", 2) == 2
        assert executor.call("s", "x")["last_value_repr"] == "1"


def test_without_a_checkpoint_the_session_is_restarted_as_before(pyexec, nothing_left):
    with started(pyexec, AUTO) as executor:
        executor.call("s", "import os, signal\nx = 1")
        result = executor.call("s", "os.kill(os.getpid(), signal.SIGKILL)", checkpoint=False)
        assert (result["status"], result["session"]["restored"]) == ("killed", None)
        assert executor.call("s", "'x' in globals()")["session"]["restarted"] == "killed"


# ---- What is left ----

def descriptors(executor):
    return len(os.listdir("/proc/%d/fd" % executor.pid))


def memory(executor):
    with open("/proc/%d/smaps_rollup" % executor.pid) as file:
        return int(next(line for line in file if line.startswith("Pss_Anon:")).split()[1])


def test_a_thousand_undos_leave_nothing(pyexec, nothing_left):
    with started(pyexec, AUTO) as executor:
        executor.call("s", "x = 0\nopen('f', 'w').write('0')")
        def undo(count):
            for _ in range(count):
                executor.call("s", "x += 1\nopen('f', 'w').write(str(x))")
                assert executor.undo("s") == 2
        undo(50)
        wait_until(lambda: len(below(executor.pid)) <= 8, "processes are left: %r" % below(executor.pid))
        before = descriptors(executor), memory(executor)
        undo(950)
        result = executor.call("s", "import os\n(x, open('f').read(), sorted(os.listdir('.')))")
        assert (result["last_value_repr"], result["session"]["execution_count"]) == ("(0, '0', ['f'])", 2)
        wait_until(lambda: len(below(executor.pid)) <= 8, "processes are left")
        wait_until(lambda: descriptors(executor) <= before[0] + 8, "descriptors are left")
        if not os.environ.get("SANITIZE"):      # sanitizers keep what was freed
            assert memory(executor) <= before[1] + 4096


def family_of(executor):
    """The processes that share the PID namespace of the session's family."""
    statuses = below(executor.pid)
    depth = max(len(status["NSpid"].split()) for status in statuses.values())
    return {number: status for number, status in statuses.items() if len(status["NSpid"].split()) == depth}


def test_checkpoints_end_with_their_session(pyexec, nothing_left):
    with started(pyexec, AUTO, session={"max_count": 2}) as executor:
        for name in ("closed", "killed", "evicted"):
            for i in range(3):
                executor.call(name, "import os\nx = %d" % i)
            assert len(family_of(executor)) >= 5        # PID 1, the session and its checkpoints
            if name == "closed":
                executor.close(name)
            elif name == "killed":
                own = executor.call(name, "os.getpid()")["last_value_repr"]
                process, = [number for number, status in family_of(executor).items() if status["NSpid"].split()[-1] == own]
                os.kill(process, signal.SIGKILL)
            else:
                executor.call("more", "1", policy={"auto_checkpoint": False})
                executor.call("even-more", "1", policy={"auto_checkpoint": False})
            wait_until(lambda: name not in {item["id"] for item in executor.sessions()}, "the session lives")
            wait_until(lambda: len([1 for status in below(executor.pid).values() if status["State"][0] != "Z"]) <= 6, "processes are left")


def test_the_end_of_the_familys_process_ends_all_of_it(pyexec, nothing_left):
    with started(pyexec, AUTO) as executor:
        for i in range(3):
            executor.call("s", "x = %d" % i)
        first, = [number for number, status in family_of(executor).items() if status["NSpid"].split()[-1] == "1"]
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: executor.sessions() == [], "the session lives")
        assert executor.call("s", "'x' in globals()")["session"]["restarted"] == "killed"
        executor.call("s", "x = 1")
        assert executor.undo("s") == 2


@pytest.mark.parametrize("name", ["pyexec", "pyexec-launch"])
def test_nothing_outlives_the_program(pyexec, nothing_left, name):
    """Killed in the middle of undos: the program itself, and its process that starts all others."""
    executor = started(pyexec, AUTO)
    executor.call("s", "x = 1")
    executor.call("s", "open('f', 'w').write('f' * 1_000_000)")
    below_it = below(executor.pid)
    victim = executor.pid if name == "pyexec" else next(number for number, status in below_it.items() if int(status["PPid"]) == executor.pid)

    def undo():
        try:
            while True:
                executor.call("s", "open('f', 'a').write('g')")
                executor.undo("s", 2)
                executor.call("s", "open('f', 'w').write('f' * 1_000_000)")
        except (Failure, OSError, AssertionError, ValueError): pass
    if name == "pyexec":        # most of its answers never come
        for i in range(40):
            executor.waiting[1000 + i] = threading.Event(), []
            executor.process.stdin.write(b'{"jsonrpc": "2.0", "id": %d, "method": "%s", "params": {"session_id": "s"%s}}\n' % (
                1000 + i, (b"execute", b"undo")[i % 2], (b', "code": "x += 1"', b"")[i % 2]))
        executor.process.stdin.flush()
    else:
        thread = threading.Thread(target=undo, daemon=True)
        thread.start()
    os.kill(victim, signal.SIGKILL)
    if name == "pyexec":
        executor.process.wait(60)
        executor.process.stdin.close()
    else:
        thread.join(60)
        executor.__exit__()
    wait_until(lambda: not [1 for number in below_it if os.path.exists("/proc/%d" % number) and
                          open("/proc/%d/stat" % number).read().rpartition(")")[2].split()[0] not in "ZX"], "processes are left")


def test_a_checkpoint_that_somebody_ended_costs_only_itself(pyexec, nothing_left):
    with started(pyexec, AUTO) as executor:
        for i in range(3):
            executor.call("s", "import os\nx = %d" % i)
        own = executor.call("s", "os.getpid()", checkpoint=False)["last_value_repr"]
        newest = max((int(status["NSpid"].split()[-1]), number) for number, status in family_of(executor).items() if status["NSpid"].split()[-1] != own)
        os.kill(newest[1], signal.SIGKILL)
        wait_until(lambda: newest[1] not in family_of(executor), "the process lives")
        with pytest.raises(Failure, match="ended from outside"):
            executor.undo("s")
        assert executor.call("s", "x", checkpoint=False)["last_value_repr"] == "2"
        assert executor.undo("s", 2) == 2 and executor.call("s", "x", checkpoint=False)["last_value_repr"] == "0"


def test_limits_are_as_before_after_undos(pyexec, nothing_left):
    with started(pyexec, {**AUTO, "max_threads": 3, "max_open_files": 5, "cpu_time_seconds": 1}) as executor:
        executor.call("s", NATIVE + "def fill():\n    stop, made = threading.Event(), []\n    try:\n        while True:\n"
                      "            made.append(threading.Thread(target=stop.wait)); made[-1].start()\n    except RuntimeError: made.pop()\n"
                      "    stop.set()\n    for t in made: t.join()\n    return len(made)\n")
        for i in range(6):
            executor.call("s", "x = %d" % i)
            executor.undo("s")
            executor.call("s", "y = %d" % i)
            def filled():       # the kernel counts processes that were killed until they are taken down
                count = value(executor, "s", "fill()")
                assert count <= 3
                return count == 3
            wait_until(filled, "the session has fewer threads")
        assert value(executor, "s", "files = []\ntry:\n    while len(files) < 99: files.append(os.dup(1))\nexcept OSError: pass\nlen(files)") == 5
        assert executor.call("s", "while True: pass", timeout_ms=60_000)["status"] == "cpu_limit"


def test_branches_and_undos_of_one_family(pyexec, nothing_left):
    with started(pyexec, {**FILES, "auto_checkpoint": True, "max_threads": 3}) as executor:
        executor.call("s", "x = 1\nopen('f', 'w').write('1')")
        executor.call("s", "x = 2\nopen('f', 'w').write('2')")
        assert executor.fork("s", "a") == ["a"]
        assert executor.undo("s") == 2
        with pytest.raises(Failure, match="no checkpoint"):
            executor.undo("a")      # a branch begins without checkpoints
        executor.call("a", "x = 3\nopen('f', 'w').write('3')")
        assert executor.fork("s", "b") == ["b"]
        assert executor.undo("a") == 3
        look = "(x, open('f').read())"
        assert [value(executor, name, look) for name in ("s", "a", "b")] == [(1, "1"), (2, "2"), (1, "1")]
        executor.close("s")
        executor.call("a", "x = 5")
        assert executor.undo("a") in (3, 4) and value(executor, "b", look) == (1, "1")


# ---- Attacks ----

def test_no_checkpoint_is_made_without_the_host(any_pyexec, nothing_left):
    with started(any_pyexec, FILES) as executor:
        executor.call("s", NATIVE + "cell = ctypes.c_long()")
        keep(executor, "s", "pass")
        flags = [CHECKPOINT_FLAGS, CHECKPOINT_FLAGS | 17, 0x00008000, CHECKPOINT_FLAGS | 1 << 32, CHECKPOINT_FLAGS | 0x20000, BRANCH_FLAGS,
                 CHECKPOINT_FLAGS | 0x10000000]
        code = "[sc(%d, f, 0, 0, ctypes.addressof(cell), ctypes.addressof(cell), 0) for f in %r]" % (CLONE, flags)
        assert value(executor, "s", code) == [-1] * len(flags)
        executor.undo("s")
        assert value(executor, "s", code) == [-1] * len(flags)


@pytest.mark.parametrize("asked, flags", [("fork", CHECKPOINT_FLAGS), ("checkpoint", BRANCH_FLAGS)])
def test_the_other_kind_of_clone_does_not_pass(pyexec, nothing_left, asked, flags):
    with started(pyexec) as executor:
        executor.call("s", NATIVE + "cell, made = ctypes.c_long(), []\ndef steal():\n"
                      "    made.append(sc(%d, %d, 0, 0, ctypes.addressof(cell), ctypes.addressof(cell), 0))\n"
                      "os.register_at_fork(before=steal)" % (CLONE, flags))
        executor.fork("s", "a") if asked == "fork" else keep(executor, "s", "pass")
        assert value(executor, "s", "made") == [-1]


@pytest.mark.parametrize("keeps, words", [
    ("", "folder"),
    ("libc.chdir(b'/')", "descriptors"),
    ("libc.chdir(b'/'); os.closerange(4, 500); threading.Thread(target=time.sleep, args=(60,), daemon=True).start()", "layers"),
])
def test_a_checkpoint_that_keeps_something_is_ended(any_pyexec, nothing_left, keeps, words):
    with started(any_pyexec) as executor:
        executor.call("s", NATIVE + "cell = ctypes.c_long()\nr, w = os.pipe()\ndef steal():\n    if %s == 0:\n        %s\n        %s\n"
                      "        while True: time.sleep(1)\n    time.sleep(0.5)\nos.register_at_fork(before=steal)" % (CLONED, keeps or "pass", REPORT))
        with pytest.raises(Failure, match="session_not_forkable.*" + words):
            executor.call("s", "1", checkpoint=True)
        assert [item["id"] for item in executor.sessions()] in (["s"], [])


@pytest.mark.parametrize("asked, flags", [("fork", BRANCH_FLAGS), ("checkpoint", CHECKPOINT_FLAGS)])
def test_a_clone_that_does_not_report_itself_is_ended(pyexec, nothing_left, asked, flags):
    with started(pyexec) as executor:
        executor.call("s", NATIVE + "cell = ctypes.c_long()\ndef steal():\n    if sc(%d, %d, 0, 0, ctypes.addressof(cell), ctypes.addressof(cell), 0) == 0:\n"
                      "        while True: time.sleep(1)\nos.register_at_fork(before=steal)" % (CLONE, flags))
        before = len(family_of(executor))
        with pytest.raises(Failure, match="session_not_forkable"):
            executor.fork("s", "a") if asked == "fork" else executor.call("s", "1", checkpoint=True)
        wait_until(lambda: len(family_of(executor)) <= before, "the thief lives")


def test_the_session_can_not_reach_its_checkpoints(any_pyexec, nothing_left):
    """They share a user namespace. Their numbers are known, and no call tells that they exist."""
    with started(any_pyexec, FILES) as executor:
        executor.call("s", NATIVE + "secret = 'as before'")
        keep(executor, "s", "secret = 'changed'")
        numbers = [int(status["NSpid"].split()[-1]) for status in family_of(executor).values()]
        own = value(executor, "s", "os.getpid()")
        others = [number for number in numbers if number != own] + [max(numbers) + 1000]
        assert len(others) == 3
        code = "[[os_call(p) for p in %r] for os_call in (lambda p: sc(%%d, p, 0), lambda p: sc(%%d, p, 9), lambda p: sc(%%d, p))]" % others
        answers = value(executor, "s", code % ((62, 62, 121) if os.uname().machine == "x86_64" else (129, 129, 155)))
        assert all(set(row) == {-1} for row in answers), answers
        executor.undo("s")
        assert value(executor, "s", "secret") == "as before"


# ---- Any sequence ----

CELLS = [
    "n += 1", "words.append(len(words))", "words.clear()", "def f(): return n * 10", "class K: value = n", "words = words[::-1]",
    "open('f%d' % (n % 3), 'a').write('x' * n)", "os.path.exists('f1') and os.remove('f1')", "os.makedirs('d/%d' % n, exist_ok=True)",
    "open('f0', 'w').write(str(words))", "n = n * 3 % 17", "seen = [next(counter) for _ in range(3)]", "1 / 0", "random.random()",
]
STATE = ("(n, words, f() if 'f' in globals() else None, K.value if 'K' in globals() else None, seen, random.getstate()[1][:5], repr(counter),"
         " sorted((p, open(p).read() if os.path.isfile(p) else None) for b, ds, fs in os.walk('.') for p in [b + '/' + x for x in ds + fs]))")
START = "import os, random, itertools, signal\nrandom.seed(3)\nn, words, seen, counter = 1, [], None, itertools.count()"
FATAL = ["os.kill(os.getpid(), signal.SIGKILL)", "os._exit(3)", "os.abort()"]


@pytest.mark.parametrize("seed", range(4))
def test_any_sequence_is_the_same_as_a_replay_without_what_was_undone(pyexec, nothing_left, seed):
    chance = random.Random(seed)
    with started(pyexec, {**AUTO, "max_checkpoints": 5}) as executor:
        executor.call("s", START, checkpoint=False)
        done, kept = [], []     # the cells in force; for each checkpoint the number of cells before it
        for _ in range(60):
            what = chance.random()
            if what < 0.2 and kept:
                at = chance.randrange(len(kept))
                assert executor.undo("s", kept[at] + 2) == kept[at] + 2
                done, kept = done[:kept[at]], kept[:at]
            elif what < 0.3:
                result = executor.call("s", chance.choice(CELLS) + "\nopen('half', 'w').write('h')\n" + chance.choice(FATAL))
                assert result["session"]["restored"] == {"to": len(done) + 2, "why": result["status"]}, result
                kept = [one for one in kept if one != len(done)][-5:]
            else:
                cell, wanted = chance.choice(CELLS), chance.random() < 0.7
                executor.call("s", cell, checkpoint=wanted)
                if wanted:
                    kept = (kept + [len(done)])[-5:]
                done.append(cell)
        executor.call("replay", START, checkpoint=False)
        for cell in done:
            executor.call("replay", cell, checkpoint=False)
        assert value(executor, "s", STATE, checkpoint=False) == value(executor, "replay", STATE, checkpoint=False)

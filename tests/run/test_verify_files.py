# SPDX-License-Identifier: Apache-2.0
"""Tests of verify with files (docs/security.md, Templates of tests): each test of a template has a workspace of its own, in a mount namespace
that it shares with its template and the next test. What a test, or code in the template itself, tries to leave there or to keep of it; and
that templates and branches give the same answers."""
import contextlib
import os
import random
import signal
import threading

import pytest

from library import Executor, Failure
from test_branches import MIXED, NATIVE, below, started
from test_verify_templates import CLONE, HOOK, LANE, OPEN, descriptors, verdicts
from waiting import wait_until

FILES = dict(OPEN, disable_open=False, max_threads=5)
READ = dict(FILES, allow_readonly_open=True)
HOME = "/workspace/solution"

LOOK = NATIVE + '''
import array, fcntl, mmap, shutil, socket
HOME = os.getcwd()
def look():
    """All that can be seen of the workspace but the times of changes, which nobody can choose."""
    seen, free = [HOME, os.umask(0o22)], os.statvfs(HOME)
    for top, folders, files in os.walk(HOME):
        folders.sort()
        for name in [top, *(os.path.join(top, name) for name in sorted(folders + files))]:
            status = os.lstat(name)
            content = open(name, "rb").read() if os.path.isfile(name) else os.readlink(name) if os.path.islink(name) else ""
            seen.append((name, status.st_ino, status.st_mode, status.st_nlink, status.st_size, 0 if os.path.islink(name) else status.st_mtime_ns, content))
    folder = os.open(HOME, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        locked = False
    except OSError:
        locked = True
    os.close(folder)
    return repr([seen, free.f_bfree, free.f_ffree, locked])
def threads(most):
    stop = threading.Event()
    for i in range(most):
        try: threading.Thread(target=stop.wait, daemon=True).start()
        except RuntimeError: return i
    return most
'''
OWN = '''
if not os.path.exists("own"):
    with open("own", "w") as file: file.write("own" * 2000)
    os.mkdir("folder")
    os.chmod("folder", 0o750)
    os.link("own", "folder/again")
    os.symlink("own", "name")
    for name in ("own", "folder", HOME): os.utime(name, (1, 1))
'''
LEAVES = LOOK + OWN + '''
DEEDS = """
number = os.open("own", os.O_RDWR)
fcntl.lockf(number, fcntl.LOCK_EX)
shared = mmap.mmap(number, 6000)
shared[:4] = b"%04d" % n
os.pwrite(number, b"left", 100)
hidden = os.open("hidden", os.O_CREAT | os.O_RDWR)
os.write(hidden, b"x" * 1000000)
os.unlink("hidden")
folder = os.open(HOME, os.O_RDONLY)
fcntl.flock(folder, fcntl.LOCK_EX)
one, two = socket.socketpair()
one.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [one.fileno(), two.fileno(), folder, hidden, number]))])
two.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [one.fileno(), two.fileno()]))])
os.link("own", "linked%d" % n)
os.symlink("/", "symlink%d" % n)
os.makedirs("a/b/c/d")
for i in range(n * 10): open("a/b/%d" % i, "w").close()
os.rename("folder", "moved")
os.chmod("a", 0)
os.utime(HOME, (0, 0))
os.chmod(HOME, 0o311)
os.chdir("moved")
threading.Thread(target=lambda: [os.pwrite(number, b"z", 9) for _ in iter(int, 1)], daemon=True).start()
"""
def leave(n):
    """Descriptors in flight in a circle (sendmsg) outlive their process for a moment. The guard refuses some of all this."""
    names = dict(globals(), n=n)
    for deed in DEEDS.strip().splitlines():
        try: exec(deed, names)
        except (OSError, NameError): pass
    return len(names)
'''


@pytest.mark.parametrize("kind", ["call", "code", "stdin"])
def test_a_test_finds_the_files_of_the_solution_and_nothing_of_the_test_before(any_pyexec, nothing_left, kind):
    tests = [{"call": {"call": "f", "args": [n], "expect": ""}, "code": {"code": "print(f(%d))" % n}, "stdin": {"stdin": str(n), "expect_stdout": ""}}[kind]
             for n in range(8)]
    solution = LEAVES + '''
def f(n):
    seen = look()
    if leave(n) < 8: return "nothing left"
    return "%s %d" % (seen, threads(100))
''' + ("print(f(int(input())))" if kind == "stdin" else "")
    with started(any_pyexec, FILES, host=LANE) as executor:
        answer = executor.verify(solution, tests, output_bytes=100_000)
        seen = {test["value"] if kind == "call" else test["stdout"].strip() for test in answer["tests"]}
        assert len(seen) == 1, (answer["tests"][0]["error"], seen)
        assert "ownown" in (found := seen.pop()) and found.endswith(", False] 4"), found


@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_each_test_lists_the_files_in_the_order_of_the_solution(any_pyexec, nothing_left, count):
    solution = "import os\n" + MIXED + "mix(%d)\nbefore = listed()\ndef f(n):\n    after = listed()\n    open('left%%d' %% n, 'w').close()\n    return repr((before == after, len(after)))" % count
    with started(any_pyexec, FILES, host=LANE) as executor:
        answer = executor.verify(solution, [{"call": "f", "args": [n], "expect": ""} for n in range(5)], files={"b": "given", "a": "given"})
        values = {test["value"] for test in answer["tests"]}
        assert len(values) == 1 and values.pop().startswith("(True, "), answer


def test_a_solution_that_may_only_read_has_the_same_files_in_each_test(any_pyexec, nothing_left):
    solution = LOOK + '''
def f(n):
    refused = []
    for deed in (lambda: open("data", "a"), lambda: open("new", "w"), lambda: os.unlink("data"), lambda: os.chmod("data", 0), lambda: os.utime("data")):
        try: deed()
        except OSError: refused.append(1)
    return look() + repr(refused)
'''
    with started(any_pyexec, READ, host=LANE) as executor:
        answer = executor.verify(solution, [{"call": "f", "args": [n], "expect": ""} for n in range(6)], files={"data": "given"}, output_bytes=100_000)
        seen = {test["value"] for test in answer["tests"]}
        assert len(seen) == 1, (answer["tests"][0]["error"], seen)
        assert "given" in (found := seen.pop()) and found.endswith("[1, 1, 1, 1, 1]"), found


@pytest.mark.parametrize("deed, words", [
    ("1", None),
    ("libc.open(b'/workspace/solution/own', os.O_RDWR)", "kept descriptors"), ("libc.open(b'/workspace/solution', os.O_RDONLY)", "kept descriptors"),
    ("libc.open(b'/workspace/solution', os.O_PATH)", "kept descriptors"), ("libc.chdir(b'/workspace/solution')", "kept a folder"),
    ("libc.chdir(b'/workspace')", "kept a folder"), ("keep(1)", "mapping"), ("keep(2)", None)])
def test_a_template_that_would_share_files_with_its_tests_makes_none(pyexec, nothing_left, deed, words):
    """keep(1) is a shared mapping of a file in the template's workspace, keep(2) a private one: no test can write to that file."""
    solution = LOOK + OWN + HOOK[len(NATIVE):] % deed + '''
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
at = None
def keep(flags):
    global at
    file = os.open(HOME + "/own", os.O_RDWR)
    at = libc.mmap(None, 4096, 3 if flags == 1 else 1, flags, file, 0)
    os.close(file)
def f(n):
    seen = ctypes.string_at(at, 6).decode() if at else "ownown"
    with open("own", "r+") as file: file.write("%06d" % n)
    return seen + open("own").read()[:6]
'''
    with started(pyexec, FILES, host=LANE) as executor:
        answer = executor.verify(solution, [{"call": "f", "args": [n], "expect": "ownown%06d" % n} for n in range(5)], each={"timeout_ms": 2000})
        assert set(verdicts(answer)) == ({"error"} if words else {"pass"}), answer["tests"][0]
        assert not words or words in answer["tests"][0]["error"]["message"], answer["tests"][0]["error"]


# The template calls clone again and again. Native code in it can also run between two of these calls, after the end of a test: this one replaces
# the entry of syscall() in the table of the module that makes the call (elf(5)).
BETWEEN = '''
log, at_path = [], None
prototype = ctypes.PYFUNCTYPE(ctypes.c_long, *[ctypes.c_long] * 7)
class Info(ctypes.Structure):
    _fields_ = [("base", ctypes.c_ulong), ("name", ctypes.c_char_p), ("headers", ctypes.c_void_p), ("count", ctypes.c_ushort)]
modules = []
@ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(Info), ctypes.c_size_t, ctypes.c_void_p)
def note(info, size, data):
    modules.append((info[0].base, info[0].name, info[0].headers, info[0].count))
    return 0
libc.dl_iterate_phdr(note, None)
def words(address, form): return struct.unpack(form, ctypes.string_at(address, struct.calcsize(form)))
def slots(module, symbol):
    base, name, headers, count = module
    dynamic = [words(headers + 56 * i, "<IIQQQQQQ") for i in range(count)]
    where = [base + header[3] for header in dynamic if header[0] == 2]
    if not where or name == b"linux-vdso.so.1" or b"vdso" in name: return
    table, at = {}, where[0]
    while True:
        tag, value = words(at, "<qQ")
        if tag == 0: break
        table[tag] = value
        at += 16
    for start, size in ((23, 2), (7, 8)):
        for i in range(table.get(size, 0) // 24 if start in table else 0):
            offset, info, _ = words(table[start] + 24 * i, "<QQq")
            if info & 0xffffffff in (6, 7):
                string, *_ = words(table[6] + 24 * (info >> 32), "<I")
                if ctypes.string_at(table[5] + string) == symbol: yield base + offset
real = ctypes.cast(libc.syscall, ctypes.c_void_p).value
call = ctypes.PYFUNCTYPE(ctypes.c_long, *[ctypes.c_long] * 7)(real)
@prototype
def instead(number, *arguments):
    if number == %d:
        try: log.append([sorted(os.listdir(HOME)), open(HOME + "/own").read(6)])
        except BaseException as error: log.append(repr(error))
    return call(number, *arguments)
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
replaced = 0
def replace():
    global replaced
    for module in modules:
        if b"libc.so" in module[1]: continue
        for slot in slots(module, b"syscall"):
            libc.mprotect(slot & -4096, 4096, 3)
            ctypes.c_void_p.from_address(slot).value = ctypes.cast(instead, ctypes.c_void_p).value
            replaced += 1
''' % CLONE


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the test reads the tables of modules for x86-64")
def test_code_in_the_template_between_two_tests_finds_nothing_of_them(pyexec, nothing_left):
    solution = LOOK + OWN + BETWEEN + '''
forks = 0
def hook():
    global forks
    forks += 1
    if forks == 2: replace()
os.register_at_fork(before=hook)
def f(n):
    with open("own", "w") as file: file.write("%06d" % n)
    open("left%d" % n, "w").close()
    return repr([replaced > 0, len(log), [entry for entry in log if entry != [["folder", "name", "own"], "ownown"]]])
'''
    with started(pyexec, dict(FILES, timeout_ms=20_000), host=LANE) as executor:
        answer = executor.verify(solution, [{"call": "f", "args": [n], "expect": ""} for n in range(6)])
        # Each test has seen one clone more: the code ran between the two.
        assert [test["value"] for test in answer["tests"]] == ["[True, %d, []]" % (n + 1) for n in range(6)], answer["tests"]


def operations(chance, count):
    """Lines of code that work with files, of which some raise OSError."""
    names = ["a", "b", "d/a", "d/e/b", "given", "d", "d/e", "new"]
    makes = ["open(%r, 'w').write(%r * %d)", "open(%r, 'a').write(%r * %d)", "open(%r, 'r+').truncate(len(%r) * %d)"]
    pairs = ["os.rename(%r, %r)", "os.link(%r, %r)", "os.symlink(%r, %r)", "shutil.copy(%r, %r)"]
    singles = ["os.unlink(%r)", "os.mkdir(%r)", "os.rmdir(%r)", "os.chmod(%r, 0o500)", "os.chmod(%r, 0o700)", "os.utime(%r, (5, 5))", "remove(%r)"]
    for _ in range(count):
        which = chance.random()
        if which < 0.5:
            yield chance.choice(makes) % (chance.choice(names), chance.choice("xyz"), chance.choice([0, 1, 5000, 70_000]))
        elif which < 0.75:
            yield chance.choice(pairs) % (chance.choice(names), chance.choice(names))
        else:
            yield chance.choice(singles) % chance.choice(names)


STATE = '''
import hashlib, os, shutil
def remove(top):
    for name in sorted(os.listdir(top)):        # the order of shutil.rmtree() is that of the file system, and decides where an error stops it
        name = os.path.join(top, name)
        if os.path.isdir(name) and not os.path.islink(name): remove(name)
        else: os.unlink(name)
    os.rmdir(top)
def do(lines):
    done = []
    for line in lines:
        try: done.append(repr(exec(line)))
        except OSError as error: done.append(error.errno)
    return done
def state():
    found = []
    for top, folders, files in os.walk("/workspace/solution"):
        folders.sort()
        for name in sorted(folders + files):
            name = os.path.join(top, name)
            status = os.lstat(name)
            content = os.readlink(name) if os.path.islink(name) else ""
            if os.path.isfile(name) and not content:
                try: content = hashlib.sha256(open(name, "rb").read()).hexdigest()
                except OSError as error: content = error.errno
            found.append([name, oct(status.st_mode), status.st_nlink, status.st_size if not os.path.isdir(name) else 0, content])
    return found
def f(*lines): return [state(), do(lines), state()]
'''


def test_templates_and_branches_give_the_same_answers(own, nothing_left):
    """Random files, and tests that change them at random: all tests in one verify, which has templates, and each in a verify of its own."""
    seed = int.from_bytes(os.urandom(4), "little")
    print("seed", seed)
    chance = random.Random(seed)
    with Executor(dict(FILES, workspace_bytes=1 << 20), program=own.path) as executor:
        for _ in range(6 if "PYEXEC_NIGHTLY" not in os.environ else 100):
            solution = STATE + "os.makedirs('d/e')\ndo(%r)\n" % list(operations(chance, 12))
            tests = [{"call": "f", "args": list(operations(chance, 8)), "expect": None} for _ in range(20)]
            request = {"files": {"given": "g" * chance.randrange(9000)}, "output_bytes": 1 << 16}

            def shown(test):
                return test["verdict"], test["value"], test["stdout"], test["error"]
            together = [shown(test) for test in executor.verify(solution, tests, **request)["tests"]]
            alone = [shown(executor.verify(solution, [test], **request)["tests"][0]) for test in tests]
            assert together == alone and all(verdict == "wrong" for verdict, *_ in alone)


def processes(executor):
    return len(below(executor.pid))


def test_hundreds_of_tests_with_files_leave_nothing(own, nothing_left):
    tests = [{"call": "f", "args": [n], "expect": n} for n in range(600)]
    solution = "def f(n):\n    open('new', 'w').write('x' * 5000)\n    return n"
    with Executor(FILES, program=own.path) as executor:
        executor.verify(solution, tests[:60])
        wait_until(lambda: processes(executor) <= 8, "processes are left")
        before = descriptors(executor)
        assert executor.verify(solution, tests, files={"data": "x" * 50_000})["passed"]
        wait_until(lambda: processes(executor) <= 8, "processes are left")
        wait_until(lambda: descriptors(executor) <= before + 8, "descriptors are left")


def mounts_of(pid):
    try:
        return os.readlink("/proc/%d/ns/mnt" % pid)
    except OSError:
        return pid


@pytest.mark.skipif(os.getuid() != 0, reason="only root sees another user's processes")
@pytest.mark.parametrize("which", range(2))
def test_a_verify_whose_files_are_attached_by_nobody_ends_and_leaves_nothing(pyexec, nothing_left, which):
    """Kills the process that attaches the workspaces of the tests of a template, while they run."""
    with started(pyexec, FILES) as executor:
        executor.verify("def f(n): return n", [{"call": "f", "args": [n], "expect": n} for n in range(12)])
        answers = []

        def verify():
            try:
                answers.append(executor.verify("import time\ndef f(n):\n    time.sleep(0.05)\n    return n",
                                               [{"call": "f", "args": [n], "expect": n} for n in range(60)]))
            except Failure as failure:
                answers.append(failure)

        def found():
            """Processes of the supervisor's PID namespace in the mount namespace of a process that is one below."""
            depths = {pid: len(status["NSpid"].split()) for pid, status in below(executor.pid).items()}
            deepest = max(depths.values())
            inside = {mounts_of(pid) for pid, depth in depths.items() if depth == deepest >= 3}
            return [pid for pid, depth in sorted(depths.items()) if depth < deepest and mounts_of(pid) in inside]
        thread = threading.Thread(target=verify)
        thread.start()
        seen = []
        wait_until(lambda: seen.append(found()) or len(seen[-1]) > which or not thread.is_alive(), "no such process")
        assert seen[-1][which] > 1
        with contextlib.suppress(ProcessLookupError):       # the verify has ended meanwhile
            os.kill(seen[-1][which], signal.SIGKILL)
        thread.join()
        if not isinstance(answers[0], Failure):
            assert set(verdicts(answers[0])) <= {"pass", "error"}
        assert executor.verify("def f(n): return n", [{"call": "f", "args": [n], "expect": n} for n in range(12)])["passed"]
        wait_until(lambda: processes(executor) <= 8, "processes are left")

"""Forks of a session (docs/branches.md): what a branch has, and that it is as far from its source and its siblings as another
session. The attacks are native code (ctypes) with the guard off."""
import concurrent.futures
import os
import threading

import pytest

from library import Executor, Failure
from waiting import wait_until

# Limits that suffice for native code on an emulated machine too.
OPEN = {"timeout_ms": 120000, "cpu_time_seconds": 60, "forkable": True, "use_import_whitelist": False, "banned_imports": [], "block_dunder_imports": False}
NATIVE = """
import ctypes, errno, os, signal, struct, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def sc(number, *arguments):
    result = libc.syscall(ctypes.c_long(number), *[a if isinstance(a, (bytes, ctypes.Array)) else ctypes.c_long(a) for a in arguments])
    return -ctypes.get_errno() if result == -1 else result
"""
BRANCH_FLAGS = 0x00008000 | 0x10000000 | 0x00020000 | 0x01000000 | 0x00200000
X86 = os.uname().machine == "x86_64"
KILL, TGKILL, TKILL, CLONE, CAPSET, CAPGET = (62, 234, 200, 56, 126, 125) if X86 else (129, 131, 130, 220, 91, 90)
GETPGID = 121 if X86 else 155


def started(program, policy=OPEN, **keywords):
    """An executor of this program, as its user."""
    if program.uid != os.getuid():
        keywords.update(user=program.uid, group=program.uid, extra_groups=[])
    return Executor(policy, program=program.path, cwd="/", **keywords)


@pytest.fixture
def family(any_pyexec, nothing_left):
    """A session with native code at hand, and two branches."""
    with started(any_pyexec) as executor:
        executor.call("source", NATIVE)
        executor.fork("source", "one", "two")
        yield executor


def below(pid):
    """What /proc/PID/status says about each process below this one, by its id."""
    found, more = {}, {pid}
    everything = {}
    for name in os.listdir("/proc"):
        try:
            with open("/proc/%s/status" % name) as file:
                everything[int(name)] = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        except (OSError, ValueError):
            pass        # not a process, or it has ended
    while more:
        more = {number for number, status in everything.items() if int(status["PPid"]) in more}
        found.update((number, everything[number]) for number in more)
    return found


def value(executor, session, code, **request):
    result = executor.call(session, code, **request)
    assert result["status"] == "ok", (result["status"], result["error_repr"], result["stderr"])
    return eval(result["last_value_repr"], {})


def test_a_branch_has_the_state_of_its_source_and_goes_its_own_way(pyexec, nothing_left):
    with started(pyexec) as executor:
        executor.call("s", "import random\nitems = [1, 2]\nclass C: x = 1\nc = C()\ndef f(): return len(items)\nrandom.seed(1)")
        first = executor.fork("s", "a", "b")
        assert first == ["a", "b"]
        assert value(executor, "a", "items.append(3); c.x = 5; (f(), c.x)") == (3, 5)
        assert value(executor, "b", "(f(), c.x)") == (2, 1)
        assert value(executor, "s", "(f(), c.x)") == (2, 1)
        assert executor.fork("a", "a.a") == ["a.a"]
        assert value(executor, "a.a", "items") == [1, 2, 3]
        assert executor.call("a.a", "1 / 0")["error"]["traceback"].startswith("Traceback")
        assert executor.call("a", "items")["session"] == {"id": "a", "created": False, "restarted": None, "execution_count": 3, "restored": None, "no_checkpoint": None}
        made = executor.fork("s")
        assert len(made) == 1 and made[0].startswith("s.") and value(executor, made[0], "items") == [1, 2]


def test_generators_are_seeded_anew(pyexec, nothing_left):
    with started(pyexec) as executor:
        executor.call("s", "import random, uuid, ssl\nrandom.seed(7)")
        executor.fork("s", "a", "b")
        drawn = [value(executor, name, "random.random(), str(uuid.uuid4()), ssl.RAND_bytes(8)") for name in ("s", "a", "b")]
        assert all(len(set(column)) == 3 for column in zip(*drawn))


def test_the_end_of_one_changes_nothing_for_the_others(pyexec, nothing_left):
    with started(pyexec) as executor:
        executor.call("s", "x = 1\nimport os, signal")
        executor.fork("s", "a", "b", "c", "d")
        executor.fork("a", "a.a")
        assert executor.call("a", "os.kill(os.getpid(), signal.SIGKILL)")["status"] == "killed"
        assert executor.call("b", "while True: pass", timeout_ms=300)["status"] == "timeout"
        executor.close("s")
        executor.close("c")
        assert value(executor, "d", "x") == value(executor, "b", "x") == value(executor, "a.a", "x") == 1
        assert executor.fork("d", "d.d") == ["d.d"] and value(executor, "d.d", "x") == 1
        assert {item["id"] for item in executor.sessions()} == {"a.a", "b", "d", "d.d"}


def test_limits_are_the_branchs_own(pyexec, nothing_left):
    with started(pyexec, {**OPEN, "max_threads": 3, "cpu_time_seconds": 1, "max_open_files": 5, "timeout_ms": 60000}) as executor:
        executor.call("s", NATIVE + "\nstop = threading.Event()\n"
                      "def fill():\n    made = []\n    try:\n        while True:\n            t = threading.Thread(target=stop.wait)\n"
                      "            t.start()\n            made.append(t)\n    except RuntimeError: pass\n    return len(made)\n")
        for i in range(8):     # more than all of them together could be with one limit
            executor.fork("s", "b%d" % i)
        executor.fork("b0", "deep")
        assert [value(executor, name, "fill()") for name in ("b1", "deep", "b7")] == [3, 3, 3]
        assert value(executor, "b0", "fill()") in range(3, 7)       # docs/security.md: it has one branch, whose limit it shares
        assert value(executor, "b5", "import resource\nresource.getrlimit(resource.RLIMIT_NPROC)[0]") == 4
        assert executor.call("b2", "while True: pass")["status"] == "cpu_limit"
        assert value(executor, "b3", "files = []\ntry:\n    while len(files) < 99: files.append(os.dup(1))\nexcept OSError: pass\nlen(files)") == 5
        for name in ("b0", "b1", "deep", "b7"):
            executor.call(name, "stop.set()")
        assert value(executor, "b0", "1") == 1


def test_sessions_are_counted_and_the_oldest_idle_one_makes_room(own, nothing_left):
    with Executor(OPEN, session={"max_count": 3}) as executor:
        executor.call("other", "1")
        executor.call("s", "1")
        executor.fork("s", "a")
        executor.fork("s", "b")
        assert {item["id"] for item in executor.sessions()} == {"s", "a", "b"}
        with pytest.raises(Failure) as failure:
            executor.fork("s", "c", "d", "e", "f")
        assert failure.value.code == "session_limit" and "max_count=3" in failure.value.message and "fewer branches" in failure.value.hint


@pytest.mark.parametrize("code, words", [
    ("import threading\nt = threading.Thread(target=threading.Event().wait, daemon=True)\nt.start()", ["2 threads", "join"]),
])
def test_what_can_not_be_forked_says_why(own, nothing_left, code, words):
    with Executor(OPEN) as executor:
        executor.call("s", code)
        with pytest.raises(Failure) as failure:
            executor.fork("s", "a")
        assert failure.value.code == "session_not_forkable"
        assert all(word in failure.value.message + failure.value.hint for word in words)
        assert value(executor, "s", "1 + 1") == 2
        assert [item["id"] for item in executor.sessions()] == ["s"]


def test_refused_requests_say_why(own, nothing_left):
    with Executor({**OPEN, "forkable": False}) as executor:
        executor.call("plain", "1")
        with pytest.raises(Failure, match="session_not_forkable.*forkable: true"):
            executor.fork("plain", "a")
        with pytest.raises(Failure, match="session_not_found"):
            executor.fork("nobody", "a")
        executor.call("s", "import time", policy={"forkable": True})
        with pytest.raises(Failure, match="invalid_request.*already a session 'plain'"):
            executor.fork("s", "ok", "plain")
        with pytest.raises(Failure, match="invalid_request.*can't be a session's id"):
            executor.fork("s", "a/b")
        with pytest.raises(Failure, match="invalid_request.*ids: 'a b'"):
            executor.fork("s", "a b")
        with pytest.raises(Failure, match="invalid_request.*ids: 'twice' is given twice"):
            executor.fork("s", "twice", "other", "twice")
        assert {item["id"] for item in executor.sessions()} == {"plain", "s"}


def test_a_session_with_a_call_is_busy(own, nothing_left):
    with Executor(OPEN) as executor:
        executor.call("s", "import time")
        call = threading.Thread(target=executor.call, args=("s", "time.sleep(2)"), kwargs={"timeout_ms": 5000})
        call.start()
        wait_until(lambda: any(item["busy"] for item in executor.sessions()), "the call has not begun")
        with pytest.raises(Failure, match="session_busy"):
            executor.fork("s", "a")
        call.join()
        assert executor.fork("s", "a") == ["a"]


def test_a_chain_of_forks_ends_with_a_message(own, nothing_left):
    with Executor(OPEN, session={"max_count": 0}) as executor:
        executor.call("0", "depth = 0")
        for depth in range(1, 29):
            executor.fork(str(depth - 1), str(depth))
            assert value(executor, str(depth), "depth += 1; depth") == depth
        with pytest.raises(Failure, match="session_not_forkable.*28"):
            executor.fork("28", "29")
        assert value(executor, "28", "depth") == 28


def test_two_hundred_forks_leave_nothing(own, nothing_left):
    with Executor(OPEN, session={"max_count": 0}) as executor:
        executor.call("s", "x = list(range(1000))")
        before = len(os.listdir("/proc/%d/fd" % executor.pid))
        for i in range(200):
            executor.fork("s", "b")
            assert value(executor, "b", "len(x)") == 1000
            executor.close("b")
        wait_until(lambda: len(os.listdir("/proc/%d/fd" % executor.pid)) <= before + 2, "descriptors are left")


# ---- Files ----

FILES = {**OPEN, "disable_open": False}


@pytest.fixture
def with_files(pyexec, nothing_left):
    with started(pyexec, FILES) as executor:
        executor.call("s", NATIVE)
        yield executor


def test_the_workspace_is_copied_as_it_is(with_files):
    made = ("os.mkdir('d'); os.mkdir('d/empty')\nopen('a.txt', 'w').write('one')\nos.link('a.txt', 'd/same')\nos.symlink('../a.txt', 'd/link')\n"
            "with open('sparse', 'wb') as file: file.write(b'x'); file.seek(40_000_000); file.write(b'y')\n"
            "os.chmod('a.txt', 0o640); os.utime('a.txt', (1000, 2000)); open('locked', 'w').write('secret'); os.chmod('locked', 0); os.chmod('d/empty', 0)")
    seen = ("sorted(os.listdir('.')), sorted(os.listdir('d')), open('d/same').read(), os.stat('a.txt').st_nlink, os.readlink('d/link'), "
            "os.stat('sparse').st_size, os.stat('sparse').st_blocks < 1000, oct(os.stat('a.txt').st_mode), os.stat('a.txt').st_mtime, "
            "oct(os.stat('locked').st_mode), oct(os.stat('d/empty').st_mode), os.getcwd()")
    with_files.call("s", made)
    with_files.fork("s", "a")
    with_files.fork("a", "a.a")
    first = value(with_files, "s", seen)
    assert first[2:7] == ("one", 2, "../a.txt", 40_000_001, True) and first[-1] == "/tmp/s"
    assert value(with_files, "a", seen) == value(with_files, "a.a", seen) == first
    assert value(with_files, "a.a", "os.chmod('locked', 0o600); open('locked').read()") == "secret"


# Files, links and folders, some of which are renamed or removed, as the order depends on that too.
MIXED = """
def listed(top='.'): return [(folder, os.listdir(folder)) for folder, _, _ in sorted(os.walk(top))]
def mix(count):
    for folder in ('.', './d', './d/e'):
        os.makedirs(folder, exist_ok=True)
        for i in range(count):
            name = '%s/%d' % (folder, i * 7919 % 1000)
            [lambda: open(name, 'w').close(), lambda: os.symlink('x', name), lambda: os.mkdir(name)][i % 3]()
        if count > 5:
            os.rename(folder + '/0', folder + '/renamed'); os.unlink(folder + '/919'); os.link(folder + '/renamed', folder + '/again')
"""


@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_a_branch_lists_its_files_in_the_order_of_its_source(with_files, count):
    with_files.call("s", MIXED + "mix(%d)" % count)
    before = value(with_files, "s", "listed()")
    with_files.fork("s", "a")
    with_files.fork("a", "a.a")
    assert len(dict(before)["./d/e"]) == count
    assert value(with_files, "a", "listed()") == value(with_files, "a.a", "listed()") == value(with_files, "s", "listed()") == before


def test_files_of_branches_go_their_own_way(with_files):
    with_files.call("s", "open('a', 'w').write('s')\nopened = open('a', 'r+')")
    with_files.fork("s", "a", "b")
    with_files.call("a", "open('a', 'w').write('from a'); open('new', 'w').write('n'); os.mkdir('d'); os.rename('new', 'd/new')")
    with_files.call("s", "opened.write('S'); opened.flush(); open('later', 'w').write('l')")
    with_files.write_file("b", "by_host", b"hb")
    contents = [(item["path"], with_files.read_file(name, item["path"])) for name in ("s", "a", "b") for item in with_files.list_files(name)]
    assert contents == [("a", b"S"), ("later", b"l"), ("a", b"from a"), ("d/new", b"n"), ("a", b"s"), ("by_host", b"hb")]
    assert value(with_files, "b", "open('by_host').read(), sorted(os.listdir('/tmp/s'))") == ("hb", ["a", "by_host"])
    # What was open belongs to the source alone.
    assert value(with_files, "a", "try: os.pread(opened.fileno(), 9, 0)\nexcept OSError as e: x = e.errno\nx") == 9
    result = with_files.call("a", "open('z', 'w').write('z')")
    assert [(item["path"], item["change"]) for item in result["files"]] == [("z", "created")]


def test_open_files_and_folders_do_not_prevent_a_fork_of_the_branch(with_files):
    """A branch has O_PATH descriptors in their place, and a source may have such descriptors too."""
    with_files.call("s", "files = [open('a', 'w'), os.open('.', os.O_PATH), os.open('.', os.O_RDONLY), os.dup(1)]")
    for source, branch in (("s", "a"), ("a", "a.a"), ("a.a", "a.a.a")):
        assert with_files.fork(source, branch) == [branch]
        assert value(with_files, branch, "try: files[0].write('x'); files[0].flush()\nexcept OSError as e: x = e.errno\nx") == 9
        assert value(with_files, branch, "os.path.exists('a'), [sc(%d, file, 0, 0) for file in files[1:]]" % (217 if X86 else 61)) == (True, [-9] * 3)


def test_each_branch_has_the_whole_quota(pyexec, nothing_left):
    with started(pyexec, {**FILES, "workspace_bytes": 4 << 20}) as executor:
        executor.call("s", "open('mine', 'wb').write(bytes(2 << 20))")
        executor.fork("s", "a", "b")
        fill = "n = 0\ntry:\n    with open('more', 'wb', buffering=0) as file:\n        while n < 99: n += file.write(bytes(65536)) // 65536\nexcept OSError as e: print(e.errno)\nn"
        assert [value(executor, name, fill) in (31, 32) for name in ("a", "b", "s")] == [True] * 3


def test_a_read_only_workspace_stays_read_only(pyexec, nothing_left):
    with started(pyexec, {**FILES, "allow_readonly_open": True}) as executor:
        executor.call("s", NATIVE)
        executor.write_file("s", "given", b"1")
        executor.fork("s", "a")
        executor.write_file("a", "given", b"2")
        assert value(executor, "a", "open('given').read()") == "2" and value(executor, "s", "open('given').read()") == "1"
        flags = os.O_WRONLY | os.O_CREAT
        assert value(executor, "a", "[sc(%d, -100, name, %d, 0o600) for name in (b'new', b'given')]" % (257 if X86 else 56, flags)) == [-30, -30]


def test_native_code_writes_only_to_its_own_workspace(any_pyexec, nothing_left):
    """In a family the Landlock rule is for the folder above the workspace, whose mount is read-only."""
    with started(any_pyexec, FILES) as executor:
        executor.call("s", NATIVE)
        executor.fork("s", "a")
        for name in ("s", "a"):
            tried = "[sc(%d, -100, path, %d, 0o600) for path in (b'/tmp/x', b'/x', b'/tmp/s/../x', b'/usr/x', b'/dev/x')]" % (
                257 if X86 else 56, os.O_WRONLY | os.O_CREAT)
            assert all(answer in (-1, -2, -13, -30) for answer in value(executor, name, tried))
            assert value(executor, name, "sc(%d, -100, b'own-%s', %d, 0o600) >= 0" % (257 if X86 else 56, name, os.O_WRONLY | os.O_CREAT)) is True
        assert value(executor, "s", "sorted(os.listdir('/tmp/s'))") == ["own-s"]
        assert value(executor, "a", "sorted(os.listdir('/tmp/s'))") == ["own-a"]


def test_a_mapped_file_prevents_the_fork(with_files):
    with_files.call("s", "import mmap\nopen('a', 'wb').write(bytes(8192))\nfile = open('a', 'r+b')")
    for access in ("ACCESS_WRITE", "ACCESS_READ", "ACCESS_COPY"):
        with_files.call("s", "m = mmap.mmap(file.fileno(), 0, access=mmap.%s)" % access)
        with pytest.raises(Failure, match="session_not_forkable.*/tmp/s/a.*mmap.close"):
            with_files.fork("s", "a")
        with_files.call("s", "m.close()")
    assert with_files.fork("s", "a") == ["a"]


def test_the_name_of_a_mapped_file_can_be_anything(with_files):
    result = with_files.call("s", "import mmap\nname = '\\x1b[31m\\n\\x7f\\u00e4\"'\nfile = open(name, 'w+b')\nfile.write(bytes(99))\nfile.flush()\n"
                             "m = mmap.mmap(file.fileno(), 0)")
    assert result["status"] == "ok", result
    with pytest.raises(Failure, match="session_not_forkable.*/tmp/s/"):
        with_files.fork("s", "a")


def test_a_source_that_starts_threads_while_its_limit_is_high_is_ended(any_pyexec, nothing_left):
    """While it is cloned, the limit of its threads is high, so that its branch can have branches."""
    with started(any_pyexec, {**OPEN, "max_threads": 2}) as executor:
        executor.call("s", NATIVE + "made = []\ndef start():\n    for i in range(20):\n        made.append(threading.Thread(target=time.sleep, args=(60,), daemon=True))\n        made[-1].start()\n"
                      "os.register_at_fork(before=start)")
        with pytest.raises(Failure, match="session_not_forkable"):
            executor.fork("s", "a")
        wait_until(lambda: executor.sessions() == [], "the session lives")


# ---- Attacks ----

def everyone(executor):
    """The process ids of all of them, as they see themselves; the process of the family is 1."""
    return {name: value(executor, name, "os.getpid()") for name in ("source", "one", "two")}


def test_nobody_can_be_signalled_or_found(family):
    ids = everyone(family)
    assert len(set(ids.values())) == 3 and 1 not in ids.values()
    absent = max(ids.values()) + 1000
    for name, own in ids.items():
        others = [1, *[other for other in ids.values() if other != own]]
        answers = value(family, name, "[[sc(n, p, *more) for p in %r] for n, more in "
                        "[(%d, (9,)), (%d, (9,)), (%d, (0,)), (%d, ())]]" % (others + [absent], KILL, TKILL, KILL, GETPGID))
        assert answers == [[-1] * 4] * 4                                              # EPERM, whether it exists or not
        assert value(family, name, "[sc(%d, p, 9) for p in %r]" % (KILL, [0, -1, -own, *[-p for p in others], -absent, 1 << 31, (1 << 32) - 1])) == [-1] * 9
        assert value(family, name, "[sc(%d, p, p, 9) for p in %r]" % (TGKILL, others + [absent])) == [-1] * 4
        assert value(family, name, "[sc(%d, %d, p, 9) for p in %r]" % (TGKILL, own, others)) == [-3] * 3   # no thread of its own
    assert everyone(family) == ids


def test_signals_to_oneself_work(family):
    code = ("got = []\nsignal.signal(signal.SIGUSR1, lambda *a: got.append(a[0]))\n"
            "os.kill(os.getpid(), signal.SIGUSR1)\nsignal.raise_signal(signal.SIGUSR1)\n"
            "signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)\n"
            "t = threading.Thread(target=lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1))\nt.start(); t.join()\n(len(got), 'musl' in sys.implementation._multiarch)")
    for name in ("source", "one"):
        count, musl = value(family, name, code)
        assert count == (3 if musl else 4), name       # musl names no process when it signals a thread, so only the thread itself is let through
    assert value(family, "one", "os.getpgid(os.getpid()) == os.getpgrp(), len(os.sched_getaffinity(os.getpid())) > 0") == (True, True)
    assert family.call("two", "os.abort()")["status"] == "crashed"
    assert value(family, "one", "1") == 1


def test_each_process_knows_the_id_of_its_thread(pyexec, nothing_left):
    """The C library keeps it. The sessions begin at the same time, so some are the first that their zygote makes."""
    names = ["s%d" % i for i in range(8)]
    code = NATIVE + "got = []\nsignal.signal(signal.SIGUSR1, lambda *a: got.append(a[0]))\n"
    with started(pyexec) as executor, concurrent.futures.ThreadPoolExecutor(len(names)) as threads:
        list(threads.map(lambda name: executor.call(name, code), names))
        for name in names:
            executor.fork(name, name + "a")
        for name in names + [name + "a" for name in names]:
            assert value(executor, name, "signal.pthread_kill(threading.get_ident(), signal.SIGUSR1); len(got)") == 1


# Every call that the filter allows and that takes the id of a process or a thread, with an argument list for it. The last
# value of each pair of answers is for an id that nobody has: both must be equal.
NAMING = """
def cpu_clock(pid): return (~pid) << 3 | 2
buffer = ctypes.create_string_buffer(4096)
lock = ctypes.c_uint32()
def owned(pid, operation):
    lock.value = pid
    timeout = struct.pack('qq', int(time.time()), 200_000_000)
    return sc(FUTEX, ctypes.addressof(lock), operation, 0, ctypes.c_char_p(timeout).value and ctypes.addressof(ctypes.create_string_buffer(timeout, 16)), 0, 0)
def capget(pid):
    header = struct.pack('Ii', 0x20080522, pid)
    return sc(CAPGET, ctypes.create_string_buffer(header, 8), buffer)
calls = {
    'kill': lambda p: sc(KILL, p, 0), 'tkill': lambda p: sc(TKILL, p, 0), 'tgkill': lambda p: sc(TGKILL, p, p, 0),
    'getpgid': os_error(lambda p: os.getpgid(p)), 'getsid': os_error(lambda p: os.getsid(p)),
    'getpriority': os_error(lambda p: os.getpriority(os.PRIO_PROCESS, p)),
    'getpriority group': os_error(lambda p: os.getpriority(os.PRIO_PGRP, p)),
    'affinity': os_error(lambda p: os.sched_getaffinity(p)), 'scheduler': os_error(lambda p: os.sched_getscheduler(p)),
    'param': os_error(lambda p: os.sched_getparam(p)), 'interval': os_error(lambda p: os.sched_rr_get_interval(p)),
    'attr': lambda p: sc(ATTR, p, buffer, 64, 0),
    'clock': os_error(lambda p: time.clock_gettime(cpu_clock(p))), 'resolution': os_error(lambda p: time.clock_getres(cpu_clock(p))),
    'thread clock': os_error(lambda p: time.clock_gettime(cpu_clock(p) | 4)),
    'nanosleep': lambda p: sc(NANOSLEEP, cpu_clock(p), 0, ctypes.create_string_buffer(16), 0),
    'prlimit': lambda p: sc(PRLIMIT, p, 7, 0, buffer), 'capget': capget,
    'wait': os_error(lambda p: os.waitpid(p, os.WNOHANG)), 'waitid': os_error(lambda p: os.waitid(os.P_PID, p, os.WNOHANG | os.WEXITED)),
    'futex': lambda p: owned(p, 6), 'futex try': lambda p: owned(p, 8), 'futex 2': lambda p: owned(p, 13),
    'priority set': os_error(lambda p: os.setpriority(os.PRIO_PROCESS, p, 19)), 'ioprio': lambda p: sc(IOPRIO, 1, p),
    'robust list': lambda p: sc(ROBUST, p, buffer, buffer), 'pidfd': lambda p: sc(434, p, 0),
    'setpgid': os_error(lambda p: os.setpgid(0, p)),
}
"""
NUMBERS = dict(zip(("KILL", "TKILL", "TGKILL", "ATTR", "NANOSLEEP", "PRLIMIT", "CAPGET", "FUTEX", "IOPRIO", "ROBUST"),
                   (62, 200, 234, 315, 230, 302, 125, 202, 252, 274) if X86 else (129, 130, 131, 275, 115, 261, 90, 98, 31, 100)))
HELPER = ("def os_error(call):\n    def tried(p):\n        try: return repr(call(p))\n        except OSError as e: return -e.errno\n    return tried\n"
          + "".join("%s = %d\n" % item for item in NUMBERS.items()))


def test_no_call_tells_whether_another_exists(family):
    ids = everyone(family)
    for name, own in ids.items():
        family.call(name, HELPER + NAMING)
        others = [1, *[other for other in ids.values() if other != own]]
        answers = value(family, name, "{key: [call(p) for p in %r] for key, call in calls.items()}" % (others + [max(ids.values()) + 77_000],))
        assert {key: found for key, found in answers.items() if len(set(found)) != 1} == {}
    assert everyone(family) == ids


def test_no_process_is_made_without_the_host(family):
    flags = [BRANCH_FLAGS, BRANCH_FLAGS | 17, BRANCH_FLAGS & ~0x10000000, BRANCH_FLAGS & ~0x00008000, 0x10000000 | 17, 17, 0x00008000,
             BRANCH_FLAGS | 0x20000000, BRANCH_FLAGS | 1 << 32]
    code = "[sc(%d, f, 0, 0, ctypes.addressof(cell), ctypes.addressof(cell), 0) for f in %r]" % (CLONE, flags)
    for name in ("source", "one"):
        assert value(family, name, "cell = ctypes.c_long()\n" + code) == [-1] * len(flags)
        assert value(family, name, "sc(435, ctypes.create_string_buffer(88), 88)") == -38
    everyone(family)


def test_a_flood_of_questions_keeps_only_its_own_time(family):
    """Three threads ask as fast as they can. The family's process must still serve the others."""
    family.call("one", "def flood():\n    end = time.monotonic() + 1.5\n    while time.monotonic() < end: sc(%d, %d, 0, 0, 0, 0, 0); sc(%d, 1, 9)\n"
                       "threads = [threading.Thread(target=flood) for _ in range(3)]\nfor t in threads: t.start()" % (CLONE, BRANCH_FLAGS, KILL))
    assert family.fork("two", "three") == ["three"]
    assert value(family, "three", "os.kill(os.getpid(), 0); 1") == 1
    assert value(family, "one", "for t in threads: t.join()\n1", policy={"timeout_ms": 20_000, "cpu_time_seconds": 20}) == 1


def test_no_capability_is_left_and_none_can_be_had(family):
    """All sets are empty, and capset() can fill none of them."""
    code = ("header = ctypes.create_string_buffer(struct.pack('Ii', 0x20080522, 0), 8)\n"
            "full = ctypes.create_string_buffer(b'\\xff' * 24, 24)\n"
            "one = ctypes.create_string_buffer(struct.pack('IIIIII', 1 << 21, 1 << 21, 0, 0, 0, 0), 24)\n"
            "[sc(%d, header, data) for data in (full, one)]" % CAPSET)
    for name in ("source", "one", "two"):
        assert value(family, name, code) == [-1, -1]
    members = set(everyone(family).values())
    statuses = below(family.pid)
    depth = max(len(status["NSpid"].split()) for status in statuses.values())       # only they are in the family's namespace
    found = [status for status in statuses.values() if len(status["NSpid"].split()) == depth and int(status["NSpid"].split()[-1]) in members]
    assert len(found) == 3
    for status in found:
        assert [int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")] == [0] * 4
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


ADMINISTRATORS = [
    "sc(SETNS, 3, 0)", "sc(UNSHARE, 0x10000000)", "sc(MOUNT, b'none', b'/', 0, 0x44000, 0)", "sc(UMOUNT, b'/', 2)", "sc(CHROOT, b'/')",
    "sc(PTRACE, 16, 1, 0, 0)", "sc(VM_READ, 1, buffer, 1, buffer, 1, 0)", "sc(BPF, 0, 0, 0)",
]


def test_calls_of_administrators_end_a_branch(family):
    numbers = dict(zip(("SETNS", "UNSHARE", "MOUNT", "UMOUNT", "CHROOT", "PTRACE", "VM_READ", "BPF"),
                       (308, 272, 165, 166, 161, 101, 310, 321) if X86 else (268, 97, 40, 39, 51, 117, 270, 280)))
    code = "buffer = ctypes.create_string_buffer(64)\n" + "".join("%s = %d\n" % item for item in numbers.items())
    for number, attack in enumerate(ADMINISTRATORS):
        family.fork("one", "attacker-%d" % number)
        assert family.call("attacker-%d" % number, code + attack)["status"] == "crashed", attack
    assert value(family, "one", "1") == value(family, "two", "1") == value(family, "source", "1") == 1


def test_descriptors_of_the_source_lead_nowhere(any_pyexec, nothing_left):
    with started(any_pyexec) as executor:
        executor.call("s", NATIVE + "import socket\nleft, right = socket.socketpair()\nr, w = os.pipe()\n")
        executor.fork("s", "a", "b")
        code = ("answers = []\nfor call in (lambda: left.send(b'x'), lambda: os.write(w, b'x'), lambda: os.read(r, 1), \n"
                "             lambda: os.fstat(w).st_mode >> 12):\n    try: answers.append(call())\n    except OSError as e: answers.append(-e.errno)\nanswers")
        assert value(executor, "a", code)[:3] == [-9, -9, -9]
        assert value(executor, "b", code)[:3] == [-9, -9, -9]
        assert value(executor, "s", "right.setblocking(False)\ntry: right.recv(9)\nexcept BlockingIOError: x = 'nothing'\nx") == "nothing"
        # A new descriptor never gets the number of one that an object of the script still has.
        assert value(executor, "a", "new = os.dup(1)\nnew in (left.fileno(), right.fileno(), r, w)") is False
        assert value(executor, "a", "left.close(); os.close(w); new = os.pipe(); os.write(new[1], b'y'); os.read(new[0], 1)") == b"y"


def test_output_and_input_are_the_branchs_own(pyexec, nothing_left):
    with started(pyexec) as executor:
        executor.call("s", "import sys\nsaved = sys.stdout", stdin="first")
        executor.fork("s", "a")
        assert executor.call("a", "print('from a', file=saved)\nsys.stdin.read()", stdin="for a")["stdout"] == "from a\n"
        result = executor.call("s", "print('from s', file=saved)\nsys.stdin.read()")
        assert (result["stdout"], result["last_value_repr"]) == ("from s\n", "''")
        assert executor.call("a", "sys.stdin.read()")["last_value_repr"] == "''"


# A source whose native code changes how it is forked: it keeps what the host must not let a branch keep. It replaces the guest's calls
# by hooks of os.register_at_fork, which run before and after the clone, and by clones of its own while the host waits for one.
def test_a_source_that_clones_itself_twice_makes_one_branch(any_pyexec, nothing_left):
    """`before` runs when the host has allowed one clone. The script takes it itself, and keeps everything."""
    with started(any_pyexec) as executor:
        executor.call("s", NATIVE + "cell = ctypes.c_long()\nmade = []\ndef steal():\n"
                      "    made.append(sc(%d, %d, 0, 0, ctypes.addressof(cell), ctypes.addressof(cell), 0))\n"
                      "    if made[-1] == 0:\n        while True: time.sleep(1)\n"
                      "os.register_at_fork(before=steal)" % (CLONE, BRANCH_FLAGS))
        with pytest.raises(Failure, match="session_not_forkable"):
            executor.fork("s", "a")
        assert [item["id"] for item in executor.sessions()] in (["s"], [])


@pytest.mark.parametrize("keep, words", [
    ("", "capabilities"),
    ("drop()", "folder"),
    ("drop(); libc.chdir(b'/')", "descriptors"),
])
def test_a_branch_that_keeps_something_is_ended(any_pyexec, nothing_left, keep, words):
    """The script clones itself with the host's permission, reports the branch, and keeps its capabilities or descriptors."""
    with started(any_pyexec) as executor:
        executor.call("s", NATIVE + "cell = ctypes.c_long()\nr, w = os.pipe()\n"
                      "def drop():\n    sc(%d, ctypes.create_string_buffer(struct.pack('Ii', 0x20080522, 0), 8), ctypes.create_string_buffer(24))\n"
                      "def steal():\n    if sc(%d, %d, 0, 0, ctypes.addressof(cell), ctypes.addressof(cell), 0) == 0:\n        %s\n"
                      "        sc(%d, -1)\n        while True: time.sleep(1)\n    time.sleep(1)\n"
                      "os.register_at_fork(before=steal)" % (CAPSET, CLONE, BRANCH_FLAGS, keep.strip() or "pass", GETPGID))
        with pytest.raises(Failure, match="session_not_forkable.*" + words):
            executor.fork("s", "a")
        assert [item["id"] for item in executor.sessions()] in (["s"], [])


def test_another_process_can_not_pretend_to_be_the_branch(any_pyexec, nothing_left):
    """A sibling reports itself again and again while another session is forked; it must never get the new descriptors."""
    with started(any_pyexec) as executor:
        executor.call("s", NATIVE)
        executor.fork("s", "thief")
        executor.call("thief", "got = []\ndef steal():\n    end = time.monotonic() + 2\n    while time.monotonic() < end: got.append(sc(%d, -1))\n"
                      "t = threading.Thread(target=steal)\nt.start()" % GETPGID)
        for i in range(10):
            executor.fork("s", "b%d" % i)
            assert value(executor, "b%d" % i, "1 + 1") == 2
        assert value(executor, "thief", "t.join()\nset(got)", policy={"timeout_ms": 20_000, "cpu_time_seconds": 20}) == {-1}


def test_when_the_program_is_killed_the_family_ends(pyexec, nothing_left):
    """The fixture fails the test when a process is left."""
    executor = started(pyexec)
    executor.call("s", "1")
    executor.fork("s", "a", "b")
    family = below(executor.pid)
    executor.process.kill()
    executor.process.wait(20)
    wait_until(lambda: not any(os.path.exists("/proc/%d" % pid) for pid in family), "processes of the family are left")

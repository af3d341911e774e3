# SPDX-License-Identifier: Apache-2.0
"""A matrix between the members of a family: the source, two branches, and a branch of a branch. Native code in each tries to reach each
other one. Each attack comes from code that was in the source before the fork, so all have the same addresses, objects and numbers of
descriptors. More of signals and clones: test_branches.py; sources that cheat in a fork: test_branch_attacks.py."""
import os

import pytest

from conftest import is_alive
from test_branch_listener import host_pid
from test_branches import HELPER, KILL, NAMING, NATIVE, OPEN, TGKILL, TKILL, X86, started, value
from waiting import wait_until

MEMBERS = ("s", "one", "two", "one.one")
SHARED = """
import array, fcntl, json, mmap, select, socket
CALLS = dict(zip(('kill', 'tgkill', 'tkill', 'rt_sigqueueinfo', 'rt_tgsigqueueinfo', 'pidfd_open', 'setpriority', 'ioprio_set', 'sched_setaffinity',
                  'sched_setscheduler', 'setpgid', 'robust', 'prlimit'), %r))
received = []
for number in range(1, 65):
    if number not in (signal.SIGKILL, signal.SIGSTOP, signal.SIGSYS, 32, 33):
        try: signal.signal(number, lambda number, frame: received.append(number))
        except (OSError, ValueError): pass
info = ctypes.create_string_buffer(128)

def signals(pid):
    'Each way to send a signal to this process; 0 and more is a success.'
    answers = {}
    for number in (0, signal.SIGUSR1, signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP, 40):
        answers.update({'kill %%d' %% number: sc(CALLS['kill'], pid, number), 'group %%d' %% number: sc(CALLS['kill'], -pid, number),
                        'tkill %%d' %% number: sc(CALLS['tkill'], pid, number), 'tgkill %%d' %% number: sc(CALLS['tgkill'], pid, pid, number),
                        'own group, other thread %%d' %% number: sc(CALLS['tgkill'], os.getpid(), pid, number),
                        'any group %%d' %% number: sc(CALLS['tgkill'], -1, pid, number),
                        'rt_sigqueueinfo %%d' %% number: sc(CALLS['rt_sigqueueinfo'], pid, number, info),
                        'rt_tgsigqueueinfo %%d' %% number: sc(CALLS['rt_tgsigqueueinfo'], pid, pid, number, info),
                        'high bits %%d' %% number: sc(CALLS['kill'], pid | 1 << 32, number)})
    for command, argument in ((8, pid), (8, -pid), (15, struct.pack('ii', 1, pid)), (10, 40), (1024, 0), (1026, 1)):   # F_SETOWN, F_SETOWN_EX, F_SETSIG, F_SETLEASE, F_NOTIFY
        left, right = socket.socketpair()
        answers['fcntl %%d' %% command] = sc(%d, left.fileno(), command, ctypes.create_string_buffer(argument, 8) if isinstance(argument, bytes) else argument)
        flags = fcntl.fcntl(left, fcntl.F_GETFL)
        try: fcntl.fcntl(left, fcntl.F_SETFL, flags | 0x2000)    # O_ASYNC: whoever owns the descriptor gets SIGIO
        except OSError: pass
        right.send(b'x'); left.close(); right.close()
    answers['pidfd'] = sc(CALLS['pidfd_open'], pid, 0)
    return answers

def changes(pid):
    'Each way to change something of this process.'
    return {'priority': sc(CALLS['setpriority'], 0, pid, 19), 'group': sc(CALLS['setpriority'], 1, pid, 19), 'user': sc(CALLS['setpriority'], 2, 0, 19),
            'io': sc(CALLS['ioprio_set'], 1, pid, 3 << 13), 'affinity': sc(CALLS['sched_setaffinity'], pid, 8, ctypes.create_string_buffer(b'\\1', 8)),
            'scheduler': sc(CALLS['sched_setscheduler'], pid, 3, ctypes.create_string_buffer(8)), 'group of': sc(CALLS['setpgid'], pid, pid),
            'limit': sc(CALLS['prlimit'], pid, 7, ctypes.create_string_buffer(struct.pack('QQ', 1, 1), 16), 0)}
""" % ((KILL, TGKILL, TKILL, *((129, 297, 434, 141, 251, 203, 144, 109, 274, 302) if X86 else (138, 240, 434, 140, 30, 122, 119, 154, 100, 261))), 72 if X86 else 25)


@pytest.fixture(params=["bare", "network"])
def family(request, any_pyexec, nothing_left):
    policy = {**OPEN, "disable_open": False, "max_open_files": 64, "max_threads": 4, "timeout_ms": 30_000, "cpu_time_seconds": 30}
    with started(any_pyexec, {**policy, "disable_networking": request.param == "bare"}) as executor:
        executor.call("s", NATIVE + HELPER + NAMING + SHARED)
        executor.fork("s", "one", "two")
        executor.fork("one", "one.one")
        executor.network = request.param == "network"
        yield executor


@pytest.fixture
def quiet(any_pyexec, nothing_left):
    """The same without network, for what has nothing to do with it."""
    policy = {**OPEN, "disable_open": False, "max_open_files": 64, "max_threads": 4, "timeout_ms": 30_000, "cpu_time_seconds": 30}
    with started(any_pyexec, policy) as executor:
        executor.call("s", NATIVE + HELPER + NAMING + SHARED)
        yield executor


def forked(executor):
    executor.fork("s", "one", "two")
    executor.fork("one", "one.one")
    return {name: value(executor, name, "os.getpid()") for name in MEMBERS}


def test_no_member_reaches_another_by_its_number(quiet):
    ids = forked(quiet)
    assert len(set(ids.values())) == 4
    absent = max(ids.values()) + 50_000
    for attacker, own in ids.items():
        others = [1, *(pid for pid in ids.values() if pid != own)]
        for what in ("signals", "changes"):
            *found, nobody = value(quiet, attacker, "[%s(p) for p in %r]" % (what, others + [absent]))
            for answers in found:
                assert all(answer < 0 for answer in answers.values()), answers
                assert answers == nobody        # nothing tells that it exists
        answers = value(quiet, attacker, "{key: [call(p) for p in %r] for key, call in calls.items()}" % (others + [absent],))
        assert {key: found for key, found in answers.items() if len(set(found)) != 1} == {}
    assert {name: value(quiet, name, "os.getpid(), received") for name in MEMBERS} == {name: (pid, []) for name, pid in ids.items()}


def test_nobody_is_a_parent_or_waits_for_another(quiet):
    """A clone for a branch makes it a child of pyexec, not of its source; what it used is not added to its source's times."""
    ids = forked(quiet)
    quiet.call("one", "end = time.process_time() + 0.3\nwhile time.process_time() < end: pass")
    quiet.close("one"), quiet.close("two")
    code = ("import resource\nanswers = []\nfor call in (lambda: os.wait(), lambda: os.waitpid(-1, os.WNOHANG | 0x40000000), lambda: os.waitpid(-1, os.WNOHANG | 0x80000000 - (1 << 32)),\n"
            "             lambda: os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG), lambda: os.waitid(os.P_PGID, 0, os.WEXITED | os.WNOHANG)):\n"
            "    try: answers.append(call())\n    except OSError as e: answers.append(-e.errno)\n"
            "answers, resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime, os.times()[2:4], received, os.getppid()")
    for name in ("s", "one.one"):
        answers, used, times, received, parent = value(quiet, name, code)
        assert set(answers) == {-10} and used == 0 and times == (0.0, 0.0) and received == [] and parent == 0, (name, answers, parent)
    assert ids["one.one"] == value(quiet, "one.one", "os.getpid()")


DESCRIPTORS = """
import tempfile
opened = {'file': os.open('kept', os.O_RDWR | os.O_CREAT), 'folder': os.open('.', os.O_RDONLY), 'path': os.open('.', os.O_PATH)}
try: opened['library'] = os.open(os.__file__, os.O_RDONLY)
except OSError: pass     # the guard's refusal
opened['pipe out'], opened['pipe in'] = os.pipe()
pair = socket.socketpair()
opened['left'], opened['right'] = pair[0].fileno(), pair[1].fileno()
flying = socket.socketpair()
flying[0].sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [opened['file'], opened['pipe in'], opened['left']]))])
opened['flying'] = flying[1].fileno()
opened['event'] = libc.eventfd(5, 0)
opened['timer'] = libc.timerfd_create(1, 0)
poller = select.epoll(); poller.register(opened['right'], select.EPOLLIN)
opened['epoll'] = poller.fileno()
opened['high'] = os.dup2(opened['file'], 60)
os.write(opened['file'], b'of the source'); os.write(opened['pipe in'], b'of the source')
def touch(fd):
    answers = []
    for call in (lambda: os.read(fd, 9), lambda: os.write(fd, b'x'), lambda: os.pread(fd, 9, 0), lambda: os.ftruncate(fd, 0), lambda: os.fsync(fd),
                 lambda: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB), lambda: fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB),
                 lambda: len(mmap.mmap(fd, 4096, mmap.MAP_PRIVATE)), lambda: socket.socket(fileno=os.dup(fd)).recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT),
                 lambda: os.listdir(fd), lambda: select.epoll.fromfd(os.dup(fd)).poll(0), lambda: os.sendfile(1, fd, 0, 5), lambda: os.fchmod(fd, 0o777),
                 lambda: os.utime(fd, (1, 1))):
        try: answers.append(call())
        except OSError as e: answers.append(-e.errno)
        except Exception: answers.append(-1)       # the guard's refusal
    return answers
def beside(fd):
    'What is found at a path below it.'
    answers = []
    for path in ('kept', 'tmp/s/kept', '../tmp/s/kept', '../../s/kept', '.'):
        try: answers.append(os.stat(path, dir_fd=fd).st_ino)
        except OSError as e: answers.append(-e.errno)
    return answers
"""


def test_descriptors_of_each_kind_are_nothing_in_the_others(quiet):
    assert value(quiet, "s", DESCRIPTORS + "1") == 1
    forked(quiet)
    mine = value(quiet, "s", "[os.stat(name).st_ino for name in ('kept', '.')]")
    for name in MEMBERS[1:]:
        answers = value(quiet, name, "{key: touch(fd) for key, fd in opened.items()}")
        for key, found in answers.items():
            # the folder in which nothing can be opened: an O_PATH descriptor of the root
            assert all(isinstance(answer, int) and answer < 0 for answer in found), (name, key, found)
        inodes = value(quiet, name, "[inode for fd in opened.values() for inode in beside(fd)]")
        assert not set(mine) & {inode for inode in inodes if inode > 0} or value(quiet, name, "os.stat('.').st_ino") in mine
    assert value(quiet, "s", "os.pread(opened['file'], 99, 0), os.read(opened['pipe out'], 99), os.read(opened['event'], 8)[0], os.stat('kept').st_mode & 0o077") == (
        b"of the source", b"of the source", 5, 0)
    kept = value(quiet, "s", "data, rights, *_ = flying[1].recvmsg(9, 999)\nlen(rights)")
    assert kept == 1


def test_locks_and_leases_of_one_are_not_those_of_another(quiet):
    """The files are copies; the source's descriptors and so its open file descriptions are not in the branch."""
    lock = ("held = os.open('locked', os.O_RDWR | os.O_CREAT)\nfcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
            "fcntl.fcntl(held, %d, struct.pack('hhqqixxxx', fcntl.F_WRLCK, 0, 0, 10, 0))\nother = os.open('locked', os.O_RDWR)\n"
            "fcntl.lockf(other, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 20)\n" % fcntl_number("F_OFD_SETLK"))
    look = ("found = struct.unpack('hhqqixxxx', fcntl.fcntl(os.open('locked', os.O_RDWR), fcntl.F_GETLK, struct.pack('hhqqixxxx', fcntl.F_WRLCK, 0, 0, 0, 0)))\nfound[0] == fcntl.F_UNLCK")
    assert value(quiet, "s", lock + "1") == 1
    forked(quiet)
    for name in MEMBERS[1:]:
        assert value(quiet, name, look) is True
        assert value(quiet, name, lock + "1") == 1
    assert value(quiet, "two", "leases = [sc(%d, held, 1024, kind) for kind in (0, 1)]\nleases" % (72 if X86 else 25)) == [-1, -1]


def fcntl_number(name):
    return {"F_OFD_SETLK": 37}[name]


def test_memory_goes_its_own_way_and_wakes_nobody(quiet):
    """The same addresses, with different content. A futex of anonymous memory, private or not, is one for each process."""
    futex = 202 if X86 else 98
    quiet.call("s", "word = ctypes.c_uint32(7)\nbig = ctypes.create_string_buffer(b'source', 1 << 20)\nwhere = ctypes.addressof(word), ctypes.addressof(big)\n"
               "late = struct.pack('qq', 0, 100_000_000)\nwake = lambda: [sc(%d, where[0], op, 1000) for op in (1, 1 | 128)]\n"
               "sleep = lambda op: sc(%d, where[0], op, 7, ctypes.create_string_buffer(late, 16))\n" % (futex, futex))
    forked(quiet)
    for name in MEMBERS[1:]:
        assert value(quiet, name, "big.value = %r\nword.value = 7\nwhere == (ctypes.addressof(word), ctypes.addressof(big))" % name.encode()) is True
    assert [value(quiet, name, "big.value") for name in MEMBERS] == [b"source", *(name.encode() for name in MEMBERS[1:])]
    sleepers = "threads = [threading.Thread(target=lambda op=op: woken.append(sc(%d, where[0], op, 7, ctypes.create_string_buffer(struct.pack('qq', 1, 0), 16)))) for op in (0, 128)]\n" % futex
    for sleeper, others in (("s", ("one", "two", "one.one")), ("one", ("s", "one.one"))):
        quiet.call(sleeper, "woken = []\n" + sleepers + "for t in threads: t.start()")
        assert all(value(quiet, name, "wake()") == [0, 0] for name in others)
        assert value(quiet, sleeper, "for t in threads: t.join()\nwoken") == [-110, -110]
    refused = "answers = []\nfor flags in (mmap.MAP_SHARED, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS):\n    try: answers.append(mmap.mmap(-1, 4096, flags))\n    except OSError as e: answers.append(-e.errno)\nanswers"
    assert value(quiet, "two", refused) == [-1, -1]


def test_names_of_sockets_and_system_v_are_nobodys(family):
    """Without network no socket has a name. With it, an abstract name can be bound by one socket of a pair (docs/security.md, Known
    limits), and an address of loopback by one member, as by any two runs with network."""
    ids = {name: value(family, name, "os.getpid()") for name in MEMBERS}
    code = ("answers = []\nfor family_, address in ((socket.AF_UNIX, '\\0name'), (socket.AF_UNIX, '/tmp/s/socket'), (socket.AF_INET, ('127.0.0.1', 0))):\n"
            "    try:\n        s = socket.socket(family_); s.bind(address); answers.append(0)\n    except Exception as e: answers.append(-1)\n"
            "    try:\n        left, right = socket.socketpair(); left.bind(address); answers.append(0)\n    except Exception: answers.append(-1)\n"
            "answers + [sc(n, 99, 0, 0) for n in %r]" % ((29, 64, 68) if X86 else (194, 190, 186),))
    for name in ids:
        *sockets, internet, _, shm, sem, msg = value(family, name, code)
        assert [shm, sem, msg] == [-1] * 3 and all(answer < 0 for answer in sockets)
        assert (internet == 0) == family.network


def test_readers_of_other_processes_end_the_branch_that_calls_them_alone(quiet):
    ids = forked(quiet)
    numbers = {"process_vm_readv": 310, "process_vm_writev": 311, "ptrace": 101, "kcmp": 312, "pidfd_getfd": 438, "process_madvise": 440} if X86 else \
        {"process_vm_readv": 270, "process_vm_writev": 271, "ptrace": 117, "kcmp": 272, "pidfd_getfd": 438, "process_madvise": 440}
    for number, (name, call) in enumerate(numbers.items()):
        victim = list(ids.values())[number % 4]
        quiet.fork("two", "attacker")
        assert quiet.call("attacker", "sc(%d, %d, %d, info, 1, info, 1)" % (call, victim, victim))["status"] == "crashed", name
        wait_until(lambda: "attacker" not in {item["id"] for item in quiet.sessions()}, "it lives")
    assert {name: value(quiet, name, "os.getpid()") for name in MEMBERS} == ids


def test_queued_signals_of_one_are_not_counted_for_another(quiet):
    """The kernel counts them in the user namespaces above too, so a member that could queue many would be seen by the others."""
    quiet.call("s", "import resource\ndef queue(n):\n    return [sc(%d, os.getpid(), threading.get_native_id(), n) for _ in range(400)]\n" % TGKILL +
               "def facts():\n    'What the kernel tells about a signal to oneself: its sender, which is lost at the limit.'\n"
               "    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})\n    signal.pthread_kill(threading.get_ident(), signal.SIGUSR2)\n"
               "    got = signal.sigwaitinfo({signal.SIGUSR2})\n    return got.si_code, got.si_pid == os.getpid()\n"
               "lowered = []\nfor limit in (1, 0):\n    try: lowered.append(resource.setrlimit(resource.RLIMIT_SIGPENDING, (limit, limit)))\n    except (OSError, ValueError) as e: lowered.append(type(e).__name__)\n"
               "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\n")
    forked(quiet)
    assert value(quiet, "s", "lowered") == ["PermissionError"] * 2 or value(quiet, "s", "lowered") == ["ValueError"] * 2
    for name in MEMBERS:
        assert value(quiet, name, "[set(queue(n)) for n in (34, 50, 64)]") == [{-1}] * 3      # not one can be queued
        assert value(quiet, name, "[set(queue(n)) for n in (1, 10, 31)]") == [{0}] * 3        # others are pending once at most
    assert [value(quiet, name, "facts()") for name in MEMBERS] == [(0, True)] * 4


def test_numbers_of_processes_tell_no_times(quiet):
    """A member can count only its own threads. It has no /proc. When it asks for the clock of a process that has ended, the answer is
    the same as for a number that no process ever had."""
    ids = forked(quiet)
    quiet.call("two", "t = [threading.Thread(target=lambda: None) for _ in range(50)]\nfor one in t: one.start(); one.join()")
    pid = ids["two"]
    quiet.close("two")
    for name in ("s", "one", "one.one"):
        assert value(quiet, name, "os.path.exists('/proc/%d'), os.path.exists('/proc/self/fd'), os.path.exists('/sys'), os.path.exists('/dev/pts')" % pid) == (False,) * 4
        answers = value(quiet, name, "{key: [call(p) for p in %r] for key, call in calls.items()}" % ([pid, pid + 3, pid + 90_000],))
        assert {key: found for key, found in answers.items() if len(set(found)) != 1} == {}


def test_the_processes_of_all_members_are_what_the_host_thinks(own, nothing_left):
    """A member that is closed ends while the others go on, in any order."""
    with started(own) as executor:
        executor.call("s", "import os")
        executor.fork("s", "one", "two")
        executor.fork("one", "one.one")
        pids = {name: host_pid(executor, name) for name in MEMBERS}
        for closed in ("one", "s", "one.one"):
            executor.close(closed)
            wait_until(lambda: not is_alive(pids[closed]), "%s lives" % closed)
            pids.pop(closed)
            assert all(is_alive(pid) for pid in pids.values())
        assert executor.fork("two", "last") == ["last"]

# SPDX-License-Identifier: Apache-2.0
"""Many forks, and SIGKILL for each process of pyexec at random moments while sessions are forked and calls are undone: what survives has its
own state and can be forked, and nothing is left. Short here; PYEXEC_NIGHTLY=1 (make nightly) makes many more rounds."""
import contextlib
import os
import random
import signal
import threading
import time

import pytest

from conftest import is_alive
from library import Failure
from test_branch_listener import listener_of, root, send
from test_branches import FILES, NATIVE, OPEN, below, started, value
from test_kills import children
from waiting import wait_until

NIGHT = "PYEXEC_NIGHTLY" in os.environ
FORKS, ROUNDS = (1000, 40) if NIGHT else (250, 3)
OTHER_END = (Failure, OSError, ValueError)      # what a call raises when the program, or the session, is gone


def held(executor):
    """What the program and the processes of pyexec below it hold: descriptors and KiB of each, mounts, and how many they are."""
    found = {}
    for pid in [executor.pid, *below(executor.pid)]:
        with contextlib.suppress(OSError, ValueError, KeyError):    # it ends at this moment
            with open("/proc/%d/status" % pid) as file:
                status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
            with open("/proc/%d/mounts" % pid) as file:
                mounts = len(file.readlines())
            found[pid] = (len(os.listdir("/proc/%d/fd" % pid)), int(status["RssAnon"].split()[0]), mounts)
    return found


@root
def test_many_forks_leave_nothing(pyexec, nothing_left):
    """Branches, branches of branches, several at once, with files, some ended by a limit or a crash, and forks that fail."""
    with started(pyexec, FILES, session={"max_count": 0}, host={"pool_size": 0}) as executor:
        executor.call("s", NATIVE + "data = list(range(1000))\nfor n in range(20): open('f%d' % n, 'w').write('x' * 5000)")

        def some(count):
            for number in range(0, count, 5):
                executor.fork("s", "a", "b", "c")
                executor.fork("c", "c.c")
                assert [value(executor, name, "sum(data), open('f3').read(3)") for name in ("a", "c.c")] == [(499500, "xxx")] * 2
                ending = number // 5 % 4
                if ending == 0:
                    assert executor.call("b", "os.kill(os.getpid(), 9)")["status"] == "killed"
                elif ending == 1:
                    assert executor.call("b", "libc.unshare(0)")["status"] == "crashed"
                elif ending == 2:
                    executor.call("b", "stop = threading.Event()\nt = threading.Thread(target=stop.wait)\nt.start()")
                    with pytest.raises(Failure, match="session_not_forkable"):
                        executor.fork("b", "never")
                for name in ("c", "a", "c.c", "b"):
                    with contextlib.suppress(Failure):      # it has ended
                        executor.close(name)

        def settled(fits):
            """Waits, because pyexec keeps the descriptors of a process that it has ended until the kernel reports its end."""
            found = []
            wait_until(lambda: found.append(held(executor)) or (set(found[-1]) == processes and fits(found[-1])), "more is held")
            return found[-1]
        processes = set(held(executor))
        most = held(executor)[executor.pid][0] + 2
        some(50)
        before = settled(lambda found: found[executor.pid][0] <= most)
        some(FORKS)
        after = settled(lambda found: all(found[pid][0] <= before[pid][0] + 2 for pid in processes))
        for pid, (_, memory, mounts) in after.items():
            # A sanitizer keeps freed memory for a while.
            assert mounts == before[pid][2] and ("SANITIZE" in os.environ or memory <= before[pid][1] + 3000), (before[pid], after[pid])
        assert value(executor, "s", "sum(data), len(os.listdir('.'))") == (499500, 20)


class Traffic:
    """Threads that fork the members of two families, undo a call in each branch and look at it, until they are stopped. A call may fail, but no
    answer may be wrong."""

    def __init__(self, executor):
        self.executor, self.wrong, self.stopping, self.done = executor, [], threading.Event(), 0
        executor.call("s", NATIVE + "data = list(range(5000))\nmine = 's'")
        (self.source,) = self.processes("s")     # while there is one family: the same number can be in each
        self.listener = listener_of(self.source)
        executor.call("t", NATIVE + "data = list(range(5000))\nmine = 't'")
        executor.fork("s", "one", "two")
        executor.fork("t", "three")
        for name in ("one", "two", "three"):
            executor.call(name, "mine = %r" % name)
        self.threads = [threading.Thread(target=self.run, args=(number,)) for number in range(3)]

    def processes(self, session):
        own = value(self.executor, session, "os.getpid()")
        found = below(self.executor.pid)
        depth = max(len(status["NSpid"].split()) for status in found.values())
        return [pid for pid, status in found.items() if len(status["NSpid"].split()) == depth and int(status["NSpid"].split()[-1]) == own]

    def run(self, number):
        names = ["s", "one", "t", "two", "three"]
        while not self.stopping.is_set():
            for turn, name in enumerate(names[number:] + names[:number]):
                branch = "b%d.%d" % (number, turn)
                try:
                    self.executor.fork(name, branch)
                    # When the branch was ended before a call, the call has made a new session of this name.
                    result = self.executor.call(branch, "data.clear(); mine = 'undone'", checkpoint=True)
                    if not result["session"]["created"]:
                        self.executor.undo(branch)
                        result = self.executor.call(branch, "mine, sum(data), os.kill(os.getpid(), 0)")
                    right = result["last_value_repr"] == repr((name, 12497500, None))
                    if not right and result["status"] not in ("killed", "crashed") and not result["session"]["created"]:
                        self.wrong.append((branch, result))
                    self.executor.close(branch)
                    self.done += right
                except OTHER_END:
                    pass
                except AssertionError as error:
                    self.wrong.append((branch, "no answer: %s" % error))

    @contextlib.contextmanager
    def going(self):
        for thread in self.threads:
            thread.start()
        try:
            wait_until(lambda: self.done >= 3, "no fork succeeds")
            yield
        finally:
            self.stopping.set()
            for thread in self.threads:
                thread.join(100)
        assert not any(thread.is_alive() for thread in self.threads), "a call does not return"
        assert self.wrong == []


def check(executor, names):
    """These sessions have their own state, and can be forked; a new session can be made."""
    for name in names:
        assert value(executor, name, "mine, sum(data)") == (name, 12497500)
        assert executor.fork(name, "after." + name) == ["after." + name]
        assert value(executor, "after." + name, "mine") == name
    executor.call("new", "z = 5")
    assert executor.fork("new", "newer") == ["newer"] and value(executor, "newer", "z") == 5


ROLES = {
    "source": (lambda traffic: traffic.source, ("one", "two", "t", "three")),
    "listener": (lambda traffic: traffic.listener, ("t", "three")),
    "supervisor": (lambda traffic: children(children(traffic.executor.pid)[0])[0], ()),
    "outer": (lambda traffic: children(traffic.executor.pid)[0], ()),
}


@root
@pytest.mark.parametrize("role", ROLES)
def test_what_survives_a_kill_goes_on(pyexec, nothing_left, role):
    seed = int.from_bytes(os.urandom(4), "little")
    chance = random.Random(seed)
    print("seed", seed)
    find, survivors = ROLES[role]
    for _ in range(ROUNDS):
        with started(pyexec, {**OPEN, "timeout_ms": 20_000, "cpu_time_seconds": 20}, session={"max_count": 0}) as executor:
            traffic = Traffic(executor)
            with traffic.going():
                time.sleep(chance.random() * 0.05)
                victim = find(traffic)
                send(victim, signal.SIGKILL)
                wait_until(lambda: not is_alive(victim), "it lives")
                for name in survivors:
                    wait_until(lambda: any(item["id"] == name for item in executor.sessions()), "the session %s is gone" % name)
                time.sleep(0.05)
            check(executor, survivors)
            left = {item["id"] for item in executor.sessions()}
            assert "s" not in left or role in ("supervisor", "outer")


@root
def test_when_the_program_is_killed_in_a_fork_nothing_is_left(pyexec, nothing_left):
    chance = random.Random()
    for _ in range(ROUNDS):
        executor = started(pyexec, session={"max_count": 0})
        traffic = Traffic(executor)
        # A call that never gets its answer would wait for a minute.
        for thread in traffic.threads:
            thread.daemon = True
            thread.start()
        wait_until(lambda: traffic.done >= 3, "no fork succeeds")
        time.sleep(chance.random() * 0.05)
        processes = set(below(executor.pid))
        executor.process.kill()
        executor.process.wait(20)
        traffic.stopping.set()
        wait_until(lambda: not any(map(is_alive, processes)), "processes are left")
        with executor.lock:
            for event, slot in executor.waiting.values():
                slot.append({"error": {"data": {"code": "killed", "message": "", "hint": ""}}})
                event.set()
        for thread in traffic.threads:
            thread.join(100)
        assert traffic.wrong == []
        with contextlib.suppress(OSError):
            executor.process.stdin.close()

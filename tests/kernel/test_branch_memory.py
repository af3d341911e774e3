"""Memory of sessions that can be forked (docs/branches.md): huge pages where the data is large, and nowhere else; what is told about
memory that branches share; its limit."""
import os

import pytest

from library import Executor
from serving import serving
from test_branches import OPEN, below, started, value
from waiting import wait_until

SLOW = {**OPEN, "timeout_ms": 60_000, "cpu_time_seconds": 60}
ENABLED = "/sys/kernel/mm/transparent_hugepage/enabled"
# 40 MiB of small objects, of which the interpreter keeps 16 MiB in small pages, and a block of 64 MiB.
LARGE = "objects = [float(i) for i in range(1_250_000)]\nblock = bytearray(64 << 20)\nNone"


def eligible_mib(pid):
    """How much memory of the process the kernel would give huge pages to."""
    total = size = 0
    try:
        with open("/proc/%d/smaps" % pid) as file:
            for line in file:
                words = line.split()
                if words[0] == "Size:":
                    size = int(words[1])
                if words[0] == "THPeligible:" and words[1] == "1":
                    total += size
    except OSError:
        pass        # it has ended
    return total >> 10


class Watched:
    """An executor, and how much memory of the processes that came with a call or a fork could be in huge pages."""

    def __init__(self, executor):
        self.executor, self.known = executor, set()

    def most_mib(self):
        now = set(below(self.executor.pid))
        new, self.known = now - self.known, now
        return max(map(eligible_mib, new))

    def call(self, session, code, **request):
        assert self.executor.call(session, code, **request)["status"] == "ok"
        return self.most_mib()


@pytest.fixture
def huge_pages():
    if os.getuid() != 0:
        pytest.skip("only root may look at the memory of all processes")
    try:
        with open(ENABLED) as file:
            mode = file.read()
    except OSError:
        mode = "[never]"
    release = tuple(int(part) for part in os.uname().release.split(".")[:2])
    if "[never]" in mode or ("[always]" in mode and release < (6, 18)):
        pytest.skip("this machine gives no huge pages to memory that asks for them: " + mode)


def test_only_large_data_is_in_huge_pages(own, nothing_left, huge_pages):
    with Executor(SLOW) as executor:
        watched = Watched(executor)
        assert watched.call("small", "x = list(range(1000))\nimport json") == 0
        assert watched.call("plain", LARGE, policy={"forkable": False}) == 0
        assert watched.call("large", LARGE) >= 60 + 16
        executor.fork("large", "branch")
        assert watched.most_mib() >= 60 + 16
        assert value(executor, "branch", "block[-1] = 7; block[-1], sum(objects[-2:])") == (7, 2 * 1_250_000 - 3)
        assert value(executor, "large", "block[-1], len(block)") == (0, 64 << 20)


def test_memory_of_small_objects_goes_back(own, nothing_left):
    """Blocks of small objects are made and given back in any order, and the limit of the address space counts what is left."""
    with Executor({**SLOW, "address_space_bytes": 128 << 20}) as executor:
        for _ in range(4):      # 50 MiB each time
            assert value(executor, "s", "kept = [[float(i) for i in range(32_768)] for _ in range(40)]\n"
                         "kept = kept[::2]\nmore = [float(i) for i in range(200_000)]\nsum(map(sum, kept)) == 20 * 32_767 * 16_384, more[-1]") == (True, 199_999.0)
            assert executor.call("s", "del kept, more")["status"] == "ok"
        executor.fork("s", "a")
        for name in ("s", "a"):
            result = executor.call(name, "kept = []\nwhile True: kept.append([float(i) for i in range(32_768)])")
            assert result["error"]["type"] == "MemoryError", result
            assert value(executor, name, "del kept\nlen([float(i) for i in range(100_000)])") == 100_000


def test_blocks_that_grow_keep_their_bytes(own, nothing_left):
    with Executor({**SLOW, "address_space_bytes": 1 << 30}) as executor:
        code = ("block = bytearray()\npart = bytes(range(256)) * 4096\nfor i in range(20): block += part\n"
                "items = []\nfor i in range(800_000): items.append(i & 7)\n"
                "bytes(block) == part * 20, sum(items), bytearray(20 << 20).count(0) == 20 << 20")
        assert value(executor, "s", code) == (True, 2_800_000, True)
        executor.fork("s", "a")
        assert value(executor, "a", "block.extend(part); len(block) == 21 << 20, bytes(block[-len(part):]) == part, sum(items)") == (True, True, 2_800_000)
        assert value(executor, "s", "len(block) == 20 << 20") is True


# ---- What is said about memory ----

MIB = 1 << 20


def memory(server, session):
    """Returns its part of the memory and what it shares with no other, in MiB."""
    answer = server.ask("GET", "/v1/sessions/" + session).json()
    return answer["memory_bytes"] / MIB, answer["private_memory_bytes"] / MIB


def test_memory_that_branches_share_counts_once(pyexec, nothing_left):
    """The result of a call counts all memory of the process, also what it shares."""
    with serving(pyexec, "--forkable", "--timeout", "60s", "--cpu-time-seconds", "60") as server:
        server.result("block = bytearray(b'x') * (80 << 20)", "s")
        alone = memory(server, "s")
        assert alone[0] > 80 and alone[1] > 80
        assert server.ask("POST", "/v1/sessions/s/fork", {"ids": ["a", "b", "c"]}).status == 201
        family = [memory(server, name) for name in ("s", "a", "b", "c")]
        assert 80 < sum(part for part, _ in family) < 110 and all(18 < part < 30 and own < 10 for part, own in family), family
        result = server.result("for i in range(0, 40 << 20, 4096): block[i] = 0", "a")
        assert result["usage"]["peak_memory_bytes"] > 80 * MIB
        assert server.result("1", "b")["usage"]["peak_memory_bytes"] > 80 * MIB
        family = [memory(server, name) for name in ("s", "a", "b", "c")]
        assert 120 < sum(part for part, _ in family) < 150 and family[1][1] > 40 and family[2][1] < 10, family
        for name in ("s", "a", "b"):
            assert server.ask("DELETE", "/v1/sessions/" + name).status == 204
        wait_until(lambda: memory(server, "c")[1] > 80, "its memory is still shared")


def test_the_limit_of_memory_counts_all_of_a_branch(pyexec, nothing_left):
    """Also what it shares with its source: the limit is of the address space, and each has the whole limit."""
    with started(pyexec, {**SLOW, "address_space_bytes": 300 << 20}) as executor:
        executor.call("s", "block = bytearray(b'x') * (120 << 20)")
        executor.fork("s", "a", "b")
        for name in ("a", "b", "s"):
            result = executor.call(name, "more = bytearray(200 << 20)")
            assert result["status"] == "memory_limit" and result["error"]["type"] == "MemoryError", result
            assert value(executor, name, "more = bytearray(60 << 20); len(block) + len(more) == 180 << 20") is True
        assert value(executor, "a", "del block, more; block = bytearray(160 << 20); len(block) == 160 << 20") is True
        executor.fork("a", "a.a")
        assert executor.call("a.a", "more = bytearray(200 << 20)")["status"] == "memory_limit"


def test_a_branch_that_uses_too_much_ends_alone(own, nothing_left):
    """Native code that is told nothing of the limit: it gets no memory, and the others do not notice."""
    with Executor({**SLOW, "address_space_bytes": 200 << 20}) as executor:
        executor.call("s", "import ctypes\nlibc = ctypes.CDLL(None)\nlibc.malloc.restype = ctypes.c_void_p\nlibc.malloc.argtypes = [ctypes.c_size_t]\n"
                      "block = bytearray(b'x') * (60 << 20)")
        executor.fork("s", "a")
        assert value(executor, "a", "found = 0\nwhile libc.malloc(8 << 20): found += 1\n0 < found < 25") is True
        assert executor.call("a", "ctypes.memset(libc.malloc(8 << 20), 1, 8 << 20)")["status"] == "memory_limit"
        assert value(executor, "s", "block[0], libc.malloc(8 << 20) is not None") == (120, True)

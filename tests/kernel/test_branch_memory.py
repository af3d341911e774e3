"""Memory of sessions that can be forked: huge pages where the data is large, and nowhere else (docs/branches.md)."""
import os

import pytest

from library import Executor
from test_branches import OPEN, below, value

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
    with Executor(OPEN) as executor:
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
    with Executor({**OPEN, "address_space_bytes": 300 << 20}) as executor:
        for _ in range(4):      # 100 MiB each time
            assert value(executor, "s", "kept = [[float(i) for i in range(32_768)] for _ in range(100)]\n"
                         "kept = kept[::2]\nmore = [float(i) for i in range(1_000_000)]\nsum(map(sum, kept)) == 50 * 32_767 * 16_384, more[-1]") == (True, 999_999.0)
            assert executor.call("s", "del kept, more")["status"] == "ok"
        executor.fork("s", "a")
        for name in ("s", "a"):
            result = executor.call(name, "kept = []\nwhile True: kept.append([float(i) for i in range(32_768)])")
            assert result["error"]["type"] == "MemoryError", result
            assert value(executor, name, "del kept\nlen([float(i) for i in range(100_000)])") == 100_000


def test_blocks_that_grow_keep_their_bytes(own, nothing_left):
    with Executor({**OPEN, "address_space_bytes": 1 << 30}) as executor:
        code = ("block = bytearray()\npart = bytes(range(256)) * 4096\nfor i in range(60): block += part\n"
                "items = []\nfor i in range(2_000_000): items.append(i & 7)\n"
                "bytes(block) == part * 60, sum(items), bytearray(20 << 20).count(0) == 20 << 20")
        assert value(executor, "s", code) == (True, 7_000_000, True)
        executor.fork("s", "a")
        assert value(executor, "a", "block.extend(part); len(block) == 61 << 20, bytes(block[-len(part):]) == part, sum(items)") == (True, True, 7_000_000)
        assert value(executor, "s", "len(block) == 60 << 20") is True

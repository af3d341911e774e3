# SPDX-License-Identifier: Apache-2.0
"""The fixture `counted`: counts the system calls of a program and of the processes that it starts."""
import os
import struct
import subprocess

import pytest

CALLS, ROUNDS = 50, 5


class Counted:
    """Runs a program under tests/support/count_calls.c, and reads how many system calls it has made."""

    def __init__(self, counter, folder):
        self.counter, self.file = counter, os.path.join(folder, "counts")
        with open(self.file, "wb") as file:
            file.write(bytes(16))

    def command(self, *command):
        return [self.counter, self.file, *command]

    def counts(self):
        with open(self.file, "rb") as file:
            return struct.unpack("2Q", file.read())

    def per_call(self, call, calls=CALLS, rounds=ROUNDS):
        """Returns how many system calls one call costs the host, and how many its processes: the smallest numbers of several rounds.
        In other rounds a thread of the host may have refilled the pool, or a call had to wait for a lock."""
        call()
        found = []
        for _ in range(rounds):
            before = self.counts()
            for _ in range(calls):
                call()
            found.append([(now - then) / calls for now, then in zip(self.counts(), before)])
        return [min(numbers) for numbers in zip(*found)]


@pytest.fixture
def counted(compile_host, tmp_path):
    if os.environ.get("SANITIZE"):
        pytest.skip("a sanitizer makes system calls of its own")
    made = Counted(compile_host("count_calls.c"), tmp_path)
    tried = subprocess.run(made.command("/bin/true"), capture_output=True, text=True)
    if tried.returncode == 77:
        pytest.skip("no tracing of processes here: " + tried.stderr)
    assert tried.returncode == 0 and sum(made.counts()) > 5
    return made

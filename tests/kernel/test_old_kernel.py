"""The core of the suite as on Linux 5.13, the oldest that pyexec needs: Landlock has its first ABI, and each system call
that is newer does not exist (ENOSYS). tests/support/old_kernel.c installs a filter with these answers."""
import ctypes
import errno
import os
import re
import subprocess
import sys

import pytest

from conftest import BUILD, ROOT

FILES = ("kernel/test_kernel.py", "kernel/test_escape.py", "run/test_limits.py", "run/test_files.py", "session/test_sessions.py")
# One selection for all files. The escapes run without the guard, so only the kernel stops them. Long tests that do
# not depend on the kernel are left out.
CHOSEN = ("(no_network or writes_outside or files_of_python or ids_and_capabilities or no_proc or signals_reach or no_process_of_the_host "
          "or descriptors_are or blocking_the_trap or no_set_id or quota_is_the or threads_are_bounded or limit or memory or session "
          "or (test_escape and ordinary and unguarded)) and not 10000 and not idle_host and not 200_mixed and not humaneval")


@pytest.fixture(scope="module")
def old_kernel(tmp_path_factory):
    """Returns the wrapper command, to which a program and its arguments are added."""
    target = str(tmp_path_factory.mktemp("old") / "old_kernel")
    subprocess.run(["gcc", "-Wall", "-Wextra", "-Werror", "-O1", ROOT + "/tests/support/old_kernel.c", "-o", target], check=True)
    probe = subprocess.run([target, "true"], capture_output=True, text=True)
    if probe.returncode != 0:
        pytest.skip("no filter that notifies: " + probe.stderr.strip())
    return target


CALLS = """
import ctypes, sys
libc = ctypes.CDLL(None, use_errno=True)
for call in %r:
    ctypes.set_errno(0)
    print(libc.syscall(*call), ctypes.get_errno())
"""


def test_the_filter_answers_as_linux_5_13(old_kernel):
    if ctypes.CDLL(None).syscall(444, None, 0, 1) < 1:
        pytest.skip("this kernel has no Landlock")
    calls = {(444, None, 0, 1): (1, 0), (444, None, 0, 2): (-1, errno.EINVAL), (444, None, 16, 0): (-1, errno.E2BIG),
             (446, -1, 1): (-1, errno.EINVAL), (446, -1, 0): (-1, errno.EBADF), (447, 0): (-1, errno.ENOSYS), (462, 0): (-1, errno.ENOSYS)}
    out = subprocess.run([old_kernel, sys.executable, "-c", CALLS % list(calls)], capture_output=True, text=True, check=True).stdout
    assert [tuple(map(int, line.split())) for line in out.splitlines()] == list(calls.values())


def test_doctor_sees_the_first_abi(old_kernel, own):
    done = subprocess.run([old_kernel, own.path, "doctor", "--json", "--python-bin", "/usr/bin/python3"], capture_output=True, text=True)
    assert '"landlock_abi":1,' in done.stdout.replace(" ", ""), done.stdout + done.stderr


def test_the_core_holds_on_linux_5_13(old_kernel):
    if os.environ.get("SANITIZE"):
        pytest.skip("the plain build runs it")
    done = subprocess.run([old_kernel, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--color=no", "--tb=short", "-rfEs", "-k", CHOSEN,
                           *(ROOT + "/tests/" + name for name in FILES)], env=dict(os.environ, PYEXEC_BUILD=BUILD), capture_output=True, text=True)
    print(done.stdout[-5000:], done.stderr[-1000:])
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|skipped|error)", done.stdout.splitlines()[-1])}
    assert done.returncode == 0 and counts["passed"] >= 150, done.stdout[-5000:] + done.stderr[-1000:]

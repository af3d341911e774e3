"""Each allocation and each system call of the host fails in turn (tests/fault_shim.c): the right result or a clear error.

`pytest` takes strides through the long loops, so that all of them are done in a few minutes; PYEXEC_NIGHTLY=1 makes every
call fail once."""
import errno
import json
import mmap
import os
import select
import struct
import subprocess

import pytest

from conftest import BUILD, ROOT

KINDS = ("memory open read write receive send poll map socket pipe fcntl eventfd memfd start wait epoll stat raw "
         "random").split()
ERRORS = {"memory": errno.ENOMEM, "open": errno.EMFILE, "read": errno.EIO, "write": errno.EIO, "receive": errno.ENOMEM,
          "send": errno.ENOMEM, "poll": errno.ENOMEM, "map": errno.ENOMEM, "socket": errno.EMFILE, "pipe": errno.EMFILE,
          "fcntl": errno.EMFILE, "eventfd": errno.EMFILE, "memfd": errno.EMFILE, "start": errno.EAGAIN, "wait": errno.ENOMEM,
          "epoll": errno.ENOMEM, "stat": errno.ENOMEM, "raw": errno.ENOMEM, "random": errno.EIO}
CODES = {"internal", "overloaded", "sandbox_unavailable"}
NIGHTLY = bool(os.environ.get("PYEXEC_NIGHTLY"))
SANITIZED = bool(os.environ.get("SANITIZE"))
pytestmark = pytest.mark.skipif(SANITIZED, reason="a sanitizer has its own malloc")


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("shim") / "shim.so")
    subprocess.run(["gcc", "-O1", "-g", "-w", "-shared", "-fPIC", ROOT + "/tests/fault_shim.c", "-o", path, "-ldl"], check=True)
    return path


@pytest.fixture(scope="module")
def host(compile_host):
    return compile_host("capi_faults.c")


# ---- The C API ----

LOOPS = [(scenario, "memory", mode, 1) for scenario in ("once", "error", "session", "later") for mode in ("once", "onward")]
LOOPS += [("cold", "memory", mode, 17) for mode in ("once", "onward")] + [("late", "memory", "once", 5)]
LOOPS += [(scenario, kind, mode, 1) for kind in KINDS[1:13] + ["stat"] for scenario in ("once", "session", "later")
          for mode in ("once", "onward")]


@pytest.mark.parametrize("scenario,kind,mode,stride", LOOPS, ids=["-".join(map(str, loop[:3])) for loop in LOOPS])
def test_the_c_api(host, shim, nothing_left, scenario, kind, mode, stride):
    done = subprocess.run([host, scenario, str(KINDS.index(kind)), str(ERRORS[kind]), mode, str(1 if NIGHTLY else stride)],
                          env=dict(os.environ, LD_PRELOAD=shim), capture_output=True, text=True, timeout=600)
    print(done.stdout)
    assert done.returncode == 0, done.stdout[:4000] + done.stderr

"""Escape attempts made for this implementation: tests/escape/*.py, each with its goal, the layer that
must stop it and what must come of it in its head (as the corpus has). prelude.py goes before each.

    # expect: contained[:STATUS,…]   nothing printed ESCAPED, and the status is one of these
    # expect: ok:TEXT                the same, ok, with TEXT in stdout
    # not: TEXT                      is nowhere in the result
    # native: FILE                   made of attack.c and brought along as a file of the workspace
    # machine: NAME                  only this architecture has what the attempt needs
"""
import base64
import ctypes
import glob
import json
import os
import re
import socket
import subprocess
import sys

import pytest

from conftest import ROOT
from syscalls_needed import FOREVER, numbers

HERE = os.path.join(ROOT, "tests", "escape")
NUMBERS = numbers()
SECRET, KEY = "secret-of-" + "the-host-0815", 0x70786573
LIMITS = {"timeout": 124, "cancelled": 130}


def read(name):
    head = {}
    with open(os.path.join(HERE, name + ".py")) as file:
        code = file.read()
    for line in code.splitlines():
        if not line.startswith("# "):
            break
        key, _, value = line[2:].partition(": ")
        head[key] = value
    with open(os.path.join(HERE, "prelude.py")) as file:
        return head, "NUMBERS = %r\nFOREVER = %r\n" % (NUMBERS, FOREVER) + file.read() + code


CASES = [name for name in sorted(os.path.basename(path)[:-3] for path in glob.glob(HERE + "/*_*.py"))
         if read(name)[0].get("machine", os.uname().machine) == os.uname().machine]


def compile_attack(folder, gcc="gcc", objcopy="objcopy"):
    """Compiles attack.c as a library and as machine code."""
    source, flags = os.path.join(HERE, "attack.c"), ["-O2", "-fPIC", "-fno-stack-protector", "-ffreestanding", "-nostdlib"]
    for name, more in (("attack.so", ["-shared"]), ("attack.o", ["-c"])):
        subprocess.run([gcc, *flags, *more, source, "-o", os.path.join(folder, name)], check=True)
    subprocess.run([objcopy, "-O", "binary", "-j", ".text", os.path.join(folder, "attack.o"), os.path.join(folder, "attack.bin")], check=True)


@pytest.fixture(scope="module")
def native(session_folder):
    """Returns the files made of attack.c. The emulated machines have no compiler, and get them compiled."""
    folder = os.environ.get("PYEXEC_ATTACK") or str(session_folder)
    if folder == str(session_folder):
        compile_attack(folder)
    made = {name: os.path.join(folder, name) for name in ("attack.so", "attack.bin")}
    for path in made.values():
        os.chmod(path, 0o644)
    return made


@pytest.fixture(scope="module")
def bait(session_folder):
    """Makes what scripts look for: a secret file, listeners, a memory segment, and for each user a process to signal."""
    secret = session_folder / "secret.txt"
    secret.write_text(SECRET)
    os.chmod(secret, 0o644)
    listener, abstract = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX)
    name = "pyexec-escape-%d" % os.getpid()
    abstract.bind("\0" + name), abstract.listen()
    libc = ctypes.CDLL(None)
    segment = libc.shmget(KEY, 4096, 0o1666)
    yield {"SECRET_FILE": str(secret), "HOST_PORT": str(listener.getsockname()[1]), "ABSTRACT": name,
           "SHM_KEY": str(KEY), "HOST_NAME": socket.gethostname()}
    libc.shmctl(segment, 0, None)
    listener.close(), abstract.close()


@pytest.fixture
def victim(any_pyexec):
    options = {} if any_pyexec.uid == os.getuid() else {"user": any_pyexec.uid, "group": any_pyexec.uid, "extra_groups": []}
    process = subprocess.Popen(["sleep", "600"], cwd="/", **options)
    yield process
    assert process.poll() is None, "the bait was ended by signal %d" % -process.returncode
    process.kill()
    process.wait()


def check_facts(result, session=None):
    """Checks what is true of every result, whatever the script sent. `session`: the id of its session, or None for a single run."""
    status, error, code = result["status"], result["error"], result["exit_code"]
    assert (status == "ok") == (error is None) == (result["error_repr"] is None), result
    assert code == 0 if status == "ok" else 0 < code < 256, result
    assert code == LIMITS.get(status, code), result
    assert status != "killed", "nobody killed it"
    for number in ("stdout_bytes", "stderr_bytes", "denials_dropped"):
        assert result[number] >= 0, result
    assert len(result["denials"]) <= 100 and len(result["files"]) <= 1000
    assert 0 <= result["usage"]["cpu_ms"] < 20000 and 0 < result["usage"]["wall_ms"] < 20000, result["usage"]
    # A session's process may end while the host reads it, after a result that it forged.
    assert (0 if session else 1) <= result["usage"]["peak_memory_bytes"] < 2 << 30, result["usage"]
    assert result["missing_layers"] == [] and (result["session"] or {}).get("id") == session


def check_expectation(head, result, host_only):
    everything = json.dumps(result)
    assert "ESCAPED" not in result["stdout"], result["stdout"]
    assert SECRET not in everything and host_only not in everything
    assert head.get("not", "\0") not in everything.replace("\\u0000", ""), result
    kind, _, wanted = head["expect"].partition(":")
    if kind == "ok":
        assert result["status"] == "ok" and wanted in result["stdout"], result
    elif wanted:
        assert result["status"] in wanted.split(","), result


def test_there_are_enough_cases_and_each_says_what_stops_it():
    assert len(CASES) >= 60
    for name in CASES:
        head, _ = read(name)
        assert set(head) <= {"goal", "layer", "expect", "flags", "stdin", "not", "native", "machine"}, name
        assert head["goal"] and head["layer"] and head["expect"].split(":")[0] in ("contained", "ok"), name


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="arm64 lacks some of the older calls")
def test_each_call_of_the_attempts_exists():
    names = {name for path in glob.glob(HERE + "/*.py") for name in re.findall(r'\bsc\("(\w+)"', open(path).read())}
    assert len(names) > 40 and not names - set(NUMBERS), names - set(NUMBERS)


@pytest.mark.parametrize("name", CASES)
def test_attempt(any_pyexec, bait, victim, native, name, nothing_left):
    head, code = read(name)
    flags = ["--any-import", "--files", "full", *head.get("flags", "").split()]
    for key, value in {**bait, "HOST_PID": str(victim.pid)}.items():
        flags += ["--env", "%s=%s" % (key, value)]
    if "native" in head:
        flags += ["--file", native[head["native"]]]
    environment = dict(os.environ, HOST_ONLY="host-only-value-4711")
    result = any_pyexec.result(code, *flags, input=head.get("stdin", ""), env=environment)
    check_facts(result)
    check_expectation(head, result, "host-only-value-4711")

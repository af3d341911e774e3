"""Each layer alone stops its attack. All other layers are left out, by a launcher that only this test builds. If this layer is left
out too, the same attack succeeds."""
import ctypes
import os
import re
import shutil
import socket
import subprocess

import pytest

from conftest import ROOT
from library import Executor

with open(ROOT + "/src/base/layers.def") as _file:
    LAYERS = re.findall(r'^PX_LAYER\(\w+, "(\w+)"', _file.read(), re.M)
NOT_USED = "cgroup"
KEY = 0x70786c79
C = "import ctypes, os, time\nlibc = ctypes.CDLL(None, use_errno=True)\n"
SAY = "print('ESCAPED' if got else 'held', flush=True)\n"

# Layer → (other layers that it needs as root, other layers that it needs as an ordinary user, attack). None: the test is not possible.
# Without a user namespace an ordinary user can't make any other namespace, a zygote of root can't make its namespaces, and the number
# of root's threads is not limited. Landlock needs no_new_privs.
USER = ["user_namespace"]
ATTACKS = {
    "user_namespace": ([], None, "got = libc.open(b'{private}', 0) >= 0\n"),
    "pid_namespace": ([], USER, "got = libc.kill({victim}, 0) == 0\n"),
    "mount_namespace": ([], USER, "got = libc.open(b'{secret}', 0) >= 0\n"),
    "network_namespace": (USER, USER, "import socket\ntry:\n    socket.create_connection(('127.0.0.1', {port}), 2)\n    got = True\n"
                                    "except OSError: got = False\n"),
    "ipc_namespace": (USER, USER, "got = libc.shmget(%d, 0, 0) >= 0\n" % KEY),
    "uts_namespace": (USER, USER, "got = os.uname().nodename == '{name}'\n"),
    "time_namespace": ([], USER, "got = time.clock_gettime(time.CLOCK_BOOTTIME) > {uptime} - 60\n"),
    "privileges": ([], [], "os.execv('{set_id}', ['id', '-u'])\n"),
    "landlock: files": (["privileges"], ["privileges"], "got = libc.open(b'{secret}', 0) >= 0\n"),
    "seccomp: processes": ([], [], "pid = libc.fork()\nif pid == 0: os._exit(0)\ngot = pid > 0\n"),
    "landlock: TCP": (["privileges"], ["privileges"], "import socket\ntry:\n    socket.create_connection(('127.0.0.1', {port}), 2)\n    got = True\n"
                                                      "except OSError: got = False\n"),
    "landlock: signals": (["privileges"], ["privileges"], "got = libc.kill({other}, 0) == 0\n"),
    "landlock: abstract sockets": (["privileges"], ["privileges"], "import socket\ntry:\n    socket.socket(socket.AF_UNIX).connect('\\0{abstract}')\n    got = True\n"
                                                                   "except OSError: got = False\n"),
    "seccomp: sockets": ([], [], "got = libc.socket(2, 1, 0) >= 0\n"),
    "seccomp: shared memory": ([], [], "got = libc.shmget(%d, 0, 0) >= 0\n" % KEY),
    "seccomp: handles on processes": ([], [], "got = libc.syscall(434, {other}, 0) >= 0\n"),
    "rlimits: threads": (USER, [], "import threading\nn, all_there = 0, threading.Event()\ntry:\n    for n in range(40): threading.Thread(target=all_there.wait).start()\n"
                                 "except RuntimeError: pass\ngot = n > 30\nall_there.set()\n"),
    "rlimits: descriptors": ([], [], "n = 0\nwhile n < 200 and libc.dup(0) >= 0: n += 1\ngot = n > 150\n"),
    "rlimits: CPU time": ([], [], "import resource\ngot = resource.getrlimit(resource.RLIMIT_CPU)[1] == resource.RLIM_INFINITY\n"),
    "rlimits: address space": ([], [], "libc.mmap.restype = ctypes.c_void_p\n"
                        "got = libc.mmap(None, ctypes.c_size_t(1 << 36), 3, 0x4022, -1, ctypes.c_long(0)) != ctypes.c_void_p(-1).value\n"),
}


@pytest.fixture(scope="module")
def bait(session_folder):
    secret, private, set_id = session_folder / "bait", session_folder / "private", session_folder / "id"
    for path, mode in ((secret, 0o644), (private, 0o600)):
        path.write_text("secret")
        os.chmod(path, mode)
    shutil.copy("/usr/bin/id", set_id)
    os.chmod(set_id, 0o4755)
    server, abstract = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX)
    name = "pyexec-layers-%d" % os.getpid()
    abstract.bind("\0" + name), abstract.listen()
    libc = ctypes.CDLL(None)
    segment = libc.shmget(KEY, 4096, 0o1666)
    with open("/proc/uptime") as file:
        uptime = int(float(file.read().split()[0]))
    yield {"secret": secret, "private": private, "set_id": set_id, "port": server.getsockname()[1], "name": socket.gethostname(), "uptime": uptime,
           "abstract": name}
    server.close(), abstract.close()
    libc.shmctl(segment, 0, None)


@pytest.fixture
def victims(bare):
    """Starts a process of the caller's user, and one of the user that a run has without a user namespace."""
    options = {} if bare.uid == os.getuid() else {"user": bare.uid, "group": bare.uid, "extra_groups": []}
    run = {"user": 1900000000, "group": 1900000000, "extra_groups": []} if bare.uid == 0 else options
    made = {"victim": subprocess.Popen(["sleep", "600"], cwd="/", **options), "other": subprocess.Popen(["sleep", "600"], cwd="/", **run)}
    yield {name: process.pid for name, process in made.items()}
    for process in made.values():
        process.kill()
        process.wait()


def attack(program, kept, code):
    """Runs the attack with only these layers and returns the outcome."""
    left_out = [name for name in LAYERS if name not in kept and name not in (NOT_USED, "workspace_quota")]
    result = program.result(C + code, "--any-import", "--allow-missing", ",".join(left_out))
    assert set(left_out) <= set(result["missing_layers"]) and not set(kept) & set(result["missing_layers"]), result
    return result["stdout"].strip(), result


def test_every_layer_has_its_attack():
    assert {name.split(":")[0] for name in ATTACKS} | {NOT_USED, "workspace_quota"} == set(LAYERS)


@pytest.mark.parametrize("name", ATTACKS)
def test_this_layer_alone_stops(bare, bait, victims, name, nothing_left):
    root, ordinary, code = ATTACKS[name]
    layer = name.split(":")[0]
    beside = root if bare.uid == 0 else ordinary
    if beside is None:
        pytest.skip("what it stops can be tried by root only")
    if layer in ("user_namespace", "privileges") and os.getuid() != 0:
        pytest.skip("the bait of another user can be made by root only")
    escaped, held = ("0", str(bare.uid)) if layer == "privileges" else ("ESCAPED", "held")
    code = code.format(**victims, **bait) + SAY
    got, result = attack(bare, beside, code)
    assert got == escaped, ("the attack is none: it fails with the layer left out", result)
    got, result = attack(bare, [*beside, layer], code)
    assert got != escaped, result
    assert got == held or result["status"] != "ok" or layer == "privileges", result


def test_the_quota_alone_stops(bare, open_folder, nothing_left):
    code = ("n = 0\ntry:\n    for i in range(16):\n        with open('f%d' % i, 'wb', 0) as file: n += file.write(b'x' * (1 << 20))\n"
            "except OSError: pass\ngot = n > 4 << 20\n" + SAY)
    result = bare.result(code, "--any-import", "--files", "full", "--workspace-bytes", "4M", "--allow-missing",
                         ",".join(name for name in LAYERS if name not in ("user_namespace", "mount_namespace", "workspace_quota", NOT_USED)))
    assert result["stdout"] == "held\n" and "rlimits" in result["missing_layers"], result
    with Executor({"use_import_whitelist": False, "banned_imports": [], "disable_open": False, "workspace_bytes": 4 << 20}) as executor:
        result = executor.call(None, code, workspace=str(open_folder))
    assert result["stdout"] == "ESCAPED\n" and result["missing_layers"] == ["workspace_quota"], result


def test_the_launcher_that_is_installed_has_no_such_switch(pyexec):
    """A layer that may be missing is used if the machine has it, and is then not reported as missing."""
    names = ",".join(name for name in LAYERS if name != NOT_USED)
    result = pyexec.result("1", "--allow-missing", names)
    assert result["missing_layers"] == [], result

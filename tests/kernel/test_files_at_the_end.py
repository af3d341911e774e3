# SPDX-License-Identifier: Apache-2.0
"""The files of a single run stand still while the host lists and reads them, also when native code lies about its end.

The host does not wait until the kernel has removed the process. So these threads write without a pause, through a
descriptor and into mapped files, and what the host returns must be the state of one moment. The signal that ends them may
arrive late: the host must wait until the kernel says that they have stopped."""
import base64
import os
import struct
import subprocess

import pytest

from conftest import ROOT, preload
from driver import Driver
from test_escape import read

_, PRELUDE = read("prelude")
POLICY = {"use_import_whitelist": False, "banned_imports": [], "block_dunder_imports": False, "disable_open": False,
          "timeout_ms": 60000, "cpu_time_seconds": 60}
SCRIPT = PRELUDE + """
import base64, mmap
code = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, 7)
code.write(base64.b64decode("MACHINE"))

def address(memory):
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))

def mapped(name):
    with open(name, "w+b") as file:
        file.write(bytes(4096))
        file.flush()
        return mmap.mmap(file.fileno(), 4096)

first, second = mapped("first"), mapped("second")
third = os.open("third", os.O_WRONLY | os.O_CREAT)
os.write(third, bytes(8))
writer = (ctypes.c_long * 4)(third, address(first), address(second), 0)
leaver = (ctypes.c_long * 4)(0, 0, 0, PAUSE)
# The thread uses them until it is killed, so they must stay when the script's variables go.
for kept in (code, first, second, writer):
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))

def begin_a_thread():
    thread = ctypes.c_ulong()
    assert libc.pthread_create(ctypes.byref(thread), None, ctypes.c_void_p(address(code)), ctypes.byref(writer)) == 0
    while first[:8] == bytes(8):
        time.sleep(0.0001)

def forge_the_end():
    send(field(OUTCOME, b"\\0"), field(EXIT_CODE, bytes(4)), field(DONE))

def go_on(job):
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address(code))(ctypes.addressof(job))
"""
LIES = {"a thread that never takes the GIL": "begin_a_thread()",
        "its only thread, after a forged result": "forge_the_end()\ngo_on(writer)",
        "a thread whose leader ends alone": "begin_a_thread()\nforge_the_end()\ngo_on(leaver)"}


@pytest.fixture(scope="module")
def machine_code(session_folder):
    source, target = os.path.join(ROOT, "tests", "support", "late_writer.c"), session_folder / "late_writer"
    subprocess.run(["gcc", "-O2", "-fPIC", "-fcf-protection=none", "-fno-stack-protector", "-ffreestanding", "-nostdlib", "-c",
                    source, "-o", str(target) + ".o"], check=True)
    subprocess.run(["objcopy", "-O", "binary", "-j", ".text.entry", str(target) + ".o", str(target) + ".bin"], check=True)
    return base64.b64encode((session_folder / "late_writer.bin").read_bytes()).decode()


@pytest.fixture(scope="module")
def late_kill(session_folder):
    target = session_folder / "late_kill_shim.so"
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", os.path.join(ROOT, "tests", "support", "late_kill_shim.c"), "-o", target,
                    "-ldl", "-lpthread"], check=True)
    os.chmod(target, 0o755)
    return target


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("pool_size", [0, 4])
@pytest.mark.parametrize("late", [False, True])
def test_what_the_host_returns_is_the_state_of_one_moment(pyexec, compile_host, machine_code, late_kill, nothing_left, late, pool_size, lie):
    program = ["env", "PYEXEC_LIBEXECDIR=" + pyexec.folder, *["LD_PRELOAD=" + preload(late_kill)][:late], compile_host("capi_driver.c")]
    with Driver(program, pyexec.uid, policy=POLICY, host={"pool_size": pool_size}) as driver:
        for pause_us in (1, 100, 400, 3000):
            code = SCRIPT.replace("MACHINE", machine_code).replace("PAUSE", str(pause_us)) + LIES[lie]
            result = driver.call("", code, return_files=["*"])
            files = {file["path"]: file for file in result["files"]}
            assert result["status"] == "ok" and set(files) == {"first", "second", "third"}, (result["status"], result["stderr"], files)
            numbers = [struct.unpack("=q", base64.b64decode(files[name]["content_base64"])[:8])[0] for name in sorted(files)]
            # The thread writes each number into one file after the other.
            assert sorted(numbers, reverse=True) == numbers and numbers[0] - numbers[2] <= 1, numbers

"""The kernel is the wall: raw system calls, past every Python-level check."""
import os
import socket

import pytest

ANY = ["--any-import", "--files", "full"]
LIBC = ("import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nlibc.syscall.restype = ctypes.c_long\n"
        "def sc(*a): return libc.syscall(*[ctypes.c_long(x) for x in a])\n")


@pytest.mark.parametrize("number, name", [
    (101, "ptrace"), (165, "mount"), (155, "pivot_root"), (272, "unshare"), (308, "setns"), (248, "add_key"),
    (250, "keyctl"), (321, "bpf"), (298, "perf_event_open"), (169, "reboot"), (175, "init_module"),
    (246, "kexec_load"), (167, "swapon"), (310, "process_vm_readv"), (304, "open_by_handle_at"),
])
def test_a_refused_call_is_named_with_its_line(pyexec, number, name):
    result = pyexec.result(LIBC + "x = 1\nsc(%d, 0, 0, 0, 0, 0)" % number, *ANY)
    assert (result["status"], result["exit_code"]) == ("crashed", 159), result
    denial = result["denials"][-1]
    assert denial["layer"] == "syscall" and name in denial["what"] and denial["line"] == 4 and denial["hint"]


def test_blocking_the_trap_kills(pyexec):
    code = LIBC + "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGSYS})\nsc(101, 0, 0, 0, 0)\nprint('on')"
    result = pyexec.result(code, *ANY)
    assert (result["status"], result["exit_code"], result["stdout"]) == ("crashed", 159, "")


@pytest.mark.parametrize("call", ["libc.fork()", "libc.vfork()", "sc(435, 0, 0)", "sc(56, 17, 0, 0, 0, 0)",
                                  "sc(59, 0, 0, 0)", "libc.system(b'true')", "libc.socket(2, 1, 0)",
                                  "libc.socket(1, 1, 0)", "libc.socket(16, 3, 0)", "sc(319, 0, 0)",
                                  "libc.shmget(77, 4096, 0o1600)", "sc(425, 1, 0)", "libc.kill(0, 0)",
                                  "sc(13, 31, 0, 0, 8)", "libc.ioctl(0, 0x5412, b'x')", "libc.fcntl(1, 1031, 4096)"])
def test_a_probed_call_fails_quietly(own, call):
    result = own.result(LIBC + call + " < 0 or %s > 255" % call, *ANY)
    assert (result["status"], result["last_value_repr"]) == ("ok", "True"), result


def test_32_bit_calls_kill(own):
    code = ("import ctypes, mmap\nm = mmap.mmap(-1, 4096, prot=7)\n"
            "m.write(b'\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3')\n"
            "ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()\nprint('on')")
    result = own.result(code, *ANY)
    assert result["stdout"] == "" and result["status"] in ("crashed", "killed"), result


def test_ids_capabilities_and_host_name(pyexec):
    code = LIBC + ("import os\nn = ctypes.create_string_buffer(99)\nlibc.gethostname(n, 99)\n"
                   "print(os.getuid() != 0, libc.setresuid(0, 0, 0), libc.sethostname(b'x', 1) if 0 else -1)\nn.value")
    result = pyexec.result(code, *ANY)
    assert result["stdout"] == "True -1 -1\n" and socket.gethostname().encode() not in result["last_value_repr"].encode()


def test_no_process_of_the_host_is_seen(pyexec):
    code = LIBC + "[p for p in range(2, 5000) if libc.kill(p, 0) == 0], libc.kill(%d, 0), libc.getpid()" % os.getpid()
    assert pyexec.result(code, *ANY)["last_value_repr"] == "([], -1, 1)"


def test_descriptors_are_0_to_3(pyexec):
    code = "import os\nf = []\nfor n in range(4096):\n    try:\n        os.fstat(n); f.append(n)\n    except OSError: pass\nf"
    read, write = os.pipe()
    os.set_inheritable(read, True)
    result = pyexec.result(code, *ANY, pass_fds=[read])
    os.close(read), os.close(write)
    assert result["last_value_repr"] == "[0, 1, 2, 3]"


def test_no_network(pyexec):
    result = pyexec.result("import socket\nsocket.create_connection(('127.0.0.1', 80))")
    assert "network disabled" in result["error_repr"] and result["denials"][0]["layer"] == "network", result
    assert pyexec.result("import socket\na, b = socket.socketpair()\na.send(b'x')\nb.recv(1)")["last_value_repr"] == "b'x'"


def test_network_when_allowed(pyexec):
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    code = "import socket\nsocket.create_connection(('127.0.0.1', %d), 5).getpeername()[1]" % port
    result = pyexec.result(code, "--network")
    server.close()
    assert result["last_value_repr"] == str(port), result
    path = "\0pyexec-test-%d" % os.getpid()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path), listener.listen()
    result = pyexec.result("import socket\nsocket.socket(socket.AF_UNIX).connect(%r)" % path, "--network")
    listener.close()
    assert result["status"] == "error", result


def test_processes_are_refused_in_words(own):
    for code in ("import os\nos.fork()", "import subprocess\nsubprocess.run(['true'])", "import os\nos.system('true')"):
        result = own.result(code, *ANY)
        assert "processes are not allowed" in result["error_repr"] and result["denials"][0]["layer"] == "processes", result


def test_the_result_channel_is_parsed_as_hostile(own):
    for payload in (b"junk", b"", b"\xff" * 20000, b"\x04\0\0\0\x01\0\0\0\0" * 3, b"\x0f\0\0\0\0\0\0\0x"):
        result = own.result("import os\ntry:\n    os.write(3, %r)\nexcept OSError: pass\n42" % payload, *ANY)
        assert result["status"] in ("ok", "crashed") and result["last_value_repr"] in (None, "42"), result
    result = own.result("import os\nos.close(3)\nimport time\ntime.sleep(0.1)\n1", *ANY)
    assert result["status"] == "crashed"


def test_doctor(pyexec):
    import json
    done = pyexec.run("doctor", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 0 and report["ok"], report
    assert len(report["selftest"]) == 9 and all(item["held"] for item in report["selftest"]), report["selftest"]
    assert all(layer["present"] for layer in report["layers"] if layer["required"])
    assert b"All required layers hold" in pyexec.run("doctor").stdout

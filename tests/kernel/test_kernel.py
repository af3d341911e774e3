"""The kernel stops attacks: raw system calls that bypass every Python-level check."""
import json
import os
import platform
import socket
import subprocess

import pytest
from conftest import BUILD
from syscalls_needed import numbers

ANY = ["--any-import", "--files", "full"]
NUMBERS = numbers()
# sc() takes a system call by its name, or by a number.
LIBC = ("import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nlibc.syscall.restype = ctypes.c_long\n"
        "def sc(name, *a, numbers=%r): return libc.syscall(*[ctypes.c_long(x) for x in (numbers.get(name, name), *a)])\n" % NUMBERS)


@pytest.mark.parametrize("name", ["ptrace", "mount", "pivot_root", "unshare", "setns", "add_key", "keyctl", "bpf", "perf_event_open", "reboot",
                                  "init_module", "kexec_load", "swapon", "process_vm_readv", "open_by_handle_at"])
def test_a_refused_call_is_named_with_its_line(pyexec, name):
    result = pyexec.result(LIBC + "x = 1\nsc(%d, 0, 0, 0, 0, 0)" % NUMBERS[name], *ANY)
    assert (result["status"], result["exit_code"]) == ("crashed", 159), result
    denial = result["denials"][-1]
    assert denial["layer"] == "syscall" and name in denial["what"] and denial["line"] == 4 and denial["hint"]


def test_blocking_the_trap_kills(pyexec):
    code = LIBC + "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGSYS})\nsc('ptrace', 0, 0, 0, 0)\nprint('on')"
    result = pyexec.result(code, *ANY)
    assert (result["status"], result["exit_code"], result["stdout"]) == ("crashed", 159, "")


@pytest.mark.parametrize("call", ["libc.fork()", "libc.vfork()", "sc('clone3', 0, 0)", "sc('clone', 17, 0, 0, 0, 0)",
                                  "sc('execve', 0, 0, 0)", "libc.system(b'true')", "libc.socket(2, 1, 0)",
                                  "libc.socket(1, 1, 0)", "libc.socket(16, 3, 0)", "sc('memfd_create', 0, 0)",
                                  "libc.shmget(77, 4096, 0o1600)", "sc('io_uring_setup', 1, 0)", "libc.kill(0, 0)",
                                  "sc('rt_sigaction', 31, 0, 0, 8)", "libc.ioctl(0, 0x5412, b'x')", "libc.fcntl(1, 1031, 4096)"])
def test_a_probed_call_fails_quietly(own, call):
    result = own.result(LIBC + call + " < 0 or %s > 255" % call, *ANY)
    assert (result["status"], result["last_value_repr"]) == ("ok", "True"), result


def test_32_bit_calls_kill(own):
    code = ("import ctypes, mmap\nm = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, 7)\n"
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
    done = pyexec.run("doctor", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 0 and report["ok"], report
    assert len(report["selftest"]) == 10 and all(item["held"] for item in report["selftest"]), report["selftest"]
    assert all(layer["present"] for layer in report["layers"] if layer["required"])
    assert b"All required layers hold" in pyexec.run("doctor").stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a PID namespace")
def test_doctor_as_the_first_process_of_a_container():
    command = ["unshare", "--pid", "--fork", "--mount-proc", BUILD + "/pyexec", "doctor", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and all(item["held"] for item in json.loads(done.stdout)["selftest"]), done.stdout


# ---- more of the kernel ----


def test_a_refused_call_deep_in_a_script(own):
    code = LIBC + "def f():\n    return libc.syscall(%d, 0, 0, 0, 0)\n\n\ndef g():\n    return f()\n\n\ng()" % NUMBERS["ptrace"]
    result = own.result(code, *ANY)
    assert (result["status"], result["exit_code"]) == ("crashed", 159), result
    denial, = [d for d in result["denials"] if d["layer"] == "syscall"]
    assert "ptrace" in denial["what"] and denial["line"] == 6, denial
    assert result["error"]["hint"] and result["error_repr"], result


def test_a_refused_call_in_a_thread(own):
    code = LIBC + "import threading, time\nthreading.Thread(target=sc, args=(101, 0, 0, 0, 0)).start()\ntime.sleep(2)\nprint('on')"
    result = own.result(code, *ANY)
    assert (result["status"], result["exit_code"], result["stdout"]) == ("crashed", 159, ""), result
    assert "ptrace" in result["denials"][-1]["what"]


@pytest.mark.parametrize("before", [
    "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))",
    "import signal\nsignal.signal(signal.SIGSYS, signal.SIG_IGN)",
    "import signal\nsignal.signal(signal.SIGSYS, lambda *a: None)",
    "libc.signal(31, 1)",
    "libc.signal(31, ctypes.CFUNCTYPE(None, ctypes.c_int)(print))",
    "m = ctypes.create_string_buffer(b'\\xff' * 128)\nlibc.sigprocmask(0, m, None)",
    "m = ctypes.create_string_buffer(b'\\xff' * 8)\nsc('rt_sigprocmask', 0, ctypes.addressof(m), 0, 8)",
])
def test_no_handler_of_the_script_survives_a_refused_call(own, before):
    before = "try:\n    " + before.replace("\n", "\n    ") + "\nexcept PermissionError: pass\n"
    result = own.result(LIBC + before + "sc('ptrace', 0, 0, 0, 0)\nprint('on', flush=True)", *ANY)
    assert (result["status"], result["exit_code"], result["stdout"]) == ("crashed", 159, ""), result


def test_a_number_that_no_call_has(own):
    for number in (9999, 0x40000000 | 39, -1, 1 << 31):
        result = own.result(LIBC + "sc(%d, 0, 0, 0, 0, 0)" % number, *ANY)
        assert result["status"] == "crashed" or result["last_value_repr"] == "-1", (number, result)


@pytest.mark.parametrize("call, name", [
    ("libc.mount(b'none', b'/workspace', b'tmpfs', 0, None)", "mount"), ("libc.umount2(b'/workspace', 2)", "umount2"),
    ("libc.unshare(0x10000000)", "unshare"), ("libc.chroot(b'/workspace')", "chroot"), ("sc('keyctl', 0, -3, 1)", "keyctl"),
    ("sc('request_key', 0, 0, 0, 0)", "request_key"), ("sc('open_tree', 0, 0, 0)", "open_tree"), ("sc('fsopen', 0, 0)", "fsopen"),
    ("sc('move_mount', 0, 0, 0, 0, 0)", "move_mount"), ("sc('mount_setattr', 0, 0, 0, 0, 0)", "mount_setattr"), ("sc('userfaultfd', 0)", "userfaultfd"),
    ("sc('process_vm_writev', 1, 0, 0, 0, 0, 0)", "process_vm_writev"), ("libc.sethostname(b'x', 1)", "sethostname"),
    ("sc('adjtimex', 0)", "adjtimex"), ("sc('settimeofday', 0, 0)", "settimeofday"), ("sc('clock_settime', 0, 0)", "clock_settime"),
    ("sc('syslog', 3, 0, 0)", "syslog"), ("sc('acct', 0)", "acct"), ("sc('fanotify_init', 0, 0)", "fanotify_init"),
    ("sc('kcmp', 1, 1, 0, 0, 0)", "kcmp"), ("sc('pidfd_open', 1, 0)", "pidfd_open"), ("sc('pidfd_getfd', 3, 0, 0)", "pidfd_getfd"),
    *[("sc('%s', 3, 0, 0)" % name, name) for name in ("iopl", "modify_ldt", "mknod") if name in NUMBERS],     # arm64 lacks them
])
def test_what_only_administrators_do(pyexec, call, name):
    """The call must be refused with an errno, or end the run with a denial that names it."""
    result = pyexec.result(LIBC + call, *ANY)
    if result["status"] == "crashed":
        assert result["exit_code"] == 159 and name in result["denials"][-1]["what"], result
    else:
        assert (result["status"], result["last_value_repr"]) == ("ok", "-1"), result


def test_memfd_gives_nothing_to_execute(pyexec):
    code = LIBC + "fd = sc('memfd_create', ctypes.addressof(ctypes.create_string_buffer(b'x')), 0)\nfd, sc('execveat', fd, 0, 0, 0, 0x1000)"
    result = pyexec.result(code, *ANY)
    assert result["status"] == "crashed" or result["last_value_repr"] == "(-1, -1)", result


@pytest.mark.parametrize("call", ["libc.fork()", "libc.vfork()", *["sc('%s')" % name for name in ("fork", "vfork") if name in NUMBERS],
                                  "sc('clone', 17, 0, 0, 0, 0)", "sc('clone', 0x10000011, 0, 0, 0, 0)",
                                  "sc('clone3', ctypes.addressof(ctypes.create_string_buffer(88)), 88)",
                                  "-(libc.posix_spawn(ctypes.byref(ctypes.c_int()), b'/bin/sh', None, None, V, V) == 1)",
                                  "sc('execve', ctypes.addressof(ctypes.create_string_buffer(b'/bin/sh')), 0, 0)"])
def test_no_process_begins(pyexec, call):
    result = pyexec.result(LIBC + "V = (ctypes.c_char_p * 2)(b'/bin/sh', None)\n" + call, *ANY)
    if result["status"] == "crashed":
        assert result["exit_code"] == 159, result
    else:
        assert (result["status"], result["last_value_repr"]) == ("ok", "-1"), result


@pytest.mark.parametrize("domain, kind, protocol", [(d, k, 0) for d in (1, 2, 10, 16, 17, 31, 38, 40) for k in (1, 2, 3)])
def test_no_socket_of_any_family(own, domain, kind, protocol):
    result = own.result(LIBC + "libc.socket(%d, %d, %d)" % (domain, kind, protocol), *ANY)
    assert result["status"] == "crashed" or result["last_value_repr"] == "-1", result


@pytest.mark.parametrize("domain, kind", [(1, 1), (16, 3), (17, 3), (2, 3), (40, 1)])
def test_with_the_network_only_internet_sockets(own, domain, kind):
    result = own.result(LIBC + "libc.socket(%d, %d, 0)" % (domain, kind), *ANY, "--network")
    if (domain, kind) == (16, 3):       # netlink route, which getaddrinfo() uses
        return
    assert result["status"] == "crashed" or result["last_value_repr"] == "-1", result


def test_a_socketpair_leads_nowhere(pyexec):
    """The script can only make a connected pair of stream sockets, whose ends can't be bound or connected to anything else."""
    path = "\0pyexec-kernel-%d" % os.getpid()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path), listener.listen()
    code = LIBC + ("f = (ctypes.c_int * 2)()\nr = libc.socketpair(1, 1, 0, f)\np = b'\\1\\0' + %r\n"
                   "r, libc.connect(f[0], p, len(p)), libc.bind(f[0], p + b'x', len(p) + 1), libc.listen(f[0], 1),"
                   " libc.sendto(f[0], b'x', 1, 0x4000, b'\\2\\0\\0\\x35\\x7f\\0\\0\\1' + bytes(8), 16), libc.socketpair(1, 2, 0, f)" % path.encode())
    result = pyexec.result(code, *ANY)
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        listener.accept()
    listener.close()
    assert result["status"] == "crashed" or result["last_value_repr"] == "(0, -1, -1, -1, -1, -1)", result


def test_32_bit_getpid_by_machine_code_dies(pyexec):
    code = ("import ctypes, mmap\nm = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, 7)\nm.write(b'\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3')\n"
            "print('before', flush=True)\n"
            "ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()\nprint('on', flush=True)")
    result = pyexec.result(code, *ANY)
    assert result["status"] in ("crashed", "killed") and result["stdout"] == "before\n" and result["exit_code"] > 128, result


def test_ids_and_capabilities(pyexec):
    code = LIBC + ("import os\nh = (ctypes.c_uint32 * 2)(0x20080522, 0)\nd = (ctypes.c_uint32 * 6)()\n"
                   "r = libc.capget(h, d)\nprint(r, list(d))\n"
                   "print(0 not in os.getresuid() + os.getresgid(), 0 not in os.getgroups())\n"
                   "libc.setuid(0), libc.setgid(0), libc.setreuid(0, 0), libc.setgroups(0, None)")
    result = pyexec.result(code, *ANY)
    lines = result["stdout"].splitlines()
    assert lines == ["0 [0, 0, 0, 0, 0, 0]", "True True"], result
    assert result["status"] == "crashed" or result["last_value_repr"] == "(-1, -1, -1, -1)", result


def test_the_host_name_is_not_the_hosts(pyexec):
    result = pyexec.result("import os, platform, socket\nos.uname().nodename, platform.node(), socket.gethostname()", *ANY)
    assert socket.gethostname() not in result["last_value_repr"] and result["status"] == "ok", result


def test_the_environment_of_the_host_is_nowhere(pyexec):
    """It is not in os.environ, not in environ of the C library, and not on the stack, where execve put it."""
    code = LIBC + ("import os\ne = ctypes.POINTER(ctypes.c_char_p).in_dll(libc, 'environ')\nn, c = 0, []\n"
                   "while e and e[n]: c.append(e[n]); n += 1\n"
                   "word = b'corpus-' + b'secret-' + b'value'\n"
                   "here = ctypes.addressof(ctypes.create_string_buffer(1))\n"
                   "a = ctypes.c_void_p.in_dll(libc, '__libc_stack_end').value if hasattr(libc, '__libc_stack_end') else 0\n"
                   "print(bool(a), 'CORPUS_SECRET' in os.environ, any(b'CORPUS' in x for x in c))\n"
                   "found, page = False, a & ~4095\n"
                   "mincore = lambda p: libc.mincore(ctypes.c_void_p(p), ctypes.c_size_t(4096), ctypes.create_string_buffer(1)) == 0\n"
                   "pages = 0\n"
                   "while a and mincore(page):\n    found |= word in ctypes.string_at(page, 4096); page += 4096; pages += 1\n"
                   "found, pages > 0")
    result = pyexec.result(code, *ANY, env=dict(os.environ, CORPUS_SECRET="corpus-secret-value"))
    assert result["status"] == "ok" and result["stdout"].split()[1:] == ["False", "False"], result
    assert result["last_value_repr"].startswith("(False"), result


def test_no_proc_and_no_sys(pyexec):
    """There is only what some libraries need of /proc/self: its maps exist and are empty (src/guest/library_dirs.c)."""
    code = LIBC + ("libc.read(libc.open(b'/proc/self/maps', 0), ctypes.create_string_buffer(9), 9), "
                   "[p for p in (b'/proc', b'/proc/self', b'/proc/1', b'/sys', b'/sys/kernel') if libc.open(p + b'/', 0x10000) >= 0 "
                   "and libc.open(p + b'/version', 0) + libc.open(p + b'/status', 0) + libc.open(p + b'/mm', 0) > -3]")
    assert pyexec.result(code, *ANY)["last_value_repr"] == "(0, [])"


def test_signals_reach_nobody_else(pyexec):
    code = LIBC + ("import os\n[p for p in (-1, 0, 2, 3, %d, %d) if sc('kill', p, 0) == 0 or sc('tgkill', p, p, 0) == 0 or sc('tkill', p, 0) == 0]"
                   % (os.getpid(), os.getppid()))
    result = pyexec.result(code, *ANY)
    assert result["status"] == "crashed" or result["last_value_repr"] == "[]", result


def test_writes_outside_the_workspace_fail(pyexec):
    code = LIBC + ("bad = []\nfor p in (b'/', b'/usr', b'/usr/lib', b'/lib', b'/dev', b'/tmp', b'/etc', b'/var/tmp', b'/dev/shm', b'/run'):\n"
                   "    for r in (libc.open(p + b'/x', 0o101, 0o600), libc.mkdir(p + b'/d', 0o700), libc.symlink(b'a', p + b'/l'),\n"
                   "              libc.mknod(p + b'/n', 0o100600, 0), libc.link(b'/workspace/f', p + b'/h'), libc.open(p, 0o20200000 | 2, 0o600)):\n"
                   "        if r >= 0: bad.append(p)\n"
                   "    if libc.chmod(p, 0o777) == 0 or libc.rename(b'/workspace', p + b'/w') == 0: bad.append(p)\nbad")
    result = pyexec.result(code.replace("libc.mknod(p + b'/n', 0o100600, 0), ", ""), *ANY)
    assert result["last_value_repr"] == "[]", result


def test_the_files_of_python_cannot_be_written(pyexec):
    code = LIBC + "import os\n[libc.open(os.__file__.encode(), f) for f in (1, 2, 0o1001)], libc.unlink(os.__file__.encode()), libc.truncate(os.__file__.encode(), 0)"
    assert pyexec.result(code, *ANY)["last_value_repr"] == "([-1, -1, -1], -1, -1)"


def test_descriptors_of_a_run_are_what_they_say(own):
    """Descriptor 0 is neither a terminal nor a file of the host, 1 and 2 are write-only pipes, and 3 is the channel."""
    code = ("import os, stat, fcntl\nf = []\nfor n in range(64):\n    try: s = os.fstat(n)\n    except OSError: continue\n"
            "    f.append((n, stat.S_ISDIR(s.st_mode), os.isatty(n)))\nf")
    result = own.result(code, *ANY)
    assert result["last_value_repr"] == "[(0, False, False), (1, False, False), (2, False, False), (3, False, False)]", result


def test_a_descriptor_left_open_by_the_caller_is_not_inherited(pyexec, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret of the host")
    file = os.open(secret, os.O_RDONLY)
    folder = os.open("/", os.O_RDONLY)
    code = ("import os\nr = []\nfor n in list(range(4, 300)) + [%d, %d]:\n    try:\n        os.fstat(n); r.append(n)\n    except OSError: pass\nr" % (file, folder))
    try:
        result = pyexec.result(code, *ANY, pass_fds=[file, folder])
    finally:
        os.close(file), os.close(folder)
    assert result["last_value_repr"] == "[]", result


def test_the_terminal_cannot_be_typed_into(own):
    code = LIBC + "import os\n[libc.ioctl(n, 0x5412, b'x') for n in range(4)], libc.open(b'/dev/tty', 2), libc.open(b'/dev/pts/0', 2)"
    assert own.result(code, *ANY)["last_value_repr"] == "([-1, -1, -1, -1], -1, -1)"


def test_no_shared_memory_that_limits_do_not_see(own):
    code = LIBC + ("libc.mmap.restype = ctypes.c_void_p\n"
                   "[libc.mmap(None, ctypes.c_size_t(4096), 3, f, -1, ctypes.c_long(0)) == ctypes.c_void_p(-1).value for f in (0x21, 0x23, 0x22)]")
    assert own.result(code, *ANY)["last_value_repr"] == "[True, True, False]"
    assert own.result(LIBC + "libc.open(b'/dev/zero', 2)", *ANY)["last_value_repr"] == "-1"


def test_no_set_id_files(pyexec):
    code = ("import os\nopen('f', 'w').close()\nos.mkdir('d')\nout = []\nfor act in (lambda: os.chmod('f', 0o4755), lambda: os.chmod('f', 0o2755),\n"
            "    lambda: os.fchmod(os.open('f', 0), 0o6755), lambda: os.chmod('d', 0o2755), lambda: os.mkdir('e', 0o2755), lambda: os.chmod('f', 0o755)):\n"
            "    try: act(); out.append('done')\n    except PermissionError: out.append('refused')\nout")
    assert pyexec.result(code, *ANY)["last_value_repr"] == str(["refused"] * 5 + ["done"])


def test_stdin_carries_nothing_from_run_to_run(own):
    code = "import fcntl, os\nbefore = fcntl.fcntl(0, fcntl.F_GETFL)\nfcntl.fcntl(0, fcntl.F_SETFL, os.O_APPEND | os.O_NONBLOCK)\n" \
           "try: os.utime(0, None)\nexcept OSError as e: print(e.errno)\nbefore & (os.O_APPEND | os.O_NONBLOCK)"
    from library import Executor
    with Executor({"use_import_whitelist": False, "banned_imports": [], "disable_open": False}) as executor:
        for session in (None, None, "s", "s"):
            result = executor.call(session, code)
            assert (result["last_value_repr"], result["stdout"]) == ("0", "30\n"), result


def test_a_forged_value_is_cut_on_a_character(own):
    code = ("import os, struct\ndef field(k, b): return struct.pack('=HHI', k, 0, len(b)) + b\n"
            "d = b'a' + 'é'.encode() * 12000\nos.write(3, field(5, d) + field(%d, b''))\nimport time\ntime.sleep(1)")
    for limit in ("100", "101"):
        for done in range(12, 20):
            result = own.result(code % done, *ANY, "--max-value-bytes", limit, "--timeout", "300ms")
            assert len((result["last_value_repr"] or "").encode()) <= 101, result


MACHINE_CODE = ("import ctypes, mmap\nm = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, 7)\nm.write(bytes.fromhex('%s'))\n"
                "ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()\nprint('on', flush=True)")


@pytest.mark.skipif(platform.machine() != "x86_64", reason="x86-64 has these interfaces")
@pytest.mark.parametrize("code, what", [
    (LIBC + "sc(0x40000000 | 39)\nprint('on')", "getpid (39) of the x32 interface"),
    (LIBC + "sc(0x40000000 | 520, 0, 0, 0)\nprint('on')", "unknown (520) of the x32 interface"),
    (MACHINE_CODE % "b814000000cd80c3", "number 20 of the 32-bit interface (int 0x80)"),
])
def test_a_call_of_another_interface_is_named_as_one(pyexec, code, what):
    result = pyexec.result(code, *ANY)
    assert (result["status"], result["exit_code"], result["stdout"]) == ("crashed", 159, ""), result
    denial, = result["denials"]
    assert (denial["layer"], denial["what"], denial["line"]) == ("syscall", what, 4) and "32-bit system call interface" in denial["hint"]
    assert what in result["error_repr"] and result["error"]["hint"] == denial["hint"] and result["error"]["line"] == 4


@pytest.mark.parametrize("call", ["libc.ptrace(0, 0, 0, 0)", *(["sc(0x40000000 | 39)"] if platform.machine() == "x86_64" else [])])
def test_a_refused_call_with_its_signal_blocked_is_told_by_the_host(own, call):
    result = own.result(LIBC + "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGSYS})\n" + call, *ANY)
    assert (result["status"], result["exit_code"]) == ("crashed", 159), result
    denial, = result["denials"]
    assert denial["layer"] == "syscall" and "SIGSYS" in denial["what"] and denial["hint"] == result["error"]["hint"]

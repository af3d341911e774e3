"""The kernel's layers when the guard is bypassed: what native code can try, at every level of file access."""
import json
import os
import subprocess

import pytest

ANY = ["--any-import"]
LIBC = ("import ctypes, os, mmap\nlibc = ctypes.CDLL(None, use_errno=True)\nlibc.syscall.restype = ctypes.c_long\n"
        "def sc(*a): return libc.syscall(*[ctypes.c_long(x) for x in a])\n"
        "def at(data): return ctypes.addressof(ctypes.create_string_buffer(data, max(len(data), 1)))\n")
# Uses getdents64, to bypass every Python-level listing.
LIST = ("def ls(path):\n    fd, b, out = libc.open(path, 0o200000), ctypes.create_string_buffer(1 << 16), []\n    if fd < 0: return None\n"
        "    while True:\n        n = sc(217, fd, ctypes.addressof(b), len(b))\n        if n <= 0: return sorted(set(out) - {'.', '..'})\n"
        "        i = 0\n        while i < n:\n            size = int.from_bytes(b.raw[i + 16:i + 18], 'little')\n"
        "            out.append(b.raw[i + 19:i + size].split(b'\\0')[0].decode(errors='replace')); i += size\n")
FILES = ["none", "read", "full"]
EMPTY = ["data", "home", "media", "mnt", "opt", "run", "srv", "tmp", "var"]


def holds(result, value="-1"):
    """The call must be refused with an errno, or end the run with a denial that names it."""
    if result["status"] == "crashed":
        assert result["exit_code"] == 159 and result["denials"][-1]["layer"] == "syscall" and result["denials"][-1]["hint"], result
        return
    assert (result["status"], result["last_value_repr"]) == ("ok", value), result


# ---- What a script can see ----

@pytest.mark.parametrize("files", FILES)
def test_the_tree_has_only_what_python_needs(pyexec, files):
    code = LIBC + LIST + ("[ls(p) for p in (b'/', b'/dev', b'/etc', b'/usr', b'/proc', b'/proc/self', b'/home', b'/root', b'/sys', b'/run', b'/var',"
                          " b'/work', b'/boot', b'/data', b'/media', b'/mnt', b'/opt', b'/srv')]")
    result = pyexec.result(code, *ANY, "--files", files)
    root, dev, etc, usr, proc, own, *rest = eval(result["last_value_repr"])
    # All runs have the empty folders in which workspaces of the host may be mounted (src/sandbox/root.c).
    assert set(root) <= {"dev", "etc", "lib", "lib64", "proc", "usr", "workspace", *EMPTY}, root
    # The program's path, an empty command line and no mappings; no process can be looked at (src/guest/library_dirs.c).
    assert proc == ["self"] and sorted(own) == ["cmdline", "exe", "maps"], (proc, own)
    assert set(dev) <= {"full", "null", "random", "urandom", "zero", "fd", "shm"} and set(usr) <= {"lib", "lib64", "share", "local", "bin"}, (dev, usr)
    assert set(etc or []) <= {"ld.so.cache", "localtime", "ssl"} and all(not names for names in rest), (etc, rest)


def test_the_network_adds_only_what_a_resolver_needs(pyexec):
    code = LIBC + LIST + ("ls(b'/'), ls(b'/etc'), [ls(b'/' + p.encode()) for p in EMPTY], "
                          "[libc.open(b'/etc/' + p, 0) for p in (b'passwd', b'shadow', b'hostname', b'machine-id', b'ssl/private')]")
    root, etc, empty, opened = eval(pyexec.result("EMPTY = %r\n" % EMPTY + code, *ANY, "--network", "--files", "full")["last_value_repr"])
    assert not {"passwd", "shadow", "group", "hostname", "machine-id", "ssh", "fstab"} & set(etc) and opened == [-1] * 5, (etc, opened)
    assert not {"sys", "root", "boot"} & set(root) and not any(empty), (root, empty)


def test_with_the_network_certificates_and_names_work(pyexec):
    code = ("import ssl, socket\nssl.create_default_context().cert_store_stats()['x509_ca'] > 10, "
            "sorted({a[4][0] for a in socket.getaddrinfo('localhost', 80)} & {'127.0.0.1', '::1'})[:1] != []")
    if not os.path.exists("/etc/ssl/certs/ca-certificates.crt"):
        pytest.skip("no CA certificates on this machine")
    assert pyexec.result(code, *ANY, "--network")["last_value_repr"] == "(True, True)"


@pytest.mark.parametrize("path", ["/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/lib/systemd", "/usr/share/doc", "/usr/local/bin", "/snap"])
def test_no_program_of_the_host_is_there(own, path):
    assert own.result(LIBC + "libc.open(%r, 0)" % path.encode(), *ANY, "--files", "full")["last_value_repr"] == "-1"


def test_devices_are_four_and_harmless(pyexec):
    code = LIBC + ("import stat\nout = []\nfor n in ('full', 'null', 'random', 'urandom', 'zero'):\n    try: s = os.stat('/dev/' + n)\n"
                   "    except OSError: continue\n    out.append((n, stat.S_ISCHR(s.st_mode), os.major(s.st_rdev)))\nout")
    result = pyexec.result(code, *ANY, "--files", "full")
    if result["status"] == "error":         # the guard does not show them; ask the kernel
        code = LIBC + "[libc.open(b'/dev/' + n, 0) >= 0 for n in (b'null', b'zero', b'full', b'urandom')]"
        assert pyexec.result(code, *ANY, "--files", "full")["last_value_repr"] == "[True, True, True, True]"
    else:
        assert all(is_char and major == 1 for _, is_char, major in eval(result["last_value_repr"])), result


# ---- Native code that comes as a file ----

COPY = ("src = next(p for p in (b'/lib/x86_64-linux-gnu/libz.so.1', b'/usr/lib/x86_64-linux-gnu/libz.so.1', b'/lib64/libz.so.1') if libc.access(p, 4) == 0)\n"
        "fd, data, b = libc.open(src, 0), b'', ctypes.create_string_buffer(1 << 16)\nwhile True:\n    n = libc.read(fd, b, len(b))\n"
        "    if n <= 0: break\n    data += b.raw[:n]\nopen('l.so', 'wb').write(data)\n")


def test_a_library_in_the_workspace_cannot_be_loaded(pyexec):
    result = pyexec.result(LIBC + COPY + "assert len(data) > 9999\ntry:\n    ctypes.CDLL('/workspace/l.so')\n    x = 'loaded'\n"
                           "except OSError as e:\n    x = str(e)\nx", *ANY, "--files", "full")
    if result["status"] == "error" and "StopIteration" in result["error_repr"]:
        pytest.skip("no libz of the host to copy")
    assert "loaded" not in result["last_value_repr"] and "too short" not in result["last_value_repr"], result


@pytest.mark.parametrize("line", [
    "mmap.mmap(f.fileno(), 4096, prot=5, flags=1)", "mmap.mmap(f.fileno(), 4096, prot=5, flags=2)", "mmap.mmap(f.fileno(), 4096, prot=7, flags=2)",
    "m = mmap.mmap(f.fileno(), 4096, prot=3, flags=2); assert libc.mprotect(ctypes.c_void_p(ctypes.addressof(ctypes.c_char.from_buffer(m))), 4096, 5) == 0",
    "assert libc.chmod(b'/workspace/f', 0o4755) != 0 or os.stat('f').st_mode & 0o4000 == 0 or os.getuid() != 0 and 0",
])
def test_a_file_of_the_workspace_is_never_code(pyexec, line):
    code = LIBC + "f = open('f', 'w+b')\nn = f.write(b'\\xc3' * 4096)\nf.flush()\n" + line + "\n'executable'"
    result = pyexec.result(code, *ANY, "--files", "full")
    assert result["status"] in ("error", "crashed") or "chmod" in line, result


# ---- System calls, each in its own run ----

CALLS = {
    "ids and bounds": ["sc(105, 0)", "sc(106, 0)", "sc(113, 0, 0)", "sc(117, 0, 0, 0)", "sc(122, 0)", "sc(116, 0, 0)", "sc(126, at(bytes(8)), at(bytes(24)))"],
    "prctl": ["sc(157, %s)" % a for a in ("4, 1", "0x59616d61, -1", "38, 0", "47, 2, 12", "22, 1", "22, 2, 0", "24, 0", "28, 0", "35, 1, 0", "36, 1",
                                          "26, 1", "0x53564d41, 0, 0, 0", "1, 0", "66, 0", "59, 0, 0, 0, 0")],
    "memory of others": ["sc(310, 1, 0, 0, 0, 0, 0)", "sc(311, 2, 0, 0, 0, 0, 0)", "sc(440, 3, 0, 0, 0, 0)", "sc(256, 1, 0, 0, 0)", "sc(279, 2, 0, 0, 0, 0, 0)",
                         "sc(325, 4096, 1, 0)", "sc(151, 3)", "sc(447, 0)", "sc(319, at(b'a'), 0)", "sc(323, 0)"],
    "shared memory and queues": ["libc.shmget(1, 4096, 0o1600)", "libc.semget(1, 1, 0o1600)", "libc.msgget(1, 0o1600)", "sc(240, at(b'a'), 0o102, 0o600, 0)",
                                 "libc.shm_open(b'/a', 0o102, 0o600)"],
    "namespaces and threads": ["sc(56, 0x10000000 | 0x10f00, 0, 0, 0, 0)", "sc(56, 0x10000000 | 0x3d0f00, 0, 0, 0, 0)", "sc(56, 0x20000000 | 0x3d0f00, 0, 0, 0, 0)",
                               "sc(56, 0x00020000 | 0x3d0f00, 0, 0, 0, 0)", "sc(56, 0x02000000 | 0x3d0f00, 0, 0, 0, 0)", "sc(56, 0x8000 | 17, 0, 0, 0, 0)",
                               "sc(272, 0x10000000)", "sc(272, 0x200)", "sc(272, 0x400)", "sc(308, 3, 0)"],
    "priority": ["libc.setpriority(0, 0, -20)", "libc.nice(-5) if libc.nice(0) == 0 else -1", "sc(144, 0, 1, at(b'\\1\\0\\0\\0'))", "sc(314, 0, at(bytes(48)), 0)",
                 "sc(251, 1, 0, 1 << 13)", "sc(160, 7, at(b'\\xff' * 16))"],
    "descriptors": ["sc(72, 1, 8, 1)", "sc(72, 1, 15, 0)", "sc(72, 1, 10, 12)", "sc(72, 1, 1024, 1)", "sc(72, 1, 1026, 1)", "sc(72, 1, 1031, 1 << 24)",
                    "sc(16, 1, 0x5412, at(b'x'))", "sc(16, 0, 0x541c, at(b'\\2'))", "sc(16, 3, 0x8912, 0)", "sc(47, 3, 0, 0)", "sc(46, 3, 0, 0)"],
    "personality and time": ["sc(135, 0x0040000)", "sc(135, 0x0400000)", "sc(135, 8)", "sc(227, 0, at(bytes(16)))", "sc(305, 0, at(bytes(208)))"],
    "tracing and watching": ["sc(101, 0, 0, 0, 0)", "sc(298, at(bytes(128)), 0, -1, -1, 0)", "sc(253)", "sc(294, 0)", "sc(300, 0, 0)", "sc(212, 0, 0, 0)",
                             "sc(321, 0, 0, 0)", "sc(103, 2, 0, 0)", "sc(312, 1, 1, 0, 0, 0)", "sc(438, 3, 0, 0)", "sc(424, 3, 9, 0, 0)"],
    "asynchronous calls": ["sc(425, 1, at(bytes(120)))", "sc(426, 3, 1, 0, 0, 0, 0)", "sc(427, 3, 0, 0, 0)", "sc(206, 8, at(bytes(8)))"],
    "own filters": ["sc(317, 1, 0, at(bytes(16)))", "sc(317, 0, 0, 0)", "sc(446, 3, 0, 0)"],
    "mounts": ["sc(165, at(b'none'), at(b'/'), at(b'tmpfs'), 0, 0)", "sc(166, at(b'/'), 2)", "sc(155, at(b'/'), at(b'/'))", "sc(161, at(b'/'))",
               "sc(428, -100, at(b'/'), 1)", "sc(429, -100, 0, -100, 0, 0)", "sc(430, at(b'tmpfs'), 0)", "sc(442, -100, 0, 0, 0, 0)", "sc(304, 3, 0, 0)"],
}


@pytest.mark.parametrize("call", [call for calls in CALLS.values() for call in calls])
def test_a_call_that_no_script_needs_is_refused(own, call):
    holds(own.result(LIBC + call, *ANY, "--files", "full"))


@pytest.mark.parametrize("theme", CALLS)
def test_calls_that_are_not_fatal_fail_for_each_user(pyexec, theme):
    """Tries all calls of a group in one process. Calls that end the process were tried above."""
    code = LIBC + "r = []\nfor c in %r:\n    r.append(eval(c))\nset(r)" % CALLS[theme]
    holds(pyexec.result(code, *ANY), "{-1}")


def test_the_process_is_not_dumpable_and_has_no_new_privileges(pyexec):
    assert pyexec.result(LIBC + "sc(157, 3, 0, 0, 0, 0), sc(157, 39, 0, 0, 0, 0)", *ANY)["last_value_repr"] in ("(0, 1)", "(-1, 1)", "(-1, -1)")


def test_limits_of_the_kernel_cannot_be_raised(pyexec):
    """prlimit64 with each resource: a finite limit can't be raised."""
    code = LIBC + ("bad = []\nfor r in range(16):\n    old, new, now = (ctypes.c_ulong * 2)(), (ctypes.c_ulong * 2)(*[2 ** 64 - 1] * 2), (ctypes.c_ulong * 2)()\n"
                   "    a = ctypes.addressof\n    if sc(302, 0, r, 0, a(old)) != 0: continue\n    sc(302, 0, r, a(new), 0)\n    sc(302, 0, r, 0, a(now))\n"
                   "    if now[1] > old[1]: bad.append(r)\nbad")
    assert pyexec.result(code, *ANY)["last_value_repr"] == "[]"


@pytest.mark.parametrize("number", [39, 59, 512, 1], ids=["getpid", "execve", "rt_sigaction", "write"])
def test_x32_calls_end_the_run(pyexec, number):
    result = pyexec.result(LIBC + "sc(0x40000000 | %d, 1, at(b'on'), 2, 0)\nprint('on', flush=True)" % number, *ANY)
    assert (result["status"], result["exit_code"], result["stdout"]) == ("crashed", 159, ""), result


@pytest.mark.parametrize("code", ["sc(0x40000000 | 39)", "m = mmap.mmap(-1, 4096, 0x22, 7)\nn = m.write(b'\\xb8\\x14\\0\\0\\0\\xcd\\x80\\xc3')\n"
                                  "ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()"], ids=["x32", "int 0x80"])
def test_a_call_of_another_architecture_is_explained_rightly(own, code):
    """A call that the filter does not have ends the run with a denial that names it. There is no wrong reason."""
    result = own.result(LIBC + code, *ANY)
    assert (result["status"], result["exit_code"]) == ("crashed", 159), result
    assert "while SIGSYS was blocked" not in result["error_repr"], result["error_repr"]
    assert [d for d in result["denials"] if d["layer"] == "syscall"], result


def test_32_bit_calls_die_for_every_number(own):
    for number in (1, 2, 5, 11, 20, 120, 190):
        code = ("import ctypes, mmap\nm = mmap.mmap(-1, 4096, 0x22, 7)\nm.write(b'\\xb8' + (%d).to_bytes(4, 'little') + b'\\xcd\\x80\\xc3')\n"
                "ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()\nprint('on', flush=True)" % number)
        result = own.result(code, *ANY)
        assert result["status"] in ("crashed", "killed") and result["stdout"] == "" and result["exit_code"] > 128, (number, result)


# ---- Runs at the same time ----

def test_two_runs_at_once_see_nothing_of_each_other(pyexec, nothing_left):
    """One run makes files, shared memory and a memory pattern, and waits. The other run searches for them."""
    mark = "mark-%d" % os.getpid()
    plant = LIBC + "open('f', 'w').write(%r)\nprint('ready', flush=True)\nimport time\ntime.sleep(1.5)\nopen('f').read()" % mark
    first = pyexec.popen("run", "--json", *ANY, "--files", "full", "-c", plant, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    code = LIBC + LIST + "ls(b'/workspace'), ls(b'/tmp') or [], ls(b'/dev/shm') or [], [p for p in range(1, 300) if sc(62, p, 0) == 0]"
    for _ in range(5):
        assert pyexec.result(code, *ANY, "--files", "full")["last_value_repr"] == "([], [], [], [1])"
    assert json.loads(first.communicate(timeout=20)[0])["last_value_repr"] == repr(mark)

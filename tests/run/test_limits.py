"""Limits: each limit ends or refuses everything above it, exactly at its value, and the result says so."""
import json
import os
import resource
import select
import subprocess
import time

import pytest

from conftest import SLOWER
from library import Executor
from peak_memory import PeakMemory
from syscalls_needed import FOREVER

ANY = ["--any-import"]
FULL = [*ANY, "--files", "full"]
LOOP = (  # a C function that never comes back and holds the GIL
    "import ctypes, mmap\nm = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, 7)\nm.write(%r)\n"
    "ctypes.PYFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()" % FOREVER)

# CPython 3.11 takes a signal in `try: while True: …` as if it came before the try, when the loop is
# the first thing in it; so something comes before the loops here.
STUBBORN = "while True:\n    try:\n        i = 0\n        while True: i += 1\n    except BaseException: pass"


# ---- wall ----

@pytest.mark.parametrize("name, code", [
    ("sleep", "import time\ntime.sleep(60)"),
    ("select", "import select\nselect.select([], [], [], 60)"),
    ("event", "import threading\nthreading.Event().wait()"),
    ("lock", "import threading\nl = threading.Lock()\nl.acquire()\nl.acquire()"),
    ("busy", "while True: pass"),
    ("native", LOOP),
    ("regex", "import re\nre.match('(a*)*b', 'a' * 40)"),
    ("big number", "n = 10 ** 4000000\nstr(n) if not hasattr(__import__('sys'), 'set_int_max_str_digits') else n ** 9"),
    ("thread at the end", "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()"),
    ("repr", "import time\nclass A:\n    def __repr__(self): time.sleep(60)\nA()"),
    ("del", "import time\nclass A:\n    def __del__(self): time.sleep(60)\na = A()\ndel a"),
    ("atexit", "import atexit, time\natexit.register(time.sleep, 60)\nwhile True: time.sleep(60)"),
    ("sigalrm ignored", "import signal, time\nfor s in range(1, 65):\n    try: signal.signal(s, signal.SIG_IGN)\n"
                        "    except (OSError, ValueError): pass\ntime.sleep(60)"),
    ("all blocked", "import signal, time\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\ntime.sleep(60)"),
    ("stopped", "import signal, os\nos.kill(os.getpid(), signal.SIGSTOP)\nwhile True: pass"),
])
def test_everything_ends_at_the_wall(own, name, code):
    began = time.monotonic()
    result = own.result(code, *ANY, "--timeout", "200ms", "--cpu-time-seconds", "10")
    assert time.monotonic() - began < 3
    assert result["status"] == "timeout" and result["exit_code"] == 124, result
    assert 190 < result["usage"]["wall_ms"] < 1500, result["usage"]
    assert result["error_repr"].startswith("TimeoutError: timeout") and result["error"]["hint"], result


def test_the_wall_as_each_user(pyexec, nothing_left):
    timeout_ms = 100 * SLOWER       # the script must be in its inner loop by then
    result = pyexec.result(STUBBORN, "--timeout", "%dms" % timeout_ms)
    assert (result["status"], result["exit_code"]) == ("timeout", 124), result
    assert timeout_ms + 450 < result["usage"]["wall_ms"] < timeout_ms + 1400 * SLOWER, result["usage"]


def test_waiting_for_input_ends(own):
    """A standard input that stays open and silent is read before the run or by the run. Nothing hangs in either case."""
    read, write = os.pipe()
    process = own.popen("run", "--json", "--timeout", "200ms", "-c", "input()", stdin=read, stdout=subprocess.PIPE)
    os.close(read)
    try:
        out, _ = process.communicate(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        pytest.fail("still waiting after 5 s")
    finally:
        os.close(write)
    result = json.loads(out)
    assert (result["status"], result["exit_code"]) == ("timeout", 124), result


def test_the_kill_comes_500_ms_after_the_exception(own):
    code = ("import time\nt = None\nwhile True:\n    try:\n        while True: time.sleep(0.01)\n"
            "    except BaseException as e:\n        print(type(e).__name__, flush=True)\n")
    result = own.result(code, "--timeout", "300ms")
    assert (result["status"], result["exit_code"]) == ("timeout", 124), result
    assert result["stdout"].startswith("TimeoutError\n")
    assert 790 <= result["usage"]["wall_ms"] < 1200, result["usage"]


def test_cleanup_has_its_500_ms(own):
    code = ("import time\ntry:\n    time.sleep(60)\nfinally:\n    time.sleep(0.25)\n    print('clean')")
    result = own.result(code, "--timeout", "100ms")
    assert (result["status"], result["exit_code"], result["stdout"]) == ("timeout", 124, "clean\n"), result
    assert result["error"]["line"] == 3 and result["usage"]["wall_ms"] < 590


def test_a_caught_timeout_stays_one(own):
    code = "import time\ntry:\n    time.sleep(60)\nexcept TimeoutError as e:\n    print(e)\n'went on'"
    result = own.result(code, "--timeout", "100ms")
    assert (result["status"], result["exit_code"]) == ("timeout", 124), result
    assert result["stdout"].startswith("timeout"), result
    assert result["error_repr"].startswith("TimeoutError: timeout") and result["error"]["hint"]


def test_other_errors_after_the_timeout_are_still_a_timeout(own):
    for after in ("1 / 0", "raise SystemExit(3)", "raise MemoryError", "import os\n    os._exit(0)"):
        result = own.result("import time\ntry:\n    time.sleep(60)\nexcept TimeoutError:\n    " + after,
                            *ANY, "--timeout", "100ms")
        assert (result["status"], result["exit_code"]) == ("timeout", 124), (after, result)


@pytest.mark.parametrize("raised", ["TimeoutError('mine')", "TimeoutError('timeout')", "TimeoutError()"])
def test_a_scripts_own_timeout_error_is_an_error(own, raised):
    result = own.result("raise " + raised)
    assert (result["status"], result["exit_code"]) == ("error", 1), result
    assert result["error"]["type"] == "TimeoutError"


def test_output_before_the_kill_is_kept(own):
    code = "import time\nprint('before', flush=True)\nwhile True:\n    try: time.sleep(9)\n    except BaseException: pass"
    result = own.result(code, "--timeout", "100ms")
    assert (result["status"], result["stdout"]) == ("timeout", "before\n"), result


def test_without_json_the_exit_code_is_124(own):
    done = own.run("run", "--timeout", "100ms", "-c", "import time\ntime.sleep(60)")
    assert done.returncode == 124 and b"TimeoutError: timeout" in done.stderr


# ---- CPU ----

@pytest.mark.parametrize("name, code, exit_code", [
    ("python", "while True: pass", 1),
    ("iter", "sum(iter(int, 1))", 137),
    ("native", LOOP, 137),
    ("regex", "import re\nre.match('(a*)*b', 'a' * 40)", None),
    ("ignores it", STUBBORN, 137),
    ("threads", "import threading\ndef f():\n    while True: pass\n"
                "for _ in range(3): threading.Thread(target=f, daemon=True).start()\nf()", 1),
])
def test_everything_ends_at_the_cpu_limit(own, name, code, exit_code):
    result = own.result(code, *ANY, "--cpu-time-seconds", "1", "--timeout", "20s")
    assert result["status"] == "cpu_limit", result
    assert result["exit_code"] in ((1, 137) if exit_code is None else (exit_code,)), result
    assert result["error_repr"].startswith("TimeoutError: timeout") and "cpu_time_seconds" in result["error"]["hint"]
    assert 900 < result["usage"]["cpu_ms"] < 2200, result["usage"]


def test_a_caught_cpu_limit_stays_one_and_cleanup_runs(own):
    code = ("try:\n    i = 0\n    while True: i += 1\nexcept TimeoutError as e:\n    print('caught')\n"
            "finally:\n    print('clean')\n1")
    result = own.result(code, "--cpu-time-seconds", "1", "--timeout", "20s")
    assert (result["status"], result["exit_code"], result["stdout"]) == ("cpu_limit", 1, "caught\nclean\n"), result
    assert result["error_repr"].startswith("TimeoutError: timeout"), result


def test_sleep_costs_no_cpu(own):
    result = own.result("import time\ntime.sleep(1.2)\n1", "--cpu-time-seconds", "1")
    assert (result["status"], result["last_value_repr"]) == ("ok", "1") and result["usage"]["cpu_ms"] < 500


def test_no_cpu_limit(own):
    result = own.result("import time\nwhile time.process_time() < 2.3: pass\n1", "--cpu-time-seconds", "none", "--timeout", "60s")
    assert (result["status"], result["last_value_repr"]) == ("ok", "1"), result


# ---- memory ----

@pytest.mark.parametrize("code", [
    "x = 'x' * (1 << 31)", "x = []\nwhile True: x.append('y' * 1000000)", "x = [0] * (1 << 28)",
    "x = 1 << (1 << 33)", "x = {}\ni = 0\nwhile True:\n    x[i] = [i] * 100\n    i += 1",
    "class A(Exception): pass\ntry:\n    x = bytearray(1 << 31)\nexcept MemoryError:\n    raise",
])
def test_an_uncaught_memory_error(pyexec, code):
    result = pyexec.result(code, "--cpu-time-seconds", "10", "--timeout", "20s", "--address-space-bytes", "256M")
    assert (result["status"], result["exit_code"]) == ("memory_limit", 1), result
    assert result["error"]["type"] == "MemoryError" and "address_space_bytes" in result["error"]["hint"]
    assert result["usage"]["peak_memory_bytes"] < 300 << 20


def test_a_caught_memory_error_is_fine(own):
    code = "try:\n    x = 'x' * (1 << 31)\nexcept MemoryError:\n    print('caught')\n7"
    result = own.result(code)
    assert (result["status"], result["exit_code"], result["last_value_repr"]) == ("ok", 0, "7"), result


@pytest.mark.parametrize("grab", [
    "import mmap\nmmap.mmap(-1, 1 << 30)", "libc.malloc.restype = ctypes.c_void_p\nlibc.malloc(1 << 30)",
    "libc.sbrk.restype = ctypes.c_long\nlibc.sbrk(1 << 30)",
])
def test_the_kernel_keeps_the_address_space(own, grab):
    lines = grab.split("\n")
    code = ("import ctypes\nlibc = ctypes.CDLL(None)\n" + "\n".join(lines[:-1]) +
            "\ntry:\n    x = " + lines[-1] + "\nexcept OSError:\n    x = None\nx in (None, -1)")
    result = own.result(code, *ANY)
    assert (result["status"], result["last_value_repr"]) == ("ok", "True"), result


def test_a_script_cannot_raise_its_limits(own):
    code = ("import resource\nd = []\nfor r in (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_NOFILE,\n"
            "          resource.RLIMIT_NPROC, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE):\n    try:\n"
            "        resource.setrlimit(r, (resource.RLIM_INFINITY,) * 2)\n        d.append(r)\n"
            "    except (OSError, ValueError): pass\nd")
    assert own.result(code, *ANY)["last_value_repr"] == "[]"


# ---- descriptors ----

OPEN_ALL = ("import os\nn = []\ntry:\n    while len(n) < 5000: n.append(os.open('/dev/null', os.O_RDONLY))\n"
            "except OSError as e:\n    assert e.errno == 24, e\n")


@pytest.mark.parametrize("limit", [0, 1, 2, 100, 1000])
def test_exactly_so_many_descriptors(own, limit):
    result = own.result(OPEN_ALL + "import xml.dom.minidom, decimal, sqlite3, ssl, email.mime.text\nlen(n)",
                        *FULL, "--max-open-files", str(limit))
    assert (result["status"], result["last_value_repr"]) == ("ok", str(limit)), result


@pytest.mark.parametrize("how, cost", [
    ("os.pipe()", 2), ("os.dup(0)", 1), ("socket.socketpair()", 2), ("select.epoll()", 1),
    ("open('/dev/null')", 1), ("ctypes.CDLL(None).eventfd(0, 0)", 1), ("os.open('.', os.O_RDONLY)", 1),
])
def test_every_kind_of_descriptor_counts(own, how, cost):
    code = ("import os, socket, select, ctypes\nn = []\ntry:\n    while len(n) < 99:\n        n.append(%s)\n"
            "        if n[-1] == -1: n.pop(); break\nexcept OSError as e: print(e.errno)\nlen(n)" % how)
    result = own.result(code, *FULL, "--max-open-files", "8")
    assert result["last_value_repr"] == str(8 // cost), result


def test_closed_descriptors_are_free_again(pyexec):
    code = "import os\nfor _ in range(200): os.close(os.open('/dev/null', os.O_RDONLY))\n1"
    assert pyexec.result(code, *FULL, "--max-open-files", "1")["last_value_repr"] == "1"


def test_errors_are_reported_while_all_descriptors_are_used(own):
    result = own.result(OPEN_ALL + "print('out')\nundefined", *FULL, "--max-open-files", "4")
    assert (result["status"], result["stdout"]) == ("error", "out\n"), result
    assert result["error"]["type"] == "NameError" and "undefined" in result["error"]["traceback"]


def test_no_descriptor_limit(own):
    result = own.result(OPEN_ALL + "len(n) > 256", *FULL, "--max-open-files", "none")
    assert result["last_value_repr"] == "True", result


# ---- output ----

@pytest.mark.parametrize("stream, limit", [("stdout", 1000000), ("stderr", 1000000)])
def test_200_mb_against_a_cap_of_1_mb(pyexec, stream, limit):
    code = "import sys\nb = b'x' * 1000000\nfor _ in range(200): sys.%s.buffer.write(b)\nNone" % stream
    read, write = os.pipe()
    process = pyexec.popen("run", "--json", *ANY, "--max-%s-bytes" % stream, str(limit), "--timeout", "30s",
                           "--cpu-time-seconds", "20", "-c", code, stdin=subprocess.DEVNULL, stdout=write)
    os.close(write)
    peak = PeakMemory(process)
    with open(read, "rb") as pipe:
        result = json.loads(pipe.read())
    process.wait()
    assert result["status"] == "ok" and result[stream] == "x" * limit, result["status"]
    assert result[stream + "_truncated"] and result[stream + "_bytes"] == 200 * 1000000
    assert 0 < peak.kib < 100 << 10, peak.kib


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_caps_are_exact(own, stream):
    code = "import sys\nsys.%s.write('x' * 100)\nNone" % stream
    for cap, cut in ((0, True), (99, True), (100, False), (101, False)):
        result = own.result(code, *ANY, "--max-%s-bytes" % stream, str(cap))
        assert result[stream] == "x" * min(cap, 100) and result[stream + "_truncated"] == cut, (cap, result)
        assert result[stream + "_bytes"] == 100


def test_endless_output_ends_at_a_limit(own):
    result = own.result("while True: print('x' * 10000)", "--timeout", "300ms")
    assert result["status"] == "timeout" and result["stdout_truncated"] and len(result["stdout"]) == 1000000, result["status"]


def test_a_huge_last_value_and_error_are_cut(own):
    result = own.result("'x' * 10000000")
    assert result["last_value_truncated"] and len(result["last_value_repr"].encode()) <= 65536
    result = own.result("raise ValueError('é' * 10000000)")
    assert result["status"] == "error" and len(result["error"]["message"].encode()) <= 65536
    result = own.result("raise ValueError('x' * 1000)", "--max-value-bytes", "0")
    assert result["status"] == "error" and result["error"]["message"] == "", result


# ---- workspace ----

@pytest.mark.parametrize("size", ["0", "64K", "1M"])
def test_workspace_bytes(pyexec, size):
    number = {"0": 0, "64K": 65536, "1M": 1 << 20}[size]
    code = ("import os, errno\nn, e = 0, None\ntry:\n    fd = os.open('f', os.O_CREAT | os.O_WRONLY)\n"
            "    while True: n += os.write(fd, b'x' * 4096)\nexcept OSError as x: e = errno.errorcode[x.errno]\nn, e")
    result = pyexec.result(code, *FULL, "--workspace-bytes", size)
    assert result["last_value_repr"] in ["(%d, '%s')" % (number, e) for e in ("ENOSPC", "EFBIG", "EROFS")], result


def test_many_files_share_the_quota(own):
    code = ("import errno\nn, e = 0, None\ntry:\n    while n < 100:\n        with open('f%d' % n, 'wb', 0) as f: f.write(b'x' * 65536)\n"
            "        n += 1\nexcept OSError as x: e = errno.errorcode[x.errno]\nn, e")
    result = own.result(code, *FULL, "--workspace-bytes", "1M")
    n = int(result["last_value_repr"][1:].split(",")[0])
    assert 13 <= n <= 16 and "ENOSPC" in result["last_value_repr"], result


# ---- threads ----

COUNT = ("import threading\ne = threading.Event()\nn, x = 0, None\ntry:\n    while n < 300:\n"
         "        threading.Thread(target=e.wait, daemon=True).start()\n        n += 1\n"
         "except RuntimeError as error: x = str(error)\ne.set()\nn, x")


@pytest.mark.parametrize("limit", [1, 2, 5, 64])
def test_exactly_so_many_threads(pyexec, limit):
    result = pyexec.result(COUNT, "--allow-import", "threading", "--max-threads", str(limit),
                           "--address-space-bytes", "none")
    assert result["last_value_repr"] == repr((limit, "can't start new thread")), result


def test_the_largest_thread_limit(own):
    result = own.result(COUNT, *ANY, "--max-threads", "256", "--address-space-bytes", "none")
    assert result["last_value_repr"] == repr((256, "can't start new thread")), result


def test_runs_at_once_do_not_share_their_thread_limit(pyexec):
    code = COUNT.replace("e.set()", "import time\ntime.sleep(0.5)\ne.set()")
    runs = [pyexec.popen("run", "--json", *ANY, "--max-threads", "8", "-c", code,
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) for _ in range(3)]
    values = [json.loads(run.communicate(timeout=30)[0])["last_value_repr"] for run in runs]
    assert values == [repr((8, "can't start new thread"))] * 3


def test_ended_threads_are_free_again(own):
    """A short time after join(): the kernel counts a thread until it is gone, and Python does not wait for that."""
    code = ("import threading, time\nfor _ in range(50):\n    t = threading.Thread(target=int)\n    t.start()\n    t.join()\n"
            "    time.sleep(0.005)\n1")
    result = own.result(code, *ANY, "--max-threads", "1")
    assert result["last_value_repr"] == "1", result


def test_a_pool_of_workers_works(own):
    code = ("from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(16) as p:\n"
            "    s = sum(p.map(lambda x: x * x, range(1000)))\ns")
    assert own.result(code, *ANY)["last_value_repr"] == "332833500"


# ---- hints ----

@pytest.mark.parametrize("code, flags, field", [
    ("import time\ntime.sleep(9)", ["--timeout", "50ms"], "timeout_ms"),
    ("while True: pass", ["--cpu-time-seconds", "1", "--timeout", "1m"], "cpu_time_seconds"),
    ("x = 'x' * (1 << 40)", [], "address_space_bytes"),
    (OPEN_ALL + "open('/dev/null')", [*FULL], "max_open_files"),
    ("import threading, time\nfor _ in range(9): threading.Thread(target=time.sleep, args=(9,), daemon=True).start()",
     [*ANY, "--max-threads", "2"], "max_threads"),
    ("f = open('f', 'wb', 0)\nfor _ in range(99): f.write(b'x' * 65536)", ["--files", "full", "--workspace-bytes", "64K"],
     "workspace_bytes"),
])
def test_each_limit_names_its_field(own, code, flags, field):
    result = own.result(code, *flags)
    assert result["status"] != "ok" and field in (result["error"]["hint"] or ""), result["error"]


# ---- threads that end ----

THREADS = "import threading, concurrent.futures, _thread\n"


@pytest.mark.parametrize("code", [
    "for _ in range(200):\n    t = threading.Thread(target=int)\n    t.start()\n    t.join()",
    "for _ in range(100):\n    with concurrent.futures.ThreadPoolExecutor(1) as pool:\n        pool.submit(int).result()",
    "done = _thread.allocate_lock()\ndone.acquire()\nfor _ in range(100):\n    _thread.start_new_thread(done.release, ())\n    done.acquire()",
])
@pytest.mark.parametrize("preloads", ["", "threading,concurrent.futures"])
def test_a_thread_that_has_ended_does_not_count(pyexec, code, preloads):
    """join() returns before the kernel has removed the thread."""
    result = pyexec.result(THREADS + code, *ANY, "--max-threads", "1", "--preload-imports", preloads, "--timeout", "30s")
    assert result["status"] == "ok", result["error"]


def test_threads_that_run_do_count(pyexec):
    code = THREADS + "stop = threading.Event()\nstarted = 0\ntry:\n    for _ in range(9):\n        threading.Thread(target=stop.wait).start()\n" \
                     "        started += 1\nexcept RuntimeError as e:\n    print(e)\nstop.set()\nstarted"
    result = pyexec.result(code, *ANY, "--max-threads", "3")
    assert (result["last_value_repr"], result["stdout"]) == ("3", "can't start new thread\n"), result


# ---- limits of the calling process ----

def lower(kind, value):
    return lambda: resource.setrlimit(kind, (value, value))


@pytest.mark.parametrize("kind, value, code, names", [
    (resource.RLIMIT_NOFILE, 16, "sandbox_unavailable", "RLIMIT_NOFILE"), (resource.RLIMIT_CPU, 1, "invalid_policy", "cpu_time_seconds"),
])
def test_a_limit_of_the_callers_that_is_too_low_is_named(pyexec, kind, value, code, names, nothing_left):
    error = pyexec.error("1", preexec_fn=lower(kind, value))
    assert error["code"] == code and names in error["message"] and "ulimit" in error["hint"], error


@pytest.mark.parametrize("kind, value, flags", [(resource.RLIMIT_NOFILE, 128, []), (resource.RLIMIT_CPU, 3, ["--cpu-time-seconds", "2"])])
def test_limits_of_the_callers_that_suffice(pyexec, kind, value, flags):
    assert pyexec.result("6 * 7", *flags, preexec_fn=lower(kind, value))["last_value_repr"] == "42"


def test_the_callers_limit_of_cpu_time_counts_for_a_whole_session(nothing_left):
    busy = "import time\nt = time.process_time()\nwhile time.process_time() < t + 0.8: pass"
    with Executor({"cpu_time_seconds": 1, "timeout_ms": 60000}, preexec_fn=lower(resource.RLIMIT_CPU, 2)) as executor:
        for _ in range(4):      # the kernel counts whole ticks of its timer
            result = executor.call("s", busy)
            if result["status"] != "ok":
                break
        assert result["status"] == "killed" and "RLIMIT_CPU" in result["error_repr"], result
        assert executor.call("s", "1")["session"]["restarted"] == "killed"


def test_a_gigabyte_of_print_against_a_cap_of_a_megabyte(own):
    """The program's memory, asked while it runs (ru_maxrss would count the test's own, from before exec), stays flat."""
    code = "s = 'x' * (1 << 20)\nfor _ in range(1000): print(s)\nNone"
    process = own.popen("run", "--json", "--max-stdout-bytes", "1M", "--timeout", "100s", "--cpu-time-seconds", "60", "-c", code,
                        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    peak = 0
    while not select.select([process.stdout], [], [], 0.02)[0]:
        with open("/proc/%d/status" % process.pid) as file:
            peak = max([peak] + [int(line.split()[1]) for line in file if line.startswith("VmHWM")])
    result = json.loads(process.communicate(timeout=20)[0])
    assert (result["status"], result["stdout_bytes"]) == ("ok", 1000 * ((1 << 20) + 1)), result["error"]
    assert result["stdout_truncated"] and result["stdout"] == "x" * (1 << 20)
    assert 1 << 10 < peak < 100 << 10, "%d KiB" % peak

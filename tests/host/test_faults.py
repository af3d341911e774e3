"""Sessions and their folders when processes are killed or stopped, descriptors closed, pipes flooded, files deleted, or the clock is set back."""
import os
import shutil
import signal
import subprocess
import threading
import time

import pytest

from conftest import preload
from library import Executor, Failure
from test_kills import by_age, children

OPEN = {"use_import_whitelist": False, "banned_imports": [], "block_dunder_imports": False}
FULL = dict(OPEN, disable_open=False)
SLEEP = "import time\ntime.sleep(30)"


@pytest.fixture
def executor(nothing_left):
    """Uses one zygote and no pool, so the other process below the supervisor is that of the session."""
    with Executor(OPEN, {"max_count": 0}, {"zygotes": 1, "pool_size": 0}) as made:
        yield made


def below(executor):
    outer, = children(executor.pid)
    supervisor, = children(outer)
    return by_age(children(supervisor))


def send(executor, number):
    """Sends the signal to the session's process, which is the youngest."""
    os.kill(below(executor)[-1], number)


def in_a_thread(executor, code, **request):
    results = []
    thread = threading.Thread(target=lambda: results.append(executor.call("s", code, **request)))
    thread.start()
    time.sleep(0.4)
    return thread, results


def starts_anew(executor, reason):
    result = executor.call("s", "'x' in globals()")
    assert (result["last_value_repr"], result["session"]["restarted"]) == ("False", reason), result


def test_killed_while_idle(executor):
    for i in range(20):
        executor.call("s", "x = 1")
        session = below(executor)[-1]
        send(executor, signal.SIGKILL)
        time.sleep(0.002 * i)
        while i >= 15 and session in below(executor):
            time.sleep(0.01)
        # The kernel needs a moment to end a process. A call during this moment can only report that the process was killed.
        if executor.call("s", "1")["status"] == "killed":
            assert i < 15
            starts_anew(executor, "killed")
        executor.close("s")


def test_killed_while_idle_says_why(executor):
    executor.call("s", "x = 1")
    send(executor, signal.SIGKILL)
    time.sleep(0.3)
    starts_anew(executor, "killed")


@pytest.mark.parametrize("code", [SLEEP, "class R:\n    def __repr__(self):\n        import time\n        time.sleep(30)\nR()",
                                  "while True: print('x' * 10000)"], ids=["running", "making its result", "flooding"])
def test_killed_in_a_call(executor, code):
    executor.call("s", "x = 1")
    thread, results = in_a_thread(executor, code)
    send(executor, signal.SIGKILL)
    thread.join(10)
    assert results[0]["status"] == "killed" and results[0]["exit_code"] == 137, results
    starts_anew(executor, "killed")


def test_killed_at_any_moment_of_sending_its_result(executor):
    """It takes some time to send a value of 16 MiB. The call returns the whole result, or says that the process was killed."""
    for i in range(12):
        executor.call("s", "x = 1")
        thread = threading.Timer(0.004 * i, send, [executor, signal.SIGKILL])
        thread.start()
        result = executor.call("s", "'v' * 8_000_000", policy={"max_value_bytes": 16000000})
        thread.join()
        if result["status"] == "ok":
            assert len(result["last_value_repr"]) == 8000002
        else:
            assert (result["status"], result["last_value_repr"]) == ("killed", None), result["status"]
        assert executor.call("s", "1")["session"]["restarted"] in (None, "killed")


@pytest.mark.parametrize("idle", [True, False], ids=["idle", "running"])
def test_a_stopped_process_meets_the_limit_of_the_call(executor, idle):
    executor.call("s", "x = 1")
    if idle:
        send(executor, signal.SIGSTOP)
        result = executor.call("s", "1", timeout_ms=500)
    else:
        thread, results = in_a_thread(executor, SLEEP, timeout_ms=1000)
        send(executor, signal.SIGSTOP)
        thread.join(10)
        result, = results
    assert (result["status"], result["exit_code"]) == ("timeout", 124), result
    starts_anew(executor, "timeout")


@pytest.mark.parametrize("number", range(4))
def test_a_script_that_closes_a_descriptor(executor, number):
    """If the script closes its standard streams, only its output is lost. If it closes the channel (3), there is no result."""
    executor.call("s", "x = 1")
    result = executor.call("s", "import os\nos.close(%d)\nx" % number, timeout_ms=1000)
    if number < 3:
        assert result["status"] in ("ok", "error"), result
    else:
        assert result["status"] in ("crashed", "timeout"), result
    after = executor.call("s", "1")
    assert after["status"] in ("ok", "error") and executor.call("t", "2")["last_value_repr"] == "2", after


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_script_that_floods_a_descriptor(executor, number):
    result = executor.call("s", "import os\nwhile True: os.write(%d, b'x' * 4096)" % number, timeout_ms=500)
    assert result["status"] == ("crashed" if number == 3 else "timeout"), result
    assert executor.call("s", "1")["last_value_repr"] == "1"


# ---- workspaces ----

def test_a_workspace_deleted_underneath(open_folder, nothing_left):
    with Executor(FULL, {"workspace_root": str(open_folder)}) as executor:
        assert executor.call("s", "open('f', 'w').write('x')")["status"] == "ok"
        shutil.rmtree(open_folder / "s")
        result = executor.call("s", "open('g', 'w')")
        assert result["status"] == "error" and "FileNotFoundError" in result["error_repr"], result
        assert executor.call("s", "6 * 7")["last_value_repr"] == "42"
        executor.close("s")
        assert executor.call("s", "open('f', 'w').write('x')")["last_value_repr"] == "1"
    assert os.listdir(open_folder) == []


def test_a_workspace_root_deleted_underneath(open_folder, nothing_left):
    root = open_folder / "root"
    root.mkdir()
    with Executor(FULL, {"workspace_root": str(root)}) as executor:
        shutil.rmtree(root)
        with pytest.raises(Failure) as failure:
            executor.call("s", "1")
        assert failure.value.code == "invalid_request" and "workspace_root" in failure.value.message
        root.mkdir()
        assert executor.call("s", "open('f', 'w').write('x')")["last_value_repr"] == "1"


@pytest.mark.skipif(os.getuid() != 0, reason="mounts as root")
def test_a_workspace_made_read_only_underneath(open_folder, nothing_left):
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", open_folder], check=True)
    try:
        with Executor(FULL, {"workspace_root": str(open_folder)}) as executor:
            assert executor.call("s", "open('f', 'w').write('x')")["status"] == "ok"
            # This is a flag of the superblock, so it applies to all its mounts.
            subprocess.run(["mount", "-o", "remount,ro", open_folder], check=True)
            result = executor.call("s", "open('g', 'w')")
            assert result["status"] == "error" and "Read-only file system" in result["error_repr"], result
            assert executor.call("s", "open('f').read()")["last_value_repr"] == "'x'"
            with pytest.raises(Failure) as failure:
                executor.call("t", "1")
            assert "Read-only file system" in failure.value.message
            subprocess.run(["mount", "-o", "remount,rw", open_folder], check=True)
            assert executor.call("t", "open('f', 'w').write('x')")["status"] == "ok"
    finally:
        subprocess.run(["umount", open_folder], check=True)


# ---- the clock ----

SHIM = """
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
/* Goes back an hour every other second. */
int clock_gettime(clockid_t clock, struct timespec *t)
{
    int result = (int)syscall(SYS_clock_gettime, clock, t);
    if (clock == CLOCK_REALTIME && t->tv_sec % 2)
        t->tv_sec -= 3600;
    return result;
}
"""


def test_a_clock_that_is_set_back_changes_no_limit(session_folder, nothing_left):
    source, shim = session_folder / "shim.c", session_folder / "shim.so"
    source.write_text(SHIM)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", shim, source], check=True)
    with Executor(OPEN, {"idle_ttl": 1500}, env=dict(os.environ, LD_PRELOAD=preload(shim))) as executor:
        for name in (None, "s"):
            for _ in range(3):
                result = executor.call(name, SLEEP, timeout_ms=700)
                assert result["status"] == "timeout" and 650 < result["usage"]["wall_ms"] < 1500, result["usage"]
        assert [item["id"] for item in executor.sessions()] == ["s"]
        time.sleep(3)
        assert executor.sessions() == [] and executor.call("s", "1")["session"]["restarted"] == "idle_ttl"

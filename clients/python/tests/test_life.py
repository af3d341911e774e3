"""The child process: how it is found, dies, is interrupted, forked and shared by threads, and that it ends."""
import concurrent.futures
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from conftest import POLICY, PROGRAM, children

from pyexec import ClosedError, ConnectionLostError, InvalidPolicyError, ProgramNotFoundError, Pyexec


def rpc_pid(client):
    return client._transport._inner._process.popen.pid


def python(code, **keywords):
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            **keywords)


def test_where_the_program_is_found(monkeypatch, tmp_path):
    for named in (lambda: Pyexec(program="/nowhere/pyexec"), lambda: monkeypatch.setenv("PYEXEC", "/nowhere/pyexec") or Pyexec(),
                  lambda: monkeypatch.delenv("PYEXEC") or Pyexec()):
        with pytest.raises(ProgramNotFoundError) as failure:
            named().start()
        assert "PYEXEC" in failure.value.hint
    os.symlink(PROGRAM, tmp_path / "pyexec")
    monkeypatch.setenv("PATH", "%s:/usr/bin:/bin" % tmp_path)
    with Pyexec() as client:
        assert client.start()["python"].startswith("3.")
    with pytest.raises(ConnectionLostError) as failure:
        Pyexec(program="/bin/false").start()
    assert "ended with 1" in failure.value.message
    not_json = tmp_path / "chatty"
    not_json.write_text("#!/bin/sh\necho hello\necho why >&2\nsleep 60\n")
    not_json.chmod(0o755)
    with pytest.raises(ConnectionLostError, match="why"):
        Pyexec(program=str(not_json)).start()


def test_a_bad_policy_is_said_at_the_start():
    with pytest.raises(InvalidPolicyError) as failure:
        Pyexec(policy={"timeout_ms": 0}).start()
    assert "timeout_ms" in failure.value.message


def test_a_dead_process_fails_its_calls_and_is_started_again(rpc):
    session = rpc.session("s")
    session.execute("x = 1")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        running = [pool.submit(rpc.execute_once, "import time\ntime.sleep(60)") for _ in range(3)]
        time.sleep(0.5)
        os.kill(rpc_pid(rpc), signal.SIGKILL)
        for one in running:
            with pytest.raises(ConnectionLostError) as failure:
                one.result(10)
            assert "-9" in failure.value.message and "starts it again" in failure.value.hint
    assert rpc.execute_once("1").ok
    result = session.execute("'x' in globals()")
    assert result.last_value_repr == "False" and result.session.restarted == "host_restart"
    assert session.execute("1").session.restarted is None


def test_one_that_is_stopped_is_ended_all_the_same(monkeypatch):
    monkeypatch.setattr("pyexec._rpc.CLOSE_SECONDS", 1.0)
    client = Pyexec(policy=POLICY)
    client.start()
    os.kill(rpc_pid(client), signal.SIGSTOP)
    begun = time.monotonic()
    client.close()
    assert time.monotonic() - begun < 8


def test_close_ends_what_runs_and_no_call_starts_after(rpc):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        running = pool.submit(rpc.execute_once, "import time\ntime.sleep(60)")
        time.sleep(0.4)
        rpc.close()
        try:
            assert running.result(10).status == "cancelled"
        except ConnectionLostError:
            pass
    with pytest.raises(ClosedError):
        rpc.execute_once("1")
    rpc.close()


def test_threads_share_one_process(rpc):
    def work(number):
        session = rpc.session("s%d" % (number % 4))
        assert session.execute("n = globals().get('n', 0) + 1").ok
        return rpc.execute_once("%d * 2" % number).last_value_repr
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert list(pool.map(work, range(100))) == [str(number * 2) for number in range(100)]
    assert [rpc.session("s%d" % number).execute("n").last_value_repr for number in range(4)] == ["25"] * 4


def test_ctrl_c_cancels_the_run_that_is_waited_for(px):
    session = px.session()
    session.execute("x = 1")
    for call in (session.execute, lambda code: session.stream(code).result()):
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            call("import time\ntime.sleep(60)")
        begun = time.monotonic()
        assert session.execute("x").last_value_repr == "1" and time.monotonic() - begun < 3


def test_ctrl_c_of_a_terminal_does_not_end_the_process():
    """A Ctrl-C goes to the whole process group in the foreground."""
    with python("""
        import os, signal
        from pyexec import Pyexec
        px = Pyexec()
        session = px.session("s")
        session.execute("x = 1")
        signal.signal(signal.SIGINT, lambda *_: None)
        os.killpg(0, signal.SIGINT)
        print(session.execute("x").last_value_repr)
        """, start_new_session=True) as process:
        assert process.communicate(timeout=30)[0] == "1\n"


def test_signals_to_the_whole_service_cancel_no_call():
    """systemd sends SIGTERM and SIGHUP to every process of a service; SIGINT reaches the foreground group of a terminal."""
    with python("""
        import os, signal, threading
        from pyexec import Pyexec
        px = Pyexec(policy={"disable_open": False, "use_import_whitelist": False, "banned_imports": [], "timeout_ms": 60000})
        session = px.session("s")
        session.execute("x = 1")
        found, below = [], [px._transport._inner._process.popen.pid]
        while below:
            pid = below.pop()
            found.append(pid)
            for task in os.listdir("/proc/%d/task" % pid):
                below += map(int, open("/proc/%d/task/%s/children" % (pid, task)).read().split())
        assert len(found) >= 5 and all(pid > 1 for pid in found), found
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        results = []
        code = "import os, time\\nopen('up', 'w').close()\\nwhile not os.path.exists('go'): time.sleep(0.02)\\nx"
        call = threading.Thread(target=lambda: results.append(session.execute(code)), daemon=True)
        call.start()
        while "up" not in [one.path for one in session.files.list()]:
            pass
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            os.killpg(0, number)
        for number in (signal.SIGTERM, signal.SIGHUP):
            for pid in found:
                os.kill(pid, number)
        session.files.write("go", b"")
        call.join()
        print(results[0].status, results[0].last_value_repr)
        """, start_new_session=True) as process:
        assert process.communicate(timeout=60)[0] == "ok 1\n"


def test_a_forked_child_has_a_process_of_its_own(rpc):
    rpc.session("s").execute("x = 1")
    with python("""
        import os, threading
        from pyexec import Pyexec
        px = Pyexec()
        px.session("s").execute("x = 1")
        running = threading.Thread(target=px.execute_once, args=("import time; time.sleep(1)",))
        running.start()
        child = os.fork()
        if child == 0:
            result = px.session("s").execute("'x' in globals()")
            print(result.last_value_repr, flush=True)
            px.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        print(px.session("s").execute("x").last_value_repr)
        px.close()
        running.join()
        """) as process:
        assert process.communicate(timeout=30)[0] == "False\n1\n"


@pytest.mark.parametrize("end", ["", "px.close()", "del px", "raise SystemExit(0)", "os._exit(0)", "os.kill(os.getpid(), 9)",
                                 "threading.Thread(target=px.execute_once, args=('while True: pass',), daemon=True).start()"])
def test_nothing_is_left_however_it_ends(end):
    with python("""
        import os, threading
        from pyexec import Pyexec
        px = Pyexec(policy={"timeout_ms": 60000, "cpu_time_seconds": 60})
        px.session("s").execute("x = 1")
        print(px._transport._inner._process.popen.pid, flush=True)
        %s
        """ % end) as process:
        pid = int(process.stdout.readline())
        below = {pid} | children(pid)
        said = process.communicate(timeout=30)[0]
        assert said == "", said
    deadline = time.monotonic() + 5
    while (left := [one for one in below if os.path.exists("/proc/%d" % one)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not left


def test_as_an_ordinary_user(tmp_path_factory):
    """If the suite runs as root, tests the same client as an ordinary user."""
    if os.getuid() != 0:
        pytest.skip("these tests run as an ordinary user already")
    import shutil
    import tempfile
    folder = tempfile.mkdtemp(prefix="pyexec-test-")
    try:
        os.chmod(folder, 0o755)
        for name in ("pyexec", "pyexec-launch", "pyexec_guest.abi3.so", "libpyexec.so.0"):
            shutil.copy(os.path.join(os.path.dirname(PROGRAM), name), folder)
        shutil.copytree(os.path.dirname(sys.modules["pyexec"].__file__), os.path.join(folder, "lib", "pyexec"))
        done = subprocess.run(
            ["/usr/bin/python3", "-c", "from pyexec import Pyexec\nwith Pyexec() as px: print(px.execute_once('6 * 7').last_value_repr)"],
            env={"PYEXEC": folder + "/pyexec", "PYTHONPATH": folder + "/lib", "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
            user=60123, group=60123, extra_groups=[], cwd="/", capture_output=True, text=True, timeout=60)
        assert done.stdout == "42\n", done.stderr
    finally:
        shutil.rmtree(folder)

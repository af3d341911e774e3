"""`pyexec serve`: starts, sockets, systemd's protocol, draining, being killed; nothing is left behind."""
import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time

import pytest

from serving import Server, events, serving, token_line
from waiting import wait_until

pytestmark = pytest.mark.usefixtures("nothing_left")
ALICE = token_line("alice", "a-secret")
SLEEP = "import time\nwhile True: time.sleep(0.01)"


def begin(server, code, session=None, **headers):
    connection = server.connection()
    path = "/v1/sessions/%s/execute" % session if session else "/v1/execute"
    connection.request("POST", path, json.dumps({"code": code}), headers)
    wait_until(lambda: server.metric("pyexec_running") >= 1, "it does not run")
    return connection


def test_nothing_is_left_of_a_busy_server(pyexec):
    with serving(pyexec, "--files", "full", "--timeout", "30s", "--cpu-time-seconds", "30") as server:
        for i in range(5):
            assert server.result("x = 1", "s%d" % i)["status"] == "ok"
            assert server.ask("PUT", "/v1/sessions/s%d/files/f" % i, b"x" * 100000).status == 204
        running = begin(server, SLEEP)
        running.close()
        idle = server.connection()
        idle.request("GET", "/healthz")
        idle.getresponse().read()
        assert server.stop() == 0
        assert not os.path.exists(server.socket)
        idle.close()


# ---- Where it listens ----

def test_the_default_socket_is_the_users_own(pyexec, open_folder):
    run = open_folder / "run"
    run.mkdir()
    os.chown(run, pyexec.uid, pyexec.uid)
    path = "/run/pyexec/pyexec.sock" if pyexec.uid == 0 else str(run / "pyexec.sock")
    if os.path.exists(path):
        pytest.skip(path + " is there already")
    with serving(pyexec, env={"XDG_RUNTIME_DIR": str(run)}, listen=False) as server:
        mode = os.stat(path)
        assert stat.S_ISSOCK(mode.st_mode) and stat.S_IMODE(mode.st_mode) == 0o600 and mode.st_uid == pyexec.uid
        server.socket = path
        assert server.result("1 + 1")["last_value_repr"] == "2"
        assert server.wait_for_line(event="request")[-1]["principal"] == "local"
    assert not os.path.exists(path)
    if pyexec.uid == 0:
        with contextlib.suppress(OSError):
            os.rmdir("/run/pyexec")


@pytest.mark.parametrize("runtime", ["", "relative", "/nonexistent", "/etc"])
def test_the_default_socket_needs_no_runtime_folder(pyexec, open_folder, runtime):
    """As after `su`: XDG_RUNTIME_DIR is not set, or belongs to another user. The log says where the server listens."""
    if pyexec.uid == 0 or os.path.exists("/run/user/%d" % pyexec.uid):
        pytest.skip("this user has another default folder")
    os.chmod(open_folder, 0o1777)
    folder = open_folder / ("pyexec-%d" % pyexec.uid)
    with serving(pyexec, env={"XDG_RUNTIME_DIR": runtime, "TMPDIR": str(open_folder)}, listen=False) as server:
        server.socket = str(folder / "pyexec.sock")
        assert server.result("1 + 1")["last_value_repr"] == "2"
        assert "unix:" + server.socket in server.log()
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700 and os.stat(folder).st_uid == pyexec.uid
    assert os.listdir(folder) == []


@pytest.mark.parametrize("trap", ["other owner", "others may write", "symlink", "file"])
def test_the_default_socket_is_in_no_folder_that_others_control(pyexec, open_folder, trap):
    if pyexec.uid == 0 or os.path.exists("/run/user/%d" % pyexec.uid):
        pytest.skip("this user has another default folder")
    if trap == "other owner" and os.getuid() != 0:
        pytest.skip("only root makes a folder for another user")
    os.chmod(open_folder, 0o1777)
    folder, own_folder = open_folder / ("pyexec-%d" % pyexec.uid), open_folder / "own"
    own_folder.mkdir()
    os.chown(own_folder, pyexec.uid, pyexec.uid)
    if trap == "symlink":
        folder.symlink_to(own_folder)
    elif trap == "file":
        folder.write_text("")
    else:
        folder.mkdir()
        os.chown(folder, pyexec.uid + 1 if trap == "other owner" else pyexec.uid, pyexec.uid)
        os.chmod(folder, 0o777)
    done = pyexec.run("serve", env={"PATH": os.environ["PATH"], "TMPDIR": str(open_folder)})
    assert done.returncode == 125 and str(folder).encode() in done.stderr, done.stderr
    assert b"--listen unix:/PATH" in done.stderr and os.listdir(own_folder) == []


@pytest.mark.parametrize("flags, says", [
    (["--listen", "127.0.0.1:0"], "token_file"), (["--listen", "[::1]:0"], "token_file"),
    (["--listen", "unix:"], "listen"), (["--listen", "unix:relative"], "listen"), (["--listen", "nowhere"], "listen"),
    (["--listen", "unix:/nonexistent/socket"], "/nonexistent/socket"), (["--listen", "unix:/" + "x" * 200], "listen"),
    (["--listen", "999.999.999.999:1", "--token-file", "TOKENS"], "listen"),
    (["--listen", "127.0.0.1:99999", "--token-file", "TOKENS"], "listen"),
    (["--listen", "192.0.2.1:1", "--token-file", "TOKENS"], "listen"),
    (["--listen", "unix:SOCKET", "--token-file", "/nonexistent"], "/nonexistent"),
    (["--listen", "unix:SOCKET", "--log-format", "xml"], "log_format"),
    (["--listen", "unix:SOCKET", "--audit-log", "/nonexistent/audit"], "audit_log"),
    (["--listen", "unix:SOCKET", "--timeout", "0"], "timeout"),
    (["--listen", "unix:SOCKET", "--python-bin", "/nonexistent"], "/nonexistent"),
    (["--listen", "unix:SOCKET", "--no-such-flag"], "no-such-flag"),
    (["--listen", "unix:/etc/passwd"], "in use"),
])
def test_a_bad_start_says_what_and_leaves_nothing(own, open_folder, flags, says):
    tokens = open_folder / "tokens"
    tokens.write_text(ALICE + "\n")
    os.chmod(tokens, 0o600)
    flags = [flag.replace("SOCKET", str(open_folder / "s")).replace("TOKENS", str(tokens)) for flag in flags]
    done = own.run("serve", *flags, env={"PATH": os.environ["PATH"]})
    assert done.returncode == 125 and says in done.stderr.decode() and b"hint" in done.stderr, done.stderr
    assert os.listdir(open_folder) == ["tokens"]


@pytest.mark.parametrize("text", ["[serve]\nlisten = x\n", "[serve]\nno_such = 1\n", "[serve]\nmax_connections = 0\n",
                                  "[serve]\nidle_timeout = never\n", "[serve\n"])
def test_a_bad_configuration_is_named_with_its_line(own, open_folder, text):
    (open_folder / "conf").write_text(text)
    done = own.run("serve", "--config", str(open_folder / "conf"))
    assert done.returncode == 125 and str(open_folder / "conf").encode() in done.stderr + b"", done.stderr


@pytest.mark.parametrize("address, hint", [
    ("unix:/nonexistent/socket", "folder first"), ("192.0.2.1:1", "ip address"),
    ("no.such.host.invalid:1", "address of this machine"), ("127.0.0.1:TAKEN", "ss -ltnp"), ("127.0.0.1:0", "sha256sum")])
def test_an_address_that_can_not_be_had_says_what_to_do(own, open_folder, address, hint):
    tokens = open_folder / "tokens"
    tokens.write_text(ALICE + "\n")
    os.chmod(tokens, 0o600)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = address.replace("TAKEN", str(taken.getsockname()[1]))
        flags = [] if address == "127.0.0.1:0" else ["--token-file", str(tokens)]
        error = own.run("serve", "--listen", address, *flags).stderr.decode()
    assert hint in error.partition("hint: ")[2], error


def test_an_address_in_use(own):
    with serving(own, tcp=True, tokens=[ALICE]) as server:
        for address in ("unix:" + server.socket, server.tcp):
            done = own.run("serve", "--listen", address, "--token-file", server.tokens)
            assert done.returncode == 125 and b"in use" in done.stderr, done.stderr
        assert server.result("1 + 1")["last_value_repr"] == "2"


def test_several_addresses_at_once(own):
    with serving(own, "--listen", "unix:FOLDER/second", "--listen", "[::1]:0", tcp=True, tokens=[ALICE]) as server:
        assert server.result("1", address=server.folder + "/second")["status"] == "ok"
        assert server.result("1", address=server.tcp, token="a-secret")["status"] == "ok"


# ---- systemd's protocol ----

class Notifications:
    def __init__(self, folder):
        self.path = os.path.join(folder, "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        os.chmod(self.path, 0o777)
        self.socket.settimeout(20)

    def next(self):
        return self.socket.recv(4096).decode().splitlines()


def test_it_tells_systemd_how_it_fares(own, open_folder):
    told = Notifications(open_folder)
    with serving(own, env={"NOTIFY_SOCKET": told.path}) as server:
        assert told.next() == ["READY=1"]
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        server.process.send_signal(signal.SIGHUP)
        reloading, when = told.next()
        assert reloading == "RELOADING=1" and int(when.split("=")[1]) >= before
        assert told.next() == ["READY=1"]
        server.process.send_signal(signal.SIGTERM)
        assert told.next() == ["STOPPING=1"]
        assert server.process.wait(20) == 0


def test_a_word_to_systemd_waits_for_a_place_in_its_queue(own, open_folder):
    told, words = Notifications(open_folder), []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other, pytest.raises(BlockingIOError):
        other.setblocking(False)
        other.connect(told.path)
        while True:
            other.send(b"OTHER=1")

    def read_later():
        time.sleep(1)
        while words[-1:] != [["READY=1"]]:
            words.append(told.next())
    reader = threading.Thread(target=read_later)
    reader.start()
    with serving(own, env={"NOTIFY_SOCKET": told.path}):
        reader.join()
    assert words[0] == ["OTHER=1"] and words[-1] == ["READY=1"]


PASS = ("import os, socket, sys\n"
        "kept = []\n"
        "for i, address in enumerate(sys.argv[2].split(',')):\n"
        "    one = socket.socket(socket.AF_UNIX if address.startswith('/') else socket.AF_INET)\n"
        "    one.bind(address if address.startswith('/') else ('127.0.0.1', 0)); one.listen(); kept.append(one)\n"
        "    if not address.startswith('/'): print(one.getsockname()[1], flush=True)\n"
        "    os.dup2(one.fileno(), 100 + i)\n"
        "for i in range(len(kept)): os.dup2(100 + i, 3 + i); os.close(100 + i)\n"
        "os.environ['LISTEN_FDS'] = str(len(kept)); os.environ['LISTEN_PID'] = str(os.getpid())\n"
        "os.execv(sys.argv[1], sys.argv[1:2] + sys.argv[3:])\n")


def test_sockets_passed_by_systemd(own, open_folder):
    path, tokens = str(open_folder / "passed"), open_folder / "tokens"
    tokens.write_text(ALICE + "\n")
    os.chmod(tokens, 0o600)
    process = subprocess.Popen([sys.executable, "-c", PASS, own.path, path + ",tcp", "serve", "--token-file", str(tokens)],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, cwd="/",
                               env=dict(os.environ, PYEXEC_POLICY_PYTHON_BIN="/usr/bin/python3"))
    try:
        server = Server(own, process, str(open_folder), "")
        server.socket, server.tcp = path, "127.0.0.1:%s" % process.stdout.readline().decode().strip()
        assert server.result("1 + 1")["last_value_repr"] == "2"
        assert server.execute("1", address=server.tcp).status == 401
        assert server.result("1 + 1", address=server.tcp, token="a-secret")["last_value_repr"] == "2"
    finally:
        process.terminate()
        process.wait(20)
    # The socket belongs to systemd, and stays.
    assert os.path.exists(path)


@pytest.mark.skipif(not shutil.which("systemd-socket-activate"), reason="there is no systemd-socket-activate")
def test_the_first_connection_starts_it_under_systemds_own_activation(own, open_folder):
    path = str(open_folder / "activated")
    process = subprocess.Popen(["systemd-socket-activate", "--listen", path, "--fdname=http", "-E", "PYEXEC_POLICY_PYTHON_BIN=/usr/bin/python3",
                                own.path, "serve"], stderr=subprocess.DEVNULL, cwd="/")
    try:
        wait_until(lambda: os.path.exists(path), "it does not listen")
        server = Server(own, process, str(open_folder), "")
        server.socket = path
        assert server.result("1 + 1")["last_value_repr"] == "2"
    finally:
        process.terminate()
        assert process.wait(20) == 0
    assert os.path.exists(path)


def test_what_is_no_socket_is_refused(own):
    code = ("import os, sys\nos.dup2(os.open('/dev/null', 0), 3)\nos.environ['LISTEN_FDS'] = '1'\n"
            "os.environ['LISTEN_PID'] = str(os.getpid())\nos.execv(sys.argv[1], [sys.argv[1], 'serve'])\n")
    done = subprocess.run([sys.executable, "-c", code, own.path], capture_output=True, cwd="/")
    assert done.returncode == 125 and b"descriptor 3" in done.stderr


# ---- The end ----

def test_requests_that_come_while_it_closes_are_refused(own):
    """When all runs have ended, the server waits up to a second until their answers are sent."""
    with serving(own) as server:
        half, kept = server.connection(), [server.connection() for _ in range(20)]
        half.putrequest("POST", "/v1/execute")
        half.putheader("Content-Length", "100")
        half.endheaders(b"{")
        for connection in kept:
            connection.request("GET", "/healthz")
            assert connection.getresponse().read() == b"ok\n"
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "draining" in server.log(), "it does not drain")
        answers = []
        for connection in kept:
            time.sleep(0.02)
            with contextlib.suppress(ConnectionError, http.client.HTTPException):
                connection.request("POST", "/v1/execute", b'{"code": "1"}')
                answers.append(connection.getresponse().status)
        assert answers and set(answers) == {503}
        assert server.process.wait(20) == 0


def test_sigterm_lets_what_runs_finish_and_takes_no_more(own):
    with serving(own, "--timeout", "30s", "--cpu-time-seconds", "30") as server:
        server.result("1", "s")
        kept = server.connection()
        kept.request("GET", "/readyz")
        assert kept.getresponse().read() == b"ok\n"
        running = begin(server, "open = True\n" + SLEEP.replace("True", "open") + "\n'finished'", "s")
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "draining" in server.log(), "it does not drain")
        ready = server.ask("GET", "/readyz")
        assert (ready.status, ready.json()["code"]) == (503, "shutting_down") and ready.headers["Retry-After"]
        assert server.ask("GET", "/healthz").status == 200
        refused = server.execute("1")
        assert (refused.status, refused.json()["code"]) == (503, "shutting_down")
        assert refused.headers["Retry-After"] and refused.headers["Connection"] == "close"
        assert server.process.poll() is None
        server.process.send_signal(signal.SIGHUP)       # does not shorten the wait
        time.sleep(0.3)
        assert server.process.poll() is None
        server.process.send_signal(signal.SIGTERM)      # shortens the wait
        assert running.getresponse().status == 200
        assert server.process.wait(20) == 0
        kept.close()


def test_a_run_that_ends_within_the_grace_period_is_answered(own):
    with serving(own, "--timeout", "30s") as server:
        running = begin(server, "import time\ntime.sleep(1.5)\n'finished'")
        server.process.send_signal(signal.SIGTERM)
        response = running.getresponse()
        assert response.status == 200 and json.loads(response.read())["last_value_repr"] == "'finished'"
        assert server.process.wait(20) == 0


def test_the_grace_period_ends_what_still_runs(own):
    with serving(own, "--timeout", "60s", "--cpu-time-seconds", "60", config="[serve]\ndrain_grace = 300ms\n") as server:
        plain, streamed = begin(server, SLEEP), begin(server, SLEEP, Accept="text/event-stream")
        wait_until(lambda: server.metric("pyexec_running") == 2, "they do not run")
        server.process.send_signal(signal.SIGTERM)
        response = plain.getresponse()
        assert response.status == 200 and json.loads(response.read())["status"] == "cancelled"
        name, result = list(events(streamed.getresponse()))[-1]
        assert name == "result" and result["status"] == "cancelled"
        assert server.process.wait(20) == 0


def test_what_waits_is_refused_when_the_server_ends(own):
    with serving(own, "--timeout", "60s", "--cpu-time-seconds", "60", config="[host]\nmax_concurrent = 1\n[serve]\ndrain_grace = 300ms\n") as server:
        first = begin(server, "while True: pass")
        second = server.connection()
        second.request("POST", "/v1/execute", '{"code": "1"}')
        wait_until(lambda: server.metric("pyexec_queue_length") == 1, "it does not wait")
        server.process.send_signal(signal.SIGTERM)
        assert first.getresponse().status == 200
        assert second.getresponse().status == 503
        assert server.process.wait(20) == 0


def test_after_kill_9_only_a_stale_socket_is_left_and_the_next_start_takes_its_place(pyexec):
    with serving(pyexec, "--files", "full", "--timeout", "30s") as server:
        server.result("x = 1", "s")
        running = begin(server, SLEEP)
        server.process.kill()
        server.process.wait()
        running.close()
        assert os.path.exists(server.socket)
        again = pyexec.popen("serve", "--listen", "unix:" + server.socket, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            def answers():
                with contextlib.suppress(OSError):
                    return server.ask("GET", "/healthz").status == 200
            wait_until(answers, "it does not start")
            assert server.ask("GET", "/v1/sessions").json() == {"sessions": []}
        finally:
            again.terminate()
            assert again.wait(20) == 0
    # `nothing_left` checks for processes, mounts and files of the server that was killed.

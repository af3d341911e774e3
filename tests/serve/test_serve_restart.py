"""Clients of `pyexec serve` learn that a restart ended their sessions: the state file in [serve] state_dir, whatever happens to the
server, the disk and the file. And the drain that waits for sessions."""
import contextlib
import json
import os
import signal
import socket
import stat
import subprocess

import pytest

from conftest import ROOT, preload
from serving import serving, token_line
from waiting import wait_until

pytestmark = pytest.mark.usefixtures("nothing_left")
NAME = "pyexec-sessions"
HEAD = "pyexec sessions 1\n"
WRITTEN = "the state file is written again"
FAILS = "the state file can't be written: current sessions will not be known after a restart"
UNREADABLE = "the state file can't be read: sessions from before the restart are not known"
OFF = "clients will not learn that a restart ended their sessions"
TOKENS = [token_line("alice", "a-secret"), token_line("bob", "b-secret")]


@pytest.fixture
def folder(pyexec, open_folder):
    path = open_folder / "state"
    path.mkdir()
    os.chown(path, pyexec.uid, pyexec.uid)
    os.chmod(path, 0o700)
    return str(path)


def text_in(folder):
    with contextlib.suppress(FileNotFoundError):
        with open(os.path.join(folder, NAME), errors="replace") as file:
            return file.read()
    return ""


def write(folder, text, uid, mode=0o600):
    path = os.path.join(folder, NAME)
    with open(path, "wb") as file:
        file.write(text if isinstance(text, bytes) else text.encode())
    os.chown(path, uid, uid)
    os.chmod(path, mode)


def wait_for_text(folder, text):
    wait_until(lambda: text in text_in(folder), "%r is not written" % text)


def kill(server):
    server.process.kill()
    server.process.wait()


def restarted(server, session, **more):
    return server.result("1", session, **more)["session"]["restarted"]


def find(server, session, **more):
    return server.ask("GET", "/v1/sessions/" + session, **more).json()["title"]


# ---- What clients are told after a restart ----

@pytest.mark.parametrize("signal_", [signal.SIGTERM, signal.SIGKILL])
def test_the_first_call_with_an_id_of_the_former_life_is_told(pyexec, folder, signal_):
    with serving(pyexec, "--state-dir", folder) as server:
        assert server.result("x = 1", "s")["session"]["restarted"] is None
        assert server.ask("POST", "/v1/sessions", {"id": "made"}).status == 201
        wait_for_text(folder, "+ local/made\n")
        server.stop(signal_)
    with serving(pyexec, "--state-dir", folder) as server:
        assert server.wait_for_line(event="sessions from before the restart")
        assert server.metric("pyexec_sessions_lost") == 2
        assert "host_restart" in find(server, "s")
        first = server.result("'x' in globals()", "s")
        assert first["session"] == {"id": "s", "created": True, "restarted": "host_restart", "restored": None, "no_checkpoint": None,
                                    "execution_count": 1}
        assert first["last_value_repr"] == "False"
        assert restarted(server, "s") is None
        made = server.ask("POST", "/v1/sessions", {"id": "made"})
        assert (made.status, made.json()["restarted"]) == (201, "host_restart")


def test_it_is_told_after_two_restarts_too_when_nobody_called_in_between(pyexec, folder):
    with serving(pyexec, "--state-dir", folder) as server:
        server.result("1", "s")
    for _ in range(2):
        with serving(pyexec, "--state-dir", folder) as server:
            wait_for_text(folder, "- local/s host_restart\n")
            kill(server)
    with serving(pyexec, "--state-dir", folder) as server:
        assert restarted(server, "s") == "host_restart"


def test_sessions_that_ended_before_keep_their_own_reason(pyexec, folder):
    with serving(pyexec, "--state-dir", folder, config="[session]\nmax_count = 1\n") as server:
        server.result("1", "evicted")
        server.result("1", "closed")
        assert server.ask("DELETE", "/v1/sessions/closed").status == 204
        wait_for_text(folder, "- local/closed closed\n")
        kill(server)
    with serving(pyexec, "--state-dir", folder) as server:
        assert (restarted(server, "evicted"), restarted(server, "closed")) == ("evicted", "closed")
        assert server.metric("pyexec_sessions_lost") == 0


def test_sessions_that_the_end_of_the_server_cuts_short_are_told_of_the_restart(pyexec, folder):
    """The calls of these sessions are cancelled at the end of the grace period; nobody closed the sessions."""
    with serving(pyexec, "--state-dir", folder, "--timeout", "60s", "--cpu-time-seconds", "60",
                 config="[serve]\ndrain_grace = 300ms\n") as server:
        connection = server.connection()
        connection.request("POST", "/v1/sessions/s/execute", json.dumps({"code": "import time\ntime.sleep(50)"}))
        wait_until(lambda: server.metric("pyexec_running") == 1, "it does not run")
        server.process.send_signal(signal.SIGTERM)
        assert json.loads(connection.getresponse().read())["status"] == "cancelled"
        connection.close()
        assert server.process.wait(20) == 0
    with serving(pyexec, "--state-dir", folder) as server:
        assert restarted(server, "s") == "host_restart"


def test_no_principal_learns_of_anothers_sessions(pyexec, folder):
    with serving(pyexec, "--state-dir", folder, tokens=TOKENS) as server:
        server.result("1", "secret-project", token="a-secret")
    assert stat.S_IMODE(os.stat(os.path.join(folder, NAME)).st_mode) == 0o600
    with serving(pyexec, "--state-dir", folder, tokens=TOKENS) as server:
        assert "host_restart" not in find(server, "secret-project", token="b-secret")
        assert restarted(server, "secret-project", token="b-secret") is None
        assert restarted(server, "secret-project") is None      # of `local`
        assert restarted(server, "secret-project", token="a-secret") == "host_restart"
        assert "secret-project" not in server.metrics()


def test_mcp_over_http_tells_it(pyexec, folder):
    def call(server):
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call",
                   "params": {"name": "run_python", "arguments": {"code": "1", "session_id": "s"}}}
        return server.ask("POST", "/mcp", message, {"Accept": "application/json, text/event-stream"}).json()["result"]
    with serving(pyexec, "--state-dir", folder) as server:
        call(server)
    with serving(pyexec, "--state-dir", folder) as server:
        result = call(server)
        assert result["structuredContent"]["session"]["restarted"] == "host_restart"
        assert "host_restart" in json.dumps(result["content"])


def test_e2b_clients_are_told_of_sandboxes_and_contexts_that_a_restart_took(pyexec, folder):
    def execute(server, sandbox=None, **body):
        return server.ask("POST", "/execute", {"code": "1", **body}, {"E2b-Sandbox-Id": sandbox} if sandbox else {})
    with serving(pyexec, "--e2b", "--state-dir", folder) as server:
        sandbox = server.ask("POST", "/v2/sandboxes", {}).json()["sandboxID"]
        assert execute(server, sandbox).status == execute(server, "named").status == execute(server).status == 200
        context = server.ask("POST", "/contexts", {}).json()["id"]
        assert execute(server, context_id=context).status == 200
    with serving(pyexec, "--e2b", "--state-dir", folder) as server:
        for answer in (execute(server, sandbox), execute(server, context_id=context)):
            assert answer.status == 404 and b"the server was restarted" in answer.body and b"host_restart" in answer.body
        assert b"host_restart" not in execute(server, "sandbox-" + "0" * 16).body
        assert b"the earlier state of the context is lost (host_restart)" in execute(server, "named").body
        assert b"the earlier state of the context is lost (host_restart)" in execute(server).body
        assert b"host_restart" not in execute(server).body


# ---- The folder ----

def test_the_folder_that_systemd_names_is_used(pyexec, folder):
    with serving(pyexec, env={"STATE_DIRECTORY": folder + ":/nonexistent"}) as server:
        server.result("1", "s")
    with serving(pyexec, env={"STATE_DIRECTORY": folder}) as server:
        assert restarted(server, "s") == "host_restart"


def test_without_a_folder_nothing_is_kept(pyexec, folder):
    for _ in range(2):
        with serving(pyexec, env={"STATE_DIRECTORY": ""}) as server:
            assert restarted(server, "s") is None
            assert server.metric("pyexec_state_kept") == 0
            assert "state" not in server.log()


def test_a_missing_folder_is_made_private(pyexec, folder):
    inner = os.path.join(folder, "inner")
    with serving(pyexec, "--state-dir", inner) as server:
        server.result("1", "s")
    assert stat.S_IMODE(os.stat(inner).st_mode) == 0o700 and os.listdir(inner) == [NAME]


@pytest.mark.parametrize("trap", ["missing parent", "file", "others may write", "other owner", "in use"])
def test_a_folder_that_can_not_be_trusted_is_said_and_the_server_serves(pyexec, folder, trap):
    if trap == "other owner" and os.getuid() != 0:
        pytest.skip("only root makes a folder for another user")
    with contextlib.ExitStack() as stack:
        path = folder
        if trap == "missing parent":
            path = "/nonexistent/state"
        elif trap == "file":
            path = os.path.join(folder, "file")
            open(path, "w").close()
        elif trap == "others may write":
            os.chmod(folder, 0o770)
        elif trap == "other owner":
            os.chown(folder, 60124, 60124)
            os.chmod(folder, 0o755)
        else:
            first = stack.enter_context(serving(pyexec, "--state-dir", folder))
            first.result("1", "of-the-first")
            wait_for_text(folder, "of-the-first")
        before = text_in(folder)
        server = stack.enter_context(serving(pyexec, "--state-dir", path))
        line = server.wait_for_line(event=OFF)[0]
        assert path in json.dumps(line)
        assert restarted(server, "s") is None and server.metric("pyexec_state_kept") == 0
        assert text_in(folder) == before


# ---- The file ----

@pytest.mark.parametrize("text", [b"", b"\0" * 5000, b"hello\n", b"pyexec sessions 2\n+ local/s\n", os.urandom(20000), HEAD.encode()[:9],
                                  b"x" * (17 << 20)], ids=["empty", "zeros", "text", "later", "random", "cut", "huge"])
def test_a_file_that_is_none_of_ours_is_kept_aside(pyexec, folder, text):
    write(folder, text, pyexec.uid)
    with serving(pyexec, "--state-dir", folder) as server:
        assert restarted(server, "s") is None
        wait_for_text(folder, "+ local/s\n")
        assert bool(server.lines(event=UNREADABLE)) == bool(text)
    if text:
        with open(os.path.join(folder, NAME + ".unreadable"), "rb") as file:
            assert file.read() == text
    with serving(pyexec, "--state-dir", folder) as server:
        assert restarted(server, "s") == "host_restart"


@pytest.mark.parametrize("kind", ["fifo", "symlink", "folder", "others may write", "device"])
def test_what_is_no_plain_file_is_neither_read_nor_written_through(pyexec, folder, kind):
    path, target = os.path.join(folder, NAME), os.path.join(folder, "target")
    if kind == "device" and os.getuid() != 0:
        pytest.skip("only root makes a device")
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 5))      # /dev/zero: it never ends
    elif kind == "symlink":
        with open(target, "w") as file:
            file.write(HEAD + "+ local/s\n")
        os.symlink(target, path)
    elif kind == "folder":
        os.mkdir(path)
    else:
        write(folder, HEAD + "+ local/s\n", pyexec.uid, 0o666)
    with serving(pyexec, "--state-dir", folder) as server:
        assert server.wait_for_line(event=UNREADABLE)
        assert restarted(server, "s") is None
        wait_for_text(folder, "+ local/s\n")
        assert stat.S_ISREG(os.lstat(path).st_mode)
    if kind == "symlink":
        with open(target) as file:
            assert file.read() == HEAD + "+ local/s\n"


def test_damaged_lines_are_said_and_the_others_hold(pyexec, folder):
    bad = ["", "+", "+ ", "+ nobody", "* local/x", "+ local/../../etc", "+ local/" + "x" * 200, "+ /x", "+ local/", "- local/x",
           "- local/x no_such_reason", "- local/x closed closed", "+ local/a\tb", "+ l\0cal/s", "+ local/s\xe4", "+  local/s", "x" * 5000]
    write(folder, HEAD + "+ local/first\n" + "\n".join(bad) + "\n+ local/last\n- local/gone evicted\n+ local/torn", pyexec.uid)
    with serving(pyexec, "--state-dir", folder) as server:
        line = server.wait_for_line(event="the state file is damaged")[0]
        assert "%d lines" % (len(bad) + 1) in json.dumps(line)
        assert [restarted(server, name) for name in ("first", "last", "gone", "torn", "x")] == \
            ["host_restart", "host_restart", "evicted", None, None]
        wait_for_text(folder, "+ local/x\n")
        assert "no_such_reason" not in text_in(folder) and ".." not in text_in(folder)


def test_the_file_is_bounded(pyexec, folder):
    """Writes as many ids as a file of the greatest size can have. The last 10,000 are remembered."""
    write(folder, HEAD + "".join("+ local/%0120d\n" % number for number in range(100000)), pyexec.uid)
    with serving(pyexec, "--state-dir", folder) as server:
        assert server.metric("pyexec_sessions_lost") == 10000
        assert restarted(server, "%0120d" % 90000) == "host_restart"
        assert restarted(server, "%0120d" % 89999) is None
        wait_until(lambda: text_in(folder).count("\n") < 10100, "it is not written anew")
        # Lines are appended. When a megabyte was appended, the file is written again, so it stays bounded.
        for number in range(40):
            server.result("1", "s-%d" % number)
            server.ask("DELETE", "/v1/sessions/s-%d" % number)
        assert os.path.getsize(os.path.join(folder, NAME)) < 4 << 20


# ---- The disk ----

@contextlib.contextmanager
def small_disk(folder, uid, options="size=256k"):
    if os.getuid() != 0:
        pytest.skip("only root mounts a small file system")
    subprocess.run(["mount", "-t", "tmpfs", "-o", options + ",mode=700,uid=%d,gid=%d" % (uid, uid), "none", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def fill(folder):
    path = os.path.join(folder, "filler")
    with open(path, "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    return path


def test_a_full_disk_is_said_once_and_all_is_written_when_there_is_room(pyexec, folder):
    with small_disk(folder, pyexec.uid):
        with serving(pyexec, "--state-dir", folder) as server:
            server.result("1", "before")
            wait_for_text(folder, "+ local/before\n")
            filler = fill(folder)
            wait_until(lambda: [server.result("1", "n" * 100 + str(i)) for i in range(40)] and server.lines(event=FAILS),
                       "a full disk is not said")
            assert restarted(server, "during") is None
            wait_until(lambda: server.metric("pyexec_state_write_failures_total") >= 2, "it is not tried again")
            assert server.metric("pyexec_state_kept") == 0 and len(server.lines(event=FAILS)) == 1
            os.unlink(filler)
            assert server.wait_for_line(event=WRITTEN)
            assert server.metric("pyexec_state_kept") == 1
            kill(server)
        with serving(pyexec, "--state-dir", folder) as server:
            assert not server.lines(event="the state file is damaged")
            assert (restarted(server, "before"), restarted(server, "during")) == ("host_restart", "host_restart")


def test_a_disk_that_is_full_when_the_server_dies_leaves_what_was_written(pyexec, folder):
    with small_disk(folder, pyexec.uid):
        with serving(pyexec, "--state-dir", folder) as server:
            server.result("1", "before")
            wait_for_text(folder, "+ local/before\n")
            fill(folder)
            wait_until(lambda: [server.result("1", "n" * 100 + str(i)) for i in range(40)] and server.lines(event=FAILS),
                       "a full disk is not said")
            kill(server)
        with serving(pyexec, "--state-dir", folder) as server:      # still full
            assert server.wait_for_line(event=FAILS)
            assert restarted(server, "before") == "host_restart"


def test_a_read_only_disk_is_said_and_what_is_there_is_told(pyexec, folder):
    with small_disk(folder, pyexec.uid):
        write(folder, HEAD + "+ local/s\n", pyexec.uid)
        subprocess.run(["mount", "-o", "remount,ro", folder], check=True)
        with serving(pyexec, "--state-dir", folder) as server:
            assert "Read-only file system" in json.dumps(server.wait_for_line(event=FAILS))
            assert restarted(server, "s") == "host_restart"
            assert server.result("1", "new")["status"] == "ok"


# ---- Death between writes ----

@pytest.fixture(scope="module")
def kill_shim(session_folder):
    shim, source = str(session_folder / "kill_shim.so"), ROOT + "/tests/support/kill_shim.c"
    subprocess.run(["gcc", "-Wall", "-Werror", "-O1", "-shared", "-fPIC", "-o", shim, source, "-ldl"], check=True)
    return shim


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call, number", [("openat", 1), ("write", 1), ("fsync", 1), ("renameat", 1), ("fsync", 2), ("write", 2),
                                          ("write", 3), ("fdatasync", 1)])
def test_whenever_it_is_killed_the_file_is_whole(pyexec, folder, kill_shim, call, number, when):
    """The server replaces the file at its start (openat, write, fsync, renameat, fsync of the folder), then appends."""
    write(folder, HEAD + "- local/ended idle_ttl\n+ local/live\n", pyexec.uid)
    environment = {"LD_PRELOAD": preload(kill_shim), "KILL_AT": "%s:%d:%s" % (call, number, when)}
    with serving(pyexec, "--state-dir", folder, env=environment, ready=False) as server:
        names = ["one", "two", "three"] + ["s-%d" % number for number in range(40)]

        def dies():
            # Each request begins a session. Several beginnings may be written at once.
            with contextlib.suppress(OSError, ValueError, AssertionError):
                while names:
                    server.result("1", names[0], timeout=5)
                    names.pop(0)
            return server.process.poll() is not None
        wait_until(dies, "it is not killed")
        assert server.process.returncode == -signal.SIGKILL
    with serving(pyexec, "--state-dir", folder) as server:
        assert not server.lines(event=UNREADABLE)
        # At most half a line is there, if half a line was written.
        damaged = json.dumps(server.lines(event="the state file is damaged"))
        assert damaged == "[]" or (" 1 lines" in damaged and (call, when) == ("write", "before"))
        assert (restarted(server, "live"), restarted(server, "ended")) == ("host_restart", "idle_ttl")
        if (call, number) == ("fdatasync", 1):
            assert restarted(server, "one") == "host_restart"
    assert sorted(os.listdir(folder)) == [NAME]


def test_kills_at_any_moment_lose_no_session_that_was_written(pyexec, folder):
    known = set()
    for life in range(8):
        with serving(pyexec, "--state-dir", folder) as server:
            for name in sorted(known):
                assert "host_restart" in find(server, name), (life, name)
            assert not server.lines(event="the state file is damaged") and not server.lines(event=UNREADABLE)
            for number in range(3 + life):
                name = "s-%d-%d" % (life, number)
                server.result("1", name)
                wait_for_text(folder, "local/%s\n" % name)
                known.add(name)
            kill(server)
    assert len(known) == 52


# ---- The drain that waits for sessions ----

WAITS = "[serve]\ndrain_sessions = 60s\n"


def drain(server):
    server.process.send_signal(signal.SIGTERM)
    server.wait_for_line(event="waiting for sessions")


def test_a_drain_waits_for_sessions_which_can_still_be_called(pyexec):
    with serving(pyexec, "--files", "full", config=WAITS) as server:
        server.result("x = 41", "s")
        drain(server)
        assert server.ask("GET", "/readyz").status == 503
        assert server.result("x + 1", "s")["last_value_repr"] == "42"
        assert server.ask("PUT", "/v1/sessions/s/files/f", b"kept").status == 204
        assert server.ask("GET", "/v1/sessions/s/files/f").body == b"kept"
        for refused in (server.execute("1"), server.execute("1", "new"), server.ask("POST", "/v1/sessions", {"id": "new"})):
            assert (refused.status, refused.json()["code"]) == (503, "shutting_down") and refused.headers["Retry-After"]
        assert server.process.poll() is None
        assert server.ask("DELETE", "/v1/sessions/s").status == 204
        assert server.process.wait(20) == 0


def test_other_fronts_keep_the_same_rule_in_such_a_drain(pyexec):
    with serving(pyexec, "--e2b", "--dify-sandbox", config=WAITS) as server:
        assert server.ask("POST", "/execute", {"code": "x = 1"}, {"E2b-Sandbox-Id": "a"}).status == 200
        drain(server)
        assert b'"text":"1"' in server.ask("POST", "/execute", {"code": "x"}, {"E2b-Sandbox-Id": "a"}).body
        assert server.ask("POST", "/v2/sandboxes", {}).status == 503
        assert server.ask("POST", "/v1/sandbox/run", {"language": "python3", "code": "print(1)"}).status == 503
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "run_python", "arguments": {"code": "1"}}}
        assert b"shutting" in server.ask("POST", "/mcp", message, {"Accept": "application/json, text/event-stream"}).body
        server.process.send_signal(signal.SIGTERM)


def test_it_ends_when_the_last_session_has_been_idle_for_its_time(pyexec):
    with serving(pyexec, config=WAITS + "[session]\nidle_ttl = 1s\n") as server:
        server.result("1", "s")
        drain(server)
        assert server.process.wait(20) == 0


def test_systemd_is_asked_for_the_time_that_it_takes(own, open_folder):
    path = str(open_folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.bind(path)
        os.chmod(path, 0o666)
        told.settimeout(20)
        with serving(own, env={"NOTIFY_SOCKET": path}, config=WAITS) as server:
            assert told.recv(4096) == b"READY=1"
            server.result("1", "s")
            drain(server)
            assert [told.recv(4096) for _ in range(3)] == [b"STOPPING=1"] + [b"EXTEND_TIMEOUT_USEC=30000000"] * 2
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(20) == 0


def test_it_waits_no_longer_than_it_is_told(pyexec, folder):
    with serving(pyexec, "--state-dir", folder, config="[serve]\ndrain_sessions = 500ms\n") as server:
        server.result("1", "s")
        drain(server)
        assert server.process.wait(20) == 0
    with serving(pyexec, "--state-dir", folder) as server:
        assert restarted(server, "s") == "host_restart"


def test_a_second_signal_ends_the_wait_for_sessions(pyexec):
    with serving(pyexec, config=WAITS) as server:
        server.result("1", "s")
        drain(server)
        server.process.send_signal(signal.SIGHUP)       # does not shorten the wait
        assert server.result("1", "s")["status"] == "ok"
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 0


def test_a_server_without_sessions_ends_at_once(own):
    with serving(own, config=WAITS) as server:
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 0
        assert not server.lines(event="waiting for sessions")

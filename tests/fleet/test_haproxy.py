"""packaging/haproxy/haproxy.cfg, for real: three `pyexec serve` behind HAProxy. Sessions stay where they are while nodes join and leave."""
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import threading

import pytest
from serving import Connection, Server, events, serving, token_line
from waiting import wait_until

HAPROXY = shutil.which("haproxy", path=os.environ["PATH"] + ":/usr/sbin")
CONFIGURATION, RELOAD = (os.path.join(os.path.dirname(__file__), "..", "..", "packaging", "haproxy", name) for name in ("haproxy.cfg", "reload.py"))
FLAGS = ["--files", "full", "--any-import", "--forkable", "--timeout", "100s", "--cpu-time-seconds", "100", "--max-stdout-bytes", "32M"]
TOKENS = [token_line(name, token, "rate=100000", "max_sessions=1000", "forkable=true") for name, token in (("alice", "secret"), ("bob", "other"))]
CONFIG = "[serve]\ndrain_grace = 60s\n[session]\nmax_count = 1000\n"
SLEEP = "import time\nprint('on', flush=True)\ntime.sleep(%s)\n5"

pytestmark = pytest.mark.skipif(not HAPROXY, reason="haproxy is not installed")


class Proxy(Server):
    """HAProxy with the example's file. Nodes come and go at the sockets whose names it has."""

    def __init__(self, folder):
        super().__init__(None, None, folder, os.path.join(folder, "log"))
        self.socket, self.nodes, self.stack = os.path.join(folder, "front"), {}, contextlib.ExitStack()
        places = {"PYEXEC_NODE_" + name.upper(): "unix@%s/%s" % (folder, name) for name in "abc"}
        self.environment = {**os.environ, **places, "PYEXEC_BIND": "unix@" + self.socket, "PYEXEC_ADMIN": folder + "/admin"}

    def __enter__(self):
        log = self.stack.enter_context(open(self.log_path, "wb"))
        self.process = subprocess.Popen([HAPROXY, "-W", "-f", CONFIGURATION], env=self.environment, stdout=log, stderr=log)
        wait_until(lambda: self.ask("GET", "/v1/sessions/new").json()["title"] != "the proxy has just started" if os.path.exists(self.socket) else None,
                   "HAProxy does not start")
        return self

    def __exit__(self, *_):
        try:
            self.process.kill()     # its children end with it
            self.process.wait()
        finally:
            self.stack.close()

    def join(self, pyexec, name, **more):
        """Starts a node, and waits until HAProxy uses it."""
        node = self.stack.enter_context(serving(pyexec, *FLAGS, tokens=TOKENS, config=CONFIG, **more))
        os.symlink(node.socket, os.path.join(self.folder, name))
        self.nodes[name] = node
        for backend in ("owners", "new_sessions", "runs", "ids"):
            wait_until(lambda: self.admin("show servers state %s" % backend)[name] == "2", "%s does not come up: %s" % (name, self.log()), 60)
        return node

    def rows(self):
        """Returns key → number of its node, from the table of HAProxy."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(self.folder + "/admin")
            connection.sendall(b"show table owners\n")
            text = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
        return {words["key"]: words["server_id"] for line in text.splitlines()[1:] if line.strip()
                for words in [dict(word.split("=", 1) for word in line.split() if "=" in word)]}

    def admin(self, command):
        """Returns the operational state of each server."""
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(self.folder + "/admin")
            except OSError:
                return dict.fromkeys("abc")
            connection.sendall(command.encode() + b"\n")
            text = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
        return {words[3]: words[5] for words in map(str.split, text.splitlines()[2:]) if words}

    def ask(self, *words, **more):
        return super().ask(*words, **{"token": "secret", **more})

    def home(self, session):
        """Returns the name of the node that has a session."""
        found = [name for name, node in self.nodes.items() if node.process.poll() is None
                 and session in [row["id"] for row in node.ask("GET", "/v1/sessions", token="secret").json()["sessions"]]]
        assert len(found) == 1, (session, found)
        return found[0]


@pytest.fixture
def proxy(open_folder):
    with Proxy(str(open_folder)) as running:
        yield running


def make_sessions(proxy, count):
    """Returns the ids of new sessions, each with its own value."""
    ids = {secrets.token_hex(8): number for number in range(count)}
    for name, number in ids.items():
        assert proxy.result("x = %d\nx" % number, name)["session"]["created"]
    return ids


def check(proxy, ids):
    for name, number in ids.items():
        assert proxy.result("x", name)["last_value_repr"] == str(number)


def test_sessions_stay_where_they_are_while_nodes_join_and_leave(pyexec, proxy):
    for name in "ab":
        proxy.join(pyexec, name)
    old = make_sessions(proxy, 40)
    proxy.join(pyexec, "c")
    check(proxy, old)
    ids = {**old, **make_sessions(proxy, 40)}
    homes = {name: proxy.home(name) for name in ids}
    assert {homes[name] for name in old} == {"a", "b"} and set(homes.values()) == {"a", "b", "c"}
    proxy.nodes["a"].process.kill()
    lost = [name for name in ids if homes[name] == "a"]
    check(proxy, {name: number for name, number in ids.items() if name not in lost})
    for name in lost:
        answer = wait_until(lambda: (answer := proxy.execute("x", name)).status < 500 and answer, "HAProxy does not notice it")
        assert (answer.status, answer.json()["code"]) == (410, "session_lost"), answer.body
        result = proxy.result("'x' in globals()", name)
        assert result["session"]["created"] and result["last_value_repr"] == "False"
        assert proxy.home(name) in "bc"
    os.unlink(os.path.join(proxy.folder, "a"))
    proxy.join(pyexec, "a")
    check(proxy, {name: number for name, number in ids.items() if name not in lost})
    assert all(not proxy.result("1", name)["session"]["created"] for name in lost)


def test_only_calls_that_a_node_has_served_are_remembered(pyexec, proxy):
    for name in "ab":
        proxy.join(pyexec, name)
    for number in range(20):
        for token in ("wrong", "wrong-%d" % number):
            assert proxy.execute("1", "s%d" % number, token=token).status == 401
            assert proxy.ask("POST", "/v1/sessions", {"id": "t%d" % number}, token=token).status == 401
        assert proxy.ask("GET", "/v1/sessions/u%d" % number).status == 404
        assert proxy.ask("POST", "/v1/execute", "{}", {"Authorization": "Basic c2VjcmV0"}, token=None).status == 401
    assert proxy.rows() == {}
    proxy.result("1", "mine")
    assert len(proxy.rows()) == 1 and "secret" not in str(proxy.rows())


def test_two_principals_with_one_name_for_a_session_do_not_disturb_each_other(pyexec, proxy):
    for name in "ab":
        proxy.join(pyexec, name)
    for token in ("secret", "other"):
        assert proxy.result("who = %r" % token, "same", token=token)["session"]["created"]
    for token in ("secret", "other"):
        assert proxy.result("who", "same", token=token)["last_value_repr"] == repr(token)
    assert len(proxy.rows()) == 2
    proxy.nodes[proxy.home("same")].process.kill()
    for token in ("other", "secret"):       # each is told that its session is lost
        answer = wait_until(lambda: (answer := proxy.execute("who", "same", token=token)).status < 500 and answer, "HAProxy does not notice it")
        assert (answer.status, answer.json()["code"]) == (410, "session_lost"), answer.body
        assert proxy.result("1", "same", token=token)["session"]["created"]


def test_a_node_that_drains_gets_no_new_work_and_finishes_its_own(pyexec, proxy):
    for name in "ab":
        proxy.join(pyexec, name)
    with contextlib.closing(proxy.connection()) as connection:
        connection.request("POST", "/v1/execute", json.dumps({"code": SLEEP % 4}), {"Accept": "text/event-stream", "Authorization": "Bearer secret"})
        stream = events(connection.getresponse())
        assert next(stream)[0] == "stdout"
        drained, other = sorted(proxy.nodes.values(), key=lambda node: node.metric("pyexec_running"), reverse=True)
        drained.process.send_signal(signal.SIGTERM)
        for _ in range(100):        # some of these come to it before HAProxy knows that it drains, and it answers 503
            assert proxy.result("1")["status"] == "ok"
        assert {name: data for name, data in stream}["result"]["last_value_repr"] == "5"
        assert drained.process.wait(60) == 0
    assert proxy.result("1")["status"] == "ok" and other.process.poll() is None


def test_a_run_whose_node_is_killed_is_not_started_again(pyexec, proxy):
    for name in "ab":
        proxy.join(pyexec, name)
    answers = []
    thread = threading.Thread(target=lambda: answers.append(proxy.execute(SLEEP % 60)))
    thread.start()
    busy = wait_until(lambda: [node for node in proxy.nodes.values() if node.metric("pyexec_running")], "the run does not start")
    other = next(node for node in proxy.nodes.values() if node not in busy)
    assert len(busy) == 1
    busy[0].process.kill()
    thread.join(60)
    assert (answers[0].status, answers[0].json()["code"]) == (502, "internal") and "may have run" in answers[0].json()["hint"]
    assert other.metric("pyexec_running") == 0 and other.metric("pyexec_execution_duration_seconds_count") == 0
    assert all(proxy.execute("1").status == 200 for _ in range(10))
    other.process.kill()
    other.process.wait()
    assert (proxy.execute("1").status, proxy.execute("1").json()["code"]) == (503, "overloaded")
    assert proxy.ask("GET", "/readyz", token=None).status in (200, 503)


def test_the_whole_interface_through_the_proxy(pyexec, proxy):
    for name in "abc":
        proxy.join(pyexec, name)
    assert proxy.ask("GET", "/v1/sessions", token=None).status == 401
    assert proxy.ask("GET", "/readyz", token=None).status == 200
    refused = proxy.ask("POST", "/v1/sessions", {})
    assert refused.status == 400 and "id" in refused.json()["hint"]
    for number in range(12):
        name = "s%d.%s" % (number, secrets.token_hex(4))
        assert proxy.ask("POST", "/v1/sessions", {"id": name}).status == 201
        assert proxy.result("x = %d" % number, name)["session"]["created"] is False
        forked = proxy.ask("POST", "/v1/sessions/%s/fork" % name, {"count": 1})
        branch = forked.json()["sessions"][0]
        own = name + ".mine"
        assert proxy.ask("POST", "/v1/sessions/%s/fork" % name, {"ids": [own]}).status == 201
        assert [proxy.result("x", one)["last_value_repr"] for one in (branch, own)] == [str(number)] * 2
        assert proxy.home(own) == proxy.home(name)
        assert proxy.ask("POST", "/v1/sessions/%s/fork" % name, {"ids": ["other"]}).status == 400
        content = secrets.token_bytes(3 << 20)
        assert proxy.ask("PUT", "/v1/sessions/%s/files/f" % name, content).status in (200, 201, 204)
        assert proxy.ask("GET", "/v1/sessions/%s/files/f" % name).body == content
        answer = proxy.ask("POST", "/v1/execute", {"code": "7 * %d" % number, "detach": True})
        state = proxy.ask("GET", "/v1/executions/%s?wait_ms=20000" % answer.json()["execution_id"])
        assert state.json()["result"]["last_value_repr"] == str(7 * number)
        assert proxy.ask("GET", "/v1/executions/e-none-1").status == 404


def test_tool_calls_are_answered_at_the_node_of_their_run(pyexec, proxy):
    for name in "abc":
        proxy.join(pyexec, name)
    text = "y" * 200000
    for _ in range(12):
        with contextlib.closing(proxy.connection()) as connection:
            body = {"code": "len(f())", "tools": [{"name": "f"}]}
            connection.request("POST", "/v1/execute", json.dumps(body), {"Accept": "text/event-stream", "Authorization": "Bearer secret"})
            for name, data in events(connection.getresponse()):
                if name == "tool_call":
                    assert proxy.ask("POST", "/v1/calls/" + data["call_id"], {"result": text}).status in (200, 204)
                elif name == "result":
                    assert data["last_value_repr"] == "200000"
    assert proxy.ask("POST", "/v1/calls/c-0000000000000000-1", {"result": 1}).json()["code"] == "call_not_found"


def test_a_client_that_goes_away_cancels_its_run(pyexec, proxy):
    node = proxy.join(pyexec, "a")
    for accept in ("application/json", "text/event-stream"):
        connection = Connection(proxy.socket)
        connection.request("POST", "/v1/execute", json.dumps({"code": SLEEP % 90}), {"Accept": accept, "Authorization": "Bearer secret"})
        wait_until(lambda: node.metric("pyexec_running") + node.metric("pyexec_asleep"), "the run does not start")
        connection.close()
        wait_until(lambda: not node.metric("pyexec_running") + node.metric("pyexec_asleep"), "the run goes on")


def mcp(proxy, method, headers=(), **parameters):
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
    return proxy.ask("POST", "/mcp", body, {"Accept": "application/json, text/event-stream", "Content-Type": "application/json", **dict(headers)})


def test_an_mcp_client_stays_at_its_node(pyexec, proxy):
    for name in "abc":
        proxy.join(pyexec, name)
    for number in range(8):
        begun = mcp(proxy, "initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo={"name": "test", "version": "1"})
        headers = {"Mcp-Session-Id": begun.headers["Mcp-Session-Id"], "MCP-Protocol-Version": "2025-06-18"}
        session = secrets.token_hex(4)
        for code, expected in (("x = %d\nx" % number, number), ("x + 1", number + 1)):
            answer = mcp(proxy, "tools/call", headers, name="run_python", arguments={"code": code, "session_id": session})
            assert str(expected) in answer.body.decode(), answer.body
    proxy.nodes[proxy.home(session)].process.kill()
    answer = wait_until(lambda: (answer := mcp(proxy, "tools/list", headers)).status < 500 and answer, "HAProxy does not notice it")
    assert answer.status == 404 and mcp(proxy, "tools/list", headers).status == 200


def test_a_reload_under_load_loses_nothing(pyexec, proxy):
    for name in "ab":
        proxy.join(pyexec, name)
    ids = make_sessions(proxy, 30)
    proxy.join(pyexec, "c")         # from now on the hash alone would not find all of these sessions
    done, failures, counted = threading.Event(), [], []

    def work(session):
        while not done.is_set():
            answer = proxy.execute("n = globals().get('n', 0) + 1\nn", session)
            counted.append(1)
            if answer.status != 200 and (answer.status, answer.json()["title"]) != (503, "the proxy has just started"):
                failures.append((answer.status, answer.body))
    names = list(ids)[:2]
    threads = [threading.Thread(target=work, args=(session,)) for session in [None, None, *names]]
    for thread in threads:
        thread.start()
    for _ in range(3):
        before = len(counted)
        wait_until(lambda: len(counted) > before + 50, "no calls")
        reloaded = subprocess.run([RELOAD, proxy.folder + "/admin", str(proxy.process.pid)], capture_output=True, text=True, timeout=60)
        assert reloaded.returncode == 0 and "30 sessions are known" in reloaded.stdout, (reloaded, proxy.log()[-2000:])
    done.set()
    for thread in threads:
        thread.join(60)
    assert not failures, failures[:5]
    check(proxy, ids)

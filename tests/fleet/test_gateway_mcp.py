# SPDX-License-Identifier: Apache-2.0
"""POST /mcp of `pyexec serve --nats`: the Model Context Protocol in front of a fleet, with the official client and message by message."""
import contextlib
import json
import os
import signal
import subprocess
import threading
import time

import pytest

from conftest import BUILD, ROOT
from environments import kept
from mcp_stdio import META, text
from nats_fleet import PLAIN, Nats, Server, Worker, b64, needs_fleet, wait_until
from serving import events, serving, token_line

pytestmark = needs_fleet(BUILD)
PINS = os.path.join(ROOT, "tests", "mcp")
FLAGS = ["--files", "full", "--forkable", "--timeout", "30s", "--cpu-time-seconds", "30"]
SPIN = "while True:\n    pass"
BOTH = {"Accept": "application/json, text/event-stream"}
MODERN = {"MCP-Protocol-Version": "2026-07-28"}


@pytest.fixture(scope="module")
def nats():
    with Server() as made:
        yield made


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokens", numbered=True) / "tokens"
    path.write_text("auto -\nlegacy -\n")
    for folder in (path.parent, path.parent.parent, path.parent.parent.parent):
        folder.chmod(0o755)
    return str(path)


@pytest.fixture(scope="module")
def workers(pyexec, nats, tokens):
    names = ["one-%d" % pyexec.uid, "two-%d" % pyexec.uid]
    with Worker(pyexec, nats, names[0], *FLAGS, "--token-file", tokens, env=PLAIN) as one, \
            Worker(pyexec, nats, names[1], *FLAGS, "--token-file", tokens, env=PLAIN) as two:
        yield {one.node: one, two.node: two}


@pytest.fixture(scope="module")
def gateway(pyexec, nats, workers):
    with serving(pyexec, "--nats", nats.url, tcp=True, tokens=[token_line(name, name) for name in ("auto", "legacy")]) as made:
        yield made


@pytest.fixture(scope="module")
def second(pyexec, nats, workers):
    """Another gateway in front of the same fleet."""
    with serving(pyexec, "--nats", nats.url) as made:
        yield made


def message(method, params, number=1):
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def post(server, body, headers=None):
    return server.ask("POST", "/mcp", body, {"Content-Type": "application/json", **BOTH, **(headers or {})})


def call(server, tool, headers=None, **arguments):
    """Returns the result of a tool, with the node that answered as `node`."""
    answer = post(server, message("tools/call", {"name": tool, "arguments": arguments}), headers)
    assert answer.status == 200 and answer.headers["Content-Type"] == "application/json", (answer.status, answer.body)
    return {**answer.json()["result"], "node": answer.headers["Pyexec-Node"]}


def value(result):
    assert not result["isError"], result
    return result["structuredContent"]["last_value_repr"]


def error(result):
    assert result["isError"] and "structuredContent" not in result, result
    return text(result)


@contextlib.contextmanager
def streamed(server, body, headers=None):
    """The events of a call, while it runs."""
    with contextlib.closing(server.connection()) as connection:
        connection.request("POST", "/mcp", json.dumps(body), {**BOTH, **(headers or {})})
        response = connection.getresponse()
        assert response.status == 200, response.read()
        assert response.headers["Content-Type"] == "text/event-stream"
        yield (event for event in events(response) if event[0])


def slow(code, token="t", number=7, **arguments):
    return message("tools/call", {"name": "run_python", "arguments": {"code": code, **arguments}, "_meta": {"progressToken": token}}, number)


# ---- The official client ----

@pytest.mark.parametrize("mode, version", [("auto", "2026-07-28"), ("legacy", "2025-11-25")])
def test_the_official_client_works_as_with_one_server(gateway, mode, version):
    target = {"url": "http://%s/mcp" % gateway.tcp, "token": mode, "mode": mode}
    python = kept("mcp-clients", PINS + "/requirements.txt")
    done = subprocess.run([python, PINS + "/client.py", json.dumps(target)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert (seen["version"], seen["server"]) == (version, "pyexec")
    assert {"run_python", "reset_session", "fork_session", "get_execution"} <= set(seen["tools"])
    assert seen["value"]["structured"]["last_value_repr"] == "42" and seen["failed"]["error"]
    assert seen["kept"]["structured"]["last_value_repr"] == "8" and seen["read"]["text"] == "datadata"
    assert [file["path"] for file in seen["listed"]["structured"]["files"]] == ["i.png", "in.txt", "out.txt"]
    assert seen["reset"]["structured"] == {"session_id": "s", "existed": True}
    assert "session_not_found" in seen["absent"]["text"] and "invalid_policy" in seen["longer"]["text"]
    assert seen["unknown_tool"] == -32602
    steps, last = seen["progress"]
    assert last == "'done'" and len(steps) == 3 and steps == sorted(set(steps)) and steps[0] == 0
    assert "KeyboardInterrupt" in seen["interrupted"]["text"] and seen["after_interrupt"]["structured"]["last_value_repr"] == "1"
    assert seen["after_cancel"][0] == "1" and seen["after_cancel"][1] < 15      # the loop would spin for 30 seconds
    assert seen["two_connections"]["structured"]["last_value_repr"] == "'of the first'"


# ---- Messages ----

def test_a_message_without_a_session_goes_to_any_node(gateway, workers):
    answer = post(gateway, message("initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {}}))
    assert answer.status == 200 and answer.json()["result"]["protocolVersion"] == "2025-06-18" and len(answer.headers["Mcp-Session-Id"]) == 32
    assert post(gateway, {"jsonrpc": "2.0", "method": "notifications/initialized"}).status == 202
    seen = set()
    for _ in range(200):
        result = call(gateway, "run_python", code="6 * 7")
        assert value(result) == "42"
        seen.add(result["node"])
        if seen == set(workers):
            break
    assert seen == set(workers)
    answer = post(gateway, b"{bad")
    assert answer.status == 400 and answer.json()["error"]["code"] == -32700
    assert post(gateway, message("nothing", {})).json()["error"]["code"] == -32601
    assert gateway.ask("GET", "/mcp").status == 405 and gateway.ask("DELETE", "/mcp").status == 405


def test_headers_of_the_revision_without_sessions_reach_the_node(gateway):
    body = message("tools/call", {"name": "run_python", "arguments": {"code": "1 + 1"}, "_meta": META})
    good = {**MODERN, "Mcp-Method": "tools/call", "Mcp-Name": "run_python"}
    result = post(gateway, body, good).json()["result"]
    assert result["resultType"] == "complete" and result["structuredContent"]["last_value_repr"] == "2"
    answer = post(gateway, body, {**good, "Mcp-Name": "interrupt"})
    assert answer.status == 400 and answer.json()["error"]["code"] == -32020


def test_a_session_lives_at_one_node_and_every_gateway_finds_it(gateway, second, workers):
    result = call(gateway, "run_python", session_id="m1", code="x = 5")
    assert result["structuredContent"]["session"]["created"] is True
    again = call(second, "run_python", session_id="m1", code="x += 1; x")
    assert value(again) == "6" and again["node"] == result["node"] and again["structuredContent"]["session"]["created"] is False
    assert second.execute("x", session="m1").json()["last_value_repr"] == "6"       # it is the session of HTTP
    assert post(gateway, message("tools/call", {"name": "run_python", "arguments": {"session_id": "m1", "code": "x"}}),
                {"Accept": "application/json"}).json()["result"]["structuredContent"]["last_value_repr"] == "6"
    gateway.result("y = 7", session="m2")
    assert value(call(second, "run_python", session_id="m2", code="y")) == "7"
    nodes = {call(gateway, "run_python", session_id="n%d" % i, code="1")["node"] for i in range(40)}
    assert nodes == set(workers)
    assert call(second, "reset_session", session_id="m1")["structuredContent"]["existed"] is True
    assert "NameError" in text(call(gateway, "run_python", session_id="m1", code="x"))


def test_files_and_a_session_that_they_make(gateway, second):
    assert not call(gateway, "write_file", session_id="f1", path="a.txt", content="hello")["isError"]
    assert text(call(second, "read_file", session_id="f1", path="a.txt")) == "hello"
    large = "z" * 3_000_000                             # larger than one message
    assert not call(second, "write_file", session_id="f1", path="large", content=large)["isError"]
    assert call(gateway, "read_file", session_id="f1", path="large")["structuredContent"]["content"] == large
    assert value(call(second, "run_python", session_id="f1", code="len(open('large').read())")) == "3000000"


def test_asking_for_a_session_does_not_make_it(gateway, nats):
    for tool, more in (("list_files", {}), ("interrupt", {}), ("undo", {}), ("fork_session", {}), ("read_file", {"path": "a"})):
        assert "session_not_found" in error(call(gateway, tool, session_id="never", **more)), tool
    assert call(gateway, "reset_session", session_id="never")["structuredContent"]["existed"] is False
    assert "invalid_policy" in error(call(gateway, "run_python", session_id="never", code="1", timeout_ms=3600000))
    with Nats(nats.port) as client:
        key = "$KV.pyexec_sessions.%s.%s" % (b64("local"), b64("never"))
        get = lambda: client.request("$JS.API.STREAM.MSG.GET.KV_pyexec_sessions", json.dumps({"last_by_subj": key})).json()
        wait_until(lambda: get().get("error", {}).get("err_code") == 10037, "the entry is removed")
    for bad in ("", "a b", "a/b", "x" * 129):
        assert "session_id" in error(call(gateway, "run_python", session_id=bad, code="1")), bad


def test_calls_of_a_session_run_in_their_order(gateway):
    call(gateway, "run_python", session_id="o1", code="import time\nseen = []")
    threads = []
    for i in range(4):
        threads.append(threading.Thread(target=call, args=(gateway, "run_python"), kwargs={
            "session_id": "o1", "code": "time.sleep(0.3)\nseen.append(%d)" % i}))
        threads[-1].start()
        time.sleep(0.1)
    for thread in threads:
        thread.join()
    assert value(call(gateway, "run_python", session_id="o1", code="seen")) == "[0, 1, 2, 3]"


def test_branches_are_sessions_of_the_fleet(gateway, second):
    call(gateway, "run_python", session_id="base", code="x = 1")
    forked = call(second, "fork_session", session_id="base", ids=["left", "right"])
    assert forked["structuredContent"]["sessions"] == ["left", "right"], forked
    assert value(call(gateway, "run_python", session_id="left", code="x += 1; x")) == "2"
    assert value(call(second, "run_python", session_id="right", code="x")) == "1"
    assert "conflict" in error(call(gateway, "fork_session", session_id="base", ids=["left"]))
    made = call(gateway, "fork_session", session_id="base", count=2)["structuredContent"]["sessions"]
    assert value(call(second, "run_python", session_id=made[1], code="x")) == "1"
    call(gateway, "run_python", session_id="left", code="x = 10", checkpoint=True)
    assert not (undone := call(second, "undo", session_id="left"))["isError"], undone
    assert value(call(gateway, "run_python", session_id="left", code="x")) == "2"


def test_progress_arrives_while_the_script_runs(gateway):
    for arguments in ({}, {"session_id": "p1"}):
        began = time.monotonic()
        with streamed(gateway, slow("import time\ntime.sleep(2.5)\n'done'", **arguments)) as stream:
            name, first = next(stream)
            assert (name, first["method"], first["params"]["progressToken"]) == ("message", "notifications/progress", "t")
            assert time.monotonic() - began < 2.4
            rest = list(stream)
        assert {name for name, _ in rest} == {"message"} and value(rest[-1][1]["result"]) == "'done'" and rest[-1][1]["id"] == 7
        assert [event["method"] for _, event in rest[:-1]] == ["notifications/progress"] * (len(rest) - 1)


def test_a_request_is_cancelled_at_whatever_node_it_is(gateway, second):
    begun = message("initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {}})
    client = {"Mcp-Session-Id": post(gateway, begun).headers["Mcp-Session-Id"]}
    withdrawn = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}}
    call(gateway, "run_python", session_id="c1", code="x = 1")
    for arguments in ({}, {"session_id": "c1"}):
        began = time.monotonic()
        with streamed(gateway, slow(SPIN, **arguments), client) as stream:
            next(stream)
            assert post(second, withdrawn, {"Mcp-Session-Id": "0" * 32}).status == 202      # of another client
            next(stream)
            assert post(second, withdrawn, client).status == 202
            assert list(stream)[-1][1]["result"]["structuredContent"]["status"] == "cancelled"
        assert time.monotonic() - began < 25
    assert value(call(gateway, "run_python", session_id="c1", code="x")) == "1"


def test_a_detached_execution_is_found_by_its_id(gateway, second, workers):
    for arguments in ({}, {"session_id": "d1"}):
        begun = call(gateway, "run_python", code="import time\ntime.sleep(0.5)\n6 * 7", detach=True, **arguments)
        execution = begun["structuredContent"]["execution_id"]
        assert execution.startswith("e-%s-" % begun["node"])
        ended = call(second, "get_execution", execution_id=execution, wait_ms=20000)
        assert ended["structuredContent"]["result"]["last_value_repr"] == "42" and ended["node"] == begun["node"]
    endless = call(gateway, "run_python", code=SPIN, detach=True)["structuredContent"]["execution_id"]
    assert not call(second, "cancel_execution", execution_id=endless)["isError"]
    for unknown in ("e-nobody-1", "e-%s-99999" % next(iter(workers)), "nothing"):
        assert "execution_not_found" in error(call(gateway, "get_execution", execution_id=unknown))
    latest = {"MCP-Protocol-Version": "2025-11-25"}
    task = post(gateway, message("tools/call", {"name": "run_python", "arguments": {"code": "1 + 2"}, "task": {}}), latest).json()["result"]["task"]
    answer = post(second, message("tasks/result", {"taskId": task["taskId"]}), latest)
    assert answer.json()["result"]["structuredContent"]["last_value_repr"] == "3"


# ---- Nothing from a client is trusted ----

def test_a_message_for_another_session_than_its_subject_is_refused(nats, workers):
    node = next(iter(workers))
    session = "pyexec.v1.node.%s.s.%s.%s" % (node, b64("local"), b64("mine"))
    run, other = "pyexec.v1.run", "pyexec.v1.node.%s.p.%s" % (node, b64("local"))

    def body(session_id, name="run_python", code="open('x', 'w').write('1')"):
        return json.dumps(message("tools/call", {"name": name, "arguments": {"code": code, "session_id": session_id}}))
    hidden = body("hers").replace("session_id", "session\\u005fid")
    hidden_tool = body("mine", "fork_session").replace('"name"', '"n\\u0061me"')
    with Nats(nats.port) as client:
        def ask(subject, data):
            return client.request(subject, data, {"Pyexec-Call": "POST /mcp"})
        for subject, data in [(session, body("hers")), (session, hidden), (session, hidden_tool), (session, json.dumps(message("ping", {}))),
                              (session, b"{bad"), (run, body("hers")), (run, hidden), (other, body("hers")), (other, hidden)]:
            answer = ask(subject, data)
            assert answer.status == 400 and b"session_id" in answer.data, (subject, data, answer.data)
        twice = body("mine")[:-3] + ', "session_id": "hers"}}}'
        assert json.loads(twice)["params"]["arguments"]["session_id"] == "hers"
        assert ask(session, twice).json()["error"]["code"] == -32602
        assert client.request(run, body("x"), {"Pyexec-Call": "POST /mcp", "Pyexec-Key": "k"}).status == 400
        assert client.request(session, "", {"Pyexec-Call": "GET"}).status == 404
        assert client.request(session.replace(b64("mine"), b64("hers")), "", {"Pyexec-Call": "GET"}).status == 404
        answer = ask(session, body("mine", code="5"))
        assert answer.status == 200 and answer.json()["result"]["structuredContent"]["last_value_repr"] == "5"


# ---- Faults ----

def test_a_killed_node_and_a_full_fleet_are_told_in_plain_errors(pyexec):
    with Server() as own, serving(pyexec, "--nats", own.url) as gateway:
        nobody = post(gateway, message("tools/call", {"name": "run_python", "arguments": {"code": "1"}}, "id-1"))
        assert nobody.status == 503 and nobody.headers["Retry-After"] and nobody.headers["Content-Type"] == "application/json"
        told = nobody.json()
        assert told["id"] == "id-1" and told["error"]["code"] == -32603 and told["error"]["message"].startswith("overloaded: ")
        assert "Nothing was started" in told["error"]["message"]
        with Worker(pyexec, own, "stays", *FLAGS, env=PLAIN) as stays, Worker(pyexec, own, "dies", *FLAGS, env=PLAIN) as dies:
            for i in range(100):
                if call(gateway, "run_python", session_id="k%d" % i, code="x = 1")["node"] == dies.node:
                    break
            lost, answers = "k%d" % i, []
            running = threading.Thread(target=lambda: answers.append(call(gateway, "run_python", session_id=lost, code="import time\nopen('runs', 'w').close()\ntime.sleep(25)")))
            running.start()
            with Nats(own.port) as client:
                wait_until(lambda: "runs" in text(call(gateway, "list_files", session_id=lost)), "the call runs")
                execution = "e-dies-1"
                for process in (dies.server(), dies.process.pid):
                    os.kill(process, signal.SIGKILL)
                dies.process.wait()
                wait_until(lambda: client.is_gone("pyexec.v1.node.dies"), "the node is gone")
            running.join()
            assert error(answers[0]).startswith("internal: ")
            assert error(call(gateway, "list_files", session_id=lost)).startswith("session_lost: the session was at node dies")
            result = call(gateway, "run_python", session_id=lost, code="2")
            assert value(result) == "2" and result["node"] == stays.node and result["structuredContent"]["session"]["created"] is True
            assert "execution_not_found" in error(call(gateway, "get_execution", execution_id=execution))

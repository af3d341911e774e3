# SPDX-License-Identifier: Apache-2.0
"""`pyexec serve --nats`: HTTP in front of a fleet, with real nats-servers and workers."""
import contextlib
import json
import os
import time

import pytest

from conftest import BUILD
from nats_fleet import PATIENCE, PLAIN, Server, Worker, needs_fleet
from serving import events, serving, token_line
from waiting import wait_until

pytestmark = needs_fleet(BUILD)
ROOM = ["--files", "full", "--forkable", "--max-stdout-bytes", "64M", "--max-value-bytes", "16M", "--workspace-bytes", "128M",
        "--address-space-bytes", "2G", "--timeout", "120s", "--cpu-time-seconds", "60"]
TOOL = {"name": "add", "description": "Adds.", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}}


@pytest.fixture(scope="module")
def nats():
    with Server() as made:
        yield made


@pytest.fixture(scope="module")
def workers(pyexec, nats):
    with Worker(pyexec, nats, "one-%d" % pyexec.uid, *ROOM, env=PLAIN) as one, Worker(pyexec, nats, "two-%d" % pyexec.uid, *ROOM, env=PLAIN) as two:
        yield {one.node: one, two.node: two}


@pytest.fixture(scope="module")
def gateway(pyexec, nats, workers):
    with serving(pyexec, "--nats", nats.url) as made:
        yield made


@pytest.fixture
def second(pyexec, nats, workers):
    """Another gateway in front of the same fleet."""
    with serving(pyexec, "--nats", nats.url) as made:
        yield made


@contextlib.contextmanager
def streaming(server, path, body):
    with contextlib.closing(server.connection()) as connection:
        connection.request("POST", path, json.dumps(body), {"Accept": "text/event-stream"})
        response = connection.getresponse()
        assert response.status == 200, response.read()
        yield events(response)


# ---- Single runs ----

def test_runs_go_to_the_nodes_and_answers_are_those_of_a_node(gateway, workers):
    seen = set()
    for _ in range(200):
        answer = gateway.execute("print(1); 6 * 7")
        assert answer.status == 200
        seen.add(answer.headers["Pyexec-Node"])
        if seen == set(workers):
            break
    assert seen == set(workers)
    assert (answer.json()["stdout"], answer.json()["last_value_repr"]) == ("1\n", "42")
    with open("/proc/%d/task/%d/children" % (gateway.process.pid, gateway.process.pid)) as file:
        assert file.read() == ""            # it runs no code


def test_problems_of_a_node_come_through(gateway):
    answer = gateway.ask("POST", "/v1/execute", b"{bad")
    assert answer.status == 400 and answer.json()["code"] == "invalid_request"
    assert answer.headers["Content-Type"] == "application/problem+json"
    answer = gateway.execute("1", policy={"timeout_ms": 99999999})
    assert answer.status == 400 and answer.json()["code"] == "invalid_policy"
    answer = gateway.ask("POST", "/v1/execute", b"{bad", {"Accept": "text/event-stream"})
    assert answer.status == 400 and answer.json()["code"] == "invalid_request"
    assert gateway.ask("GET", "/v1/nothing").status == 404


def test_events_arrive_while_the_script_runs(gateway):
    code = "import time\nprint('first', flush=True)\ntime.sleep(3)\nprint('second', flush=True)\n7"
    with streaming(gateway, "/v1/execute", {"code": code}) as stream:
        begun = time.monotonic()
        assert next(stream) == ("stdout", {"seq": 0, "text": "first\n"})
        assert time.monotonic() - begun < 2.5
        rest = [event for event in stream if event[0]]
    assert [name for name, _ in rest] == ["stdout", "result"] and rest[-1][1]["last_value_repr"] == "7"


def test_large_bodies_cross_in_both_directions(gateway):
    result = gateway.result("len(x)", inputs={"x": "a" * 9_000_000}, timeout=PATIENCE)
    assert result["last_value_repr"] == "9000000"
    result = gateway.result("print('b' * 20_000_000)", timeout=PATIENCE)
    assert result["stdout"] == "b" * 20_000_000 + "\n"


def test_of_two_requests_with_one_key_one_runs(gateway, second):
    headers = {"Pyexec-Key": "key-%d" % time.monotonic_ns()}
    assert gateway.execute("1", headers=headers).status == 200
    answer = second.execute("1", headers=headers)
    assert answer.status == 409 and answer.json()["code"] == "already_started"


def test_the_trace_and_the_request_id_go_through(gateway):
    trace = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"
    answer = gateway.execute("1", headers={"X-Request-Id": "mine", "traceparent": trace})
    assert answer.headers["X-Request-Id"] == "mine" and answer.headers["traceparent"].startswith("00-0123456789abcdef0123456789abcdef-")


def test_verify_and_environments_are_served(gateway):
    tests = [{"call": "f", "args": [1], "expect": 2}, {"call": "f", "args": [2], "expect": 0}]
    answer = gateway.ask("POST", "/v1/verify", {"solution": "def f(n):\n    return n + 1", "tests": tests})
    assert answer.status == 200, answer.body
    assert [test["verdict"] for test in answer.json()["tests"]] == ["pass", "wrong"]
    answer = gateway.ask("GET", "/v1/environments")
    assert answer.status == 200, answer.body


# ---- Sessions ----

def test_a_session_lives_at_one_node_and_every_gateway_finds_it(gateway, second, workers):
    result = gateway.result("x = 5", session="s1")
    assert result["session"]["created"] is True
    answer = second.execute("x += 1; x", session="s1")
    assert answer.json()["last_value_repr"] == "6" and answer.json()["session"]["created"] is False
    node = answer.headers["Pyexec-Node"]
    assert node in workers and gateway.execute("x", session="s1").headers["Pyexec-Node"] == node
    shown = second.ask("GET", "/v1/sessions/s1").json()
    assert (shown["id"], shown["execution_count"]) == ("s1", 3)
    assert "s1" in [row["id"] for row in gateway.ask("GET", "/v1/sessions").json()["sessions"]]
    assert second.ask("DELETE", "/v1/sessions/s1").status == 204
    assert gateway.ask("GET", "/v1/sessions/s1").status == 404


def test_a_session_can_be_made_before_its_first_call(gateway, second):
    answer = gateway.ask("POST", "/v1/sessions", {"policy": {"timeout_ms": 4321}})
    assert answer.status == 201
    session = answer.json()["id"]
    assert second.ask("GET", "/v1/sessions/" + session).json()["policy"]["timeout_ms"] == 4321
    answer = second.ask("POST", "/v1/sessions", {"id": session})
    assert answer.status == 409 and answer.json()["code"] == "conflict"


def test_a_first_call_makes_the_session_with_its_policy(gateway):
    gateway.result("x = 1", session="policied", session_policy={"timeout_ms": 4322})
    assert gateway.ask("GET", "/v1/sessions/policied").json()["policy"]["timeout_ms"] == 4322


def test_files_of_a_session(gateway, second):
    gateway.result("1", session="files")
    data = os.urandom(3_000_000)
    assert gateway.ask("PUT", "/v1/sessions/files/files/d/a%20b%23.bin", data).status in (200, 201, 204)
    answer = second.ask("GET", "/v1/sessions/files/files/d/a%20b%23.bin")
    assert answer.status == 200 and answer.body == data and answer.headers["Content-Type"] == "application/octet-stream"
    answer = second.ask("GET", "/v1/sessions/files/files/d/a%20b%23.bin", headers={"Range": "bytes=5-9"})
    assert (answer.status, answer.body, answer.headers["Content-Range"]) == (206, data[5:10], "bytes 5-9/3000000")
    assert gateway.result("open('d/a b#.bin', 'rb').read(3)", session="files")["last_value_repr"] == repr(data[:3])
    assert gateway.ask("GET", "/v1/sessions/files/files", headers={"Accept": "application/x-tar"}).headers["Content-Type"] == "application/x-tar"
    assert gateway.ask("DELETE", "/v1/sessions/files/files/d/a%20b%23.bin").status == 204
    assert second.ask("GET", "/v1/sessions/files/files/d/a%20b%23.bin").status == 404
    answer = second.ask("HEAD", "/v1/sessions/files/files")
    assert answer.status == 200 and answer.body == b""


def test_forks_and_undo(gateway, second):
    gateway.result("x = 1", session="source", checkpoint=True)
    answer = gateway.ask("POST", "/v1/sessions/source/fork", {"count": 2})
    assert answer.status == 201, answer.body
    for number, branch in enumerate(answer.json()["sessions"]):
        assert second.result("x += %d; x" % (number + 1), session=branch)["last_value_repr"] == str(2 + number)
    assert gateway.result("x", session="source")["last_value_repr"] == "1"
    assert second.ask("POST", "/v1/sessions/source/reset").status == 200
    assert "NameError" in gateway.result("x", session="source")["stderr"]


def test_an_interrupt_reaches_the_running_call(gateway, second):
    gateway.result("import time", session="long")
    with streaming(gateway, "/v1/sessions/long/execute", {"code": "print(1, flush=True)\ntime.sleep(100)"}) as stream:
        assert next(stream)[0] == "stdout"
        assert second.ask("POST", "/v1/sessions/long/interrupt").status == 204
        name, result = [event for event in stream if event[0]][-1]
    assert name == "result" and "KeyboardInterrupt" in result["stderr"]


# ---- Tools, detached executions ----

@pytest.mark.parametrize("same", [True, False])
def test_a_tool_call_is_answered_at_any_gateway(gateway, second, same):
    answering = gateway if same else second
    with streaming(gateway, "/v1/execute", {"code": "add(a=20) + 1", "tools": [TOOL]}) as stream:
        name, call = next(event for event in stream if event[0])
        assert name == "tool_call" and call["arguments"] == {"a": 20}
        assert answering.ask("POST", "/v1/calls/" + call["call_id"], {"result": 22}).status in (200, 204)
        name, result = [event for event in stream if event[0]][-1]
    assert (name, result["last_value_repr"]) == ("result", "23")
    answer = second.ask("POST", "/v1/calls/" + call["call_id"], {"result": 22})
    assert answer.status == 404 and answer.json()["code"] == "call_not_found"


def test_tools_without_events_are_refused_as_a_node_does(gateway):
    answer = gateway.execute("add(a=20)", tools=[TOOL])
    assert answer.status == 400 and "events" in answer.json()["title"]


def test_a_detached_execution_is_found_at_its_node(gateway, second):
    answer = gateway.execute("print(8); 9", detach=True)
    assert answer.status == 202
    place = "/v1/executions/" + answer.json()["execution_id"]
    shown = second.ask("GET", place + "?wait_ms=30000").json()
    assert shown["state"] == "ended" and shown["result"]["last_value_repr"] == "9"
    with contextlib.closing(second.connection()) as connection:
        connection.request("GET", place, headers={"Accept": "text/event-stream"})
        names = [name for name, _ in events(connection.getresponse()) if name]
    assert names == ["stdout", "result"]
    assert answer.json()["execution_id"] in [row["execution_id"] for row in gateway.ask("GET", "/v1/executions").json()["executions"]]
    for unknown in ("e-nowhere-00", "nonsense"):
        assert gateway.ask("GET", "/v1/executions/" + unknown).status == 404


# ---- Clients that go away, or are slow ----

def running(gateway):
    return sum(node["running"] for node in gateway.ask("GET", "/v1/nodes").json()["nodes"])


def test_the_run_of_a_client_that_goes_away_is_cancelled(gateway):
    wait_until(lambda: running(gateway) == 0, "an idle fleet")
    with streaming(gateway, "/v1/execute", {"code": "print(1, flush=True)\nimport time\ntime.sleep(100)"}) as stream:
        assert next(stream)[0] == "stdout"
        wait_until(lambda: running(gateway) == 1, "the run")
    wait_until(lambda: running(gateway) == 0, "the end of the run")


def test_a_client_that_does_not_read_holds_up_nobody(gateway):
    code = "for i in range(300):\n    print('x' * 100000)\n"
    with contextlib.closing(gateway.connection()) as slow:
        slow.request("POST", "/v1/execute", json.dumps({"code": code}), {"Accept": "text/event-stream"})
        begun = time.monotonic()
        while time.monotonic() - begun < 2:
            assert gateway.result("1")["last_value_repr"] == "1"
        received = [event for event in events(slow.getresponse()) if event[0]]
    assert sum(len(data["text"]) for name, data in received if name == "stdout") == 300 * 100001
    assert received[-1][0] == "result"


# ---- Principals ----

def test_principals_have_their_own_sessions_and_ceilings(pyexec, open_folder):
    tokens = open_folder / "tokens"
    tokens.write_text("alice - timeout_ms=1000\nbob -\n")
    tokens.chmod(0o644)
    with Server() as own, Worker(pyexec, own, "shared", "--token-file", str(tokens)), \
            serving(pyexec, "--nats", own.url, tcp=True, tokens=[token_line("alice", "secret a"), token_line("bob", "secret b"),
                                                                 token_line("eve", "secret e")]) as gateway:
        ask = {name: {"address": gateway.tcp, "token": "secret " + name[0]} for name in ("alice", "bob", "eve")}
        assert gateway.execute("1", address=gateway.tcp).status == 401
        assert gateway.execute("1", timeout_ms=1001, **ask["alice"]).status == 400
        assert gateway.execute("1", timeout_ms=1001, **ask["bob"]).status == 200
        assert gateway.execute("1", **ask["eve"]).status == 401          # the nodes do not know her
        for name in ("alice", "bob"):
            gateway.result("who = %r" % name, session="same", **ask[name])
        for name in ("alice", "bob"):
            assert gateway.result("who", session="same", **ask[name])["last_value_repr"] == repr(name)
        assert [row["id"] for row in gateway.ask("GET", "/v1/sessions", **ask["bob"]).json()["sessions"]] == ["same"]
        answer = gateway.ask("GET", "/v1/nodes", **ask["alice"])
        assert answer.status == 403 and answer.json()["code"] == "forbidden"
        assert gateway.ask("POST", "/v1/nodes/shared/drain", **ask["alice"]).status == 403
        assert gateway.ask("GET", "/v1/nodes").status == 200

# SPDX-License-Identifier: Apache-2.0
"""Tools with approval: each call is held until somebody allows or denies it, and only then reaches its client."""
import contextlib
import json
import os
import signal
import subprocess
import sys

import pytest

import serving as serving_module
from serving import serving
from test_serve_detached import TOKENS, answer, ended, replay, start, waiting
from test_serve_tools import LOOKUP, Run, refused
from waiting import wait_until

SEND = dict(LOOKUP, name="send", approval=True)


@pytest.fixture(scope="module")
def server(pyexec):
    with serving(pyexec, "--timeout", "60s", "--allow-import", "asyncio", tokens=TOKENS) as running:
        yield running


def test_a_call_is_held_until_it_is_allowed(server):
    with contextlib.closing(Run(server, "send('a')", tools=[SEND])) as run:
        held = run.next("tool_approval", "tool_call")
        assert run.seen[-1][0] == "tool_approval" and held["arguments"] == {"city": "a", "days": 1}
        refused(run.answer(held, {"result": 1}), 400, "invalid_request")
        refused(run.answer(held, {"error": {"message": "m"}}), 400, "invalid_request")
        refused(run.answer(held, {"allow": False}), 400, "invalid_request")
        refused(run.answer(held, {"allow": True}, token="b"), 404, "call_not_found")
        assert server.metric("pyexec_tool_calls_held") == 1
        assert run.answer(held, {"allow": True}).status == 204
        call = run.next("tool_call")
        assert call == held
        refused(run.answer(call, {"allow": True}), 400, "invalid_request")
        assert run.answer(call, {"result": 5}).status == 204
        assert run.result()["last_value_repr"] == "5"


def test_a_held_call_is_denied(server):
    with contextlib.closing(Run(server, "try: send('a')\nexcept PermissionError as error: print(error)", tools=[SEND])) as run:
        assert run.answer(run.next("tool_approval"), {"deny": "no"}).status == 204
        assert run.result()["stdout"] == "tool 'send' denied: no\n"
        assert "tool_call" not in [name for name, _ in run.seen]


def test_other_tools_are_not_held(server):
    with contextlib.closing(Run(server, "lookup('a')", tools=[SEND, LOOKUP])) as run:
        assert run.answer(run.next("tool_call", "tool_approval"), {"result": 1}).status == 204
        assert run.seen[0][0] == "tool_call" and run.result()["last_value_repr"] == "1"


def test_an_approval_waits_while_nobody_is_there(server):
    execution = start(server, "send('whole')", tools=[SEND])
    held, = waiting(server, execution)
    listed, = [one for one in server.ask("GET", "/v1/executions", token="a").json()["executions"] if one["execution_id"] == execution]
    assert listed["calls"] == [held] and held["approval"] is True and held["arguments"]["city"] == "whole"
    assert answer(server, held, {"allow": True}).status == 204
    call, = waiting(server, execution)
    assert call["approval"] is False and call["call_id"] == held["call_id"]
    assert answer(server, call, {"result": 3}).status == 204
    assert ended(server, execution)["result"]["last_value_repr"] == "3"


def test_an_approval_after_the_end(server):
    run = Run(server, "send('a')", session="s", tools=[SEND])
    held = run.next("tool_approval")
    assert server.ask("DELETE", "/v1/sessions/s", token="a").status == 204
    run.result()
    refused(run.answer(held, {"allow": True}), 404, "call_not_found")
    run.close()


CLIENT = """
import json, sys
sys.path.insert(0, sys.argv[2])
from serving import Connection, events
connection = Connection(sys.argv[1])
headers = {"Authorization": "Bearer a"}
connection.request("POST", "/v1/sessions/pay/execute", json.dumps({"code": "x = 40 + send('whole')", "detach": True, "tools": [json.loads(sys.argv[3])]}), headers)
execution = json.loads(connection.getresponse().read())["execution_id"]
connection.request("GET", "/v1/executions/" + execution, None, {**headers, "Accept": "text/event-stream"})
for name, data in events(connection.getresponse()):
    print(json.dumps([execution, name, data]), flush=True)
"""


def test_an_approval_waits_while_its_client_dies_and_another_one_comes(server):
    client = subprocess.Popen([sys.executable, "-c", CLIENT, server.socket, os.path.dirname(serving_module.__file__), json.dumps(SEND)],
                              stdout=subprocess.PIPE, text=True)
    execution, name, held = json.loads(client.stdout.readline())
    assert name == "tool_approval"
    client.kill()
    assert client.wait(60) == -signal.SIGKILL
    client.stdout.close()
    # The other client knows nothing but its token.
    listed, = [one for one in server.ask("GET", "/v1/executions", token="a").json()["executions"] if one["state"] != "ended"]
    call, = listed["calls"]
    assert listed["execution_id"] == execution and (call["call_id"], call["approval"]) == (held["call_id"], True)
    assert (call["name"], call["arguments"]) == ("send", {"city": "whole", "days": 1})
    assert answer(server, call, {"allow": True}).status == 204
    call, = waiting(server, execution)
    assert answer(server, call, {"result": 2}).status == 204
    assert ended(server, execution)["result"]["status"] == "ok"
    assert [name for _, name, _ in replay(server, execution)] == ["tool_approval", "tool_call", "result"]
    assert server.result("x", session="pay", token="a")["last_value_repr"] == "42"


def test_an_approval_waits_while_its_client_dies_and_another_one_refuses(server):
    execution = start(server, "try: send('a')\nexcept PermissionError as error: print(error)", tools=[SEND])
    assert replay(server, execution, stop=1)[0][1] == "tool_approval"
    call, = waiting(server, execution)
    assert answer(server, call, {"deny": "nobody asked for it"}).status == 204
    assert ended(server, execution)["result"]["stdout"] == "tool 'send' denied: nobody asked for it\n"


def test_calls_of_attached_runs_are_listed_too(server):
    def attached(token="a"):
        return server.ask("GET", "/v1/executions", token=token).json()["attached"]
    assert attached() == []
    with contextlib.closing(Run(server, "send('x')", session="seen", tools=[SEND])) as run, \
            contextlib.closing(Run(server, "import asyncio, tools\nawait asyncio.gather(tools.aio.lookup('y'), tools.aio.send('z'))",
                                   tools=[SEND, LOOKUP])) as other:
        held = run.next("tool_approval")
        first, second = other.next("tool_approval", "tool_call"), other.next("tool_approval", "tool_call")
        found = sorted(attached(), key=lambda one: len(one["calls"]))
        assert [one["session_id"] for one in found] == ["seen", None]
        assert [{key: call[key] for key in held} for call in found[0]["calls"]] == [held]
        assert sorted(call["call_id"] for call in found[1]["calls"]) == sorted([first["call_id"], second["call_id"]])
        assert {(call["name"], call["arguments"]["city"], call["approval"]) for call in found[1]["calls"]} == {("lookup", "y", False), ("send", "z", True)}
        assert attached("b") == []
        assert run.answer(held, {"deny": "no"}).status == 204
        assert run.result()["error"]["type"] == "PermissionError"
        assert [one["session_id"] for one in attached()] == [None]
    wait_until(lambda: attached() == [], "a call of a run whose client is gone is listed")

# SPDX-License-Identifier: Apache-2.0
"""Tools with approval: each call is held until somebody allows or denies it, and only then reaches its client."""
import contextlib

import pytest

from serving import serving
from test_serve_detached import TOKENS, answer, ended, start, waiting
from test_serve_tools import LOOKUP, Run, refused

SEND = dict(LOOKUP, name="send", approval=True)


@pytest.fixture(scope="module")
def server(pyexec):
    with serving(pyexec, "--timeout", "60s", tokens=TOKENS) as running:
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

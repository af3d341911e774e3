# SPDX-License-Identifier: Apache-2.0
"""Tools of HTTP clients: a script calls, its client reads the call as an event and answers it with a request."""
import contextlib
import json
import threading

import pytest

from serving import events, serving, token_line
from waiting import wait_until

TOKENS = [token_line("alice", "a"), token_line("bob", "b")]
LOOKUP = {"name": "lookup", "description": "The weather.", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer", "default": 1}}, "required": ["city"]}}
ANY = {"name": "any_of", "parameters": {"type": "object", "properties": {"value": {}}}}


@pytest.fixture(scope="module")
def server(pyexec):
    with serving(pyexec, "--timeout", "60s", "--files", "full", "--allow-import", "asyncio,threading", tokens=TOKENS) as running:
        yield running


class Run:
    """An execution in progress, whose events are read one after another."""

    def __init__(self, server, code, tools=(LOOKUP, ANY), session=None, token="a", **more):
        self.server, self.token = server, token
        self.connection = server.connection()
        path = "/v1/sessions/%s/execute" % session if session else "/v1/execute"
        self.connection.request("POST", path, json.dumps({"code": code, "tools": list(tools), **more}),
                                {"Accept": "text/event-stream", "Authorization": "Bearer " + token})
        self.response = self.connection.getresponse()
        assert self.response.status == 200
        self.events = events(self.response)
        self.seen = []

    def next(self, *names):
        """Returns the data of the next event with one of these names."""
        for name, data in self.events:
            if name:
                self.seen.append((name, data))
            if name in names:
                return data
        raise AssertionError("the events have ended: %s" % self.seen)

    def call(self):
        return self.next("tool_call")

    def result(self):
        return self.next("result", "error")

    def answer(self, call, body, token=None):
        return self.server.ask("POST", "/v1/calls/" + call["call_id"], body, token=token or self.token)

    def close(self):
        self.response.close()
        self.connection.close()


def calls(server, answer):
    text = server.metrics().split('pyexec_tool_calls_total{answer="%s"} ' % answer)[1]
    return int(text.split("\n")[0])


# ---- Answers ----

def test_a_script_calls_its_client_and_gets_the_answer(server):
    with contextlib.closing(Run(server, "found = lookup('Paris', days=2)\nfound['sun'], found['list']")) as run:
        call = run.call()
        assert set(call) >= {"call_id", "name", "arguments"}
        assert (call["name"], call["arguments"]) == ("lookup", {"city": "Paris", "days": 2})
        assert run.answer(call, {"result": {"sun": True, "list": [1, None, 0.1, "é"]}}).status == 204
        result = run.result()
        assert (result["status"], result["last_value_repr"]) == ("ok", "(True, [1, None, 0.1, 'é'])")
        assert result["usage"]["tool_calls"]["count"] == 1 and result["denials"] == []


def test_tools_of_a_sessions_call(server):
    with contextlib.closing(Run(server, "x = lookup('a')\nx", session="s")) as run:
        run.answer(run.call(), {"result": 5})
        assert run.result()["last_value_repr"] == "5"
    assert server.result("x + 1", "s", token="a")["last_value_repr"] == "6"


def test_errors_and_denials(server):
    code = """
for city in "ab":
    try:
        lookup(city)
    except Exception as error:
        print(type(error).__name__, error, getattr(error, 'data', None))
"""
    with contextlib.closing(Run(server, code)) as run:
        assert run.answer(run.call(), {"error": {"message": "no such city", "data": {"near": ["b"]}}}).status == 204
        assert run.answer(run.call(), {"deny": "not today"}).status == 204
        result = run.result()
        assert result["stdout"].splitlines() == ["ToolError no such city {'near': ['b']}", "PermissionError tool 'lookup' denied: not today None"]
        assert [(denial["layer"], denial["what"]) for denial in result["denials"]] == [("tools", "lookup()")]


def test_several_calls_at_once_are_answered_in_any_order(server):
    code = "import asyncio, tools\nasync def main():\n    return await asyncio.gather(*[tools.aio.any_of(i) for i in range(20)])\nasyncio.run(main())"
    with contextlib.closing(Run(server, code)) as run:
        waiting = [run.call() for _ in range(20)]
        assert len({call["call_id"] for call in waiting}) == 20
        for call in reversed(waiting):
            assert run.answer(call, {"result": call["arguments"]["value"] * 10}).status == 204
        assert run.result()["last_value_repr"] == str([i * 10 for i in range(20)])


@pytest.mark.parametrize("value", [None, True, 0, -1, 2 ** 63 - 1, 0.1, 1e300, "", "a\u2028b\"\\\0", [], {}, [[[]]], {"a": {"": 1}}])
def test_values_arrive_as_they_were_sent(server, value):
    with contextlib.closing(Run(server, "any_of(any_of(0))")) as run:
        assert run.answer(run.call(), {"result": value}).status == 204
        call = run.call()
        assert call["arguments"] == {"value": value} and type(call["arguments"]["value"]) is type(value)
        run.answer(call, {"result": value})
        assert run.result()["last_value_repr"] == (repr(value) if value is not None else None)


# ---- Answers that are refused ----

def refused(answer, status, code):
    problem = answer.json()
    assert (answer.status, problem["code"]) == (status, code), problem
    assert problem["title"] and problem["hint"]
    return problem


@pytest.mark.parametrize("body", [
    "", "[]", "5", "{", "{}", '{"result": 1, "deny": "no"}', '{"result": 1, "result": 2}', '{"value": 1}', '{"deny": 1}', '{"deny": "a\\u0000b"}',
    '{"error": "text"}', '{"error": {}}', '{"error": {"message": 5}}', '{"error": {"message": "m", "more": 1}}', '{"result": 1e999}',
    '{"result": NaN}', '{"result": 123456789012345678901}', '{"result": "\\ud800"}', '{"result": ' + "[" * 300 + "]" * 300 + "}", '{"error": null}'])
def test_what_is_no_answer_is_refused_and_the_call_still_waits(server, body):
    with contextlib.closing(Run(server, "lookup('a')")) as run:
        call = run.call()
        refused(server.ask("POST", "/v1/calls/" + call["call_id"], body, token="a"), 400, "invalid_request")
        assert run.answer(call, {"result": 7}).status == 204
        assert run.result()["last_value_repr"] == "7"


def test_an_answer_of_more_than_8_mib_is_refused_and_one_of_8_mib_is_taken(server):
    with contextlib.closing(Run(server, "len(any_of('b' * (8 * 1024 * 1024 - 20)))")) as run:
        call = run.call()
        assert len(call["arguments"]["value"]) == 8 * 1024 * 1024 - 20
        refused(run.answer(call, {"result": "a" * (8 << 20)}), 413, "invalid_request")
        refused(run.answer(call, {"error": {"message": "m", "data": "a" * (8 << 20)}}), 413, "invalid_request")
        assert run.answer(call, {"result": "a" * ((8 << 20) - 2)}).status == 204
        assert run.result()["last_value_repr"] == str((8 << 20) - 2)


def test_an_answer_twice_and_after_the_end(server):
    with contextlib.closing(Run(server, "lookup('a')\nlookup('b')")) as run:
        first = run.call()
        assert run.answer(first, {"result": 1}).status == 204
        second = run.call()
        refused(run.answer(first, {"result": 2}), 404, "call_not_found")
        run.answer(second, {"result": 3})
        assert run.result()["last_value_repr"] == "3"
        refused(run.answer(second, {"result": 4}), 404, "call_not_found")


@pytest.mark.parametrize("name", ["none", "c-0000000000000000-1", "x" * 5000, "%C3%A9", "a%2Fb"])
def test_calls_that_never_were(server, name):
    refused(server.ask("POST", "/v1/calls/" + name, {"result": 1}, token="a"), 404, "call_not_found")


def test_a_call_is_its_principals_alone(server):
    with contextlib.closing(Run(server, "lookup('a')")) as run:
        call = run.call()
        for body in ({"result": "bob's"}, {"deny": "bob's"}, "{"):
            refused(run.answer(call, body, token="b"), 404, "call_not_found")
        refused(server.ask("POST", "/v1/calls/" + call["call_id"], {"result": 1}), 404, "call_not_found")    # `local`
        assert server.ask("POST", "/v1/calls/" + call["call_id"], {"result": 1}, token="nobody").status == 401
        run.answer(call, {"result": "alice's"})
        assert run.result()["last_value_repr"] == "\"alice's\""


def test_ids_of_calls_can_not_be_guessed(server):
    """The ids of other executions have only their form in common."""
    found = []
    for _ in range(3):
        with contextlib.closing(Run(server, "lookup('a')")) as run:
            found.append(run.call()["call_id"])
    parts = [one.split("-")[1] for one in found]
    assert len(set(parts)) == 3 and all(len(part) == 16 for part in parts)
    assert all(sum(a == b for a, b in zip(parts[i], parts[i - 1])) < 12 for i in range(3))


# ---- Clients that do not answer ----

def test_a_client_that_goes_away_cancels_its_run_and_its_calls_are_gone(server):
    wait_until(lambda: server.metric("pyexec_running") == 0, "the runs of before go on")
    before = calls(server, "none")
    run = Run(server, "lookup('a')")
    call = run.call()
    assert server.metric("pyexec_tool_calls_waiting") == 1
    run.close()
    wait_until(lambda: server.metric("pyexec_running") == 0, "the run goes on")
    refused(run.answer(call, {"result": 1}), 404, "call_not_found")
    assert server.metric("pyexec_tool_calls_waiting") == 0
    wait_until(lambda: calls(server, "none") == before + 1, "it is not counted")


def test_a_call_that_timed_out_takes_no_answer(server):
    with contextlib.closing(Run(server, "try: lookup('a')\nexcept RuntimeError as error: print(error)", policy={"tool_timeout_ms": 3000})) as run:
        call = run.call()
        assert run.result()["stdout"].startswith("timeout")
        refused(run.answer(call, {"result": 1}), 404, "call_not_found")


def test_a_call_of_a_session_that_is_closed_or_interrupted(server):
    for method, path, status in (("DELETE", "/v1/sessions/closing", "cancelled"), ("POST", "/v1/sessions/closing/interrupt", "error")):
        with contextlib.closing(Run(server, "lookup('a')", session="closing")) as run:
            call = run.call()
            assert server.ask(method, path, token="a").status == 204
            assert run.result()["status"] == status
            refused(run.answer(call, {"result": 1}), 404, "call_not_found")


def test_a_waiting_run_outlives_its_time_limit(server):
    with contextlib.closing(Run(server, "lookup('a')", timeout_ms=2000)) as run:
        call = run.call()
        wait_until(lambda: server.metric("pyexec_asleep") == 1, "it does not sleep")
        gate = threading.Event()
        gate.wait(3)
        run.answer(call, {"result": "late"})
        result = run.result()
        assert (result["status"], result["last_value_repr"]) == ("ok", "'late'")
        assert result["usage"]["tool_calls"]["wait_ms"] >= 2500


def test_a_client_that_reads_slowly_loses_nothing(server):
    code = "for i in range(8):\n    print('line', i)\n    assert any_of('x' * 1000000) == i"
    with contextlib.closing(Run(server, code)) as run:
        found = []
        answered = 0
        for name, data in run.events:
            if name == "tool_call":
                assert len(data["arguments"]["value"]) == 1000000
                assert run.answer(data, {"result": answered}).status == 204
                answered += 1
            elif name == "stdout":
                found.append(data["text"])
            elif name == "result":
                assert data["status"] == "ok"
        assert answered == 8 and "".join(found) == "".join("line %d\n" % i for i in range(8))


def test_what_a_client_does_not_read_is_bounded(own):
    """A script makes calls that nobody reads, abandons them and calls again. In the end its calls are refused."""
    code = """
import asyncio, tools
async def main():
    patience = 3
    while True:
        calls = {asyncio.ensure_future(tools.aio.any_of('x' * 8000000)) for i in range(4)}
        done, waiting = await asyncio.wait(calls, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        if done:
            return str(done.pop().exception())
        for call in waiting:
            call.cancel()
        patience *= 2
asyncio.run(main())
"""
    # The server would end the connection of a client that does not read for a minute.
    with serving(own, "--timeout", "600s", "--cpu-time-seconds", "600", "--allow-import", "asyncio", config="[serve]\nidle_timeout = 1h\n") as server:
        connection = server.connection(timeout=600)
        connection.request("POST", "/v1/execute", json.dumps({"code": code, "tools": [ANY]}), {"Accept": "text/event-stream"})
        wait_until(lambda: 'pyexec_executions_total{status="ok"} 1' in server.metrics(), "the run goes on", 500)
        found = list(events(connection.getresponse()))
        connection.close()
        assert found[-1][0] == "result" and "does not read" in found[-1][1]["last_value_repr"], found[-1]
        assert 5 <= sum(name == "tool_call" for name, _ in found) <= 7


# ---- Requests ----

def test_tools_need_events(server):
    problem = refused(server.execute("1", token="a", tools=[LOOKUP]), 400, "invalid_request")
    assert "Accept: text/event-stream" in problem["hint"]
    assert server.result("1", token="a", tools=[])["status"] == "ok"


@pytest.mark.parametrize("tools", [
    {}, 5, [5], [{}], [{"name": 5}], [{"name": "a\0b"}], [{"name": "print"}], [{"name": "_x"}], [{"name": "x", "more": 1}],
    [{"name": "x", "parameters": []}], [{"name": "x", "parameters": {"type": "string"}}], [{"name": "x%d" % i} for i in range(257)],
    [{"name": "x", "description": "y" * 300000}]])
def test_tools_that_are_refused(server, tools):
    answer = server.ask("POST", "/v1/execute", {"code": "1", "tools": tools}, {"Accept": "text/event-stream"}, token="a")
    assert "tools" in refused(answer, 400, "invalid_request")["title"]


# ---- The server ----

def test_a_draining_server_takes_answers(pyexec):
    with serving(pyexec, config="[serve]\ndrain_grace = 60s\n") as server:
        connection = server.connection()
        connection.request("POST", "/v1/execute", json.dumps({"code": "lookup('a')", "tools": [LOOKUP]}), {"Accept": "text/event-stream"})
        found = events(connection.getresponse())
        call = next(found)[1]
        server.process.terminate()
        wait_until(lambda: server.metric("pyexec_draining") == 1, "it does not drain")
        assert server.execute("1").status == 503
        assert server.ask("POST", "/v1/calls/" + call["call_id"], {"result": 42}).status == 204
        assert next(found)[1]["last_value_repr"] == "42"
        connection.close()
        assert server.process.wait(60) == 0


def test_the_metrics_count_calls_by_their_answers(server):
    before = {answer: calls(server, answer) for answer in ("result", "error", "denied", "none")}
    with contextlib.closing(Run(server, "import tools\nfor c in 'abcd':\n    try: lookup(c)\n    except (RuntimeError, PermissionError): pass")) as run:
        for body in ({"result": 1}, {"error": {"message": "m"}}, {"deny": "d"}, {"result": 2}):
            run.answer(run.call(), body)
        run.result()
    assert [calls(server, answer) - before[answer] for answer in ("result", "error", "denied", "none")] == [2, 1, 1, 0]


# ---- A session's own tools ----

def test_tools_of_a_session_stay_for_its_calls_and_are_shown(server):
    made = server.ask("POST", "/v1/sessions", {"id": "own", "tools": [LOOKUP, ANY]}, token="a")
    assert made.status == 201
    assert {one["name"]: one for one in made.json()["tools"]} == {"lookup": LOOKUP, "any_of": ANY}
    for i in range(2):
        with contextlib.closing(Run(server, "lookup('a', days=%d)" % i, tools=(), session="own")) as run:
            call = run.call()
            assert (call["name"], call["arguments"]) == ("lookup", {"city": "a", "days": i})
            run.answer(call, {"result": i})
            assert run.result()["last_value_repr"] == str(i)
    other = {"name": "lookup", "parameters": {"type": "object", "properties": {"other": {}}}}
    with contextlib.closing(Run(server, "lookup(other=1), any_of(2)", tools=[other], session="own")) as run:
        for expected in ({"other": 1}, {"value": 2}):
            call = run.call()
            assert call["arguments"] == expected
            run.answer(call, {"result": 0})
        assert run.result()["last_value_repr"] == "(0, 0)"
    shown = server.ask("GET", "/v1/sessions/own", token="a").json()
    assert shown["tools"] == made.json()["tools"] and shown["execution_count"] == 3
    detached = server.ask("POST", "/v1/sessions/own/execute", {"code": "any_of(5)", "detach": True}, token="a").json()["execution_id"]
    call, = wait_until(lambda: server.ask("GET", "/v1/executions/%s?wait_ms=5000" % detached, token="a").json()["calls"], "no call", 60)
    assert server.ask("POST", "/v1/calls/" + call["call_id"], {"result": 6}, token="a").status == 204
    ended = wait_until(lambda: server.ask("GET", "/v1/executions/%s?wait_ms=5000" % detached, token="a").json()["result"], "no end", 60)
    assert ended["last_value_repr"] == "6"


def test_a_client_that_can_not_answer_gets_no_execution_in_such_a_session(server):
    assert server.ask("POST", "/v1/sessions", {"id": "mute", "tools": [ANY]}, token="a").status == 201
    refused(server.execute("x = 1", "mute", token="a"), 400, "invalid_request")
    assert "event-stream" in server.execute("x = 1", "mute", token="a").json()["hint"]
    assert server.ask("GET", "/v1/sessions/mute", token="a").json()["execution_count"] == 0


@pytest.mark.parametrize("tools", [{}, 1, [1], [{}], [{"name": "class"}], [{"name": "f", "parameters": []}]])
def test_bad_tools_of_a_session_are_refused(server, tools):
    refused(server.ask("POST", "/v1/sessions", {"id": "bad", "tools": tools}, token="a"), 400, "invalid_request")
    assert server.ask("GET", "/v1/sessions/bad", token="a").status == 404


def test_a_session_without_tools_shows_none(server):
    assert server.ask("POST", "/v1/sessions", {"id": "none", "tools": []}, token="a").json()["tools"] == []
    assert server.result("1", "none", token="a")["status"] == "ok"


def test_a_sessions_tool_that_needs_approval_is_held(server):
    asked = {**ANY, "approval": True}
    assert server.ask("POST", "/v1/sessions", {"id": "held", "tools": [asked]}, token="a").json()["tools"] == [asked]
    with contextlib.closing(Run(server, "any_of(1)", tools=(), session="held")) as run:
        held = run.next("tool_approval")
        assert run.answer(held, {"allow": True}).status == 204
        call = run.call()
        assert call["call_id"] == held["call_id"] and run.answer(call, {"result": 2}).status == 204
        assert run.result()["last_value_repr"] == "2"

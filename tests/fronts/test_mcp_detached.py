# SPDX-License-Identifier: Apache-2.0
"""MCP: runs that continue after their answer (run_python with `detach`), get_execution, cancel_execution, and tasks in both eras
of the protocol. Each test runs with `pyexec mcp` and with POST /mcp."""
import contextlib
import os
import re

import pytest

from mcp_stdio import META, Client, text
from serving import serving, token_line
from waiting import wait_until

TASKS = "io.modelcontextprotocol/tasks"
KNOWS_TASKS = {**META, "io.modelcontextprotocol/clientCapabilities": {"extensions": {TASKS: {}}}}
SPIN = "while True:\n    pass"
FLAGS = ["--files", "full", "--timeout", "300s", "--cpu-time-seconds", "300"]


class Http:
    """A client of POST /mcp of one revision."""

    def __init__(self, server, version, token="a"):
        self.server, self.version, self.token = server, version, token

    def ask(self, method, **params):
        headers = {"Accept": "application/json", "MCP-Protocol-Version": self.version}
        if "_meta" in params:
            name = params.get("taskId") or params.get("name")
            headers = {**headers, "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": method, **({"Mcp-Name": name} if name else {})}
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return self.server.ask("POST", "/mcp", message, headers, token=self.token).json()

    def call(self, tool, meta=None, **arguments):
        return self.ask("tools/call", name=tool, arguments=arguments, **({"_meta": meta} if meta else {}))["result"]


@contextlib.contextmanager
def opened(own, front, version="2025-11-25", **settings):
    env = {**os.environ, **settings}
    if front == "stdio":
        with Client(own, *FLAGS, version=version, env=env) as client:
            yield client
    else:
        with serving(own, *FLAGS, tokens=[token_line("alice", "a"), token_line("bob", "b")], env=env) as server:
            yield Http(server, version)


@pytest.fixture(params=["stdio", "http"])
def front(request):
    return request.param


@pytest.fixture
def client(own, front, nothing_left):
    with opened(own, front) as made:
        yield made


def start(client, code, **more):
    answer = client.call("run_python", code=code, detach=True, **more)
    assert not answer["isError"], answer
    assert set(answer["structuredContent"]) == {"execution_id", "session_id"}
    assert answer["structuredContent"]["execution_id"] in text(answer)
    return answer["structuredContent"]["execution_id"]


def show(client, execution, **more):
    return client.call("get_execution", execution_id=execution, **more)


def ended(client, execution):
    """Returns the answer of get_execution after the end."""
    def look():
        answer = show(client, execution, wait_ms=10000)
        return answer["structuredContent"]["state"] == "ended" and answer
    return wait_until(look, "it does not end", 120)


def refused(answer, code):
    assert answer["isError"] and text(answer).startswith(code + ": ") and "structuredContent" not in answer, answer


# ---- Tools ----

def test_it_is_answered_at_once_and_goes_on(client):
    found = ended(client, start(client, "print('hello')\n6 * 7"))
    assert text(found) == "hello\nvalue: 42" and not found["isError"]
    whole = found["structuredContent"]
    assert whole["result"]["last_value_repr"] == "42" and whole["error"] is None and whole["session_id"] is None
    assert whole["created_at"] <= whole["started_at"] <= whole["ended_at"]


def test_calls_of_a_session_keep_their_order(client):
    executions = [start(client, "x = 20", session_id="s"), start(client, "x += 1", session_id="s")]
    assert text(client.call("run_python", session_id="s", code="x")) == "21"
    assert {ended(client, one)["structuredContent"]["session_id"] for one in executions} == {"s"}


def test_what_runs_is_said_to_run_and_can_be_cancelled(client):
    execution = start(client, SPIN)
    wait_until(lambda: show(client, execution)["structuredContent"]["state"] == "running", "it does not start", 60)
    found = show(client, execution)
    assert "It has not ended" in text(found) and found["structuredContent"]["result"] is None
    assert client.call("cancel_execution", execution_id=execution)["structuredContent"]["execution_id"] == execution
    assert ended(client, execution)["structuredContent"]["result"]["status"] == "cancelled"
    again = client.call("cancel_execution", execution_id=execution)
    assert not again["isError"] and again["structuredContent"]["state"] == "ended"


def test_an_unknown_execution_and_a_wait_that_is_too_long_are_refused(client):
    for tool in ("get_execution", "cancel_execution"):
        refused(client.call(tool, execution_id="e-nothing"), "execution_not_found")
    refused(show(client, "e-nothing", wait_ms=300000), "execution_not_found")
    execution = start(client, "1")
    for wait_ms in (-1, 300001):
        refused(show(client, execution, wait_ms=wait_ms), "invalid_request")
    refused(client.call("run_python", code="1", detach="yes"), "invalid_request")


def test_a_script_that_fails_is_a_result_and_a_run_that_is_refused_has_an_error(client):
    found = ended(client, start(client, "1/0"))
    assert found["structuredContent"]["result"]["status"] == "error" and "ZeroDivisionError" in text(found)
    found = ended(client, start(client, "1", timeout_ms=10**9))
    assert found["structuredContent"]["result"] is None and found["structuredContent"]["error"]["code"] == "invalid_policy"
    assert text(found).startswith("invalid_policy: ")


def test_detach_false_is_an_ordinary_call(client):
    assert text(client.call("run_python", code="6 * 7", detach=False)) == "42"


def test_the_oldest_makes_room_and_when_all_run_one_more_is_refused(own, front, nothing_left):
    with opened(own, front, PYEXEC_HOST_MAX_EXECUTIONS="2") as client:
        first = start(client, "1")
        ended(client, first)
        running = [start(client, SPIN), start(client, SPIN)]
        refused(show(client, first), "execution_not_found")
        refused(client.call("run_python", code="1", detach=True), "overloaded")
        error = client.ask("tools/call", name="run_python", arguments={"code": "1"}, task={})["error"]
        assert error["code"] == -32603 and error["message"].startswith("overloaded: ")
        for execution in running:
            client.call("cancel_execution", execution_id=execution)


def test_it_is_forgotten_after_its_time(own, front):
    with opened(own, front, PYEXEC_HOST_EXECUTION_TTL="1ms") as client:
        execution = start(client, "1")
        wait_until(lambda: show(client, execution)["isError"], "it is kept", 60)


def test_what_still_runs_ends_with_the_client_of_stdio(own, nothing_left):
    with Client(own, *FLAGS) as client:
        execution = start(client, SPIN)
        waits = client.send("tasks/result", taskId=execution)
        wait_until(lambda: show(client, execution)["structuredContent"]["state"] == "running", "it does not start", 60)
        client.process.stdin.close()
        assert client.wait(waits)["error"]["code"] == -32603


# ---- The server's other clients ----

@pytest.fixture
def server(own, nothing_left):
    with serving(own, *FLAGS, tokens=[token_line("alice", "a"), token_line("bob", "b")]) as running:
        yield running


def test_no_other_principal_sees_it(server):
    alice, bob = (Http(server, "2025-11-25", token) for token in "ab")
    execution = start(alice, "secret = 1", session_id="s")
    ended(alice, execution)
    refused(show(bob, execution), "execution_not_found")
    refused(bob.call("cancel_execution", execution_id=execution), "execution_not_found")
    assert bob.ask("tasks/result", taskId=execution)["error"]["code"] == -32602


def test_executions_of_mcp_are_those_of_the_http_api(server):
    client = Http(server, "2025-11-25")
    execution = start(client, "print('hi')\n1", session_id="s")
    ended(client, execution)
    listed, = server.ask("GET", "/v1/executions", token="a").json()["executions"]
    assert (listed["execution_id"], listed["session_id"], listed["state"]) == (execution, "s", "ended")
    spins = start(client, SPIN)
    assert server.ask("DELETE", "/v1/executions/" + spins, token="a").status == 204
    assert ended(client, spins)["structuredContent"]["result"]["status"] == "cancelled"
    assert client.ask("tasks/get", taskId=spins)["result"]["status"] == "cancelled"
    other = server.ask("POST", "/v1/execute", {"code": "6 * 7", "detach": True}, token="a").json()["execution_id"]
    found = ended(client, other)
    assert found["structuredContent"]["result"]["last_value_repr"] == "42" and '"last_value_repr"' in text(found)


# ---- Tasks of 2025-11-25 ----

def start_task(client, code, **arguments):
    made = client.ask("tools/call", name="run_python", arguments={"code": code, **arguments}, task={"ttl": 60000})["result"]
    assert made.keys() == {"task"} and made["task"]["status"] == "working"
    return made["task"]["taskId"]


def status(client, task):
    return client.ask("tasks/get", taskId=task)["result"]["status"]


def test_a_call_as_a_task_has_its_result_later(client):
    task = start_task(client, "print('hello')\n6 * 7")
    result = client.ask("tasks/result", taskId=task)["result"]
    assert text(result) == "hello\nvalue: 42" and not result["isError"] and result["structuredContent"]["last_value_repr"] == "42"
    assert result["_meta"] == {"io.modelcontextprotocol/related-task": {"taskId": task}}
    found = client.ask("tasks/get", taskId=task)["result"]
    assert found["taskId"] == task and found["status"] == "completed" and found["pollInterval"] > 0 and found["ttl"] >= 3600000
    for key in ("createdAt", "lastUpdatedAt"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", found[key])


def test_the_result_of_a_task_waits_for_its_end(own, nothing_left):
    with Client(own, *FLAGS) as client:
        task = start_task(client, SPIN, session_id="s")
        waits = client.send("tasks/result", taskId=task)
        wait_until(lambda: show(client, task)["structuredContent"]["state"] == "running", "it does not start", 60)
        assert status(client, task) == "working" and not any(message.get("id") == waits for message in client.held)
        wait_until(lambda: not client.call("interrupt", session_id="s")["isError"], "it can't be interrupted", 60)
        result = client.wait(waits)["result"]
        assert result["isError"] and "KeyboardInterrupt" in text(result)
        assert status(client, task) == "failed"


def test_a_cancelled_task_stays_cancelled(client):
    task = start_task(client, SPIN)
    assert client.ask("tasks/cancel", taskId=task)["result"]["status"] == "cancelled"
    assert client.ask("tasks/result", taskId=task)["result"]["structuredContent"]["status"] == "cancelled"
    assert status(client, task) == "cancelled"
    error = client.ask("tasks/cancel", taskId=task)["error"]
    assert error["code"] == -32602 and "cancelled" in error["message"]


@pytest.mark.parametrize("method", ["tasks/get", "tasks/result", "tasks/cancel"])
def test_an_unknown_task_is_refused(client, method):
    for params in ({"taskId": "nothing"}, {"taskId": 5}, {}):
        assert client.ask(method, **params)["error"]["code"] == -32602


def test_only_run_python_can_be_a_task(client):
    tools = {tool["name"]: tool.get("execution") for tool in client.ask("tools/list")["result"]["tools"]}
    assert tools.pop("run_python") == {"taskSupport": "optional"} and set(tools.values()) == {None}
    assert client.ask("tools/call", name="list_files", arguments={"session_id": "s"}, task={})["error"]["code"] == -32601
    for wrong in ({"arguments": {"code": "1"}, "task": 1}, {"arguments": {"kode": "1"}, "task": {}}):
        assert client.ask("tools/call", name="run_python", **wrong)["error"]["code"] == -32602


def test_earlier_revisions_have_no_tasks(own, front):
    with opened(own, front, version="2025-06-18") as client:
        assert "execution" not in client.ask("tools/list")["result"]["tools"][0]
        answer = client.ask("tools/call", name="run_python", arguments={"code": "6 * 7"}, task={})["result"]
        assert text(answer) == "42"
        for method in ("tasks/get", "tasks/result", "tasks/cancel"):
            assert client.ask(method, taskId="nothing")["error"]["code"] == -32601
        assert text(ended(client, start(client, "6 * 7"))) == "42"


# ---- Tasks of 2026-07-28 ----

def modern_end(client, task):
    def look():
        found = client.ask("tasks/get", taskId=task, _meta=KNOWS_TASKS)["result"]
        assert found["resultType"] == "complete"
        return found["status"] != "working" and found
    return wait_until(look, "the task does not end", 60)


def test_detach_is_a_task_where_the_client_has_the_extension(client):
    assert client.ask("server/discover", _meta=META)["result"]["capabilities"]["extensions"] == {TASKS: {}}
    made = client.call("run_python", KNOWS_TASKS, code="print('hello')\n6 * 7", detach=True)
    assert made["resultType"] == "task" and made["status"] == "working" and made["ttlMs"] is None and made["pollIntervalMs"] > 0
    found = modern_end(client, made["taskId"])
    assert found["status"] == "completed" and text(found["result"]) == "hello\nvalue: 42" and not found["result"]["isError"]
    assert found["result"]["structuredContent"]["last_value_repr"] == "42"
    failed = modern_end(client, client.call("run_python", KNOWS_TASKS, code="1/0", detach=True)["taskId"])
    assert failed["status"] == "completed" and failed["result"]["isError"] and "ZeroDivisionError" in text(failed["result"])


def test_a_modern_task_is_updated_and_cancelled_with_an_acknowledgement(client):
    task = client.call("run_python", KNOWS_TASKS, code=SPIN, detach=True)["taskId"]
    for method in ("tasks/update", "tasks/cancel", "tasks/cancel"):
        answer = client.ask(method, taskId=task, inputResponses={}, _meta=KNOWS_TASKS)["result"]
        assert answer.keys() == {"resultType", "_meta"} and answer["resultType"] == "complete"
    assert modern_end(client, task)["status"] == "cancelled"
    error = client.ask("tasks/get", taskId="nothing", _meta=KNOWS_TASKS)["error"]
    assert error["code"] == -32602 and "nothing" in error["message"]
    assert client.ask("tasks/result", taskId=task, _meta=KNOWS_TASKS)["error"]["code"] == -32601


def test_without_the_extension_a_modern_client_uses_the_tools(client):
    made = client.call("run_python", META, code="6 * 7", detach=True)
    execution = made["structuredContent"]["execution_id"]
    assert made["resultType"] == "complete"
    error = client.ask("tasks/get", taskId=execution, _meta=META)["error"]
    assert error["code"] == -32021 and error["data"]["requiredCapabilities"]["extensions"] == {TASKS: {}}
    assert text(ended(client, execution)) == "42"
    ordinary = client.call("run_python", KNOWS_TASKS, code="6 * 7")
    assert ordinary["resultType"] == "complete" and text(ordinary) == "42"


def test_over_http_a_task_is_named_in_a_header(server):
    message = {"jsonrpc": "2.0", "id": 1, "method": "tasks/get", "params": {"taskId": "one", "_meta": KNOWS_TASKS}}
    headers = {"Accept": "application/json", "MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tasks/get", "Mcp-Name": "other"}
    answer = server.ask("POST", "/mcp", message, headers, token="a")
    assert answer.status == 400 and answer.json()["error"]["code"] == -32020

# SPDX-License-Identifier: Apache-2.0
"""Detached executions: they continue without their client, which comes back for events, calls and the result."""
import contextlib
import json
import os
import signal
import socket
import traceback

import pytest

from serving import serving, token_line
from test_serve_tools import ANY, LOOKUP, refused
from waiting import wait_until

TOKENS = [token_line("alice", "a"), token_line("bob", "b")]


@pytest.fixture(scope="module")
def server(pyexec):
    with serving(pyexec, "--timeout", "60s", "--cpu-time-seconds", "60", "--allow-import", "time,sys", tokens=TOKENS) as running:
        yield running


def start(server, code, session=None, token="a", **more):
    path = "/v1/sessions/%s/execute" % session if session else "/v1/execute"
    answer = server.ask("POST", path, {"code": code, "detach": True, **more}, token=token)
    assert answer.status == 202, answer.body
    found = answer.json()
    assert set(found) == {"execution_id", "session_id"} and found["session_id"] == session
    return found["execution_id"]


def show(server, execution, query="", token="a", **headers):
    return server.ask("GET", "/v1/executions/" + execution + query, None, headers, token=token)


def ended(server, execution):
    return wait_until(lambda: (found := show(server, execution, "?wait_ms=5000").json())["state"] == "ended" and found, "it does not end", 60)


def replay(server, execution, after=None, stop=None):
    """Reads its events from a new stream as (id, name, data). `stop`: the client disconnects after this many events."""
    headers = {"Accept": "text/event-stream", "Authorization": "Bearer a"}
    if after is not None:
        headers["Last-Event-ID"] = str(after)
    found, number, name = [], None, None
    with contextlib.closing(server.connection()) as connection:
        connection.request("GET", "/v1/executions/" + execution, None, headers)
        response = connection.getresponse()
        assert response.status == 200
        while (stop is None or len(found) < stop) and (line := response.readline()):
            key, _, text = line.decode().rstrip("\n").partition(": ")
            if key == "id":
                number = int(text)
            elif key == "event":
                name = text
            elif key == "data":
                found.append((number, name, json.loads(text)))
        with contextlib.suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)
    return found


def answer(server, call, body, token="a"):
    return server.ask("POST", "/v1/calls/" + call["call_id"], body, token=token)


def waiting(server, execution):
    return wait_until(lambda: show(server, execution, "?wait_ms=5000").json()["calls"], "no call waits", 60)


def test_it_is_answered_at_once_and_goes_on(server):
    execution = start(server, "print('hello')\n6 * 7")
    found = ended(server, execution)
    assert found["result"]["last_value_repr"] == "42" and found["error"] is None and found["calls"] == []
    assert found["created_at"] <= found["started_at"] <= found["ended_at"]
    assert [name for _, name, _ in replay(server, execution)] == ["stdout", "result"]


def test_in_a_session(server):
    assert ended(server, start(server, "x = 20", session="s"))["result"]["session"]["id"] == "s"
    assert ended(server, start(server, "x + 1", session="s"))["result"]["last_value_repr"] == "21"


def test_a_script_that_fails_is_a_result_and_a_refused_one_an_error(server):
    assert ended(server, start(server, "1/0"))["result"]["status"] == "error"
    found = ended(server, start(server, "1", policy={"max_threads": 1000000}))
    assert found["result"] is None and found["error"]["code"] == "invalid_policy"
    refused(server.ask("POST", "/v1/execute", {"code": "1", "detach": 5}, token="a"), 400, "invalid_request")
    refused(server.ask("POST", "/v1/execute", {"code": "1", "detach": True, "unknown": 1}, token="a"), 400, "invalid_request")
    refused(server.ask("POST", "/v1/execute", {"detach": True}, token="a"), 400, "invalid_request")
    assert server.result("'\"detach\"'", token="a")["status"] == "ok"
    assert server.result("1", token="a", detach=False)["status"] == "ok"


def test_tool_calls_wait_while_nobody_is_there(server):
    execution = start(server, "a = lookup('x')\nprint(a)\nlookup('y')", tools=[LOOKUP])
    call, = waiting(server, execution)
    assert (call["name"], call["arguments"]) == ("lookup", {"city": "x", "days": 1})
    listed, = [one for one in server.ask("GET", "/v1/executions", token="a").json()["executions"] if one["execution_id"] == execution]
    assert listed["calls"] == [call] and listed["state"] == "running"
    refused(answer(server, call, {"result": 1}, token="b"), 404, "call_not_found")
    assert answer(server, call, {"result": 1}).status == 204
    refused(answer(server, call, {"result": 1}), 404, "call_not_found")
    second = wait_until(lambda: [one for one in waiting(server, execution) if one["call_id"] != call["call_id"]], "no second call")[0]
    assert answer(server, second, {"result": 2}).status == 204
    assert ended(server, execution)["result"]["last_value_repr"] == "2"
    assert sorted(name for _, name, _ in replay(server, execution)) == ["result", "stdout", "tool_call", "tool_call"]


def test_a_client_that_is_killed_again_and_again_sees_the_same_events(server):
    """It reads one event each time, and continues after the last event that it has. The calls are answered in between."""
    code = "import sys\nfor i in range(15):\n    print('line', i, flush=True)\n    any_of(i)\n    print('error', i, file=sys.stderr, flush=True)\n'end'"
    execution = start(server, code, tools=[ANY])
    found = []
    while not found or found[-1][1] != "result":
        for number, name, data in replay(server, execution, found[-1][0] if found else None, stop=1):
            found.append((number, name, data))
            if name == "tool_call":
                assert answer(server, data, {"result": None}).status == 204
    assert [number for number, _, _ in found] == list(range(1, len(found) + 1))
    assert found == replay(server, execution) == replay(server, execution, 0)
    assert found[3:] == replay(server, execution, 3)
    assert "".join(data["text"] for _, name, data in found if name == "stdout") == "".join("line %d\n" % i for i in range(15))
    assert [data["arguments"] for _, name, data in found if name == "tool_call"] == [{"value": i} for i in range(15)]
    assert found[-1][2] == show(server, execution).json()["result"]


# The places where a client dies: in the middle of the answer's head or of an event, before or after it has stored an event, and before
# or after it has sent the answer to a call.
PLACES = ["before it asks", "asked", "half a head", "head", "half an event", "event unkept", "event kept", "call kept", "half an answer",
          "answer sent"]


class MortalClient:
    """A client in a separate process that kills itself at a place. `kept` still has the events that it stored: whole events, one on each
    line."""

    def __init__(self, server, execution, place):
        self.server, self.execution, self.place = server, execution, place

    def at(self, place):
        if place == self.place:
            os.kill(os.getpid(), signal.SIGKILL)

    def answer(self, call):
        body = json.dumps({"result": None}).encode()
        head = "POST /v1/calls/%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
        data = (head % (call["call_id"], len(body))).encode() + body
        with contextlib.closing(self.server.connection()) as connection:
            connection.connect()
            connection.sock.sendall(data[:-5])
            self.at("half an answer")
            connection.sock.sendall(data[-5:])
            self.at("answer sent")
            assert connection.sock.recv(100).split()[1] in (b"204", b"404")

    def live(self, after, keep):
        """Answers the waiting calls, as a client that has come back does, and continues to read."""
        self.at("before it asks")
        for call in show(self.server, self.execution).json()["calls"]:
            self.answer(call)
        with contextlib.closing(self.server.connection()) as connection:
            connection.connect()
            connection.sock.sendall(("GET /v1/executions/%s HTTP/1.0\r\nAuthorization: Bearer a\r\nAccept: text/event-stream\r\n"
                                     "Last-Event-ID: %d\r\n\r\n" % (self.execution, after)).encode())
            self.at("asked")
            stream = connection.sock.makefile("rb", buffering=0)
            stream.read(7)
            self.at("half a head")
            while stream.readline().strip():
                pass
            self.at("head")
            self.read(stream, keep)

    def read(self, stream, keep):
        event = b""
        while byte := stream.read(1):
            event += byte
            if event.endswith(b'{"'):
                self.at("half an event")
            if not event.endswith(b"\n\n"):
                continue
            fields = dict(line.split(": ", 1) for line in event.decode().splitlines() if line and line[0] != ":")
            event = b""
            if not fields:
                continue
            self.at("event unkept")
            os.write(keep, json.dumps([int(fields["id"]), fields["event"], json.loads(fields["data"])]).encode() + b"\n")
            self.at("event kept")
            if fields["event"] == "tool_call":
                self.at("call kept")
                self.answer(json.loads(fields["data"]))


def live(server, execution, kept, place=None):
    """Runs a client in a new process, and returns how it ended."""
    after = [json.loads(line)[0] for line in kept.read_text().splitlines()][-1:] or [0]
    pid = os.fork()
    if not pid:
        status = 1
        try:
            with open(kept, "ab", buffering=0) as file:
                MortalClient(server, execution, place).live(after[0], file.fileno())
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_client_that_is_killed_100_times_at_different_places_has_every_event_once(server, tmp_path):
    code = "import sys\nfor i in range(200):\n    print('line', i, flush=True)\n    any_of(i)\n    print('error', i, file=sys.stderr, flush=True)\n'end'"
    execution = start(server, code, tools=[ANY])
    kept = tmp_path / "kept"
    kept.touch()
    endings = [live(server, execution, kept, PLACES[i % len(PLACES)]) for i in range(100)]
    assert endings == [-signal.SIGKILL] * 100
    assert live(server, execution, kept) == 0
    found = [tuple(json.loads(line)) for line in kept.read_text().splitlines()]
    assert [number for number, _, _ in found] == list(range(1, len(found) + 1))
    assert found == replay(server, execution) == replay(server, execution, 0)
    assert [data["arguments"] for _, name, data in found if name == "tool_call"] == [{"value": i} for i in range(200)]
    for stream, word in (("stdout", "line"), ("stderr", "error")):
        assert "".join(data["text"] for _, name, data in found if name == stream) == "".join("%s %d\n" % (word, i) for i in range(200))
    last = found[-1][2]
    assert last == show(server, execution).json()["result"] and last["usage"]["tool_calls"]["count"] == 200


def test_what_was_dropped_is_said(server):
    code = "import sys\nfor i in range(12):\n    sys.stdout.write('x' * 1000000); sys.stdout.flush()"
    execution = start(server, code, policy={"max_stdout_bytes": 1000000})
    ended(server, execution)
    whole = replay(server, execution)
    assert whole[0][1] != "dropped" and whole[-1][1] == "result"
    execution = start(server, "for i in range(12): any_of('x' * 1000000)", tools=[ANY])
    answered = 0
    while answered < 12:
        call, = waiting(server, execution)
        answered += answer(server, call, {"result": 1}).status == 204
    ended(server, execution)
    found = replay(server, execution)
    assert found[0][1] == "dropped" and found[0][2]["events"] >= 4
    assert found[1][0] == found[0][2]["events"] + 1 and found[-1][1] == "result" and found[-1][0] == 13


def test_delete_cancels(server):
    execution = start(server, "import time\nwhile True: time.sleep(0.01)")
    wait_until(lambda: show(server, execution).json()["state"] == "running", "it does not run")
    assert server.ask("DELETE", "/v1/executions/" + execution, token="a").status == 204
    assert ended(server, execution)["result"]["status"] == "cancelled"
    execution = start(server, "lookup('x')", tools=[LOOKUP])
    call, = waiting(server, execution)
    assert server.ask("DELETE", "/v1/executions/" + execution, token="a").status == 204
    assert ended(server, execution)["result"]["status"] == "cancelled"
    refused(answer(server, call, {"result": 1}), 404, "call_not_found")


def test_it_is_its_principals_alone(server):
    execution = start(server, "1")
    ended(server, execution)
    for method in ("GET", "DELETE"):
        refused(server.ask(method, "/v1/executions/" + execution, token="b"), 404, "execution_not_found")
        refused(server.ask(method, "/v1/executions/none", token="a"), 404, "execution_not_found")
    assert server.ask("GET", "/v1/executions", token="b").json() == {"executions": [], "attached": []}
    assert execution in {one["execution_id"] for one in server.ask("GET", "/v1/executions", token="a").json()["executions"]}


@pytest.mark.parametrize("query, headers", [("?wait_ms=x", {}), ("?wait_ms=300001", {}), ("?wait_ms=-1", {}), ("", {"Last-Event-ID": "x"})])
def test_what_is_no_number_is_refused(server, query, headers):
    refused(show(server, start(server, "1"), query, **headers), 400, "invalid_request")


def test_the_id_names_the_node(server):
    parts = start(server, "1").split("-")
    assert parts[0] == "e" and "-".join(parts[1:-1]) == "".join(c for c in socket.gethostname() if c.isalnum() or c in "-.")
    assert len(parts[-1]) == 32


def test_the_oldest_makes_room_and_when_all_run_one_more_is_refused(pyexec):
    with serving(pyexec, "--timeout", "60s", config="[host]\nmax_executions = 2\n", tokens=TOKENS) as server:
        first, second = start(server, "1"), None
        ended(server, first)
        second = start(server, "2")
        ended(server, second)
        third = start(server, "lookup('x')", tools=[LOOKUP])
        refused(show(server, first), 404, "execution_not_found")
        fourth = start(server, "lookup('x')", tools=[LOOKUP])
        refused(show(server, second), 404, "execution_not_found")
        refused(server.ask("POST", "/v1/execute", {"code": "1", "detach": True}, token="a"), 503, "overloaded")
        assert start(server, "1", token="b")
        for execution in (third, fourth):
            server.ask("DELETE", "/v1/executions/" + execution, token="a")


def test_it_is_forgotten_after_its_time(pyexec):
    with serving(pyexec, config="[host]\nexecution_ttl = 1ms\n", tokens=TOKENS) as server:
        execution = start(server, "1")
        wait_until(lambda: show(server, execution).status == 404, "it is kept", 60)


def test_a_server_that_drains_lets_it_end_and_one_that_ends_cancels_it(pyexec):
    with serving(pyexec, config="[serve]\ndrain_grace = 60s\n", tokens=TOKENS) as server:
        execution = start(server, "lookup('x')", tools=[LOOKUP])
        call, = waiting(server, execution)
        server.process.terminate()
        wait_until(lambda: server.metric("pyexec_draining") == 1, "it does not drain")
        refused(server.ask("POST", "/v1/execute", {"code": "1", "detach": True}, token="a"), 503, "shutting_down")
        with contextlib.closing(server.connection()) as connection:
            connection.request("GET", "/v1/executions/" + execution, None, {"Accept": "text/event-stream", "Authorization": "Bearer a"})
            response = connection.getresponse()
            assert answer(server, call, {"result": 7}).status == 204
            assert b'"last_value_repr": "7"' in response.read().replace(b'":"', b'": "')
        assert server.process.wait(60) == 0
    with serving(pyexec, config="[serve]\ndrain_grace = 1ms\n", tokens=TOKENS) as server:
        execution = start(server, "lookup('x')", tools=[LOOKUP])
        waiting(server, execution)
        with contextlib.closing(server.connection()) as connection:
            connection.request("GET", "/v1/executions/" + execution, None, {"Accept": "text/event-stream", "Authorization": "Bearer a"})
            response = connection.getresponse()
            server.process.terminate()
            assert b'"cancelled"' in response.read()
        assert server.process.wait(60) == 0

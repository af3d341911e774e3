"""Forks of sessions over HTTP and over MCP: what is answered, and whose sessions the branches are. What a branch has is
tested in tests/kernel/test_branches.py."""
import json
import threading

import pytest

from mcp_stdio import META, Client, text
from serving import serving, token_line
from waiting import wait_until

pytestmark = pytest.mark.usefixtures("nothing_left")
SPIN = "while True:\n    pass"


@pytest.fixture(scope="module")
def server(own):
    with serving(own, "--forkable", "--timeout", "30s", "--cpu-time-seconds", "30", "--files", "full", "--audit-log", "FOLDER/audit",
                 tcp=True, tokens=[token_line("alice", "a", "max_sessions=4"), token_line("bob", "b"),
                                   token_line("carol", "c", "forkable=false")]) as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_left():
    """All tests of this file share a server; test_serve_life.py tests what a server leaves behind."""


def fork(server, session, body=None, token=None):
    return server.ask("POST", "/v1/sessions/%s/fork" % session, body, token=token)


def tool(server, name, token=None, **arguments):
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": name, "arguments": arguments}}
    answer = server.ask("POST", "/mcp", message, {"Accept": "application/json, text/event-stream"}, token=token)
    assert answer.status == 200, (answer.status, answer.body)
    return answer.json()["result"]


def tools(server, token=None):
    answer = server.ask("POST", "/mcp", {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}, token=token)
    return [one["name"] for one in answer.json()["result"]["tools"]]


def own_sessions(server, token=None):
    return [one["id"] for one in server.ask("GET", "/v1/sessions", token=token).json()["sessions"]]


def value(server, session, code, token=None):
    return server.result(code, session, token=token)["last_value_repr"]


# ---- HTTP: undo and reset ----

def undo(server, session, body=None, token=None, what="undo"):
    return server.ask("POST", "/v1/sessions/%s/%s" % (session, what), body, token=token)


def test_an_undo_returns_to_the_state_before_a_call(server):
    for code in ("x = 1\nopen('f', 'w').write('1')", "x = 2\nopen('f', 'w').write('2')", "x = 3"):
        assert server.ask("POST", "/v1/sessions/u/execute", {"code": code, "checkpoint": True}).json()["status"] == "ok"
    answer = undo(server, "u", {"to": 2})
    assert answer.status == 200 and answer.json()["to"] == 2 and answer.json()["checkpoints"] == [1] and answer.json()["pause_ms"] > 0
    assert value(server, "u", "x, open('f').read()") == "(1, '1')"
    assert undo(server, "u", what="reset").json()["to"] == 1
    assert value(server, "u", "'x' in globals()") == "False"
    assert server.wait_for_line(route="/v1/sessions/{id}/undo", session="u", status=200, principal="local")


def test_a_call_that_ends_its_process_leaves_the_session_as_before(server):
    server.result("x = 1", "v")
    died = server.ask("POST", "/v1/sessions/v/execute", {"code": "x = 2\nsum(range(10**12))", "checkpoint": True, "policy": {"timeout_ms": 300}}).json()
    assert died["session"]["restored"] == {"to": 2, "why": "timeout"} and died["session"]["restarted"] is None
    assert value(server, "v", "x") == "1"


@pytest.mark.parametrize("body", [{"to": 0}, {"to": "1"}, {"two": 1}, [], {"to": 1, "x": 1}])
def test_an_undo_that_is_not_valid_is_refused(server, body):
    server.result("x = 1", "w")
    answer = undo(server, "w", body)
    assert (answer.status, answer.json()["code"]) == (400, "invalid_request") and "execution count of a call" in answer.json()["title"] + answer.json()["hint"], answer.body


@pytest.mark.parametrize("path, body, names", [
    ("/v1/sessions/w/undo", b'{"to": 1e999}', "to: "), ("/v1/sessions/w/fork", b'{"count": 99999999999999999999}', "count: "),
    ("/v1/sessions/w/reset", b'{"x": -1e999}', "x: "), ("/v1/verify", b'{"solution": "", "tests": [{}, {"call": "f", "args": [0, 1e999]}]}', "tests[1].args[1]: "),
    ("/v1/sessions", b'{"policy": {"timeout_ms": 1e999}}', "policy.timeout_ms: "), ("/v1/execute", b'{"code": "1", "timeout_ms": 99999999999999999999}', "timeout_ms: "),
    ("/v1/sessions/w/execute", b'{"code": "1", "inputs": {"a": [1e999]}}', "inputs.a[0]: "), ("/v1/calls/none", b'{"result": [1e999]}', "")])
def test_a_number_that_is_too_large_names_its_member(server, path, body, names):
    server.result("x = 1", "w")
    answer = server.ask("POST", path, body)
    told = answer.json()["title"] + answer.json().get("detail", "")
    assert answer.status == (400 if names else 404) and (not names or names + "a number that is too large" in told), answer.body


def test_a_reset_takes_no_members(server):
    for code in ("x = 1", "x = 2"):
        server.ask("POST", "/v1/sessions/r/execute", {"code": code, "checkpoint": True})
    for body in ({"to": 1}, [], b"{", b"null"):
        answer = undo(server, "r", body, what="reset")
        assert (answer.status, answer.json()["code"]) == (400, "invalid_request"), body
    assert value(server, "r", "x") == "2"
    assert undo(server, "r", {}, what="reset").json()["to"] == 1 and value(server, "r", "'x' in globals()") == "False"


def test_nobody_undoes_the_calls_of_others(server):
    server.ask("POST", "/v1/sessions/mine/execute", {"code": "x = 1", "checkpoint": True}, token="a")
    for what in ("undo", "reset"):
        assert undo(server, "mine", token="b", what=what).json()["code"] == "session_not_found"
    assert undo(server, "mine", token="a").json()["to"] == 1


# ---- HTTP ----

def test_branches_go_their_own_way_from_the_state_of_their_source(server):
    server.result("x = [1]\nopen('f', 'w').write('before')", "s")
    made = fork(server, "s", {"ids": ["s.up", "s.down"]})
    assert made.status == 201 and made.json()["sessions"] == ["s.up", "s.down"] and made.json()["pause_ms"] > 0
    assert value(server, "s.up", "x.append(2); open('f', 'w').write('up'); x") == "[1, 2]"
    assert [value(server, one, "x, open('f').read()") for one in ("s", "s.down", "s.up")] == \
        ["([1], 'before')", "([1], 'before')", "([1, 2], 'up')"]
    assert server.ask("GET", "/v1/sessions/s.up/files/f").body == b"up"
    look = server.ask("GET", "/v1/sessions/s.up").json()
    assert look["policy"]["forkable"] is True and look["execution_count"] == 3
    assert server.wait_for_line(route="/v1/sessions/{id}/fork", session="s", status=201, principal="local")
    server.ask("DELETE", "/v1/sessions/s")
    assert value(server, "s.down", "x") == "[1]"


@pytest.mark.parametrize("body, count", [(None, 1), ({}, 1), ({"count": 3}, 3)])
def test_ids_are_made_up_when_none_are_given(server, body, count):
    server.result("y = 7", "n")
    made = fork(server, "n", body).json()["sessions"]
    assert len(set(made)) == count and all(value(server, one, "y") == "7" for one in made)
    for one in made:
        assert server.ask("DELETE", "/v1/sessions/" + one).status == 204


@pytest.mark.parametrize("body, says", [
    (b"{", "not a JSON object"), (b"[]", "not a JSON object"), (b'{"id": "a"}', "'id'"), (b'{"count": 1, "count": 2}', "count: given twice"),
    (b'{"count": 2, "ids": ["a"]}', "only one"),
    (b'{"count": 0}', "1 to 1000"), (b'{"count": 1001}', "1 to 1000"), (b'{"count": -1}', "1 to 1000"),
    (b'{"count": "2"}', "1 to 1000"), (b'{"count": 1.5}', "1 to 1000"), (b'{"count": 99999999999999999999}', "count: a number that is too large"),
    (b'{"ids": []}', "1 to 1000"), (b'{"ids": "a"}', "list"), (b'{"ids": [1]}', "string"), (b'{"ids": ["a\\u0000b"]}', "NUL"),
    (b'{"ids": ["a/b"]}', "a/b"), (b'{"ids": [""]}', "id"), (b'{"ids": ["bob/x"]}', "bob/x"), (b'{"ids": [".."]}', ".."),
    (b'{"ids": [%s]}' % b",".join([b'"i"'] * 1001), "1 to 1000"),
])
def test_a_bad_request_makes_no_session(server, body, says):
    server.result("1", "bad")
    before = sorted(own_sessions(server))
    answer = fork(server, "bad", body)
    assert answer.status == 400 and answer.json()["code"] == "invalid_request" and answer.json()["hint"]
    assert says in answer.json()["title"]
    assert sorted(own_sessions(server)) == before


def test_an_id_that_is_taken_is_a_conflict_and_makes_no_session(server):
    server.result("1", "t")
    for ids in (["t.1", "t"], ["t.1", "t.1"]):
        answer = fork(server, "t", {"ids": ids})
        assert (answer.status, answer.json()["code"]) == (409, "conflict") and ids[1] in answer.json()["title"]
    assert "t.1" not in own_sessions(server)


def test_a_session_that_runs_a_call_is_busy_and_can_be_forked_afterwards(server):
    server.result("kept = 5", "b")
    answers = []
    caller = threading.Thread(target=lambda: answers.append(server.result(SPIN, "b")))
    caller.start()
    wait_until(lambda: server.ask("GET", "/v1/sessions/b").json()["busy"], "the call does not begin")
    answer = fork(server, "b")
    assert (answer.status, answer.json()["code"]) == (409, "session_busy") and answer.json()["hint"]
    assert "runs or waits" in text(tool(server, "fork_session", session_id="b"))
    assert server.ask("POST", "/v1/sessions/b/interrupt").status == 204
    caller.join()
    made = fork(server, "b", {"ids": ["b.1"]})
    assert made.status == 201 and value(server, "b.1", "kept") == "5"


def test_forks_that_wait_for_a_turn_hold_up_no_interrupt(own):
    """While runs use all CPUs, forks wait. Other requests are answered, so that a client can end the runs."""
    with serving(own, "--forkable", "--timeout", "60s", "--cpu-time-seconds", "60", config="[host]\nmax_concurrent = 1\nqueue_length = 40\n") as small:
        small.result("z = 1", "source")
        forks, busy = [], threading.Thread(target=small.execute, args=(SPIN, "busy"))
        busy.start()
        wait_until(lambda: small.metric("pyexec_running") == 1, "the call does not begin")
        threads = [threading.Thread(target=lambda: forks.append(fork(small, "source").status)) for _ in range(6)]
        for one in threads:
            one.start()
        wait_until(lambda: small.metric("pyexec_queue_length") == 6, "the forks do not wait")
        assert not forks and small.ask("POST", "/v1/sessions/busy/interrupt").status == 204
        busy.join()
        for one in threads:
            one.join()
        assert set(forks) <= {201, 409} and 201 in forks        # two forks at once: the second one finds the session busy


def test_only_the_owner_can_fork_a_session(server):
    server.result("secret = 1", "mine", token="a")
    for token in ("b", None):
        answer = fork(server, "mine", token=token)
        assert (answer.status, answer.json()["code"]) == (404, "session_not_found")
        assert "session_not_found" in text(tool(server, "fork_session", token, session_id="mine"))
    assert fork(server, "a%2Fmine", token="b").status == 404
    assert fork(server, "nothing").json()["code"] == "session_not_found"
    assert server.ask("POST", "/v1/sessions/mine/fork", address=server.tcp).status == 401


def test_branches_belong_to_the_principal_and_count_for_it(server):
    server.result("a = 1", "one", token="a")
    assert fork(server, "one", {"ids": ["two", "three"]}, "a").status == 201
    assert {"one", "two", "three"} <= set(own_sessions(server, "a")) and not {"two", "three"} & set(own_sessions(server, "b"))
    refused = fork(server, "one", {"count": 4}, "a")
    assert (refused.status, refused.json()["code"]) == (429, "session_limit")
    assert "one" in own_sessions(server, "a") and not [one for one in own_sessions(server, "a") if one.startswith("one.")]
    assert value(server, "one", "a", token="a") == "1"


def test_a_ceiling_can_forbid_sessions_that_can_be_forked(server):
    refused = server.ask("POST", "/v1/sessions", {"policy": {"forkable": True}}, token="c")
    assert (refused.status, refused.json()["code"]) == (400, "invalid_policy")
    server.result("1", "plain", token="c")
    answer = fork(server, "plain", token="c")
    assert (answer.status, answer.json()["code"]) == (409, "session_not_forkable") and "forkable" in answer.json()["hint"]
    assert "fork_session" not in tools(server, "c") and "fork_session" in tools(server, "a")


def test_the_audit_log_names_the_branch_of_each_run(server):
    server.result("1", "audited", token="b")
    fork(server, "audited", {"ids": ["audited.1"]}, "b")
    server.result("2", "audited.1", token="b")
    with open(server.folder + "/audit") as file:
        runs = [json.loads(line) for line in file]
    assert [run["session"] for run in runs if run["principal"] == "bob"][-2:] == ["audited", "audited.1"]


# ---- MCP ----

def test_the_tool_over_http(server):
    tool(server, "run_python", "b", code="m = 1", session_id="m")
    made = tool(server, "fork_session", "b", session_id="m", ids=["m1", "m2"])
    assert made["structuredContent"]["sessions"] == ["m1", "m2"] and "m1, m2" in text(made) and not made["isError"]
    assert text(tool(server, "run_python", "b", code="m + 1", session_id="m2")) == "2"
    assert {"m", "m1", "m2"} <= set(own_sessions(server, "b"))
    taken = tool(server, "fork_session", "b", session_id="m", ids=["m1"])
    assert taken["isError"] and "m1" in text(taken)


@pytest.fixture
def client(own):
    with Client(own, "--forkable", "--files", "full") as made:
        yield made


def test_the_tool_on_standard_input(client):
    assert client.ask("tools/list")["result"]["tools"][-2]["name"] == "fork_session"
    client.call("run_python", session_id="s", code="v = [1]")
    made = client.call("fork_session", META, session_id="s", count=2)["structuredContent"]["sessions"]
    assert len(made) == 2
    assert text(client.call("run_python", session_id=made[0], code="v.append(2); v")) == "[1, 2]"
    assert text(client.call("run_python", session_id=made[1], code="v")) == "[1]"


@pytest.mark.parametrize("arguments, says", [
    ({"session_id": "none"}, "session_not_found"), ({"session_id": "s", "count": 0}, "1 to 1000"),
    ({"session_id": "s", "count": 1001}, "1 to 1000"), ({"session_id": "s", "ids": ["s"]}, "already a session"),
    ({"session_id": "s", "ids": ["a b"]}, "a b"), ({"session_id": "s", "ids": "a"}, "not a list"),
    ({"session_id": "s", "count": "2"}, "not an integer"), ({"count": 1}, "session_id: missing"),
    ({"session_id": "s", "number": 1}, "number"), ({"session_id": "s", "ids": ["a"], "count": 1}, "only one"),
])
def test_bad_arguments_of_the_tool(client, arguments, says):
    client.call("run_python", session_id="s", code="1")
    answer = client.call("fork_session", META, **arguments)
    assert answer["isError"] and says in text(answer)


def test_the_tool_is_hidden_where_no_session_can_be_forked(own):
    with Client(own) as client:
        assert "fork_session" not in [one["name"] for one in client.ask("tools/list")["result"]["tools"]]
        client.call("run_python", session_id="s", code="1")
        assert "made without forkable" in text(client.call("fork_session", META, session_id="s"))


def test_a_fork_that_waits_for_its_turn_holds_up_no_other_message(own, tmp_path):
    config = tmp_path / "conf"
    config.write_text("[host]\nmax_concurrent = 1\n")
    with Client(own, "--config", str(config), "--forkable", "--timeout", "60s", "--cpu-time-seconds", "60") as client:
        client.call("run_python", session_id="s", code="1")
        spin = client.start("run_python", {"progressToken": "p"}, session_id="t", code=SPIN)
        assert client.read()["method"] == "notifications/progress"       # it runs
        forked = client.start("fork_session", session_id="s")
        assert client.ask("ping")["result"] == {} and forked not in [one.get("id") for one in client.held]
        client.line({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": spin}})
        assert len(client.wait(forked)["result"]["structuredContent"]["sessions"]) == 1

# SPDX-License-Identifier: Apache-2.0
"""Environments through the servers: HTTP with ceilings, rpc, MCP, and the templates of E2B. The store is made by hand."""
import os

import pytest

import stores
from json_lines import JsonLines
from mcp_stdio import Client, text
from serving import serving, token_line

MIB = 1 << 20
ALICE, BOB, CARLA = (token_line("alice", "a-secret", "allowed_environments=data"), token_line("bob", "b-secret", "environment=ml", "allowed_environments="),
                     token_line("carla", "c-secret", "allowed_environments=data,large", "address_space_bytes=600M"))


@pytest.fixture(scope="module")
def store(_copy):
    store = stores.HandMadeStore(os.path.join(_copy, "served-environments"))
    store.add("data", {"tally": "def total(*numbers): return sum(numbers)\n"}, packages=[{"name": "tally", "version": "2.5"}])
    store.add("ml", {"learner": "DEPTH = 3\n"})
    store.add("large", {"hungry": "HELD = bytearray(700 << 20)\n"}, {"address_space_bytes": 1500 * MIB, "timeout_ms": 20000})
    return store


def variables(store):
    return {**os.environ, **store.settings()}


@pytest.fixture(scope="module")
def server(own, store):
    with serving(own, "--allowed-environments", "*", "--e2b", tcp=True, tokens=[ALICE, BOB, CARLA], env=store.settings()) as running:
        yield running


def ask(server, who, method, path, body=None):
    return server.ask(method, path, body, address=server.tcp, token="%s-secret" % who[0])


def run(server, who, code, path="/v1/execute", **more):
    return ask(server, who, "POST", path, {"code": code, **more})


def test_the_list_has_what_the_caller_may_choose(server):
    everything = server.ask("GET", "/v1/environments").json()["environments"]
    assert [found["name"] for found in everything] == ["data", "large", "ml"]
    assert everything[0]["packages"] == [{"name": "tally", "version": "2.5"}] and everything[0]["imports"] == ["tally"]
    assert everything[1]["limits"]["address_space_bytes"] == 1500 * MIB and len(everything[0]["hash"]) == 32
    for who, names in (("alice", ["data"]), ("bob", ["ml"]), ("carla", ["data", "large"])):
        assert [found["name"] for found in ask(server, who, "GET", "/v1/environments").json()["environments"]] == names


def test_a_request_chooses_an_environment(server):
    policy = {"environment": "data"}
    listed = {found["name"]: found["hash"] for found in server.ask("GET", "/v1/environments").json()["environments"]}
    for _ in range(2):      # the second one may come from the pool
        got = server.result("import tally; tally.total(1, 2)", policy=policy)
        assert got["last_value_repr"] == "3" and got["environment"] == {"name": "data", "hash": listed["data"]}
    assert server.result("1")["environment"] is None
    assert run(server, "alice", "import tally; tally.total(1, 2)", policy=policy).json()["last_value_repr"] == "3"


def test_a_caller_may_choose_only_its_own(server):
    answer = run(server, "alice", "1", policy={"environment": "ml"})
    assert answer.status == 400 and answer.json()["code"] == "invalid_policy", answer.body
    assert "allows 'data'" in answer.json()["title"] and "'data'" in answer.json()["hint"] and "'ml'" not in answer.json()["hint"]
    answer = run(server, "alice", "1", policy={"environment": "unknown"})
    assert answer.status == 400 and "large" not in answer.body.decode()       # nor learns which others there are


def test_the_environment_of_a_token_is_its_default(server):
    assert run(server, "bob", "import learner; learner.DEPTH").json()["last_value_repr"] == "3"
    assert run(server, "bob", "import learner", policy={"environment": ""}).json()["status"] == "error"


@pytest.mark.parametrize("ahead", [True, False])
def test_the_environment_of_a_token_is_the_default_of_its_sessions(server, ahead):
    """The server has an interpreter of its own (PYEXEC_POLICY_PYTHON_BIN), which a token's environment replaces in each call."""
    if ahead:
        assert ask(server, "bob", "POST", "/v1/sessions", {"id": "own"}).status == 201
    try:
        for code, value in (("import learner; learner.DEPTH", "3"), ("learner.DEPTH + 1", "4")):
            answer = run(server, "bob", code, "/v1/sessions/own/execute").json()
            assert answer.get("last_value_repr") == value and answer["environment"]["name"] == "ml", answer
        assert ask(server, "bob", "GET", "/v1/sessions/own").json()["policy"]["environment"] == "ml"
    finally:
        ask(server, "bob", "DELETE", "/v1/sessions/own")


def test_a_ceiling_below_its_needs_is_named(server):
    answer = run(server, "carla", "1", policy={"environment": "large"})
    assert answer.status == 400, answer.body
    assert "address_space_bytes" in answer.json()["title"] and "needs %d" % (1500 * MIB) in answer.json()["title"]
    assert "operator" in answer.json()["hint"] and "token" in answer.json()["hint"]
    assert run(server, "carla", "1", policy={"environment": "data"}).status == 200


def test_its_needs_raise_a_ceiling_that_nobody_gave(server):
    assert server.result("import hungry; len(hungry.HELD)", policy={"environment": "large"})["last_value_repr"] == str(700 * MIB)
    answer = server.execute("1", policy={"environment": "large", "address_space_bytes": 1501 * MIB})
    assert answer.status == 400


def test_a_session_keeps_its_environment(server, store):
    policy = {"environment": "data"}
    first = server.result("import tally; tally.total(1)", "kept", session_policy=policy)
    assert first["last_value_repr"] == "1" and first["environment"]["name"] == "data"
    assert server.result("tally.total(2)", "kept")["last_value_repr"] == "2"
    answer = server.execute("1", "kept", policy={"environment": "ml"})
    assert answer.status == 400 and "fixed" in answer.json()["title"]
    assert server.ask("GET", "/v1/sessions/kept").json()["policy"]["environment"] == "data"
    folder = store.add("data", {"tally": "def total(*numbers): return -1\n"}, packages=[{"name": "tally", "version": "2.5"}])
    try:
        later, updated = server.result("tally.total(3)", "kept"), server.result("import tally; tally.total(3)", policy=policy)
        assert later["last_value_repr"] == "3" and later["environment"] == first["environment"]
        assert updated["last_value_repr"] == "-1" and updated["environment"]["name"] == "data"
        assert updated["environment"]["hash"] == os.path.basename(folder) != first["environment"]["hash"]
    finally:
        store.add("data", {"tally": "def total(*numbers): return sum(numbers)\n"}, packages=[{"name": "tally", "version": "2.5"}])
        server.ask("DELETE", "/v1/sessions/kept")


def test_a_missing_module_names_environments_that_the_caller_may_choose(server):
    assert "'data'" in server.result("import tally")["error"]["hint"]
    assert "'data'" in run(server, "alice", "import tally").json()["error"]["hint"]
    assert "'ml'" not in run(server, "alice", "import learner").json()["error"]["hint"]
    assert "'ml'" in server.result("import learner", "missing", session_policy={"environment": "data"})["error"]["hint"]
    server.ask("DELETE", "/v1/sessions/missing")


def test_an_e2b_template_is_an_environment(server):
    def sandbox(template):
        answer = server.ask("POST", "/v2/sandboxes", {"templateID": template}, {"X-Api-Key": "a-secret"}, address=server.tcp)
        assert answer.status == 201, answer.body
        return {"E2b-Sandbox-Id": answer.json()["sandboxID"], "X-Access-Token": "a-secret"}
    def printed(headers, code):
        return server.ask("POST", "/execute", {"code": code}, headers, address=server.tcp).body.decode()
    assert "'6'" in printed(sandbox("data"), "import tally\nprint(repr(str(tally.total(1, 2, 3))))")
    assert "ImportError" in printed(sandbox("code-interpreter-v1"), "import tally")
    assert "ImportError" in printed(sandbox("ml"), "import learner")      # alice may not choose it


def test_rpc_lists_and_uses_them(own, store, nothing_left):
    with JsonLines(own, "rpc", env=variables(store)) as client:
        client.ask("initialize", protocol=1, policy={"timeout_ms": 9000})
        found = client.ask("list_environments")["result"]["environments"]
        assert [each["name"] for each in found] == ["data", "large", "ml"]
        answer = client.ask("execute_once", code="import learner; learner.DEPTH", policy={"environment": "ml"})
        assert answer["result"]["last_value_repr"] == "3", answer
        answer = client.ask("execute_once", code="1", policy={"environment": "mll"})
        assert "'ml'" in answer["error"]["data"]["hint"]
    with JsonLines(own, "rpc") as client:
        client.ask("initialize", protocol=1, policy={"environment": "ml"}, env={"root": store.root})
        assert client.ask("execute", session_id="s", code="import learner; learner.DEPTH")["result"]["last_value_repr"] == "3"


def test_mcp_describes_them_and_takes_one(own, store, nothing_left):
    with Client(own, "--environment", "data", "--allowed-environments", "ml", env=variables(store)) as client:
        assert client.info["capabilities"]["resources"] == {}
        tool, = [tool for tool in client.ask("tools/list")["result"]["tools"] if tool["name"] == "run_python"]
        assert "environment 'data' is used" in tool["description"] and "'ml'" in tool["description"]
        assert "large" not in tool["description"] and "environment" in tool["inputSchema"]["properties"]
        assert "tally" in tool["description"] and "learner" in tool["description"]
        assert text(client.call("run_python", code="import tally; tally.total(2, 2)")) == "4"
        assert text(client.call("run_python", code="import learner; learner.DEPTH", environment="ml")) == "3"
        assert text(client.call("run_python", code="import learner; learner.DEPTH", environment="ml", session_id="s")) == "3"
        assert text(client.call("run_python", code="learner.DEPTH + 1", session_id="s")) == "4"
        assert "allows 'data', 'ml'" in text(client.call("run_python", code="1", environment="large"))
        resource, = client.ask("resources/list")["result"]["resources"]
        content, = client.ask("resources/read", uri=resource["uri"])["result"]["contents"]
        assert '"name":"data"' in content["text"] and '"large"' not in content["text"]
        assert client.ask("resources/read", uri="pyexec://other")["error"]["code"] == -32002
        assert client.ask("resources/templates/list")["result"] == {"resourceTemplates": []}


def test_mcp_without_environments_says_nothing_of_them(own, store, nothing_left):
    with Client(own, env={**variables(store), "PYEXEC_ENV_ROOT": os.path.join(store.root, "none")}) as client:
        assert "resources" not in client.info["capabilities"]
        assert client.ask("resources/list")["error"]["code"] == -32601
        tool, = [tool for tool in client.ask("tools/list")["result"]["tools"] if tool["name"] == "run_python"]
        assert "environment" not in tool["inputSchema"]["properties"] and "environment '" not in tool["description"]

"""POST /mcp: Streamable HTTP in both eras; the official clients are in test_mcp_sdk.py."""
import contextlib
import json
import re
import time

import pytest

from conftest import ROOT
from mcp_stdio import META, text
from serving import events, serving, token_line
from waiting import wait_until

MODERN = {"MCP-Protocol-Version": "2026-07-28"}
SPIN = "while True:\n    pass"


@pytest.fixture(scope="module")
def server(own):
    with serving(own, "--timeout", "30s", "--cpu-time-seconds", "30", "--files", "full", "--audit-log", "FOLDER/audit", tcp=True,
                 tokens=[token_line("alice", "a"), token_line("bob", "b", "timeout=2s", "allowed_imports=math"),
                         token_line("slow", "s", "rate=0.5")]) as running:
        yield running


def message(method, params, number=1):
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def modern(method, name=None, **more):
    """Makes the body and headers of a modern request."""
    headers = {**MODERN, "Mcp-Method": method, **({"Mcp-Name": name} if name else {})}
    return message(method, {**({"name": name} if name else {}), **more, "_meta": {**META, **more.get("_meta", {})}}), headers


def post(server, body, headers=None, **keywords):
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream", **(headers or {})}
    return server.ask("POST", "/mcp", body, headers, **keywords)


def call(server, tool, headers=None, token=None, **arguments):
    answer = post(server, message("tools/call", {"name": tool, "arguments": arguments}), headers, token=token,
                  address=server.tcp if token else None)
    assert answer.status == 200, (answer.status, answer.body)
    return answer.json()["result"]


@contextlib.contextmanager
def open_call(server, body, headers, token=None):
    """Starts a call and does not wait for its answer."""
    connection = server.connection(server.tcp if token else None)
    headers = {"Accept": "application/json, text/event-stream", **headers, **({"Authorization": "Bearer " + token} if token else {})}
    connection.request("POST", "/mcp", json.dumps(body), headers)
    yield connection
    connection.close()


def running(server):
    return server.metric("pyexec_running")


# ---- The legacy era ----

def test_initialize_gives_a_name_for_the_clients_requests(server):
    answer = post(server, message("initialize", {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {}}))
    assert answer.status == 200 and answer.headers["Content-Type"] == "application/json"
    assert answer.json()["result"]["protocolVersion"] == "2025-06-18"
    assert len(answer.headers["Mcp-Session-Id"]) == 32
    assert post(server, message("ping", {})).headers["Mcp-Session-Id"] is None


def test_legacy_requests_need_no_headers_and_no_session(server):
    assert post(server, message("ping", {})).json()["result"] == {}
    assert text(call(server, "run_python", code="6 * 7")) == "42"
    for version in ("2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"):
        assert post(server, message("tools/list", {}), {"MCP-Protocol-Version": version}).status == 200


def test_a_version_decides_how_bad_arguments_are_told(server):
    wrong = message("tools/call", {"name": "run_python", "arguments": {"kode": "1"}})
    assert post(server, wrong).json()["error"]["code"] == -32602
    assert post(server, wrong, {"MCP-Protocol-Version": "2025-11-25"}).json()["result"]["isError"] is True


@pytest.mark.parametrize("version", ["1900-01-01", "x", "2026-07-29"])
def test_an_unknown_version_is_400(server, version):
    answer = post(server, message("ping", {}), {"MCP-Protocol-Version": version})
    assert answer.status == 400 and answer.json()["error"]["code"] == -32022
    assert answer.json()["error"]["data"]["requested"] == version


def test_legacy_errors_with_an_id_are_answers(server):
    answer = post(server, message("nothing", {}))
    assert (answer.status, answer.json()["error"]["code"]) == (200, -32601)


# ---- The modern era ----

def test_a_modern_request_stands_alone(server):
    body, headers = modern("server/discover")
    found = post(server, body, headers).json()["result"]
    assert found["resultType"] == "complete" and "2026-07-28" in found["supportedVersions"]
    body, headers = modern("tools/call", "run_python", arguments={"code": "6 * 7"})
    answer = post(server, body, headers)
    assert answer.status == 200 and text(answer.json()["result"]) == "42" and answer.json()["result"]["resultType"] == "complete"
    assert answer.headers["Mcp-Session-Id"] is None


@pytest.mark.parametrize("change", [{"MCP-Protocol-Version": None}, {"MCP-Protocol-Version": "2025-11-25"}, {"Mcp-Method": None},
                                    {"Mcp-Method": "tools/list"}, {"Mcp-Method": "TOOLS/CALL"}, {"Mcp-Name": None}, {"Mcp-Name": "read_file"},
                                    {"Mcp-Name": "=?base64?cmVhZF9maWxl?="}, {"Mcp-Name": "=?base64?!?="}])
def test_headers_that_do_not_say_what_the_body_says_are_refused(server, change):
    body, headers = modern("tools/call", "run_python", arguments={"code": "1"})
    headers = {key: value for key, value in {**headers, **change}.items() if value is not None}
    answer = post(server, body, headers)
    assert answer.status == 400 and answer.json()["error"]["code"] == -32020 and answer.json()["id"] == 1


def test_a_name_may_be_encoded(server):
    body, headers = modern("tools/call", "run_python", arguments={"code": "1"})
    assert post(server, body, {**headers, "Mcp-Name": "=?base64?cnVuX3B5dGhvbg==?="}).status == 200


@pytest.mark.parametrize("body, status, code", [
    (message("tools/list", {}), 400, -32602),
    (message("tools/list", {"_meta": {"io.modelcontextprotocol/protocolVersion": "2026-07-28"}}), 400, -32602),
    (modern("nothing")[0], 404, -32601), (modern("ping")[0], 404, -32601), (modern("tools/call")[0], 400, -32602),
    (modern("tools/call", "nothing")[0], 400, -32602)])
def test_modern_errors_have_the_status_of_their_code(server, body, status, code):
    name = body["params"].get("name")
    answer = post(server, body, {**MODERN, "Mcp-Method": body["method"], **({"Mcp-Name": name} if name else {})})
    assert (answer.status, answer.json()["error"]["code"]) == (status, code)


# ---- HTTP ----

@pytest.mark.parametrize("body, code", [(b"", -32700), (b"garbage", -32700), (b"[]", -32600), (b"\xff", -32700), (b'{"jsonrpc":"2.0","id":1}', -32600)])
def test_bad_json_is_400(server, body, code):
    answer = post(server, body)
    assert (answer.status, answer.json()["error"]["code"]) == (400, code)


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
def test_there_is_only_post(server, method):
    answer = server.ask(method, "/mcp")
    assert answer.status == 405 and answer.headers["Allow"] == "POST"


def test_notifications_are_202_without_a_body(server):
    for method in ("notifications/initialized", "notifications/cancelled", "notifications/nothing"):
        answer = post(server, {"jsonrpc": "2.0", "method": method})
        assert (answer.status, answer.body) == (202, b"")
    assert post(server, {"jsonrpc": "2.0", "method": "x"}, {"MCP-Protocol-Version": "1900-01-01"}).status == 400


def test_foreign_pages_and_names_are_refused(server):
    ping = message("ping", {})
    assert post(server, ping, {"Origin": "http://evil.example.com"}).status == 403
    assert 400 <= post(server, ping, {"Host": "evil.example.com"}, address=server.tcp, token="a").status < 500
    assert post(server, ping, {"Origin": "http://" + server.tcp}, address=server.tcp, token="a").status == 200
    assert post(server, ping, address=server.tcp).status == 401
    assert post(server, ping, address=server.tcp, token="wrong").status == 401


def test_progress_comes_as_events_when_it_is_asked_for(server):
    body, headers = modern("tools/call", "run_python", arguments={"code": "import time\ntime.sleep(1.3)\n'end'"}, _meta={"progressToken": 7})
    with open_call(server, body, headers) as connection:
        response = connection.getresponse()
        assert response.headers["Content-Type"] == "text/event-stream" and response.headers["X-Accel-Buffering"] == "no"
        got = list(events(response))
    assert [name for name, _ in got] == ["message"] * 3
    assert [data["params"]["progressToken"] for _, data in got[:2]] == [7, 7]
    assert got[0][1]["params"]["progress"] < got[1][1]["params"]["progress"]
    assert got[2][1]["id"] == 1 and text(got[2][1]["result"]) == "'end'"


def test_progress_needs_a_client_that_takes_events(server):
    body, headers = modern("tools/call", "run_python", arguments={"code": "1"}, _meta={"progressToken": 7})
    assert post(server, body, {**headers, "Accept": "application/json"}).headers["Content-Type"] == "application/json"


# ---- Clients that disconnect, and clients that cancel ----

@pytest.mark.parametrize("token", [{}, {"_meta": {"progressToken": 1}}], ids=["json", "events"])
def test_a_modern_client_that_goes_away_cancels_its_run(server, token):
    body, headers = modern("tools/call", "run_python", arguments={"code": SPIN, "session_id": "away"}, **token)
    with open_call(server, body, headers):
        wait_until(lambda: running(server) == 1, "it does not run")
    wait_until(lambda: running(server) == 0, "it still runs", 5)


def test_a_legacy_client_that_goes_away_does_not(server):
    with open_call(server, message("tools/call", {"name": "run_python", "arguments": {
            "code": "import time\ntime.sleep(1.5)\nx = 'done'", "session_id": "stays"}}), {}):
        wait_until(lambda: running(server) == 1, "it does not run")
    assert text(call(server, "run_python", session_id="stays", code="x")) == "'done'"


def test_a_legacy_client_takes_back_its_own_requests_alone(server):
    endless = message("tools/call", {"name": "run_python", "arguments": {"code": SPIN}}, 5)
    taken_back = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 5}}
    with open_call(server, endless, {"Mcp-Session-Id": "mine"}, "a") as connection:
        wait_until(lambda: running(server) == 1, "it does not run")
        for headers, token in (({"Mcp-Session-Id": "other"}, "a"), ({}, "a"), ({"Mcp-Session-Id": "mine"}, "b")):
            assert post(server, taken_back, headers, address=server.tcp, token=token).status == 202
        time.sleep(0.3)
        assert running(server) == 1
        post(server, taken_back, {"Mcp-Session-Id": "mine"}, address=server.tcp, token="a")
        assert json.loads(connection.getresponse().read())["result"]["structuredContent"]["status"] == "cancelled"


# ---- Principals ----

def test_sessions_are_of_a_principal(server):
    call(server, "run_python", token="a", session_id="s", code="x = 'of alice'")
    assert text(call(server, "run_python", token="a", session_id="s", code="x")) == "'of alice'"
    assert "NameError" in text(call(server, "run_python", token="b", session_id="s", code="x"))
    for stolen in ("alice/s", "../alice/s", "/s"):
        for tool, more in (("run_python", {"code": "x"}), ("list_files", {}), ("interrupt", {}), ("write_file", {"path": "a", "content": ""})):
            assert call(server, tool, token="b", session_id=stolen, **more)["isError"] is True
    assert call(server, "reset_session", token="b", session_id="s")["structuredContent"]["existed"] is True
    assert text(call(server, "run_python", token="a", session_id="s", code="x")) == "'of alice'"


def test_a_ceiling_holds_and_is_what_the_model_is_told(server):
    said = post(server, message("tools/list", {}), address=server.tcp, token="b").json()["result"]["tools"][0]["description"]
    assert "no others: math." in said and "Limits: 2 s" in said
    assert "30 s" in post(server, message("tools/list", {}), address=server.tcp, token="a").json()["result"]["tools"][0]["description"]
    assert "import 'json' not allowed" in text(call(server, "run_python", token="b", code="import json"))
    assert "invalid_policy" in text(call(server, "run_python", token="b", code="1", timeout_ms=2001))
    call(server, "write_file", token="b", session_id="made", path="a", content="")
    assert "import 'json' not allowed" in text(call(server, "run_python", token="b", session_id="made", code="import json"))


def test_a_rate_is_told_to_the_model(server):
    results = [call(server, "run_python", token="s", code="1") for _ in range(3)]
    assert not results[0]["isError"] and results[2]["isError"] and "overloaded" in text(results[2])


def test_an_interrupt_gets_through_while_all_workers_are_busy(own):
    with serving(own, "--timeout", "20s", "--cpu-time-seconds", "20", env={"PYEXEC_HOST_MAX_CONCURRENT": "1"}) as server:
        with open_call(server, message("tools/call", {"name": "run_python", "arguments": {"session_id": "s", "code": SPIN}}), {}) as connection:
            wait_until(lambda: running(server) == 1, "it does not run")
            assert call(server, "interrupt", session_id="s")["isError"] is False
            assert "KeyboardInterrupt" in text(json.loads(connection.getresponse().read())["result"])


def test_runs_are_in_the_audit_log_the_log_and_the_metrics(server):
    call(server, "run_python", code="'to be found'", session_id="audited")
    with open(server.folder + "/audit") as file:
        last = json.loads(file.read().splitlines()[-1])
    assert last["session"] == "audited" and last["status"] == "ok" and len(last["code_sha256"]) == 64
    server.wait_for_line(route="/mcp", outcome="ok")
    wait_until(lambda: re.search(r'^pyexec_http_requests_total\{route="mcp",.*\} [1-9]', server.metrics(), re.M), "it is not counted")


def test_a_server_that_ends_cancels_what_runs(own, nothing_left):
    with serving(own, "--timeout", "60s", "--cpu-time-seconds", "60", env={"PYEXEC_SERVE_DRAIN_GRACE": "300ms"}) as server:
        with open_call(server, message("tools/call", {"name": "run_python", "arguments": {"code": SPIN}}), {}) as connection:
            wait_until(lambda: running(server) == 1, "it does not run")
            began = time.monotonic()
            assert server.stop() == 0 and time.monotonic() - began < 5
            assert json.loads(connection.getresponse().read())["result"]["structuredContent"]["status"] == "cancelled"


def test_the_configurations_in_the_documentation_reach_it(server):
    """Each JSON snippet of docs/mcp.md with a URL, with our address and token in the place of its own."""
    with open(ROOT + "/docs/mcp.md") as file:
        snippets = [json.loads(snippet) for snippet in re.findall(r"```json\n(.*?)```", file.read(), re.S)]
    found = [entry for config in snippets for entry in (config.get("mcpServers") or config["servers"]).values() if "url" in entry]
    assert len(found) >= 3
    for entry in found:
        assert entry["url"].startswith("http://127.0.0.1:") and entry["url"].endswith("/mcp")
        headers = {name: re.sub(r"\$\{[\w:]+\}", "a", value) for name, value in entry["headers"].items()}
        assert post(server, message("ping", {}), headers, address=server.tcp).status == 200

"""`pyexec mcp`: its messages in both eras of the protocol; the official SDKs are in test_mcp_sdk.py."""
import base64
import json
import os
import re
import signal
import subprocess
import time

import pytest

from conftest import ROOT
from mcp_stdio import META, Client, text

LEGACY = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"]
TOOLS = ["run_python", "interrupt", "reset_session", "list_files", "read_file", "write_file", "get_execution", "cancel_execution"]
MODERN = "2026-07-28"
EXTENDED = {"tools": {}, "extensions": {"io.modelcontextprotocol/tasks": {}}}


@pytest.fixture
def client(own, nothing_left):
    with Client(own, "--files", "full") as made:
        yield made


def meta(**more):
    return {**META, **more}


# ---- Versions ----

@pytest.mark.parametrize("version", LEGACY)
def test_each_legacy_version_is_agreed_to(own, version):
    with Client(own, version=version) as client:
        assert client.info["protocolVersion"] == version
        tasks = {"tasks": {"cancel": {}, "requests": {"tools": {"call": {}}}}} if version == "2025-11-25" else {}
        assert client.info["capabilities"] == {"tools": {}, **tasks} and client.info["serverInfo"]["name"] == "pyexec"
        result = client.ask("tools/list")["result"]
        assert [tool["name"] for tool in result["tools"]] == TOOLS
        assert result.keys() == {"tools"}       # no member of the modern era
        assert client.ask("ping")["result"] == {}


def test_an_unknown_version_is_answered_with_the_newest_of_its_era(own):
    with Client(own, version="2031-01-01") as client:
        assert client.info["protocolVersion"] == "2025-11-25"


def test_a_modern_request_needs_no_handshake_and_says_all_about_itself(own):
    with Client(own, version=None) as client:
        found = client.ask("server/discover", _meta=META)["result"]
        assert found["supportedVersions"] == [MODERN, *reversed(LEGACY)] and found["capabilities"] == EXTENDED
        listed = client.ask("tools/list", _meta=META)["result"]
        ran = client.call("run_python", META, code="2 + 3")
        for result in (found, listed, ran):
            assert result["resultType"] == "complete"
            assert result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "pyexec"
        for result in (found, listed):
            assert result["ttlMs"] > 0 and result["cacheScope"] == "private"
        assert ran["structuredContent"]["last_value_repr"] == "5"


def test_both_eras_are_served_on_one_connection(client):
    client.call("run_python", session_id="s", code="a = 1")
    assert text(client.call("run_python", META, session_id="s", code="a")) == "1"
    assert client.ask("ping")["result"] == {}


def test_an_unsupported_version_is_told_which_are(client):
    error = client.ask("tools/list", _meta={**META, "io.modelcontextprotocol/protocolVersion": "1900-01-01"})["error"]
    assert error["code"] == -32022
    assert error["data"]["requested"] == "1900-01-01" and MODERN in error["data"]["supported"]


@pytest.mark.parametrize("envelope", [
    {"io.modelcontextprotocol/protocolVersion": MODERN},
    {"io.modelcontextprotocol/protocolVersion": 3, "io.modelcontextprotocol/clientCapabilities": {}},
    {"io.modelcontextprotocol/protocolVersion": MODERN, "io.modelcontextprotocol/clientCapabilities": 1},
])
def test_half_an_envelope_is_refused(client, envelope):
    error = client.ask("tools/list", _meta=envelope)["error"]
    assert error["code"] == -32602 and "clientCapabilities" in error["message"]


def test_discover_needs_an_envelope(client):
    assert client.ask("server/discover")["error"]["code"] == -32602


@pytest.mark.parametrize("method, params", [("ping", {"_meta": META}), ("nothing", {}), ("nothing", {"_meta": META}),
                                            ("resources/list", {}), ("prompts/list", {"_meta": META}), ("logging/setLevel", {})])
def test_methods_that_are_not_there_are_said_to_be_missing(client, method, params):
    assert client.ask(method, **params)["error"]["code"] == -32601


def test_trace_context_and_other_metadata_are_taken(client):
    trace = meta(traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", tracestate="a=b", **{"com.example/x": 1})
    assert text(client.call("run_python", trace, code="1")) == "1"


# ---- Lines ----

@pytest.mark.parametrize("line, code", [
    (b"garbage", -32700), (b"{", -32700), (b"\xff\xfe", -32700), (b"[]", -32600), (b"1", -32600),
    (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', -32600), (b'{"id":1,"method":"ping"}', -32600),
    (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600), (b'{"jsonrpc":"2.0","id":[],"method":"ping"}', -32600),
    (b'{"jsonrpc":"2.0","id":"x","method":"ping","params":[]}', -32602), (b'{"jsonrpc":"2.0","id":"x","result":{}}', -32600)])
def test_a_bad_line_gets_an_error_and_disturbs_nothing(client, line, code):
    client.line(line)
    assert client.read()["error"]["code"] == code
    assert client.ask("ping")["result"] == {}


def test_what_json_has_and_strings_do_not_is_answered_under_its_id(client):
    client.line(b'{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{"name":"run_python","arguments":{"code":"\\ud800"}}}')
    answer = client.read()
    assert answer["id"] == "x" and answer["error"]["code"] == -32602 and "arguments.code" in answer["error"]["message"]


def test_notifications_are_never_answered(client):
    for method in ("notifications/initialized", "notifications/nothing", "ping", "notifications/cancelled"):
        client.line({"jsonrpc": "2.0", "method": method})
    client.line({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 99}})
    assert client.ask("ping")["result"] == {}


def test_ids_come_back_as_they_were(client):
    for given in ("7", 7, "", "é\n", -1):
        client.line({"jsonrpc": "2.0", "id": given, "method": "ping"})
        assert client.read()["id"] == given


# ---- Tools ----

def test_the_description_says_what_the_policy_is(own):
    with Client(own, "--allowed-imports", "math,json", "--timeout", "1500ms", "--max-threads", "3") as client:
        said = client.ask("tools/list")["result"]["tools"][0]["description"]
    assert "no others: math, json." in said and "1500 ms" in said and "3 threads" in said
    assert "Files: none" in said and "Network: none" in said and "last expression" in said
    with Client(own, "--any-import", "--files", "read", "--network") as client:
        tool = client.ask("tools/list")["result"]["tools"][0]
    assert "display()" in tool["description"]
    assert "Any module that is installed may be imported." in tool["description"] and "may be read" in tool["description"]
    assert "Network: the host's network" in tool["description"] and tool["annotations"]["openWorldHint"] is True


def test_the_structured_content_is_the_result_object(client, own):
    of_run = own.result("print('a')\n1 + 1")
    of_tool = client.call("run_python", code="print('a')\n1 + 1")["structuredContent"]
    assert of_tool.keys() == of_run.keys()
    for key in of_run.keys() - {"usage"}:
        assert of_tool[key] == of_run[key], key


@pytest.mark.parametrize("code, shown", [
    ("1", "1"), ("print('a')", "a\n"), ("print('a')\n2", "a\nvalue: 2"), ("None", "(no output)"), ("x = 1", "(no output)"),
    ("print('é' * 3, end='')\n'z'", "ééé\nvalue: 'z'")])
def test_the_text_is_what_a_person_would_want_to_see(client, code, shown):
    result = client.call("run_python", code=code)
    assert text(result) == shown and result["isError"] is False


def test_a_failed_script_is_a_tool_error_with_a_hint_and_once(client):
    result = client.call("run_python", code="import subprocess")
    assert result["isError"] is True and text(result).count("import 'subprocess' not allowed") == 1
    assert "Allowed modules" in text(result) and result["structuredContent"]["status"] == "error"


@pytest.mark.parametrize("code, status", [("while True: pass", "timeout"), ("x = bytearray(1 << 40)", "memory_limit"), ("import time\ntime.sleep(9)", "timeout")])
def test_limits_are_tool_errors_and_named(own, code, status):
    with Client(own, "--timeout", "300ms") as client:
        result = client.call("run_python", code=code)
    assert result["isError"] is True and result["structuredContent"]["status"] == status and "status: " + status in text(result)


def test_long_output_keeps_its_start_and_its_end(client):
    result = client.call("run_python", code="print('start' + 'é' * 100000 + 'end')")
    assert len(text(result).encode()) < 25000 and text(result).startswith("start") and text(result).endswith("end\n")
    assert "bytes left out" in text(result) and len(result["structuredContent"]["stdout"]) == 100009


def test_a_syntax_error_is_told_once(client):
    assert text(client.call("run_python", code="x ==== 1")).count("invalid syntax") == 1


def test_output_beyond_the_limit_is_said_to_be_cut(own):
    with Client(own, "--max-stdout-bytes", "10") as client:
        assert "[stdout is cut: the script wrote 101 bytes]" in text(client.call("run_python", code="print('a' * 100)"))


def test_changed_files_are_named(client):
    assert "files: out.csv (created, 3 bytes)" in text(client.call("run_python", code="open('out.csv', 'w').write('a,b')"))


def test_a_session_that_was_lost_is_told_of(client):
    client.call("run_python", session_id="s", code="a = 1")
    client.call("reset_session", session_id="s")
    assert "the earlier state of the session is lost (closed)" in text(client.call("run_python", session_id="s", code="1"))


@pytest.mark.parametrize("arguments, said", [
    ({}, "code: missing"), ({"kode": "1"}, "Did you mean 'code'?"), ({"code": 1}, "code: not a string"),
    ({"code": "1", "session_id": 1}, "session_id: not a string"), ({"code": "1", "session_id": "a\0b"}, "without NUL"),
    ({"code": "1", "session_id": "a/b"}, "session_id"), ({"code": "1", "session_id": ""}, "session_id"),
    ({"code": "1", "timeout_ms": 1.5}, "timeout_ms: not an integer"), ({"code": "1", "timeout_ms": 0}, "timeout_ms"),
    ({"code": "1", "files": []}, "files: not an object"), ({"code": "1", "files": {"../x": ""}}, "outside sandbox"),
    ({"code": "1", "workspace": "/tmp"}, "takes no argument 'workspace'"), ({"code": "1\0"}, "NUL"),
    ({"code": "1", "policy": {}}, "takes no argument 'policy'"), ({"code": "1", "timeout_ms": 86400000}, "timeout_ms")])
def test_bad_arguments_are_tool_errors_that_say_what_is_wrong(client, arguments, said):
    result = client.call("run_python", **arguments)
    assert result["isError"] is True and said in text(result) and "structuredContent" not in result


def test_bad_arguments_were_protocol_errors_before(own):
    with Client(own, version="2025-06-18") as client:
        assert client.wait(client.start("run_python", kode="1"))["error"]["code"] == -32602
        assert client.call("run_python", META, kode="1")["isError"] is True


@pytest.mark.parametrize("params", [{"name": "nothing"}, {}, {"name": 1}, {"name": "run_python", "arguments": []}, {"name": "run_python", "arguments": "x"}])
def test_unknown_tools_and_malformed_calls_are_protocol_errors(client, params):
    assert client.ask("tools/call", **params)["error"]["code"] == -32602
    assert client.ask("tools/call", _meta=META, **params)["error"]["code"] == -32602


def test_there_is_one_page_of_tools(client):
    assert client.ask("tools/list", cursor="x")["error"]["code"] == -32602


def test_the_policy_is_the_most_that_a_call_may_have(own):
    with Client(own, "--timeout", "2s") as client:
        assert "invalid_policy" in text(client.call("run_python", code="1", timeout_ms=2001))
        assert text(client.call("run_python", code="1", timeout_ms=1999)) == "1"
        assert "files" in text(client.call("run_python", code="1", files={"a": "b"}))


# ---- Sessions and files ----

def test_a_session_keeps_its_state_and_a_run_without_one_has_none(client):
    client.call("run_python", session_id="s", code="a = 40")
    assert text(client.call("run_python", session_id="s", code="a + 2")) == "42"
    assert "NameError" in text(client.call("run_python", code="a"))


def test_calls_of_one_session_run_in_the_order_of_their_lines(client):
    numbers = [client.start("run_python", session_id="s", code="n = [] if 'n' not in globals() else n\nn.append(%d)\nn" % i) for i in range(20)]
    # The answers themselves may come in any order.
    answers = [json.loads(text(client.wait(number)["result"])) for number in numbers]
    assert answers == [list(range(i + 1)) for i in range(20)]


def test_files_are_written_listed_and_read(client):
    assert client.call("write_file", session_id="s", path="d/a.txt", content="hé")["structuredContent"] == {"path": "d/a.txt", "bytes": 3}
    listed = client.call("list_files", session_id="s")
    assert listed["structuredContent"] == {"files": [{"path": "d/a.txt", "bytes": 3}]} and text(listed) == "d/a.txt (3 bytes)\n"
    read = client.call("read_file", session_id="s", path="d/a.txt")
    assert text(read) == "hé" and read["structuredContent"] == {"path": "d/a.txt", "bytes": 3, "content": "hé"}
    assert text(client.call("run_python", session_id="s", code="open('d/a.txt').read()")) == "'hé'"


def test_bytes_and_images_are_read_as_what_they_are(client):
    for magic, kind in ((b"\x89PNG\r\n\x1a\n", "image/png"), (b"\xff\xd8\xff\xe0", "image/jpeg"), (b"GIF89a\xff", "image/gif"), (b"RIFF\xff\xff\xff\xffWEBP", "image/webp")):
        encoded = base64.b64encode(magic + b"\0rest").decode()
        client.call("write_file", session_id="s", path="x", content_base64=encoded)
        result = client.call("read_file", session_id="s", path="x")
        assert result["content"] == [{"type": "image", "data": encoded, "mimeType": kind}]
        assert result["structuredContent"]["content_base64"] == encoded
    client.call("write_file", session_id="s", path="x", content_base64="/w==")
    assert "1 bytes that are not text" in text(client.call("read_file", session_id="s", path="x"))


@pytest.mark.parametrize("tool, arguments, said", [
    ("list_files", {}, "session_id: missing"), ("list_files", {"session_id": "never"}, "session_not_found"),
    ("interrupt", {"session_id": "never"}, "session_not_found"), ("read_file", {"session_id": "s", "path": "no"}, "no"),
    ("read_file", {"session_id": "s", "path": "../../etc/passwd"}, "outside sandbox"), ("read_file", {"session_id": "s", "path": "/etc/passwd"}, "outside sandbox"),
    ("write_file", {"session_id": "s", "path": "x"}, "content"), ("write_file", {"session_id": "s", "path": "x", "content": "a", "content_base64": "YQ=="}, "content"),
    ("write_file", {"session_id": "s", "path": "x", "content_base64": "!"}, "base64"), ("write_file", {"session_id": "s", "path": "a\0b", "content": ""}, "NUL"),
    ("write_file", {"session_id": "s/t", "path": "x", "content": ""}, "session_id")])
def test_what_can_not_be_done_with_files_is_a_tool_error(client, tool, arguments, said):
    client.call("run_python", session_id="s", code="1")
    result = client.call(tool, **arguments)
    assert result["isError"] is True and said in text(result)


def test_a_large_file_is_to_be_read_in_python(client):
    client.call("run_python", session_id="s", code="open('big', 'wb').write(bytes(9 << 20))")
    assert "more than 8388608" in text(client.call("read_file", session_id="s", path="big"))


def test_resetting_what_is_not_there_is_no_error(client):
    assert client.call("reset_session", session_id="never")["structuredContent"] == {"session_id": "never", "existed": False}


# ---- Time ----

def test_interrupt_stops_the_call_and_keeps_the_state(client):
    client.call("run_python", session_id="s", code="x = 5")
    endless = client.start("run_python", session_id="s", code="while True: pass")
    time.sleep(0.3)
    assert client.call("interrupt", session_id="s")["isError"] is False
    stopped = client.wait(endless)["result"]
    assert stopped["isError"] is True and "KeyboardInterrupt" in text(stopped)
    assert text(client.call("run_python", session_id="s", code="x")) == "5"


@pytest.mark.parametrize("modern", [False, True])
def test_a_cancelled_call_is_stopped_and_not_answered(client, modern):
    client.call("run_python", session_id="s", code="x = 5")
    endless = client.start("run_python", META if modern else None, session_id="s", code="while True: pass")
    client.line({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": endless, "reason": "enough"}})
    began = time.monotonic()
    assert text(client.call("run_python", session_id="s", code="x")) == "5"
    assert time.monotonic() - began < 1.5       # the loop has two seconds of CPU time
    assert not any(message.get("id") == endless for message in client.held)


def test_progress_grows_and_ends_with_the_call(client):
    number = client.start("run_python", {"progressToken": "t"}, code="import time\ntime.sleep(2.4)")
    client.wait(number)
    steps = [message["params"] for message in client.held if message.get("method") == "notifications/progress"]
    assert len(steps) == 3 and all(step["progressToken"] == "t" for step in steps)
    assert steps[0]["progress"] == 0 and steps[0]["progress"] < steps[1]["progress"] < steps[2]["progress"]
    client.held.clear()
    time.sleep(1.2)
    assert client.ask("ping")["result"] == {} and client.held == []


def test_without_a_token_there_is_no_progress(client):
    client.call("run_python", code="import time\ntime.sleep(1.2)")
    assert client.held == []


def test_many_calls_run_at_once(client):
    numbers = [client.start("run_python", code="import time\ntime.sleep(2)\n%d" % i) for i in range(4)]
    began = time.monotonic()
    assert [text(client.wait(number)["result"]) for number in numbers] == ["0", "1", "2", "3"]
    assert time.monotonic() - began < 7.5       # one after another they would take 8 s


# ---- The end ----

def test_the_end_of_input_cancels_what_runs_and_leaves_nothing(own, nothing_left):
    client = Client(own, "--timeout", "60s", "--cpu-time-seconds", "60")
    client.start("run_python", session_id="s", code="while True: pass")
    client.start("run_python", {"progressToken": 1}, code="import time\ntime.sleep(50)")
    time.sleep(0.3)
    began = time.monotonic()
    client.process.stdin.close()
    assert client.process.wait(60) == 0 and time.monotonic() - began < 5
    client.process.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_and_leaves_nothing(own, nothing_left, number):
    client = Client(own)
    client.start("run_python", session_id="s", code="import time\ntime.sleep(4)")
    time.sleep(0.3)
    client.process.send_signal(number)
    assert client.process.wait(60) == 0
    client.process.stdin.close()
    client.process.stdout.close()


def test_a_client_that_is_gone_is_noticed(own, nothing_left):
    client = Client(own)
    client.start("run_python", code="1")
    client.process.stdout.close()
    for _ in range(20):
        try:
            client.start("run_python", code="1")
        except BrokenPipeError:
            break
        time.sleep(0.05)
    assert client.process.wait(60) == 1
    try:
        client.process.stdin.close()
    except BrokenPipeError:
        pass


def test_standard_output_has_the_protocol_alone_and_standard_error_nothing(own):
    process = own.popen("mcp", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "run_python", "arguments": {
        "code": "import time\nprint('x')\nraise SystemExit(3)"}}}
    process.stdin.write(json.dumps(call).encode() + b"\n")
    process.stdin.flush()
    assert json.loads(process.stdout.readline())["result"]["structuredContent"]["exit_code"] == 3
    assert process.communicate()[:] == (b"", b"")


def test_a_policy_that_can_not_be_is_said_on_standard_error(own):
    done = own.run("mcp", "--timeout", "0")
    assert done.returncode == 125 and done.stdout == b"" and b"timeout" in done.stderr


def test_ordinary_users_are_served_too(pyexec, nothing_left):
    with Client(pyexec) as client:
        assert text(client.call("run_python", session_id="s", code="6 * 7")) == "42"


def test_the_configurations_in_the_documentation_start_it(own):
    """Each JSON snippet of docs/mcp.md and the one of the README, with our program in the place of its command."""
    found = []
    for name in ("docs/mcp.md", "README.md"):
        with open(os.path.join(ROOT, name)) as file:
            page = file.read()
        found += re.findall(r"```json\n(.*?)```", page, re.S) + re.findall(r'^    (\{"mcpServers".*\})$', page, re.M)
    assert len(found) >= 4
    for snippet in found:
        config = json.loads(snippet)
        servers = config.get("mcpServers") or config["servers"]
        for server in servers.values():
            if "command" not in server:
                continue
            assert server["command"] == "pyexec" and server["args"][0] == "mcp"
            with Client(own, *server["args"][1:]) as client:
                assert text(client.call("run_python", code="6 * 7")) == "42"

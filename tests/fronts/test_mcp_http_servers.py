# SPDX-License-Identifier: Apache-2.0
"""Code mode with servers over Streamable HTTP. The servers here are scripted (tests/support/http_mcp.py);
test_mcp_real_servers.py has those of npm and PyPI."""
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time

import pytest

from conftest import BUILD
from code_mode import described, error, start, value       # noqa: F401 (a fixture)
from http_mcp import TEXT, VERSION, Server, tool
from mcp_stdio import text
from waiting import wait_until

pytestmark = pytest.mark.skipif(not os.path.exists(BUILD + "/pyexec-mcp-http"), reason="this build has no libcurl")


def run(client, code):
    return value(client.call("run_python", code=code))


@pytest.fixture
def server():
    with Server() as made:
        yield made


def entry(server, **more):
    return {"url": server.url, **more}


# ---- Both eras ----

@pytest.mark.parametrize("events", [False, True])
@pytest.mark.parametrize("era", ["sessions", "no-sessions", "modern"])
def test_servers_of_each_era_with_json_and_with_events(start, era, events):
    with Server(modern=era == "modern", sessions=era == "sessions", events=events) as server:
        client = start({"shop": entry(server)})
        assert run(client, "[shop.say(str(n)) for n in range(5)]") == list("01234")
        assert run(client, "import shop\nshop.say('é \\n \\u2028 \"')") == "é \n \u2028 \""
        calls = server.of("tools/call")
        assert {request.headers["MCP-Protocol-Version"] for request in calls} == {"2026-07-28" if era == "modern" else "2025-11-25"}
        assert {request.headers["Mcp-Session-Id"] is not None for request in calls} == {era == "sessions"}
        assert {request.headers["Accept"] for request in calls} == {"application/json, text/event-stream"}
        if era == "modern":
            assert {(request.headers["Mcp-Method"], request.headers["Mcp-Name"]) for request in calls} == {("tools/call", "say")}
            assert all(request.params["_meta"][VERSION] == "2026-07-28" for request in calls)
        else:
            assert [request.method for request in server.requests[:2]] == ["initialize", "notifications/initialized"]
            assert server.requests[0].headers["MCP-Protocol-Version"] is None


def test_a_session_ends_with_the_program(start, server):
    client = start({"shop": entry(server)})
    run(client, "shop.say('a')")
    assert len(server.alive) == 1
    client.process.stdin.close()
    client.process.wait(60)
    wait_until(lambda: not server.alive)


@pytest.mark.parametrize("how", ["404", "400"])
def test_a_lost_session_is_begun_again_and_the_call_is_made_once(start, server, how):
    client = start({"shop": entry(server)})
    assert run(client, "shop.say('a')") == "a"
    real, server.tools["new"] = server.answer, server.tools["say"]
    if how == "400":        # servers that follow the examples of the TypeScript SDK do this
        def answer(request):
            if request.method not in ("initialize", None) and request.headers["Mcp-Session-Id"] not in server.alive:
                return request.error(400, -32000, "Bad Request: No valid session ID provided")
            return real(request)
        server.answer = answer
    server.alive.clear()
    del server.requests[:]
    assert run(client, "shop.say('b'), shop.say('c')") == ("b", "c")
    assert len(server.of("initialize")) == 1 and server.of("initialize")[0].headers["Mcp-Session-Id"] is None
    assert len(server.of("tools/call")) == 3
    wait_until(lambda: "def new(" in described(client))      # the list is read again


def test_a_server_that_forgets_each_session_is_an_error(start, server):
    client = start({"shop": entry(server)})
    real = server.answer
    server.answer = lambda request: request.error(404, -32001, "gone") if request.method == "tools/call" else real(request)
    assert "gone" in error(client, "shop.say('a')")
    assert len(server.of("initialize")) < 5


def test_many_calls_at_once_are_answered_each_with_its_own(start, server):
    server.tools["slow"] = lambda r: (time.sleep(0.2), r.text(r.arguments["text"]))
    client = start({"shop": entry(server)}, "--allow-import", "asyncio")
    code = "import asyncio\nawait asyncio.gather(*(shop.aio.slow(str(n)) for n in range(40)))"
    assert run(client, code) == [str(n) for n in range(40)]


def test_notifications_and_requests_in_a_stream_disturb_nothing(start, server):
    def chatty(request):
        messages = [{"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progress": 1}},
                    {"jsonrpc": "2.0", "id": "server-1", "method": "ping"},
                    {"jsonrpc": "2.0", "id": "server-2", "method": "sampling/createMessage", "params": {}}]
        request.stream([*map(json.dumps, messages), request.wrap(result={"content": [{"type": "text", "text": "after them"}]})])
    server.tools["chatty"] = chatty
    client = start({"shop": entry(server)})
    assert run(client, "shop.chatty()") == "after them"
    wait_until(lambda: {request.message.get("id") for request in server.requests if request.http == "POST" and request.method is None} >= {"server-1", "server-2"})
    answers = {request.id: request.message for request in server.requests if request.http == "POST" and request.method is None}
    assert answers["server-1"]["result"] == {} and answers["server-2"]["error"]["code"] == -32601


def test_a_changed_list_is_announced_in_the_stream_of_a_get(start, server):
    changed = threading.Event()

    def get(request):
        request.begin()
        request.write(": here\n\n")
        while not server.over.wait(0.05):
            if changed.is_set():
                request.write('data: {"jsonrpc":"2.0",\ndata: "method":"notifications/tools/list_changed"}\n\n')
                break
        server.over.wait(60)
    server.get = get
    client = start({"shop": entry(server)})
    assert "new_one" not in described(client)
    server.tools["new_one"] = server.tools["say"]
    wait_until(lambda: any(request.http == "GET" for request in server.requests))
    changed.set()
    wait_until(lambda: "new_one" in described(client))




def test_arguments_go_into_headers_when_a_tool_of_the_modern_era_wants_it(start):
    region = {"type": "string", "x-mcp-header": "Region"}
    with Server(modern=True) as server:
        server.tools["headers"] = lambda r: r.text(json.dumps({name[10:]: value for name, value in r.headers.items() if name.startswith("Mcp-Param-")}))
        server.tools["bad"] = server.tools["nested"] = server.tools["headers"]
        inner = {"type": "object", "properties": {"count": {"type": "integer", "x-mcp-header": "Count"}, "on": {"type": "boolean", "x-mcp-header": "On"}}}
        server.listed = [tool("headers", region=region, limits=inner, plain=TEXT), tool("say", text=TEXT),
                         tool("bad", several={"type": "array", "items": region}), tool("nested", a=region, b={"type": "string", "x-mcp-header": "region"})]
        client = start({"shop": entry(server)})
        assert json.loads(run(client, "shop.headers('us-west1', {'count': -7, 'on': True}, 'p')")) == {"Region": "us-west1", "Count": "-7", "On": "true"}
        assert json.loads(run(client, "shop.headers(' é\\r\\nX: y')")) == {"Region": "=?base64?IMOpDQpYOiB5?="} and json.loads(run(client, "shop.headers()")) == {}
        assert run(client, "dir(shop)")[-2:] == ["headers", "say"]     # the definitions of the others are not valid


def test_a_modern_call_that_is_cancelled_ends_its_connection_and_a_legacy_one_is_told(start, monkeypatch):
    monkeypatch.setenv("PYEXEC_MCP_CALL_TIMEOUT", "1s")
    with Server(modern=True) as modern, Server() as legacy:
        closed = threading.Event()

        def hangs(request):
            request.begin()
            while not closed.is_set() and not modern.over.is_set():
                try:
                    request.write(": waiting\n\n")
                    time.sleep(0.1)
                except OSError:
                    closed.set()
        modern.tools["hangs"] = hangs
        legacy.tools["hangs"] = lambda request: legacy.over.wait(60)
        client = start({"modern": entry(modern), "legacy": entry(legacy)})
        assert "gave no answer within call_timeout=1000 ms" in error(client, "modern.hangs()")
        assert closed.wait(60) and not modern.of("notifications/cancelled")
        assert "gave no answer within call_timeout=1000 ms" in error(client, "legacy.hangs()")
        wait_until(lambda: legacy.cancelled)
        assert legacy.cancelled == [legacy.of("tools/call")[0].id]


# ---- Headers and secrets ----

def test_headers_come_from_the_entry_and_variables_are_replaced(start, server, monkeypatch):
    monkeypatch.setenv("TOKEN_FOR_SHOP", "s3cret-of-the-shop")
    client = start({"shop": entry(server, headers={"Authorization": "Bearer ${TOKEN_FOR_SHOP}", "X-Team": "${NOT_THERE:-tools}"}, type="http")})
    assert run(client, "shop.say('a')") == "a"
    posts = [request for request in server.requests if request.http == "POST"]
    assert {(request.headers["Authorization"], request.headers["X-Team"]) for request in posts} == {("Bearer s3cret-of-the-shop", "tools")}


def test_no_secret_is_shown_to_scripts_in_messages_or_to_other_processes(start, server, monkeypatch):
    secret = "s3cret-of-the-shop"
    monkeypatch.setenv("TOKEN_FOR_SHOP", secret)
    server.tools["headers"] = lambda r: r.text(str(dict(r.headers)))
    server.tools["refuses"] = lambda r: r.send(401, "no: " + r.headers["Authorization"])
    server.tools["breaks"] = lambda r: r.error(400, -32000, "token %s is not enough" % secret)
    client = start({"shop": {"url": server.url + "?key=${TOKEN_FOR_SHOP}", "headers": {"Authorization": "Bearer ${TOKEN_FOR_SHOP}", "X-Api-Key": "literal-secret"}}})
    shown = run(client, "shop.headers()")
    assert "Bearer" in shown and "*" * len(secret) in shown and secret not in shown and "literal-secret" not in shown
    assert "credentials" in error(client, "shop.refuses()") and secret not in error(client, "shop.refuses()")
    assert "is not enough" in error(client, "shop.breaks()") and secret not in error(client, "shop.breaks()")
    server.stop()
    assert secret not in error(client, "shop.say('a')")
    found = [pid for pid in os.listdir("/proc") if pid.isdigit() and int(pid) != os.getpid() and "mcp-http" in command(pid)]
    assert found
    for pid in found:
        assert secret not in command(pid)
        try:
            with open("/proc/%s/environ" % pid, "rb") as file:
                assert secret.encode() not in file.read()
        except PermissionError:
            pass        # this is allowed too


def command(pid):
    try:
        with open("/proc/%s/cmdline" % pid) as file:
            return file.read()
    except OSError:
        return ""


# ---- TLS ----

@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Makes a certificate for 127.0.0.1, signed by an unknown authority."""
    if not shutil.which("openssl"):
        pytest.skip("there is no openssl")
    folder = tmp_path_factory.mktemp("tls")
    folder.chmod(0o755)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem"),
                    "-days", "30", "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    os.chmod(folder / "cert.pem", 0o644)
    folder.parent.chmod(0o755)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context, folder / "cert.pem"


def test_certificates_are_verified(start, certificate, tmp_path, monkeypatch):
    context, authority = certificate
    with Server(context=context) as server:
        client = start({"shop": entry(server)})
        assert "MCP server 'shop' is not usable: %s/: its certificate can't be verified" % server.url[:-4] in described(client)
        assert not server.requests
        (tmp_path / "authority.pem").write_text(authority.read_text())
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
        assert run(start({"shop": entry(server)}), "shop.say('a')") == "a"


def test_a_certificate_of_another_host_is_refused(start, certificate, tmp_path, monkeypatch):
    context, authority = certificate
    (tmp_path / "authority.pem").write_text(authority.read_text())
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    with Server(context=context) as server:
        client = start({"shop": {"url": server.url.replace("127.0.0.1", "localhost")}})
        assert "its certificate can't be verified" in described(client) or "doesn't match" in described(client)
        assert not server.requests


# ---- Hostile and broken servers ----

def test_a_server_that_is_not_there_is_told_with_its_address(start, server):
    closed = socket.socket()
    closed.bind(("127.0.0.1", 0))       # nobody listens
    client = start({"shop": {"url": "http://127.0.0.1:%d/mcp?k=v" % closed.getsockname()[1]}, "other": entry(server)})
    told = described(client)
    assert "MCP server 'shop' is not usable: http://127.0.0.1:%d/: " % closed.getsockname()[1] in told and "k=v" not in told
    assert run(client, "other.say('a')") == "a"
    closed.close()


@pytest.mark.parametrize("status, why", [(401, "it refuses the credentials in its headers (HTTP 401)"), (403, "(HTTP 403)"), (500, "it answered with HTTP 500"),
                                         (404, "speaks no revision of MCP that pyexec knows"), (405, "speaks no revision"), (202, "has no response")])
def test_what_is_no_mcp_server_is_told(start, server, status, why):
    server.answer = lambda request: request.send(status, "<html>", "text/html")
    assert why in described(start({"shop": entry(server)}))


def test_redirects_are_followed_to_the_same_place_only(start, server):
    elsewhere = Server()
    with elsewhere:
        real = server.answer

        def moved(request):
            if request.path == "/mcp":
                return request.send(307, "", Location="/mcp/")
            if request.method == "tools/call" and request.arguments.get("text") == "away":
                return request.send(307, "", Location=elsewhere.url)
            if request.method == "tools/call" and request.arguments.get("text") == "round":
                return request.send(308, "", Location="/mcp/")
            return real(request)
        server.answer = moved
        client = start({"shop": entry(server, headers={"Authorization": "Bearer secret-token"})})
        assert run(client, "shop.say('a')") == "a"
        assert "it redirects to another address (HTTP 307), which is not followed" in error(client, "shop.say('away')")
        assert "it redirects" in error(client, "shop.say('round')")
        assert elsewhere.requests == []


def answers_another_id(request):
    request.send(200, json.dumps({"jsonrpc": "2.0", "id": request.id + 1, "result": {"content": [{"type": "text", "text": "of another"}]}}))


def streams_another_id(request):
    request.stream([json.dumps({"jsonrpc": "2.0", "id": request.id - 1, "result": {}})])


def half(request):
    request.handler.close_connection = True
    request.handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{\"jsonrpc\": ")
    request.hang_up()


def half_event(request):
    request.begin()
    request.write('data: {"jsonrpc": "2.0", "id": %d, "result": {}}\n' % request.id)


def flood(request):
    request.begin()
    event = 'data: {"jsonrpc":"2.0","method":"notifications/message","params":{"data":"%s"}}\n\n' % ("x" * 60000)
    for _ in range(1200):
        request.write(event)


def long_event(request):
    request.begin()
    request.write("data: ")
    for _ in range(400):
        request.write("z" * 65536)


def long_json(request):
    request.begin("application/json")
    for _ in range(400):
        request.write("z" * 65536)


def many_headers(request):
    request.handler.close_connection = True
    request.handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(20000):
        request.handler.wfile.write(b"X-%d: %s\r\n" % (number, b"h" * 100))


def bad_session(request):
    request.send(200, request.wrap(result={"content": []}), Mcp_Session_Id="a b")


@pytest.mark.parametrize("behave, why", [
    (answers_another_id, "has no response to the request"), (streams_another_id, "has no response to the request"),
    (lambda r: r.send(200, "5"), "has no response"), (lambda r: r.send(200, "{\"jsonrpc\":"), "has no response"), (lambda r: r.send(200, ""), "has no response"),
    (lambda r: r.send(200, "\0\xff" * 100, "text/plain"), "has no response"), (half, "ended the connection before its answer was complete"),
    (half_event, "has no response"), (lambda r: r.hang_up(), "ended the connection before its answer was complete"), (flood, "64 MiB of events without answering"),
    (long_event, "an event longer than 16 MiB"), (long_json, "its answer is longer than 16 MiB"), (many_headers, "its headers are longer than 256 KiB"),
    (bad_session, "its Mcp-Session-Id has characters that are not allowed"), (lambda r: r.send(503, "later"), "it answered with HTTP 503"),
])
def test_a_bad_answer_is_an_error_of_its_call_alone(start, server, behave, why):
    server.tools["bad"] = behave
    client = start({"shop": entry(server)})
    assert why in error(client, "shop.bad()")
    assert run(client, "shop.say('still there')") == "still there"


def test_a_slow_drip_ends_with_call_timeout(start, server, monkeypatch):
    monkeypatch.setenv("PYEXEC_MCP_CALL_TIMEOUT", "2s")

    def drip(request):
        request.begin("application/json")
        while not server.over.wait(0.1):
            request.write(" ")
    server.tools["drips"] = drip
    client = start({"shop": entry(server)})
    assert "gave no answer within call_timeout=2000 ms" in error(client, "shop.drips()")
    assert run(client, "for _ in range(50):\n    try: told = shop.say('a'); break\n    except ToolError: pass\ntold") == "a"


def test_a_stream_that_stays_open_after_its_answer_keeps_nobody_waiting(start, server):
    def stays(request):
        request.stream([request.wrap(result={"content": [{"type": "text", "text": "a"}]})])
        server.over.wait(60)
    server.tools["stays"] = stays
    client = start({"shop": entry(server)})
    assert run(client, "[shop.stays() for _ in range(3)]") == ["a"] * 3


def test_a_server_that_never_answers_is_given_up_and_the_others_go_on(start, server, monkeypatch):
    monkeypatch.setenv("PYEXEC_MCP_START_TIMEOUT", "2s")
    with Server() as silent:
        silent.answer = lambda request: silent.over.wait(60)
        client = start({"shop": entry(silent), "other": entry(server)})
        # On a busy machine the other server may be too late as well; then it is tried again.
        wait_until(lambda: "MCP server 'shop' was ended: it did not answer within [mcp] start_timeout" in described(client) and "class other" in described(client))
        assert run(client, "other.say('a'), 'shop' in globals()") == ("a", False)


def test_a_server_that_ends_and_comes_back_is_used_again(start):
    with Server() as first:
        client = start({"shop": entry(first)})
        assert run(client, "shop.say('a')") == "a"
        port = first.http.server_port
    assert error(client, "shop.say('b')")
    second = Server()
    second.http.server_close()
    second.http = type(second.http)(("127.0.0.1", port), second.http.RequestHandlerClass)
    second.http.daemon_threads, second.http.owner = True, second
    with second:
        assert run(client, "shop.say('c')") == "c"


# ---- The file of servers ----

@pytest.mark.parametrize("fields, why", [
    ({"url": "ftp://x/"}, "url must begin with http:// or https://"), ({"url": 5}, "url is not a string"), ({"url": "http://a b/"}, "url must begin with"),
    ({"url": "http://x/", "command": "y"}, "has a command and a url"), ({"url": "http://x/", "type": "sse"}, "type sse is the transport of revision 2024-11-05"),
    ({"url": "http://x/", "type": "carrier-pigeon"}, "the type of a server with a url can't be 'carrier-pigeon'"), ({"url": "http://x/", "headers": []}, "headers is not an object"),
    ({"url": "http://x/", "headers": {"A B": "c"}}, "'A B' can't be a header's name"), ({"url": "http://x/", "headers": {"A": "b\r\nC: d"}}, "the value of A has characters that are not allowed"),
    ({"url": "http://x/", "headers": {"A": 5}}, "the value of A is not a string"), ({"url": "http://x/", "headers": {"Content-Length": "5"}}, "Content-Length is set by pyexec"),
    ({"url": "http://x/", "headers": {"Authorization": "Bearer ${NOT_THERE_AT_ALL}"}}, "the environment has no variable NOT_THERE_AT_ALL"),
])
def test_a_bad_entry_is_refused_at_the_start(tmp_path, fields, why):
    path = tmp_path / "servers.json"
    path.write_text(json.dumps({"mcpServers": {"a": fields}}))
    done = subprocess.run([BUILD + "/pyexec", "mcp", "--mcp-servers", str(path), "--python-bin", "/usr/bin/python3"], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 125 and why in done.stderr and "hint: " in done.stderr

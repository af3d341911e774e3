"""`pyexec serve` against bodies and results that are small as text, but large when parsed or slow to examine."""
import contextlib
import json
import os
import time

import pytest

from serving import dial, serving, token_line
from test_escape import read
from waiting import wait_until

pytestmark = pytest.mark.usefixtures("nothing_left")
POSTS = ["/v1/execute", "/v1/sessions", "/v1/sessions/s/execute", "/mcp", "/execute", "/contexts", "/v1/sandbox/run",
         "/v1/sandbox/dependencies/update", "/run_code"]
MCP = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
SANITIZED = bool(os.environ.get("SANITIZE"))        # a sanitizer adds its own memory

_, PRELUDE = read("prelude")
MIB = 1 << 20


@pytest.fixture(scope="module")
def server(own):
    with serving(own, "--e2b", "--dify-sandbox", "--sandbox-fusion", "--any-import", "--files", "full", "--audit-log",
                 "FOLDER/audit") as running:
        running.result("1")
        yield running


@pytest.fixture(autouse=True)
def nothing_left():
    """The same fixture as in test_serve.py."""


def most(server):
    """Returns the most bytes that the server has had in memory."""
    with open("/proc/%d/status" % server.process.pid) as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


@pytest.mark.parametrize("path", POSTS)
def test_a_body_of_many_values_is_not_parsed(server, path):
    body = b'{"code": "1", "workspace": [' + b"{}," * (10 * MIB) + b"{}]}"
    before, began = most(server), time.monotonic()
    answer = server.ask("POST", path, body, MCP)
    assert answer.status in (400, 422) or b'"code":-400' in answer.body, (answer.status, answer.body)
    assert b"256 MiB" in answer.body or path == "/v1/sessions", answer.body
    assert SANITIZED or most(server) - before < 100 * MIB
    assert SANITIZED or time.monotonic() - began < 30


def test_a_million_numbers_are_taken(server):
    assert server.result("sum(numbers)", inputs={"numbers": [1.5] * 1000000})["last_value_repr"] == "1500000.0"


@pytest.mark.parametrize("path", ["/v1/execute", "/execute"])
def test_variables_without_end_are_refused_soon(server, path):
    variables = {"variable%d" % i: "" for i in range(700000)}
    # In quadratic time it would take minutes.
    answer = server.ask("POST", path, {"code": "1", "env" if path.startswith("/v1") else "env_vars": variables}, timeout=60)
    assert b"env: larger than 65536 bytes" in answer.body


def test_a_variable_that_is_replaced_counts_once(server):
    value = "x" * 30000
    answer = server.result("import os\nlen(os.environ['A'])", env={"A": value, "B": value})
    assert answer["last_value_repr"] == "30000"


@pytest.mark.parametrize("path, more", [
    ("/v1/execute", lambda names: {"return_files": names}),
    ("/run_code", lambda names: {"language": "python", "fetch_files": names})])
def test_more_patterns_than_a_thousand_are_refused(server, path, more):
    names = ["f%d" % i for i in range(1001)]
    assert b"return_files: 1001 patterns" in server.ask("POST", path, {"code": "1", **more(names)}).body
    assert server.ask("POST", path, {"code": "1", **more(names[1:])}).status == 200


@pytest.mark.parametrize("path, more", [("/v1/execute", {}), ("/execute", {}), ("/run_code", {"language": "python"}),
                                        ("/v1/sandbox/run", {"language": "python3"})])
def test_displays_take_no_more_memory_than_they_may(server, path, more):
    code = PRELUDE + ("for n in range(100):\n"
                      "    send(field(DISPLAY, b'\\0'), field(DISPLAY_FORM, b'application/json'), field(DISPLAY_DATA, b'['))\n"
                      "    for _ in range(2):\n"
                      "        send(field(DISPLAY_DATA, b'{},' * 10000))\n"
                      "    send(field(DISPLAY_DATA, b'0]'), field(DISPLAY_END))\n"
                      "send(field(OUTCOME, b'\\0'), field(DONE))\nleave()\n")
    before = most(server)
    assert server.ask("POST", path, {"code": code, **more}).status == 200
    assert SANITIZED or most(server) - before < 200 * MIB


LARGE = {"code": "class Rich:\n    def _repr_html_(self): return 'x' * 8000000\ndisplay(Rich())"}


def test_answers_that_nobody_reads_are_bounded(own):
    """Each answer waits for more than half an hour. A client with too many unread answers gets no further runs; other clients do."""
    tokens = [token_line("alice", "alice"), token_line("bob", "bob")]
    with serving(own, "--e2b", "--any-import", tcp=True, tokens=tokens) as server, contextlib.ExitStack() as unread:
        server.result("1")
        for i in range(60):
            connection = unread.enter_context(contextlib.closing(dial(server.tcp)))
            path, accept = [("/v1/execute", "text/event-stream"), ("/v1/execute", "*/*"), ("/execute", "*/*")][i % 3]
            body = json.dumps(LARGE).encode()
            connection.sendall(("POST %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer alice\r\nAccept: %s\r\nContent-Length: %d\r\n\r\n"
                                % (path, accept, len(body))).encode() + body)
        wait_until(lambda: server.execute("1", address=server.tcp, token="alice").status == 503, "refused", 100)
        answer = server.execute("1", address=server.tcp, token="alice")
        assert answer.json()["code"] == "overloaded" and "unread responses" in answer.json()["title"] and answer.headers["Retry-After"] == "1"
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "run_python", "arguments": {"code": "1"}}}
        assert b"unread responses" in server.ask("POST", "/mcp", call, MCP, address=server.tcp, token="alice").body
        assert SANITIZED or most(server) < 900 * MIB
        assert server.execute("1", address=server.tcp, token="bob").status == 200
        unread.close()
        wait_until(lambda: server.execute("1", address=server.tcp, token="alice").status == 200, "taken again", 100)


@pytest.mark.parametrize("path, slow, large", [
    ("/execute", {"code": "import time\ntime.sleep(3)"}, {"code": "1"}),
    ("/mcp", *({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "run_python", "arguments": {
        "code": code, "session_id": "s"}}} for code in ("import time\ntime.sleep(3)", "1")))])
def test_parsed_bodies_that_wait_are_bounded(own, path, slow, large):
    """Each body has 4 MB, and about 100 MB when parsed. All are for one session, whose calls wait for each other."""
    body = json.dumps({**large, "more": [1] * 1700000}).encode()

    def send(unread, body):
        connection = unread.enter_context(contextlib.closing(dial(server.socket)))
        connection.sendall(("POST %s HTTP/1.1\r\nHost: localhost\r\nAccept: application/json, text/event-stream\r\nContent-Type: application/json\r\n"
                            "Content-Length: %d\r\n\r\n" % (path, len(body))).encode() + body)
        return connection

    with serving(own, "--e2b", "--any-import") as server, contextlib.ExitStack() as unread:
        send(unread, json.dumps(slow).encode())
        wait_until(lambda: server.metric("pyexec_running") == 1, "running")
        before = most(server)
        waiting = [send(unread, body) for _ in range(12)]
        statuses = [connection.recv(12)[9:] for connection in waiting]
        assert b"429" in statuses and b"200" in statuses and set(statuses) == {b"200", b"429"}, statuses
        assert SANITIZED or most(server) - before < 700 * MIB
        wait_until(lambda: server.execute("1").status == 200, "room again")

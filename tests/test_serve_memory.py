"""`pyexec serve` against bodies and results that are small as text and large once parsed, or slow to look through."""
import os
import time

import pytest

from serving import serving

pytestmark = pytest.mark.usefixtures("nothing_left")
POSTS = ["/v1/execute", "/v1/sessions", "/v1/sessions/s/execute", "/mcp", "/execute", "/contexts", "/v1/sandbox/run",
         "/v1/sandbox/dependencies/update", "/run_code"]
MCP = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
SANITIZED = bool(os.environ.get("SANITIZE"))        # whose memory is not the program's alone

PRELUDE = open(os.path.join(os.path.dirname(__file__), "escape", "prelude.py")).read()
MIB = 1 << 20


@pytest.fixture(scope="module")
def server(own):
    with serving(own, "--e2b", "--dify-sandbox", "--sandbox-fusion", "--any-import", "--files", "full", "--audit-log",
                 "FOLDER/audit") as running:
        running.result("1")
        yield running


@pytest.fixture(autouse=True)
def nothing_left():
    """As in test_serve.py."""


def most(server):
    """Bytes that the server has ever had in memory."""
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
    assert time.monotonic() - began < 10


def test_a_million_numbers_are_taken(server):
    assert server.result("sum(numbers)", inputs={"numbers": [1.5] * 1000000})["last_value_repr"] == "1500000.0"


@pytest.mark.parametrize("path", ["/v1/execute", "/execute"])
def test_variables_without_end_are_refused_soon(server, path):
    variables = {"variable%d" % i: "" for i in range(700000)}
    began = time.monotonic()
    answer = server.ask("POST", path, {"code": "1", "env" if path.startswith("/v1") else "env_vars": variables}, timeout=30)
    assert b"env: larger than 65536 bytes" in answer.body and time.monotonic() - began < 10


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

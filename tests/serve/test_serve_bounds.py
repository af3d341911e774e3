"""Resources that one client of `pyexec serve` could take from the others, and text that it could put into the log."""
import contextlib
import json
import time

import pytest

from serving import dial, raw, serving, statuses, token_line
from waiting import wait_until

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.mark.parametrize("format", ["text", "json"])
def test_no_session_id_forges_a_line_of_the_log(own, format):
    forged = "time=2001-01-01T00:00:00Z event=request status=200"
    ids = ["x%0A" + forged.replace(" ", "%20"), "x%0D" + forged.replace(" ", "%20"), "%C2%9B31m", "x%E2%80%A8y", "%7F%1B[2J",
           "%22%0Aforged", "y" * 8000]
    with serving(own, "--log-format", format) as server:
        for number, name in enumerate(ids):
            answer = server.ask("GET", "/v1/sessions/" + name, headers={"X-Request-Id": "bad-%d" % number})
            assert answer.status == 404, name
        wait_until(lambda: "bad-%d" % (len(ids) - 1) in server.log(), "the last request is not in the log")
        with open(server.log_path, "rb") as file:
            lines = file.read().split(b"\n")
    assert lines.pop() == b""
    for line in lines:
        assert b"bad-" not in line or (len(line) < 1500 and all(0x20 <= byte < 0x7f or byte == 0x7f for byte in line)), line
        assert line.startswith(b"time=2" if format == "text" else b'{"time":"2') and not line.startswith(b"time=2001"), line
    assert len([line for line in lines if b"bad-" in line]) == len(ids)


def test_a_method_forges_no_line(own):
    with serving(own, "--log-format", "text") as server:
        raw(server.socket, b"G=\"\x0bE /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n", timeout=2)
        server.ask("GET", "/healthz", headers={"X-Request-Id": "last"})
        wait_until(lambda: "last" in server.log(), "the last request is not in the log")
        assert all(line.startswith("time=2") for line in server.log().splitlines())


MIB = 1 << 20


def test_one_principal_leaves_room_for_the_bodies_of_others(own):
    """17 bodies of 31 MiB that are never completed would take all of the 512 MiB."""
    tokens = [token_line(name, name) for name in ("alice", "bob")]
    with serving(own, tcp=True, tokens=tokens) as server, contextlib.ExitStack() as unfinished:
        for _ in range(17):
            connection = unfinished.enter_context(contextlib.closing(dial(server.socket)))
            connection.sendall(b"POST /v1/execute HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer alice\r\n"
                               b"Content-Length: %d\r\n\r\n{" % (32 * MIB) + b" " * (31 * MIB))

        def ask(token):
            return server.ask("POST", "/v1/execute", b" " * (20 * MIB) + b'{"code": "1"}', token=token)
        refused = ask("alice")
        assert refused.status == 429 and refused.headers["Retry-After"], refused.body
        assert refused.json()["code"] == "overloaded" and "share" in refused.json()["title"] and refused.json()["hint"]
        assert ask("bob").status == 200
        unfinished.close()
        wait_until(lambda: ask("alice").status == 200, "the memory is not free again", seconds=60)


@pytest.mark.parametrize("path", ["/v1/execute", "/v1/sessions/s/files/f"])
def test_a_body_that_came_fast_may_not_rest(own, path):
    """Earlier, a quarter of a megabyte sent at once allowed a minute of silence, and a byte now and then extended it."""
    with serving(own, "--files", "full", config="[serve]\nidle_timeout = 1s\n") as server:
        server.ask("POST", "/v1/sessions", {"id": "s"})
        method = "POST" if path == "/v1/execute" else "PUT"
        with dial(server.socket) as sock:
            sock.sendall(("%s %s HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: slow\r\nContent-Length: %d\r\n\r\n"
                          % (method, path, MIB)).encode() + b" " * (MIB // 4))
            sock.settimeout(0.2)
            got, deadline = b"", time.monotonic() + 30
            while not got and time.monotonic() < deadline:
                with contextlib.suppress(TimeoutError):
                    got = sock.recv(65536)
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    sock.send(b" ")
        assert statuses(got) == [408], got
        problem = json.loads(got.split(b"\r\n\r\n")[1])
        assert problem["code"] == "request_timeout" and problem["status"] == 408 and problem["hint"] and b"problem+json" in got
        line, = server.wait_for_line(request_id="slow")
        assert line["status"] == 408 and line["outcome"] == "request_timeout", line


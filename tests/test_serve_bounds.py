"""What one client of `pyexec serve` can take from the others, or from whoever reads the log."""
import json

import pytest

from serving import raw, serving, statuses, token_line, wait_for

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
        wait_for(lambda: "bad-%d" % (len(ids) - 1) in server.log(), "the last request is not in the log")
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
        wait_for(lambda: "last" in server.log(), "the last request is not in the log")
        assert all(line.startswith("time=2") for line in server.log().splitlines())

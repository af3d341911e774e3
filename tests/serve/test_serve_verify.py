# SPDX-License-Identifier: Apache-2.0
"""POST /v1/verify: ceilings, the audit log, metrics, clients that go away (docs/verify.md)."""
import json

from serving import serving, token_line
from waiting import wait_until

SOLUTION = "def f(n):\n    while n < 0: pass\n    return n + 1"
TESTS = [{"call": "f", "args": [1], "expect": 2}, {"call": "f", "args": [2], "expect": 0}, {"code": "assert f(0) == 1"}]


def test_verdicts_over_http_and_what_is_recorded(own, tmp_path, nothing_left):
    audit = tmp_path / "audit"
    with serving(own, "--audit-log", str(audit)) as server:
        answer = server.ask("POST", "/v1/verify", {"solution": SOLUTION, "tests": TESTS})
        assert answer.status == 200 and [test["verdict"] for test in answer.json()["tests"]] == ["pass", "wrong", "pass"]
        assert answer.json()["summary"]["wrong"] == 1 and not answer.json()["passed"]
        assert server.wait_for_line(route="/v1/verify", status=200, outcome="failed")
        entry, = [json.loads(line) for line in audit.read_text().splitlines()]
        assert entry["verify"]["tests"] == 3 and entry["verify"]["passed"] == 2 and len(entry["code_sha256"]) == 64
        assert b'pyexec_executions_total{status="ok"} 4' in server.ask("GET", "/metrics").body      # the solution and the tests
        for body, status, code in [({"solution": 1, "tests": TESTS}, 400, "invalid_request"), ({"solution": "1", "tests": [{}]}, 400, "invalid_request"),
                                   ({"solution": "1", "tests": TESTS, "workspace": "/tmp"}, 400, "invalid_request"),
                                   ({"solution": "1", "tests": TESTS, "each": {"timeout_ms": 10 ** 7}}, 400, "invalid_policy"),
                                   ({"solution": "1", "tests": TESTS, "each": {"disable_open": False}}, 400, "invalid_policy")]:
            refused = server.ask("POST", "/v1/verify", body)
            assert (refused.status, refused.json()["code"]) == (status, code), body
        assert server.ask("POST", "/v1/verify", b"{").status == 400


def test_a_client_that_goes_away_cancels_its_verify(own, nothing_left):
    with serving(own, "--timeout", "60s", "--cpu-time-seconds", "60") as server:
        connection = server.connection()
        body = json.dumps({"solution": SOLUTION, "tests": [{"call": "f", "args": [-1], "expect": 0}] * 9})
        connection.request("POST", "/v1/verify", body, {"Content-Type": "application/json"})
        wait_until(lambda: server.metric("pyexec_running") >= 1, "the tests run")
        connection.close()
        wait_until(lambda: server.metric("pyexec_running") == 0, "the tests are cancelled")


def test_tokens_and_ceilings_hold(own, nothing_left):
    with serving(own, tcp=True, tokens=[token_line("small", "s", "max_stdout_bytes=5 timeout_ms=500")]) as server:
        assert server.ask("POST", "/v1/verify", {"solution": "1", "tests": TESTS}, address=server.tcp).status == 401
        answer = server.ask("POST", "/v1/verify", {"solution": "print('abcdefgh')", "tests": [{"expect_stdout": "abcdefgh"}] * 2},
                            address=server.tcp, token="s").json()
        assert [(test["verdict"], test["stdout"], test["stdout_truncated"]) for test in answer["tests"]] == [("wrong", "abcde", True)] * 2

"""`pyexec serve`: the route table, results and errors, events, cancellation, logs, metrics."""
import contextlib
import hashlib
import json
import os
import re
import subprocess
import threading
import time

import pytest

from conftest import ROOT
from serving import events, serving
from waiting import wait_until

pytestmark = pytest.mark.usefixtures("nothing_left")
SPIN = "while True:\n    pass"


@pytest.fixture(scope="module")
def server(own):
    with serving(own, "--timeout", "30s", "--cpu-time-seconds", "30", "--files", "full",
                 "--allow-import", "sys", "--audit-log", "FOLDER/audit") as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_left():
    """All tests of this file share a server; test_serve_life.py tests what a server leaves behind."""


def running(server):
    return server.metric("pyexec_running")


# ---- Runs ----

def test_a_run_over_both_users_and_both_kinds_of_socket(pyexec):
    with serving(pyexec, tcp=True, tokens=["alice sha256:" + hashlib.sha256(b"secret").hexdigest()]) as both:
        assert both.result("6 * 7")["last_value_repr"] == "42"
        assert both.result("6 * 7", address=both.tcp, token="secret")["last_value_repr"] == "42"


def test_every_result_is_200_and_is_what_the_library_gives(server, own):
    for code in ("1 + 1", "1 / 0", "import subprocess", "raise SystemExit(3)", "print('x' * 10)"):
        ours, theirs = server.result(code), own.result(code, "--files", "full", "--allow-import", "sys")
        for volatile in ("usage",):
            ours.pop(volatile), theirs.pop(volatile)
        assert ours == theirs


def test_all_members_of_a_request(server):
    got = server.result("import sys\nprint(open('in.txt').read(), sys.stdin.read(), end='')\n"
                        "open('out.txt', 'w').write('made')\n7", policy={"max_value_bytes": 100},
                        files={"in.txt": "given"}, stdin="typed", return_files=["out*"], timeout_ms=2000,
                        env={"A": "b"}, print_last_expression=True)
    assert got["stdout"] == "given typed" and got["last_value_repr"] == "7"
    assert [file["path"] for file in got["files"] if "content_base64" in file] == ["out.txt"]


@pytest.mark.parametrize("body, says", [
    (b"", "JSON"), (b"[]", "object"), (b"{", "JSON"), (b'{"code": 1}', "code"), (b"\xff", ""),
    (b'{"code": "1", "cod": 2}', "cod"), (b'{"code": "a\\u0000b"}', "NUL"),
    (b'{"code": "1", "code": "2"}', "code: given twice"), (b'{"code": "1", "workspace": "/etc"}', "workspace"),
    (b'{"code": "1", "work\\u0073pace": "/etc"}', "workspace"),
    (b'{"code": "1", "timeout_ms": "x"}', "timeout_ms"), (b"[" * 100000, ""),
])
def test_a_bad_body_is_a_problem_with_code_and_hint(server, body, says):
    answer = server.ask("POST", "/v1/execute", body)
    problem = answer.json()
    assert answer.status == 400 == problem["status"]
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert problem["code"] in ("invalid_request", "invalid_policy") and problem["hint"] and problem["title"]
    assert says in problem["title"]


def test_a_policy_may_be_tightened_and_not_loosened(server):
    assert server.result("1", policy={"timeout_ms": 100})["status"] == "ok"
    answer = server.execute("1", policy={"timeout_ms": 31000})
    assert answer.status == 400 and answer.json()["code"] == "invalid_policy"
    assert "timeout_ms" in answer.json()["title"]
    answer = server.execute("import os", policy={"allowed_imports": ["os"]})
    assert answer.status == 400 and answer.json()["code"] == "invalid_policy"


def test_other_methods_and_paths(server):
    for method, path, allow in [("GET", "/v1/execute", "POST"), ("PATCH", "/v1/sessions", "POST, GET, HEAD"),
                                ("POST", "/v1/sessions/a", "GET, HEAD, DELETE"), ("PUT", "/healthz", "GET, HEAD"),
                                ("OPTIONS", "/v1/execute", "POST")]:
        answer = server.ask(method, path)
        assert (answer.status, answer.headers["Allow"]) == (405, allow), (method, path)
        assert answer.json()["code"] == "method_not_allowed"
    for path in ("/v1", "/v1/execute/", "//v1/execute", "/v1/sessions/", "/v1/sessions//files", "/v2/x",
                 "/v1/sessions/a/files/", "/healthz/../metrics"):
        answer = server.ask("GET", path)
        assert (answer.status, answer.json()["code"]) == (404, "not_found"), path


def test_head_is_get_without_the_body(server):
    for path in ("/healthz", "/openapi.json", "/v1/sessions"):
        head, get = server.ask("HEAD", path), server.ask("GET", path)
        assert head.status == 200 and head.body == b""
        assert head.headers["Content-Length"] == str(len(get.body))


def test_query_strings_are_ignored(server):
    assert server.ask("GET", "/healthz?verbose=1").status == 200


# ---- Sessions ----

def test_the_life_of_a_session(server):
    made = server.ask("POST", "/v1/sessions", {"id": "life", "policy": {"timeout_ms": 1000}})
    assert made.status == 201 and made.json()["id"] == "life"
    assert made.json()["policy"]["timeout_ms"] == 1000
    assert server.ask("POST", "/v1/sessions", {"id": "life"}).status == 409
    assert server.result("x = 20", "life")["session"]["execution_count"] == 1
    assert server.result("x + 1", "life")["last_value_repr"] == "21"
    assert "life" in [one["id"] for one in server.ask("GET", "/v1/sessions").json()["sessions"]]
    look = server.ask("GET", "/v1/sessions/life").json()
    assert look["execution_count"] == 2 and not look["busy"] and look["policy"]["timeout_ms"] == 1000
    assert server.ask("DELETE", "/v1/sessions/life").status == 204
    for method, path in [("GET", ""), ("DELETE", ""), ("POST", "/interrupt"), ("GET", "/files")]:
        answer = server.ask(method, "/v1/sessions/life" + path)
        assert (answer.status, answer.json()["code"]) == (404, "session_not_found"), (method, path)


def test_a_session_without_an_id_gets_one(server):
    made = server.ask("POST", "/v1/sessions").json()
    assert server.result("1", made["id"])["session"]["created"] is False
    assert server.ask("DELETE", "/v1/sessions/" + made["id"]).status == 204


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"id": 1}', b'{"ids": "a"}', b'{"id": "a/b"}', b'{"id": ".."}',
                                  b'{"id": ""}', b'{"policy": []}', b'{"policy": {"no": 1}}', b'{"id": "%s"}' % (b"a" * 129)])
def test_a_bad_session_is_refused(server, body):
    answer = server.ask("POST", "/v1/sessions", body)
    assert answer.status == 400 and answer.json()["hint"]


@pytest.mark.parametrize("bad", ["..", ".", "a%20b", "a%2Fb", "%00", "%zz", "%c3%a4", "a" * 129, "a%0ab"])
def test_a_bad_id_in_the_path_is_refused(server, bad):
    answer = server.ask("POST", "/v1/sessions/%s/execute" % bad, {"code": "1"})
    assert answer.status in (400, 404) and answer.json()["hint"]


def test_interrupt_ends_the_call_and_keeps_the_state(server):
    server.result("kept = 5", "stop")
    answers = []
    caller = threading.Thread(target=lambda: answers.append(server.result(SPIN, "stop")))
    caller.start()
    wait_until(lambda: server.ask("GET", "/v1/sessions/stop").json()["busy"], "never busy")
    while not answers:
        assert server.ask("POST", "/v1/sessions/stop/interrupt").status == 204
        time.sleep(0.05)
    caller.join()
    assert answers[0]["error"]["type"] == "KeyboardInterrupt"
    assert server.result("kept", "stop")["last_value_repr"] == "5"
    server.ask("DELETE", "/v1/sessions/stop")


def test_calls_of_one_session_keep_their_order(server):
    server.result("seen = []", "order")
    connections = []
    for i, code in enumerate(["import time\nwhile True: time.sleep(0.01)", *("seen.append(%d)" % i for i in range(7))]):
        connections.append(server.connection())
        connections[-1].request("POST", "/v1/sessions/order/execute", json.dumps({"code": code}))
        wait_until(lambda: (server.metric("pyexec_running"), server.metric("pyexec_queue_length")) == (1, i), "not taken")
    server.ask("POST", "/v1/sessions/order/interrupt")
    for connection in connections:
        assert connection.getresponse().status == 200
        connection.close()
    assert server.result("seen", "order")["last_value_repr"] == str(list(range(7)))
    server.ask("DELETE", "/v1/sessions/order")


# ---- Events ----

@contextlib.contextmanager
def stream(server, code, session=None, **more):
    path = "/v1/sessions/%s/execute" % session if session else "/v1/execute"
    with contextlib.closing(server.connection()) as connection:
        connection.request("POST", path, json.dumps({"code": code, **more}), {"Accept": "text/event-stream"})
        response = connection.getresponse()
        assert response.status == 200 and response.headers["Content-Type"] == "text/event-stream"
        yield response


def test_events_come_as_the_script_prints(server):
    """The first event arrives before the script ends: the script waits for something that happens only after the event."""
    with stream(server, "import time\nprint('first', flush=True)\nwhile True: time.sleep(0.01)", "live") as response:
        assert next(events(response)) == ("stdout", {"seq": 0, "text": "first\n"})
        assert server.ask("POST", "/v1/sessions/live/interrupt").status == 204
        name, result = list(events(response))[-1]
        assert name == "result" and result["error"]["type"] == "KeyboardInterrupt"
    server.ask("DELETE", "/v1/sessions/live")


def test_events_are_in_order_and_add_up_to_the_result(server):
    code = ("import sys\nfor i in range(50):\n    print(i, flush=True)\n"
            "    print('e', i, file=sys.stderr, flush=True)\n'end'")
    with stream(server, code) as response:
        got = list(events(response))
    name, result = got.pop()
    assert name == "result" and result["last_value_repr"] == "'end'"
    assert [data["seq"] for _, data in got] == list(range(len(got)))
    for which in ("stdout", "stderr"):
        assert "".join(data["text"] for name, data in got if name == which) == result[which] != ""


def test_a_character_split_over_writes_arrives_whole(server):
    code = ("import sys, time\nraw = 'ä€😀'.encode() * 3\nfor byte in raw:\n"
            "    sys.stdout.buffer.write(bytes([byte])); sys.stdout.buffer.flush(); time.sleep(0.005)\n"
            "sys.stdout.buffer.write(b'\\xe2\\x82')")
    with stream(server, code) as response:
        got = list(events(response))
    assert "".join(data["text"] for name, data in got if name == "stdout") == "ä€😀" * 3 + "�"
    assert all("�" not in data["text"] for name, data in got[:-2] if name == "stdout")


def test_a_failure_before_the_script_starts(server):
    """An invalid request is answered with a status, and an invalid policy with an event."""
    answer = server.ask("POST", "/v1/execute", {"cod": 1}, {"Accept": "text/event-stream"})
    assert answer.status == 400
    with stream(server, "1", policy={"timeout_ms": 10**6}) as response:
        (name, problem), = events(response)
    assert (name, problem["status"], problem["code"]) == ("error", 400, "invalid_policy") and problem["hint"]


def test_silence_is_broken_by_comments(own):
    with serving(own, "--timeout", "30s", "--cpu-time-seconds", "30") as quiet:
        with stream(quiet, "import time\nwhile True: time.sleep(0.1)") as response:
            name, text = next(events(response))
            assert name is None and text.startswith(":")


# ---- A client that goes away ----

@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
@pytest.mark.parametrize("session", [None, "gone"])
def test_a_client_that_goes_cancels_its_run(server, accept, session):
    before = running(server)
    connection = server.connection()
    connection.request("POST", "/v1/sessions/gone/execute" if session else "/v1/execute",
                       json.dumps({"code": SPIN}), {"Accept": accept, "X-Request-Id": "goes-" + accept[-6:] + str(session)})
    wait_until(lambda: running(server) == before + 1, "it does not run")
    (connection.sock or connection.getresponse()).close()
    connection.close()
    wait_until(lambda: running(server) == before, "it still runs")
    line, = server.wait_for_line(request_id="goes-" + accept[-6:] + str(session))
    assert line["status"] == 499 and line["outcome"] == "cancelled"


def test_a_client_that_goes_interrupts_once(server):
    """Nobody can get the output that its call prints then. This must not cause another interrupt, which would arrive when
    the next call of the session has begun."""
    code = ("import time\ncount = 0\ntry:\n    print('begun', flush=True)\n    time.sleep(20)\nexcept KeyboardInterrupt:\n    count = 1\n"
            "    try:\n        for i in range(10):\n            print('going', flush=True)\n            time.sleep(0.02)\n"
            "    except KeyboardInterrupt:\n        count = 2\n")
    connection = server.connection()
    connection.request("POST", "/v1/sessions/once/execute", json.dumps({"code": code}), {"Accept": "text/event-stream"})
    response = connection.getresponse()
    assert b"stdout" in response.readline()
    response.close()
    connection.close()
    assert server.result("count", "once")["last_value_repr"] == "1"


def test_a_client_that_goes_while_it_waits_for_its_turn(own):
    with serving(own, "--timeout", "30s", "--cpu-time-seconds", "30", config="[host]\nmax_concurrent = 1\n") as narrow:
        first, second = narrow.connection(), narrow.connection()
        first.request("POST", "/v1/execute", json.dumps({"code": SPIN}))
        wait_until(lambda: running(narrow) == 1, "it does not run")
        second.request("POST", "/v1/execute", json.dumps({"code": "1"}), {"X-Request-Id": "impatient"})
        wait_until(lambda: narrow.metric("pyexec_queue_length") == 1, "it does not wait")
        second.close()
        first.close()
        assert narrow.wait_for_line(request_id="impatient")[0]["status"] == 499
        assert narrow.metric('pyexec_executions_total{status="ok"}') == 0


# ---- Logs ----

def test_request_ids_and_traces(server):
    given = "trace-1:2/3=4"
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = server.ask("GET", "/healthz", headers={"X-Request-Id": given, "traceparent": trace})
    assert answer.headers["X-Request-Id"] == given
    version, trace_id, span, flags = answer.headers["traceparent"].split("-")
    assert trace_id == trace.split("-")[1] and span != trace.split("-")[2] and len(span) == 16
    assert server.wait_for_line(request_id=given)[0]["trace_id"] == trace_id
    for bad in ("", "a b", "x" * 200, "a\"b", "ä"):
        got = server.ask("GET", "/healthz", headers={"X-Request-Id": bad.encode()}).headers["X-Request-Id"]
        assert re.fullmatch("[0-9a-f]{16}", got)
    for bad in ("00-" + "0" * 32 + "-b7ad6b7169203331-01", "00-short", "ff" + trace[2:], trace.upper(), ""):
        assert "traceparent" not in server.ask("GET", "/healthz", headers={"traceparent": bad}).headers


def test_log_lines_in_json(server):
    server.result("1/0", "logged", headers={"X-Request-Id": "in-json"})
    server.ask("DELETE", "/v1/sessions/logged")
    line, = server.wait_for_line(request_id="in-json")
    assert {key: line[key] for key in ("event", "principal", "session", "method", "route", "status", "outcome")} == {
        "event": "request", "principal": "local", "session": "logged", "method": "POST",
        "route": "/v1/sessions/{id}/execute", "status": 200, "outcome": "error"}
    assert line["bytes_in"] > 0 and line["bytes_out"] > 0 and line["ms"] > 0
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])


def test_log_lines_as_text(own):
    with serving(own, "--log-format", "text") as text:
        text.ask("GET", "/healthz", headers={"X-Request-Id": "in=text"})
        line = wait_until(lambda: [one for one in text.log().splitlines() if "in=text" in one], "no line")[0]
    assert 'event=request request_id="in=text"' in line and "status=200" in line


def test_the_audit_log_has_the_hash_and_never_the_code(server):
    code = "import subprocess  # the-secret-of-the-code"
    server.result(code, headers={"X-Request-Id": "audited"})
    with open(server.folder + "/audit") as file:
        text = file.read()
    entry, = (one for one in map(json.loads, text.splitlines()) if one["request_id"] == "audited")
    assert entry["code_sha256"] == hashlib.sha256(code.encode()).hexdigest()
    assert entry["principal"] == "local" and entry["status"] == "error"
    assert entry["denials"][0]["layer"] == "imports"
    assert "the-secret-of-the-code" not in text + server.log()


def test_the_audit_log_can_be_rotated(own):
    with serving(own, "--audit-log", "FOLDER/audit") as rotated:
        rotated.result("1")
        os.rename(rotated.folder + "/audit", rotated.folder + "/audit.1")
        rotated.reload()
        rotated.result("2")
        for name in ("audit", "audit.1"):
            with open(os.path.join(rotated.folder, name)) as file:
                assert len(file.readlines()) == 1
        assert os.stat(rotated.folder + "/audit").st_mode & 0o777 == 0o600


def test_metrics_count_what_happens(server):
    def count(name):
        return server.metric(name)
    names = ['pyexec_http_requests_total{route="execute",code="2xx"}', 'pyexec_executions_total{status="ok"}',
             'pyexec_errors_total{code="invalid_request"}', "pyexec_execution_duration_seconds_count"]
    before = [count(name) for name in names]
    server.result("1")
    server.ask("POST", "/v1/execute", b"{")
    # A request is counted when it is over. Its client may get the answer before that.
    wait_until(lambda: [count(name) - was for name, was in zip(names, before)] == [1, 1, 1, 1], names)


# ---- The guide ----

def test_the_examples_of_the_guide_work_as_they_stand(own):
    """Runs the commands of docs/http.md. A command fails when the server answers with an error."""
    with open(os.path.join(ROOT, "docs", "http.md")) as file:
        lines = [line[4:].rstrip() for line in file if re.match("    .*pc (?!=)", line) and "alias" not in line]
    assert len(lines) > 15
    with serving(own, "--files", "full", "--forkable", "--auto-checkpoint") as fresh:
        script = "set -eu -o pipefail\npc() { curl -sSf --unix-socket '%s' \"$@\"; }\n" % fresh.socket
        done = subprocess.run(["bash", "-xc", script + "\n".join(lines)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert '"last_value_repr":"42"' in done.stdout and '"last_value_repr":"21"' in done.stdout

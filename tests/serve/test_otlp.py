# SPDX-License-Identifier: Apache-2.0
"""Traces of `pyexec serve`, `rpc`, `mcp` and `run`, sent to a small collector (tests/support/collector.py). Each export is checked against
OpenTelemetry's own definitions. tests/host/test_spans.py tests the spans themselves."""
import contextlib
import json
import os
import signal
import subprocess
import time

import pytest

from collector import attributes, check_exports, collecting
from conftest import BUILD
from serving import serving
from waiting import wait_until

pytestmark = pytest.mark.skipif(not os.path.exists(BUILD + "/pyexec-otlp"), reason="this build has no libcurl")

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GIVEN = "00-%s-%s-01" % (TRACE, PARENT)
SOON = {"OTEL_BSP_SCHEDULE_DELAY": "20"}


@pytest.fixture(scope="module")
def checked():
    return check_exports


@pytest.fixture
def collector():
    with collecting() as one:
        yield one


def to(collector, **more):
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, **SOON, **more}


def spans_of(server, result):
    return server.metric('pyexec_trace_spans_total{result="%s"}' % result)


def helpers(server):
    """The processes of pyexec-otlp that this server has started."""
    path = "/proc/%d/task" % server.process.pid
    found = []
    for task in os.listdir(path):
        with open("%s/%s/children" % (path, task)) as file:
            for pid in file.read().split():
                with open("/proc/%s/comm" % pid) as name:
                    if name.read().strip() == "pyexec-otlp":
                        found.append(int(pid))
    return found


# ---- The fronts ----

def test_http_continues_the_callers_trace_and_its_answer_names_the_span(pyexec, collector, checked, nothing_left):
    with serving(pyexec, env=to(collector, OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=te%20st,service.name=unused",
                                OTEL_SERVICE_NAME="shop", OTEL_EXPORTER_OTLP_HEADERS="x-key=a%2Cb")) as server:
        answer = server.execute("6 * 7", headers={"traceparent": GIVEN, "tracestate": "a=b"})
        root, = collector.wait_for("POST /v1/execute")
        run, = collector.wait_for("run")
    assert answer.headers["traceparent"] == "00-%s-%s-01" % (TRACE, root["spanId"])
    assert (root["traceId"], root["parentSpanId"], root["traceState"], root["kind"]) == (TRACE, PARENT, "a=b", 2)
    assert run["parentSpanId"] == root["spanId"]
    named = attributes(root)
    assert named == {"http.request.method": "POST", "http.route": "/v1/execute", "pyexec.principal": "local", "pyexec.status": "ok"}
    resource = json.loads(collector.bodies[0])["resourceSpans"][0]["resource"]
    got = attributes(resource)
    assert got["service.name"] == "shop" and got["deployment.environment.name"] == "te st" and got["process.pid"].isdigit()
    path, headers = collector.requests[0]
    assert path == "/v1/traces" and headers["Content-Type"] == "application/json" and headers["x-key"] == "a,b"
    assert checked(collector) == len(collector.spans()) == 4


def test_http_sessions_detached_executions_and_tools_have_spans(own, collector, checked):
    with serving(own, env=to(collector)) as server:
        server.result("a = 1", "secret-session")
        started = server.ask("POST", "/v1/execute", {"code": "lookup()", "detach": True, "tools": [{"name": "lookup"}]}, headers={"traceparent": GIVEN})
        id_ = started.json()["execution_id"]
        call = wait_until(lambda: server.ask("GET", "/v1/executions/" + id_).json().get("calls"), "no call")[0]
        assert server.ask("POST", "/v1/calls/" + call["call_id"], {"result": 1}).status < 300
        tool, = collector.wait_for("execute_tool lookup")
        collector.wait_for("POST /v1/sessions/{id}/execute")
    assert tool["traceId"] == TRACE and call["traceparent"] == "00-%s-%s-01" % (TRACE, tool["spanId"])
    assert attributes(tool)["gen_ai.tool.call.id"] == call["call_id"]
    assert "secret-session" not in json.dumps(collector.spans())
    checked(collector)


def rpc_lines(own, env, *messages):
    done = subprocess.run([own.path, "rpc", "--drain"], input="".join(json.dumps({"jsonrpc": "2.0", **message}) + "\n" for message in messages),
                          capture_output=True, text=True, timeout=120, env={**os.environ, **env})
    return [json.loads(line) for line in done.stdout.splitlines()]


INITIALIZE = {"id": 1, "method": "initialize", "params": {"protocol": 1, "policy": {"python_bin": "/usr/bin/python3"}}}


def test_rpc_has_the_callers_span_as_a_member_and_tells_it_to_tools(own, collector, checked):
    process = subprocess.Popen([own.path, "rpc"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **to(collector)})
    send = lambda message: (process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n"), process.stdin.flush())
    send(INITIALIZE)
    process.stdout.readline()
    send({"id": 2, "method": "execute_once", "params": {"code": "lookup()", "traceparent": GIVEN, "tracestate": "a=b", "tools": [{"name": "lookup"}]}})
    call = json.loads(process.stdout.readline())
    assert call["method"] == "tool_call" and call["params"]["tracestate"] == "a=b"
    send({"id": call["id"], "result": 1})
    assert json.loads(process.stdout.readline())["result"]["status"] == "ok"
    root, = collector.wait_for("execute_once")
    process.stdin.close()
    assert process.wait(60) == 0
    tool, = collector.wait_for("execute_tool lookup")
    assert call["params"]["traceparent"] == "00-%s-%s-01" % (TRACE, tool["spanId"])
    assert root["parentSpanId"] == PARENT and root["kind"] == 2 and attributes(root)["rpc.method"] == "execute_once"
    checked(collector)


def test_rpc_without_a_collector_passes_the_trace_on_and_ignores_a_bad_one(own):
    answers = rpc_lines(own, {}, INITIALIZE, {"id": 2, "method": "execute_once", "params": {"code": "1", "traceparent": "nonsense"}},
                        {"id": 3, "method": "execute_once", "params": {"code": "1", "traceparent": 7}})
    by_id = {answer["id"]: answer for answer in answers}
    assert by_id[2]["result"]["status"] == "ok"
    assert "traceparent: not a string or null" in json.dumps(by_id[3])


def test_mcp_has_the_callers_span_in_meta(own, collector, checked):
    messages = [{"id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}},
                {"id": 2, "method": "tools/call", "params": {"name": "run_python", "arguments": {"code": "1/0"}, "_meta": {"traceparent": GIVEN}}}]
    process = subprocess.Popen([own.path, "mcp", "--python-bin", "/usr/bin/python3"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                               env={**os.environ, **to(collector)})
    for message in messages:
        process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    process.stdin.flush()
    root, = collector.wait_for("tools/call run_python")
    process.stdin.close()
    assert process.wait(60) == 0
    assert root["traceId"] == TRACE and root["parentSpanId"] == PARENT and root["kind"] == 2
    assert attributes(root)["mcp.method.name"] == "tools/call" and attributes(root)["gen_ai.tool.name"] == "run_python"
    assert "ZeroDivisionError" not in json.dumps(collector.spans())
    checked(collector)


def test_mcp_over_http_has_it_in_meta_or_in_the_header(own, collector):
    call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "run_python", "arguments": {"code": "1"}}}
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
    with serving(own, env=to(collector)) as server:
        assert server.ask("POST", "/mcp", call, headers={**headers, "traceparent": GIVEN}).status == 200
        call["params"]["_meta"] = {"traceparent": GIVEN.replace(PARENT, "00000000000000aa")}
        assert server.ask("POST", "/mcp", call, headers={**headers, "traceparent": GIVEN}).status == 200
        first, second = collector.wait_for("tools/call run_python", 2)
    assert [first["parentSpanId"], second["parentSpanId"]] == [PARENT, "00000000000000aa"]
    assert attributes(first)["pyexec.principal"] == "local"


def test_run_has_it_in_the_environment_and_sends_before_it_ends(pyexec, collector, checked, nothing_left):
    done = pyexec.run("run", "-c", "6 * 7", env={**os.environ, **to(collector, TRACEPARENT=GIVEN, OTEL_BSP_SCHEDULE_DELAY="60000")})
    assert done.stdout.strip() in ("42", b"42")
    root, = collector.named("execute_once")
    assert root["traceId"] == TRACE and root["parentSpanId"] == PARENT and root["kind"] == 1
    assert checked(collector) == 4


@pytest.mark.parametrize("env", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}, {"OTEL_TRACES_SAMPLER": "always_off"},
                                 {"TRACEPARENT": GIVEN[:-1] + "0"}, {"PYEXEC_TELEMETRY_DISABLED": "true"}])
def test_nothing_is_sent_when_it_is_switched_off_or_not_sampled(own, collector, env):
    assert own.run("run", "-c", "1", env={**os.environ, **to(collector), **env}).returncode == 0
    assert collector.requests == []


@pytest.mark.parametrize("env, said", [({"OTEL_TRACES_SAMPLER": "jaeger_remote"}, "OTEL_TRACES_SAMPLER is ignored"),
                                       ({"OTEL_BSP_MAX_QUEUE_SIZE": "-1"}, "OTEL_BSP_MAX_QUEUE_SIZE is ignored")])
def test_a_variable_that_can_not_be_used_is_ignored_with_a_warning(own, collector, env, said):
    done = own.run("run", "-c", "1", env={**os.environ, **to(collector), **env})
    assert done.returncode == 0 and said in str(done.stderr) and len(collector.named("run")) == 1


@pytest.mark.parametrize("key, value", [("endpoint", "ftp://x"), ("sampler_arg", "2"), ("sampler", "never"), ("headers", "no value"),
                                        ("resource_attributes", "a=%00"), ("max_queue_size", "0"), ("no_such", "1")])
def test_a_key_of_the_configuration_that_can_not_be_used_is_refused(own, tmp_path, key, value):
    text = "[telemetry]\n%s%s = %s\n" % ("" if key == "endpoint" else "endpoint = http://localhost:4318\n", key, value)
    (tmp_path / "conf").write_text(text)
    done = own.run("run", "--config", str(tmp_path / "conf"), "-c", "1")
    assert done.returncode != 0 and key in str(done.stderr), done.stderr


# ---- Faults ----

def test_what_may_be_repeated_is_repeated_and_the_rest_is_not(own, collector):
    collector.answers.extend([(429, {"Retry-After": "1"}, b""), (503, {}, b"not json"), (0, {}, b""), (504, {}, b"")])
    with serving(own, env=to(collector)) as server:
        server.result("1")
        collector.wait_for("run")
        wait_until(lambda: spans_of(server, "exported") == 4, "not counted")
        assert len(collector.requests) == 5 and spans_of(server, "dropped") == 0
        for status in (400, 401, 404, 408, 413, 500, 302):
            collector.answers.append((status, {"Location": collector.url + "/elsewhere"}, b""))
            before = spans_of(server, "dropped")
            server.result("1")
            wait_until(lambda: spans_of(server, "dropped") == before + 4, "HTTP %d was not counted" % status)
        assert len(collector.requests) == 12
        line, = server.wait_for_line(event="traces can't be sent")
        assert "HTTP 400" in json.dumps(line)
        server.result("1")
        server.wait_for_line(event="traces are sent again")


def test_spans_that_the_collector_rejects_are_counted_and_not_sent_again(own, collector):
    collector.answers.append((200, {}, b'{"partialSuccess":{"rejectedSpans":"3","errorMessage":"too \\u0007 old"}}'))
    with serving(own, env=to(collector)) as server:
        server.result("1")
        wait_until(lambda: spans_of(server, "rejected") == 3 and spans_of(server, "exported") == 1, "not counted")
        assert "too ? old" in json.dumps(server.wait_for_line(event="the collector took only a part of the spans"))
        assert len(collector.requests) == 1


def test_a_collector_that_is_down_or_slow_never_delays_a_run_and_the_full_queue_is_counted(own, collector, nothing_left):
    collector.held.clear()
    with serving(own, env=to(collector, OTEL_BSP_MAX_QUEUE_SIZE="8", OTEL_BSP_MAX_EXPORT_BATCH_SIZE="4")) as server:
        server.result("1")
        wait_until(lambda: collector.requests, "nothing was sent")
        for _ in range(12):
            assert server.result("6 * 7")["last_value_repr"] == "42"        # the collector holds the first request all the time
        assert spans_of(server, "dropped") == 40 and server.metric("pyexec_trace_spans_queued") == 8
        assert "the queue is full" in json.dumps(server.wait_for_line(event="traces can't be sent"))
        started = time.monotonic()
        server.process.terminate()
        assert server.process.wait(60) == 0
        assert time.monotonic() - started < 30      # 2 s on an idle machine, though the collector never answers


def test_without_a_collector_runs_go_on(own):
    with collecting() as gone:
        env = to(gone, OTEL_BSP_EXPORT_TIMEOUT="300")
    with serving(own, env=env) as server:
        for _ in range(3):
            server.result("1")
        wait_until(lambda: spans_of(server, "dropped") == 12, "not counted")
        assert server.wait_for_line(event="traces can't be sent")


def test_a_killed_helper_is_replaced_and_its_batch_is_sent_again(own, collector, nothing_left):
    with serving(own, env=to(collector)) as server:
        server.result("1")
        collector.wait_for("run")
        for count in (2, 3):
            collector.held.clear()
            requests = len(collector.requests)
            server.result("1")
            wait_until(lambda: len(collector.requests) > requests, "nothing was sent")
            pid, = helpers(server)
            assert pid > 1
            os.kill(pid, signal.SIGKILL)
            collector.held.set()
            wait_until(lambda: spans_of(server, "exported") == 4 * count, "the batch was not sent again", 60)
        assert spans_of(server, "dropped") == 0


def test_a_stopped_helper_harms_no_run(own, collector, nothing_left):
    with serving(own, env=to(collector)) as server:
        server.result("1")
        collector.wait_for("run")
        pid, = helpers(server)
        os.kill(pid, signal.SIGSTOP)
        for _ in range(5):
            server.result("1")
        server.process.terminate()
        assert server.process.wait(60) == 0


def test_what_waits_is_sent_when_the_server_ends(own, collector, checked, nothing_left):
    with serving(own, env=to(collector, OTEL_BSP_SCHEDULE_DELAY="3600000")) as server:
        for _ in range(5):
            server.result("1")
        assert collector.requests == []
    assert len(collector.named("run")) == 5 and len(collector.requests) == 1
    assert checked(collector) == 20


def test_a_killed_server_leaves_no_helper(own, collector, nothing_left):
    with serving(own, env=to(collector)) as server:
        server.result("1")
        collector.wait_for("run")
        server.process.kill()
        server.process.wait(60)


def test_scripts_and_warm_processes_have_none_of_its_descriptors_and_variables(own, collector):
    with serving(own, "--any-import", "--no-isolate-site", env=to(collector, OTEL_EXPORTER_OTLP_HEADERS="x-key=sesame")) as server:
        server.result("1")
        collector.wait_for("run")
        before = server.result("import os\nsorted(os.listdir('/proc/self/fd')) if os.path.exists('/proc/self/fd') else None, dict(os.environ)")
        assert "sesame" not in json.dumps(before) and "OTEL" not in json.dumps(before)
        pid, = helpers(server)
        sockets = {os.readlink("/proc/%d/fd/%s" % (pid, fd)) for fd in ("0", "1")} if os.getuid() == 0 else set()
        own_ends = set()
        for fd in os.listdir("/proc/%d/fd" % server.process.pid):
            with contextlib.suppress(FileNotFoundError):        # it was closed meanwhile
                own_ends.add(os.readlink("/proc/%d/fd/%s" % (server.process.pid, fd)))
        for process in os.listdir("/proc"):
            if not process.isdigit() or int(process) in (pid, server.process.pid):
                continue
            try:
                links = {os.readlink("/proc/%s/fd/%s" % (process, fd)) for fd in os.listdir("/proc/%s/fd" % process)}
            except OSError:
                continue
            assert not links & sockets, process
        assert own_ends

# SPDX-License-Identifier: Apache-2.0
"""Spans of executions through the C API (capi_spans.c): their links, times and attributes, and the trace that tools are told.
tests/telemetry has what the program sends to a collector."""
import json
import subprocess
import time

import pytest

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GIVEN = "00-%s-%s-01" % (TRACE, PARENT)
POLICY = {"python_bin": "/usr/bin/python3", "timeout_ms": 60000, "cpu_time_seconds": 60}


@pytest.fixture(scope="module")
def program(compile_host):
    return compile_host("capi_spans.c")


@pytest.fixture
def traced(program):
    def run(*scripts, sampler="parentbased_always_on", ratio="1", flags="0", traceparent="", tracestate="", session="", **policy):
        """Returns the JSON lines: lists by their key."""
        done = subprocess.run([program, json.dumps({"policy": {**POLICY, **policy}}), sampler, ratio, flags, traceparent, tracestate, session],
                              input="".join(script + "\0" for script in scripts), capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        found = {"taken": [], "tool": [], "spans": [], "result": [], "error": []}
        for line in done.stdout.splitlines():
            value = json.loads(line)
            key = next(key for key in found if key in value)
            found[key].append(value[key])
            if key == "spans":
                assert value["count"] == len(value["spans"]) and value["data"] == 1
        return found
    return run


def attributes(span):
    return {item["key"]: next(iter(item["value"].values())) for item in span["attributes"]}


def by_name(spans):
    names = [span["name"] for span in spans]
    assert len(set(names)) == len(names), names
    return dict(zip(names, spans))


def test_an_execution_is_a_span_with_its_parts_below_it(traced, nothing_left):
    before = time.time_ns()
    spans = by_name(traced("sum(range(1000))")["spans"][0])
    after = time.time_ns()
    assert set(spans) == {"execute_once", "queue", "clone", "run"}
    root = spans["execute_once"]
    assert "parentSpanId" not in root and root["kind"] == 1 and root["status"] == {"code": 0} and root["flags"] & 0x2ff == 1
    for name in ("queue", "clone", "run"):
        assert spans[name]["parentSpanId"] == root["spanId"] and spans[name]["traceId"] == root["traceId"], name
    starts = {name: int(span["startTimeUnixNano"]) for name, span in spans.items()}
    ends = {name: int(span["endTimeUnixNano"]) for name, span in spans.items()}
    assert before <= starts["execute_once"] == starts["queue"] <= ends["queue"] == starts["clone"] <= ends["clone"] <= starts["run"]
    assert starts["run"] < ends["run"] <= ends["execute_once"] <= after
    assert len({span["spanId"] for span in spans.values()}) == 4
    assert attributes(spans["clone"]) == {"pyexec.process": "clone"} or attributes(spans["clone"]) == {"pyexec.process": "pool"}


def test_a_callers_trace_is_continued_and_each_tool_call_is_a_span_below_the_run(traced):
    found = traced("give()\ntry:\n    fail()\nexcept Exception:\n    pass\ntry:\n    deny()\nexcept Exception:\n    pass",
                   traceparent=GIVEN, tracestate="a=b,c=d")
    spans = by_name(found["spans"][0])
    assert found["taken"] == [0]
    root, run = spans["execute_once"], spans["run"]
    assert root["parentSpanId"] == PARENT and root["flags"] & 0x300 == 0x300
    assert {span["traceId"] for span in spans.values()} == {TRACE} and {span["traceState"] for span in spans.values()} == {"a=b,c=d"}
    for told, reason in zip(found["tool"], (None, "tool_error", "denied")):
        span = spans["execute_tool " + told["name"]]
        assert told["traceparent"] == "00-%s-%s-01" % (TRACE, span["spanId"]) and told["tracestate"] == "a=b,c=d"
        assert span["parentSpanId"] == run["spanId"] and span["kind"] == 1
        assert int(run["startTimeUnixNano"]) <= int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"]) <= int(run["endTimeUnixNano"])
        named = attributes(span)
        assert named.pop("gen_ai.tool.call.id").startswith("c-") and named.pop("error.type", None) == reason
        assert named == {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": told["name"]}
        assert span["status"]["code"] == (2 if reason else 0)
    assert attributes(run)["pyexec.tool_calls"] == "3"


def test_a_call_without_an_answer_says_why_in_its_span(traced):
    late = by_name(traced("try:\n    leave()\nexcept Exception:\n    pass", tool_timeout_ms=50)["spans"][0])
    assert attributes(late["execute_tool leave"])["error.type"] == "timeout"
    given_up = by_name(traced("leave()", timeout_ms=60000, max_tool_calls=0)["spans"][0])
    assert attributes(given_up["execute_tool leave"])["error.type"] == "denied"
    ended = by_name(traced("import threading, time\nthreading.Thread(target=leave, daemon=True).start()\ntime.sleep(0.3)",
                           use_import_whitelist=False)["spans"][0])
    assert attributes(ended["execute_tool leave"])["error.type"] == "abandoned"


def test_only_the_first_128_calls_have_spans_and_the_rest_is_counted(traced):
    spans = traced("for _ in range(200):\n    give()")["spans"][0]
    run = next(span for span in spans if span["name"] == "run")
    assert len([span for span in spans if span["name"] == "execute_tool give"]) == 128
    assert attributes(run)["pyexec.tool_calls"] == "200" and attributes(run)["pyexec.tool_calls_without_span"] == "72"


def test_calls_of_a_session_have_a_clone_only_when_their_process_is_made(traced):
    first, second = traced("a = 1", "a", session="secret-id")["spans"]
    assert set(by_name(first)) == {"execute", "queue", "clone", "run"} and set(by_name(second)) == {"execute", "queue", "run"}
    assert [attributes(by_name(spans)["execute"])["pyexec.session.execution_count"] for spans in (first, second)] == ["1", "2"]
    assert "secret-id" not in json.dumps([first, second])
    assert attributes(by_name(traced("1", session="shown-id", flags="1")["spans"][0])["execute"])["session.id"] == "shown-id"


def test_nothing_of_the_script_is_in_a_span_unless_asked_for(traced):
    script = "SECRET = 'sesame'\nprint('sesame')\nraise ValueError('sesame')"
    spans = traced(script)["spans"][0]
    assert "sesame" not in json.dumps(spans) and "ValueError" not in json.dumps(spans)
    run = by_name(spans)["run"]
    assert run["status"] == {"code": 2} and attributes(run)["error.type"] == "error"
    assert by_name(spans)["execute_once"]["status"] == {"code": 0}, "the request has succeeded: a script that fails is a result"
    asked = by_name(traced(script, flags="2")["spans"][0])["run"]
    assert asked["status"] == {"code": 2, "message": "ValueError: sesame"}


def test_a_long_error_message_is_cut_between_characters(traced):
    message = by_name(traced("raise ValueError('ä' * 5000)", flags="2")["spans"][0])["run"]["status"]["message"]
    assert message == "ValueError: " + "ä" * 506


def test_a_limit_is_the_error_of_the_run(traced):
    run = by_name(traced("while True: pass", timeout_ms=200)["spans"][0])["run"]
    assert attributes(run)["error.type"] == attributes(run)["pyexec.status"] == "timeout" and run["status"]["code"] == 2


def test_a_refused_request_is_one_span_with_the_code_of_the_error(traced):
    found = traced("1", session="not/valid")
    assert found["error"] == ["invalid_request"]
    span, = found["spans"][0]
    assert span["name"] == "execute" and span["status"]["code"] == 2 and attributes(span) == {"error.type": "invalid_request"}


def test_a_front_describes_the_span(traced):
    root = next(span for span in traced("1 # described")["spans"][0] if span["spanId"] == "00000000000000ab")
    assert root["name"] == "POST /v1/execute" and root["kind"] == 2
    named = {item["key"]: item["value"] for item in root["attributes"]}
    assert named["http.route"] == {"stringValue": '/v1/"execute'} and named["n"] == {"intValue": "7"}
    assert named["r"] == {"doubleValue": 0.5} and named["b"] == {"boolValue": True} and "no" not in named


# ---- Sampling ----

@pytest.mark.parametrize("sampler, ratio, flag, recorded", [
    ("parentbased_always_on", "1", "01", True), ("parentbased_always_on", "1", "00", False), ("parentbased_always_on", "1", None, True),
    ("parentbased_always_off", "1", "01", True), ("parentbased_always_off", "1", None, False), ("always_off", "1", "01", False),
    ("always_on", "1", "00", True), ("parentbased_traceidratio", "0", "01", True), ("parentbased_traceidratio", "0", None, False),
    ("traceidratio", "0", "01", False), ("traceidratio", "1", "00", True)])
def test_the_sampler_and_the_callers_flag_decide(traced, sampler, ratio, flag, recorded):
    found = traced("give()", sampler=sampler, ratio=ratio, traceparent=GIVEN[:-2] + flag if flag else "")
    assert bool(found["spans"]) == recorded
    told = found["tool"][0]["traceparent"].split("-")
    assert told[3] == ("01" if recorded else "00"), "the tool is told the decision"
    if flag:
        assert told[1] == TRACE and (told[2] != PARENT) == recorded


def test_a_ratio_chooses_the_same_traces_everywhere(traced):
    for last, recorded in (("0" * 16, True), ("3" + "f" * 15, True), ("4" + "0" * 15, False), ("f" * 16, False)):
        found = traced("1", sampler="traceidratio", ratio="0.25", traceparent="00-%s%s-%s-01" % (TRACE[:16], last, PARENT))
        assert bool(found["spans"]) == recorded, last


def test_an_unknown_sampler_is_refused(program):
    for sampler, ratio in (("sometimes", "1"), ("traceidratio", "2"), ("traceidratio", "nan"), ("parentbased_", "1")):
        done = subprocess.run([program, json.dumps({"policy": POLICY}), sampler, ratio, "0", "", "", ""], input="", capture_output=True, text=True, timeout=60)
        assert done.returncode == 1 and "invalid_request" in done.stderr, sampler


def test_without_tracing_no_span_is_made_and_tools_get_the_callers_trace(traced):
    found = traced("give()", sampler="", traceparent=GIVEN, tracestate="a=b")
    assert found["spans"] == [] and found["tool"] == [{"name": "give", "traceparent": GIVEN, "tracestate": "a=b"}]
    assert traced("give()", sampler="")["tool"][0]["traceparent"] is None


def test_a_traceparent_that_is_not_valid_counts_as_none(traced):
    for bad in ("00", "x" * 4000, GIVEN.upper(), "00-" + "0" * 32 + "-" + PARENT + "-01", GIVEN + "-more"):
        found = traced("1", traceparent=bad, tracestate="a=b")
        root = by_name(found["spans"][0])["execute_once"]
        assert found["taken"] == [-1] and root["traceId"] != TRACE and "parentSpanId" not in root and "traceState" not in root, bad
    dropped = traced("1", traceparent=GIVEN, tracestate="not valid")["spans"][0][0]
    assert dropped["traceId"] == TRACE and "traceState" not in dropped

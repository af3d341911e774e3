# SPDX-License-Identifier: Apache-2.0
"""Traces of a fleet: from the client over the gateway and NATS to the node, the run and its tools there. One trace, and each span below the
right one. tests/serve/test_otlp.py tests how spans are sent."""
import json
import os
import subprocess

import pytest

from collector import attributes, check_exports, collecting
from conftest import BUILD, preload
from fake_node import ANYBODY, FakeNode
from nats_fleet import LOCAL, PLAIN, Call, Nats, Server, Worker, needs_fleet, session_subject
from serving import serving
from waiting import wait_until

pytestmark = [*needs_fleet(BUILD), pytest.mark.skipif(not os.path.exists(BUILD + "/pyexec-otlp"), reason="this build has no libcurl")]
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GIVEN = "00-%s-%s-01" % (TRACE, PARENT)
RUN, NODE = "pyexec.v1.as.{principal}.run", "pyexec.v1.node.{node}.s.{principal}.{session}"


@pytest.fixture(scope="module")
def collector():
    with collecting() as one:
        yield one


@pytest.fixture(scope="module")
def fleet(pyexec, collector):
    """A gateway and a NATS connection, in front of one node."""
    traced = {**PLAIN, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "20"}
    with Server() as nats, Worker(pyexec, nats, "t-%d" % pyexec.uid, env=traced) as worker, \
            serving(pyexec, "--nats", nats.url, env=traced) as gateway, Nats(nats.port) as client:
        yield gateway, worker, client


@pytest.fixture(autouse=True)
def forget(collector):
    collector.bodies.clear()


def tree(collector, count):
    """Waits for so many spans, and returns them as paths of names from the root, with the spans. All are one trace."""
    wait_until(lambda: len(collector.spans()) >= count, "no %d spans" % count, 60)
    spans = {span["spanId"]: span for span in collector.spans()}
    assert len(spans) == count and len({span["traceId"] for span in spans.values()}) == 1
    found = {}
    for span in spans.values():
        path, at = [span["name"]], span
        while at.get("parentSpanId") in spans:
            at = spans[at["parentSpanId"]]
            path.insert(0, at["name"])
        found[" > ".join(path)] = span
    assert len(found) == count, found
    return found


AT_NODE = ["", " > queue", " > clone", " > run"]
GATEWAY = ["POST /v1/execute", "POST /v1/execute > send " + RUN, "POST /v1/execute > send %s > process %s" % (RUN, RUN)]


def test_a_request_through_the_gateway_is_one_tree(fleet, collector):
    gateway, worker, _ = fleet
    answer = gateway.execute("6 * 7", headers={"traceparent": GIVEN, "tracestate": "a=b"})
    spans = tree(collector, 7)
    server, send, process = (spans[path] for path in GATEWAY)
    assert set(spans) == {*GATEWAY, *(GATEWAY[2] + " > POST /v1/execute" + part for part in AT_NODE)}
    assert (server["traceId"], server["parentSpanId"]) == (TRACE, PARENT) and {span["traceState"] for span in spans.values()} == {"a=b"}
    assert answer.headers["traceparent"] == "00-%s-%s-01" % (TRACE, server["spanId"])
    assert [span["kind"] for span in (server, send, process)] == [2, 4, 5]
    assert attributes(server) == {"http.request.method": "POST", "http.route": "/v1/execute", "http.response.status_code": "200", "pyexec.principal": "local"}
    shared = {"messaging.system": "nats", "messaging.destination.template": RUN, "messaging.message.body.size": attributes(send)["messaging.message.body.size"],
              "pyexec.node": worker.node}
    assert attributes(send) == {**shared, "messaging.operation.name": "send", "messaging.operation.type": "send", "pyexec.response.status_code": "200"}
    assert attributes(process) == {**shared, "messaging.operation.name": "process", "messaging.operation.type": "process",
                                   "messaging.consumer.group.name": "pyexec", "pyexec.principal": "local"}
    for path, span in spans.items():            # all clocks are those of this machine
        above = spans.get(path.rpartition(" > ")[0])
        assert not above or int(above["startTimeUnixNano"]) <= int(span["startTimeUnixNano"]) + 1000000, path
        assert span["flags"] == (0x301 if path in GATEWAY and path != GATEWAY[1] else 0x101), path
    assert check_exports(collector) == 7


def test_calls_of_a_session_have_no_id_of_it_in_their_spans(fleet, collector):
    gateway, _, _ = fleet
    path = "POST /v1/sessions/{id}/execute"
    gateway.result("1", "secret-session")
    first = tree(collector, 7)         # `open` makes its process
    assert "%s > send pyexec.v1.as.{principal}.open" % path in first
    run = "%s > send %s > process %s > %s > run" % (path, NODE, NODE, path)
    assert run in first
    collector.bodies.clear()
    gateway.result("2", "secret-session")
    assert set(tree(collector, 6)) == {path, "%s > send %s" % (path, NODE), "%s > send %s > process %s" % (path, NODE, NODE),
                                       run.replace(" > run", ""), run.replace("> run", "> queue"), run}
    assert "secret-session" not in json.dumps([first, collector.spans()]) and LOCAL not in json.dumps(collector.spans())


@pytest.mark.parametrize("place", ["header", "body"])
def test_the_span_of_a_client_over_nats_is_above_that_of_the_node(fleet, collector, place):
    """The clients have `traceparent` as a member of the body."""
    _, worker, client = fleet
    headers, body = ({"traceparent": GIVEN}, {}) if place == "header" else ({}, {"traceparent": GIVEN})
    assert Call(client, "pyexec.v1.run", {"code": "1", **body}, events=True, headers=headers).end().status == 200
    spans = tree(collector, 5)
    process = spans["process pyexec.v1.run"]
    assert (process["traceId"], process["parentSpanId"], process["kind"]) == (TRACE, PARENT, 5)
    assert set(spans) == {"process pyexec.v1.run", *("process pyexec.v1.run > POST /v1/execute" + part for part in AT_NODE)}
    collector.bodies.clear()
    assert Call(client, session_subject(worker.node, "direct-" + place), {"code": "1", **body}, headers=headers).end().status == 200
    process = tree(collector, 5)["process " + NODE]
    assert process["parentSpanId"] == PARENT and "messaging.consumer.group.name" not in attributes(process)


def test_a_traceparent_in_the_body_passes_the_gateway(fleet, collector):
    fleet[0].result("1", traceparent=GIVEN, tracestate="a=b")
    server = tree(collector, 7)[GATEWAY[0]]
    assert (server["traceId"], server["parentSpanId"], server["traceState"]) == (TRACE, PARENT, "a=b")


OTHER = "00-%s-%s-01" % ("ab" * 16, "cd" * 8)


@pytest.mark.parametrize("header, meta, state", [(GIVEN, None, "a=b"), (None, GIVEN, None), (OTHER, GIVEN, None)], ids=["header", "meta", "both"])
@pytest.mark.parametrize("in_session", [False, True])
def test_a_tool_call_of_mcp_through_the_gateway_is_one_tree(fleet, collector, in_session, header, meta, state):
    """The gateway takes the caller's span from _meta, without the header's tracestate, and only else from the header. The node takes the span of
    the gateway, and not the one in _meta."""
    gateway, worker, _ = fleet
    session = "secret-session-%s-%s" % (header, meta) if in_session else None
    if session:
        gateway.result("1", session)
        tree(collector, 7)
        collector.bodies.clear()
    arguments = {"code": "6 * 7", **({"session_id": session} if session else {})}
    params = {"name": "run_python", "arguments": arguments, **({"_meta": {"traceparent": meta}} if meta else {})}
    headers = {"Accept": "application/json, text/event-stream", **({"traceparent": header, "tracestate": "a=b"} if header else {})}
    answer = gateway.ask("POST", "/mcp", {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}, headers)
    assert answer.status == 200 and "42" in json.dumps(answer.json()["result"]), answer
    subject = NODE if session else RUN
    outer = ["POST /mcp", "POST /mcp > send " + subject, "POST /mcp > send %s > process %s" % (subject, subject)]
    run = outer[2] + " > tools/call run_python"
    spans = tree(collector, 6 if session else 7)
    assert set(spans) == {*outer, run, run + " > queue", run + " > run", *([] if session else [run + " > clone"])}
    assert (spans[outer[0]]["traceId"], spans[outer[0]]["parentSpanId"]) == (TRACE, PARENT)
    assert {span.get("traceState") for span in spans.values()} == {state} and "secret-session" not in json.dumps(spans)
    assert attributes(spans[outer[2]])["pyexec.node"] == worker.node and attributes(spans[outer[0]])["http.route"] == "/mcp"


def test_messages_of_mcp_that_call_no_tool_have_no_spans(fleet, collector):
    gateway, _, _ = fleet
    listed = gateway.ask("POST", "/mcp", {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": {"traceparent": GIVEN}}},
                         {"Accept": "application/json, text/event-stream"})
    assert listed.status == 200 and listed.json()["result"]["tools"]
    gateway.result("1")
    assert "POST /v1/execute" in tree(collector, 7)


def test_a_tool_and_a_detached_run_are_in_the_tree(fleet, collector):
    gateway, _, _ = fleet
    started = gateway.ask("POST", "/v1/execute", {"code": "lookup()", "detach": True, "tools": [{"name": "lookup"}]}, {"traceparent": GIVEN})
    id_ = started.json()["execution_id"]
    call = wait_until(lambda: gateway.ask("GET", "/v1/executions/" + id_).json().get("calls"), "no call")[0]
    assert gateway.ask("POST", "/v1/calls/" + call["call_id"], {"result": 1}).status < 300
    tool = tree(collector, 8)[GATEWAY[2] + " > POST /v1/execute > run > execute_tool lookup"]
    assert call["traceparent"] == "00-%s-%s-01" % (TRACE, tool["spanId"])


def test_a_trace_begins_at_the_gateway_and_a_caller_can_switch_it_off(fleet, collector):
    gateway, _, client = fleet
    gateway.result("1", headers={"traceparent": GIVEN[:-1] + "0"})
    assert Call(client, "pyexec.v1.run", {"code": "1"}, headers={"traceparent": GIVEN[:-1] + "0"}).end().status == 200
    gateway.result("1")
    assert "parentSpanId" not in tree(collector, 7)[GATEWAY[0]]        # and none of the two before


def test_a_request_that_no_node_takes_is_an_error(own, collector):
    with Server() as nats, serving(own, "--nats", nats.url, env={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "20"}) as gateway:
        assert gateway.execute("1").status == 503
        spans = tree(collector, 2)
        assert gateway.metric('pyexec_trace_spans_total{result="exported"}') == 2
    assert attributes(spans[GATEWAY[1]])["error.type"] == "no_responders" and attributes(spans[GATEWAY[0]])["error.type"] == "503"
    assert {span["status"]["code"] for span in spans.values()} == {2}


NO_RANDOM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>
ssize_t getrandom(void *to, size_t size, unsigned flags)
{
    static int ids;
    ssize_t (*real)(void *, size_t, unsigned) = (ssize_t (*)(void *, size_t, unsigned))dlsym(RTLD_NEXT, "getrandom");
    if (size == 8 && access(getenv("NO_RANDOM"), F_OK) == 0 && ++ids == atoi(getenv("NO_RANDOM_AT"))) {
        errno = ENOSYS;
        return -1;
    }
    return real(to, size, flags);
}
"""


def test_a_node_does_not_get_the_flag_of_a_span_that_could_not_be_made(own, collector, open_folder):
    """The first random number is the id of the request, the second one its span, and the third one the span of the message to the node."""
    library, now = str(open_folder / "no_random.so"), str(open_folder / "now")
    subprocess.run(["gcc", "-w", "-shared", "-fPIC", "-x", "c", "-", "-o", library, "-ldl"], input=NO_RANDOM.encode(), check=True)
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "20", "LD_PRELOAD": preload(library), "NO_RANDOM": now, "NO_RANDOM_AT": "3"}
    with Server() as nats, FakeNode(nats.port) as node, serving(own, "--nats", nats.url, env=env) as gateway:
        node.serve(ANYBODY + "run", lambda node, message: node.answer(message, 200, {"status": "ok"}))
        open(now, "w").close()
        for _ in range(2):
            assert gateway.ask("POST", "/v1/execute", {"code": "1"}, {"traceparent": GIVEN}).status == 200
        without, later = [message.headers["traceparent"] for message in node.calls]
    assert without == GIVEN[:-1] + "0" and later.endswith("-01") and TRACE in later and PARENT not in later, (without, later)


def test_a_client_can_not_describe_its_message_itself(fleet, collector):
    _, _, client = fleet
    forged = {"Pyexec-Message": "1 2 nobody forged forged", "traceparent": GIVEN}
    assert Call(client, "pyexec.v1.run", {"code": "1"}, headers=forged).end().status == 200
    assert fleet[0].ask("POST", "/v1/execute", {"code": "1"}, {**forged}).status == 200
    wait_until(lambda: len(collector.spans()) >= 12, "no spans", 60)
    assert "forged" not in json.dumps(collector.spans())

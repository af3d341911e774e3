# SPDX-License-Identifier: Apache-2.0
"""Links between workers, clients and the NATS server that break, become silent or are slow."""
import time

import pytest

from conftest import BUILD
from forwarder import Forwarder
from nats_fleet import LOCAL, PATIENCE, PLAIN, Call, Nats, Server, Worker, nats, needs_fleet  # noqa: F401
from waiting import wait_until

pytestmark = needs_fleet(BUILD)
RUN = "pyexec.v1.run"
NOTICES = 40    # seconds in which a worker finds that its NATS server is silent: five pings of 2 seconds, and a busy machine


@pytest.fixture
def server():
    with Server() as made:
        yield made


@pytest.fixture
def far(pyexec, server):
    """A worker behind a forwarder, and the forwarder."""
    with Forwarder(server.port) as link, Worker(pyexec, link, "far", env=PLAIN) as worker:
        yield worker, link


def value(answer):
    assert answer.status == 200, (answer.status, answer.data)
    return answer.json()["last_value_repr"]


def execute(nats, worker, session, code):
    return nats.request(worker.subject(session), '{"code": "%s"}' % code)


def test_a_session_is_not_lost_while_its_node_connects_again(pyexec, server, nats, far):
    worker, link = far
    assert nats.request("pyexec.v1.open", '{"id": "kept"}').status == 201
    assert execute(nats, worker, "kept", "x = 5").status == 200
    with Worker(pyexec, server, "near", env=PLAIN) as near:
        link.cut()
        wait_until(lambda: nats.is_gone("pyexec.v1.node.far"), "NATS to notice")
        opening = Call(nats, "pyexec.v1.open", {"id": "kept"})
        call = Call(nats, near.subject("kept"), {"code": "x = 6"})
        time.sleep(1)       # the time of the fault, not a wait
        link.resume()
        answer = opening.end()
        assert answer.status == 200 and answer.headers["Pyexec-Node"] == "far", answer.data
        assert call.end().status == 421
        assert value(execute(nats, worker, "kept", "x")) == "5"


def test_a_node_that_returns_after_its_sessions_were_lost_has_them_no_more(pyexec, server, nats, far):
    worker, link = far
    for session in ("moved", "kept"):
        assert nats.request("pyexec.v1.open", '{"id": "%s"}' % session).status == 201
        assert execute(nats, worker, session, "x = 5").status == 200
    with Worker(pyexec, server, "near", env=PLAIN) as near:
        link.cut()
        wait_until(lambda: nats.is_gone("pyexec.v1.node.far"), "NATS to notice")
        lost = nats.request("pyexec.v1.open", '{"id": "moved"}')
        assert lost.status == 410 and lost.json()["code"] == "session_lost" and lost.headers["Pyexec-Node"] == "far"
        assert nats.request("pyexec.v1.open", '{"id": "moved"}').status == 201
        assert execute(nats, near, "moved", "x = 7").status == 200
        link.resume()
        wait_until(lambda: not nats.is_gone("pyexec.v1.node.far"), "the node")
        calls = [Call(nats, worker.subject("moved"), {"code": "x = 8"}) for _ in range(3)]
        moved = [call.end() for call in calls]
        assert [answer.status for answer in moved] == [421] * 3 and moved[0].headers["Pyexec-Node"] == "near"
        assert value(execute(nats, near, "moved", "x")) == "7"
        # Nobody asked for the other session: it is still there, and a call that is refused does not forget it.
        assert nats.request(worker.subject("kept"), '{"code": 5}').status == 400
        assert execute(nats, near, "kept", "x").status == 421
        assert value(execute(nats, worker, "kept", "x")) == "5"


def test_a_session_that_was_lost_is_made_anew_when_its_node_returns(pyexec, server, nats, far):
    worker, link = far
    sessions = ("near", "far")      # where the client opens it again
    for session in sessions:
        assert nats.request("pyexec.v1.open", '{"id": "%s"}' % session).status == 201
        assert execute(nats, worker, session, "x = 5").status == 200
    with Worker(pyexec, server, "near", env=PLAIN) as near:
        link.cut()
        wait_until(lambda: nats.is_gone("pyexec.v1.node.far"), "NATS to notice")
        opening = [Call(nats, near.subject(session), {"id": session}, call="OPEN") for session in sessions]
        assert [call.end().status for call in opening] == [410, 410]
        link.resume()
        wait_until(lambda: not nats.is_gone("pyexec.v1.node.far"), "the node")
        for session, at in (("near", near), ("far", worker)):
            answer = nats.request(at.subject(session), '{"id": "%s"}' % session, {"Pyexec-Call": "OPEN"})
            assert (answer.status, answer.headers["Pyexec-Node"]) == (201, session), answer.data
            assert value(execute(nats, at, session, "globals().get('x')")) is None


def test_a_silent_server_is_left_and_nothing_is_answered_twice(pyexec, server, nats):
    with Forwarder(server.port) as link, Worker(pyexec, link, "far", "--timeout", "60s", env=PLAIN) as worker:
        short, long = [Call(nats, RUN, {"code": "import time\ntime.sleep(%d)" % seconds}, events=True) for seconds in (1, 25)]
        assert short.next()[0] == "accepted" and long.next()[0] == "accepted"
        link.silent = True
        start = time.monotonic()
        wait_until(lambda: "the connection to NATS is lost" in worker.text(), "the worker to notice", NOTICES)
        assert time.monotonic() - start > 3, "a pause of 3 seconds is no reason to leave"
        link.silent = False
        wait_until(lambda: not nats.is_gone("pyexec.v1.node.far"), "the node")
        assert value(nats.request(RUN, '{"code": "6 * 7"}')) == "42"
        assert long.end().status == 200, "a run that ends after the node is back is answered"
        # The answer to the other one was lost, or came late. The node says that it has ended.
        assert nats.request(short.about + ".ping").status == 404
        ends = []
        while not short.into.empty():
            message = short.into.get()
            ends += [message.status] if "Pyexec-Status" in message.headers else []
        assert ends in ([], [200])


def test_a_link_that_is_reset_again_and_again_loses_no_run(pyexec, server, nats, far):
    worker, link = far
    link.delay = 0.01
    for _ in range(5):
        call = Call(nats, RUN, {"code": "import time\ntime.sleep(2)\n7"}, events=True)
        assert call.next()[0] == "accepted"
        link.reset()
        assert value(call.end()) == "7"     # it ends after the node is back
    assert worker.text().count("connected to") >= 5


def test_a_client_that_reads_nothing_does_not_hold_up_others(pyexec, server, nats):
    """Its answers are dropped after 30 seconds."""
    with Worker(pyexec, server, "big", "--max-stdout-bytes", "16M", env=PLAIN) as worker, Forwarder(server.port) as link, \
            Nats(link.port) as slow:
        calls = [Call(slow, RUN, {"code": "print('x' * (8 << 20))"}, events=events) for events in (True, False) * 8]
        slow.flush()
        link.silent = True
        end = time.monotonic() + 5
        while time.monotonic() < end:
            start = time.monotonic()
            assert value(nats.request(RUN, '{"code": "6 * 7"}')) == "42"
            assert time.monotonic() - start < 15
        with open("/proc/%d/status" % worker.process.pid) as file:
            peak = next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
        assert peak < 512 << 10, "%d KiB" % peak
        stats = '{"do": "stats"}'
        wait_until(lambda: nats.request("pyexec.v1.node.big", stats).json()["requests"] == 0, "the end of the answers", 2 * PATIENCE)
        assert len(calls) == 16 and "does not acknowledge its answer" in worker.text()


def test_a_drain_ends_while_the_server_is_silent(pyexec, server, nothing_left):
    with Forwarder(server.port) as link, Worker(pyexec, link, "far", env=PLAIN) as worker:
        link.silent = True
        assert worker.stop() == 0


def test_headers_and_commands_of_a_newer_version(pyexec, server, nats, far):
    newer = {"Pyexec-Future": "1", "Pyexec-Event": "future", "Pyexec-Version": "9"}
    assert value(nats.request(RUN, '{"code": "6 * 7"}', newer)) == "42"
    assert Call(nats, RUN, {"code": "1"}, events=True, headers=newer).end().status == 200
    unknown = nats.request("pyexec.v1.node.far", '{"do": "future"}', newer)
    assert unknown.status == 400 and "ping" in unknown.json()["hint"]
    assert nats.request("pyexec.v1.node.far", '{"do": "ping", "future": 1}').json()["node"] == "far"
    assert nats.request("pyexec.v1.node.far.s.%s.future.x" % LOCAL).no_responders
    call = Call(nats, RUN, {"code": "import time\ntime.sleep(2)"}, events=True)
    assert call.next()[0] == "accepted"
    nats.publish(call.about + ".future", "x")
    assert call.end().status == 200

# SPDX-License-Identifier: Apache-2.0
"""Answers that a fleet keeps (Pyexec-Keep): the same request gets its answer again, whoever is killed meanwhile."""
import secrets
import time

import pytest

from conftest import BUILD
from nats_fleet import PATIENCE, PLAIN, Call, Nats, Server, Worker, needs_fleet, wait_until

pytestmark = needs_fleet(BUILD)
RUN = "pyexec.v1.run"
LONG = {"timeout_ms": 100000, "max_stdout_bytes": 8000000}


@pytest.fixture
def fleet(pyexec):
    with Server() as server, Worker(pyexec, server, "k0", "--timeout", "100s", "--max-stdout-bytes", "8000000", env=PLAIN) as first, \
            Worker(pyexec, server, "k1", "--timeout", "100s", "--max-stdout-bytes", "8000000", env=PLAIN) as second:
        server.workers = {"k0": first, "k1": second}
        yield server


def kept(key=None):
    return {"Pyexec-Key": key or secrets.token_hex(8), "Pyexec-Keep": "answer"}


def slow(seconds, value):
    return {"code": "import time\ntime.sleep(%g)\n%r" % (seconds, value), "policy": LONG}


def again(nats, body, headers, wanted=200):
    """Repeats the request until it is not in progress any more."""
    def ask():
        answer = Call(nats, RUN, body, headers=headers).end()
        return answer if answer.json().get("code") != "in_progress" else None
    answer = wait_until(ask, "the answer")
    assert answer.status == wanted, answer.data
    return answer.json()


def test_the_same_request_gets_the_same_answer(fleet):
    with Nats(fleet.port) as nats, Nats(fleet.port) as other:
        for events in (False, True):
            body = {"code": "import random\nrandom.random()"}
            headers = kept()
            first = Call(nats, RUN, body, headers=headers, events=events).end()
            assert first.status == 200
            for more in (False, True):
                second = Call(other, RUN, body, headers=headers, events=more).end()
                assert (second.status, second.data, second.headers["Content-Type"]) == (200, first.data, "application/json")
            plain = nats.request(RUN, '{"code": "1"}', {"Pyexec-Key": headers["Pyexec-Key"]})
            assert plain.status == 409 and plain.json()["code"] == "already_started"


def test_an_answer_in_parts_is_kept_whole(fleet):
    with Nats(fleet.port) as nats:
        body, headers = {"code": "print('abcdefgh' * 400000)", "policy": LONG}, kept()
        first = Call(nats, RUN, body, headers=headers, events=True).end()
        second = Call(nats, RUN, body, headers=headers).end()
        assert first.status == second.status == 200 and len(first.data) > 3200000 and second.data == first.data


def test_a_problem_is_kept_and_a_refusal_is_not(fleet):
    with Nats(fleet.port) as nats:
        headers = kept()
        assert [Call(nats, RUN, body, headers=headers).end().status for body in ({"code": 5}, {"code": "1"}, {"code": "1"})] == [400, 200, 200]
        for bad in ({"Pyexec-Keep": "answer"}, {"Pyexec-Key": "k", "Pyexec-Keep": "yes"}):
            assert Call(nats, RUN, {"code": "1"}, headers=bad).end().status == 400
        headers = kept()
        call = Call(nats, RUN, slow(60, 1), headers=headers, events=True)
        assert call.next()[0] == "accepted"
        wait_until(lambda: Call(nats, RUN, slow(60, 1), headers=headers).end().json()["code"] == "in_progress", "the start")
        assert nats.request(call.about + ".cancel").status == 204 and call.end().status == 499
        assert again(nats, slow(60, 1), headers, 499)["code"] == "cancelled"


def test_a_request_in_progress_is_named(fleet):
    with Nats(fleet.port) as nats:
        headers = kept()
        call = Call(nats, RUN, slow(2, 7), headers=headers, events=True)
        assert call.next()[0] == "accepted"

        def look():
            answer = Call(nats, RUN, slow(2, 7), headers=headers).end()
            return answer if answer.status == 409 else None
        answer = wait_until(look, "409").json()
        assert answer["code"] == "in_progress" and call.node in answer["title"] and call.about.rsplit(".", 1)[1] in answer["title"]
        assert again(nats, slow(2, 7), headers)["last_value_repr"] == "7" and call.end().status == 200


@pytest.mark.parametrize("events", [False, True], ids=["message", "events"])
def test_an_answer_outlives_its_client(fleet, events):
    headers = kept()
    body = {"code": "import time\nfor n in range(8):\n    print('x' * 300000)\n    time.sleep(0.1)\n'done'", "policy": LONG}
    with Nats(fleet.port) as nats:
        call = Call(nats, RUN, body, headers=headers, events=events)
        if events:
            assert call.next()[0] == "accepted" and call.next()[0] == "stdout"
        else:
            nats.flush()
    with Nats(fleet.port) as nats:
        answer = again(nats, body, headers)
        assert answer["last_value_repr"] == "'done'" and answer["status"] == "ok"


def test_a_node_that_was_killed_has_lost_its_answer(pyexec, fleet):
    with Nats(fleet.port) as nats:
        headers = kept()
        call = Call(nats, RUN, slow(60, 1), headers=headers, events=True)
        assert call.next()[0] == "accepted"
        wait_until(lambda: Call(nats, RUN, slow(60, 1), headers=headers).end().json()["code"] == "in_progress", "the start")
        fleet.workers[call.node].process.kill()
        fleet.workers[call.node].process.wait()

        def ask():
            answer = Call(nats, RUN, slow(60, 1), headers=headers).end().json()
            return answer["code"] == "already_started"
        wait_until(ask, "that it is lost")


def test_a_nats_server_that_is_killed_loses_no_answer(fleet):
    headers = kept()
    with Nats(fleet.port) as nats:
        call = Call(nats, RUN, slow(2, 8), headers=headers, events=True)
        assert call.next()[0] == "accepted"
        wait_until(lambda: Call(nats, RUN, slow(2, 8), headers=headers).end().json()["code"] == "in_progress", "the start")
    fleet.kill()
    time.sleep(3)           # the run has ended, and its answer waits for the server
    fleet.start()
    with Nats(fleet.port) as nats:
        def ask():
            answer = Call(nats, RUN, slow(2, 8), headers=headers).end(timeout=PATIENCE)
            return answer if answer.status not in ("no responders", 503, 409) else None
        answer = wait_until(ask, "the answer")
        assert answer.status == 200 and answer.json()["last_value_repr"] == "8"

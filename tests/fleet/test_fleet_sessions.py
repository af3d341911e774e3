# SPDX-License-Identifier: Apache-2.0
"""Sessions of a fleet: one owner for each id, the order of calls, files, forks, and what happens when nodes end."""
import json
import os
import secrets
import threading

import pytest

from conftest import BUILD
from nats_fleet import PATIENCE, PLAIN, Call, Nats, Server, Worker, nats, needs_fleet, session_subject
from waiting import wait_until

pytestmark = needs_fleet(BUILD)
FLAGS = ["--files", "full", "--forkable", "--timeout", "20s", "--cpu-time-seconds", "20"]
ENVIRONMENT = {**PLAIN, "PYEXEC_SESSION_MAX_COUNT": "0"}


@pytest.fixture(scope="module")
def server():
    with Server() as made:
        yield made


@pytest.fixture(scope="module")
def workers(pyexec, server):
    with Worker(pyexec, server, "a%d" % pyexec.uid, *FLAGS, env=ENVIRONMENT) as one, \
            Worker(pyexec, server, "b%d" % pyexec.uid, *FLAGS, env=ENVIRONMENT) as two:
        yield {worker.node: worker for worker in (one, two)}


def open_session(nats, **body):
    body.setdefault("id", secrets.token_hex(8))
    answer = nats.request("pyexec.v1.open", json.dumps(body))
    assert answer.status in (200, 201), answer.data
    assert answer.json()["id"] == body["id"]
    return body["id"], answer.headers["Pyexec-Node"], answer.status


def execute(nats, node, session, code, **more):
    return nats.request(session_subject(node, session), json.dumps({"code": code, **more}))


def value(answer):
    assert answer.status == 200, answer.data
    assert answer.json()["status"] == "ok", answer.data
    return answer.json()["last_value_repr"]


def test_a_session_lives_at_one_node(workers, nats):
    session, node, status = open_session(nats)
    assert status == 201 and node in workers
    assert value(execute(nats, node, session, "x = 20")) is None
    assert value(execute(nats, node, session, "x + 22")) == "42"
    for _ in range(10):     # both workers find it
        assert open_session(nats, id=session)[1:] == (node, 200)
    other, = set(workers) - {node}
    moved = execute(nats, other, session, "x = 0")
    assert moved.status == 421 and moved.json()["code"] == "session_moved" and moved.headers["Pyexec-Node"] == node
    assert value(execute(nats, node, session, "x")) == "20"


def test_the_worker_chooses_an_id(workers, nats):
    answers = [nats.request("pyexec.v1.open", body) for body in (b"", b"{}")]
    assert [answer.status for answer in answers] == [201, 201]
    first, second = [answer.json()["id"] for answer in answers]
    assert first != second
    assert value(execute(nats, answers[0].headers["Pyexec-Node"], first, "1")) == "1"


@pytest.mark.parametrize("body,status", [(b"{", 400), (b'{"id": "a/b"}', 400), (b'{"id": 5}', 400), (b'{"id": "..", "policy": {}}', 400),
                                         (b'{"policy": {"timeout_ms": 99999999}}', 400), (b'{"id": "x", "id": "y"}', 400)])
def test_what_is_wrong_with_an_open_is_said(workers, nats, body, status):
    answer = nats.request("pyexec.v1.open", body)
    assert answer.status == status and answer.json()["hint"]


def test_an_open_that_is_refused_leaves_the_id_free(workers, nats):
    session = secrets.token_hex(8)
    assert nats.request("pyexec.v1.open", json.dumps({"id": session, "policy": {"timeout_ms": 99999999}})).status == 400
    for _ in range(20):     # whichever worker gets it
        answer = nats.request("pyexec.v1.open", json.dumps({"id": session}))
        assert answer.status in (200, 201)


def test_100_racing_clients_make_one_session(workers, server):
    session, answers, barrier = secrets.token_hex(8), [], threading.Barrier(100)

    def race():
        with Nats(server.port) as nats:
            barrier.wait(PATIENCE)
            answer = nats.request("pyexec.v1.open", json.dumps({"id": session}))
            answers.append((answer.status, answer.headers.get("Pyexec-Node")))
    threads = [threading.Thread(target=race) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 100 and {status for status, _ in answers} == {200, 201}
    assert [status for status, _ in answers].count(201) == 1
    assert len({node for _, node in answers}) == 1


def test_first_calls_at_both_nodes_run_at_one(workers, nats):
    for _ in range(5):
        session = secrets.token_hex(8)
        calls = {node: Call(nats, session_subject(node, session), {"code": "'made'"}) for node in workers}
        ends = {node: call.end() for node, call in calls.items()}
        assert sorted(end.status for end in ends.values()) == [200, 421]
        owner, = [node for node, end in ends.items() if end.status == 200]
        assert all(end.headers["Pyexec-Node"] == owner for end in ends.values())


@pytest.mark.parametrize("call", ["POST /execute?", "POST /execute?x", "POST /fork?x", "POST /undo?", "DELETE /files/a?b", "OPEN /?"])
def test_only_get_takes_a_query(workers, nats, call):
    session, node, _ = open_session(nats)
    answer = nats.request(session_subject(node, session), '{"code": "x = 1"}', {"Pyexec-Call": call})
    assert answer.status == 400 and "query" in answer.json()["title"], answer.data
    assert value(execute(nats, node, session, "'x' in globals()")) == "False"
    assert nats.request(session_subject(node, session), "", {"Pyexec-Call": "GET /files?x"}).status == 200


def test_calls_keep_their_order(workers, nats):
    session, node, _ = open_session(nats)
    calls = [Call(nats, session_subject(node, session), {"code": "seen = [0]" if not n else "seen.append(%d)\nseen" % n}) for n in range(60)]
    ends = [call.end() for call in calls]
    assert value(ends[-1]) == repr(list(range(60)))
    assert [end.json()["session"]["execution_count"] for end in ends] == list(range(1, 61))


def test_an_interrupt_and_a_look_do_not_wait_for_the_call(workers, nats):
    session, node, _ = open_session(nats)
    call = Call(nats, session_subject(node, session), {"code": "import time\nprint('on', flush=True)\nx = 1\ntime.sleep(19)"}, events=True)
    assert call.next()[0] == "accepted" and call.next()[0] == "stdout"
    look = nats.request(session_subject(node, session), "", {"Pyexec-Call": "GET"})
    assert look.status == 200 and look.json()["busy"] is True
    assert nats.request(session_subject(node, session), "", {"Pyexec-Call": "POST /interrupt"}).status == 204
    assert call.end().json()["error"]["type"] == "KeyboardInterrupt"
    assert value(execute(nats, node, session, "x")) == "1"


def test_a_call_that_is_cancelled_lets_the_next_one_run(workers, nats):
    session, node, _ = open_session(nats)
    call = Call(nats, session_subject(node, session), {"code": "import time\nprint('on', flush=True)\ntime.sleep(19)"}, events=True)
    assert call.next()[0] == "accepted" and call.next()[0] == "stdout"
    after = Call(nats, session_subject(node, session), {"code": "2"})
    waiting = Call(nats, session_subject(node, session), {"code": "3"}, events=True)
    assert waiting.next()[0] == "accepted"
    assert nats.request(waiting.about + ".cancel").status == 204 and waiting.end().status == 499
    assert nats.request(call.about + ".cancel").status == 204 and call.end().status == 499
    assert value(after.end()) == "2"


def test_a_call_may_wait_long_for_its_turn(workers, nats):
    session, node, _ = open_session(nats)
    slow = [Call(nats, session_subject(node, session), {"code": "import time\ntime.sleep(17)"}) for _ in range(2)]
    call = Call(nats, session_subject(node, session), {"code": "6 * 7"}, events=True)
    assert value(call.end()) == "42"
    assert [call.end().status for call in slow] == [200, 200]
    names = [name for name, _ in call.events]
    assert names[0] == "accepted" and names.count("alive") >= 3, names


def test_files_of_the_workspace(workers, nats):
    session, node, _ = open_session(nats)
    place, data = session_subject(node, session), os.urandom(3 << 20)
    assert Call(nats, place, data, "PUT /files/folder/a%20b", headers={"Content-Type": "application/octet-stream"}).end().status == 204
    assert value(execute(nats, node, session, "len(open('folder/a b', 'rb').read())")) == str(len(data))
    got = Call(nats, place, call="GET /files/folder/a%20b").end()
    assert got.status == 200 and got.data == data
    part = nats.request(place, "", {"Pyexec-Call": "GET /files/folder/a%20b", "Range": "bytes=10-19"})
    assert part.status == 206 and part.data == data[10:20] and part.headers["Content-Range"] == "bytes 10-19/%d" % len(data)
    assert nats.request(place, "", {"Pyexec-Call": "GET /files/../../x"}).status in (400, 404)
    assert nats.request(place, "", {"Pyexec-Call": "DELETE /files/folder/a%20b"}).status == 204
    listed = nats.request(place, "", {"Pyexec-Call": "GET /files"}).json()
    assert not [row for row in listed["files"] if row["path"].endswith("a b")]


def test_branches_live_with_their_source_and_belong_to_the_fleet(workers, nats):
    session, node, _ = open_session(nats)
    execute(nats, node, session, "x = 1")
    names = [session + ".up", session + ".down"]
    answer = nats.request(session_subject(node, session), json.dumps({"ids": names}), {"Pyexec-Call": "POST /fork"})
    assert answer.status == 201, answer.data
    assert value(execute(nats, node, names[0], "x += 1; x")) == "2" and value(execute(nats, node, names[1], "x")) == "1"
    for _ in range(6):
        assert open_session(nats, id=names[0])[1:] == (node, 200)
    answer = nats.request(session_subject(node, session), json.dumps({"count": 3}), {"Pyexec-Call": "POST /fork"})
    assert answer.status == 201 and len(set(answer.json()["sessions"])) == 3
    assert value(execute(nats, node, answer.json()["sessions"][2], "x")) == "1"
    # An id of another session, which lives at any node.
    taken, _, _ = open_session(nats)
    fresh = secrets.token_hex(8)
    answer = nats.request(session_subject(node, session), json.dumps({"ids": [fresh, taken]}), {"Pyexec-Call": "POST /fork"})
    assert answer.status == 409 and answer.json()["code"] == "conflict"
    assert open_session(nats, id=fresh)[2] == 201
    answer = nats.request(session_subject(node, session), json.dumps({"ids": "x"}), {"Pyexec-Call": "POST /fork"})
    assert answer.status == 400
    assert value(execute(nats, node, session, "x")) == "1"


def test_undo_returns_to_the_state_before_a_call(workers, nats):
    session, node, _ = open_session(nats)
    execute(nats, node, session, "x = 1")
    execute(nats, node, session, "x = 2", checkpoint=True)
    assert nats.request(session_subject(node, session), "", {"Pyexec-Call": "POST /undo"}).status == 200
    assert value(execute(nats, node, session, "x")) == "1"


def test_a_closed_session_frees_its_id(workers, nats):
    session, node, _ = open_session(nats)
    assert nats.request(session_subject(node, session), "", {"Pyexec-Call": "DELETE"}).status == 204
    other, = set(workers) - {node}
    for name in (node, other):      # no worker believes the old entry
        answer = execute(nats, name, session, "1")
        assert answer.status in (200, 421), answer.data


def test_a_live_node_says_why_its_session_ended(pyexec):
    with Server() as own, Nats(own.port) as nats, \
            Worker(pyexec, own, "short", env={**os.environ, "PYEXEC_SESSION_IDLE_TTL": "300ms"}):
        session, node, _ = open_session(nats)
        execute(nats, node, session, "x = 1")
        wait_until(lambda: nats.request(session_subject(node, session), "", {"Pyexec-Call": "GET"}).status == 404, "the end of the session")
        assert execute(nats, node, session, "1").json()["session"]["restarted"] == "idle_ttl"


@pytest.mark.parametrize("restarted", [False, True], ids=["gone", "restarted"])
def test_the_sessions_of_a_dead_node_are_lost(pyexec, restarted, nothing_left):
    with Server() as own, Nats(own.port) as nats, Worker(pyexec, own, "victim") as victim:
        session, node, _ = open_session(nats)
        assert node == "victim" and execute(nats, node, session, "x = 1").status == 200
        with Worker(pyexec, own, "other"):
            victim.process.kill()
            wait_until(lambda: nats.is_gone("pyexec.v1.node.victim"), "NATS to notice")
            assert execute(nats, "victim", session, "x").no_responders
            if restarted:
                with Worker(pyexec, own, "victim"):
                    answer = execute(nats, "victim", session, "x")
                    assert answer.status == 410 and answer.json()["code"] == "session_lost" and answer.headers["Pyexec-Node"] == "victim"
                    assert open_session(nats, id=session)[2] == 201
                return
            answer = nats.request("pyexec.v1.open", json.dumps({"id": session}))
            assert answer.status == 410 and answer.json()["code"] == "session_lost", answer.data
            assert "victim" in answer.json()["title"] and answer.headers["Pyexec-Node"] == "victim"
            wait_until(lambda: nats.request("pyexec.v1.open", json.dumps({"id": session})).status == 201, "a new session")


def test_a_full_jetstream_refuses_new_sessions_and_keys_and_serves_again(pyexec, open_folder):
    settings = "jetstream { store_dir: %s/js, max_file_store: 1048576 }" % open_folder
    with Server(settings, jetstream=False) as own, Nats(own.port) as nats, Worker(pyexec, own, "full", "--files", "full", "--forkable") as worker:
        session = open_session(nats)[0]
        fill = {"name": "FILL", "subjects": ["fill"], "storage": "file", "num_replicas": 1, "retention": "limits", "discard": "new"}
        assert "error" not in nats.request("$JS.API.STREAM.CREATE.FILL", json.dumps(fill)).json()
        wait_until(lambda: "insufficient resources" in str(nats.request("fill", "x" * 60000).data), "the limit")
        fork = nats.request(worker.subject(session), '{"count": 1}', {"Pyexec-Call": "POST /fork"})
        for refused in (nats.request("pyexec.v1.open", "{}"), nats.request("pyexec.v1.run", '{"code": "1"}', {"Pyexec-Key": "k"}), fork):
            assert refused.status == 503 and "JetStream stores no more" in refused.json()["title"], refused.data
            assert "disk" in refused.json()["hint"] and "never started" in refused.json()["hint"]
        assert nats.request("pyexec.v1.run", '{"code": "1"}').status == 200 and execute(nats, "full", session, "1").status == 200
        assert nats.request("$JS.API.STREAM.DELETE.FILL").json()["success"]
        assert open_session(nats)[2] == 201
        assert nats.request("pyexec.v1.run", '{"code": "1"}', {"Pyexec-Key": "k"}).status == 200


def test_without_jetstream_only_single_runs_are_served(pyexec):
    with Server(jetstream=False) as own, Nats(own.port) as nats, Worker(pyexec, own, "plain") as worker:
        answer = nats.request("pyexec.v1.open", "{}")
        assert answer.status == 503 and "JetStream" in answer.json()["title"], answer.data
        assert execute(nats, "plain", "x", "1").status == 503
        assert nats.request("pyexec.v1.run", '{"code": "1"}').status == 200
        assert "JetStream is not available" in worker.text()

# SPDX-License-Identifier: Apache-2.0
"""A bucket of sessions that forgets entries, or shows old ones: live nodes are believed more than it."""
import base64
import contextlib
import json
import secrets

import pytest

from conftest import BUILD
from nats_fleet import LOCAL, PLAIN, Call, Nats, Server, Worker, b64, nats, needs_fleet  # noqa: F401
from waiting import wait_until

pytestmark = needs_fleet(BUILD)
EVERYONE = "pyexec.v1.node.@all"
STREAM = "$JS.API.STREAM.%s.KV_pyexec_sessions"


@contextlib.contextmanager
def started(program, server):
    """Three workers, so that there is a node that neither has the session nor is asked."""
    with Worker(program, server, "l0", env=PLAIN) as one, Worker(program, server, "l1", env=PLAIN) as two, \
            Worker(program, server, "l2", env=PLAIN) as three:
        yield {"l0": one, "l1": two, "l2": three}


@pytest.fixture(scope="module")
def server(pyexec):
    with Server() as made:
        yield made


@pytest.fixture(scope="module")
def fleet(pyexec, server):
    with started(pyexec, server) as workers:
        yield workers


def entry(session):
    return "$KV.pyexec_sessions.%s.%s" % (LOCAL, b64(session))


def open_at(nats, worker, session):
    """Opens the session by a worker that the test chooses."""
    return nats.request(worker.subject(session), json.dumps({"id": session}), {"Pyexec-Call": "OPEN"})


def execute(nats, worker, session, code):
    return nats.request(worker.subject(session), json.dumps({"code": code}))


def made(nats, worker):
    """Returns a session at this worker, in which n is 7."""
    session = secrets.token_hex(8)
    assert open_at(nats, worker, session).status == 201
    assert execute(nats, worker, session, "n = 7").status == 200
    return session


def forget(nats, session):
    answer = nats.request(STREAM % "PURGE", json.dumps({"filter": entry(session)})).json()
    assert answer["purged"] == 1, answer


def owner(nats, session):
    """Returns the node that the bucket names."""
    message = nats.request(STREAM % "MSG.GET", json.dumps({"last_by_subj": entry(session)})).json()["message"]

    return json.loads(base64.b64decode(message["data"]))["node"]


def finds(asked):
    """Returns the questions to all nodes since the last look."""
    messages = [json.loads(asked.get().data) for _ in range(asked.qsize())]
    return [each for each in messages if each["do"] == "find"]


def boot(nats, worker):
    return nats.request("pyexec.v1.node." + worker.node, '{"do": "ping"}').json()["boot"]


def check(nats, fleet, session):
    """The session is still at l0, whoever is asked, and the bucket says so again."""
    for name in ("l1", "l2"):
        answer = open_at(nats, fleet[name], session)
        assert (answer.status, answer.headers["Pyexec-Node"]) == (200, "l0"), (name, answer.status, answer.data)
        moved = execute(nats, fleet[name], session, "n = 8")
        assert (moved.status, moved.headers["Pyexec-Node"]) == (421, "l0"), moved.data
    assert owner(nats, session) == "l0"
    answer = execute(nats, fleet["l0"], session, "n")
    assert answer.status == 200 and answer.json()["last_value_repr"] == "7" and not answer.json()["session"]["created"], answer.data


def test_a_session_whose_entry_is_forgotten_stays_at_its_node(nats, fleet):
    session = made(nats, fleet["l0"])
    forget(nats, session)
    check(nats, fleet, session)
    forget(nats, session)
    moved = execute(nats, fleet["l2"], session, "n = 8")        # a call, and no `open`
    assert (moved.status, moved.headers["Pyexec-Node"]) == (421, "l0"), moved.data
    check(nats, fleet, session)


@pytest.mark.parametrize("lie", ["a node that is not there", "a node without the session", "the node that is asked", "an earlier start of its node"])
def test_a_session_whose_entry_is_an_old_one_stays_at_its_node(nats, fleet, lie):
    session = made(nats, fleet["l0"])
    node, start = {"a node that is not there": ("gone", "0" * 32), "a node without the session": ("l2", boot(nats, fleet["l2"])),
                   "the node that is asked": ("l1", boot(nats, fleet["l1"])), "an earlier start of its node": ("l0", "0" * 32)}[lie]
    assert "error" not in nats.request(entry(session), json.dumps({"node": node, "boot": start})).json()
    check(nats, fleet, session)


def test_many_clients_at_once_find_the_session_whose_entry_is_forgotten(nats, fleet):
    session = made(nats, fleet["l0"])
    forget(nats, session)
    opening = [Call(nats, fleet[name].subject(session), {"id": session}, call="OPEN") for name in ("l1", "l2") * 10]
    for answer in [call.end() for call in opening]:
        assert (answer.status, answer.headers["Pyexec-Node"]) == (200, "l0"), answer.data
    check(nats, fleet, session)


@pytest.mark.parametrize("ending", ["kill", "drain"])
def test_a_session_of_a_node_that_ended_is_made_anew(pyexec, ending):
    """A node that was killed is waited for. One that was drained has said goodbye."""
    with Server() as server, Nats(server.port) as nats, started(pyexec, server) as fleet:
        worker = fleet["l0"]
        session = made(nats, worker)
        if ending == "kill":
            forget(nats, session)
            worker.process.kill()
            worker.process.wait()
        else:
            assert worker.stop() == 0
        asked = nats.subscribe(EVERYONE)
        nats.flush()
        answer = open_at(nats, fleet["l2"], session)
        assert (answer.status, answer.headers["Pyexec-Node"]) == (201, "l2"), answer.data
        count = len(finds(asked))
        assert count > 1 if ending == "kill" else count == 1, count
        assert execute(nats, fleet["l2"], session, "globals().get('n')").json()["last_value_repr"] is None


def test_only_ids_of_clients_are_asked_for(nats, fleet):
    asked = nats.subscribe(EVERYONE)
    nats.flush()
    assert nats.request("pyexec.v1.open", "{}").status == 201
    assert asked.empty()
    session = made(nats, fleet["l0"])
    question = json.loads(asked.get(timeout=10).data)
    assert (question["do"], question["node"], question["key"]) == ("find", "l0", "%s.%s" % (LOCAL, b64(session)))
    assert execute(nats, fleet["l0"], session, "n").status == 200 and asked.empty()


def test_nonsense_for_all_nodes_changes_nothing(nats, fleet):
    session = made(nats, fleet["l0"])
    for text in (b"", b"x", b"{}", b"[]", b"\0" * 1000, b'{"do": "bye"}', b'{"do": "find"}', b'{"do": 5, "node": "l0", "boot": "x"}',
                 b'{"do": "find", "node": "a.b", "boot": "x", "key": "k"}', b'{"do": "hello", "node": "%s", "boot": "x"}' % (b"n" * 65),
                 b'{"do": "find", "node": "n", "boot": "x", "key": "%s"}' % (b"k" * 100000), b'{"do": "future", "node": "n", "boot": "x"}',
                 b'{"do": "find", "node": "n", "boot": "%s", "key": "k"}' % (b"b" * 33)):
        nats.publish(EVERYONE, text, nats.inbox + ".nobody")
        nats.publish(EVERYONE, text)
    nats.flush()
    for worker in fleet.values():
        assert nats.request("pyexec.v1.node." + worker.node, '{"do": "ping"}').json()["node"] == worker.node
    forget(nats, session)
    check(nats, fleet, session)


def test_without_an_answer_from_all_a_node_that_was_heard_is_waited_for_once(nats, fleet):
    """Somebody says that it is a node, and answers nothing: the first question waits for it, the next one does not."""
    nats.publish(EVERYONE, '{"do": "hello", "node": "ghost", "boot": "x"}')
    asked = nats.subscribe(EVERYONE)
    nats.flush()
    counts = []
    for _ in range(2):
        made(nats, fleet["l0"])
        counts.append(len(finds(asked)))
    assert counts[0] > 1 and counts[1] == 1, counts


def test_two_workers_that_start_together_know_each_other(pyexec, server):
    with Nats(server.port) as nats, Worker(pyexec, server, "t0", env=PLAIN, ready=False) as one, Worker(pyexec, server, "t1", env=PLAIN) as two:
        wait_until(lambda: "node t0 serves" in one.text(), "the other worker")
        session = made(nats, one)
        forget(nats, session)
        answer = open_at(nats, two, session)
        assert (answer.status, answer.headers["Pyexec-Node"]) == (200, "t0"), answer.data

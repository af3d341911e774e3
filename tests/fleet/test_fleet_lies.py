# SPDX-License-Identifier: Apache-2.0
"""A bucket of sessions that forgets entries, or shows old ones: live nodes are believed more than it."""
import base64
import contextlib
import json
import queue
import secrets
import shutil
import signal
import time

import pytest

from conftest import BUILD
from fake_node import FakeNode
from forwarder import Forwarder
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


class Ghost(FakeNode):
    """Another node that says what the test wants about the sessions `owned`. It is silent while it is `mute`. `first(message)` is called
    before it answers a `find`."""
    boot = "0123456789abcdef" * 2

    def __init__(self, port, name="ghost"):
        super().__init__(port, name)
        self.owned, self.doubted, self.mute, self.delay, self.first, self.replied = set(), False, False, 0, lambda: None, queue.Queue()
        self.serve(EVERYONE, Ghost.reply)
        self.serve("pyexec.v1.node.%s.s.*.*" % name, lambda node, message: node.answer(message, 200, {"id": "x", "node": name}))

    def say(self, verb):
        self.publish(EVERYONE, json.dumps({"do": verb, "node": self.name, "boot": self.boot}))
        self.flush()

    def reply(self, message):
        question = json.loads(message.data)
        if question["node"] == self.name or not message.reply or self.mute:
            return
        owns = question.get("key") in {"%s.%s" % (LOCAL, b64(each)) for each in self.owned}
        if question["do"] == "find":
            self.first()
        time.sleep(self.delay)
        self.publish(message.reply, json.dumps({"node": self.name, "boot": self.boot, "owns": owns, "doubted": self.doubted}))
        self.flush()
        self.replied.put(question["do"])


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
        made(nats, fleet["l2"])     # it knows the others now
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
    assert not finds(asked)
    session = made(nats, fleet["l0"])
    assert {(each["node"], each["key"]) for each in finds(asked)} == {("l0", "%s.%s" % (LOCAL, b64(session)))}
    assert execute(nats, fleet["l0"], session, "n").status == 200 and not finds(asked)


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
    made(nats, fleet["l0"])     # it knows the others now
    nats.publish(EVERYONE, '{"do": "hello", "node": "nobody", "boot": "x"}')
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


def from_ghost(answer, name="ghost"):
    return (answer.status, answer.headers["Pyexec-Node"]) == (200, name)


def test_a_node_that_starts_waits_for_the_answers_to_its_hello(pyexec):
    """The other node says nothing of itself and is slow, and its session's entry is forgotten."""
    with Server() as own, Nats(own.port) as nats, Ghost(own.port) as ghost, Ghost(own.port, "second") as second:
        ghost.delay, second.delay = 0.3, 0.3
        ghost.owned.add("one")
        second.owned.add("two")
        with Worker(pyexec, own, "starts", env=PLAIN) as worker:
            answer = open_at(nats, worker, "one")
            assert from_ghost(answer), (answer.status, answer.data)
            answer = open_at(nats, worker, "two")
            assert from_ghost(answer, "second"), (answer.status, answer.data)


def test_a_node_whose_name_another_took_at_the_same_moment_ends(pyexec):
    """The other node gets the same messages as the worker. Its answer to the worker's question comes after the worker's own answer."""
    with Server() as own, Nats(own.port) as nats:
        asked = nats.subscribe(EVERYONE)
        nats.flush()
        with Worker(pyexec, own, "twin", env=PLAIN, ready=False) as worker:
            hello = asked.get(timeout=30)
            assert json.loads(hello.data)["do"] == "hello"
            nats.publish(hello.reply, json.dumps({"node": "twin", "boot": Ghost.boot, "owns": False, "doubted": False}))
            assert worker.process.wait(60) == 125
            assert "another node of the fleet has the name 'twin'" in worker.text()


def test_a_node_that_was_forgotten_is_known_again_when_it_answers(nats, server, fleet):
    worker = fleet["l0"]
    with Ghost(server.port) as ghost:
        ghost.say("hello")
        ghost.mute = True
        made(nats, worker)          # it is waited for, and then forgotten
        ghost.mute, ghost.delay = False, 0.3
        made(nats, worker)          # its answer comes too late for this question
        assert ghost.replied.get(timeout=30) == "find"
        assert nats.request("pyexec.v1.node.l0", '{"do": "ping"}').json()["node"] == "l0"       # the answer has been read
        session = secrets.token_hex(8)
        ghost.owned.add(session)
        answer = open_at(nats, worker, session)
        assert from_ghost(answer), (answer.status, answer.data)
        ghost.say("bye")


@pytest.mark.parametrize("forgotten", [True, False], ids=["no entry", "an old entry"])
@pytest.mark.parametrize("fault", ["the connection", "the worker"])
def test_silence_of_its_own_connection_says_nothing_about_others(pyexec, server, nats, fault, forgotten):
    """The connection, or the worker, stands still for longer than a node is waited for. The other node is alive all the time."""
    with Forwarder(server.port) as link, Ghost(server.port) as ghost, Worker(pyexec, link, "still", env=PLAIN) as worker:
        made(nats, worker)          # it knows the others now
        session = secrets.token_hex(8)
        ghost.owned.add(session)
        if not forgotten:
            assert "error" not in nats.request(entry(session), json.dumps({"node": "still", "boot": "0" * 32})).json()
        stopped = queue.Queue()

        def stop():
            if stopped.empty():
                stopped.put(True)
                link.silent = fault == "the connection"
                if not link.silent:
                    worker.process.send_signal(signal.SIGSTOP)
                    time.sleep(0.05)
        ghost.first = stop
        worker_server = worker.process
        opening = Call(nats, worker.subject(session), {"id": session}, call="OPEN")
        wait_until(lambda: not stopped.empty(), "the question")
        time.sleep(2.6)             # the time of the fault, not a wait
        link.silent = False
        worker_server.send_signal(signal.SIGCONT)
        answer = opening.end()
        assert answer.status == 503 and "connection to NATS did not answer" in answer.json()["title"] or from_ghost(answer), answer.data
        assert answer.status == 503 or fault == "the worker", "the answer can't have come"
        answer = open_at(nats, worker, session)
        assert from_ghost(answer) and owner(nats, session) == "ghost", (answer.status, answer.data)
        ghost.say("bye")


def test_a_fork_asks_for_the_ids_of_its_client(pyexec, server, nats):
    with Ghost(server.port) as ghost, Worker(pyexec, server, "forks", "--forkable", env=PLAIN) as worker:
        source, theirs, free = [secrets.token_hex(8) for _ in range(3)]
        ghost.owned.add(theirs)
        assert nats.request(worker.subject(source), json.dumps({"id": source, "policy": {"forkable": True}}), {"Pyexec-Call": "OPEN"}).status == 201

        def fork(*ids):
            return nats.request(worker.subject(source), json.dumps({"ids": ids}), {"Pyexec-Call": "POST /fork"})
        answer = fork(theirs)
        assert answer.status == 409 and theirs in answer.json()["title"], (answer.status, answer.data)
        assert owner(nats, theirs) == "ghost"
        answer = fork(free)
        assert answer.status == 201 and owner(nats, free) == "forks", (answer.status, answer.data)
        ghost.say("bye")


def test_a_node_that_was_away_is_believed_less_than_the_bucket_and_than_others(nats, server, fleet):
    with Ghost(server.port, "away") as away, Ghost(server.port, "sure") as sure:
        away.doubted = True
        for ghost in (away, sure):
            ghost.say("hello")
        alone, both = secrets.token_hex(8), secrets.token_hex(8)
        away.owned |= {alone, both}
        sure.owned.add(both)
        sure.delay = 0.2
        answer = open_at(nats, fleet["l0"], both)
        assert from_ghost(answer, "sure") and owner(nats, both) == "sure", (answer.status, answer.data)
        assert open_at(nats, fleet["l0"], alone).status == 201 and owner(nats, alone) == "l0"
        for ghost in (away, sure):
            ghost.say("bye")


def test_a_question_ends_with_its_client(nats, server, fleet):
    with Ghost(server.port) as ghost:
        made(nats, fleet["l0"])     # it knows the others now
        ghost.say("hello")
        ghost.mute = True
        asked = nats.subscribe(EVERYONE)
        session = secrets.token_hex(8)
        opening = Call(nats, fleet["l0"].subject(session), {"id": session}, call="OPEN", events=True)
        assert opening.next()[0] == "accepted"
        wait_until(lambda: finds(asked), "the question")
        assert nats.request(opening.about + ".cancel").status == 204 and opening.end().status == 499
        finds(asked)
        time.sleep(0.6)             # two questions would come
        assert not finds(asked)
        wait_until(lambda: "error" in nats.request(STREAM % "MSG.GET", json.dumps({"last_by_subj": entry(session)})).json(), "the entry's end")
        ghost.say("bye")


def test_sessions_survive_a_nats_server_that_was_away_and_has_lost_all(pyexec):
    """Its buckets are empty, but no node has said that a session is lost."""
    with Server() as own:
        with Nats(own.port) as nats, Worker(pyexec, own, "stays", env=PLAIN) as worker:
            session = made(nats, worker)
            own.kill()
            shutil.rmtree(own.folder + "/js")
            time.sleep(4.5)         # so long that the node doubts its sessions
            own.start()
            with Nats(own.port) as again:
                wait_until(lambda: not again.is_gone("pyexec.v1.node.stays"), "the node")
                wait_until(lambda: open_at(again, worker, session).status == 200, "JetStream")
                assert execute(again, worker, session, "n").json()["last_value_repr"] == "7"

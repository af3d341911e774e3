# SPDX-License-Identifier: Apache-2.0
"""What a worker knows about ids of sessions: many calls of one id at once, calls that are cancelled while the bucket is asked, and which
entries stay in the bucket. Where the moment of an answer matters, the test answers in JetStream's place."""
import base64
import itertools
import json
import os
import queue
import secrets
import signal

import pytest

from conftest import BUILD
from nats_fleet import PLAIN, Call, Nats, Server, Worker, b64, needs_fleet
from waiting import wait_until

pytestmark = needs_fleet(BUILD)
# malloc overwrites what is freed, so that a use after it is seen.
TUNABLES = "glibc.malloc.tcache_count=0:glibc.malloc.perturb=165"
ENVIRONMENT = {**PLAIN, "PYEXEC_SESSION_MAX_COUNT": "0", "GLIBC_TUNABLES": TUNABLES}
FORKS = ["--files", "full", "--forkable"]


@pytest.fixture
def fleet(pyexec):
    with Server() as own, Nats(own.port) as nats, Worker(pyexec, own, "n0", *FORKS, env=ENVIRONMENT) as worker:
        yield nats, worker


@pytest.fixture
def by_hand(pyexec):
    """A fleet without JetStream: the test answers the claims."""
    with Server(jetstream=False) as own, Nats(own.port) as nats:
        bucket = Bucket(nats)
        with Worker(pyexec, own, "n0", *FORKS, env=ENVIRONMENT) as worker:
            yield nats, worker, bucket


class Bucket:
    def __init__(self, nats):
        self.nats, self.numbers = nats, itertools.count(1)
        self.claims = nats.subscribe("$KV.pyexec_sessions.>")
        self.reads = nats.subscribe("$JS.API.STREAM.MSG.GET.KV_pyexec_sessions")
        self.purges = nats.subscribe("$JS.API.STREAM.PURGE.KV_pyexec_sessions")
        nats.flush()

    def claim(self, session):
        """Waits for the claim of this id."""
        message = self.claims.get(timeout=30)
        assert message.subject == "$KV.pyexec_sessions." + key(session)
        return message

    def grant(self, claim):
        number = next(self.numbers)
        self.nats.publish(claim.reply, json.dumps({"stream": "KV_pyexec_sessions", "seq": number}))
        return number

    def refuse(self, claim):
        self.nats.publish(claim.reply, json.dumps({"error": {"code": 400, "err_code": 10071, "description": "wrong last sequence"}}))

    def show(self, claim, number):
        """Answers the next read with this claim."""
        read = self.reads.get(timeout=30)
        text = {"message": {"seq": number, "data": base64.b64encode(claim.data).decode()}}
        self.nats.publish(read.reply, json.dumps(text))

    def purged(self):
        message = json.loads(self.purges.get(timeout=30).data)
        return message["filter"].removeprefix("$KV.pyexec_sessions."), message.get("seq")


def key(session):
    return b64("local") + "." + b64(session)


def open_call(nats, session, **more):
    return Call(nats, "pyexec.v1.open", {"id": session}, events=True, **more)


def is_well(nats, worker):
    assert worker.process.poll() is None, worker.text()
    assert nats.request("pyexec.v1.node.n0", '{"do": "ping"}').json()["node"] == "n0"


def entries(nats, bucket="pyexec_sessions"):
    return nats.request("$JS.API.STREAM.INFO.KV_" + bucket).json()["state"]["messages"]


def test_a_session_is_closed_by_many_calls_at_once(fleet):
    nats, worker = fleet
    for _ in range(25):
        session = secrets.token_hex(8)
        assert open_call(nats, session).end().status == 201
        names = ["DELETE"] * 4 + ["GET", "GET /files", "POST /interrupt", "DELETE"]
        ends = [call.end().status for call in [Call(nats, worker.subject(session), call=name) for name in names]]
        assert ends.count(204) >= 1 and set(ends) <= {200, 204, 404, 409}, ends
        is_well(nats, worker)
    wait_until(lambda: entries(nats) == 0, "the removal of the entries")


def begin_fork(nats, worker, bucket, *branches):
    source = secrets.token_hex(8)
    opened = open_call(nats, source)
    bucket.grant(bucket.claim(source))
    assert opened.end().status == 201
    fork = Call(nats, worker.subject(source), {"ids": list(branches)}, "POST /fork", events=True)
    assert fork.next()[0] == "accepted"
    return fork


def test_a_fork_that_is_cancelled_leaves_an_open_of_its_branch_alone(by_hand):
    nats, worker, bucket = by_hand
    first, second = secrets.token_hex(8), secrets.token_hex(8)
    fork = begin_fork(nats, worker, bucket, first, second)
    bucket.grant(bucket.claim(first))
    pending = bucket.claim(second)
    assert nats.request(worker.subject(first), "", {"Pyexec-Call": "DELETE"}).status == 404
    again = open_call(nats, first)
    assert again.next()[0] == "accepted"
    try:
        claim = bucket.claims.get(timeout=1)
    except queue.Empty:
        claim = None        # the worker still has the entry
    assert nats.request(again.about + ".cancel").status in (204, 404)
    assert nats.request(fork.about + ".cancel").status == 204 and fork.end().status == 499
    for each in filter(None, (claim, pending)):
        bucket.grant(each)
    is_well(nats, worker)


def test_a_branch_that_is_claimed_after_the_fork_was_cancelled_is_given_back(by_hand):
    nats, worker, bucket = by_hand
    branch = secrets.token_hex(8)
    fork = begin_fork(nats, worker, bucket, branch)
    claim = bucket.claim(branch)
    assert nats.request(fork.about + ".cancel").status == 204 and fork.end().status == 499
    number = bucket.grant(claim)
    assert bucket.purged() == (key(branch), number + 1)
    is_well(nats, worker)


def test_an_open_that_comes_while_a_fork_claims_its_id_has_the_id(by_hand):
    nats, worker, bucket = by_hand
    branch = secrets.token_hex(8)
    fork = begin_fork(nats, worker, bucket, branch)
    forks = bucket.claim(branch)
    opened = open_call(nats, branch)
    opens = bucket.claim(branch)
    number = bucket.grant(forks)
    bucket.refuse(opens)
    bucket.show(forks, number)
    assert opened.end().status == 201
    assert fork.end().status == 409
    # There is one seat: when it is given back, the next call asks the bucket again.
    assert nats.request(worker.subject(branch), "", {"Pyexec-Call": "DELETE"}).status == 204
    assert bucket.purged() == (key(branch), number + 1)
    again = open_call(nats, branch)
    bucket.grant(bucket.claim(branch))
    assert again.end().status == 201


def test_ids_that_do_not_exist_leave_nothing_in_the_bucket(fleet):
    nats, worker = fleet
    for number in range(50):
        session = secrets.token_hex(8)
        call = ("GET", "GET /files", "GET /files/a", "DELETE /files/a", "POST /interrupt", "POST /fork", "POST /undo", "DELETE")[number % 8]
        answer = nats.request(worker.subject(session), "", {"Pyexec-Call": call})
        assert answer.status in (400, 404), (call, answer.status, answer.data)
        assert nats.request(worker.subject(session), "{").status == 400
    wait_until(lambda: entries(nats) == 0, "the removal of the entries")


def test_a_file_that_does_not_exist_does_not_end_the_session(fleet):
    nats, worker = fleet
    session, branch = secrets.token_hex(8), secrets.token_hex(8)
    assert open_call(nats, session).end().status == 201
    assert nats.request(worker.subject(session), json.dumps({"ids": [branch]}), {"Pyexec-Call": "POST /fork"}).status == 201
    for each in (session, branch):
        assert nats.request(worker.subject(each), "", {"Pyexec-Call": "GET /files/nothing"}).status == 404
        assert open_call(nats, each).end().status == 200
    assert entries(nats) == 2


def test_a_call_that_is_cancelled_after_its_start_keeps_the_session(fleet):
    nats, worker = fleet
    session = secrets.token_hex(8)
    call = Call(nats, worker.subject(session), {"code": "import time\nprint('on', flush=True)\ntime.sleep(30)"}, events=True)
    assert call.next()[0] == "accepted" and call.next()[0] == "stdout"
    assert nats.request(call.about + ".cancel").status == 204 and call.end().status == 499
    assert nats.request(worker.subject(session), "", {"Pyexec-Call": "GET /files/nothing"}).status == 404
    assert entries(nats) == 1


@pytest.mark.parametrize("drained", [True, False], ids=["drained", "killed"])
def test_a_node_that_drains_leaves_nothing_in_the_bucket(fleet, drained):
    nats, worker = fleet
    for call in [open_call(nats, secrets.token_hex(8)) for _ in range(100)]:
        assert call.end().status == 201
    assert entries(nats) == 100
    if drained:
        assert worker.stop() == 0 and entries(nats) == 0
    else:       # the next `open` says that the session is lost
        os.kill(worker.server(), signal.SIGKILL)
        assert worker.process.wait(60) != 0 and entries(nats) == 100


def test_an_open_that_is_sent_on_keeps_its_headers(fleet):
    nats, _ = fleet
    session = secrets.token_hex(8)
    owner = "pyexec.v1.node.owner"
    pings, calls = nats.subscribe(owner), nats.subscribe(owner + ".s." + key(session))     # the test is the owner
    stored = nats.request("$KV.pyexec_sessions." + key(session), json.dumps({"node": "owner", "boot": "b"}))
    assert "seq" in stored.json()
    sent = {"Pyexec-Key": "k", "traceparent": "00-%s-%s-01" % ("a" * 32, "b" * 16), "tracestate": "x=y", "X-Request-Id": "r-1"}
    open_call(nats, session, headers=sent)
    nats.publish(pings.get(timeout=30).reply, '{"node": "owner", "boot": "b"}')
    got = calls.get(timeout=30)
    assert got.headers.items() >= {**sent, "Pyexec-Call": "OPEN", "Accept": "text/event-stream"}.items(), got.headers
    assert json.loads(got.data) == {"id": session}


def test_an_entry_that_was_replaced_meanwhile_loses_no_session(by_hand):
    """A NATS server that was stopped may show an old entry. Then there is nothing to remove, and the bucket is asked again."""
    nats, _, bucket = by_hand
    session = secrets.token_hex(8)
    opened = open_call(nats, session)
    bucket.refuse(bucket.claim(session))
    read, old = bucket.reads.get(timeout=30), b'{"node": "n0", "boot": "%s"}' % (b"0" * 32)
    nats.publish(read.reply, json.dumps({"message": {"seq": 3, "data": base64.b64encode(old).decode()}}))
    purge = bucket.purges.get(timeout=30)
    assert json.loads(purge.data)["seq"] == 4
    nats.publish(purge.reply, '{"success": true, "purged": 0}')
    bucket.grant(bucket.claim(session))
    assert opened.end().status == 201

# SPDX-License-Identifier: Apache-2.0
"""Requests with a key: at most one of them starts, however often it is sent and whatever is killed. A tool, called over the client,
is the counter outside of the fleet."""
import base64
import collections
import json
import os
import queue
import random
import secrets
import threading
import time

import pytest

from conftest import BUILD
from nats_fleet import NO_RESPONDERS, PATIENCE, PLAIN, Call, Nats, Server, Worker, b64, needs_fleet
from waiting import wait_until

pytestmark = needs_fleet(BUILD)
RUN = "pyexec.v1.run"
TICK = {"code": "tick()", "tools": [{"name": "tick"}]}


def test_a_key_starts_one_request(pyexec):
    with Server() as own, Worker(pyexec, own, "k0", env=PLAIN), Worker(pyexec, own, "k1", env=PLAIN), Nats(own.port) as nats:
        key, answers, barrier = secrets.token_hex(8), [], threading.Barrier(30)

        def race():
            with Nats(own.port) as other:
                barrier.wait(PATIENCE)
                answers.append(other.request(RUN, '{"code": "6 * 7"}', {"Pyexec-Key": key}))
        threads = [threading.Thread(target=race) for _ in range(30)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(answer.status for answer in answers) == [200] + [409] * 29
        assert {answer.json().get("code") for answer in answers} == {None, "already_started"}
        assert nats.request(RUN, '{"code": "1"}', {"Pyexec-Key": key + "x"}).status == 200
        for bad in ("x" * 129, "a\u00e9"):
            assert nats.request(RUN, '{"code": "1"}', {"Pyexec-Key": bad}).status == 400


def test_keys_need_jetstream(pyexec):
    with Server(jetstream=False) as own, Worker(pyexec, own, "k2", env=PLAIN), Nats(own.port) as nats:
        answer = nats.request(RUN, '{"code": "1"}', {"Pyexec-Key": "k"})
        assert answer.status == 503 and "JetStream" in answer.json()["title"]


@pytest.mark.parametrize("events", [False, True], ids=["message", "events"])
def test_a_refusal_gives_the_key_back(pyexec, open_folder, events):
    tokens = open_folder / "tokens"
    tokens.write_text("alice - timeout_ms=1000\n")
    os.chmod(tokens, 0o644)
    with Server() as own, Worker(pyexec, own, "k3", "--token-file", str(tokens), env=PLAIN) as worker, Nats(own.port) as nats:
        def ask(subject, key, body):
            return Call(nats, subject, body, headers={"Pyexec-Key": key}, events=events).end().status
        assert [ask(RUN, "a", {"code": 5}), ask(RUN, "a", b"{"), ask(RUN, "a", {"code": "1"}), ask(RUN, "a", {"code": "1"})] == [400, 400, 200, 409]
        alice, eve = ("pyexec.v1.as.%s.run" % b64(name) for name in ("alice", "eve"))
        assert [ask(alice, "b", {"code": "1", "timeout_ms": 1001}), ask(alice, "b", {"code": "1"})] == [400, 200]
        assert [ask(eve, "c", {"code": "1"}) for _ in range(2)] == [401, 401]
        session = worker.subject("s")
        assert [ask(session, "d", {"code": 5}), ask(session, "d", {"code": "1"}), ask(session, "d", {"code": "1"})] == [400, 200, 409]
        assert nats.request("$JS.API.STREAM.INFO.KV_pyexec_keys").json()["state"]["messages"] == 3


def test_a_request_that_is_cancelled_before_its_key_is_written_gives_it_back(pyexec):
    with Server(jetstream=False) as own, Nats(own.port) as nats:    # the test answers in JetStream's place
        claims, purges = nats.subscribe("$KV.pyexec_keys.>"), nats.subscribe("$JS.API.STREAM.PURGE.KV_pyexec_keys")
        nats.flush()
        with Worker(pyexec, own, "k4", env=PLAIN):
            call = Call(nats, RUN, {"code": "1"}, events=True, headers={"Pyexec-Key": "k"})
            assert call.next()[0] == "accepted"
            claim = claims.get(timeout=PATIENCE)
            assert nats.request(call.about + ".cancel").status == 204 and call.end().status == 499
            nats.publish(claim.reply, '{"stream": "KV_pyexec_keys", "seq": 7}')
            assert json.loads(purges.get(timeout=PATIENCE).data) == {"filter": claim.subject, "seq": 8}


@pytest.mark.parametrize("late", [False, True], ids=["the request waits", "the request was refused"])
def test_a_key_that_was_stored_without_an_answer_belongs_to_its_request(pyexec, late):
    """It starts, or the key is given back. Otherwise 409 would be the answer for a day to a request that never started."""
    with Server(jetstream=False) as own, Nats(own.port) as nats:    # the test answers in JetStream's place
        claims, purges, reads = [nats.subscribe(subject) for subject in (
            "$KV.pyexec_keys.>", "$JS.API.STREAM.PURGE.KV_pyexec_keys", "$JS.API.STREAM.MSG.GET.KV_pyexec_keys")]
        nats.flush()
        with Worker(pyexec, own, "k5", env=PLAIN):
            call = Call(nats, RUN, {"code": "6 * 7"}, headers={"Pyexec-Key": "k"})
            claim = claims.get(timeout=PATIENCE)
            read = reads.get(timeout=PATIENCE)
            if late:
                read = reads.get(timeout=PATIENCE)
                answer = call.end()
                assert answer.status == 503 and "JetStream does not answer" in answer.json()["title"], answer.data
            assert json.loads(read.data) == {"last_by_subj": claim.subject}
            nats.publish(read.reply, json.dumps({"message": {"seq": 7, "data": base64.b64encode(claim.data).decode()}}))
            if late:
                assert json.loads(purges.get(timeout=PATIENCE).data) == {"filter": claim.subject, "seq": 8}
            else:
                assert call.end().json()["last_value_repr"] == "42"


def send(nats, key, ticks):
    """Sends the request until it is certain whether it ran. Returns the last status."""
    while True:
        call = Call(nats, RUN, TICK, events=True, headers={"Pyexec-Key": key})

        def count(name, message):
            if name == "tool_call":
                ticks[key] += 1
                nats.publish(message.reply, '{"result": 1}')
        silent = 0
        while True:
            try:
                name, _, message = call.next(timeout=0.5)
            except queue.Empty:
                silent += 1
                if silent > 4 and (not call.about or nats.is_gone(call.about + ".ping") or nats.request(call.about + ".ping").status == 404):
                    break       # the answer is lost: ask with the same key
                continue
            silent = 0
            if name:
                count(name, message)
                continue
            if message.status in (200, 409):
                return message.status
            if message.status not in (502, 503, NO_RESPONDERS):
                return (message.status, message.data)
            break
        time.sleep(0.05)


def test_keyed_requests_under_kills_run_at_most_once(pyexec, nothing_left):
    with Server() as own:
        workers = [Worker(pyexec, own, "v%d" % number, env=PLAIN) for number in range(2)]
        todo, ticks, ends, stop = queue.Queue(), collections.Counter(), {}, threading.Event()
        for number in range(240):
            todo.put("key-%d" % number)

        def client():
            with Nats(own.port) as nats:
                while True:
                    try:
                        key = todo.get_nowait()
                    except queue.Empty:
                        return
                    ends[key] = send(nats, key, ticks)

        def killer():
            chance = random.Random(7)
            while not stop.wait(0.7):
                number = chance.randrange(2)
                workers[number].process.kill()
                workers[number].close()
                workers[number] = Worker(pyexec, own, "v%d" % number, ready=False, env=PLAIN)
                wait_until(lambda: "serves" in workers[number].text() or workers[number].process.poll() is not None or stop.is_set(), "the worker")
        threads = [threading.Thread(target=client) for _ in range(6)]
        kills = threading.Thread(target=killer)
        for thread in threads + [kills]:
            thread.start()
        try:
            for thread in threads:
                thread.join(600)
        finally:
            stop.set()
            kills.join()
            for worker in workers:
                worker.close()
        assert len(ends) == 240 and set(ends.values()) <= {200, 409}, ends
        assert max(ticks.values()) == 1, "a request ran twice"
        assert all(ticks[key] == 1 for key, end in ends.items() if end == 200)
        never = [key for key, end in ends.items() if end == 409 and not ticks[key]]
        assert len(never) < 24, never       # killed between the key and the start, or before the tool call reached its client

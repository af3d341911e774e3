# SPDX-License-Identifier: Apache-2.0
"""Answers that a fleet keeps (Pyexec-Keep): the same request gets its answer again, whoever is killed meanwhile."""
import contextlib
import json
import os
import re
import secrets
import time

import pytest

from conftest import BUILD
from nats_fleet import LOCAL, PATIENCE, PLAIN, Call, JetStream, Nats, Server, Worker, b64, needs_fleet
from serving import Connection
from waiting import wait_until

pytestmark = needs_fleet(BUILD)
RUN = "pyexec.v1.run"
LONG = {"timeout_ms": 100000, "max_stdout_bytes": 8000000}


def start(program, server, node, folder):
    """Starts a worker that also serves HTTP, at its `socket`."""
    socket = "%s/%s.socket" % (folder, node)
    worker = Worker(program, server, node, "--timeout", "100s", "--max-stdout-bytes", "8000000", "--listen", "unix:" + socket, env=PLAIN)
    worker.socket = socket
    return worker


@pytest.fixture
def fleet(pyexec, open_folder):
    open_folder.chmod(0o777)
    with Server() as server, start(pyexec, server, "k0", open_folder) as first, start(pyexec, server, "k1", open_folder) as second:
        server.workers = {"k0": first, "k1": second}
        yield server


def kept(key=None):
    return {"Pyexec-Key": key or secrets.token_hex(8), "Pyexec-Keep": "answer"}


def slow(seconds, value):
    return {"code": "import time\ntime.sleep(%g)\n%r" % (seconds, value), "policy": LONG}


def running(worker):
    """Returns how many runs the worker's server has."""
    with contextlib.closing(Connection(worker.socket)) as connection:
        connection.request("GET", "/metrics")
        return int(re.search(rb"^pyexec_running (\d+)$", connection.getresponse().read(), re.M)[1])


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
    wait_until(lambda: running(fleet.workers[call.node]) == 0, "the end of the run")    # its answer waits for the server
    fleet.start()
    with Nats(fleet.port) as nats:
        def ask():
            answer = Call(nats, RUN, slow(2, 8), headers=headers).end(timeout=PATIENCE)
            return answer if answer.status not in ("no responders", 503, 409) else None
        answer = wait_until(ask, "the answer")
        assert answer.status == 200 and answer.json()["last_value_repr"] == "8"


# ---- What JetStream has removed, and what it does not say ----

def entry(nats, bucket, key):
    """Returns the entry of a bucket as JetStream describes it."""
    answer = nats.request("$JS.API.STREAM.MSG.GET.KV_" + bucket, json.dumps({"last_by_subj": "$KV.%s.%s" % (bucket, key)}))
    return answer.json()["message"]


def forget(nats, bucket, key):
    answer = nats.request("$JS.API.STREAM.PURGE.KV_" + bucket, json.dumps({"filter": "$KV.%s.%s" % (bucket, key)}))
    assert answer.json()["purged"] == 1


def test_an_answer_of_which_a_part_was_removed_is_gone(fleet):
    with Nats(fleet.port) as nats:
        body, headers = {"code": "print('abcdefgh' * 400000)", "policy": LONG}, kept()
        assert Call(nats, RUN, body, headers=headers).end().status == 200
        bucket, key = "pyexec_answers_" + LOCAL, b64(headers["Pyexec-Key"])
        for part in (3, 0):         # the oldest goes first: it is the last part
            forget(nats, bucket, "%s.%d" % (key, part))
            answer = Call(nats, RUN, body, headers=headers).end()
            assert answer.status == 409 and answer.json()["code"] == "already_started" and "gone" in answer.json()["hint"]


@pytest.mark.parametrize("answers, keys, status", [
    (10037, '{"node": "away", "request": "ab"}', 409), (10059, '{"node": "away", "request": "ab"}', 409), (10037, '{"node": "away"}', 409),
    (10008, '{"node": "away", "request": "ab"}', 503), (10037, 10037, 503), (10037, 10008, 503)])
def test_only_an_answer_that_is_not_there_counts_as_lost(pyexec, answers, keys, status):
    """`away` is a node that is gone. 10037: no message; 10059: no stream; 10008: JetStream can't say now."""
    with Server(jetstream=False) as own, Nats(own.port) as nats, Worker(pyexec, own, "j0", env=PLAIN):
        stream = JetStream(nats, {"pyexec_answers_" + LOCAL: answers, "pyexec_keys": keys})
        try:
            answer = Call(nats, RUN, {"code": "1"}, headers=kept()).end()
        finally:
            stream.close()
        assert (answer.status, answer.json()["code"]) == (status, "already_started" if status == 409 else "overloaded")


def test_an_error_of_jetstream_at_the_last_look_is_not_taken_for_a_lost_answer(pyexec):
    with Server(jetstream=False) as own, Nats(own.port) as nats, Worker(pyexec, own, "j1", env=PLAIN):
        entries = {"pyexec_answers_" + LOCAL: 10037, "pyexec_keys": '{"node": "here", "request": "ab"}'}
        pings = nats.subscribe("pyexec.v1.node.here.r.ab.ping")
        stream = JetStream(nats, entries)
        try:
            call = Call(nats, RUN, {"code": "1"}, headers=kept())
            ping = pings.get(timeout=PATIENCE)
            entries["pyexec_answers_" + LOCAL] = 10008
            nats.publish(ping.reply, "", headers={"Pyexec-Status": "404"})
            assert call.end().status == 503
        finally:
            stream.close()


def test_a_principal_pushes_out_only_its_own_answers(pyexec, open_folder):
    tokens = open_folder / "tokens"
    tokens.write_text("alice -\nbob -\n")
    os.chmod(tokens, 0o644)
    with Server() as own, Nats(own.port) as nats:
        for name in ("alice", "bob"):       # the worker's have 256 MiB
            bucket = "pyexec_answers_" + b64(name)
            made = nats.request("$JS.API.STREAM.CREATE.KV_" + bucket, json.dumps({
                "name": "KV_" + bucket, "subjects": ["$KV.%s.>" % bucket], "max_bytes": 3 << 20, "discard": "old", "storage": "file",
                "retention": "limits", "max_age": 86400 * 10**9, "num_replicas": 1, "max_msgs_per_subject": 1, "allow_direct": True}))
            assert "error" not in made.json(), made.data
        with Worker(pyexec, own, "p0", "--token-file", str(tokens), "--max-stdout-bytes", "8000000", env=PLAIN):
            def ask(name, key, code="print('x' * 600000)"):
                answer = Call(nats, "pyexec.v1.as.%s.run" % b64(name), {"code": code, "policy": {"max_stdout_bytes": 8000000}}, headers=kept(key)).end()
                return answer.status
            assert [ask(name, "first", "1") for name in ("bob", "alice")] == [200, 200]
            assert [ask("alice", "more-%d" % number) for number in range(8)] == [200] * 8
            assert ask("alice", "first", "1") == 409, "its own oldest answer is gone"
            assert ask("alice", "more-7") == 200 and ask("bob", "first", "1") == 200


def test_an_answer_that_jetstream_has_no_room_for_reaches_its_client_at_once(pyexec, open_folder):
    settings = "jetstream { store_dir: %s/js, max_file_store: 1048576 }" % open_folder
    with Server(settings, jetstream=False) as own, Nats(own.port) as nats, Worker(pyexec, own, "f0", env=PLAIN) as worker:
        headers = kept()
        assert Call(nats, RUN, {"code": "1"}, headers=headers).end().status == 200
        # After its 30 seconds of trying it would say that JetStream does not answer.
        assert re.search("could not be kept: JetStream (refuses it|does not make its bucket)", worker.text()), worker.text()
        assert Call(nats, RUN, {"code": "1"}, headers=headers).end().json()["code"] == "already_started"


def test_a_key_is_known_as_long_as_its_answer(fleet):
    """Both have one age in JetStream, and the key was written again after its answer."""
    with Nats(fleet.port) as nats:
        headers = kept()
        assert Call(nats, RUN, slow(1, 7), headers=headers).end().status == 200
        bucket, key = "pyexec_answers_" + LOCAL, b64(headers["Pyexec-Key"])
        wait_until(lambda: entry(nats, "pyexec_keys", LOCAL + "." + key)["time"] > entry(nats, bucket, key + ".0")["time"], "the key's renewal")
        ages = [nats.request("$JS.API.STREAM.INFO.KV_" + name).json()["config"]["max_age"] for name in ("pyexec_keys", bucket)]
        assert ages == [86400 * 10**9] * 2
        assert Call(nats, RUN, slow(1, 7), headers=headers).end().json()["last_value_repr"] == "7"


def test_a_bucket_that_may_not_be_used_is_not_tried_again_for_each_answer(pyexec):
    """NATS says nothing to a worker without the permission. So the first answer waits 30 seconds, and the next ones do not."""
    settings = """authorization { users: [ { user: c, password: c }
      { user: w, password: w, permissions: { publish: { deny: "$KV.pyexec_answers_%s.>" } } } ] }""" % LOCAL
    with Server(settings) as own, Nats(own.port, "c", "c") as nats:
        with Worker(pyexec, own.url.replace("//", "//w:w@"), "denied", env=PLAIN) as worker:
            times = []
            for _ in range(2):
                start = time.monotonic()
                assert Call(nats, RUN, {"code": "42"}, headers=kept()).end().status == 200
                times.append(time.monotonic() - start)
            assert times[1] < times[0] / 4, times
            said = [line for line in worker.text().splitlines() if "could not be kept" in line]
            assert len(said) == 1 and "may not publish to $KV.pyexec_answers_%s" % LOCAL in said[0], worker.text()

# SPDX-License-Identifier: Apache-2.0
"""`pyexec worker`: single runs over a real nats-server, as docs/scale.md describes them."""
import json
import os
import signal
import time

import pytest

from conftest import BUILD
from nats_fleet import NO_RESPONDERS, PATIENCE, PLAIN, Call, Nats, Server, Worker, b64, nats, needs_fleet
from waiting import wait_until

pytestmark = needs_fleet(BUILD)
RUN = "pyexec.v1.run"
LARGE = ["--files", "full", "--max-stdout-bytes", "64M", "--workspace-bytes", "128M", "--address-space-bytes", "2G", "--timeout", "60s",
         "--cpu-time-seconds", "60"]


@pytest.fixture(scope="module")
def server():
    with Server() as made:
        yield made


@pytest.fixture(scope="module")
def worker(pyexec, server):
    with Worker(pyexec, server, "one-%d" % pyexec.uid, *LARGE, env=PLAIN) as made:
        yield made


def test_a_plain_request_gets_the_result_of_http(worker, nats):
    answer = nats.request(RUN, '{"code": "print(1); 6 * 7"}')
    assert answer.status == 200 and answer.headers["Pyexec-Node"] == worker.node and answer.reply is None
    result = answer.json()
    assert (result["status"], result["stdout"], result["last_value_repr"]) == ("ok", "1\n", "42")


def test_errors_are_problems_and_micro_service_errors(worker, nats):
    answer = nats.request(RUN, b"{bad")
    assert answer.status == 400 and answer.json()["code"] == "invalid_request"
    assert answer.headers["Nats-Service-Error-Code"] == "400" and answer.headers["Nats-Service-Error"] == answer.json()["title"]
    answer = nats.request(RUN, '{"code": "1", "policy": {"timeout_ms": 99999999}}')
    assert answer.status == 400 and answer.json()["code"] == "invalid_policy"
    answer = nats.request(RUN, "{}", {"Pyexec-Call": "GET /metrics"})
    assert answer.status == 404
    answer = nats.request(RUN, "{}", {"Pyexec-Call": "nonsense"})
    assert answer.status == 400


def test_events_are_numbered_and_the_first_names_the_request(worker, nats):
    call = Call(nats, RUN, {"code": "import traceback\nprint('out', flush=True)\ntraceback.print_exc()\n7"}, events=True)
    last = call.end()
    assert last.status == 200, last.data
    assert call.events[0][0] == "accepted" and call.node == worker.node
    assert {name: json.loads(data)["text"] for name, data in call.events[1:]} == {"stdout": "out\n", "stderr": "NoneType: None\n"}
    assert last.json()["last_value_repr"] == "7"


def test_a_tool_call_is_answered_over_its_reply_subject(worker, nats):
    def answer(name, message):
        if name == "tool_call":
            assert message.json()["arguments"] == {"a": 20}
            assert nats.request(message.reply, '{"result": 22}').status == 204
            assert nats.request(message.reply, '{"result": 23}').status == 404      # only once
    tools = [{"name": "lookup", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}}]
    last = Call(nats, RUN, {"code": "lookup(20) + 20", "tools": tools}, events=True).end(answer)
    assert last.json()["last_value_repr"] == "42", last.data


def test_verify_and_the_list_of_environments(worker, nats):
    body = {"solution": "def f(n): return n * 2", "tests": [{"call": "f", "args": [2], "expect": 4}]}
    answer = nats.request(RUN, json.dumps(body), {"Pyexec-Call": "POST /v1/verify"})
    assert answer.status == 200 and answer.json()["tests"][0]["verdict"] == "pass", answer.data
    assert nats.request(RUN, "", {"Pyexec-Call": "GET /v1/environments"}).json() == {"environments": []}


def test_bodies_of_32_mib_in_parts_both_ways(worker, nats):
    text = os.urandom(12 << 20).hex()       # 24 MiB
    code = "t = open('in').read(); print(t)"
    for events in (False, True):
        call = Call(nats, RUN, {"code": code, "files": {"in": text}}, events=events)
        last = call.end()
        assert last.status == 200, last.data
        assert last.json()["stdout"] == text + "\n"
        if events:
            assert "".join(json.loads(data)["text"] for name, data in call.events if name == "stdout") == text + "\n"
    body = json.dumps({"code": "1", "stdin": ""}).encode()
    whole = body[:-2] + b"x" * ((32 << 20) - len(body)) + body[-2:]
    assert len(whole) == 32 << 20
    assert Call(nats, RUN, whole).end().status == 200
    refused = Call(nats, RUN, whole + b" ").end()
    assert refused.status == 413 and refused.json()["code"] == "invalid_request"


def test_a_part_that_comes_twice_or_too_early_changes_nothing(worker, nats):
    body = json.dumps({"code": "'%s'" % ("ab" * 3000)}).encode()
    reply = nats.inbox + ".parts"
    into = nats.subscribe(reply)
    nats.publish(RUN, body[:1000], reply, {"Pyexec-Parts": "3", "Pyexec-Bytes": str(len(body))})
    message = into.get(timeout=PATIENCE)
    assert message.headers["Pyexec-Event"] == "continue"
    nats.publish(message.reply, body[2000:], nats.inbox + ".early", {"Pyexec-Part": "2"})
    assert nats.request(message.reply, body[1000:2000], {"Pyexec-Part": "1"}).headers["Pyexec-Part"] == "1"
    assert nats.request(message.reply, b"other bytes", {"Pyexec-Part": "1"}).headers["Pyexec-Part"] == "1"
    assert nats.request(message.reply, body[2000:], {"Pyexec-Part": "2"}).headers["Pyexec-Part"] == "2"
    assert into.get(timeout=PATIENCE).json()["last_value_repr"] == repr("ab" * 3000)


@pytest.mark.parametrize("headers", [{"Pyexec-Parts": "0", "Pyexec-Bytes": "2"}, {"Pyexec-Parts": "2", "Pyexec-Bytes": "1"},
                                     {"Pyexec-Parts": "99999999999999999999", "Pyexec-Bytes": "100"},
                                     {"Pyexec-Parts": "2", "Pyexec-Bytes": "99999999999999999999999"},
                                     {"Pyexec-Parts": "-1", "Pyexec-Bytes": "-1"}, {"Pyexec-Bytes": "33554432"},
                                     {"Pyexec-Parts": "1", "Pyexec-Bytes": "100"}, {"X-Request-Id": "x" * 2000}])
def test_hostile_headers_are_refused(worker, nats, headers):
    assert nats.request(RUN, '{"code": "1"}', headers).status in (400, 413)
    assert nats.request(RUN, '{"code": "1"}').status == 200


def test_a_request_is_known_while_it_runs_and_can_be_cancelled(worker, nats):
    call = Call(nats, RUN, {"code": "import time\nprint('on', flush=True)\ntime.sleep(50)"}, events=True)
    assert call.next()[0] == "accepted" and call.next()[0] == "stdout"
    assert nats.request(call.about + ".ping").status == 204
    assert nats.request(call.about + ".cancel").status == 204
    last = call.end()
    assert last.status == 499 and last.json()["code"] == "cancelled"
    assert nats.request(call.about + ".ping").status == 404
    wait_until(lambda: nats.request("pyexec.v1.node." + worker.node, '{"do": "stats"}').json()["requests"] == 0, "no request")


def test_the_run_of_a_client_that_is_gone_is_cancelled(worker, server, nats):
    with Nats(server.port) as other:
        call = Call(other, RUN, {"code": "while True: print('x' * 1000)"}, events=True)
        assert call.next()[0] == "accepted" and call.next()[0] == "stdout"
    wait_until(lambda: nats.request(call.about + ".ping").status == 404, "the end of the run")


def test_output_waits_for_a_client_that_does_not_acknowledge(worker, nats):
    call = Call(nats, RUN, {"code": "print('x' * (30 << 20))"}, events=True, acknowledge=False)
    asked = []
    while len(set(asked)) < 4 or asked.count(asked[0]) < 3:     # it is repeated
        message = call.into.get(timeout=PATIENCE)
        if message.headers.get("Pyexec-Event") == "accepted":
            about = "pyexec.v1.node.%s.r.%s" % (worker.node, message.json()["request"])
        if message.reply:
            asked.append(message.reply)
    assert len(set(asked)) == 4
    nats.request(about + ".cancel")


def test_only_what_was_missing_gives_a_client_more_time(worker, nats):
    """An upload without parts and an answer that nobody takes are given up, whatever else the client sends about them."""
    upload = Call(nats, RUN, b"{", events=True, headers={"Pyexec-Parts": "2", "Pyexec-Bytes": "2"})
    assert upload.next()[0] == "accepted"
    answer = Call(nats, RUN, {"code": "print('x' * (30 << 20))"}, events=True, acknowledge=False)
    assert answer.next()[0] == "accepted"
    ended = []

    def both_are_given_up():
        nats.publish(answer.about + ".ack.0")
        nats.publish(answer.about + ".ping")
        if upload.about not in ended and nats.request(upload.about + ".ping").status == 404:
            ended.append(upload.about)
        return ended and nats.request(answer.about + ".ping").status == 404
    wait_until(both_are_given_up, "the end of both requests", seconds=2 * PATIENCE)


def test_discovery_as_of_a_micro_service(worker, nats):
    for verb, kind in (("PING", "ping"), ("INFO", "info"), ("STATS", "stats")):
        for subject in ("$SRV.%s" % verb, "$SRV.%s.pyexec" % verb, "$SRV.%s.pyexec.%s" % (verb, worker.node)):
            answer = nats.request(subject).json()
            assert answer["type"] == "io.nats.micro.v1.%s_response" % kind
            assert (answer["name"], answer["id"]) == ("pyexec", worker.node)
    row = nats.request("$SRV.STATS.pyexec").json()["endpoints"][0]
    assert row["num_requests"] > 0 and row["num_errors"] > 0 and row["average_processing_time"] > 0 and row["data"]["node"] == worker.node
    assert nats.request("$SRV.PING.pyexec.other").status == NO_RESPONDERS


def test_commands_of_the_node(worker, nats):
    assert nats.request("pyexec.v1.node." + worker.node, '{"do": "ping"}').json()["node"] == worker.node
    assert nats.request("pyexec.v1.node." + worker.node, '{"do": "dance"}').status == 400
    assert nats.request("pyexec.v1.node." + worker.node, b"\xff").status == 400
    assert nats.request("pyexec.v1.node.nobody", '{"do": "ping"}').status == NO_RESPONDERS


def test_detached_executions_name_their_node(worker, nats):
    answer = nats.request(RUN, '{"code": "6 * 7", "detach": true}')
    assert answer.status == 202
    execution = answer.json()["execution_id"]
    assert execution.startswith("e-%s-" % worker.node)
    other = "pyexec.v1.node.%s.p.%s" % (worker.node, b64("local"))
    state = nats.request(other, "", {"Pyexec-Call": "GET /v1/executions/%s?wait_ms=20000" % execution}).json()
    assert state["state"] == "ended" and state["result"]["last_value_repr"] == "42"
    last = Call(nats, other, call="GET /v1/executions/" + execution, events=True).end()
    assert last.status == 200 and last.json()["last_value_repr"] == "42"
    assert nats.request(other, "{}", {"Pyexec-Call": "POST /v1/sessions"}).status == 404


def test_a_full_node_leaves_the_queue_group_and_comes_back(pyexec):
    small = {**os.environ, "PYEXEC_HOST_MAX_CONCURRENT": "1", "PYEXEC_HOST_MAX_ASLEEP": "0", "PYEXEC_NATS_FULL_AT": "2"}
    with Server() as own, Nats(own.port) as nats, Worker(pyexec, own, "full", env=small), Worker(pyexec, own, "roomy"):
        calls = []
        for _ in range(40):
            calls.append(Call(nats, RUN, {"code": "import time; time.sleep(0.3)"}, events=True))
            time.sleep(0.03)    # a burst would reach the node before it can leave
        assert {call.end().status for call in calls} == {200}
        assert {call.node for call in calls} == {"full", "roomy"}
        assert sum(call.node == "full" for call in calls) < 16, "the full node took its share of the queue group"
        stats = nats.request("pyexec.v1.node.full", '{"do": "stats"}').json()
        assert stats["full"] is False and stats["turns"] == 1 and stats["full_at"] == 2
        wait_until(lambda: nats.request(RUN, '{"code": "1"}').headers["Pyexec-Node"] == "full", "its return")


def test_no_room_anywhere_is_no_responders_and_nothing_is_lost(pyexec):
    with Server() as own, Nats(own.port) as nats, \
            Worker(pyexec, own, "only", env={**os.environ, "PYEXEC_HOST_MAX_CONCURRENT": "1", "PYEXEC_HOST_MAX_ASLEEP": "0", "PYEXEC_NATS_FULL_AT": "3"}):
        calls = [Call(nats, RUN, {"code": "1"}, events=True) for _ in range(200)]
        ends = [call.end().status for call in calls]
        assert set(ends) <= {200, 503, NO_RESPONDERS} and ends.count(200) > 3, ends
        wait_until(lambda: nats.request(RUN, '{"code": "1"}').status == 200, "room")


def test_a_drained_node_finishes_its_runs_and_loses_no_request(pyexec, nothing_left):
    with Server() as own, Nats(own.port) as nats, Worker(pyexec, own, "last") as worker:
        call = Call(nats, RUN, {"code": "import time\nprint('on', flush=True)\ntime.sleep(1)\n5"}, events=True)
        assert call.next()[0] == "accepted" and call.next()[0] == "stdout"
        worker.process.send_signal(signal.SIGTERM)
        wait_until(lambda: nats.request(RUN, '{"code": "1"}').status == NO_RESPONDERS, "the node to leave")
        assert call.end().json()["last_value_repr"] == "5"
        assert worker.process.wait(PATIENCE) == 0, worker.text()
        assert nats.request("pyexec.v1.node.last", '{"do": "ping"}').status == NO_RESPONDERS


def test_the_command_drain(pyexec, nothing_left):
    with Server() as own, Nats(own.port) as nats, Worker(pyexec, own, "told") as worker:
        assert nats.request("pyexec.v1.node.told", '{"do": "drain"}').json()["draining"] is True
        assert worker.process.wait(PATIENCE) == 0, worker.text()


@pytest.mark.parametrize("victim", ["worker", "server"])
def test_a_killed_node_leaves_nothing(pyexec, victim, nothing_left):
    with Server() as own, Nats(own.port) as nats, Worker(pyexec, own, "shot") as worker:
        call = Call(nats, RUN, {"code": "import time\nprint('on', flush=True)\ntime.sleep(50)"}, events=True)
        assert call.next()[0] == "accepted" and call.next()[0] == "stdout"
        if victim == "worker":
            worker.process.kill()
            wait_until(lambda: nats.is_gone(call.about + ".ping"), "NATS to notice")
        else:
            os.kill(worker.server(), signal.SIGKILL)
            last = call.end()
            assert last.status == 502 and "may have run" in last.json()["hint"]
            assert worker.process.wait(PATIENCE) == 125
            assert "the server was killed by signal 9" in worker.text()


def test_a_restart_of_the_nats_server_is_survived(pyexec, nothing_left):
    with Server() as own, Worker(pyexec, own, "patient") as worker:
        for _ in range(2):
            own.kill()
            own.start()
            with Nats(own.port) as nats:
                wait_until(lambda: nats.request(RUN, '{"code": "1"}').status == 200, "the worker")
        assert worker.stop() == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can read the environment of a process that can't be dumped")
def test_the_process_that_reads_messages_has_no_secret_of_the_operator(pyexec, server):
    with Worker(pyexec, server, "tidy", env={**os.environ, "MY_SECRET": "a value that only the proxy needs"}) as worker:
        def environment(pid):
            with open("/proc/%d/environ" % pid, "rb") as file:
                return file.read()
        assert b"MY_SECRET=a value" in environment(worker.server())
        assert b"PATH=" in environment(worker.process.pid) and b"a value" not in environment(worker.process.pid)


def test_a_worker_waits_for_the_first_nats_server(pyexec):
    with Server() as own:
        own.kill()
        with Worker(pyexec, own, "early", ready=False) as worker:
            wait_until(lambda: "no NATS server can be reached yet" in worker.text(), "its message")
            own.start()
            with Nats(own.port) as nats:
                wait_until(lambda: nats.request(RUN, '{"code": "1"}').status == 200, "the worker")


def test_a_second_node_of_the_same_name_does_not_start(pyexec, server, worker, nothing_left):
    with Worker(pyexec, server, worker.node, ready=False) as second:
        assert second.process.wait(PATIENCE) == 125
        assert "another node of the fleet has the name" in second.text()


def test_text_of_a_client_that_is_cut_within_a_character_breaks_no_answer(server, worker, nats):
    """`last_error` in the answer to $SRV.STATS has at most 199 bytes: the status, and the start of the title."""
    for shift in range(2):
        answer = nats.request(RUN, json.dumps({"code": "1", "files": {"../" + "a" * shift + "é" * 150: ""}}, ensure_ascii=False))
        assert answer.status == 400 and "é" * 100 in answer.json()["title"]
        assert "éééé" in nats.request("$SRV.STATS.pyexec." + worker.node).json()["endpoints"][0]["last_error"]


def test_a_server_that_can_not_start_ends_the_worker(pyexec, server, nothing_left):
    """Often the server has ended before the worker can get the signal. Then two of five workers never ended."""
    for number in range(8):
        done = pyexec.run("worker", "--nats", server.url, "--node", "never%d" % number, "--listen", "unix:/nowhere/socket")
        assert done.returncode == 125 and "the server ended with status 125" in done.stderr.decode(), done.stderr


def test_bad_settings_are_refused_with_the_remedy(pyexec):
    for flags, text in (([], "no NATS server is named"), (["--nats", "nats://127.0.0.1:1", "--node", "a b"], "can't be the name of a node"),
                        (["--nats", "nats://127.0.0.1:1", "--creds", "/nonexistent"], "--creds"),
                        (["--nats", "nats://127.0.0.1:1", "--labels", "x"], "KEY=VALUE")):
        done = pyexec.run("worker", *flags)
        assert done.returncode == 125 and text in done.stderr.decode(), done.stderr

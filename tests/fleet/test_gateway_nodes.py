# SPDX-License-Identifier: Apache-2.0
"""A gateway in front of nodes that are slow, broken or hostile: what it waits for, what it refuses, and how much memory they can make
it take. The nodes are stand-ins, which do what each test says."""
import contextlib
import json
import os
import threading
import time

import pytest

from conftest import BUILD
from fake_node import ANYBODY, FakeNode
from nats_fleet import PATIENCE, Server, b64, needs_fleet
from serving import events, serving
from waiting import wait_until

pytestmark = needs_fleet(BUILD)
MIB = 1 << 20
SLOW = 12           # longer than a gateway waits for a node to say that it has a request


@pytest.fixture
def nats():
    with Server() as made:
        yield made


@pytest.fixture
def node(nats):
    with FakeNode(nats.port) as made:
        yield made


@pytest.fixture
def gateway(pyexec, nats, node):
    with serving(pyexec, "--nats", nats.url) as made:
        yield made


def at_once(*works):
    """Does all of it at the same time, and returns the values."""
    values = [None] * len(works)

    def do(number, work):
        values[number] = work()
    threads = [threading.Thread(target=do, args=pair, daemon=True) for pair in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads), "a request does not end"
    return values


def peak(gateway):
    """Returns the most memory that the process has had, in bytes. With a sanitizer, which keeps what was freed, 0."""
    if os.environ.get("SANITIZE"):
        return 0
    with open("/proc/%d/status" % gateway.process.pid) as file:
        return int(next(line for line in file if line.startswith("VmHWM:")).split()[1]) << 10


# ---- What NATS refuses ----

RIGHTS = """authorization { users: [
    { user: node, password: "secret" },
    { user: gateway, password: "secret", permissions: { publish: [%s], subscribe: "_INBOX.>" } } ] }"""


@pytest.fixture
def as_gateway(open_folder):
    secret = open_folder / "password"
    secret.write_text("secret\n")
    secret.chmod(0o644)
    return {"PYEXEC_NATS_PASSWORD_FILE": str(secret), "PYEXEC_NATS_USER": "gateway"}


def test_what_nats_refused_for_one_client_is_not_shown_to_another(pyexec, as_gateway):
    with Server(RIGHTS % '"pyexec.v1.as.>", "pyexec.v1.node.*.r.>"') as own, \
            FakeNode(own.port, user="node", password="secret") as node, serving(pyexec, "--nats", own.url, env=as_gateway) as gateway:
        node.serve(ANYBODY + "open", lambda node, message: node.answer(message, 201, {"id": "a-secret"}))
        node.serve(ANYBODY + "run", lambda node, message: node.accept(message))
        with contextlib.closing(gateway.connection()) as other:
            other.request("POST", "/v1/sessions/a-secret/execute", json.dumps({"code": "1"}))
            line = gateway.wait_for_line(event="the NATS server refuses")[0]
            assert "Permissions Violation" in json.dumps(line) and b64("a-secret") in json.dumps(line)
            answer = gateway.execute("1")
        assert answer.status == 502
        assert "ermission" not in answer.body.decode() and b64("a-secret") not in answer.body.decode()


def test_what_nats_refused_before_a_new_connection_is_forgotten(pyexec, as_gateway):
    with Server(RIGHTS % '"pyexec.v1.as.>"') as own, serving(pyexec, "--nats", own.url, env=as_gateway) as gateway:
        answer = gateway.ask("GET", "/v1/nodes")
        assert answer.status == 502 and "Permissions Violation" in answer.json()["title"]
        own.kill()
        own.settings = RIGHTS % '"pyexec.v1.as.>", "$SRV.STATS.pyexec"'
        wait_until(lambda: gateway.ask("GET", "/readyz").status == 503, "the loss")
        own.start()
        wait_until(lambda: gateway.ask("GET", "/readyz").status == 200, "the connection")
        answer = gateway.ask("GET", "/v1/nodes")
        assert answer.status == 200 and answer.json() == {"nodes": []}


# ---- Slow nodes ----

def later(status, body):
    """A node that says at once that it has the request, if it may, and answers it late."""
    def work(node, message):
        has_events = "event-stream" in message.headers.get("Accept", "")
        if has_events:
            node.accept(message)
        if "Pyexec-Parts" in message.headers:
            take_slowly(node, message, int(message.headers["Pyexec-Parts"]) - 1)
        else:
            time.sleep(SLOW)
        node.answer(message, status, body, number=1 if has_events else None)
    return work


def take_slowly(node, message, count):
    """Takes the other parts of a body."""
    into = node.subscribe("pyexec.test.parts")
    node.publish(message.reply, b"", "pyexec.test.parts", {"Pyexec-Event": "continue"})
    for _ in range(count):
        part = into.get(timeout=PATIENCE)
        time.sleep(SLOW / count)
        node.publish(part.reply, b"", headers={"Pyexec-Part": part.headers["Pyexec-Part"]})


def test_a_node_may_take_its_time_for_every_kind_of_request(pyexec):
    result = {"status": "ok", "session": {"created": False}}
    with Server("max_payload: 65536") as own, FakeNode(own.port) as node, serving(pyexec, "--nats", own.url) as gateway:
        node.serve_pings()
        node.serve(ANYBODY + "open", later(201, {"id": "s"}))
        node.serve(ANYBODY + "run", later(200, result))
        node.serve(node.session("s"), lambda node, message: node.answer(message, 200, result))
        answers = at_once(
            lambda: gateway.ask("POST", "/v1/sessions", {"id": "s", "packages": ["numpy"]}),
            lambda: gateway.execute("1", session="s", packages=["numpy"]),
            lambda: gateway.execute('print({"tools": 1, "control": 2})'),
            lambda: gateway.execute("1", inputs={"tools": [1], "control": "\"tools\":"}),
            lambda: gateway.execute("1", packages=["numpy"], detach=True, tools=[{"name": "f"}]),
            lambda: gateway.execute("1", tools=[], inputs={"x": "a" * 500_000}))        # nine parts
    assert [answer.status for answer in answers] == [201] + [200] * 5, [answer.body for answer in answers]


def test_tools_without_events_are_still_for_the_node_to_refuse(gateway, node):
    node.serve(ANYBODY + "run", lambda node, message: node.answer(message, 400, {"events": "Accept" in message.headers}))
    for members in ({"tools": [{"name": "f"}]}, {"control": True}):
        assert gateway.execute("1", **members).json() == {"events": False}
    for members in ({"tools": []}, {"control": False}):         # such a run may be long
        assert gateway.execute("1", **members).json() == {"events": True}


def test_an_open_that_is_sent_on_to_the_owner_is_awaited_there(gateway, node):
    def send_on(node, message):
        node.accept(message, "first")       # which this node forgets: a ping gets 404
        time.sleep(0.2)
        node.accept(message, "second")
        time.sleep(3)
        node.answer(message, 201, {"id": "s"}, number=1)
    node.serve(node.about("first", "ping"), lambda node, message: node.answer(message, 404))
    node.serve_pings("second")
    node.serve(ANYBODY + "open", send_on)
    assert gateway.ask("POST", "/v1/sessions", {"id": "s"}).status == 201


# ---- Lost answers ----

def ask_each_kind(gateway):
    """Sends a request of each kind that goes to one node, all at once. Returns the answers, and how long they took."""
    begun = time.monotonic()
    answers = at_once(*[lambda method=method, path=path: gateway.ask(method, "/v1/" + path, {} if method == "POST" else None) for method, path in (
        ("GET", "sessions/s/files/a"), ("GET", "sessions/s/files"), ("DELETE", "sessions/s"), ("POST", "sessions/s/interrupt"),
        ("POST", "calls/c"), ("DELETE", "runs/r"), ("GET", "sessions"), ("DELETE", "executions/e-fake-1"), ("GET", "environments"))],
        lambda: gateway.execute("1", session="s"))
    return answers, time.monotonic() - begun


def serve_all(node, work):
    node.serve_stats()
    node.serve(ANYBODY + "open", lambda node, message: node.answer(message, 200, {"id": "s"}))
    node.serve("pyexec.v1.node.fake.s.>", work)
    node.serve("pyexec.v1.node.fake.p.*", work)


def test_an_answer_that_is_lost_ends_every_kind_of_request(gateway, node):
    def loses(node, message):
        if "event-stream" in message.headers.get("Accept", ""):
            node.accept(message)
    finds = iter([True] * 4)
    serve_all(node, loses)
    node.serve(ANYBODY + "run", lambda node, message: node.answer(message, 200, []) if next(finds, False) else loses(node, message))
    node.serve(node.about("r1", "ping"), lambda node, message: node.answer(message, 404))
    answers, seconds = ask_each_kind(gateway)
    assert [answer.status for answer in answers] == [502] * 10, [answer.body for answer in answers]
    assert all("its answer was lost" in answer.json()["title"] for answer in answers) and seconds < 9


def test_a_node_that_answers_pings_and_nothing_else_is_not_awaited_for_ever(gateway, node):
    serve_all(node, lambda node, message: None)
    node.serve(ANYBODY + "run", lambda node, message: node.answer(message, 200, []) if "environments" in message.headers["Pyexec-Call"] else None)
    answers, seconds = ask_each_kind(gateway)
    assert [answer.status for answer in answers] == [502] * 8 + [200, 502], [answer.body for answer in answers]
    assert seconds < 25


def test_files_come_as_an_archive_although_the_gateway_asks_for_events(gateway, node):
    node.serve(ANYBODY + "run", lambda node, message: node.answer(message, 200, []))
    node.serve(node.session("s"), lambda node, message: node.answer(message, 200, message.headers["Accept"].split(", ")))
    accepts = [gateway.ask("GET", "/v1/sessions/s/files", headers={"Accept": wanted}).json() for wanted in ("application/x-tar", "*/*")]
    assert accepts == [["application/x-tar", "text/event-stream"], ["text/event-stream"]]


# ---- Broken and hostile nodes ----

def is_refused(answer):
    return answer.status == 502 and "not valid" in answer.json()["title"] and "not known" in answer.json()["hint"]


def ended(answer, node):
    """The answer says what is wrong, and the run is cancelled at the node."""
    return is_refused(answer) and wait_until(lambda: [call for call in node.calls if call.subject.endswith(".cancel")], "cancel")


def test_messages_far_ahead_of_their_turn_have_a_limit(gateway, node):
    def flood(node, message):
        node.accept(message)
        for number in range(400):
            node.send(message, 5 + number, b"x" * (MIB - 4096), Pyexec_Event="stdout")
    node.serve_pings()
    node.serve(node.about("r1", "cancel"), lambda node, message: None)
    node.serve(ANYBODY + "run", flood)
    before = peak(gateway)
    assert ended(gateway.execute("1"), node)
    assert peak(gateway) - before < 200 * MIB


def test_repeated_messages_do_not_pile_up_while_a_client_does_not_read(gateway, node):
    text, acknowledged = "x" * (MIB // 2), []
    reads = threading.Event()

    def work(node, message):
        acks = node.subscribe("pyexec.test.ack.*")
        node.accept(message)
        number = 1
        while not reads.is_set() or number < 12:
            node.send(message, number, {"seq": number, "text": text}, "pyexec.test.ack.%d" % number, Pyexec_Event="stdout")
            with contextlib.suppress(Exception):
                acknowledged.append(acks.get(timeout=0.5 if number < 3 else 0.001))
                number += 1
        node.answer(message, 200, {"status": "ok"}, number=number)
    node.serve_pings()
    node.serve(ANYBODY + "run", work)
    with contextlib.closing(gateway.connection()) as slow:
        slow.request("POST", "/v1/execute", json.dumps({"code": "1"}), {"Accept": "text/event-stream"})
        wait_until(lambda: len(acknowledged) >= 2, "the first messages")
        before = peak(gateway)
        time.sleep(4)           # some hundreds of repetitions
        assert peak(gateway) - before < 100 * MIB
        reads.set()
        received = [event for event in events(slow.getresponse()) if event[0]]
    assert [data["seq"] for name, data in received if name == "stdout"] == list(range(1, len(received)))
    assert len(received) >= 12 and received[-1][0] == "result"


@pytest.mark.parametrize("breaks", [
    lambda node, message: node.send(message, 1, b"x" * 1000, "pyexec.test.ack", Pyexec_Part=0, Pyexec_Parts=4_000_000_000, Pyexec_Status=200),
    lambda node, message: node.send(message, 1, b"", "pyexec.test.ack", Pyexec_Part=0, Pyexec_Parts=4_000_000_000, Pyexec_Status=200),
    lambda node, message: [node.send(message, 1 + part, b"x" * (1000 + part), "pyexec.test.ack", Pyexec_Part=part, Pyexec_Parts=2, Pyexec_Status=200)
                           for part in range(2)],
    lambda node, message: [node.send(message, 1 + part, b"x", "pyexec.test.ack", Pyexec_Part=0, Pyexec_Parts=2, Pyexec_Status=200) for part in range(2)],
    lambda node, message: [node.send(message, 1, b"x", "pyexec.test.ack", Pyexec_Part=0, Pyexec_Parts=2, Pyexec_Status=200),
                           node.send(message, 2, b"{}", Pyexec_Event="stdout")],
    lambda node, message: node.answer(message, 7, {}, number=1),
    lambda node, message: node.answer(message, 99999, {}, number=1),
], ids=["too many parts", "empty parts", "a larger part", "a part twice", "no part", "status 7", "status 99999"])
def test_an_answer_that_is_not_valid_ends_the_request(gateway, node, breaks):
    node.serve_pings()
    node.serve(node.about("r1", "cancel"), lambda node, message: None)
    node.serve(ANYBODY + "run", lambda node, message: (node.accept(message), breaks(node, message)))
    assert ended(gateway.execute("1"), node)
    assert gateway.lines(event="a node's answer is not valid")


def test_the_name_of_a_node_is_no_command_of_nats(gateway, node):
    hidden = "x 0\r\n\r\nPUB pyexec.test.hidden 0\r\n\r\nPUB pyexec.v1.node.y"
    into = node.subscribe("pyexec.test.hidden")
    for name, request in ((hidden, "r"), ("fake", hidden), ("a.b", "r"), ("*", "r")):
        told = {"node": name, "request": request}
        serving_it = node.serve(ANYBODY + "run", lambda node, message, told=told: node.send(message, 0, told, Pyexec_Event="accepted"))
        answer = gateway.execute("1")
        assert is_refused(answer), (told, answer.body)
        node.unsubscribe(serving_it)
    node.flush()
    assert into.empty()


def test_clients_that_do_not_read_do_not_hold_the_memory_of_large_answers(gateway, node):
    """33 of them would need more than the 1 GiB that there is for such answers."""
    sent = []

    def stalls(node, message):
        node.accept(message)
        if b"large" in message.data:
            for part in range(8):
                node.send(message, 1 + part, b"x" * (MIB - 4096), "pyexec.test.ack", Pyexec_Part=part, Pyexec_Parts=8, Pyexec_Status=200)
            return
        for number in range(1, 4):
            node.send(message, number, {"seq": number, "text": "x" * (MIB // 2)}, Pyexec_Event="stdout")
        node.send(message, 4, b"x" * (MIB - 4096), "pyexec.test.ack", Pyexec_Part=0, Pyexec_Parts=32, Pyexec_Event="stdout")
        sent.append(message)
    node.serve_pings()
    node.serve(ANYBODY + "run", stalls)
    with contextlib.ExitStack() as stack:
        for _ in range(33):
            slow = stack.enter_context(contextlib.closing(gateway.connection()))
            slow.request("POST", "/v1/execute", json.dumps({"code": "1"}), {"Accept": "text/event-stream"})
        wait_until(lambda: len(sent) == 33, "the answers")
        node.flush()
        time.sleep(1)
        assert gateway.execute("'large'", timeout=PATIENCE).status == 200


def test_lists_of_nodes_have_a_limit(gateway, node):
    node.serve("$SRV.STATS.pyexec", lambda node, message: [node.publish(message.reply, json.dumps(
        {"endpoints": [{"data": {"node": "n%d" % number, "labels": {"x": "y" * 900_000}}}]})) for number in range(200)])
    before = peak(gateway)
    assert gateway.ask("GET", "/v1/nodes").status == 200
    assert peak(gateway) - before < 100 * MIB


def test_a_list_that_would_take_far_more_memory_than_its_text_is_refused(gateway, node, nats):
    body = b'{"sessions":[' + b"[]," * 300_000 + b"[]]}"
    node.serve_stats()
    node.serve("pyexec.v1.node.fake.p.*", lambda node, message: node.publish(message.reply, body, headers={"Pyexec-Status": "200"}))
    before = peak(gateway)
    answer = gateway.ask("GET", "/v1/sessions")
    assert answer.status == 502 and "memory" in answer.json()["title"]
    assert peak(gateway) - before < 20 * MIB
    with FakeNode(nats.port, "works") as other:
        other.serve_stats()
        other.serve("pyexec.v1.node.works.p.*", lambda node, message: node.answer(message, 200, {"sessions": [{"id": "s"}]}))
        answer = gateway.ask("GET", "/v1/sessions").json()
        assert answer["sessions"] == [{"id": "s"}] and [row["node"] for row in answer["missing"]] == ["fake"]


def test_the_requests_that_hold_most_fail_and_not_a_good_one(gateway, node, nats):
    """17 of them hold 62 MiB each, which is more than the 1 GiB for all."""
    data, sent = b"x" * (MIB - 4096), []

    def flood(node, message):
        request = "r%d" % len(sent)
        sent.append(message)
        node.serve_pings(request)
        node.accept(message, request)
        for number in range(62):
            node.send(message, 5 + number, data, Pyexec_Event="stdout")

    def good(node, message):
        node.accept(message, "good")
        for number in range(20):
            node.send(message, 1 + number, {"seq": number, "text": "x"}, Pyexec_Event="stdout")
            time.sleep(0.02)
        node.answer(message, 200, {"status": "ok"}, number=21)
    node.serve(node.session("bad"), flood)
    node.serve(ANYBODY + "open", lambda node, message: node.answer(message, 200, {"id": "bad"}))
    with contextlib.ExitStack() as stack, FakeNode(nats.port, "other") as other:
        other.serve_pings("good")
        other.serve(ANYBODY + "run", good)
        held = []
        for number in range(20):
            held.append(stack.enter_context(contextlib.closing(gateway.connection())))
            held[-1].request("POST", "/v1/sessions/bad/execute", json.dumps({"code": "1"}), {"Accept": "text/event-stream"})
            wait_until(lambda number=number: len(sent) > number, "the request")
            if number >= 16:
                node.flush()
                assert gateway.execute("1").status == 200
        reasons = [json.dumps(line) for line in gateway.lines(event="a node's answer is not valid")]
    assert reasons and all("node.fake." in reason for reason in reasons)


def test_an_answer_whose_next_part_does_not_come_gives_its_memory_back(own, nats, node):
    """33 of them announce more than the 1 GiB for all: the others wait, but small answers do not."""
    sent = []

    def run(node, message):
        parts, part = (2, MIB - 4096) if b"small" in message.data else (32, MIB - 4096)
        node.accept(message)
        for number in range(2 if parts == 2 else 1):
            node.send(message, 1 + number, b" " * part, "pyexec.test.ack", Pyexec_Part=number, Pyexec_Parts=parts, Pyexec_Status=200)
        sent.append(message)
    node.serve_pings()
    node.serve(node.about("r1", "cancel"), lambda node, message: None)
    node.serve(ANYBODY + "run", run)
    begun = time.monotonic()
    with contextlib.ExitStack() as stack, serving(own, "--nats", nats.url) as gateway:
        held = [stack.enter_context(contextlib.closing(gateway.connection())) for _ in range(33)]
        for connection in held:
            connection.request("POST", "/v1/execute", json.dumps({"code": "1"}))
        wait_until(lambda: len(sent) == 33, "the answers")
        assert gateway.execute("'small'", timeout=20).status == 200
        assert time.monotonic() - begun < 25
        assert held[0].getresponse().status == 502
        assert "next part" in json.dumps(gateway.lines(event="a node's answer is not valid"))


def test_a_node_can_not_guess_the_reply_subjects_of_other_requests(gateway, node):
    replies = []
    node.serve(ANYBODY + "run", lambda node, message: (replies.append(message.reply), node.answer(message, 200, {})))
    for _ in range(6):
        assert gateway.execute("1").status == 200
    numbers = [int(reply.split(".")[-2]) for reply in replies]
    assert len({number >> 32 for number in numbers}) == 6, numbers


# ---- All nodes ----

def test_a_node_that_fails_does_not_hide_what_another_one_knows(gateway, node, nats):
    def fails(node, message):
        way = message.headers["Pyexec-Call"].split("/")[-1]
        if way.isdigit():
            node.answer(message, int(way), {"title": "no"})
        elif way == "broken":
            node.answer(message, 7)
        else:
            node.accept(message)
    node.serve_stats()
    node.serve("pyexec.v1.node.fake.p.*", fails)
    node.serve(node.about("r1", "ping"), lambda node, message: node.answer(message, 404))
    ways = ["401", "404", "429", "500", "503", "broken", "lost"]
    alone = at_once(*[lambda way=way: gateway.ask("POST", "/v1/calls/" + way, {"result": 1}) for way in ways])
    assert [answer.status for answer in alone] == [401, 404, 429, 500, 503, 502, 502]
    with FakeNode(nats.port, "zz") as knows:
        knows.serve_stats()
        knows.serve("pyexec.v1.node.zz.p.*", lambda node, message: node.answer(message, 204))
        answers = at_once(*[lambda way=way: gateway.ask("POST", "/v1/calls/" + way, {"result": 1}) for way in ways])
        assert [answer.status for answer in answers] == [204] * len(ways), [answer.body for answer in answers]



def test_calls_that_nobody_knows_do_not_hold_up_the_answers_of_tools(gateway, node):
    def run(node, message):
        node.accept(message)
        node.send(message, 1, {"call_id": "known", "name": "f", "arguments": {}}, Pyexec_Event="tool_call")

    def answer(node, message):
        if message.headers["Pyexec-Call"].endswith("/known"):
            node.answer(message, 204)
    node.serve_stats()
    node.serve_pings()
    node.serve(ANYBODY + "run", run)
    node.serve("pyexec.v1.node.fake.p.*", answer)
    with contextlib.ExitStack() as stack:
        held = stack.enter_context(contextlib.closing(gateway.connection()))
        held.request("POST", "/v1/execute", json.dumps({"code": "f()", "tools": [{"name": "f"}]}), {"Accept": "text/event-stream"})
        assert next(events(held.getresponse()))[1]["call_id"] == "known"
        asking = []
        for number in range(40):
            asking.append(stack.enter_context(contextlib.closing(gateway.connection())))
            asking[-1].request("POST", "/v1/calls/unknown-%d" % number, json.dumps({"result": 1}))
        refused = asking[-1].getresponse()
        assert refused.status == 503 and json.loads(refused.read())["code"] == "overloaded" and refused.headers["Retry-After"]
        assert gateway.ask("POST", "/v1/calls/known", {"result": 1}, timeout=PATIENCE).status == 204


def test_a_list_names_the_nodes_that_are_missing(gateway, node, nats):
    node.serve_stats()
    node.serve("pyexec.v1.node.fake.p.*", lambda node, message: node.answer(message, 503, {"title": "the server can't be reached", "code": "overloaded"}))
    answer = gateway.ask("GET", "/v1/sessions")
    assert answer.status == 503         # nobody else is there
    with FakeNode(nats.port, "works") as other:
        other.serve_stats()
        other.serve("pyexec.v1.node.works.p.*", lambda node, message: node.answer(message, 200, {"sessions": [{"id": "s"}], "executions": []}))
        missing = [{"node": "fake", "status": 503, "title": "the server can't be reached"}]
        assert gateway.ask("GET", "/v1/sessions").json() == {"sessions": [{"id": "s"}], "executions": [], "missing": missing}


# ---- Clients that leave, sessions that are lost ----

@pytest.mark.parametrize("keeps", [True, False])
def test_a_request_whose_answer_is_kept_is_not_cancelled_when_its_client_leaves_early(gateway, node, keeps):
    arrived, accepts, ready = threading.Event(), threading.Event(), threading.Event()

    def run(node, message):
        if arrived.is_set():
            node.answer(message, 200, {"status": "ok"})
            return
        arrived.set()
        accepts.wait(PATIENCE)
        node.accept(message)
        ready.set()
    node.serve(ANYBODY + "run", run)
    node.serve(node.about("r1", "cancel"), lambda node, message: None)
    with contextlib.closing(gateway.connection()) as leaves:
        leaves.request("POST", "/v1/execute", json.dumps({"code": "1"}), {"Pyexec-Key": "k", **({"Pyexec-Keep": "answer"} if keeps else {})})
        assert arrived.wait(PATIENCE)
    wait_until(lambda: gateway.metric('pyexec_gateway_requests_total{result="cancelled"}') == 1, "the gateway to see that the client is gone")
    accepts.set()
    assert ready.wait(PATIENCE)
    assert gateway.execute("2").status == 200       # by then the gateway has handled `accepted`, which came before this answer
    assert gateway.execute("3").status == 200       # the node has this request, and all messages that were sent before it
    assert any(call.subject.endswith(".cancel") for call in node.calls) == (not keeps)


@pytest.mark.parametrize("method, path", [("GET", ""), ("DELETE", ""), ("GET", "/files"), ("POST", "/execute")])
def test_asking_for_a_session_that_is_lost_makes_no_new_one(gateway, node, nats, method, path):
    lost = {"code": "session_lost", "title": "the session was at node fake, which is gone"}
    node.serve(ANYBODY + "open", lambda node, message: node.answer(message, 201, {"id": "s"}))
    there = node.serve(node.session("s"), lambda node, message: node.answer(message, 200, {"status": "ok", "session": {"created": False}}))
    assert gateway.execute("1", session="s").status == 200
    opens = len([call for call in node.calls if call.subject.endswith(".open")])
    node.unsubscribe(there)
    with FakeNode(nats.port, "other") as other:
        other.serve(ANYBODY + "run", lambda node, message: node.answer(message, 200, []))
        other.serve(other.session("s"), lambda node, message: node.answer(message, 410, lost))
        answer = gateway.ask(method, "/v1/sessions/s" + path, {"code": "1"} if path == "/execute" else None)
        assert answer.status == 410 and answer.json()["code"] == "session_lost", answer.body
        assert [call.headers["Pyexec-Call"].split()[0] for call in other.calls if ".s." in call.subject] == ["GET"]
    assert len([call for call in node.calls if call.subject.endswith(".open")]) == opens

"""A fleet over NATS: what is different from the other transports. What is the same is tested with them (the fixture `px`)."""
import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from conftest import PROGRAM, _Program
from fake_node import FakeNode
from nats_fleet import PLAIN, Nats, Server, Worker, needs_fleet

from pyexec import (AlreadyStartedError, ConnectionLostError, EnvironmentInfo, InvalidPolicyError, InvalidRequestError, OverloadedError, Pyexec,
                    PyexecError, SessionLostError, UnauthorizedError)

pytestmark = needs_fleet(os.path.dirname(PROGRAM))
LARGE = ["--files", "full", "--any-import", "--max-stdout-bytes", "64M", "--address-space-bytes", "2G", "--timeout", "60s",
         "--cpu-time-seconds", "60"]


@pytest.fixture
def nats():
    with Server() as server:
        yield server


def worker(server, node, *flags, **settings):
    return Worker(_Program(), server, node, *(flags or LARGE), env={**PLAIN, **settings})


def test_a_nats_server_that_is_not_there_ran_nothing():
    with pytest.raises(ConnectionLostError, match="127.0.0.1:9.*never started"):
        Pyexec.connect("nats://user:secret@127.0.0.1:9,127.0.0.1:9").execute_once("1")


def test_a_fleet_without_a_node_is_overloaded_until_one_comes(nats):
    with Pyexec.connect(nats.url, retry_overloaded=0) as px, Pyexec.connect(nats.url, retry_overloaded=120) as patient:
        for call in (lambda: px.execute_once("1"), lambda: px.session().execute("1"), lambda: px.verify("", [{"code": "1"}]),
                     px.environments):
            with pytest.raises(OverloadedError, match="pyexec worker --nats") as refused:
                call()
            assert refused.value.retry_after > 0
        found = []
        thread = threading.Thread(target=lambda: found.append(patient.execute_once("6 * 7")))
        thread.start()
        with worker(nats, "late"):
            thread.join(60)
            assert found[0].last_value_repr == "42"


def test_large_bodies_both_ways_and_large_answers_of_tools(nats):
    with worker(nats, "large"), Pyexec.connect(nats.url) as px:
        text = os.urandom(12 << 20).hex()
        assert px.execute_once("t = open('in').read(); print(t)", files={"in": text}).stdout == text + "\n"
        events = list(px.stream("t = open('in').read(); print(t)", files={"in": text}))
        assert "".join(event.text for event in events[:-1]) == text + "\n" == events[-1].stdout
        code = "a = f('x' * 3000000)\nlen(a), set(a)"
        assert px.execute_once(code, tools={"f": lambda text: "y" * len(text)}).last_value_repr == "(3000000, {'y'})"


def test_a_lost_node_is_noticed_and_its_run_is_not_repeated(nats, tmp_path):
    with worker(nats, "victim") as victim, Pyexec.connect(nats.url) as px:
        stream = px.stream("import time\nprint('on', flush=True)\ntime.sleep(50)")
        assert next(stream).text == "on\n"
        with worker(nats, "other"):
            victim.process.kill()
            with pytest.raises(ConnectionLostError, match="not known"):
                stream.result()
            assert px.execute_once("1").ok


def test_a_lost_session_is_an_error_once(nats):
    with worker(nats, "victim") as victim, Pyexec.connect(nats.url) as px:
        session = px.session(policy={"max_value_bytes": 5})
        session.execute("x = 1")
        with worker(nats, "other"):
            victim.process.kill()
            victim.process.wait()
            deadline = time.monotonic() + 60
            while True:
                try:
                    result = session.execute("x")
                except SessionLostError as lost:
                    assert "victim" in lost.message
                    break
                except ConnectionLostError:         # NATS has not noticed it yet
                    assert time.monotonic() < deadline
                else:
                    pytest.fail("the state can't be there: %r" % (result,))
            result = session.execute("'long enough'")
            assert result.session.execution_count == 1 and result.last_value_truncated


def test_asking_for_a_lost_session_makes_no_new_one(nats):
    with worker(nats, "drains") as gone, Pyexec.connect(nats.url) as px:
        session = px.session()
        session.execute("x = 1")
        with worker(nats, "stays"):
            gone.stop()         # the fleet forgets its sessions
            with pytest.raises(SessionLostError, match="drains"):
                session.files.list()
            assert px.sessions() == []


def test_two_clients_share_a_session_wherever_it_lives(fleet):
    with Pyexec.connect(fleet.url) as one, Pyexec.connect(fleet.url) as two:
        for number in range(6):
            session = one.session()
            session.execute("x = %d" % number)
            other = two.session(session.id)
            assert other.files.list() == []         # the first call is not an execution, and may reach the wrong node
            assert other.execute("x").last_value_repr == str(number)
            assert session.id in [row["id"] for row in two.sessions()]
            session.close()


def test_a_node_that_lost_the_session_to_another_one_says_where_it_is(fleet):
    with Pyexec.connect(fleet.url) as px:
        session = px.session()
        session.execute("x = 1")
        nodes = px._transport._inner._connection.nodes
        nodes[session.id] = {"one": "two", "two": "one"}[nodes[session.id]]
        assert session.execute("x").last_value_repr == "1"
        nodes[session.id] = "nobody"        # as while its node connects to another NATS server
        assert session.execute("x").last_value_repr == "1"
        session.close()


def test_environments_are_chosen_by_subject(nats, tmp_path):
    stores = pytest.importorskip("stores")
    store = stores.HandMadeStore(tmp_path / "env")
    store.add("data", {"tally": "def total(*numbers): return sum(numbers)"})
    with worker(nats, "plain"), worker(nats, "rich", "--allowed-environments", "data", PYEXEC_ENV_ROOT=store.root), \
            Pyexec.connect(nats.url) as px:
        for _ in range(8):
            result = px.execute_once("import tally; tally.total(2, 3)", policy={"environment": "data"})
            assert result.last_value_repr == "5" and result.environment == EnvironmentInfo("data", result.environment.hash)
        with pytest.raises(InvalidPolicyError, match="'dota'"):
            px.execute_once("1", policy={"environment": "dota"})


def test_a_password_a_principal_and_an_inbox_of_its_own(tmp_path):
    alice = base64.urlsafe_b64encode(b"alice").decode().rstrip("=")
    tokens = tmp_path / "tokens"
    tokens.write_text("alice -\n")
    tokens.chmod(0o600)
    settings = """authorization { users: [ { user: worker, password: w },
        { user: alice, password: a, permissions: { publish: ["pyexec.v1.as.%s.>", "pyexec.v1.node.*.s.%s.>", "pyexec.v1.node.*.p.%s",
          "pyexec.v1.node.*.r.>", "$SRV.PING.pyexec"], subscribe: "_INBOX_alice.>" } } ] }""" % (alice, alice, alice)
    with Server(settings) as server:
        with Worker(_Program(), server.url.replace("//", "//worker:w@"), "guarded", *LARGE, "--token-file", str(tokens), env=PLAIN):
            with Pyexec.connect(server.url.replace("//", "//alice:a@"), principal="alice", inbox_prefix="_INBOX_alice") as px:
                assert px.execute_once("6 * 7").last_value_repr == "42"
                assert px.execute_once("len(f())", tools={"f": lambda: "x" * 2000000}).last_value_repr == "2000000"
                with px.session() as session:
                    session.execute("x = 1")
                    assert session.execute("x").last_value_repr == "1"
                    assert [row["id"] for row in px.sessions()] == [session.id]
            with pytest.raises(ConnectionLostError, match="lets this client in.*never started"):
                Pyexec.connect(server.url.replace("//", "//alice:wrong@")).start()


LISTS = {"busy": (503, {"status": 503, "code": "overloaded", "title": "no room", "hint": "later"}), "broken": (200, {"sessions": 5}), "odd": (200, {"sessions": "s"}),
         "refuses": (401, {"status": 401, "code": "unauthorized", "title": "who is it?", "hint": "ask"}), "works": (200, {"sessions": [{"id": "s"}]})}


def serve_lists(node, names):
    """This connection plays nodes whose lists of sessions are these."""
    for name in names:
        node.serve("$SRV.PING.pyexec", lambda node, message, name=name: node.publish(message.reply, json.dumps({"id": name})))
        node.serve("pyexec.v1.node.%s.p.*" % name, lambda node, message, name=name: node.answer(message, *LISTS[name]))


def test_the_list_of_sessions_names_the_nodes_that_are_missing(nats):
    with Pyexec.connect(nats.url) as px, FakeNode(nats.port) as node:
        serve_lists(node, ["works"])
        assert px.sessions() == [{"id": "s"}] and px.sessions().missing == ()
        serve_lists(node, ["busy", "broken", "odd", "refuses"])
        sessions = px.sessions()
        assert sessions == [{"id": "s"}]
        assert [(one["node"], one["status"], one["title"]) for one in sessions.missing] == [
            ("broken", 502, "the list of node broken is not valid"), ("busy", 503, "no room"),
            ("odd", 502, "the list of node odd is not valid"), ("refuses", 401, "who is it?")]


def test_a_list_of_sessions_that_no_node_has_is_the_problem_of_one(nats):
    with Pyexec.connect(nats.url) as px, FakeNode(nats.port) as node:
        serve_lists(node, ["refuses"])
        with pytest.raises(UnauthorizedError, match="who is it"):
            px.sessions()


def test_a_restart_of_the_nats_server_is_survived(nats):
    with worker(nats, "patient"), Pyexec.connect(nats.url, retry_overloaded=120) as px:
        assert px.execute_once("1").ok
        nats.kill()
        nats.start()
        deadline = time.monotonic() + 60
        while True:
            try:
                assert px.execute_once("1").ok
                break
            except ConnectionLostError:
                assert time.monotonic() < deadline


def test_closing_ends_the_runs_of_the_client(nats):
    with worker(nats, "busy", "--any-import", "--timeout", "60s") as busy, Pyexec.connect(nats.url) as other:
        px = Pyexec.connect(nats.url)
        stream = px.stream("import time\nprint('on', flush=True)\ntime.sleep(50)")
        assert next(stream).text == "on\n"
        px.close()
        with pytest.raises(BaseException):
            stream.result()
        assert other.execute_once("1").ok
        busy.process.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        assert busy.process.wait(60) == 0 and time.monotonic() - begun < 40     # it has no run to wait for


def test_of_requests_with_one_key_at_most_one_starts(nats):
    started = []
    note = {"note": lambda: started.append(1)}
    with worker(nats, "first") as first, Pyexec.connect(nats.url) as one, Pyexec.connect(nats.url) as two:
        assert one.execute_once("note()", key="task 17", tools=note).ok
        for again in (two.execute_once, two.session().execute):
            with pytest.raises(AlreadyStartedError):
                again("note()", key="task 17", tools=note)
        with pytest.raises(AlreadyStartedError):
            two.verify("", [{"code": "1"}], key="task 17")
        assert two.session().execute("note()", key="task 18", tools=note).ok and len(started) == 2
        stream = two.stream("print('on', flush=True)\nimport time\ntime.sleep(50)", key="task 19")
        assert next(stream).text == "on\n"
        with worker(nats, "second"):
            first.process.kill()
            with pytest.raises(AlreadyStartedError):        # and not: it is not known
                stream.result()
        with pytest.raises(InvalidRequestError, match="printable ASCII"):
            one.execute_once("1", key="a\r\nb: c")


def test_a_request_with_a_key_that_never_started_is_sent_again(nats):
    for key in (None, "task"):
        with Pyexec.connect(nats.url) as px, Nats(nats.port) as gone:
            requests = gone.subscribe("pyexec.v1.run", "pyexec")
            gone.flush()
            stream = px.stream("6 * 7", **({} if key is None else {"key": key}))
            message = requests.get(timeout=60)
            assert message.headers.get("Pyexec-Key") == key
            gone.publish(message.reply, b'{"node": "gone", "request": "r"}', headers={"Pyexec-Seq": "0", "Pyexec-Event": "accepted"})
            gone.flush()
            gone.close()
            with worker(nats, "real"):
                if key is None:
                    with pytest.raises(ConnectionLostError, match="not known"):
                        stream.result()
                else:
                    assert stream.result().last_value_repr == "42"


def test_at_most_four_parts_of_a_body_are_without_an_answer(nats):
    with Pyexec.connect(nats.url, retry_overloaded=0) as px, Nats(nats.port) as node:
        requests, parts = node.subscribe("pyexec.v1.run", "pyexec"), node.subscribe("test.parts")
        node.flush()
        stream = px.stream("1", stdin="x" * (8 << 20))
        message = requests.get(timeout=60)
        count, size, waiting = int(message.headers["Pyexec-Parts"]), len(message.data), []
        node.publish(message.reply, b"", "test.parts", {"Pyexec-Seq": "0", "Pyexec-Event": "continue"})
        for number in range(1, count):
            while len(waiting) < min(4, count - number):
                waiting.append(parts.get(timeout=60))
            assert parts.empty()
            part = waiting.pop(0)
            assert part.headers["Pyexec-Part"] == str(number)
            size += len(part.data)
            node.publish(part.reply, b"", headers={"Pyexec-Part": str(number)})
        assert count > 5 and size == int(message.headers["Pyexec-Bytes"])
        node.publish(message.reply, b'{"code": "internal", "title": "the end"}', headers={"Pyexec-Seq": "1", "Pyexec-Status": "500"})
        with pytest.raises(PyexecError, match="the end"):
            stream.result()


def test_a_nats_server_whose_messages_are_too_small_is_named():
    for limit in (1024, 4096):
        with Server("max_payload: %d" % limit) as server, Pyexec.connect(server.url) as px:
            for call in (lambda: px.execute_once("1"), lambda: px.session().execute("1")):
                with pytest.raises(ConnectionLostError, match="at most %d bytes.*max_payload.*never started" % limit):
                    call()


ACCEPTED = ({"Pyexec-Seq": "0", "Pyexec-Event": "accepted"}, b'{"node": "bad", "request": "r"}')
MALFORMED = {
    "a number": [({"Pyexec-Seq": "x", "Pyexec-Event": "accepted"}, b"{}")],
    "no JSON": [({"Pyexec-Event": "accepted"}, b"{")],
    "no member": [({"Pyexec-Event": "accepted"}, b"{}")],
    "no object": [({"Pyexec-Event": "accepted"}, b"[]")],
    "deep": [({"Pyexec-Event": "accepted"}, b"[" * 200000)],
    "a subject": [({"Pyexec-Event": "accepted"}, b'{"node": "a 0\\r\\n\\r\\nPUB x 0", "request": "r"}')],
    "an event": [ACCEPTED, ({"Pyexec-Seq": "1", "Pyexec-Event": "stdout"}, b"no")],
    "no text": [ACCEPTED, ({"Pyexec-Seq": "1", "Pyexec-Event": "stdout"}, b"{}")],
    "a call": [ACCEPTED, ({"Pyexec-Seq": "1", "Pyexec-Event": "tool_call"}, b'{"name": "f"}')],
    "no part": [ACCEPTED, ({"Pyexec-Seq": "1", "Pyexec-Part": "0", "Pyexec-Event": "stdout"}, b"{}")],
    "another part": [ACCEPTED, ({"Pyexec-Seq": "1", "Pyexec-Part": "1", "Pyexec-Parts": "2", "Pyexec-Event": "stdout"}, b"{}")],
    "a status": [({"Pyexec-Status": "ok"}, b"{}")],
    "a result": [({"Pyexec-Status": "200", "Content-Type": "application/json"}, b"{")],
    "a result that is no object": [({"Pyexec-Status": "200", "Content-Type": "application/json"}, b"5")],
    "members": [({"Pyexec-Status": "200", "Content-Type": "application/json"}, b'{"display": 5, "usage": "x"}')],
    "a problem": [({"Pyexec-Status": "400", "Content-Type": "application/problem+json"}, b"[" * 200000)],
}


@pytest.fixture(scope="module")
def bad_node():
    with Server() as server, Nats(server.port) as node, Pyexec.connect(server.url, retry_overloaded=0) as px:
        requests = node.subscribe("pyexec.v1.run", "pyexec")
        node.subscribe("pyexec.v1.node.bad.r.r.>")
        node.flush()
        yield px, node, requests


@pytest.mark.parametrize("messages", MALFORMED.values(), ids=MALFORMED)
def test_malformed_answers_are_errors_of_the_client(bad_node, messages):
    px, node, requests = bad_node
    stream = px.stream("1", tools={"f": lambda: 1})
    reply = requests.get(timeout=60).reply
    for headers, data in messages:
        node.publish(reply, data, "", headers)
    with pytest.raises(PyexecError) as failed:
        stream.result()
    assert "no worker has answered" not in str(failed.value) and "node is gone" not in str(failed.value)


def test_a_request_that_is_sent_on_is_awaited_at_the_node_that_accepts_it_last(bad_node):
    px, node, requests = bad_node
    stream = px.stream("6 * 7")
    reply = requests.get(timeout=60).reply
    for headers, data in (ACCEPTED, ({"Pyexec-Seq": "1", "Pyexec-Event": "alive"}, b"{}"), ({"Pyexec-Seq": "2", "Pyexec-Event": "alive"}, b"{}"),
                          ({"Pyexec-Seq": "0", "Pyexec-Event": "accepted"}, b'{"node": "owner", "request": "r"}'),
                          ({"Pyexec-Seq": "1", "Pyexec-Status": "400"}, b'{"code": "invalid_request", "title": "from the owner"}')):
        node.publish(reply, data, headers=headers)
    with pytest.raises(PyexecError, match="from the owner"):
        stream.result()


def test_a_malformed_answer_to_a_part_or_a_session_is_an_error_too(bad_node):
    px, node, requests = bad_node
    for answer in ("x", "99"):
        stream, parts = px.stream("1", stdin="x" * (3 << 20)), node.subscribe("test.malformed")
        message = requests.get(timeout=60)
        node.publish(message.reply, b"", "test.malformed", {"Pyexec-Event": "continue"})
        node.publish(parts.get(timeout=60).reply, b"", headers={"Pyexec-Part": answer})
        with pytest.raises(ConnectionLostError, match="can't be read"):
            stream.result()
        node.unsubscribe(parts)
    opened = node.subscribe("pyexec.v1.open", "pyexec")
    node.flush()
    stream = px.session().stream("1")
    node.publish(opened.get(timeout=60).reply, b"{}", headers={"Pyexec-Status": "201", "Pyexec-Node": "a b"})
    with pytest.raises(ConnectionLostError, match="can't be read"):
        stream.result()
    node.unsubscribe(opened)


@pytest.mark.parametrize("headers", [{"Pyexec-Event": "stdout"}, {"Pyexec-Part": "0", "Pyexec-Parts": "1000", "Pyexec-Event": "stdout"}],
                         ids=["messages before their turn", "parts without an end"])
def test_what_a_node_sends_ahead_is_bounded(bad_node, headers):
    px, node, requests = bad_node
    stream = px.stream("1")
    reply, data = requests.get(timeout=60).reply, b" " * (1000 << 10)
    is_part = "Pyexec-Part" in headers
    for number in range(110):
        own = {**headers, "Pyexec-Seq": str(number if is_part else number + 1)}
        node.publish(reply, data, "", {**own, "Pyexec-Part": str(number)} if is_part else own)
    with pytest.raises(ConnectionLostError, match="more than it may"):
        stream.result()


def test_events_and_calls_of_tools_that_wait_are_bounded(bad_node, monkeypatch):
    from pyexec import _nats
    px, node, requests = bad_node
    monkeypatch.setattr(_nats, "EVENT_BYTES", 1000)
    monkeypatch.setattr(_nats, "CALLS", 3)
    release = threading.Event()
    for name, data in (("stdout", b'{"text": "%s"}' % (b"x" * 300)), ("tool_call", b'{"name": "f", "arguments": {}, "call_id": "c"}')):
        stream = px.stream("1", tools={"f": release.wait})
        reply = requests.get(timeout=60).reply
        for _ in range(5):
            node.publish(reply, data, "", {"Pyexec-Event": name})
        with pytest.raises(ConnectionLostError, match="more events than a client takes"):
            stream.result()
    release.set()


def test_a_key_is_only_for_a_fleet():
    for px in (Pyexec(), Pyexec.connect("http://127.0.0.1:9")):
        with pytest.raises(InvalidRequestError, match="only a fleet over NATS"):
            px.execute_once("1", key="task")


def test_settings_that_do_not_fit_are_refused_at_once():
    with pytest.raises(ValueError, match="nats://HOST:PORT"):
        Pyexec.connect("amqp://x")
    with pytest.raises(ValueError, match="only for nats://"):
        Pyexec.connect("http://x", principal="a")


def test_without_nats_py_the_error_names_what_to_install():
    code = "import sys\nsys.modules['nats'] = None\nfrom pyexec import Pyexec\nPyexec.connect('nats://x')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and "pip install 'pyexec-client[nats]'" in done.stderr

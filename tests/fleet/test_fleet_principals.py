# SPDX-License-Identifier: Apache-2.0
"""Who may do what in a fleet: principals and ceilings, permissions of users and accounts, TLS; and a cluster of NATS servers."""
import json
import os
import ssl
import subprocess

import pytest

from conftest import BUILD, ROOT
from nats_fleet import LOCAL, NO_RESPONDERS, PATIENCE, Call, Nats, Server, Worker, b64, cluster, needs_fleet
from waiting import wait_until

pytestmark = needs_fleet(BUILD)
TOKENS = "alice - timeout_ms=1000 max_sessions=5\nbob - \n"


def readable(path, text):
    path.write_text(text)
    os.chmod(path, 0o644)
    return str(path)


def test_a_principal_has_its_ceiling_and_its_sessions(pyexec, open_folder, nothing_left):
    tokens = readable(open_folder / "tokens", TOKENS)
    with Server() as own, Nats(own.port) as nats, Worker(pyexec, own, "shared", "--token-file", tokens):
        run = "pyexec.v1.as.%s.run"
        assert nats.request(run % b64("alice"), '{"code": "1", "timeout_ms": 1000}').status == 200
        answer = nats.request(run % b64("alice"), '{"code": "1", "timeout_ms": 1001}')
        assert answer.status == 400 and "ceiling" in answer.json()["title"]
        assert nats.request(run % b64("bob"), '{"code": "1", "timeout_ms": 1001}').status == 200
        assert nats.request(run % b64("local"), '{"code": "1"}').status == 200
        assert nats.request(run % b64("eve"), '{"code": "1"}').status == 401
        for bad in ("a=", "....", "YQ=="):
            assert nats.request(run % bad, '{"code": "1"}').status in (400, NO_RESPONDERS)
        for name in ("alice", "bob"):
            assert nats.request("pyexec.v1.as.%s.open" % b64(name), '{"id": "same"}').status == 201
            place = "pyexec.v1.node.shared.s.%s.%s" % (b64(name), b64("same"))
            assert nats.request(place, json.dumps({"code": "who = %r" % name})).status == 200
        for name in ("alice", "bob"):
            place = "pyexec.v1.node.shared.s.%s.%s" % (b64(name), b64("same"))
            assert nats.request(place, '{"code": "who"}').json()["last_value_repr"] == repr(name)
        listed = nats.request("pyexec.v1.node.shared.p." + b64("alice"), "", {"Pyexec-Call": "GET /v1/sessions"}).json()
        assert [row["id"] for row in listed["sessions"]] == ["same"]


def test_without_a_default_principal_only_named_ones_are_served(pyexec):
    with Server() as own, Nats(own.port) as nats, Worker(pyexec, own, "named", env={**os.environ, "PYEXEC_NATS_PRINCIPAL": "none"}):
        assert nats.request("pyexec.v1.run", '{"code": "1"}').status == NO_RESPONDERS
        assert nats.request("pyexec.v1.open", "{}").status == NO_RESPONDERS
        assert nats.request("pyexec.v1.as.%s.run" % LOCAL, '{"code": "1"}').status == 200


def documented_permissions():
    """The configuration of NATS for users of one account in docs/scale.md."""
    with open(os.path.join(ROOT, "docs/scale.md")) as file:
        text = file.read()
    block = text[text.index("    authorization { users: ["):]
    block = block[:block.index("\n\n")]
    for name in ("WORKER", "ALICE", "BOB"):
        assert "$" + name in block
        block = block.replace("$" + name, '"secret of %s"' % name.lower())
    return block


@pytest.fixture
def guarded(pyexec, open_folder):
    """Two nodes of a fleet with the permissions of docs/scale.md, and a function that connects one of its users."""
    tokens = readable(open_folder / "tokens", "alice - \nbob - \n")
    secret = readable(open_folder / "password", "secret of worker\n")
    environment = {**os.environ, "PYEXEC_NATS_USER": "worker", "PYEXEC_NATS_PASSWORD_FILE": secret}
    flags = ["--forkable", "--token-file", tokens]
    with Server(documented_permissions()) as own, Worker(pyexec, own, "first", *flags, env=environment) as first, \
            Worker(pyexec, own, "second", *flags, env=environment) as second:
        yield {"first": first, "second": second}, lambda user, inbox: Nats(own.port, user, "secret of " + user, inbox=inbox)


def test_the_documented_permissions_are_enough(guarded):
    workers, connect = guarded
    with connect("alice", "_INBOX_alice") as nats:
        for code in ("f()", "print('x' * 600000)\nf()"):
            call = Call(nats, "pyexec.v1.as.YWxpY2U.run", {"code": code, "tools": [{"name": "f"}]}, events=True)
            last = call.end(lambda name, message: name == "tool_call" and nats.publish(message.reply, '{"result": 7}'))
            assert last.json()["last_value_repr"] == "7"
        made = nats.request("pyexec.v1.as.YWxpY2U.open", '{"id": "mine"}')
        assert made.status == 201
        home = workers.pop(made.headers["Pyexec-Node"])
        (other,) = workers.values()
        assert nats.request(home.subject("mine", "alice"), '{"code": "x = 1"}').status == 200
        assert nats.request(other.subject("mine", "alice"), '{"code": "x"}').status == 421          # it has read the entry and asked its owner
        assert nats.request(other.subject("mine", "alice"), '{"id": "mine"}', {"Pyexec-Call": "OPEN"}).status == 200    # sent on
        assert nats.request(home.subject("mine", "alice"), "{}", {"Pyexec-Call": "POST /fork"}).status == 201
        assert nats.request(home.subject("mine", "alice"), "", {"Pyexec-Call": "DELETE"}).status == 204
        assert nats.request(other.subject("mine", "alice"), '{"id": "mine"}', {"Pyexec-Call": "OPEN"}).status == 201    # its entry is removed
        assert nats.request("pyexec.v1.as.YWxpY2U.run", '{"code": 1}', {"Pyexec-Key": "refused"}).status == 400
        for status in (200, 409):
            assert nats.request("pyexec.v1.as.YWxpY2U.run", '{"code": "1"}', {"Pyexec-Key": "k"}).status == status
        keep = {"Pyexec-Key": "kept", "Pyexec-Keep": "answer"}
        slow = Call(nats, "pyexec.v1.as.YWxpY2U.run", {"code": "import time\ntime.sleep(2)"}, headers=keep, events=True)
        assert slow.next()[0] == "accepted"
        wait_until(lambda: nats.request("pyexec.v1.as.YWxpY2U.run", '{"code": "1"}', keep).json().get("code") == "in_progress", "the start")
        assert nats.request("pyexec.v1.as.YWxpY2U.run", '{"code": "1"}', keep).status in (200, 409) and slow.end().status == 200
        assert nats.request("pyexec.v1.as.YWxpY2U.run", '{"code": "1"}', keep).status == 200        # kept
        assert not nats.errors
    assert "Permissions" not in home.text() + other.text()


def test_a_user_can_only_use_the_subjects_of_its_principal(guarded):
    with guarded[1]("alice", "_INBOX_alice") as nats:
        for subject in ("pyexec.v1.run", "pyexec.v1.as.Ym9i.run", "pyexec.v1.node.first.s.Ym9i.eA", "pyexec.v1.node.first"):
            before = len(nats.errors)
            nats.publish(subject, '{"code": "1"}', nats.inbox + ".x")
            wait_until(lambda: len(nats.errors) > before, "the refusal")
            assert "Permissions Violation" in nats.errors[-1]


def test_users_of_one_account_do_not_read_the_answers_of_each_other(guarded):
    """Answers have the id of a request, with which whoever knows it can cancel the run and answer its tool calls."""
    with guarded[1]("alice", "_INBOX_alice") as alice, guarded[1]("bob", "_INBOX_bob") as bob:
        spies = [alice.subscribe(subject) for subject in ("_INBOX_bob.>", "_INBOX.>", "pyexec.v1.node.*.r.>", ">")]
        wait_until(lambda: len(alice.errors) == len(spies), "the refusals")
        assert all("Permissions Violation for Subscription" in error for error in alice.errors)
        call = Call(bob, "pyexec.v1.as.Ym9i.run", {"code": "f()", "tools": [{"name": "f"}]}, events=True)
        assert call.end(lambda name, message: name == "tool_call" and bob.publish(message.reply, '{"result": 7}')).status == 200
        assert Call(alice, "pyexec.v1.as.YWxpY2U.run", {"code": "1"}, events=True).end().status == 200
        assert all(spy.empty() for spy in spies)


def test_an_answer_never_goes_to_a_subject_that_does_something(pyexec, open_folder):
    """NATS does not compare a reply subject with what its sender may publish to, and the worker answers with its own permissions."""
    tokens = readable(open_folder / "tokens", "alice - \n")
    command = b'{"do": "drain"}'
    alice = "pyexec.v1.node.whole.%s"
    with Server() as own, Nats(own.port) as nats, Worker(pyexec, own, "whole", "--files", "full", "--token-file", tokens) as worker:
        heard = {subject: nats.subscribe(subject) for subject in ("pyexec.v1.node.other", "$KV.pyexec_sessions.other", "$JS.API.other")}
        nats.flush()
        place = worker.subject("mine", "alice")
        assert nats.request("pyexec.v1.as.%s.open" % b64("alice"), '{"id": "mine"}').status == 201
        put = nats.request(place, command, {"Pyexec-Call": "PUT /files/d", "Content-Type": "application/octet-stream"})
        assert put.status in (200, 201, 204), put.data
        assert nats.request(place, "", {"Pyexec-Call": "GET /files/d"}).data == command
        tools = {"code": "f()", "tools": [{"name": "f"}]}
        call = Call(nats, "pyexec.v1.as.%s.run" % b64("alice"), tools, events=True)
        asks = []
        while not asks:
            name, _, message = call.next()
            asks += [message.reply] if name == "tool_call" else []
        parts = nats.inbox + ".parts"
        into = nats.subscribe(parts)
        nats.publish("pyexec.v1.as.%s.run" % b64("alice"), b"{", parts, {"Pyexec-Parts": "2", "Pyexec-Bytes": "20"})
        upload = into.get(timeout=60).reply
        for target in ("pyexec.v1.node.whole", *heard):
            for subject, data, headers in (
                    (place, b"", {"Pyexec-Call": "GET /files/d"}), (place, b"", {"Pyexec-Call": "nonsense"}),
                    ("pyexec.v1.as.%s.run" % b64("alice"), b'{"code": "1"}', None), (alice % ("p." + b64("alice")), b"", None),
                    ("pyexec.v1.node.whole", b'{"do": "ping"}', None), (call.about + ".ping", b"", None), (alice % "r.none.ping", b"", None),
                    (asks[0], b"{}", None), (upload, b'"code": "1"', {"Pyexec-Part": "1"}), ("$SRV.PING.pyexec", b"", None)):
                nats.publish(subject, data, target, headers)
        assert nats.request(asks[0], '{"result": 7}').status == 204         # after all of the others
        assert call.end().json()["last_value_repr"] == "7"
        assert nats.request("pyexec.v1.node.whole", '{"do": "stats"}').json()["draining"] is False
        assert all(into.empty() for into in heard.values())
        assert worker.text().count("messages were ignored") == 1, worker.text()


@pytest.fixture
def shared(pyexec, open_folder):
    """A node that two principals use."""
    tokens = readable(open_folder / "tokens", "alice - \nbob - \n")
    with Server() as own, Worker(pyexec, own, "shared", "--files", "full", "--workspace-bytes", "64M",
                                 "--token-file", tokens) as worker, Nats(own.port) as nats:
        yield worker, nats


def uploads_that_never_end(nats, name, count, size):
    """Begins uploads. Returns their events `continue` and their statuses."""
    reply = "%s.never.%s" % (nats.inbox, name)
    into, got = nats.subscribe(reply), []
    for number in range(1, count + 1):
        nats.publish("pyexec.v1.as.%s.run" % b64(name), b"{", reply, {"Pyexec-Parts": "2", "Pyexec-Bytes": str(size)})
        while len(got) < number and (number == count or number % 200 == 0):
            message = into.get(timeout=PATIENCE)
            got.append(message.headers.get("Pyexec-Event") or message.status)
    return got


def test_one_principal_can_not_take_all_memory_for_bodies(shared):
    """As in serve/body.c: with 10 of 32 MiB a principal has less than twice what it leaves free, of 512 MiB."""
    _, nats = shared
    got = uploads_that_never_end(nats, "alice", 16, 32 << 20)
    assert got.count("continue") == 10 and got.count(429) == 6, got
    assert uploads_that_never_end(nats, "bob", 1, 32 << 20) == ["continue"]
    assert nats.request("pyexec.v1.as.%s.run" % b64("bob"), '{"code": "1"}').status == 200


def test_one_principal_can_not_take_all_requests(shared):
    worker, nats = shared
    got = uploads_that_never_end(nats, "alice", 8300, 2)
    assert got.count("continue") <= 8192 * 2 // 3 and got.count("continue") + got.count(429) == 8300, set(got)
    assert nats.request("pyexec.v1.as.%s.run" % b64("bob"), '{"code": "1"}').status == 200
    refused = nats.request("pyexec.v1.as.%s.run" % b64("alice"), '{"code": "1"}')
    assert refused.status == 429 and refused.json()["code"] == "overloaded" and refused.headers["Retry-After"] == "1"


def test_one_principal_can_not_take_all_memory_for_answers(shared):
    worker, nats = shared
    for name in ("alice", "bob"):
        assert nats.request("pyexec.v1.as.%s.open" % b64(name), '{"id": "s"}').status == 201
        code = json.dumps({"code": "open('f', 'w').write('x' * (20 << 20))"})
        assert nats.request(worker.subject("s", name), code).json()["status"] == "ok"
    waiting = [Call(nats, worker.subject("s", "alice"), call="GET /files/f", events=True, acknowledge=False) for _ in range(30)]
    for call in waiting:
        assert call.next()[0] == "accepted"
    assert len(Call(nats, worker.subject("s", "bob"), call="GET /files/f").end().data) == 20 << 20
    assert {nats.request(call.about + ".ping").status for call in waiting} == {204}       # bob did not wait for their end


def test_accounts_give_the_short_subjects_to_their_users(pyexec, open_folder):
    tokens = readable(open_folder / "tokens", TOKENS)
    secret = readable(open_folder / "password", "w\n")
    settings = """accounts {
      WORKERS { users: [{user: worker, password: w}], exports: [{service: "pyexec.v1.>", response: stream}], jetstream: enabled }
      ALICE { users: [{user: alice, password: a}], imports: [
        { service: {account: WORKERS, subject: "pyexec.v1.as.YWxpY2U.run"}, to: "pyexec.v1.run" }
        { service: {account: WORKERS, subject: "pyexec.v1.as.YWxpY2U.open"}, to: "pyexec.v1.open" }
        { service: {account: WORKERS, subject: "pyexec.v1.node.*.s.YWxpY2U.*"} }
        { service: {account: WORKERS, subject: "pyexec.v1.node.*.p.YWxpY2U"} }
        { service: {account: WORKERS, subject: "pyexec.v1.node.*.r.>"} } ] } }"""
    environment = {**os.environ, "PYEXEC_NATS_USER": "worker", "PYEXEC_NATS_PASSWORD_FILE": secret}
    with Server(settings) as own, Worker(pyexec, own, "imported", "--token-file", tokens, env=environment), Nats(own.port, "alice", "a") as nats:
        assert nats.request("pyexec.v1.run", '{"code": "1", "timeout_ms": 1001}').status == 400      # alice's ceiling
        call = Call(nats, "pyexec.v1.run", {"code": "print('x' * 200000)\nf()", "tools": [{"name": "f"}]}, events=True)
        last = call.end(lambda name, message: name == "tool_call" and nats.publish(message.reply, '{"result": 7}'))
        assert last.json()["last_value_repr"] == "7"
        assert nats.request("pyexec.v1.open", '{"id": "mine"}').status == 201
        place = "pyexec.v1.node.imported.s.%s.%s"
        assert nats.request(place % (b64("alice"), b64("mine")), '{"code": "2"}').json()["last_value_repr"] == "2"
        assert nats.request(place % (b64("bob"), b64("mine")), '{"code": "2"}').status == NO_RESPONDERS


def certificates(folder):
    """Makes an authority, a server's certificate for localhost and a client's."""
    def openssl(*words):
        subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=folder)
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2",
            "-subj", "/CN=test authority")
    for name in ("server", "client"):
        (folder / (name + ".ext")).write_text("subjectAltName=DNS:localhost\n")
        openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", name + ".key", "-out", name + ".csr", "-subj", "/CN=" + name)
        openssl("x509", "-req", "-in", name + ".csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", name + ".ext",
                "-out", name + ".pem")
    for file in folder.iterdir():
        os.chmod(file, 0o644)


def test_tls_with_a_client_certificate_and_no_other_server_is_trusted(pyexec, open_folder):
    certificates(open_folder)
    settings = "tls { cert_file: %s/server.pem, key_file: %s/server.key, ca_file: %s/ca.pem, verify: true }" % ((open_folder,) * 3)
    environment = {**os.environ, "PYEXEC_NATS_CA_FILE": str(open_folder / "ca.pem"), "PYEXEC_NATS_CERTIFICATE": str(open_folder / "client.pem"),
                   "PYEXEC_NATS_CERTIFICATE_KEY": str(open_folder / "client.key")}
    context = ssl.create_default_context(cafile=str(open_folder / "ca.pem"))
    context.load_cert_chain(open_folder / "client.pem", open_folder / "client.key")
    with Server(settings) as own:
        with Worker(pyexec, "tls://localhost:%d" % own.port, "safe", env=environment), Nats(own.port, tls=context) as nats:
            text = "x" * (3 << 20)
            assert Call(nats, "pyexec.v1.run", {"code": "len(%r)" % text}).end().json()["last_value_repr"] == str(len(text))
        # The certificate is for another name, or of an authority that is not trusted.
        with Worker(pyexec, "tls://127.0.0.1:%d" % own.port, "fooled", ready=False, env=environment) as worker:
            wait_until(lambda: "no NATS server can be reached" in worker.text() or "SSL" in worker.text(), "the refusal")
            assert "serves" not in worker.text()
        strangers = {**environment, "PYEXEC_NATS_CA_FILE": "/etc/ssl/certs/ca-certificates.crt"}
        with Worker(pyexec, "tls://localhost:%d" % own.port, "stranger", ready=False, env=strangers) as worker:
            wait_until(lambda: "no NATS server can be reached" in worker.text() or "SSL" in worker.text(), "the refusal")
            assert "serves" not in worker.text()


def test_a_cluster_goes_on_without_one_of_its_three_servers(pyexec, nothing_left):
    servers = cluster()
    try:
        environment = {**os.environ, "PYEXEC_NATS_REPLICAS": "3"}
        with Worker(pyexec, servers, "w0", env=environment), Worker(pyexec, servers[1], "w1", env=environment), Nats(servers[2].port) as nats:
            wait_until(lambda: nats.request("pyexec.v1.open", '{"id": "kept"}').status in (200, 201), "a session")
            node = nats.request("pyexec.v1.open", '{"id": "kept"}').headers["Pyexec-Node"]
            place = "pyexec.v1.node.%s.s.%s.%s" % (node, LOCAL, b64("kept"))
            assert nats.request(place, '{"code": "x = 5"}').status == 200
            wait_until(lambda: {nats.request("pyexec.v1.run", '{"code": "1"}').headers.get("Pyexec-Node") for _ in range(5)} == {"w0", "w1"}, "both")
            servers[0].kill()       # w0 finds another server, and keeps its sessions
            wait_until(lambda: nats.request("pyexec.v1.node.w0", '{"do": "ping"}').headers.get("Pyexec-Node") == "w0", "w0 at another server")
            assert nats.request(place, '{"code": "x"}').json()["last_value_repr"] == "5"
            wait_until(lambda: nats.request("pyexec.v1.open", '{"id": "kept"}').status == 200, "the list of sessions without one server")
            wait_until(lambda: nats.request("pyexec.v1.open", "{}").status == 201, "a new session without one server")
    finally:
        for server in servers:
            server.close()

# SPDX-License-Identifier: Apache-2.0
"""An older worker beside today's in one fleet, and an older Python client beside today's. PYEXEC_OLD names a folder with the sources of an
older commit, built in its build/ (`git archive COMMIT | tar x -C FOLDER`, then `make all` there). docs/nightly.md says what was tried."""
import json
import os
import secrets
import subprocess

import pytest

import environments
from conftest import BUILD, ROOT
from nats_fleet import PLAIN, Call, Nats, Server, Worker, needs_fleet

OLD = os.environ.get("PYEXEC_OLD")
pytestmark = [*needs_fleet(BUILD), pytest.mark.skipif(not OLD, reason="PYEXEC_OLD names no older build")]
RUN = "pyexec.v1.run"
CLIENT = """
import sys
from pyexec import Pyexec
with Pyexec.connect(sys.argv[1]) as px:
    assert px.execute_once("6 * 7").last_value_repr == "42"
    assert px.execute_once("f(20)", tools={"f": lambda n: n + 1}).last_value_repr == "21"
    assert [event.text for event in list(px.stream("print('a')"))[:-1]] == ["a\\n"]
    text = "x" * 3000000
    assert px.execute_once("len(open('in').read())", files={"in": text}, policy={"disable_open": False}).last_value_repr == "3000000"
    session = px.session(sys.argv[2])
    for number in range(1, 11):
        assert session.execute("n = globals().get('n', 0) + 1; n").last_value_repr == str(number)
"""


class OldProgram:
    """Starts pyexec of the older build."""

    def popen(self, *words, **keywords):
        return subprocess.Popen([os.path.join(OLD, "build", "pyexec"), *words], **keywords)


@pytest.fixture(params=["old worker", "new worker", "both"])
def fleet(request, own):
    """A NATS server with these workers."""
    with Server() as server:
        started = []
        try:
            for name, program in (("old", OldProgram()), ("new", own)):
                if request.param in (name + " worker", "both"):
                    started.append(Worker(program, server, name, "--files", "full", env=PLAIN))
            server.workers = {worker.node: worker for worker in started}
            yield server
        finally:
            for worker in started:
                worker.close()


@pytest.mark.parametrize("tree", [OLD, ROOT], ids=["old client", "new client"])
def test_a_client_calls_workers(fleet, tree):
    python = environments.kept("nats-py", os.path.join(ROOT, "tests/fleet/requirements.txt"))
    done = subprocess.run([python, "-c", CLIENT, fleet.url, secrets.token_hex(8)], capture_output=True, text=True, timeout=200,
                          env={**PLAIN, "PYTHONPATH": os.path.join(tree, "clients/python/src")})
    assert done.returncode == 0, done.stderr


def test_sessions_and_keys_are_those_of_one_fleet(own):
    with Server() as server, Nats(server.port) as nats, Worker(OldProgram(), server, "old", env=PLAIN) as old, \
            Worker(own, server, "new", env=PLAIN) as new:
        for owner, other in ((old, new), (new, old)):
            session = secrets.token_hex(8)
            body = json.dumps({"id": session})
            assert nats.request(owner.subject(session), body, {"Pyexec-Call": "OPEN"}).status == 201
            assert nats.request(owner.subject(session), '{"code": "n = 7"}').status == 200
            found = nats.request(other.subject(session), body, {"Pyexec-Call": "OPEN"})
            assert (found.status, found.headers["Pyexec-Node"]) == (200, owner.node), found.data
            moved = nats.request(other.subject(session), '{"code": "n = 8"}')
            assert (moved.status, moved.headers["Pyexec-Node"]) == (421, owner.node), moved.data
            assert nats.request(owner.subject(session), '{"code": "n"}').json()["last_value_repr"] == "7"
        keys = [secrets.token_hex(8) for _ in range(20)]
        ends = [[Call(nats, RUN, {"code": "1"}, headers={"Pyexec-Key": key}, events=True) for key in keys] for _ in range(3)]
        statuses = [[call.end().status for call in calls] for calls in ends]
        assert [sorted(each) for each in zip(*statuses)] == [[200, 409, 409]] * 20
        assert {call.node for calls in ends for call in calls} == {"old", "new"}
        assert old.stop() == 0 and new.stop() == 0

# SPDX-License-Identifier: Apache-2.0
"""JetStream whose disk is really full: a file system of 8 MiB of its own, which only its server sees. nats-server 2.9.10 reads no more from
connections then; the server of server-requirements.txt goes on."""
import json
import os
import secrets

import pytest

from conftest import BUILD
from nats_fleet import PLAIN, Nats, Server, Worker, needs_fleet, newer_server_program
from waiting import wait_until

pytestmark = needs_fleet(BUILD)
RUN = "pyexec.v1.run"
ON_A_SMALL_DISK = """#!/bin/sh
folder=$(dirname "$2")/js
mkdir -p "$folder"
exec unshare --user --map-root-user --mount sh -c 'mount -t tmpfs -o size=8m none "$0" && exec "$@"' "$folder" %s "$@"
"""


@pytest.fixture
def server(open_folder):
    program = open_folder / "nats-server"
    program.write_text(ON_A_SMALL_DISK % newer_server_program())
    program.chmod(0o755)
    with Server(program=str(program)) as made:
        yield made


@pytest.fixture
def worker(pyexec, server):
    with Worker(pyexec, server, "full", env=PLAIN) as made:
        yield made


def fill(server):
    """Writes a file until the disk is full. Returns its path."""
    path = "/proc/%d/root%s/js/fill" % (server.process.pid, server.folder)
    with open(path, "wb", buffering=0) as file:
        for size in (65536, 16):
            with pytest.raises(OSError, match="No space left"):
                while True:
                    file.write(b"x" * size)
    return path


def session(nats):
    return nats.request("pyexec.v1.open", json.dumps({"id": secrets.token_hex(8)}))


def keyed(nats):
    return nats.request(RUN, '{"code": "1"}', {"Pyexec-Key": secrets.token_hex(8)})


def test_a_full_disk_refuses_only_new_sessions_and_keys(server, worker):
    with Nats(server.port) as nats:
        kept = session(nats).json()["id"]
        assert nats.request(worker.subject(kept), '{"code": "n = 7"}').status == 200 and keyed(nats).status == 200
        path = fill(server)
        for ask in (session, keyed):      # the last page of a file still has room
            refused = wait_until(lambda: (answer := ask(nats)).status not in (200, 201) and answer, "the full disk")
            assert refused.status == 503 and "JetStream" in refused.json()["title"], refused.data
            assert "disk" in refused.json()["hint"] and "never started" in refused.json()["hint"]
        for _ in range(3):
            assert ask(nats).status == 503
            assert nats.request(RUN, '{"code": "1"}').status == 200
            answer = nats.request(worker.subject(kept), '{"code": "n"}')
            assert answer.status == 200 and answer.json()["last_value_repr"] == "7"
        assert "connecting again" not in worker.text()
    # The server writes nothing more until it is started again. Here that empties its file system, and the session is still found.
    os.unlink(path)
    server.kill()
    server.start()
    with Nats(server.port) as nats:
        wait_until(lambda: not nats.is_gone("pyexec.v1.node.full"), "the worker")
        wait_until(lambda: session(nats).status == 201 and keyed(nats).status == 200, "the space")
        assert nats.request("pyexec.v1.open", json.dumps({"id": kept})).status == 200
        assert nats.request(worker.subject(kept), '{"code": "n"}').json()["last_value_repr"] == "7"

# SPDX-License-Identifier: Apache-2.0
"""A gateway whose workers, NATS server and neighbours are killed; its rights at NATS; `pyexec fleet`."""
import contextlib
import json
import os
import threading
import time

import pytest

from conftest import BUILD, ROOT
from forwarder import Forwarder
from nats_fleet import PATIENCE, Nats, Server, Worker, needs_fleet
from serving import events, serving
from waiting import wait_until

pytestmark = needs_fleet(BUILD)


@pytest.fixture
def nats():
    with Server() as made:
        yield made


def in_thread(work):
    """Starts it, and returns a function that waits for its value."""
    values = []
    thread = threading.Thread(target=lambda: values.append(work()), daemon=True)
    thread.start()

    def value():
        thread.join(PATIENCE)
        assert values, "the thread does not end"
        return values[0]
    return value


def run(pyexec, *words, **keywords):
    """Runs the program, and returns it with text in stdout and stderr."""
    done = pyexec.run(*words, **keywords)
    done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()
    return done


def running(gateway):
    return sum(node["running"] for node in gateway.ask("GET", "/v1/nodes").json()["nodes"])


SLEEP = "import time; time.sleep(100)"
FLAGS = ["--timeout", "120s"]


def test_a_run_whose_node_is_killed_is_told_so_soon(pyexec, nats):
    with Worker(pyexec, nats, "dies", *FLAGS) as worker, serving(pyexec, "--nats", nats.url) as gateway:
        gateway.result("1", session="lost")
        lost = in_thread(lambda: (gateway.execute(SLEEP), time.monotonic()))
        wait_until(lambda: running(gateway) == 1, "the run")
        killed = time.monotonic()
        worker.process.kill()
        answer, ended = lost()
        assert answer.status == 502 and "not known" in answer.json()["hint"]
        assert ended - killed < 10                      # measured: 0.5 s; the limit is for a loaded machine
        answer = gateway.execute("1")
        assert answer.status == 503 and answer.json()["code"] == "overloaded" and answer.headers["Retry-After"] == "1"
        with Worker(pyexec, nats, "other", *FLAGS):
            answer = gateway.execute("1", session="lost")
            assert answer.status == 410 and answer.json()["code"] == "session_lost" and "dies" in answer.json()["title"]
            assert gateway.result("1", session="lost")["session"]["created"] is True


def test_a_gateway_that_is_killed_loses_nothing_but_its_runs(pyexec, nats):
    with Worker(pyexec, nats, "stays", *FLAGS), serving(pyexec, "--nats", nats.url) as second:
        with serving(pyexec, "--nats", nats.url) as first:
            first.result("x = 41", session="kept")
            with contextlib.closing(first.connection()) as connection:
                connection.request("POST", "/v1/execute", json.dumps({"code": SLEEP}))
                wait_until(lambda: running(second) == 1, "the run")
                first.process.kill()
                first.process.wait()
        assert second.result("x + 1", session="kept")["last_value_repr"] == "42"
        wait_until(lambda: running(second) == 0, "the end of the run")


def test_a_gateway_serves_again_when_nats_is_back(pyexec, nats):
    with Worker(pyexec, nats, "waits", *FLAGS), serving(pyexec, "--nats", nats.url) as gateway:
        gateway.result("x = 1", session="kept")
        nats.kill()
        wait_until(lambda: gateway.ask("GET", "/readyz").status == 503, "the loss")
        answer = gateway.execute("1")
        assert answer.status == 503 and answer.headers["Retry-After"] and "NATS" in answer.json()["title"]
        gateway.wait_for_line(event="the connection to NATS is lost; connecting again")
        nats.start()
        wait_until(lambda: gateway.ask("GET", "/readyz").status == 200, "the connection")
        wait_until(lambda: gateway.execute("1").status == 200, "the worker")
        assert gateway.result("x", session="kept")["last_value_repr"] == "1"


def test_a_gateway_starts_before_nats(pyexec, nats):
    nats.kill()
    with serving(pyexec, "--nats", nats.url) as gateway:
        assert gateway.ask("GET", "/readyz").status == 503 and gateway.ask("GET", "/healthz").status == 200
        nats.start()
        wait_until(lambda: gateway.ask("GET", "/readyz").status == 200, "the connection")
        with Worker(pyexec, nats, "late", *FLAGS):
            assert gateway.result("6 * 7")["last_value_repr"] == "42"


def test_a_gateway_drains(pyexec, nats):
    with Worker(pyexec, nats, "calm", *FLAGS), serving(pyexec, "--nats", nats.url) as gateway:
        with contextlib.closing(gateway.connection()) as connection:
            connection.request("POST", "/v1/execute", json.dumps({"code": "print(1, flush=True); import time; time.sleep(2); 7"}),
                               {"Accept": "text/event-stream"})
            stream = events(connection.getresponse())
            assert next(stream)[0] == "stdout"
            gateway.process.terminate()
            assert list(stream)[-1][1]["last_value_repr"] == "7"
        assert gateway.process.wait(PATIENCE) == 0


def test_a_session_that_moved_is_found_by_a_gateway_that_knew_it(pyexec, nats):
    with Worker(pyexec, nats, "old", *FLAGS) as old, serving(pyexec, "--nats", nats.url) as gateway:
        gateway.result("x = 1", session="moves")
        with Worker(pyexec, nats, "new", *FLAGS):
            assert gateway.ask("POST", "/v1/nodes/old/drain").status == 200
            assert old.process.wait(PATIENCE) == 0
            assert gateway.execute("x", session="moves").status == 410
            answer = gateway.execute("2", session="moves")
            assert answer.status == 200 and answer.headers["Pyexec-Node"] == "new"


def test_a_session_whose_node_connects_again_is_not_lost(pyexec, nats):
    with Forwarder(nats.port) as link, Worker(pyexec, link, "far", *FLAGS), serving(pyexec, "--nats", nats.url) as gateway, \
            Nats(nats.port) as client:
        gateway.result("x = 5", session="kept")
        with Worker(pyexec, nats, "near", *FLAGS):
            link.cut()
            wait_until(lambda: client.is_gone("pyexec.v1.node.far"), "NATS to notice")
            answer = in_thread(lambda: gateway.execute("x", session="kept"))
            time.sleep(1)       # the time of the fault, not a wait
            link.resume()
            assert answer().json()["last_value_repr"] == "5"


# ---- Rights ----

def documented_user():
    """The gateway's user in docs/scale.md."""
    with open(os.path.join(ROOT, "docs/scale.md")) as file:
        text = file.read()
    block = text[text.index("    { user: gateway"):]
    return block[:block.index("\n\n")].replace("$GATEWAY", '"secret"')


def test_the_documented_rights_are_enough_and_missing_ones_are_named(pyexec, open_folder):
    secret = open_folder / "password"
    secret.write_text("secret\n")
    secret.chmod(0o644)
    users = """authorization { users: [
        { user: worker, password: "secret" },
        { user: weak, password: "secret", permissions: { publish: "none", subscribe: "_INBOX.>" } },
        %s ] }""" % documented_user()
    rights = {"PYEXEC_NATS_PASSWORD_FILE": str(secret), "PYEXEC_NATS_USER": "worker"}
    gateway_rights = {**rights, "PYEXEC_NATS_USER": "gateway", "PYEXEC_NATS_INBOX_PREFIX": "_INBOX_gateway"}
    with Server(users) as own, Worker(pyexec, own, "guarded", env={**os.environ, **rights}), \
            serving(pyexec, "--nats", own.url, env=gateway_rights) as gateway:
        gateway.result("x = 1", session="s")
        assert gateway.result("x", session="s", timeout=PATIENCE)["last_value_repr"] == "1"
        assert gateway.result("print('b' * 900_000)")["stdout_bytes"] == 900_001
        assert [row["id"] for row in gateway.ask("GET", "/v1/sessions").json()["sessions"]] == ["s"]
        assert [row["node"] for row in gateway.ask("GET", "/v1/nodes").json()["nodes"]] == ["guarded"]
        assert not gateway.lines(event="the NATS server refuses"), gateway.log()
        weak = run(pyexec, "fleet", "list", "--nats", own.url, env={**os.environ, **rights, "PYEXEC_NATS_USER": "weak"})
        assert weak.returncode == 125 and "Permissions Violation" in weak.stderr and "hint:" in weak.stderr, weak.stderr
        wrong = run(pyexec, "fleet", "list", "--nats", own.url)
        assert wrong.returncode == 125 and "Authorization Violation" in wrong.stderr, wrong.stderr


# ---- pyexec fleet ----

def test_fleet_lists_adds_up_and_drains(pyexec, nats):
    with Worker(pyexec, nats, "a", "--labels", "zone=x", *FLAGS), Worker(pyexec, nats, "b", *FLAGS) as b:
        listed = run(pyexec, "fleet", "list", "--nats", nats.url)
        assert listed.returncode == 0, listed.stderr
        lines = listed.stdout.splitlines()
        assert lines[0].split()[:3] == ["NODE", "VERSION", "STATE"]
        assert [line.split()[0] for line in lines[1:]] == ["a", "b"] and "zone=x" in lines[1] and " serves " in lines[1]
        nodes = json.loads(run(pyexec, "fleet", "list", "--json", "--nats", nats.url).stdout)["nodes"]
        assert [(node["node"], node["labels"], node["draining"]) for node in nodes] == [("a", {"zone": "x"}, False), ("b", {}, False)]
        sums = json.loads(run(pyexec, "fleet", "stats", "--json", "--nats", nats.url).stdout)
        assert sums["nodes"] == 2 and sums["turns"] == sum(node["turns"] for node in nodes)
        drained = run(pyexec, "fleet", "drain", "b", "--nats", nats.url)
        assert drained.returncode == 0 and "b drains" in drained.stdout, drained.stderr
        assert b.process.wait(PATIENCE) == 0
        again = run(pyexec, "fleet", "drain", "b", "--nats", nats.url)
        assert again.returncode == 125 and "there is no node b" in again.stderr


def test_fleet_says_what_is_wrong(pyexec, nats):
    nobody = run(pyexec, "fleet", "list", "--nats", nats.url)
    assert nobody.returncode == 0 and "no node answers" in nobody.stderr
    for words, text in [(["list"], "no NATS server is named"), (["list", "--nats", "nats://127.0.0.1:1"], "can't connect to NATS"),
                        ([], "no subcommand given"), (["drain"], "drain NODE"), (["drain", "a.b", "--nats", nats.url], "there is no node a.b")]:
        done = run(pyexec, "fleet", *words)
        assert done.returncode == 125 and text in done.stderr, (words, done.stderr)


def test_a_gateway_names_the_keys_of_a_policy_that_have_no_effect(own, nats, tmp_path):
    (tmp_path / "conf").write_text("[policy]\ntimeout = 5s\n")
    with serving(own, "--nats", nats.url, "--config", str(tmp_path / "conf"), env={"PYEXEC_POLICY_MAX_STDOUT_BYTES": "64K"}) as gateway:
        line = next(line for line in gateway.log().splitlines() if "have no effect" in line)
        assert "timeout_ms (file)" in line and "max_stdout_bytes (environment)" in line
    with serving(own, "--nats", nats.url) as gateway:
        assert "timeout_ms" not in gateway.log()


def test_a_gateway_refuses_what_it_can_not_serve(pyexec, nats):
    done = run(pyexec, "serve", "--nats", nats.url, "--e2b", "--listen", "127.0.0.1:0")
    assert done.returncode == 125 and "can't be served for a fleet" in done.stderr, done.stderr
    for flag in (["--timeout", "5"], ["--network"], ["--max-stdout-bytes", "1M"], ["--state-dir", "/tmp"], ["--mcp-servers", "none.json"]):
        done = run(pyexec, "serve", "--nats", nats.url, "--listen", "127.0.0.1:0", *flag)
        assert done.returncode == 125 and flag[0] + " has no effect with --nats" in done.stderr and "pyexec worker" in done.stderr, done.stderr

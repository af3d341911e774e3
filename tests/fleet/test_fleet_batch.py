# SPDX-License-Identifier: Apache-2.0
"""`pyexec batch run --nats`: nothing is lost and nothing runs twice, whatever is killed. The counter is a tool outside of all that is killed."""
import collections
import hashlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from batches import Batch, lines
from conftest import BUILD, ROOT
from nats_fleet import LOCAL, PATIENCE, PLAIN, JetStream, Nats, Server, Worker, needs_fleet
from waiting import wait_until

pytestmark = needs_fleet(BUILD)
NIGHTLY = bool(os.environ.get("PYEXEC_NIGHTLY"))
LONG = ["--timeout", "100s"]


class Fleet:
    """A NATS server and two workers whose scripts can call count.tick(name=...), which writes the name into the file `counted`."""

    def __init__(self, program, folder):
        self.program, self.counted = program, str(folder / "counted")
        for path, text in ((self.counted, ""), (str(folder / "servers.json"), json.dumps({"mcpServers": {"count": {
                "command": "/usr/bin/python3", "args": [ROOT + "/tests/support/counting_mcp_server.py", self.counted]}}}))):
            with open(path, "w") as file:
                file.write(text)
            os.chmod(path, 0o666)
        self.environment = {**PLAIN, "PYEXEC_MCP_LOCAL_SERVERS": "count"}
        self.servers = str(folder / "servers.json")
        self.nats = Server()
        self.workers = [self.worker(number) for number in range(2)]

    def worker(self, number, ready=True):
        return Worker(self.program, self.nats, "b%d" % number, *LONG, "--mcp-servers", self.servers, ready=ready, env=self.environment)

    def kill_worker(self, number):
        self.workers[number].process.kill()
        self.workers[number].close()
        self.workers[number] = self.worker(number, ready=False)

    def counts(self):
        with open(self.counted) as file:
            return collections.Counter(file.read().split())

    def close(self):
        for worker in self.workers:
            worker.close()
        self.nats.close()


@pytest.fixture
def fleet(pyexec, open_folder, nothing_left):
    os.chmod(open_folder, 0o777)
    made = Fleet(pyexec, open_folder)
    yield made
    made.close()


@pytest.fixture
def batch(pyexec, open_folder):
    return Batch(pyexec, open_folder)


def test_tasks_run_in_the_fleet(fleet, batch):
    batch.write([{"id": number, "code": "count.tick(name='t%d')\n%d" % (number, number)} for number in range(200)] + [{"id": "bad", "nonsense": 1}])
    batch.run("--nats", fleet.nats.url, status=1)
    results = batch.results()
    assert {name: each["result"]["last_value_repr"] for name, each in results.items()} == {number: str(number) for number in range(200)}
    assert fleet.counts() == {"t%d" % number: 1 for number in range(200)}
    assert {name: (each["reason"], each["may_have_run"]) for name, each in batch.dead().items()} == {"bad": ("refused", False)}
    batch.run("--nats", fleet.nats.url, status=1)
    assert fleet.counts().total() == 200


def test_a_fleet_that_is_not_there_is_named(pyexec, open_folder):
    batch = Batch(pyexec, open_folder)
    batch.write([{"id": "a", "code": "1"}])
    assert "no NATS server was reached" in batch.run("--nats", "nats://127.0.0.1:1", status=125)
    assert "--server" in batch.run("--nats", "nats://127.0.0.1:1", "--server", "none", status=125)


def test_the_result_of_a_batch_that_was_killed_is_fetched(fleet, batch):
    batch.write([{"id": number, "code": "import time\ncount.tick(name='t%d')\ntime.sleep(1.5)\n%d" % (number, number)} for number in range(4)])
    process = batch.popen("--nats", fleet.nats.url)
    wait_until(lambda: fleet.counts().total() == 4, "the tasks")
    process.kill()
    process.communicate()
    assert batch.results() == {}
    batch.run("--nats", fleet.nats.url)
    assert sorted(batch.results()) == [0, 1, 2, 3] and fleet.counts().total() == 4


def test_a_second_ctrl_c_leaves_the_tasks_to_the_fleet(fleet, batch):
    batch.write([{"id": number, "code": "import time\ncount.tick(name='t%d')\ntime.sleep(2)" % number} for number in range(6)])
    process = batch.popen("--nats", fleet.nats.url, "--concurrency", "2")
    wait_until(lambda: fleet.counts().total() == 2, "the tasks")
    process.send_signal(signal.SIGINT)
    assert b"no new tasks" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    batch.run("--nats", fleet.nats.url)
    assert len(batch.results()) == 6 and fleet.counts() == {"t%d" % number: 1 for number in range(6)} and batch.dead() == {}


def test_a_gateway_that_is_killed_loses_nothing(fleet, batch):
    batch.write([{"id": number, "code": "import time\ncount.tick(name='t%d')\ntime.sleep(1.5)" % number} for number in range(4)])
    process = batch.popen("--nats", fleet.nats.url)
    wait_until(lambda: fleet.counts().total() == 4, "the tasks")
    with open("/proc/%d/task/%d/children" % (process.pid, process.pid)) as file:
        gateway, = file.read().split()
    os.kill(int(gateway), signal.SIGKILL)
    said = process.communicate(timeout=PATIENCE)[1].decode()
    assert process.returncode == 125 and "killed by signal 9" in said and "continues" in said
    batch.run("--nats", fleet.nats.url)
    assert sorted(batch.results()) == [0, 1, 2, 3] and fleet.counts().total() == 4


def test_addresses_of_the_configuration_are_not_those_of_the_gateway(fleet, batch):
    batch.write([{"id": 1, "code": "1"}])
    with open(batch.folder / "conf", "w") as file:
        file.write("[serve]\nlisten = 192.0.2.1:80\n")
    batch.run("--nats", fleet.nats.url, "--config", str(batch.folder / "conf"))
    assert list(batch.results()) == [1]


def test_lost_tasks_are_run_again_by_one_command(fleet, batch):
    batch.write([{"id": number, "code": "import time\ncount.tick(name='t%d')\ntime.sleep(1.5)\n%d" % (number, number)} for number in range(4)])
    process = batch.popen("--nats", fleet.nats.url)
    wait_until(lambda: fleet.counts().total() == 4, "the tasks")
    process.kill()
    process.communicate()
    for number in range(2):
        fleet.kill_worker(number)
    wait_until(lambda: all("serves" in worker.text() for worker in fleet.workers), "the workers")
    batch.run("--nats", fleet.nats.url, "--retry-lost")
    assert sorted(batch.results()) == [0, 1, 2, 3] and batch.dead() == {}
    assert fleet.counts() == {"t%d" % number: 2 for number in range(4)}


def test_a_task_of_which_the_fleet_never_says_how_it_ended_is_lost_in_time(pyexec, open_folder):
    """JetStream reports an error, whatever it is asked. The key was made nearly 20 hours ago, and will be forgotten."""
    batch = Batch(pyexec, open_folder)
    batch.write([{"id": "a", "code": "1"}])
    state = "pyexec-batch 1\n@ %d %s\n%s\n" % (time.time() - 20 * 3600 + 6, "5" * 32, hashlib.sha256(b"a").hexdigest()[:24])
    for path, text in ((batch.output.replace(".jsonl", ".state"), state), (batch.output, "")):
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, 0o666)
    with Server(jetstream=False) as own, Nats(own.port) as nats, Worker(pyexec, own, "q0", env=PLAIN):
        stream = JetStream(nats, {"pyexec_answers_" + LOCAL: 10008, "pyexec_keys": 10008})
        try:
            batch.run("--nats", own.url, status=1)
        finally:
            stream.close()
    dead = batch.dead()["a"]
    assert (dead["reason"], dead["may_have_run"]) == ("lost", True) and "20 hours" in dead["message"] and batch.results() == {}


class Kills:
    """Runs the batch until it ends, and kills it, a worker or the NATS server now and then."""

    def __init__(self, fleet, batch, every, concurrency):
        self.fleet, self.batch, self.every = fleet, batch, every
        self.flags = ["--nats", fleet.nats.url, "--concurrency", str(concurrency), "--quiet"]
        self.chance, self.done = random.Random(3), collections.Counter()
        self.next = itertools.cycle(["worker", "batch", "nats", "worker", "batch"])

    def kill(self, process):
        what = next(self.next)
        self.done[what] += 1
        if what == "worker":
            number = self.chance.randrange(2)
            self.fleet.kill_worker(number)
            wait_until(lambda: "serves" in self.fleet.workers[number].text() or self.fleet.workers[number].process.poll() is not None, "the worker")
            if self.fleet.workers[number].process.poll() is not None:
                self.fleet.kill_worker(number)
        elif what == "nats":
            self.fleet.nats.kill()
            time.sleep(self.chance.uniform(0, 0.5))
            self.fleet.nats.start()
        else:
            process.kill()

    def run(self, kills):
        """Returns the exit status of the last command."""
        while True:
            with self.batch.program.popen("batch", "run", self.batch.tasks, "--output", self.batch.output, *self.flags,
                                          stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
                while process.poll() is None:
                    try:
                        process.wait(self.chance.uniform(0.5, 1.5) * self.every)
                    except subprocess.TimeoutExpired:
                        if self.done.total() < kills:
                            self.kill(process)
                said = process.stderr.read().decode()
            if process.returncode >= 0:
                assert process.returncode in (0, 1), said
                return process.returncode


def test_kills_of_everything_lose_no_task_and_run_none_twice(fleet, batch):
    count, kills, every, concurrency = (100000, 200, 2, 32) if NIGHTLY else (2000, 10, 0.7, 16)
    batch.write([{"id": "t%d" % number, "code": "count.tick(name='t%d')" % number} for number in range(count)])
    began = time.monotonic()
    runs = Kills(fleet, batch, every, concurrency)
    runs.run(kills)
    results, dead, counts = batch.results(), batch.dead(), fleet.counts()
    print("%d tasks, %s kills, %d results, %d dead letters (%s), %.0f s" % (
        count, dict(runs.done), len(results), len(dead), dict(collections.Counter(each["reason"] for each in dead.values())), time.monotonic() - began), file=sys.stderr)
    assert len(lines(batch.output)) == len(results) and not set(results) & set(dead)
    assert set(results) | set(dead) == {"t%d" % number for number in range(count)}          # nothing is lost
    assert set(counts.values()) == {1}                                                      # nothing ran twice
    ended = collections.Counter((each["result"]["status"], counts[name]) for name, each in results.items())
    assert ended["ok", 1] + ended["error", 0] + ended["error", 1] == len(results), ended    # error: the tool's server was not there
    assert all(each["may_have_run"] or not counts[name] for name, each in dead.items())
    assert {each["reason"] for each in dead.values()} <= {"lost", "cancelled", "failed"} and len(dead) <= runs.done.total() * concurrency
    assert runs.done.total() >= kills / 2, "too few kills: %s" % runs.done

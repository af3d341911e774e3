# SPDX-License-Identifier: Apache-2.0
"""A storm: three NATS servers, three workers, and clients with keyed requests and sessions, while each part is killed (SIGKILL) or stopped
for a while (SIGSTOP) at random. The usual suite has a short form; PYEXEC_NIGHTLY=1 makes 10,000 keyed requests. The NATS servers are of
server-requirements.txt (docs/scale.md, "The NATS server"); PYEXEC_STORM_SERVER names another one, to see what it loses, PYEXEC_STORM_SECONDS and
PYEXEC_STORM_SEED change the time and the order of faults."""
import ast
import collections
import itertools
import json
import os
import queue
import random
import secrets
import signal
import threading
import time

import pytest

from conftest import BUILD
from nats_fleet import PATIENCE, PLAIN, Call, Nats, Worker, b64, cluster, needs_fleet, newer_server_program, session_subject
from waiting import wait_until

pytestmark = needs_fleet(BUILD)
NIGHTLY = bool(os.environ.get("PYEXEC_NIGHTLY"))
KEYS = 10000 if NIGHTLY else 10 ** 9
SECONDS = float(os.environ.get("PYEXEC_STORM_SECONDS") or (4 * 3600 if NIGHTLY else 40))
KEY_CLIENTS, SESSION_CLIENTS, BURST = 6, 3, 3
ANSWER_PATIENCE = 180       # seconds until a client is said to wait forever
TICK = {"code": "tick()", "tools": [{"name": "tick"}]}
UP = "calls = globals().get('calls', [])\ncalls.append(%d)\n(len(calls), calls[-100:])"
LOST = "lost"


class Fleet:
    """The parts, which one thread breaks and repairs."""

    def __init__(self, program, server):
        self.program, self.servers, self.workers = program, cluster(program=server), []
        self.kills = collections.Counter()      # of each node, counted before the kill
        self.faults = collections.Counter()
        try:
            for number in range(3):
                self.workers.append(self.worker(number, ready=True))
        except BaseException:
            self.close()
            raise

    def worker(self, number, ready=False):
        urls = self.servers[number:] + self.servers[:number]
        return Worker(self.program, urls, "w%d" % number, ready=ready, env={**PLAIN, "PYEXEC_NATS_REPLICAS": "3"})

    def kill(self, part, number):
        if part == "server":
            self.servers[number].kill()
            time.sleep(0.3)
            self.servers[number].start()
        else:
            self.kills["w%d" % number] += 1
            self.workers[number].process.kill()
            self.workers[number].close()
            self.workers[number] = self.worker(number)

    def stop(self, part, number, seconds):
        process = (self.servers if part == "server" else self.workers)[number].process
        process.send_signal(signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            process.send_signal(signal.SIGCONT)

    def serves(self, number):
        worker = self.workers[number]
        if worker.process.poll() is not None:       # no NATS server told it that its name is free again
            worker.close()
            self.workers[number] = self.worker(number)
        return "node w%d serves" % number in worker.text()

    def break_all(self, stop):
        chance, kinds = random.Random(int(os.environ.get("PYEXEC_STORM_SEED") or 11)), []
        while not stop.is_set():
            if not kinds:
                kinds = list(itertools.product(["server", "worker"], ["kill", "stop", "stop for long"]))
                chance.shuffle(kinds)
            (part, kind), number = kinds.pop(), chance.randrange(3)
            self.faults[part + " " + kind] += 1
            if kind == "kill":
                self.kill(part, number)
            else:       # a worker leaves its server after five pings of 2 seconds
                self.stop(part, number, chance.uniform(0.5, 3) if kind == "stop" else chance.uniform(4, 14))
            if part == "worker" and kind == "kill":
                wait_until(lambda: stop.is_set() or self.serves(number), "the worker")
            stop.wait(chance.uniform(0.3, 1.5))

    def close(self):
        for each in self.workers + self.servers:
            if each.process.poll() is None:
                each.process.send_signal(signal.SIGCONT)
            each.close()


class Client:
    """A client that goes to another server when its own is gone or does not answer."""

    def __init__(self, fleet, number):
        self.fleet, self.chance, self.nats, self.calls, self.old = fleet, random.Random(number), None, [], []

    def connection(self):
        end = time.monotonic() + PATIENCE
        while not self.nats or self.nats.closed:
            assert time.monotonic() < end, "no NATS server can be reached"
            try:
                self.nats = Nats(self.chance.choice(self.fleet.servers).port, patience=1)
            except (OSError, ValueError, IndexError):
                time.sleep(0.05)
        return self.nats

    def leave(self):
        """Its messages are still read: a tool call that comes late counts."""
        if self.nats:
            self.old.append(self.nats)
        self.nats = None

    def ask(self, subject, data="", headers=None):
        """Returns the answer, or None."""
        try:
            return self.connection().request(subject, data, headers, timeout=5)
        except (OSError, queue.Empty, AssertionError):
            return None

    def call(self, *arguments, **keywords):
        try:
            made = Call(self.connection(), *arguments, events=True, **keywords)
        except OSError:
            self.leave()
            return None
        self.calls.append(made)
        return made

    def is_known(self, call):
        """Asks the node whether the request is in progress."""
        answer = call.about and self.ask(call.about + ".ping")
        return bool(answer) and not answer.no_responders and answer.status == 204

    def end(self, call, on_tool=None):
        """Returns the last message; or LOST."""
        end, silent = time.monotonic() + ANSWER_PATIENCE, 0
        while call:
            assert time.monotonic() < end, "a request waits forever"
            try:
                name, _, message = call.next(timeout=0.5)
            except queue.Empty:
                silent += 1
                if silent % 6 == 0 and not self.is_known(call):
                    self.leave()
                    return LOST
                continue
            except (AssertionError, OSError):
                self.leave()
                return LOST
            silent = 0
            if not name:
                return message
            if name == "tool_call" and on_tool:
                on_tool(call, message)
        return LOST

    def close(self):
        for nats in self.old + [self.nats]:
            if nats:
                nats.__exit__()


class Keys(Client):
    """Sends requests with keys, each until it is certain whether it ran."""

    def __init__(self, fleet, number, todo, more):
        super().__init__(fleet, number)
        self.todo, self.more, self.ends, self.ticks, self.seen = todo, more, {}, collections.Counter(), collections.Counter()

    def count(self, call, message):
        self.ticks[call.key] += 1
        try:
            call.nats.publish(message.reply, '{"result": 1}')
        except OSError:
            pass

    def run(self):
        while self.more():
            key = "key-%d" % next(self.todo)
            self.ends[key] = None
            while self.ends[key] is None:
                call = self.call("pyexec.v1.run", TICK, headers={"Pyexec-Key": key})
                if call:
                    call.key = key
                last = self.end(call, self.count)
                status = last if last is LOST else last.status
                self.seen[status] += 1
                if status in (200, 409):
                    self.ends[key] = status
                else:
                    assert status in (LOST, 429, 499, 502, 503, "no responders"), (status, last.data)
                    time.sleep(0.05)

    def count_late(self):
        """Counts the tool calls that came after the client had given the request up."""
        for call in self.calls:
            while True:
                try:
                    name, _, message = call.next(timeout=0.01)
                except (queue.Empty, AssertionError, OSError):
                    break
                if name == "tool_call":
                    self.ticks[call.key] += 1
                if not name:
                    break


class Session(Client):
    """Has a session that remembers its calls by their numbers. Several calls are on their way at the same time."""

    def __init__(self, fleet, number, more):
        super().__init__(fleet, number)
        self.id, self.more = "s%d-%s" % (number, secrets.token_hex(4)), more
        self.node, self.seen = None, collections.Counter()
        self.losses, self.wrong, self.errors = [], [], []     # what must never be
        self.numbers = itertools.count(1)
        self.last = 0           # how many calls the state had at the last answer
        self.ends = {}          # of each call: its status
        self.unknown = set()    # calls without an answer, which may still come to the session

    def lose(self, why):
        """The state is lost."""
        if self.node and self.fleet.kills[self.node] == self.generation:
            self.losses.append("%s: the state at %s is lost, which was not killed: %s" % (self.id, self.node, why))
        self.seen["lost state"] += bool(self.node)
        self.last, self.node = 0, None

    def open(self):
        before = dict(self.fleet.kills)
        last = self.end(self.call("pyexec.v1.open", {"id": self.id}))
        if last is LOST or last.no_responders or last.status in (421, 429, 499, 502, 503):
            time.sleep(0.1)
            return
        assert last.status in (200, 201, 410), (last.status, last.data)
        node = last.headers["Pyexec-Node"]
        if last.status == 410 or (self.node and (last.status == 201 or node != self.node)):
            self.lose("%d from %s" % (last.status, node))
        if last.status != 410 and not self.node:
            self.node, self.generation = node, before.get(node, 0)

    def take(self, number, answer):
        """Since the last answer this call ran, after some of those without an answer, each once at most."""
        count, calls = ast.literal_eval(answer.json()["last_value_repr"])
        if self.last and (answer.json()["session"]["created"] or (count <= self.last and self.fleet.kills[self.node] > self.generation)):
            node, generation = self.node, self.fleet.kills[self.node]
            self.lose("the session was made anew: %s" % answer.json()["session"])
            self.node, self.generation = node, generation
        new = calls[self.last - count:] if count > self.last else []
        if new[-1:] != [number] or len(new) != count - self.last or len(set(new)) != len(new) or not self.unknown.issuperset(new[:-1]):
            self.wrong.append("%s: call %d came after %d calls to %d: %s; ends of these calls: %s; without an answer: %s" % (
                self.id, number, self.last, count, calls, {each: self.ends.get(each) for each in calls}, sorted(self.unknown)))
        self.unknown -= set(new)
        self.last = count

    def run(self):
        reachable = False
        while self.more():
            if not reachable:
                self.open()
            if not self.node:
                continue
            reachable = True
            calls = {number: self.call(session_subject(self.node, self.id), {"code": UP % number}) for number in itertools.islice(self.numbers, BURST)}
            for number, answer in [(number, self.end(call)) for number, call in calls.items()]:
                status = answer if answer is LOST else answer.status
                self.seen[status] += 1
                self.ends[number] = status
                if status == 200:
                    self.take(number, answer)
                    continue
                reachable = False
                if status in (LOST, 499, 502):
                    self.unknown.add(number)
                elif status == 410:
                    self.lose("410")
                elif status not in (421, 429, 503, "no responders"):
                    self.errors.append("%s: %s" % (status, answer.data))


@pytest.fixture(scope="module")
def server():
    return os.environ.get("PYEXEC_STORM_SERVER") or newer_server_program()


def test_a_worker_warns_about_an_old_cluster(own):
    servers = cluster()
    try:
        with Worker(own, servers, "warned", env={**PLAIN, "PYEXEC_NATS_REPLICAS": "3"}) as worker, Nats(servers[0].port) as nats:
            if tuple(int(each) for each in nats.info["version"].split(".")[:2]) >= (2, 12):
                pytest.skip("this machine's nats-server is not old")
            wait_until(lambda: nats.request("pyexec.v1.open", "{}").status == 201, "the cluster's JetStream")
            assert worker.text().count("the NATS server is older than 2.12") == 1, worker.text()
    finally:
        for each in servers:
            each.close()


def test_a_server_that_stands_still_takes_no_messages_of_a_node_that_has_left_it(own, server, nothing_left):
    """The cluster still knows the node's subscriptions there. With a queue group they got a part of the calls, which came late and out of
    order."""
    servers = cluster(program=server)
    try:
        with Worker(own, servers, "left", env={**PLAIN, "PYEXEC_NATS_REPLICAS": "3"}) as worker, Nats(servers[1].port) as nats:
            wait_until(lambda: nats.request("pyexec.v1.open", '{"id": "s"}').status == 201, "the cluster's JetStream")
            there, = (each for each in servers if "connected to %s" % each.url in worker.text())
            with Nats(next(each for each in servers if each is not there).port) as nats:
                there.process.send_signal(signal.SIGSTOP)
                try:
                    wait_until(lambda: worker.text().count("connected to nats") == 2, "another server")
                    wait_until(lambda: nats.request(session_subject("left", "s"), json.dumps({"code": UP % 0})).status == 200, "the bucket")
                    calls = [Call(nats, session_subject("left", "s"), {"code": UP % number}, events=True) for number in range(1, 41)]
                    found = [ast.literal_eval(call.end(timeout=30).json()["last_value_repr"])[1] for call in calls]
                finally:
                    there.process.send_signal(signal.SIGCONT)
            assert [each[-1] for each in found] == list(range(1, 41)) and found[-1][-40:] == list(range(1, 41)), found[-1]
    finally:
        for each in servers:
            each.process.send_signal(signal.SIGCONT)
            each.close()


def test_a_storm_of_kills_and_stops(own, server, nothing_left, capsys):
    fleet, stop, numbers, start = Fleet(own, server), threading.Event(), itertools.count(), time.monotonic()
    keys, sessions, crashes = [], [], []
    done = threading.Event()

    def more():
        return not done.is_set() and time.monotonic() - start < SECONDS and sum(len(client.ends) for client in keys) < KEYS

    def guarded(function, *arguments):
        try:
            function(*arguments)
        except BaseException as failure:    # the others end too, and the test shows it
            crashes.append("%s: %r" % (function, failure))
            done.set()
    try:
        with Nats(fleet.servers[0].port) as nats:
            wait_until(lambda: nats.request("pyexec.v1.open", "{}").status == 201, "the cluster's JetStream")
        keys += [Keys(fleet, number, numbers, more) for number in range(KEY_CLIENTS)]
        sessions += [Session(fleet, 100 + number, more) for number in range(SESSION_CLIENTS)]
        clients = [threading.Thread(target=guarded, args=(client.run,)) for client in keys + sessions]
        breaker = threading.Thread(target=guarded, args=(fleet.break_all, stop))
        for thread in clients + [breaker]:
            thread.start()
        for thread in clients:
            thread.join(SECONDS + 2 * ANSWER_PATIENCE)
            assert not thread.is_alive(), "a client waits forever"
        stop.set()
        breaker.join()
        assert not crashes, crashes
        # Everything serves again.
        with Nats(fleet.servers[0].port) as nats:
            for number in range(3):
                wait_until(lambda: fleet.serves(number), "w%d" % number)
                wait_until(lambda: not nats.is_gone("pyexec.v1.node.w%d" % number), "w%d" % number)
                again = "pyexec.v1.node.w%d.p.%s" % (number, b64("local"))
                assert nats.request(again, "", {"Pyexec-Call": "GET /v1/environments"}).status == 200
            wait_until(lambda: nats.request("pyexec.v1.open", "{}").status == 201, "a new session")
            wait_until(lambda: Call(nats, "pyexec.v1.run", {"code": "6 * 7"}, headers={"Pyexec-Key": secrets.token_hex(8)}).end().status == 200,
                       "a request with a key")
        for client in keys:
            client.count_late()
        ends, ticks, seen = {}, collections.Counter(), collections.Counter()
        for client in keys:
            ends.update(client.ends)
            ticks.update(client.ticks)
            seen.update(client.seen)
        never = [key for key, end in ends.items() if end == 409 and not ticks[key]]
        losses, wrong, errors = ([each for client in sessions for each in getattr(client, kind)] for kind in ("losses", "wrong", "errors"))
        with capsys.disabled():
            print("\n%d keyed requests in %d s: %d answered 200, %d answered 409 after they ran, %d answered 409 and never ran. "
                  "Attempts: %s\n"
                  "Sessions: %s\nState lost at live nodes: %s\nWrong calls: %s\nFaults: %s" % (
                      len(ends), time.monotonic() - start, sum(end == 200 for end in ends.values()),
                      sum(end == 409 for end in ends.values()) - len(never), len(never), dict(seen),
                      [dict(client.seen) for client in sessions], losses, wrong, dict(fleet.faults)))
        assert max(ticks.values()) == 1, "a request ran twice: %s" % [key for key in ticks if ticks[key] > 1]
        assert all(ticks[key] == 1 for key, end in ends.items() if end == 200)
        assert len(never) <= max(5, len(ends) // 10), never
        # Errors that say so (`seen`) are allowed while a node or NATS is away.
        assert not losses, "the state of a session is lost although its node lived: %s" % losses
        assert not wrong, "a call of a session ran twice, in another order, or although its answer was that it did not: %s" % wrong
        assert not errors, "an answer that no fault explains: %s" % errors
        assert all(client.seen[200] for client in sessions) and sum(end == 200 for end in ends.values()) > 20
        for worker in fleet.workers:
            assert worker.stop() == 0, worker.text()
            assert "is older than" not in worker.text() or "PYEXEC_STORM_SERVER" in os.environ
    finally:
        stop.set()
        done.set()
        for client in keys + sessions:
            client.close()
        fleet.close()

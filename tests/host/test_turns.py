# SPDX-License-Identifier: Apache-2.0
"""A run that sleeps holds no turn of max_concurrent, whichever front it came through.

Runs are counted by their output: one that has written "go" and has no result is in progress."""
import contextlib
import json
import os
import subprocess
import threading

import pytest

from json_lines import JsonLines
from serving import events, serving
from waiting import wait_until

pytestmark = pytest.mark.usefixtures("nothing_left")
LONG = {"timeout_ms": 600000, "cpu_time_seconds": 600}
LONG_FLAGS = ["--timeout", "600s", "--cpu-time-seconds", "600"]
SLEEP = "print('go', flush=True)\nimport time\ntime.sleep(600)"
SPIN = "print('go', flush=True)\nwhile True: pass"


class Rpc:
    """Runs through `pyexec rpc`. Its answers are read whenever something is asked."""

    def __init__(self, program, host, code, number, **policy):
        self.client = JsonLines(program, "rpc")
        policy = {"python_bin": "/usr/bin/python3", **LONG, **policy}
        answer = self.client.ask("initialize", protocol=1, policy=policy, host=host)
        assert "result" in answer, answer
        self.ids = [self.client.send("execute_once", code=code, stream=True) for _ in range(number)]
        self.begun, self.ended, self.cancelled = set(), set(), set()

    def counts(self):
        stats = self.client.ask("stats")["result"]
        for message in self.client.held:
            if message.get("method") == "output":
                self.begun.add(message["params"]["request"])
            elif message.get("id") in self.ids:
                assert "result" in message, message
                self.ended.add(message["id"])
        self.client.held.clear()
        return len(self.begun - self.ended), stats["running"], stats["asleep"], stats["queued"]

    def cancel(self):
        number = min(self.begun - self.cancelled)
        self.cancelled.add(number)
        self.client.ask("cancel", request=number)

    def close(self):
        self.client.process.stdin.close()
        self.client.process.stdout.read()
        assert self.client.process.wait(30) == 0


class Http:
    """Runs through `pyexec serve`, with events, so that output arrives when the run writes it."""

    def __init__(self, program, host, code, number, **policy):
        self.stack, self.code = contextlib.ExitStack(), code
        config = "[host]\n" + "".join("%s = %s\n" % pair for pair in host.items())
        self.server = self.stack.enter_context(serving(program, *LONG_FLAGS, config=config))
        self.begun, self.ended, self.connections = [], [], {}
        for number in range(number):
            threading.Thread(target=self.run, args=(number,), daemon=True).start()

    def run(self, number):
        connection = self.connections[number] = self.server.connection(timeout=600)
        with contextlib.suppress(OSError, ValueError, AttributeError):     # errors of a connection that has ended
            connection.request("POST", "/v1/execute", json.dumps({"code": self.code}), {"Accept": "text/event-stream"})
            for name, _ in events(connection.getresponse()):
                self.begun += [number] if name == "stdout" else []
        self.ended.append(number)

    def counts(self):
        return (len(set(self.begun) - set(self.ended)),
                *(int(self.server.metric("pyexec_" + name)) for name in ("running", "asleep", "queue_length")))

    def cancel(self):
        number = min(set(self.begun) - set(self.ended))
        self.connections[number].sock.shutdown(2)
        wait_until(lambda: number in self.ended, "the connection has not ended")

    def close(self):
        for connection in self.connections.values():
            with contextlib.suppress(OSError):
                connection.sock.shutdown(2)
        self.stack.close()


class C:
    """Runs through the C API, with a thread for each execution."""

    program = None

    def __init__(self, program, host, code, number, **policy):
        ids = {} if program.uid == os.getuid() else {"user": program.uid, "group": program.uid, "extra_groups": []}
        configuration = {"policy": {"python_bin": "/usr/bin/python3", **LONG, **policy}, "host": host}
        self.process = subprocess.Popen([self.program, json.dumps(configuration), code, str(number)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, cwd="/", **ids)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        begun, ended, stats = json.loads(self.process.stdout.readline())
        return begun - ended, stats["running"], stats["asleep"], stats["queued"]

    def counts(self):
        return self.ask("count")

    def cancel(self):
        self.ask("cancel")

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        assert self.process.wait(30) == 0


@pytest.fixture(params=[Rpc, Http, C], ids=["rpc", "http", "c"])
def begin(request, pyexec, compile_host):
    """Begins many runs of one script at once."""
    C.program = compile_host("capi_turns.c")
    with contextlib.ExitStack() as stack:
        def start(host, code, number, **policy):
            runs = request.param(pyexec, host, code, number, **policy)
            stack.callback(runs.close)
            return runs
        yield start


def becomes(runs, wanted):
    wait_until(lambda: runs.counts() == wanted, "never came to %s, last %s" % (wanted, runs.counts()), 120)


def test_sixty_four_runs_sleep_at_once_though_four_may_be_busy(begin):
    runs = begin({"max_concurrent": 4}, SLEEP, 64)
    becomes(runs, (64, 64, 64, 0))


def test_of_sixty_four_busy_runs_four_run_at_once(begin):
    runs = begin({"max_concurrent": 4}, SPIN, 64)
    for ended in range(3):
        becomes(runs, (4, 4, 0, 60 - ended))
        for _ in range(30):
            assert runs.counts() == (4, 4, 0, 60 - ended)
        runs.cancel()


def test_more_do_not_sleep_than_max_asleep_beside_max_concurrent(begin):
    runs = begin({"max_concurrent": 1, "max_asleep": 5}, SLEEP, 9)
    becomes(runs, (6, 6, 6, 3))
    for _ in range(20):
        assert runs.counts() == (6, 6, 6, 3)
    runs.cancel()
    becomes(runs, (6, 6, 6, 2))


def test_with_max_asleep_0_a_sleeping_run_keeps_its_turn(begin):
    runs = begin({"max_concurrent": 2, "max_asleep": 0}, SLEEP, 5)
    wait_until(lambda: runs.counts()[0] == 2, "they do not begin")
    for _ in range(20):
        counts = runs.counts()
        assert (counts[0], counts[1], counts[3]) == (2, 2, 3)


@pytest.mark.parametrize("code", [
    "import threading, time\nprint('go', flush=True)\nthreading.Thread(target=time.sleep, args=(600,)).start()\nwhile True: pass",
    "import threading, time\nprint('go', flush=True)\ndef spin():\n    while True: pass\nthreading.Thread(target=spin).start()\ntime.sleep(600)",
    "import time\nprint('go', flush=True)\nwhile True:\n    time.sleep(0.002)\n    for i in range(100000): pass",
], ids=["a thread sleeps", "a thread is busy", "short sleeps"])
def test_a_run_that_uses_the_cpu_beside_a_sleep_holds_its_turn(own, code):
    with contextlib.closing(Rpc(own, {"max_concurrent": 1}, code, 4, use_import_whitelist=False, banned_imports=[])) as runs:
        wait_until(lambda: runs.counts()[0] == 1, "it does not begin")
        for _ in range(30):
            begun, running, _, waiting = runs.counts()
            assert (begun, running, waiting) == (1, 1, 3)


def test_runs_that_wake_keep_others_waiting_until_fewer_are_busy(own):
    """Three sleeping runs wake at the same time and continue. The fourth starts when the last of them has ended."""
    wake = ("import os, time\nprint('go', flush=True)\nwhile not os.path.exists('wake'): time.sleep(0.05)\n"
            "while not os.path.exists('end'): pass")
    with JsonLines(own, "rpc") as client:
        client.ask("initialize", protocol=1, host={"max_concurrent": 1}, policy={
            "python_bin": "/usr/bin/python3", "use_import_whitelist": False, "banned_imports": [], "disable_open": False, **LONG})
        calls = [client.begin("execute", wake, session_id="s%d" % i) for i in range(3)]

        def stats():
            return client.ask("stats")["result"]

        wait_until(lambda: stats()["asleep"] == 3, "they do not sleep")
        for i in range(3):
            client.ask("write_file", session_id="s%d" % i, path="wake", content_base64="")
        wait_until(lambda: stats()["asleep"] == 0, "they do not wake", 60)
        last = client.send("execute_once", code="'last'")
        wait_until(lambda: stats()["queued"] == 1, "it does not wait")
        for i in range(3):
            for _ in range(10):
                assert (stats()["running"], stats()["queued"]) == (3 - i, 1)
            client.ask("write_file", session_id="s%d" % i, path="end", content_base64="")
            assert client.wait(calls[i])["result"]["status"] == "ok"
        assert client.wait(last)["result"]["last_value_repr"] == "'last'"


def test_one_principal_leaves_others_places_to_sleep_in(own):
    from serving import token_line
    tokens = [token_line("alice", "a-secret"), token_line("bob", "b-secret")]
    with serving(own, *LONG_FLAGS, tcp=True, tokens=tokens, config="[host]\nmax_concurrent = 1\nmax_asleep = 5\n") as server, \
            contextlib.ExitStack() as stack:
        for token, number, in_all in (("a-secret", 5, 3), ("b-secret", 2, 5)):
            for _ in range(number):
                connection = stack.enter_context(contextlib.closing(server.connection(server.tcp)))
                connection.request("POST", "/v1/execute", json.dumps({"code": SLEEP}), {"Authorization": "Bearer " + token})
            wait_until(lambda: server.metric("pyexec_asleep") == in_all, "they do not sleep", 60)
        assert server.metric("pyexec_queue_length") == 2


def test_a_session_made_ahead_and_its_call_do_not_wait_for_each_other(own):
    """Both calls need the only turn: one call has the session and waits for the turn, the other has the turn and waits for the session."""
    with serving(own, config="[host]\nmax_concurrent = 1\nmax_asleep = 0\n") as server:
        for i in range(20):
            made, ran = server.connection(), server.connection()
            made.request("POST", "/v1/sessions", json.dumps({"id": "s%d" % i}))
            ran.request("POST", "/v1/sessions/s%d/execute" % i, json.dumps({"code": "1"}))
            assert ran.getresponse().status == 200 and made.getresponse().status in (201, 409)
            made.close()
            ran.close()

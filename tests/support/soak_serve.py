#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A soak of `pyexec serve`: mixed traffic, clients that disconnect, and kills of its processes. Afterwards memory, descriptors,
threads, processes and mounts are compared with their numbers before.

    tests/support/soak_serve.py [MINUTES] [PROGRAM]         default: 10, build/pyexec
"""
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from serving import dial, serving, token_line  # noqa: E402
from waiting import wait_until  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
CODES = ["1 + 1", "1 / 0", "print('x' * 100000)", "import subprocess", "while True: pass", "x = [0] * 10**8",
         "import os; os._exit(3)", "open('f', 'w').write('y' * 100000)", "import time; time.sleep(0.2)"]


class Own:
    """The program, in the form that serving() needs."""

    def __init__(self, path):
        self.path, self.uid = path, os.getuid()

    def popen(self, *arguments, **keywords):
        return subprocess.Popen([self.path, *arguments], **keywords)


def below(pid):
    """Returns all processes below this one."""
    found, todo = [], [pid]
    while todo:
        for task in pathlib.Path("/proc/%d/task" % todo.pop()).glob("*/children"):
            try:
                children = [int(word) for word in task.read_text().split()]
            except OSError:
                continue
            found += children
            todo += children
    return found


def mounts():
    """Returns the mounts of this mount namespace, without those of other programs' containers."""
    return sum("/containers/" not in line for line in pathlib.Path("/proc/self/mounts").read_text().splitlines())


def figures(server):
    proc = pathlib.Path("/proc/%d" % server.process.pid)
    status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
    return {"rss_kib": int(status["VmRSS"].split()[0]), "threads": int(status["Threads"]),
            "descriptors": len(list((proc / "fd").iterdir())), "processes": len(below(server.process.pid)),
            "mounts": mounts(),
            "sessions": int(server.metric("pyexec_sessions")), "connections": int(server.metric("pyexec_http_connections"))}


class Client(threading.Thread):
    """Runs one caller. All callers share `counts`."""

    def __init__(self, server, counts, end, seed):
        super().__init__()
        self.server, self.counts, self.end, self.random = server, counts, end, random.Random(seed)

    def run(self):
        deeds = [self.execute, self.execute, self.session, self.session, self.files, self.break_off, self.stream, self.nonsense]
        while time.monotonic() < self.end:
            try:
                self.count(self.random.choice(deeds)())
            except (OSError, EOFError, ValueError) as problem:
                self.count(type(problem).__name__)

    def count(self, what):
        self.counts[what] = self.counts.get(what, 0) + 1

    def ask(self, *arguments, **keywords):
        return self.server.ask(*arguments, timeout=60, **keywords).status

    def name(self):
        return "/v1/sessions/s%d" % self.random.randrange(80)

    def execute(self):
        return self.ask("POST", "/v1/execute", {"code": self.random.choice(CODES), "timeout_ms": 300})

    def session(self):
        if self.random.random() < 0.1:
            return self.ask("DELETE", self.name())
        return self.ask("POST", self.name() + "/execute", {"code": self.random.choice(CODES), "timeout_ms": 300})

    def files(self):
        path = self.name() + "/files"
        self.ask("PUT", path + "/d/f%d" % self.random.randrange(5), os.urandom(self.random.randrange(300000)))
        self.ask("GET", path, headers={"Accept": "application/x-tar"})
        return self.ask("GET", path + "/d/f1", headers={"Range": "bytes=100-"})

    def break_off(self):
        """Breaks the connection in the middle of a request, of its body, or of the run."""
        body = json.dumps({"code": "while True: pass"}).encode()
        data = b"POST /v1/execute HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        if self.random.random() < 0.3:
            data = b"PUT %s/files/half HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" % self.name().encode() + bytes(50000)
        with dial(self.server.socket) as sock:
            sock.sendall(data[:self.random.choice([20, len(data) - 5, len(data)])])
            time.sleep(self.random.random() * 0.2)
        return "broken off"

    def stream(self):
        body = json.dumps({"code": "for i in range(1000): print(i, flush=True)"}).encode()
        with dial(self.server.socket) as sock:
            sock.sendall(b"POST /v1/execute HTTP/1.1\r\nHost: a\r\nAccept: text/event-stream\r\nConnection: close\r\n"
                         b"Content-Length: %d\r\n\r\n" % len(body) + body)
            left = self.random.choice([1, 10**9])
            while left > 0 and (got := sock.recv(65536)):
                left -= len(got)
        return "streamed"

    def nonsense(self):
        with dial(self.server.socket, 30) as sock:
            sock.sendall(self.random.choice([b"\0" * 100, b"GET / HTTP/1.1\r\nHost", b"POST /v1/execute HTTP/1.1\r\n\r\n",
                                             b"X" * 40000, b"GET /v1/nothing HTTP/1.1\r\nHost: a\r\n\r\n"]))
            sock.shutdown(socket.SHUT_WR)
            sock.recv(1000)
        return "nonsense"


def kill_one(server, counts):
    """Kills a process that runs scripts, or a zygote. It never kills the launcher, because the executor depends on it."""
    victims = []
    for pid in below(server.process.pid):
        try:
            if b"pyexec-launch" not in pathlib.Path("/proc/%d/cmdline" % pid).read_bytes():
                victims.append(pid)
        except OSError:
            continue
    if victims:
        try:
            os.kill(random.choice(victims), signal.SIGKILL)
            counts["killed"] = counts.get("killed", 0) + 1
        except OSError:
            pass


def settle(server):
    for one in server.ask("GET", "/v1/sessions").json()["sessions"]:
        server.ask("DELETE", "/v1/sessions/" + one["id"])
    wait_until(lambda: server.metric("pyexec_running") == 0 and server.metric("pyexec_http_connections") <= 1,
               "it does not come to rest", 60)
    time.sleep(3)


def main():
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 10
    program = Own(sys.argv[2] if len(sys.argv) > 2 else str(ROOT / "build" / "pyexec"))
    config = "[host]\npool_idle = 1s\n[serve]\nidle_timeout = 2s\n[session]\nmax_count = 50\n"
    with serving(program, "--files", "full", "--workspace-bytes", "4M", "--any-import", "--timeout", "1s", config=config,
                 env={"PYEXEC_POLICY_PYTHON_BIN": "/usr/bin/python3"}) as server:
        counts, rows = {}, []
        for length in (min(30, minutes * 6), minutes * 60):    # the first part only warms up
            end = time.monotonic() + length
            clients = [Client(server, counts, end, seed) for seed in range(8)]
            for client in clients:
                client.start()
            while time.monotonic() < end:
                time.sleep(1)
                kill_one(server, counts)
            for client in clients:
                client.join()
            settle(server)
            rows.append(figures(server))
            print(json.dumps(rows[-1]), flush=True)
        before, after = rows
        print(json.dumps(counts, default=str))
        # Zygotes come and go, and an arena of malloc may grow: the rest must not.
        good = (after["rss_kib"] < before["rss_kib"] * 1.3 + 4096 and after["descriptors"] <= before["descriptors"] + 4
                and after["processes"] <= before["processes"] + 2 and after["mounts"] <= before["mounts"]
                and after["threads"] <= before["threads"] + 4 and server.result("6 * 7")["last_value_repr"] == "42")
        pid = server.process.pid
        good = server.stop() == 0 and not below(pid) and good
    print("as it was" if good else "NOT as it was")
    return not good


if __name__ == "__main__":
    sys.exit(main())

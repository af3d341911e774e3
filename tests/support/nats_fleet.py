# SPDX-License-Identifier: Apache-2.0
"""A NATS server, a small NATS client, and workers of a fleet, for tests/fleet. The client is written from NATS's description of its
protocol and from docs/scale.md, so that it is independent of the worker's library."""
import base64
import glob
import itertools
import json
import os
import queue
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading

import pytest

from waiting import wait_until

PATIENCE = 60
NO_RESPONDERS = "no responders"


# No environments of the machine, and the environment variables of the tests.
PLAIN = {**os.environ, "PYEXEC_ENV_ROOT": "/nonexistent"}


def needs_fleet(build):
    """The marks of a module whose tests start a NATS server and workers of this build."""
    return [pytest.mark.skipif(not os.path.exists(os.path.join(build, "pyexec-worker")), reason="the build has no pyexec-worker"),
            pytest.mark.skipif(not server_program(), reason="nats-server is not installed")]


def b64(text):
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


LOCAL = b64("local")


def session_subject(node, session, principal="local"):
    return "pyexec.v1.node.%s.s.%s.%s" % (node, b64(principal), b64(session))


def server_program():
    return shutil.which("nats-server", path=os.environ["PATH"] + ":/usr/sbin:/usr/local/bin")


def newer_server_program():
    """Returns the nats-server of tests/fleet/server-requirements.txt, from PyPI."""
    import environments     # the tests of clients do not have its imports
    pins = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "fleet", "server-requirements.txt")
    return os.path.join(os.path.dirname(environments.kept("nats-server", pins)), "nats-server")


class Server:
    """A nats-server with JetStream, on a free port. `settings` is text of its configuration. `program`: another one than the machine's."""

    def __init__(self, settings="", port=-1, name="solo", jetstream=True, folder=None, program=None):
        self.program = program or server_program()
        self.folder = folder or tempfile.mkdtemp(prefix="pyexec-test-nats-")
        self.name, self.settings, self.jetstream = name, settings, jetstream
        self.start(port)

    def start(self, port=None):
        for old in glob.glob(self.folder + "/*.ports"):
            os.unlink(old)
        port = self.port if port is None else port
        with open(self.folder + "/server.conf", "w") as file:
            file.write("server_name: %s\nlisten: 127.0.0.1:%d\nports_file_dir: %s\n%s\n%s\n" % (
                self.name, port, self.folder, "jetstream { store_dir: %s/js }" % self.folder if self.jetstream else "", self.settings))
        self.log = open(self.folder + "/log", "ab")
        self.process = subprocess.Popen([self.program, "-c", self.folder + "/server.conf"], stdout=self.log, stderr=self.log)
        files = wait_until(lambda: self.process.poll() is not None or glob.glob(self.folder + "/*.ports"), "nats-server")
        assert self.process.poll() is None, open(self.folder + "/log").read()
        text = wait_until(lambda: open(files[0]).read(), "the ports")
        self.port = int(json.loads(text)["nats"][0].rsplit(":", 1)[1])
        self.url = "nats://127.0.0.1:%d" % self.port

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.log.close()

    def close(self):
        if self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def cluster(count=3, program=None):
    """Returns servers that are one cluster."""
    holders = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    routes = [holder.getsockname()[1] for holder in holders]
    for holder in holders:
        holder.close()
    settings = "cluster { name: c, listen: 127.0.0.1:%d, routes: [%s] }"
    servers = []
    try:
        for number, route in enumerate(routes):
            others = ", ".join("nats://127.0.0.1:%d" % other for other in routes if other != route)
            servers.append(Server(settings % (route, others), name="s%d" % number, program=program))
    except BaseException:
        for server in servers:
            server.close()
        raise
    return servers


class Message:
    def __init__(self, subject, reply, headers, data):
        self.subject, self.reply, self.headers, self.data = subject, reply, headers, data

    @property
    def no_responders(self):
        return self.headers.get("Status") == "503"

    @property
    def status(self):
        return NO_RESPONDERS if self.no_responders else int(self.headers["Pyexec-Status"])

    def json(self):
        return json.loads(self.data)


class Nats:
    """A connection. One thread reads it; subscriptions are queues."""

    def __init__(self, port, user=None, password=None, tls=None, inbox="_INBOX", patience=PATIENCE):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=patience)
        self.buffer = b""
        self.info = json.loads(self._line().split(b" ", 1)[1])
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_hostname="localhost")
        self.socket.settimeout(None)
        self.lock, self.sids, self.queues, self.errors = threading.Lock(), itertools.count(1), {}, []
        options = {"verbose": False, "pedantic": False, "headers": True, "no_responders": True, "lang": "test", "version": "1"}
        if user:
            options.update(user=user, pass_=password)
            options["pass"] = options.pop("pass_")
        self._send(b"CONNECT " + json.dumps(options).encode() + b"\r\n")
        self.closed = False
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()
        self.inbox = inbox + ".test" + secrets.token_hex(8)
        self.numbers = itertools.count()

    def _send(self, data):
        with self.lock:
            self.socket.sendall(data)

    def _more(self):
        part = self.socket.recv(1 << 20)
        if not part:
            raise ConnectionError("the server is gone")
        self.buffer += part

    def _line(self):
        while b"\r\n" not in self.buffer:
            self._more()
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line

    def _bytes(self, count):
        parts, have = [self.buffer], len(self.buffer)
        while have < count + 2:
            part = self.socket.recv(1 << 20)
            if not part:
                raise ConnectionError("the server is gone")
            parts.append(part)
            have += len(part)
        whole = b"".join(parts)
        self.buffer = whole[count + 2:]
        return whole[:count]

    def _read(self):
        try:
            while True:
                words = self._line().decode().split(" ")
                if words[0] == "PING":
                    self._send(b"PONG\r\n")
                elif words[0] in ("MSG", "HMSG"):
                    sizes = [int(word) for word in words[-2:]] if words[0] == "HMSG" else [0, int(words[-1])]
                    rest = words[1:-2] if words[0] == "HMSG" else words[1:-1]
                    whole = self._bytes(sizes[1])
                    headers = {}
                    if sizes[0]:
                        lines = whole[:sizes[0]].decode().split("\r\n")
                        if len(status := lines[0].split(" ")) > 1:
                            headers["Status"] = status[1]
                        headers.update((name, value.strip()) for name, _, value in (line.partition(":") for line in lines[1:] if line))
                    message = Message(rest[0], rest[2] if len(rest) > 2 else None, headers, whole[sizes[0]:])
                    if (into := self.queues.get(int(rest[1]))) is not None:
                        into.put(message)
                elif words[0] == "-ERR":
                    self.errors.append(" ".join(words))
        except (OSError, ConnectionError, ValueError):
            self.closed = True
            for into in list(self.queues.values()):
                into.put(None)

    def subscribe(self, subject, group=""):
        sid, into = next(self.sids), queue.Queue()
        self.queues[sid] = into
        into.sid = sid
        self._send(("SUB %s %s %d\r\n" % (subject, group, sid)).encode())
        return into

    def unsubscribe(self, into):
        self._send(b"UNSUB %d\r\n" % into.sid)
        self.queues.pop(into.sid, None)

    def publish(self, subject, data=b"", reply="", headers=None):
        data = data.encode() if isinstance(data, str) else data
        if headers:
            head = ("NATS/1.0\r\n" + "".join("%s: %s\r\n" % pair for pair in headers.items()) + "\r\n").encode()
            self._send(("HPUB %s %s %d %d\r\n" % (subject, reply or "", len(head), len(head) + len(data))).encode() + head + data + b"\r\n")
        else:
            self._send(("PUB %s %s %d\r\n" % (subject, reply or "", len(data))).encode() + data + b"\r\n")

    def request(self, subject, data=b"", headers=None, timeout=PATIENCE):
        """Returns the first answer."""
        reply = "%s.%d" % (self.inbox, next(self.numbers))
        into = self.subscribe(reply)
        try:
            self.publish(subject, data, reply, headers)
            message = into.get(timeout=timeout)
            assert message, "the connection is lost"
            return message
        finally:
            self.unsubscribe(into)

    def is_gone(self, subject):
        """Returns true when nobody listens there. A request to a node that is just dying may get no answer."""
        try:
            return self.request(subject, '{"do": "ping"}', timeout=2).no_responders
        except queue.Empty:
            return False

    def flush(self):
        self.request("pyexec.test.nobody.%s" % secrets.token_hex(4))

    def close(self):
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.close()
        except OSError:
            pass


class Call:
    """A request of docs/scale.md, with parts, events and acknowledgements. `body` is an object or bytes."""

    def __init__(self, nats, subject, body=b"", call=None, events=False, headers=None, acknowledge=True, part_bytes=None):
        self.nats, self.events, self.acknowledge = nats, [], acknowledge
        self.reply = "%s.%d" % (nats.inbox, next(nats.numbers))
        self.into = nats.subscribe(self.reply)
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = dict(headers or {})
        if call:
            headers["Pyexec-Call"] = call
        if events:
            headers["Accept"] = "text/event-stream"
        size = part_bytes or nats.info["max_payload"] - 4096
        self.parts = [data[at:at + size] for at in range(0, len(data), size)] or [b""]
        if len(self.parts) > 1:
            headers.update({"Pyexec-Parts": str(len(self.parts)), "Pyexec-Bytes": str(len(data))})
        self.number, self.pieces, self.about, self.node = 0, [], None, None
        nats.publish(subject, self.parts[0], self.reply, headers)

    def _upload(self, subject):
        for number, part in enumerate(self.parts[1:], 1):
            answer = self.nats.request(subject, part, {"Pyexec-Part": str(number)})
            assert answer.headers["Pyexec-Part"] == str(number), answer.headers

    def next(self, timeout=PATIENCE):
        """Returns the next event (name, data, message), or ("", data, message) for the last message."""
        while True:
            message = self.into.get(timeout=timeout)
            assert message, "the connection is lost"
            if message.no_responders:
                return "", None, message
            headers = message.headers
            if "Pyexec-Seq" in headers:
                if message.reply and not headers.get("Pyexec-Event", "").startswith("tool_") and self.acknowledge:
                    self.nats.publish(message.reply)
                if int(headers["Pyexec-Seq"]) < self.number:
                    continue
                assert int(headers["Pyexec-Seq"]) == self.number, (headers, self.number)
                self.number += 1
            if "Pyexec-Part" in headers:
                assert int(headers["Pyexec-Part"]) == len(self.pieces)
                self.pieces.append(message)
                if len(self.pieces) < int(headers["Pyexec-Parts"]):
                    continue
                pieces, self.pieces = self.pieces, []
                message = Message(message.subject, message.reply, pieces[0].headers, b"".join(piece.data for piece in pieces))
            if "Pyexec-Status" in message.headers:
                return "", message.data, message
            name = message.headers["Pyexec-Event"]
            if name == "continue":
                self._upload(message.reply)
                continue
            self.events.append((name, message.data))
            if name == "accepted":
                accepted = message.json()
                self.node = accepted["node"]
                self.about = "pyexec.v1.node.%s.r.%s" % (accepted["node"], accepted["request"])
            return name, message.data, message

    def end(self, on_event=None, timeout=PATIENCE):
        """Returns the last message."""
        while True:
            name, _, message = self.next(timeout)
            if not name:
                self.nats.unsubscribe(self.into)
                return message
            if on_event:
                on_event(name, message)


class Worker:
    """`pyexec worker` of this build."""

    def __init__(self, program, server, node, *flags, ready=True, **keywords):
        self.folder = tempfile.mkdtemp(prefix="pyexec-test-worker-")
        self.node = node
        urls = [each if isinstance(each, str) else each.url for each in (server if isinstance(server, list) else [server])]
        self.log = open(self.folder + "/log", "wb")
        self.process = program.popen("worker", *[word for url in urls for word in ("--nats", url)], "--node", node, *flags,
                                     stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL, **keywords)
        if ready:
            wait_until(lambda: "node %s serves" % node in self.text() or self.process.poll() is not None, "the worker")
            assert self.process.poll() is None, self.text()

    def text(self):
        with open(self.folder + "/log", errors="replace") as file:
            return file.read()

    def server(self):
        """Returns the process id of its HTTP server."""
        with open("/proc/%d/task/%d/children" % (self.process.pid, self.process.pid)) as file:
            return int(file.read().split()[0])

    def subject(self, session, principal="local"):
        return session_subject(self.node, session, principal)

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def close(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class JetStream:
    """Answers the worker's questions to JetStream in its place: keys are taken, and the entries are those of `entries`, by bucket: a
    value, or a JetStream error code, or None for no answer."""

    def __init__(self, nats, entries):
        self.nats, self.entries = nats, entries
        self.asked = nats.subscribe("$JS.API.STREAM.MSG.GET.*")
        self.claims = nats.subscribe("$KV.pyexec_keys.>")
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=each) for each in (self.read, self.claim)]
        for thread in self.threads:
            thread.start()

    def read(self):
        while message := self.asked.get():
            found = self.entries[message.subject.rsplit("KV_", 1)[1]]
            if isinstance(found, int):
                self.nats.publish(message.reply, json.dumps({"error": {"code": 404, "err_code": found, "description": "an error"}}))
            elif found:
                self.nats.publish(message.reply, json.dumps({"message": {"data": base64.b64encode(found.encode()).decode(), "seq": 1}}))

    def claim(self):
        while message := self.claims.get():
            self.nats.publish(message.reply, '{"error": {"code": 400, "err_code": 10071, "description": "wrong last sequence"}}')

    def close(self):
        self.asked.put(None)
        self.claims.put(None)
        for thread in self.threads:
            thread.join()


@pytest.fixture
def nats(server):
    """A connection to the server of a module, which has the fixture `server`."""
    with Nats(server.port) as made:
        yield made

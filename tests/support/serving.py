# SPDX-License-Identifier: Apache-2.0
"""Starts `pyexec serve` on its own sockets, and sends requests as HTTP clients do."""
import contextlib
import hashlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import tempfile

from waiting import SLOWER, wait_until


class Connection(http.client.HTTPConnection):
    """An HTTP connection over a UNIX socket, or to HOST:PORT."""

    def __init__(self, address, timeout=60):
        self.address = address
        host = "localhost" if address.startswith("/") else address
        super().__init__(host, timeout=timeout * SLOWER)

    def connect(self):
        self.sock = dial(self.address, self.timeout)


def dial(address, timeout=60):
    if address.startswith("/"):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(timeout)
        sock.connect(address)
        return sock
    host, _, port = address.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), timeout)


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    def json(self):
        return json.loads(self.body)


def raw(address, data, timeout=10):
    """Sends these bytes and returns the answer, until the server closes the connection or is silent for this time."""
    with dial(address, timeout) as sock:
        try:
            sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass
        got = b""
        try:
            while chunk := sock.recv(65536):
                got += chunk
        except (TimeoutError, ConnectionResetError):
            pass
        return got


def statuses(data):
    """Returns the status codes in the answer of raw()."""
    return [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3}) ", data)]


def token_line(name, token, *settings):
    return " ".join([name, "sha256:" + hashlib.sha256(token.encode()).hexdigest(), *settings])


class Server:
    """A running server. `address` is its first address, and `tcp` its TCP address."""

    def __init__(self, program, process, folder, log_path):
        self.program, self.process, self.folder, self.log_path = program, process, folder, log_path
        self.socket = os.path.join(folder, "socket")
        self.tcp = None
        self.tokens = os.path.join(folder, "tokens")

    def log(self):
        with open(self.log_path) as file:
            return file.read()

    def lines(self, **wanted):
        """Returns the log lines (JSON) that have these members."""
        found = []
        for line in self.log().splitlines():
            with contextlib.suppress(ValueError):
                entry = json.loads(line)
                if all(entry.get(key) == value for key, value in wanted.items()):
                    found.append(entry)
        return found

    def wait_for_line(self, **wanted):
        return wait_until(lambda: self.lines(**wanted), "no log line with %s" % wanted)

    def connection(self, address=None, timeout=60):
        return Connection(address or self.socket, timeout)

    def ask(self, method, path, body=None, headers=None, address=None, token=None, timeout=60):
        headers = dict(headers or {})
        if token:
            headers["Authorization"] = "Bearer " + token
        if isinstance(body, (dict, list)):
            body = json.dumps(body)
        with contextlib.closing(self.connection(address, timeout)) as connection:
            connection.request(method, path, body, headers)
            return Answer(connection.getresponse())

    def execute(self, code, session=None, **more):
        keywords = {key: more.pop(key) for key in ("address", "token", "headers", "timeout") if key in more}
        path = "/v1/sessions/%s/execute" % session if session else "/v1/execute"
        return self.ask("POST", path, {"code": code, **more}, **keywords)

    def result(self, code, session=None, **more):
        answer = self.execute(code, session, **more)
        assert answer.status == 200, (answer.status, answer.body)
        return answer.json()

    def metrics(self):
        return self.ask("GET", "/metrics").body.decode()

    def metric(self, name):
        for line in self.metrics().splitlines():
            if line.startswith(name + " "):
                return float(line.split()[-1])
        return 0.0

    def write_tokens(self, *lines):
        with open(self.tokens, "w") as file:
            file.write("\n".join(lines) + "\n")
        os.chmod(self.tokens, 0o644)

    def reload(self):
        before = self.log().count("reload")
        self.process.send_signal(signal.SIGHUP)
        wait_until(lambda: self.log().count("reload") > before, "no reload")

    def stop(self, sig=signal.SIGTERM, timeout=60):
        if self.process.poll() is None:
            self.process.send_signal(sig)
        return self.process.wait(timeout)


@contextlib.contextmanager
def serving(program, *flags, tcp=False, tokens=None, config=None, env=None, ready=True, listen=True,
            **keywords):
    """Starts a server and ends it. `tokens`: lines of the token file; `config`: text of the file."""
    with tempfile.TemporaryDirectory(prefix="pyexec-folder-") as folder:
        os.chmod(folder, 0o755)
        if program.uid != os.getuid():
            os.chown(folder, program.uid, program.uid)
        log_path = os.path.join(folder, "log")
        arguments = ["serve"]
        if config is not None:
            with open(os.path.join(folder, "conf"), "w") as file:
                file.write(config.replace("FOLDER", folder))
            arguments += ["--config", os.path.join(folder, "conf")]
        if listen:
            arguments += ["--listen", "unix:" + os.path.join(folder, "socket")]
        if tcp:
            arguments += ["--listen", "127.0.0.1:0"]
        arguments += ["--log-format", "json"] if "--log-format" not in flags else []
        server = Server(program, None, folder, log_path)
        if tokens is not None:
            server.write_tokens(*tokens)
            arguments += ["--token-file", server.tokens]
        arguments += [flag.replace("FOLDER", folder) for flag in flags]
        environment = dict(os.environ, **(env or {}))
        with open(log_path, "wb") as log:
            server.process = program.popen(*arguments, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                           env=environment, **keywords)
        try:
            if ready:
                _await_ready(server, tcp)
            yield server
        finally:
            if server.process.poll() is None:
                server.process.terminate()
                try:
                    server.process.wait(60)
                except subprocess.TimeoutExpired:
                    server.process.kill()
                    server.process.wait()
                    raise
            # For a build with sanitizers.
            assert "Sanitizer" not in server.log() and "runtime error:" not in server.log(), server.log()[-8000:]


def _await_ready(server, tcp):
    def listening():
        assert server.process.poll() is None, server.log()
        return "listening" in server.log() and (not tcp or "127.0.0.1:" in server.log())
    wait_until(listening, "the server does not start")
    if tcp:
        for line in server.log().splitlines():
            if "127.0.0.1:" in line:
                server.tcp = "127.0.0.1:" + line.split("127.0.0.1:")[1].split('"')[0].split()[0]


def events(response):
    """Yields the server-sent events of a response as pairs (name, data), and comments as (None, text)."""
    name = None
    while line := response.readline():
        line = line.rstrip(b"\n").decode()
        if line.startswith(":"):
            yield None, line
        elif line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            yield name, json.loads(line[6:])

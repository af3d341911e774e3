"""A small collector of OTLP over HTTP for tests, which can also be down, slow, full, or answer with errors."""
import collections
import contextlib
import http.server
import json
import subprocess
import threading

import environments
from conftest import ROOT
from waiting import wait_until


class Collector(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.bodies, self.requests = [], []     # those that were taken, and all
        self.answers = collections.deque()      # (status, headers, body) of the next requests; then 200
        self.always = None                      # an answer for all of them
        self.held = threading.Event()           # requests wait for it
        self.held.set()
        self.url = "http://127.0.0.1:%d" % self.server_port

    def spans(self):
        return [span for body in list(self.bodies) for resource in json.loads(body)["resourceSpans"]
                for scope in resource["scopeSpans"] for span in scope["spans"]]

    def named(self, name):
        return [span for span in self.spans() if span["name"] == name]

    def wait_for(self, name, count=1):
        wait_until(lambda: len(self.named(name)) >= count, "no %d spans %s" % (count, name), 60)
        return self.named(name)

    def handle_error(self, *_):
        """A client that has gone is no error here."""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        collector = self.server
        body = self.rfile.read(int(self.headers["Content-Length"]))
        collector.requests.append((self.path, dict(self.headers)))
        collector.held.wait(120)
        status, headers, answer = collector.always or (collector.answers.popleft() if collector.answers else (200, {}, b"{}"))
        if status == 0:                         # closes without an answer
            self.close_connection = True
            return
        if status == 200:
            collector.bodies.append(body.decode())
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(answer)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def collecting():
    collector = Collector()
    thread = threading.Thread(target=collector.serve_forever, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        collector.held.set()
        collector.shutdown()
        collector.server_close()


def attributes(span):
    return {item["key"]: next(iter(item["value"].values())) for item in span["attributes"]}


def check_exports(collector):
    """Checks the exports that a collector has taken against OpenTelemetry's own definitions, and returns how many spans they have."""
    python = environments.kept("otlp", ROOT + "/tests/serve/otlp-requirements.txt")
    done = subprocess.run([python, ROOT + "/tests/support/otlp_check.py"], input="".join(body.strip() + "\n" for body in collector.bodies),
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return sum(int(line) for line in done.stdout.split())

# SPDX-License-Identifier: Apache-2.0
"""An HTTP server with chosen answers, in place of pyexec or a proxy in front of it."""
import contextlib
import http.server
import json
import threading


class Proxy(http.server.BaseHTTPRequestHandler):
    """Answers the first request for a run with `first`, the others with a result."""
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.say(200, "text/plain", b"ok\n")

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        status, kind, body = self.server.first if not self.server.runs else (200, "application/json", b'{"status":"ok"}')
        self.server.runs += 1
        self.say(status, kind, body)

    def say(self, status, kind, body):
        self.send_response(status)
        for name, value in (("Content-Type", kind), ("Content-Length", len(body))):
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def refusal(status, code):
    """The answer of pyexec itself."""
    return status, "application/problem+json", json.dumps({"type": "about:blank", "title": "a", "status": status, "code": code, "hint": "b"}).encode()


@contextlib.contextmanager
def answering(first):
    """`first`: status, content type, body. Yields the server: `url`, and `runs`, the number of requests for a run."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        server.first, server.runs, server.url = first, 0, "http://127.0.0.1:%d" % server.server_port
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()

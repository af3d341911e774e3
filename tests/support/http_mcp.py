# SPDX-License-Identifier: Apache-2.0
"""An MCP server over Streamable HTTP in the process of the test. The test sets its answers.

    with Server() as server:                    # server.url; server.requests: each a Request
        server.tools["say"] = lambda r: r.text("a")
"""
import json
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VERSION = "io.modelcontextprotocol/protocolVersion"
TEXT = {"type": "string"}


def tool(name, description="", **properties):
    return {"name": name, "description": description, "inputSchema": {"type": "object", "properties": properties}}


class Request:
    """One request, and the ways to answer it."""

    def __init__(self, handler, body):
        self.handler, self.server = handler, handler.server.owner
        self.http, self.path, self.headers, self.body = handler.command, handler.path, handler.headers, body
        self.message = json.loads(body) if body else {}
        self.id, self.params = self.message.get("id"), self.message.get("params") or {}
        self.method = self.message.get("method")
        self.arguments = self.params.get("arguments") or {}

    def send(self, status, body=b"", type="application/json", **headers):
        body = body if isinstance(body, bytes) else body.encode()
        self.handler.send_response(status)
        for name, value in {"Content-Type": type, "Content-Length": str(len(body)), **headers}.items():
            self.handler.send_header(name.replace("_", "-"), value)
        self.handler.end_headers()
        self.handler.wfile.write(body)
        self.handler.wfile.flush()

    def wrap(self, **members):
        return json.dumps({"jsonrpc": "2.0", "id": self.id, **members})

    def result(self, result, **headers):
        if self.server.events:
            return self.stream([self.wrap(result=result)], **headers)
        return self.send(200, self.wrap(result=result), **headers)

    def error(self, status, code, message, **more):
        return self.send(status, self.wrap(error={"code": code, "message": message}, **more))

    def text(self, text):
        return self.result({"content": [{"type": "text", "text": text}]})

    def begin(self, type="text/event-stream", **headers):
        """Headers of a body without a length; it ends with the connection."""
        self.handler.close_connection = True
        self.handler.send_response(200)
        for name, value in {"Content-Type": type, "Connection": "close", **headers}.items():
            self.handler.send_header(name.replace("_", "-"), value)
        self.handler.end_headers()

    def write(self, data):
        self.handler.wfile.write(data if isinstance(data, bytes) else data.encode())
        self.handler.wfile.flush()

    def stream(self, messages, **headers):
        self.begin(**headers)
        self.write(": hello\n\n")
        for message in messages:
            self.write("event: message\r\nid: 1\r\ndata: %s\r\n\r\n" % message)

    def hang_up(self):
        self.handler.close_connection = True
        self.handler.connection.shutdown(socket.SHUT_RDWR)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *unused):
        pass

    def setup(self):
        super().setup()
        self.server.owner.connections.append(self.connection)

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except (ConnectionError, ssl.SSLError, ValueError):
            self.close_connection = True

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = Request(self, body)
        self.server.owner.requests.append(request)
        self.server.owner.answer(request)

    do_GET = do_DELETE = do_POST


class Server:
    """A server of one era, with sessions or without. A test may replace `answer` completely."""

    def __init__(self, modern=False, sessions=True, events=False, context=None):
        self.modern, self.sessions, self.events = modern, sessions, events
        self.requests, self.alive, self.cancelled, self.connections = [], set(), [], []
        self.tools = {"say": lambda r: r.text(str(r.arguments.get("text")))}
        self.listed = None
        self.get = lambda request: request.send(405)
        self.over = threading.Event()       # set when the test has ended, so nobody waits any more
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.http.owner = self
        scheme = "http"
        if context:
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True, do_handshake_on_connect=False)
            scheme = "https"
        self.url = "%s://127.0.0.1:%d/mcp" % (scheme, self.http.server_port)

    def __enter__(self):
        self.thread = threading.Thread(target=self.http.serve_forever, args=[0.05], daemon=True)
        self.thread.start()
        return self

    def stop(self):
        """Stops listening, and closes all connections."""
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()
        for connection in self.connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def __exit__(self, *unused):
        self.over.set()
        self.stop()

    def list(self):
        return self.listed or [tool(name, "", text=TEXT) for name in self.tools]

    def of(self, method):
        return [request for request in self.requests if request.method == method]

    def answer(self, request):
        if request.http == "GET":
            return self.get(request)
        if request.http == "DELETE":
            self.alive.discard(request.headers.get("Mcp-Session-Id"))
            return request.send(200)
        modern = VERSION in (request.params.get("_meta") or {})
        if self.modern and not modern:
            return request.error(400, -32020, "Header mismatch")
        if modern and not self.modern:
            return request.error(400, -32000, "Bad request")
        if request.method == "initialize":
            self.alive.add("s-%d" % len(self.requests))
            session = {"Mcp_Session_Id": "s-%d" % len(self.requests)} if self.sessions else {}
            return request.result({"protocolVersion": request.params["protocolVersion"], "capabilities": {"tools": {}},
                                   "serverInfo": {"name": "t", "version": "1"}}, **session)
        if self.sessions and not self.modern and request.headers.get("Mcp-Session-Id") not in self.alive:
            return request.error(404, -32001, "Session not found")
        if request.method == "notifications/cancelled":
            self.cancelled.append(request.params["requestId"])
        if request.id is None or request.method is None:
            return request.send(202)
        if request.method == "server/discover":
            return request.result({"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}})
        if request.method == "tools/list":
            return request.result({"tools": self.list(), **({"resultType": "complete", "ttlMs": 0, "cacheScope": "private"} if self.modern else {})})
        if request.method == "tools/call":
            return self.tools[request.params["name"]](request)
        return request.error(404 if self.modern else 200, -32601, "Method not found")

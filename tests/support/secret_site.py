# SPDX-License-Identifier: Apache-2.0
"""A host with secrets, for whole programs and every user: a TLS server on a loopback port, which scripts reach as localhost:PORT because the
operator's settings allow that address. No namespace and no root is needed."""
import base64
import contextlib
import hashlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading

PATIENCE = 60  # seconds, for anything that must happen
VALUE = "sk-test-5f1d3c7a9b2e4d6f8a0c1e3b5d7f9a2c"
OTHER_VALUE = "sk-other-0a1b2c3d4e5f60718293a4b5c6d7e8f9"


class Request:
    def __init__(self, head, body):
        first, *fields = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        self.method, self.path, _ = first.split(" ")
        self.fields = {name.lower(): text for name, text in (field.split(": ", 1) for field in fields)}
        self.body = body


class Site:
    """Answers with answer(request): bytes, or a list of bytes and functions, which are called with the connection. The connection ends after
    an answer whose last part is None. With `instead`, this function is called with each connection, and no request is read."""

    def __init__(self, certificate, answer, instead=None):
        self.requests, self.connections, self.answer, self.instead = [], 0, answer, instead
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate)
        self.context.set_alpn_protocols(["h2", "http/1.1"])
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]
        self.host = "localhost:%d" % self.port
        threading.Thread(target=self.accept, daemon=True).start()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)  # wakes the thread in accept(2)
        self.listener.close()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self.handle, args=(connection,), daemon=True).start()

    def handle(self, connection):
        connection.settimeout(PATIENCE)
        with contextlib.suppress(OSError), connection, self.context.wrap_socket(connection, server_side=True) as tls:
            if self.instead:
                self.instead(tls)
                return
            stream = tls.makefile("rb")
            while request := self.read(stream):
                self.requests.append(request)
                answer = self.answer(request)
                for part in [answer] if isinstance(answer, bytes) else answer:
                    if part is None:
                        return
                    part(tls) if callable(part) else tls.sendall(part)

    @staticmethod
    def read(stream):
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = stream.readline()
            if not line:
                return None
            head += line
        request = Request(head, b"")
        if request.fields.get("transfer-encoding") == "chunked":
            while length := int(stream.readline(), 16):
                request.body += stream.read(length)
                stream.readline()
            stream.readline()
        else:
            request.body = stream.read(int(request.fields.get("content-length", 0)))
        return request

    def got(self, path):
        """The value of Authorization in the one request for this path."""
        found, = (request.fields.get("authorization") for request in self.requests if request.path == path)
        return found


def response(body, *fields, status="200 OK"):
    lines = ["HTTP/1.1 " + status, "Content-Length: %d" % len(body), *fields]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def echo(request):
    """The secret comes back in a field and in the body."""
    token = request.fields.get("authorization", "nothing")
    return response(b"%s %d " % (token.encode(), len(request.body)) + hashlib.sha256(request.body).hexdigest().encode(), "X-Echo: " + token)


def websocket(request):
    """Upgrades, and answers the first frame with the secret and the text in upper case."""
    accept = base64.b64encode(hashlib.sha1(request.fields["sec-websocket-key"].encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()).decode()
    token = request.fields.get("authorization", "nothing").encode()

    def talk(tls):
        frame = tls.recv(2)
        mask, data = tls.recv(4), tls.recv(frame[1] & 127)
        text = token + b" " + bytes(byte ^ mask[i % 4] for i, byte in enumerate(data)).upper()
        tls.sendall(bytes((frame[0], len(text))) + text)
        tls.recv(1000)
    return ["HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n".encode() % accept.encode(), talk, None]


class Operator:
    """A folder of the operator, who is the user with this id: files with values, the file of secrets, and the settings."""

    def __init__(self, uid):
        self.uid, self.folder = uid, tempfile.mkdtemp(prefix="pyexec-folder-")
        self.certificate = os.path.join(self.folder, "tls.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                        "-subj", "/CN=test", "-addext", "subjectAltName=DNS:localhost", "-keyout", self.certificate + ".key",
                        "-out", self.certificate + ".crt"], check=True, stderr=subprocess.DEVNULL)
        with open(self.certificate, "w") as both:
            for end in (".key", ".crt"):
                with open(self.certificate + end) as file:
                    both.write(file.read())
        os.chmod(self.certificate + ".crt", 0o644)
        os.chmod(self.folder, 0o755)

    def write(self, name, text):
        """A file that only this user can read."""
        path = os.path.join(self.folder, name)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        if os.getuid() == 0:
            os.chown(path, self.uid, self.uid)
        return path

    def settings(self, **secrets):
        """The variables of pyexec for these secrets: name=(host, value), or name=a whole entry."""
        entries = {}
        for name, secret in secrets.items():
            if isinstance(secret, tuple):
                secret = {"host": secret[0], "file": self.write(name + ".value", secret[1] + "\n")}
            entries[name] = {"variable": name.upper(), "header": "Authorization: Bearer {}", **secret}
        return {"PYEXEC_EGRESS_SECRETS": self.write("secrets.json", json.dumps({"secrets": entries})),
                "PYEXEC_EGRESS_CA_FILE": self.certificate + ".crt", "PYEXEC_EGRESS_ALLOW_PRIVATE": "127.0.0.1/32"}

    def site(self, answer=echo, instead=None):
        return Site(self.certificate, answer, instead)

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def operator(uid):
    made = Operator(uid)
    try:
        yield made
    finally:
        made.close()


def shown(placeholder, value=VALUE):
    """What a script sees in place of the value."""
    return (placeholder + "*" * 99)[:len(value)]

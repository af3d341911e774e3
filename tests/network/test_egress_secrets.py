# SPDX-License-Identifier: Apache-2.0
"""Secrets in pyexec-egress, driven over its socket as the host does it: a script's TLS client on one side, a host's TLS server on the other."""
import http.client
import json
import os
import re
import socket
import ssl
import subprocess
import threading

import pytest

from conftest import BUILD
from private_internet import PATIENCE, Proxy, inside, receive_all, worlds  # noqa: F401 (a fixture)

pytestmark = pytest.mark.skipif(not os.path.exists(os.path.join(BUILD, "pyexec-egress")), reason="the build has no pyexec-egress")
SITE, OTHER_SITE = "93.184.216.34", "93.184.216.35"
VALUE = "sk-test-5f1d3c7a9b2e4d6f8a0c1e3b5d7f9a2c"
PLACEHOLDER = "pyexec-secret-API_KEY-00112233"
SHOWN = (PLACEHOLDER + "*" * 99)[:len(VALUE)]
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
HOSTS = ["api.example", "api.example:8443", "api.example:80", "other.example", "*.wild.example"]


def memory_file(content):
    file = os.fdopen(os.memfd_create("test"), "w+b")
    file.write(content)
    file.flush()
    file.seek(0)
    return file


class SecretProxy(Proxy):
    """A proxy whose run 2 has the secret of api.example, and whose run 1 has none."""

    def __init__(self, world, key=None, settings=None, **secret):
        super().__init__(world, HOSTS, **settings or {})
        self.key = key or memory_file(b"")
        with open(world.certificate("api.example", "other.example", "a.wild.example") + ".crt", "rb") as roots:
            self.send({"op": "authority"}, self.key.fileno(), roots.fileno())
        answer = self.wait_for("authority", None)
        assert answer["why"] is None, answer
        self.authority = answer["certificate"]
        self.why = self.give({"name": "key", "host": "api.example", "header": "Authorization", "before": "Bearer ", "after": "", **secret})
        self.with_secret = world.listen("127.0.0.1", 3129, "run")
        self.send({"op": "open", "run": 2, "allowed_hosts": HOSTS,
                   "secrets": [] if self.why else [{"name": "key", "placeholder": PLACEHOLDER}]}, self.with_secret.fileno())
        self.report(2)  # it has been opened, whatever ends it now
        self.trust = ssl.create_default_context(cadata=self.authority)

    def give(self, secret, value=VALUE.encode() + b"\n"):
        with memory_file(value) as file:
            self.send({"op": "secret", **secret}, file.fileno())
        return self.wait_for("secret", None)["why"]

    def wrap(self, target="api.example:443", run=2, name=None, trust=None):
        client = self.connect(run)
        client.sendall(("CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (target, target)).encode())
        head = b""
        while b"\r\n\r\n" not in head and (part := client.recv(1)):
            head += part
        assert head.startswith(b"HTTP/1.1 200 "), head + receive_all(client)
        return (trust or self.trust).wrap_socket(client, server_hostname=name or target.split(":")[0])

    def http(self, **options):
        """Returns an http.client connection to api.example."""
        made = http.client.HTTPSConnection("api.example")
        made.sock = self.wrap(**options)
        return made

    def close(self):
        self.with_secret.close()
        super().close()

    def __exit__(self, *about):
        self.with_secret.close()
        super().__exit__(*about)


def stop(listener):
    listener.shutdown(socket.SHUT_RDWR)  # wakes the thread in accept(), which keeps the port
    listener.close()


class Site:
    """A TLS server that answers what `answer(head)` returns: bytes, or a list of them, each in a record of its own."""

    def __init__(self, world, answer, address=SITE, port=443, certificate=None):
        self.heads, self.answer = [], answer
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate or world.certificate("api.example", "other.example", "a.wild.example"))
        self.context.set_alpn_protocols(["h2", "http/1.1"])
        self.listener, _ = world.serve(address, port, self.handle)

    def close(self):
        stop(self.listener)

    def handle(self, connection):
        with self.context.wrap_socket(connection, server_side=True) as tls:
            while True:
                head = b""
                while b"\r\n\r\n" not in head:
                    part = tls.recv(1)
                    if not part:
                        return
                    head += part
                length = int((re.search(rb"(?i)content-length: (\d+)", head) or [0, 0])[1])
                while length > 0:
                    part = tls.recv(length)
                    head, length = head + part, length - len(part)
                self.heads.append(head.decode("latin-1"))
                answer = self.answer(head)
                for part in [answer] if isinstance(answer, bytes) else answer:
                    tls.sendall(part)
                if answer == ANSWER:
                    return


def echo(head):
    """The whole request, in the body and in a field."""
    token = re.search(rb"Authorization: ([^\r]*)", head)
    return (b"HTTP/1.1 200 OK\r\nX-Echo: %s\r\nSet-Cookie: a=%s\r\nContent-Length: %d\r\n\r\n"
            % (token[1], token[1], len(head))) + head


def silence(head):
    """Answers to /first, and then never again."""
    if b"/first" in head:
        return b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    threading.Event().wait(PATIENCE)
    return b""


def names(world):
    world.dns.names.update({"api.example": [SITE], "other.example": [OTHER_SITE], "a.wild.example": [OTHER_SITE]})


@inside
def test_the_host_gets_the_value_and_the_script_gets_the_placeholder(world):
    names(world)
    site = Site(world, echo)
    with SecretProxy(world) as proxy:
        connection = proxy.http()
        for path in ("/one", "/two"):
            connection.request("POST", path, body=PLACEHOLDER, headers={"Authorization": "Bearer " + PLACEHOLDER, "X-Mine": PLACEHOLDER})
            answer = connection.getresponse()
            body = answer.read().decode()
            assert answer.status == 200 and answer.headers["X-Echo"] == "Bearer " + SHOWN and answer.headers["Set-Cookie"] == "a=Bearer " + SHOWN
            assert body.count(SHOWN) == 1 and VALUE not in body
        connection.close()
        head = site.heads[1]
        assert len(site.heads) == 2 and head.startswith("POST /two HTTP/1.1\r\nHost: api.example\r\n")
        assert re.findall("(?i)authorization: (.*)\r\n", head) == ["Bearer " + VALUE]
        assert re.findall("(?i)accept-encoding: (.*)\r\n", head) == ["identity"]
        assert "X-Mine: %s\r\n" % PLACEHOLDER in head and head.endswith(PLACEHOLDER)
        row, = proxy.report(2)["hosts"]
        assert (row["host"], row["port"], row["verdict"]) == ("api.example", 443, "allowed") and row["sent"] > 300 and row["received"] > 300
        assert VALUE not in json.dumps(proxy.packets) + proxy.errors()
    site.close()


@inside
def test_a_value_that_comes_in_parts_is_replaced(world):
    names(world)
    half = len(VALUE) // 2
    chunk = lambda text: b"%x\r\n%s\r\n" % (len(text), text)
    answers = {
        b"/records": [b"HTTP/1.1 200 OK\r\nContent-Length: 44\r\n\r\n<<"] + [bytes([byte]) for byte in VALUE.encode()] + [b">>"],
        b"/chunks": [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"] + [chunk(b"<<")]
                    + [chunk(part) for part in (VALUE[:half].encode(), VALUE[half:].encode())] + [chunk(b">>"), b"0\r\n\r\n"],
        b"/head": [b"HTTP/1.1 200 OK\r\nX-Echo: " + VALUE[:half].encode(), VALUE[half:].encode() + b"\r\nContent-Length: 4\r\n\r\n<<>>"],
    }
    site = Site(world, lambda head: answers[head.split()[1]])
    with SecretProxy(world) as proxy:
        connection = proxy.http()
        for path in answers:
            connection.request("GET", path.decode())
            answer = connection.getresponse()
            body = answer.read().decode()
            assert VALUE not in body and VALUE not in str(answer.headers)
            assert body == "<<>>" and answer.headers["X-Echo"] == SHOWN if path == b"/head" else body == "<<%s>>" % SHOWN
        connection.close()
    site.close()


@inside
def test_a_large_answer_and_a_large_request_go_through(world):
    names(world)
    size = 3 << 20
    sent = (b"0123456789" * (size // 10 + 1))[:size]
    site = Site(world, lambda head: b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + head[-size:])
    with SecretProxy(world) as proxy:
        connection = proxy.http()
        connection.request("PUT", "/", body=sent)
        assert connection.getresponse().read() == sent
        connection.close()
    site.close()


@inside
def test_no_other_destination_gets_the_value(world):
    names(world)
    sites = [Site(world, echo_nothing), Site(world, echo_nothing, port=8443), Site(world, echo_nothing, address=OTHER_SITE)]
    plain, seen = [], world.serve(SITE, 80, lambda connection: (plain.append(connection.recv(65536)), connection.sendall(ANSWER)))
    with SecretProxy(world) as proxy:
        insecure = ssl.create_default_context()
        insecure.check_hostname, insecure.verify_mode = False, ssl.CERT_NONE
        request = "GET / HTTP/1.1\r\nHost: %%s\r\nAuthorization: Bearer %s\r\nConnection: close\r\n\r\n" % PLACEHOLDER
        for target, run in (("api.example:8443", 2), ("other.example:443", 2), ("a.wild.example:443", 2), ("api.example:443", 1)):
            with proxy.wrap(target, run, trust=insecure) as client:
                client.sendall((request % target).encode())
                assert receive_all(client).startswith(b"HTTP/1.1 200 OK")
        client = proxy.connect(2)
        client.sendall(("GET http://api.example/ HTTP/1.1\r\nHost: api.example\r\nAuthorization: Bearer %s\r\n\r\n" % PLACEHOLDER).encode())
        assert receive_all(client).startswith(b"HTTP/1.1 200 OK")
        heads = [head for site in sites for head in site.heads] + [head.decode() for head in plain]
        assert len(heads) == 5
        for head in heads:
            assert "Bearer " + PLACEHOLDER in head and VALUE not in head
    for listener in [site.listener for site in sites] + [seen[0]]:
        stop(listener)


def echo_nothing(head):
    return ANSWER


@inside
def test_a_request_for_another_host_inside_of_the_tunnel_is_refused(world):
    names(world)
    site = Site(world, echo)
    with SecretProxy(world) as proxy:
        with proxy.wrap() as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: other.example\r\n\r\n")
            answer = receive_all(client)
            assert answer.startswith(b"HTTP/1.1 403 ") and b"for another host (field Host)" in answer
        with pytest.raises((ssl.SSLError, OSError)):
            proxy.wrap(name="other.example")
        assert site.heads == []
        assert [row["why"] for row in proxy.denied(2)] == ["name_mismatch"]
    site.close()


@inside
def test_a_server_without_a_valid_certificate_does_not_get_the_value(world):
    names(world)
    own = os.path.join(world.folder, "stranger.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=x",
                    "-addext", "subjectAltName=DNS:api.example", "-keyout", own + ".key", "-out", own + ".crt"], check=True, stderr=subprocess.DEVNULL)
    with open(own, "w") as both:
        both.write(open(own + ".key").read() + open(own + ".crt").read())
    site = Site(world, echo, certificate=own)
    with SecretProxy(world) as proxy:
        connection = proxy.http()
        connection.request("GET", "/")
        answer = connection.getresponse()
        text = answer.read().decode()
        assert answer.status == 502 and "its certificate is not valid" in text and "ca_file" in text
        assert site.heads == []
        assert ("failed", "connect") in [(row["verdict"], row["why"]) for row in proxy.report(2)["hosts"]]
    site.close()


@inside
def test_a_client_of_http_2_falls_back(world):
    names(world)
    site = Site(world, echo)
    with SecretProxy(world) as proxy:
        both = ssl.create_default_context(cadata=proxy.authority)
        both.set_alpn_protocols(["h2", "http/1.1"])
        with proxy.wrap(trust=both) as client:
            assert client.selected_alpn_protocol() == "http/1.1"
        only = ssl.create_default_context(cadata=proxy.authority)
        only.set_alpn_protocols(["h2"])
        with pytest.raises(ssl.SSLError):
            proxy.wrap(trust=only)
    site.close()


@inside
def test_a_run_without_the_secret_has_end_to_end_tls(world):
    names(world)
    site = Site(world, echo_nothing)
    with SecretProxy(world) as proxy:
        with pytest.raises(ssl.SSLCertVerificationError):
            proxy.wrap(run=1)
        own = ssl.create_default_context(cafile=world.certificate() + ".crt")
        with proxy.wrap(run=1, trust=own) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: api.example\r\n\r\n")
            assert receive_all(client) == ANSWER
    site.close()


@inside
def test_the_next_proxy_has_the_same_authority(world):
    names(world)
    site = Site(world, echo)
    with SecretProxy(world) as proxy:
        key, authority = proxy.key, proxy.authority
        assert b"PRIVATE KEY" in os.pread(key.fileno(), 65536, 0)
    with SecretProxy(world, key=key) as proxy:
        assert proxy.authority == authority
        connection = proxy.http()
        connection.request("GET", "/")
        assert connection.getresponse().headers["X-Echo"] == "Bearer " + SHOWN
        connection.close()
    site.close()


@inside
def test_values_that_no_header_can_carry_are_refused_without_showing_them(world):
    with SecretProxy(world) as proxy:
        for value in (b"", b"tiny", b"two\nlines of text", b"a\0zero byte here", b"x" * 8001):
            why = proxy.give({"name": "bad", "host": "api.example", "header": "X-Key", "before": "", "after": ""}, value)
            assert why and (not value or value.decode() not in why)
        assert proxy.give({"name": "bad", "host": "*.example", "header": "X-Key", "before": "", "after": ""}) == "its host is no NAME[:PORT]"


def silent_answer(connection, path="/", **options):
    connection.request("GET", path, headers={"Authorization": "Bearer " + PLACEHOLDER}, **options)
    answer = connection.getresponse()
    text = answer.read().decode()
    assert answer.status == 504 and answer.reason == "Gateway Timeout", (answer.status, answer.reason, text)
    assert text == ("pyexec could not reach api.example:443: no byte came or went for 1 s (idle_timeout in the section [egress] of the "
                    "configuration).\n")


@inside
def test_a_host_that_is_silent_gives_an_answer_that_says_so(world):
    """To the first request, to a later one of the same connection, and with a body that has not all been sent; and without a request, nothing."""
    names(world)
    site = Site(world, silence)
    with SecretProxy(world, settings={"idle_timeout_ms": 1000}) as proxy:
        silent_answer(proxy.http())
        connection = proxy.http()
        connection.request("GET", "/first")
        assert connection.getresponse().read() == b"ok"
        silent_answer(connection)
        client = proxy.wrap()
        client.sendall(b"POST / HTTP/1.1\r\nHost: api.example\r\nContent-Length: 100\r\n\r\nhalf")
        assert receive_all(client).startswith(b"HTTP/1.1 504 Gateway Timeout\r\n")
        for begun in (b"", b"GET / HTTP/1.1\r\nHost: api.ex"):
            client = proxy.wrap()
            client.sendall(begun)
            assert receive_all(client) == b""
        failed = [row for row in proxy.report(2)["hosts"] if row["verdict"] == "failed"]
        assert [(row["host"], row["why"], row["connections"]) for row in failed] == [("api.example", "timeout", 3)], failed
    site.close()


@inside
def test_a_host_whose_tls_is_silent_gives_an_answer_that_says_so(world):
    names(world)
    listener, _ = world.serve(SITE, 443, receive_all)
    with SecretProxy(world, settings={"idle_timeout_ms": 1000}) as proxy:
        silent_answer(proxy.http())
    stop(listener)

# SPDX-License-Identifier: Apache-2.0
"""pyexec-egress, driven over its socket as the host does it, between real clients and real servers."""
import os
import re
import select
import socket
import ssl
import struct
import subprocess
import threading
import time

import pytest

from conftest import BUILD
from private_internet import EGRESS_ID, PATIENCE, Dns, Proxy, inside, receive_all, worlds  # noqa: F401 (a fixture)
from waiting import wait_until

pytestmark = pytest.mark.skipif(not os.path.exists(os.path.join(BUILD, "pyexec-egress")), reason="the build has no pyexec-egress")
SITE = "93.184.216.34"


def read_head(connection):
    head = b""
    while b"\r\n\r\n" not in head and (part := connection.recv(1)):
        head += part
    return head


def hello(connection):
    """A server that answers each request with "hello"."""
    read_head(connection)
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: keep-alive\r\n\r\nhello")


@inside
def test_a_request_to_an_allowed_host_is_answered_and_reported(world):
    world.dns.names["a.example"] = [SITE]
    listener, _ = world.serve(SITE, 80, hello)
    with Proxy(world) as proxy:
        answer = proxy.get("http://a.example/path?query")
        assert answer == b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
        report = proxy.report()
        row, = report["hosts"]
        assert report["more"] == 0 and report["last"] is False
        assert row.pop("sent") > 50 and row.pop("received") == len(answer)
        assert row == {"host": "a.example", "port": 80, "verdict": "allowed", "why": None, "address": SITE, "connections": 1}
    listener.close()


# ---- Which hosts ----

# Destinations that are written in a request, each as CONNECT and as http://. None of them is reached.
REFUSED_FORMS = """
127.0.0.1 127.0.0.1. 127.1 127.0.1 127.00.00.01 0177.0.0.1 017700000001 0x7f.1 0x7f000001 0X7F.0.0.1 2130706433 0x7f.0x0.0x0.0x1 127.0x1 0 0.0.0.0
00.00.00.00 0x0 1.1.1.1 16843009 0x01010101 1.1 1.1.1 8.8.8.8 10.0.0.1 10.1 012.1 172.16.0.1 192.168.0.1 0xc0a80001 3232235521 192.168.257 169.254.169.254
0xa9fea9fe 2852039166 169.254.43518 0251.0376.0251.0376 169.254.169.254.nip 100.64.0.1 100.100.100.200 224.0.0.1 255.255.255.255 4294967295 4294967296
[::1] [::] [0:0:0:0:0:0:0:1] [::ffff:127.0.0.1] [::ffff:7f00:1] [0000::1] [::127.0.0.1] [fe80::1] [fe80::1%25lo] [fe80::1%lo] [fc00::1] [fd00:ec2::254]
[ff02::1] [2001:db8::1] [2002:7f00:1::] [2001:0:7f00:1::] [64:ff9b::7f00:1] [64:ff9b:1::7f00:1] [2606:2800:220::1] [::1 ::1] [1.1.1.1] [v1.a]
localhost localhost. LOCALHOST localhost.localdomain ip6-localhost gateway metadata metadata.google.internal b.example A.b.example sub.a.example a.example.b.example xa.example
example a..example .a.example a.example.. a.example%00.b.example a.example%2eb a%2eexample a.example@127.0.0.1 127.0.0.1@a.example user:secret@a.example a.example#b
a.example\\@b.example a_example a.example,b.example a.example;b *.a.example * ?.a.example a.example\x00 a.ex\xe4mple a.example\xe3\x80\x82 \xef\xbd\x81.example 1\xe3\x80\x82\x31
0xa.example.0x1 a.1 a.0x1f 127.0.0.1.example.1 a.example:443:80 xn--a.example ⓐ.example
""".split()


@inside
def test_no_other_form_of_a_destination_is_reached(world):
    """More than 100 forms, each in two kinds of requests; a server listens on every address that any of them could mean, and sees no connection."""
    world.dns.names.update({"a.example": [SITE], "localhost": ["127.0.0.1"], "sub.a.example": [SITE], "b.example": [SITE]})
    listeners = [world.serve(address, port, hello, space) for address, space in
                 ((SITE, "internet"), ("1.1.1.1", "internet"), ("127.0.0.1", "gateway"), ("::1", "gateway"), ("2606:2800:220::1", "internet")) for port in (80, 443)]
    reached = []
    with Proxy(world, max_run_connections=500) as proxy:
        for form in REFUSED_FORMS:
            form = form.encode("utf-8").decode("unicode_escape").encode("latin-1") if "\\" in form else form.encode()
            for request in (b"CONNECT %s:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n", b"GET http://%s/ HTTP/1.1\r\nHost: a.example\r\n\r\n"):
                answer = proxy.ask(request % form)
                if not re.match(rb"HTTP/1\.1 (400|403) pyexec refused ", answer):
                    reached.append((form, answer))
    assert reached == [] and len(REFUSED_FORMS) > 100
    assert [len(seen) for _, seen in listeners] == [0] * len(listeners)
    for listener, _ in listeners:
        listener.close()


@inside
def test_names_stars_and_ports_of_the_list_decide(world):
    world.dns.names.update({name: [SITE] for name in ("a.example", "x.b.example", "y.x.b.example", "b.example")})
    listeners = [world.serve(SITE, port, hello)[0] for port in (80, 8080)]
    with Proxy(world, ["a.example:80", "*.b.example:8080"]) as proxy:
        assert b"hello" in proxy.get("http://a.example/") and b"hello" in proxy.get("http://A.EXAMPLE.:80/")
        assert b"hello" in proxy.get("http://x.b.example:8080/")
        for url, reason in (("http://a.example:8080/", "port"), ("http://x.b.example/", "port"), ("http://y.x.b.example:8080/", "host"),
                            ("http://b.example:8080/", "host"), ("http://c.example/", "host")):
            answer = proxy.get(url)
            denial, = proxy.denied()
            assert answer.startswith(b"HTTP/1.1 403 pyexec refused ") and denial["why"] == reason, (url, answer, denial)
            host = url.split("/")[2].split(":")[0]
            assert denial["host"] == host and host in denial["text"] and "allowed_hosts" in denial["text"] and denial["text"].encode() in answer
    for listener in listeners:
        listener.close()


@inside
def test_runs_are_known_by_their_listeners(world):
    world.dns.names["a.example"] = [SITE]
    listener, _ = world.serve(SITE, 80, hello)
    with Proxy(world, ["a.example:80"]) as proxy:
        other = proxy.open_run(2, ["b.example:80"])
        assert b"hello" in proxy.get("http://a.example/")
        assert b" 403 " in proxy.ask(b"GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", run=2)
        assert proxy.report(1)["hosts"][0]["verdict"] == "allowed" and proxy.report(2)["hosts"][0]["verdict"] == "denied"
        proxy.send({"op": "close", "run": 2})
        assert proxy.wait_for("report", 2)["last"] is True
        other.close()
        with pytest.raises(ConnectionError):
            proxy.connect(2)
        # The number may be used again.
        again = proxy.open_run(2, ["a.example:80"])
        assert b"hello" in proxy.ask(b"GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", run=2)
        again.close()
    listener.close()


# ---- Which addresses ----

REFUSED_ADDRESSES = """0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.127.255.255 127.0.0.1 127.255.255.254 168.63.129.16 169.254.0.1 169.254.169.254
172.16.0.1 172.31.255.255 192.0.0.1 192.0.0.192 192.0.2.1 192.88.99.1 192.168.0.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1
239.255.255.255 240.0.0.1 255.255.255.255 203.0.114.2 :: ::1 ::ffff:93.184.216.34 ::ffff:127.0.0.1 ::93.184.216.34 ::7f00:1 64:ff9b::7f00:1 64:ff9b::a00:1
64:ff9b::a9fe:a9fe 64:ff9b:1::5db8:d822 100::1 2001::1 2001:0:5db8:d822::1 2001:10::1 2001:20::1 2001:2::1 2001:1ff::1 2001:db8::1 2002:5db8:d822:: 2002:7f00:1::1
3fff::1 3fff:fff::1 4000::1 5f00::1 1000::1 fc00::1 fd00::1 fd00:ec2::254 fe80::1 febf::1 fec0::1 ff02::1 ff0e::1 2a00:1::2""".split()


def normal(address):
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


@inside
def test_names_that_lead_to_other_than_public_addresses_are_refused(world):
    """After resolution; alone, beside a public address, and behind a chain of aliases. The last of each family is the machine's own."""
    taken = []
    in_hosts_file = {"localhost": "127.0.0.1", "documented.example": "198.51.100.7", "hosts-file.example": "127.0.0.1"}
    with Proxy(world, ["*.a.example:80", *(name + ":80" for name in in_hosts_file)], max_run_connections=500) as proxy:
        for number, address in enumerate(REFUSED_ADDRESSES):
            name = "n%d.a.example" % number
            for answers in ([address], [SITE, address], [("CNAME", "c1.example"), ("CNAME", "c2.example"), address]):
                world.dns.names[name] = answers
                answer = proxy.get("http://%s/" % name)
                if b"which is " not in answer.split(b"\r\n")[0] or not answer.startswith(b"HTTP/1.1 403 "):
                    taken.append((answers, answer))
            denial, = proxy.denied()
            if denial["why"] != "address" or "allow_private" not in denial["text"] or normal(denial["address"]) != normal(address):
                taken.append(denial)
        for name, address in in_hosts_file.items():
            proxy.get("http://%s/" % name)
            assert [row["address"] for row in proxy.denied()] == [address], name
    assert taken == [] and len(REFUSED_ADDRESSES) >= 60


@inside
def test_an_operator_can_allow_private_networks(world):
    """By the network, and not for the addresses beside it."""
    with Proxy(world, ["*.a.example:80"], allow_private=["127.0.0.0/30", "::1", "203.0.114.2/32"]) as proxy:
        world.dns.names.update({"own.a.example": ["127.0.0.1"], "own6.a.example": ["::1"], "beside.a.example": ["127.0.0.4"], "machine.a.example": ["203.0.114.2"]})
        listeners = [world.serve(address, 80, hello, "gateway")[0] for address in ("127.0.0.1", "::1", "203.0.114.2")]
        for name in ("own", "own6", "machine"):
            assert b"hello" in proxy.get("http://%s.a.example/" % name), name
        assert b" 403 " in proxy.get("http://beside.a.example/")
    for listener in listeners:
        listener.close()


@inside
def test_a_name_that_changes_its_address_is_connected_where_it_was_checked(world):
    """The DNS answers with time to live 0: public first, then loopback. One lookup makes one connection, to the address that was checked."""
    inner, inside_seen = world.serve("127.0.0.1", 80, hello, "gateway")
    outer, seen = world.serve(SITE, 80, hello)
    turns = iter([[SITE], [SITE]])
    world.dns.names["a.example"] = lambda: next(turns, ["127.0.0.1"])
    with Proxy(world) as proxy:
        answer = proxy.get("http://a.example/")
        assert b"hello" in answer or b"loopback" in answer  # if the DNS was slow, a question was asked again
        assert b"loopback" in proxy.get("http://a.example/")
        assert len(seen) == (1 if b"hello" in answer else 0) and inside_seen == []
    inner.close()
    outer.close()


@inside
def test_the_ids_of_queries_can_not_be_guessed(world):
    """They are not the same after each start of the program. With the port they are what keeps forged answers out."""
    world.dns.names["a.example"] = "NXDOMAIN"
    ids = []
    for _ in range(3):
        world.dns.ids.clear()
        with Proxy(world) as proxy:
            for _ in range(2):
                assert b"does not exist" in proxy.get("http://a.example/")
        ids.append(tuple(sorted(set(world.dns.ids))))
        assert len(ids[-1]) >= 4, ids   # A and AAAA, twice
    assert len(set(ids)) == 3, ids


@inside
def test_odd_answers_of_the_dns(world):
    listener, _ = world.serve(SITE, 80, hello)
    many = ["93.184.%d.%d" % (i // 256, i % 256) for i in range(1000)]
    world.dns.names.update({
        "gone.a.example": "NXDOMAIN", "broken.a.example": "SERVFAIL", "empty.a.example": [], "silent.a.example": "SILENT",
        "chain.a.example": [("CNAME", "c1.example"), ("CNAME", "c2.example"), ("CNAME", "c3.example"), SITE],
        "loop.a.example": [("CNAME", "loop.a.example")], "cut.a.example": ("TRUNCATED", [SITE]),
        "many.a.example": ("TRUNCATED", [SITE] + many), "bad.a.example": ("TRUNCATED", many + ["127.0.0.1"])})
    with Proxy(world, ["*.a.example:80"], resolve_timeout_ms=1000) as proxy:
        answer = proxy.get("http://silent.a.example/")
        assert answer.startswith(b"HTTP/1.1 504 ") and b"in time" in answer
        assert [(row["verdict"], row["why"]) for row in proxy.report()["hosts"]] == [("failed", "timeout")]
    with Proxy(world, ["*.a.example:80", "in-hosts.example:80"], resolve_timeout_ms=PATIENCE * 1000) as proxy:
        for name, status, words in (("gone", 502, b"does not exist"), ("broken", 502, b""), ("empty", 502, b"no address"), ("loop", 502, b""),
                                    ("bad", 403, b"127.0.0.1")):
            answer = proxy.get("http://%s.a.example/" % name)
            assert answer.startswith(b"HTTP/1.1 %d " % status) and words in answer, (name, answer)
        for name in ("chain", "cut"):
            assert b"hello" in proxy.get("http://%s.a.example/" % name), name
        assert b"hello" in proxy.get("http://in-hosts.example/")
        assert b" 403 " not in proxy.get("http://many.a.example/")
        verdicts = {row["host"]: (row["verdict"], row["why"]) for row in proxy.report()["hosts"]}
        assert verdicts["gone.a.example"] == ("failed", "resolve")
        # The search list of resolv.conf (company.example) was never used.
        assert not [name for name in world.dns.asked if name.endswith("company.example")]
    listener.close()


@inside
def test_addresses_are_tried_in_turn(world):
    """The first of them refuses the connection, another one is silent."""
    listener, _ = world.serve("2606:2800:220::1", 80, hello)
    full = world.listen("93.184.216.35", 80, backlog=0)
    fillers = []
    for _ in range(4):
        fillers.append(world.socket("gateway"))
        fillers[-1].setblocking(False)
        fillers[-1].connect_ex(("93.184.216.35", 80))
    assert select.select([], fillers, [], PATIENCE)[1]  # one of them is in the queue, which is full now
    world.dns.names["a.example"] = ["1.1.1.1", "93.184.216.35", "2606:2800:220::1"]
    with Proxy(world, connect_timeout_ms=20000) as proxy:
        assert b"hello" in proxy.get("http://a.example/")
        world.dns.names["a.example"] = ["1.1.1.1"]
        answer = proxy.get("http://a.example/")
        assert answer.startswith(b"HTTP/1.1 502 ") and b"refused" in answer
    with Proxy(world, connect_timeout_ms=500) as proxy:
        world.dns.names["a.example"] = ["93.184.216.35"]
        assert proxy.get("http://a.example/").startswith(b"HTTP/1.1 504 ")
    for made in fillers + [listener, full]:
        made.close()


def connecting(proxy):
    """The addresses to which the proxy has a connection that is not made yet."""
    found = []
    for name in ("tcp", "tcp6"):
        with open("/proc/%d/net/%s" % (proxy.program.pid, name)) as file:
            for line in list(file)[1:]:
                remote, state = line.split()[2:4]
                if state == "02":  # TCP_SYN_SENT
                    address = struct.pack("=%dI" % (len(remote[:-5]) // 8), *(int(remote[i:i + 8], 16) for i in range(0, len(remote) - 5, 8)))
                    found.append(socket.inet_ntop(socket.AF_INET if name == "tcp" else socket.AF_INET6, address))
    return found


SILENT = ["93.184.217.%d" % number for number in range(1, 7)] + ["2606:2800:220:1::1", "2606:2800:220:1::2"]  # nothing is there, and nobody says so


@inside
def test_an_address_that_never_answers_does_not_hold_up_the_others(world):
    """The next one is tried while the first one is still waited for: each attempt here has more time than the test."""
    listener, seen = world.serve(SITE, 80, hello)
    with Proxy(world, connect_timeout_ms=600000) as proxy:
        for answers in ([SILENT[0], SITE], [SILENT[6], SITE], SILENT[:3] + [SITE]):
            world.dns.names["a.example"] = answers
            assert b"hello" in proxy.get("http://a.example/"), answers
            wait_until(lambda: connecting(proxy) == [])
        assert {row["address"] for row in proxy.report()["hosts"]} == {SITE} and len(seen) == 3
        # Also a whole family, and all of them checked before: the last one is not public.
        world.dns.names["a.example"] = [SILENT[0], "10.0.0.1"]
        assert b"10.0.0.1" in proxy.get("http://a.example/") and connecting(proxy) == []
    listener.close()


@inside
def test_attempts_at_the_same_time_are_bounded_and_end_with_their_client(world):
    world.dns.names["a.example"] = SILENT
    with Proxy(world, connect_timeout_ms=3000) as proxy:
        client, most, tried = proxy.connect(), 0, set()
        client.sendall(b"GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n")
        while not select.select([client], [], [], 0.01)[0]:
            now = connecting(proxy)
            if now == connecting(proxy):    # nothing changed between its two files
                most, tried = max(most, len(now)), tried.union(now)
        assert receive_all(client).startswith(b"HTTP/1.1 504 ") and most == 4 and tried == set(SILENT)
        client.close()
    with Proxy(world, connect_timeout_ms=600000) as proxy:
        client = proxy.connect()
        client.sendall(b"GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n")
        wait_until(lambda: len(connecting(proxy)) == 4)
        client.close()
        wait_until(lambda: connecting(proxy) == [])


# ---- TLS and tunnels ----

def tls_server(world, handler=hello):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(world.certificate("a.example"))

    def handle(connection):
        with context.wrap_socket(connection, server_side=True) as secure:
            handler(secure)
    return world.serve(SITE, 443, handle)


def client_hello(name, extra=b""):
    """Returns a ClientHello as one record, and its message alone."""
    names = b"" if name is None else struct.pack("!HHHBH", 0, len(name) + 5, len(name) + 3, 0, len(name)) + name
    extensions = names + extra
    body = b"\3\3" + bytes(32) + b"\0" + b"\0\2\x13\1" + b"\1\0" + struct.pack("!H", len(extensions)) + extensions
    message = b"\1" + struct.pack("!I", len(body))[1:] + body
    return record(message), message


def record(part):
    return b"\x16\3\1" + struct.pack("!H", len(part)) + part


@inside
def test_tls_goes_through_a_tunnel_end_to_end(world):
    world.dns.names["a.example"] = [SITE]
    listener, _ = tls_server(world)
    with Proxy(world) as proxy:
        with proxy.tls("a.example:443") as secure:
            secure.sendall(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
            assert receive_all(secure).endswith(b"hello")
        row, = proxy.report()["hosts"]
        assert row["sent"] > 200 and row["received"] > 200 and row["port"] == 443
    listener.close()


@inside
def test_the_name_in_tls_must_be_that_of_connect(world):
    """Also when the ClientHello comes in many records and segments. The server behind it sees not one byte of a refused one."""
    world.dns.names["a.example"] = [SITE]
    got = []

    def echo(connection):
        mine = [b""]
        got.append(mine)
        while part := connection.recv(65536):
            mine[0] += part
            connection.sendall(b"!")
    listener, seen = world.serve(SITE, 443, echo)
    good, message = client_hello(b"a.example")
    split = record(message[:1]) + record(message[1:3]) + b"".join(record(message[i:i + 7]) for i in range(3, len(message), 7))
    two_names = client_hello(b"a.example", struct.pack("!HHHBH", 0, 14, 12, 0, 9) + b"b.example")[0]
    refused = {
        "another name": client_hello(b"b.example")[0], "a name below": client_hello(b"x.a.example")[0], "no name": client_hello(None)[0],
        "an address": client_hello(b"127.0.0.1")[0], "two names": two_names, "a NUL": client_hello(b"a.example\0b")[0],
        "another name in records": b"".join(record(part) for part in (client_hello(b"b.example")[1][:50], client_hello(b"b.example")[1][50:])),
        "more in the record": record(message + b"\1\0\0\0"), "an empty record": record(b"") + good, "no ClientHello": record(b"\2" + message[1:]),
        "too long": record(b"\1\xff\xff\xff"), "an alert": b"\x15\3\1\0\2\1\0", "SSL 2": b"\x80\x2e\1\0\2" + bytes(41), "SSH": b"SSH-2.0-x\r\n",
        "SMTP": b"EHLO a\r\n\r\n", "garbage": bytes(range(200, 256)), "HTTP 2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"}
    with Proxy(world) as proxy:
        for text in (good, split, client_hello(b"A.Example.")[0]):
            client, head = proxy.tunnel("a.example:443")
            for i in range(0, len(text), 40):
                client.sendall(text[i:i + 40])
            assert client.recv(1) == b"!"
            client.close()
        wait_until(lambda: sorted(mine[0] for mine in got) == sorted((good, split, client_hello(b"A.Example.")[0])))
        proxy.denied()
        del got[:]
        for what, text in refused.items():
            client, head = proxy.tunnel("a.example:443")
            assert head.startswith(b"HTTP/1.1 200 "), what
            client.sendall(text)
            answer = receive_all(client)
            client.close()
            assert answer[:1] in (b"", b"\x15") or re.match(rb"HTTP/1\.1 (400|403) pyexec refused ", answer), (what, answer)
            denials = proxy.denied()
            assert [row["why"] for row in denials] in (["name_mismatch"], ["protocol"]), (what, denials)
        wait_until(lambda: len(seen) == 3 + len(refused))
        assert [mine for mine in got if mine[0]] == []
    listener.close()


@inside
def test_host_must_be_the_one_that_was_asked_for(world):
    world.dns.names.update({"a.example": [SITE], "b.example": [SITE]})
    listener, seen = world.serve(SITE, 80, hello)
    with Proxy(world, ["a.example:80", "b.example:80", "a.example:443"]) as proxy:
        for request in (b"GET http://a.example/ HTTP/1.1\r\nHost: b.example\r\n\r\n", b"GET http://a.example/ HTTP/1.1\r\nHost: a.example:81\r\n\r\n",
                        b"GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\nHost: b.example\r\n\r\n", b"GET http://a.example/ HTTP/1.1\r\n\r\n",
                        b"GET http://a.example/ HTTP/1.1\r\nHost: \r\n\r\n", b"GET http://a.example/ HTTP/1.1\r\nHost: a.example b.example\r\n\r\n",
                        b"CONNECT a.example:443 HTTP/1.1\r\nHost: b.example:443\r\n\r\n", b"CONNECT a.example:80 HTTP/1.1\r\nHost: a.example:81\r\n\r\n"):
            assert re.match(rb"HTTP/1\.1 (400|403) pyexec refused ", proxy.ask(request)), request
        assert seen == []
        for inner in (b"GET / HTTP/1.1\r\nHost: b.example\r\n\r\n", b"GET http://b.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
                      b"CONNECT b.example:80 HTTP/1.1\r\nHost: a.example\r\n\r\n"):
            client, head = proxy.tunnel("a.example:80")
            client.sendall(inner)
            assert re.match(rb"HTTP/1\.1 (400|403) pyexec refused ", receive_all(client)), inner
        client, head = proxy.tunnel("a.example:80")
        client.sendall(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
        assert receive_all(client).endswith(b"hello")
        assert b"hello" in proxy.ask(b"GET http://a.example/ HTTP/1.0\r\n\r\n")
    listener.close()


@inside
def test_websocket_is_the_only_upgrade(world):
    world.dns.names["a.example"] = [SITE]
    heads = []

    def upgrade(connection):
        heads.append(read_head(connection))
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nserver")
        while part := connection.recv(100):
            connection.sendall(part.upper())
    listener, _ = world.serve(SITE, 80, upgrade)
    ask = "GET %s HTTP/1.1\r\nHost: a.example\r\nConnection: keep-alive, Upgrade\r\nUpgrade: %s\r\nSec-WebSocket-Key: x\r\n\r\n"
    with Proxy(world) as proxy:
        for tunnel in (False, True):
            client = proxy.tunnel("a.example:80")[0] if tunnel else proxy.connect()
            client.sendall((ask % ("/" if tunnel else "http://a.example/", "websocket")).encode())
            assert b" 101 " in read_head(client) and client.recv(6, socket.MSG_WAITALL) == b"server"
            client.sendall(b"client")
            assert client.recv(6, socket.MSG_WAITALL) == b"CLIENT"
            client.close()
        assert b"Upgrade: websocket" in heads[0] and b"Sec-WebSocket-Key: x" in heads[0]
        for other in ("h2c", "tls/1.3", "websocket, h2c"):
            assert b" 403 " in proxy.ask((ask % ("http://a.example/", other)).encode())
        assert len(heads) == 2
        # A server that switches without being asked.
        assert proxy.get("http://a.example/").startswith(b"HTTP/1.1 502 ")
    listener.close()


# ---- Requests and responses ----

SMUGGLED = [
    b"POST %s HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    b"POST %s HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
    b"POST %s HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1, 1\r\n\r\na",
    b"POST %s HTTP/1.1\r\nHost: a.example\r\nContent-Length: +1\r\n\r\na",
    b"POST %s HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0x1\r\n\r\na",
    b"POST %s HTTP/1.1\r\nHost: a.example\r\nContent-Length: -1\r\n\r\na",
    b"POST %s HTTP/1.1\r\nHost: a.example\r\nContent-Length: 99999999999999999999\r\n\r\na",
    b"POST %s HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST %s HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    b"POST %s HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"POST %s HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"POST %s HTTP/1.0\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST %s HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    b"POST %s HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    b"POST %s HTTP/1.1\r\nHost: a.example\r\nX: a\r\n Transfer-Encoding: chunked\r\n\r\n",
    b"POST %s HTTP/1.1\r\nHost: a.example\r\nX: a\r\n\tb\r\n\r\n",
    b"GET %s HTTP/1.1\r\n Host: a.example\r\n\r\n",
    b"GET %s HTTP/1.1\nHost: a.example\n\n",
    b"GET %s HTTP/1.1\r\nHost: a.example\r\nX: a\nY: b\r\n\r\n",
    b"GET %s HTTP/1.1\r\nHost: a.example\r\nX: a\rY: b\r\n\r\n",
    b"GET %s HTTP/1.1\r\nHost: a.example\r\nX: a\0b\r\n\r\n",
    b"GET %s HTTP/1.1\r\nHost: a.example\r\nNo colon\r\n\r\n",
    b"GET %s HTTP/1.1\r\nHost: a.example\r\n: x\r\n\r\n",
    b"GET %s HTTP/1.1\r\nHost: a.example\r\nX y: z\r\n\r\n",
    b"GET %s HTTP/1.1\r\nHost: a.example\r\nConnection: close, Content-Length\r\n\r\n",
    b"GET %s HTTP/1.1\r\nHost: a.example\r\nConnection: Host\r\n\r\n",
    b"GET  %s HTTP/1.1\r\nHost: a.example\r\n\r\n", b"GET %s  HTTP/1.1\r\nHost: a.example\r\n\r\n", b" GET %s HTTP/1.1\r\nHost: a.example\r\n\r\n",
    b"GET\t%s HTTP/1.1\r\nHost: a.example\r\n\r\n", b"GET %s HTTP/1.2\r\nHost: a.example\r\n\r\n", b"GET %s HTTP/2.0\r\nHost: a.example\r\n\r\n",
    b"GET %s http/1.1\r\nHost: a.example\r\n\r\n", b"GET %s\r\n\r\n", b"G\xc3T %s HTTP/1.1\r\nHost: a.example\r\n\r\n", b"\r\nGET %s HTTP/1.1\r\nHost: a.example\r\n\r\n",
    b"GET %s HTTP/1.1\r\nHost: a.example\r\n" + b"X: y\r\n" * 300 + b"\r\n", b"GET %s HTTP/1.1\r\nHost: a.example\r\nX: " + b"y" * 40000 + b"\r\n\r\n",
    b"GET %s" + b"a" * 40000, b"\x16\3\1\0\5%s hello\n\n", b"\5\1\0%s\n\n",
]


@inside
def test_requests_that_can_be_read_in_two_ways_are_refused(world):
    world.dns.names["a.example"] = [SITE]
    listener, seen = world.serve(SITE, 80, hello)
    with Proxy(world, max_run_connections=500) as proxy:
        for text in SMUGGLED:
            answer = proxy.ask(text % b"http://a.example/")
            assert re.match(rb"HTTP/1\.1 (400|403) pyexec refused ", answer), (text, answer)
        for target in (b"/", b"*", b"a.example", b"ftp://a.example/", b"https://a.example/", b"http:/a.example/", b"http:///", b"http://a.example/#x", b"//a.example/"):
            assert b"pyexec refused " in proxy.ask(b"GET %s HTTP/1.1\r\nHost: a.example\r\n\r\n" % target), target
        assert seen == []
        # A body that is not coded as it says.
        for body in (b"x\r\n", b"1\r\nab\r\n", b"1;a\nb\r\n", b"-1\r\n", b"0x1\r\na\r\n0\r\n\r\n", b"ffffffffffffffff1\r\n", b"\r\n", b"0\r\n x: y\r\n\r\n"):
            proxy.ask(b"POST http://a.example/ HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
            assert "protocol" in [row["why"] for row in proxy.denied()], body
    listener.close()


@inside
def test_a_server_sees_the_request_that_was_checked_and_only_one(world):
    world.dns.names["a.example"] = [SITE]
    heads, bodies = [], []

    def keep(connection):
        heads.append(read_head(connection))
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        if b"Content-Length: 4" in heads[-1]:
            bodies.append(connection.recv(4, socket.MSG_WAITALL))
        connection.settimeout(0.3)
        try:
            bodies.append(connection.recv(1000))
        except TimeoutError:
            pass  # nothing follows
        connection.settimeout(PATIENCE)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nKeep-Alive: timeout=5\r\n\r\n5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200 SECOND\r\n\r\n")
        receive_all(connection)
    listener, seen = world.serve(SITE, 80, keep)
    with Proxy(world) as proxy:
        answer = proxy.ask(b"POST http://a.example?q=1 HTTP/1.1\r\nhost: a.example:80\r\nProxy-Authorization: secret\r\nProxy-Connection: keep-alive\r\n"
                           b"Connection: x-hop\r\nX-Hop: 1\r\nTE: trailers\r\nX-Kept: \xe4\r\nContent-Length: 4\r\n\r\nbodyGET http://a.example/second HTTP/1.1\r\nHost: a.example\r\n\r\n")
        assert heads == [b"POST /?q=1 HTTP/1.1\r\nHost: a.example\r\nX-Kept: \xe4\r\nContent-Length: 4\r\nConnection: close\r\n\r\n"] and bodies == [b"body"]
        assert answer == (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
        assert b"OK" in proxy.ask(b"OPTIONS http://a.example HTTP/1.1\r\nHost: a.example\r\n\r\n") and heads[1].startswith(b"OPTIONS * HTTP/1.1\r\n")
    listener.close()


@inside
def test_responses_that_are_not_understood(world):
    world.dns.names["a.example"] = [SITE]
    text = [b""]

    def say(connection):
        read_head(connection)
        connection.sendall(text[0])
    listener, _ = world.serve(SITE, 80, say)
    with Proxy(world) as proxy:
        for text[0] in (b"", b"HTTP/1.1", b"hello\r\n\r\n", b"HTTP/1.1 20 OK\r\n\r\n", b"HTTP/1.1 200 OK\n\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 40000, b"HTTP/1.1 099 X\r\n\r\n", b"SSH-2.0-x\r\n\r\n"):
            assert proxy.get("http://a.example/").startswith(b"HTTP/1.1 502 pyexec could not reach a.example"), text[0][:60]
        for text[0], body in ((b"HTTP/1.0 200 OK\r\n\r\nuntil the end", b"until the end"), (b"HTTP/1.1 204 No\r\n\r\n", b""), (b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nabc", b"ab"),
                              (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n", b""), (b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\n\r\nlate", b"late")):
            answer = proxy.get("http://a.example/")
            assert answer.endswith(b"\r\n\r\n" + body), (text[0], answer)
        assert proxy.ask(b"HEAD http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n").startswith(b"HTTP/1.1 103 ")
    listener.close()


# ---- Slow, flooding and half-closed; limits ----

def resident_kib(proxy):
    with open("/proc/%d/statm" % proxy.program.pid) as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") // 1024


@inside
def test_what_one_side_does_not_take_is_not_read_from_the_other(world):
    """Servers and clients that flood, while the other side does not read: they are held up, and the proxy stays small."""
    world.dns.names["a.example"] = [SITE]
    counts = {"server": 0, "client": 0}
    stop = threading.Event()

    def flood(connection, side):
        connection.setblocking(False)
        while not stop.is_set():
            try:
                counts[side] += connection.send(bytes(65536))
            except BlockingIOError:
                time.sleep(0.01)

    def upgrade(connection):
        read_head(connection)
        connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        flood(connection, "server")
    listener, _ = world.serve(SITE, 80, upgrade)
    with Proxy(world) as proxy:
        before = resident_kib(proxy)
        clients = []
        for _ in range(8):
            clients.append(proxy.connect())
            clients[-1].sendall(b"GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            assert b" 101 " in read_head(clients[-1])
            threading.Thread(target=flood, args=(clients[-1], "client"), daemon=True).start()
        still = 0
        while still < 20 or min(counts.values()) <= 8 * 65536:  # until nothing has moved for 20 looks in a row
            last = dict(counts)
            time.sleep(0.05)
            still = still + 1 if counts == last else 0
        if not os.environ.get("SANITIZE"):  # AddressSanitizer keeps freed memory
            assert resident_kib(proxy) - before < 8 * 600, (before, resident_kib(proxy))
        stop.set()
        for client in clients:
            client.close()
    listener.close()


@inside
def test_a_server_that_sends_one_early_hint_after_another_is_held_up_too(world):
    world.dns.names["a.example"] = [SITE]
    sent, stop, text = [0], threading.Event(), b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000
    assert len(text) == 28000

    def hints(connection):
        read_head(connection)
        connection.setblocking(False)
        while not stop.is_set():
            try:
                sent[0] += connection.send(text[sent[0] % 28:])  # after a part that was sent, the rest of that head first
            except BlockingIOError:
                time.sleep(0.01)
            if sent[0] > 64 << 20:
                return
    listener, _ = world.serve(SITE, 80, hints)
    with Proxy(world) as proxy:
        client = proxy.connect()
        client.sendall(b"GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n")
        still, last = 0, None
        while still < 20 or not sent[0]:  # until the server can't send and the proxy has nothing to do
            with open("/proc/%d/stat" % proxy.program.pid) as file:
                now = (sent[0], file.read().rpartition(")")[2].split()[11:13])
            still = still + 1 if now == last else 0
            last = now
            time.sleep(0.05)
        assert sent[0] < 32 << 20, sent
        stop.set()
        client.close()
    listener.close()


@inside
def test_the_end_of_one_direction_is_passed_on(world):
    world.dns.names["a.example"] = [SITE]
    big = os.urandom(1 << 20)

    def count(connection):
        connection.recv(5)
        data = receive_all(connection)
        connection.sendall(str(len(data)).encode())
        connection.sendall(big)
    listener, _ = world.serve(SITE, 443, count)
    with Proxy(world) as proxy:
        client, _ = proxy.tunnel("a.example:443")
        hello_bytes = client_hello(b"a.example")[0]
        client.sendall(hello_bytes + big)
        client.shutdown(socket.SHUT_WR)
        assert receive_all(client) == str(len(hello_bytes) - 5 + len(big)).encode() + big
        client.close()
        row, = proxy.report()["hosts"]
        assert row["sent"] == len(hello_bytes) + len(big) and row["received"] > len(big)
    listener.close()


@inside
def test_connections_on_which_nothing_happens_end(world):
    world.dns.names["a.example"] = [SITE]
    listener, _ = world.serve(SITE, 80, receive_all)
    tls, _ = world.serve(SITE, 443, receive_all)
    with Proxy(world, idle_timeout_ms=1000) as proxy:
        answer = proxy.get("http://a.example/")
        assert answer.startswith(b"HTTP/1.1 504 pyexec could not reach a.example:80: ") and b"for 1 s (idle_timeout in the section [egress]" in answer, answer
        client, _ = proxy.tunnel("a.example:443")
        client.sendall(client_hello(b"a.example")[0])
        assert receive_all(client) == b""
        client.close()
    listener.close()
    tls.close()


@inside
def test_requests_that_do_not_come_are_not_waited_for(world):
    """A head that comes slowly, a tunnel that stays empty, and half of a ClientHello. Bytes in between give no more time."""
    world.dns.names["a.example"] = [SITE]
    received = []
    listener, seen = world.serve(SITE, 443, lambda connection: received.append(receive_all(connection)))
    stop = threading.Event()

    def drip(client, data):
        try:
            for byte in data:
                if stop.wait(0.05):
                    return
                client.sendall(bytes([byte]))
        except OSError:
            pass
    with Proxy(world, request_timeout_ms=500) as proxy:
        client = proxy.connect()
        threading.Thread(target=drip, args=(client, b"GET http://a.example/ HTTP/1.1\r\nX: " + b"y" * 20000), daemon=True).start()
        answer = receive_all(client)
        assert answer.startswith(b"HTTP/1.1 400 ") and b"did not come in time" in answer, answer
        assert [row["why"] for row in proxy.denied()] == ["protocol"]
        for first in (b"", client_hello(b"a.example")[0][:20]):
            client, head = proxy.tunnel("a.example:443")
            assert b" 200 " in head
            client.sendall(first)
            receive_all(client)
            denial, = proxy.denied()
            assert denial["why"] == "protocol" and "speaks first" in denial["text"], denial
        wait_until(lambda: len(received) == 2)
        assert received == [b"", b""]
        # An allowed request is waited for as long as the server is idle, which is longer.
        client, _ = proxy.tunnel("a.example:443")
        client.sendall(client_hello(b"a.example")[0])
        wait_until(lambda: len(seen) == 3)
        client.settimeout(1)
        with pytest.raises(TimeoutError):
            client.recv(1)
        stop.set()
    listener.close()


def accepted(world):
    """How many connections of the run the proxy holds. A socket that it has closed has no inode."""
    world.enter("run")
    with open("/proc/thread-self/net/tcp") as file:
        rows = [line.split() for line in list(file)[1:]]
    world.enter("gateway")
    return sum(row[1].endswith(":%04X" % 3128) and row[3] != "0A" and row[9] != "0" for row in rows)


@inside
def test_sides_that_take_nothing_end(world):
    """A server that ends while its client does not read, a client that does not end after its answer, and a tunnel of which one direction is over."""
    world.dns.names["a.example"] = [SITE]

    def much(connection):
        read_head(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n" + bytes(1 << 20))
    listener, seen = world.serve(SITE, 80, much)
    tls, tunnels = world.serve(SITE, 443, receive_all)
    with Proxy(world, idle_timeout_ms=1000) as proxy:
        held = [proxy.connect() for _ in range(3)]
        held[0].sendall(b"GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n")
        held[1].sendall(b"GET http://b.example/ HTTP/1.1\r\nHost: b.example\r\n\r\n")
        held[2].sendall(b"CONNECT a.example:443 HTTP/1.1\r\n\r\n")
        assert b" 403 " in read_head(held[1]) and b" 200 " in read_head(held[2])
        held[2].sendall(client_hello(b"a.example")[0])
        wait_until(lambda: len(seen) == len(tunnels) == 1)
        assert accepted(world) == 3
        held[2].shutdown(socket.SHUT_WR)
        wait_until(lambda: accepted(world) == 0)
        for client in held:
            client.close()
    listener.close()
    tls.close()


@inside
def test_connections_of_a_run_and_of_all_runs_are_limited(world):
    world.dns.names["a.example"] = [SITE]
    listener, _ = world.serve(SITE, 80, receive_all)
    request = b"GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n"
    with Proxy(world, max_run_connections=4, max_connections=20) as proxy:
        held = [proxy.connect() for _ in range(4)]
        for client in held:
            client.sendall(request)
        assert proxy.ask(request).startswith(b"HTTP/1.1 429 pyexec refused a.example:80: this run has too many connections at the same time (max_run_connections: 4)")
        denial, = proxy.denied()
        assert denial["why"] == "limit" and "[egress]" in denial["text"]
        # Far above the limit, connections are closed without a word.
        flood = [proxy.connect() for _ in range(20)]
        assert any(receive_all(client) == b"" for client in flood[-4:])
        for client in held + flood:
            client.close()
        wait_until(lambda: b"HTTP/1.1 429" not in proxy_try(proxy))
    listener.close()


@inside
def test_no_run_takes_the_connections_of_all_others(world):
    """When more than half of them are in use, each run has a share, and one is left for the next run. The limit is here that of open
    descriptors, which is lower than the settings."""
    world.dns.names["a.example"] = [SITE]
    listener, seen = world.serve(SITE, 80, receive_all)
    request = b"GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n"

    def take(proxy, run):
        """Takes all connections that the run gets. Returns them, and the refusal."""
        held = []
        while True:
            client, before = proxy.connect(run), len(seen)
            client.sendall(request)
            wait_until(lambda: len(seen) > before or select.select([client], [], [], 0)[0])
            if len(seen) == before:     # the server never answers
                answer = client.recv(1000)
                client.close()
                return held, answer
            held.append(client)
    with Proxy(world, max_files=64 + 7 * 12) as proxy:  # 12 connections
        others = [proxy.open_run(number, ["a.example:80"]) for number in (2, 3)]
        held = []
        for run, least in ((1, 6), (2, 3), (3, 3)):
            got, refusal = take(proxy, run)
            held += got
            assert len(got) >= min(least, 3) and len(got) <= 6, (run, len(got))
            assert b" 429 pyexec refused a.example:80: this run has too many connections at the same time: its share of all (max_connections: 12) is 3" in refusal, refusal
            assert [row["why"] for row in proxy.denied(run)] == ["limit"]
        for client in held:
            client.close()
        wait_until(lambda: b"HTTP/1.1 429" not in proxy_try(proxy))
        # Without a descriptor for its listener a run is refused, and the others go on.
        made, number, answers = [], 9, []
        while not answers or answers[0]["event"] == "opened":
            number += 1
            made.append(world.listen("127.0.0.1", 4000 + number, "run"))
            proxy.send({"op": "open", "run": number, "allowed_hosts": []}, made[-1].fileno())
            while not (answers := [packet for packet in proxy.packets if packet["event"] in ("opened", "failed") and packet["run"] == number]):
                proxy.packets.append(proxy.next_packet())
        assert "RLIMIT_NOFILE" in answers[0]["why"], answers
        for given in range(10, number):
            proxy.send({"op": "close", "run": given})
        assert proxy.report(2)["run"] == 2
        for one in others + made:
            one.close()
    listener.close()


def proxy_try(proxy):
    """Returns the first bytes of an answer, or b"" if there are none for a while."""
    with proxy.connect() as client:
        client.settimeout(1)
        client.sendall(b"GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n")
        try:
            return client.recv(100)
        except (TimeoutError, ConnectionError):
            return b""


@inside
def test_a_report_is_bounded_and_keeps_what_was_allowed(world):
    world.dns.names["a.example"] = [SITE]
    listener, _ = world.serve(SITE, 80, hello)
    with Proxy(world, max_run_connections=500) as proxy:
        for number in range(120):
            proxy.get("http://n%d.%s/" % (number, ".".join(["x" * 60] * 3)))
        assert b"hello" in proxy.get("http://a.example/")
        report = proxy.report()
        assert len(report["hosts"]) == 51 and report["more"] == 70
        assert [row["host"] for row in report["hosts"] if row["verdict"] == "allowed"] == ["a.example"]
        assert proxy.report()["hosts"] == []
    listener.close()


# ---- The upstream proxy ----

@inside
def test_an_upstream_proxy_is_used_for_everything(world):
    """It is in a private network and gets the password. It resolves the names; one that leads to a private address here is refused here."""
    got = []

    def upstream(connection):
        head = read_head(connection)
        got.append(head)
        if b"refused" in head:
            connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
        elif head.startswith(b"CONNECT"):
            connection.sendall(b"HTTP/1.1 200 Fine\r\nX: y\r\n\r\n")
            connection.sendall(b"tunnel" + connection.recv(5))
        else:
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nplain")
    listener, _ = world.serve("127.0.0.1", 8888, upstream, "gateway")
    world.dns.names.update({"a.example": [SITE], "inner.example": ["10.0.0.1"], "proxy.company": ["127.0.0.1"]})
    hosts = ["a.example:80", "a.example:443", "only-there.example", "inner.example", "refused.example"]
    for host in ("127.0.0.1", "proxy.company"):
        with Proxy(world, hosts, upstream="http://us%%65r:p%%40ss@%s:8888/" % host) as proxy:
            assert proxy.get("http://a.example/x").endswith(b"plain")
            assert got[-1] == b"GET http://a.example/x HTTP/1.1\r\nHost: a.example\r\nProxy-Authorization: Basic dXNlcjpwQHNz\r\nConnection: close\r\n\r\n"
            for name in ("a.example", "only-there.example"):
                client, head = proxy.tunnel(name + ":443")
                assert b" 200 " in head
                client.sendall(client_hello(name.encode())[0])
                assert receive_all(client) == b"tunnel\x16\3\1\0" + client_hello(name.encode())[0][4:5]
                assert got[-1].startswith(b"CONNECT %s:443 HTTP/1.1\r\n" % name.encode())
                client.close()
            asked = len(got)
            assert b" 403 " in proxy.tunnel("inner.example:443")[1] and len(got) == asked
            client, head = proxy.tunnel("refused.example:443")
            assert head.startswith(b"HTTP/1.1 502 ") and b"407" in head
            assert b"p@ss" not in head
    listener.close()
    silent, _ = world.serve("127.0.0.1", 8890, receive_all, "gateway")
    with Proxy(world, hosts, upstream="http://127.0.0.1:8890", connect_timeout_ms=500) as proxy:
        client, head = proxy.tunnel("a.example:443")
        assert head.startswith(b"HTTP/1.1 504 ") and b"upstream" in head and b"in time" in head, head
        client.close()
    silent.close()
    with Proxy(world, hosts, upstream="http://127.0.0.1:8889") as proxy:
        answer = proxy.get("http://a.example/")
        assert answer.startswith(b"HTTP/1.1 502 ") and b"[egress] upstream" in answer
    for bad in ("https://a:1", "http://a", "http://:1", "socks5://a:1", "http://a:b:c@d:99999", "http://a:1/x", "http://a:1x", "http://a:01", "http://a: 1", "http://%zz@a:1"):
        proxy = Proxy(world, upstream=bad)
        assert proxy.first["event"] == "failed" and "upstream" in proxy.first["why"] and "b:c" not in proxy.first["why"], proxy.first
        proxy.program.wait(PATIENCE)
        proxy.host.close()


# ---- The program itself ----

@inside
def test_the_program_has_its_own_wall(world):
    with Proxy(world) as proxy:
        proxy.report()
        with open("/proc/%d/status" % proxy.program.pid) as file:
            status = dict(line.split(":\t", 1) for line in file if ":\t" in line)
        wanted = "0" if world.ordinary else str(EGRESS_ID)
        assert status["Uid"].split() == status["Gid"].split() == [wanted] * 4, status
        for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert int(status[name], 16) == 0, name
        assert status["NoNewPrivs"].strip() == "1" and status["Groups"].strip() in ("", "65534")
        if "address" not in os.environ.get("SANITIZE", ""):
            assert status["Seccomp"].strip() == "2"
        # It is not dumpable, so only root can look at it; and it has nothing open but its own.
        if not world.ordinary:
            with open("/proc/%d/limits" % proxy.program.pid) as file:
                assert re.search(r"Max core file size +0 +0 ", file.read())
            links = [os.readlink("/proc/%d/fd/%s" % (proxy.program.pid, name)) for name in os.listdir("/proc/%d/fd" % proxy.program.pid)]
            kinds = sorted(re.sub(r"[:/].*", "", link) for link in links)  # standard output and error; epoll; libevent's pipe; the host and a listener
            assert kinds == ["", "", "anon_inode", "pipe", "pipe", "socket", "socket"], links
        assert proxy.first["missing"] in ([], ["landlock"])


@inside
def test_root_must_name_another_id(world):
    if world.ordinary:
        return
    for ids, words in (({"uid": None}, "named no other id"), ({"uid": 0, "gid": 0}, "named no other id"), ({"uid": 4294967295, "gid": 5}, "named no other id")):
        proxy = Proxy(world, **ids)
        assert proxy.first["event"] == "failed" and words in proxy.first["why"], proxy.first
        assert proxy.program.wait(PATIENCE) == 1
        proxy.host.close()


@inside
def test_when_the_program_is_killed_everything_ends_and_nothing_opens(world):
    world.dns.names["a.example"] = [SITE]
    listener, seen = tls_server(world, receive_all)
    proxy = Proxy(world)
    secure = proxy.tls("a.example:443")
    tunnel, head = proxy.tunnel("a.example:443")
    assert b" 200 " in head
    proxy.program.kill()
    proxy.program.wait(PATIENCE)
    for client in (secure, tunnel):
        client.settimeout(PATIENCE)
        try:
            assert client.recv(1) == b""
        except OSError as error:
            assert not isinstance(error, TimeoutError)
        client.close()
    # The host notices, and the run's listener, which nobody serves, leads nowhere: a connection stays in its queue until the host closes it.
    with pytest.raises((AssertionError, ConnectionError)):
        proxy.next_packet()
    late = proxy.connect()
    late.sendall(b"GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n")
    proxy.listener.close()
    assert receive_all(late) == b"" and len(seen) == 2
    late.close()
    proxy.host.close()
    listener.close()


@inside
def test_the_program_ends_with_its_host_also_while_another_process_has_the_socket(world):
    host = subprocess.Popen(["sleep", "600"])
    proxy = Proxy(world, watch=os.pidfd_open(host.pid))
    assert proxy.report()["hosts"] == []
    host.kill()
    host.wait()
    assert proxy.program.wait(PATIENCE) == 0 and proxy.errors() == ""
    proxy.host.close()
    proxy.listener.close()


@inside
def test_a_host_that_breaks_the_protocol_ends_the_program(world):
    for packet in ({}, {"op": "start"}, {"op": "open"}, {"op": "open", "run": 0}, {"op": "what", "run": 1}, {"op": "open", "run": 1, "allowed_hosts": []}, [1]):
        proxy = Proxy(world)
        proxy.send(packet)
        assert proxy.program.wait(PATIENCE) == 1 and proxy.errors().startswith("pyexec-egress: "), packet
        proxy.host.close()
        proxy.listener.close()
    with Proxy(world) as proxy:  # a run that can't be opened is reported, and the others go on
        plain = world.socket("run")
        for packet, descriptors, words in (({"allowed_hosts": ["a.example"]}, [], "no descriptor"), ({"allowed_hosts": ["a.example"]}, [plain.fileno()], "no listening"),
                                           ({"allowed_hosts": ["1.2.3.4"]}, [proxy.listener.fileno()], "NAME:PORT"), ({}, [proxy.listener.fileno()], "no list")):
            proxy.send({"op": "open", "run": 7, **packet}, *descriptors)
            assert words in proxy.wait_for("failed", 7)["why"]
        assert proxy.report()["hosts"] == []
        plain.close()


@inside
def test_the_resolver_is_found_again_when_its_configuration_changes(world):
    """The file is changed in place, as network managers of containers do it."""
    world.dns.names["a.example"] = [SITE]
    listener, _ = world.serve(SITE, 80, hello)
    own = os.path.join(world.folder, "resolv.conf")
    with open(own) as file:
        good = file.read()
    Dns(world, "1.1.1.1")  # knows no names
    with Proxy(world) as proxy:
        with open(own, "w") as file:
            file.write("nameserver 1.1.1.1\n")
        assert proxy.get("http://a.example/").startswith(b"HTTP/1.1 502 ")
        with open(own, "w") as file:
            file.write(good)
        assert b"hello" in proxy.get("http://a.example/")
        # Another file has the name now. Landlock does not let the program read that, so it goes on with what it has.
        other = os.path.join(world.folder, "other.conf")
        with open(other, "w") as file:
            file.write("nameserver 1.1.1.1\n")
        os.chmod(other, 0o644)
        world.bind(other, "/etc/resolv.conf")
        try:
            answer = proxy.get("http://a.example/")
            assert b"hello" in answer or (proxy.first["missing"] == ["landlock"] and b" 502 " in answer)
        finally:
            world.unbind("/etc/resolv.conf")
    listener.close()

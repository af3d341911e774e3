#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What `allowed_hosts` costs (docs/network.md): runs by name beside plain ones, and requests over the proxy beside direct ones, in turns.

The server and the DNS are in a network namespace of this program, at addresses that are private: nothing leaves the machine. Needs root.

    bench/network.py [PATH/TO/pyexec] [--rounds N]"""
import argparse
import ctypes
import os
import socket
import ssl
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

from rpc_calls import Rpc  # beside this file

NEWNS, NEWNET, MS_REC, MS_PRIVATE, MS_BIND = 0x00020000, 0x40000000, 16384, 1 << 18, 4096
SERVER, RESOLVER, HTTP, HTTPS = "10.1.0.1", "10.1.0.2", 8000, 8443
EGRESS = {"allow_private": ["10.1.0.0/16"]}
LISTED, ASKED = "listed.example", "asked.example"       # in /etc/hosts, and only in the DNS
DIRECT = {"disable_networking": False}
BY_NAME = {"allowed_hosts": ["%s:%d" % (name, port) for name in (LISTED, ASKED) for port in (HTTP, HTTPS)]}
PROXY = ("127.0.0.1", 3128)
OPEN = {"use_import_whitelist": False, "banned_imports": [], "cpu_time_seconds": 30, "timeout_ms": 60_000}
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

# Prints times in µs: the first request, which has a new connection, the median of later new connections, and of requests in a kept one.
# The proxy ends the connection after each request over plain HTTP.
SCRIPT = """
import socket, ssl, time
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
def ask(connection):
    connection.sendall(request)
    got = b""
    while not got.endswith(b"ok"):
        part = connection.recv(4096)
        assert part, got
        got += part
    assert got.startswith(b"HTTP/1.1 200"), got
def new():
    began = time.perf_counter()
    connection = socket.create_connection(to)
    if tls:
        if tunnel:
            connection.sendall(b"CONNECT %%s HTTP/1.1\\r\\nHost: %%s\\r\\n\\r\\n" %% (host, host))
            got = b""
            while not got.endswith(b"\\r\\n\\r\\n"): got += connection.recv(4096)
            assert b" 200 " in got, got
        connection = context.wrap_socket(connection, server_hostname=name)
    ask(connection)
    return time.perf_counter() - began, connection
def kept(connection):
    began = time.perf_counter()
    ask(connection)
    return time.perf_counter() - began
name, to, tls = %r, %r, %r
tunnel, host = to[1] == 3128, ("%%s:%%d" %% (name, %d)).encode()
request = b"GET %%s/ HTTP/1.1\\r\\nHost: %%s\\r\\n\\r\\n" %% (b"" if tls else b"http://" + host, host)
first, connection = new()
again = sorted(kept(connection) for _ in range(200)) if tls or not tunnel else [0] * 200
connection.close()
each = []
for _ in range(100):
    seconds, connection = new()
    connection.close()
    each.append(seconds)
print(*(round(value * 1e6) for value in (first, sorted(each)[50], again[100])))
"""


def serve(port, context):
    listener = socket.create_server((SERVER, port), backlog=100)

    def answer(connection):
        try:
            if context:
                connection = context.wrap_socket(connection, server_side=True)
            while part := connection.recv(65536):
                assert part.endswith(b"\r\n\r\n"), part
                connection.sendall(ANSWER)
        except OSError:
            pass            # the client has closed the connection
        connection.close()

    while True:
        connection = listener.accept()[0]
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=answer, args=(connection,), daemon=True).start()


def resolve():
    """Answers every question for an A record with the server's address, and others with nothing."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind((RESOLVER, 53))
    while True:
        query, sender = listener.recvfrom(4096)
        end = query.index(b"\0", 12) + 5
        found = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + socket.inet_aton(SERVER) if query[end - 4:end - 2] == b"\0\x01" else b""
        listener.sendto(query[:2] + struct.pack("!HHHHH", 0x8180, 1, 1 if found else 0, 0, 0) + query[12:end] + found, sender)


def enter(folder):
    """Begins namespaces with the addresses, a hosts file and a resolver; the servers are a process of their own."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(NEWNS | NEWNET) != 0 or libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None) != 0:
        sys.exit("new namespaces: %s" % os.strerror(ctypes.get_errno()))
    for name, text in (("hosts", "127.0.0.1 localhost\n%s %s\n" % (SERVER, LISTED)), ("resolv.conf", "nameserver %s\n" % RESOLVER)):
        with open(os.path.join(folder, name), "w") as file:
            file.write(text)
        if libc.mount(os.path.join(folder, name).encode(), ("/etc/" + name).encode(), None, MS_BIND, None) != 0:
            sys.exit("mount /etc/%s: %s" % (name, os.strerror(ctypes.get_errno())))
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for address in (SERVER, RESOLVER):
        subprocess.run(["ip", "address", "add", address + "/32", "dev", "lo"], check=True)
    key = os.path.join(folder, "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                    "/CN=" + LISTED, "-keyout", key, "-out", key + ".crt"], check=True, stderr=subprocess.DEVNULL)
    with open(key, "a") as both, open(key + ".crt") as certificate:
        both.write(certificate.read())
    if os.fork() == 0:
        libc.prctl(1, 9)        # ends with its parent
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(key)
        threading.Thread(target=resolve, daemon=True).start()
        threading.Thread(target=serve, args=(HTTP, None), daemon=True).start()
        serve(HTTPS, context)
    while True:
        try:
            for port in (HTTP, HTTPS):
                socket.create_connection((SERVER, port)).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.01)


def measure_runs(program, pool, rounds):
    """Returns the medians in ms of the first run, and of later ones, for a plain run and one by name."""
    first, later = ([], []), ([], [])
    for number in range(rounds):
        with Rpc(program, egress=EGRESS, host={"pool_size": pool}) as rpc:
            policies = ({}, {"allowed_hosts": BY_NAME["allowed_hosts"]})
            for turn in range(40):
                for kind, policy in enumerate(policies):
                    began = time.perf_counter()
                    status = rpc("execute_once", code="1", policy=policy)["status"]
                    (later if turn else first)[kind].append((time.perf_counter() - began) * 1000)
                    assert status == "ok", status
                    time.sleep(0.01 if pool else 0)      # the pool makes the next process
    return [[statistics.median(times) for times in kind] for kind in (first, later)]


def measure_requests(program, rounds):
    found = {}
    with Rpc(program, egress=EGRESS) as rpc:
        for _ in range(rounds):
            for port in (HTTP, HTTPS):
                for way, (policy, name, to) in {"direct, to an address": (DIRECT, LISTED, (SERVER, port)),
                                                "direct, with the DNS": (DIRECT, ASKED, (ASKED, port)),
                                                "over the proxy, a name in /etc/hosts": (BY_NAME, LISTED, PROXY),
                                                "over the proxy, with the DNS": (BY_NAME, ASKED, PROXY)}.items():
                    result = rpc("execute_once", code=SCRIPT % (name, to, port == HTTPS, port), policy={**OPEN, **policy})
                    assert result["status"] == "ok", result["error"]
                    found.setdefault("%s: %s" % ("TLS" if port == HTTPS else "HTTP", way), []).append(
                        [int(word) for word in result["stdout"].split()])
    return {way: [statistics.median(column) for column in zip(*rows)] for way, rows in found.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program", nargs="?", default="pyexec")
    parser.add_argument("--rounds", type=int, default=11)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        enter(folder)
        for pool in (0, 8):
            first, later = measure_runs(options.program, pool, options.rounds)
            for name, (plain, by_name) in (("first", first), ("later", later)):
                print("%-45s plain %7.2f ms, by name %7.2f ms" % ("%s run, %s" % (name, "from the pool" if pool else "without a pool"), plain, by_name))
        print("%-45s %12s %15s %18s" % ("a request, in µs", "first of run", "new connection", "kept connection"))
        for way, medians in measure_requests(options.program, options.rounds).items():
            print("%-45s %12.0f %15.0f %18.0f" % (way, *medians))
    print("load: %.1f" % os.getloadavg()[0])


if __name__ == "__main__":
    main()

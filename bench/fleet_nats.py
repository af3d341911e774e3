# SPDX-License-Identifier: Apache-2.0
"""For fleet.py: what nats-server carries without pyexec: small requests with their answers, and the claims of sessions in JetStream, which
are those of src/worker/worker_bucket.c."""
import asyncio
import contextlib
import json
import re
import secrets
import socket
import statistics
import threading
import time

import fleet_load as load
from nats_fleet import Server, cluster

WINDOW = 256        # requests in flight
BATCH = 64 << 10
CLAIM = b'{"node":"n0","boot":"0123456789abcdef"}'
EXPECTED = b"Nats-Expected-Last-Subject-Sequence: 0\r\n"


class Pipe:
    """A connection whose messages are sent and read many at a time, so that this side costs little."""

    def __init__(self, port, subject):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(b'CONNECT {"verbose": false, "pedantic": false, "lang": "bench", "version": "1"}\r\nSUB %s 1\r\nPING\r\n' % subject)
        while b"PONG\r\n" not in (data := self.socket.recv(BATCH)):
            assert data



def answer_all(pipe, size):
    """Answers each request with a body as large as its own."""
    pattern, left = re.compile(rb"MSG \S+ 1 (\S+) %d\r\n.{%d}\r\n" % (size, size), re.S), b""
    body = b"x" * size
    while data := pipe.socket.recv(4 * BATCH):
        left += data
        end, answers = 0, []
        for found in pattern.finditer(left):
            answers.append(b"PUB %s %d\r\n%s\r\n" % (found[1], size, body))
            end = found.end()
        left = left[end:].replace(b"PING\r\n", b"")
        if answers:
            pipe.socket.sendall(b"".join(answers))


def echo(port, share, size, seconds):
    inbox = b"_INBOX." + secrets.token_hex(8).encode()
    server, client = Pipe(port, b"bench.echo"), Pipe(port, inbox)
    thread = threading.Thread(target=answer_all, args=(server, size), daemon=True)
    thread.start()
    request = b"PUB bench.echo %s %d\r\n%s\r\n" % (inbox, size, b"x" * size)
    answer_bytes = len(b"MSG %s 1 %d\r\n" % (inbox, size)) + size + 2
    before, begun, got, taken = share.seconds() if share else 0, time.perf_counter(), 0, []
    client.socket.sendall(request * WINDOW)
    sent, left = WINDOW, 0
    while time.perf_counter() < begun + seconds:
        left += len(client.socket.recv(4 * BATCH))
        answers, left = divmod(left, answer_bytes)
        got += answers
        if answers:
            client.socket.sendall(request * answers)
            sent += answers
    took, used = time.perf_counter() - begun, (share.seconds() if share else 0) - before
    while got < sent:
        left += len(client.socket.recv(4 * BATCH))
        answers, left = divmod(left, answer_bytes)
        got += answers
    total = got
    for _ in range(200):        # one at a time
        at = time.perf_counter()
        client.socket.sendall(request)
        need = answer_bytes
        while need > 0:
            need -= len(client.socket.recv(BATCH))
        taken.append((time.perf_counter() - at) * 1000)
    server.socket.shutdown(socket.SHUT_RDWR)
    thread.join()
    for pipe in (server, client):
        pipe.socket.close()
    return {"per_second": total / took, "p50_ms": statistics.median(taken), "cpu_us": 1e6 * used / total}


async def claims(port, shares, replicas, seconds):
    link = await load.dial(load.NatsLink, port)
    bucket = "bench_%s" % secrets.token_hex(4)
    stream = {"name": "KV_" + bucket, "subjects": ["$KV.%s.>" % bucket], "num_replicas": replicas, "max_msgs_per_subject": 1, "discard": "new",
              "storage": "file", "deny_delete": True, "allow_rollup_hdrs": True}
    for _ in range(100):        # the cluster chooses a leader first
        try:
            _, answer = await asyncio.wait_for(link.request(b"$JS.API.STREAM.CREATE.KV_" + bucket.encode(), json.dumps(stream).encode()), 2)
            if b'"error"' not in answer:
                break
        except asyncio.TimeoutError:
            pass
        await asyncio.sleep(0.1)
    else:
        raise SystemExit("JetStream makes no bucket: " + answer.decode())
    number = iter(range(1 << 30))

    async def claim():
        _, answer = await link.request(b"$KV.%s.bG9jYWw.%d" % (bucket.encode(), next(number)), CLAIM, EXPECTED)
        assert b'"seq"' in answer, answer
    await load.keep_busy([claim], min(seconds, 0.3))
    one, _ = await load.keep_busy([claim], seconds)
    before = sum(share.seconds() for share in shares)
    many, rate = await load.keep_busy([claim] * 64, seconds)
    used = sum(share.seconds() for share in shares) - before
    link.transport.close()
    return {"per_second": rate, "p50_ms": statistics.median(many), "cpu_us": 1e6 * used / len(many), "one_p50_ms": statistics.median(one),
            "one_p99_ms": statistics.quantiles(one, n=100)[98]}


def limits(seconds):
    with contextlib.ExitStack() as stack:
        shares = [share for share in (stack.enter_context(load.shared()) for _ in range(4)) if share]
        servers = [stack.enter_context(Server()), *map(stack.enter_context, cluster())]
        for share, server in zip(shares, servers):
            share.add(server.process.pid)
        return {"echo": {size: echo(servers[0].port, shares[0] if shares else None, size, seconds) for size in (128, 1024, 16384)}, "claims": {
            "R1, one server": asyncio.run(claims(servers[0].port, shares[:1], 1, seconds)),
            "R1, cluster of three": asyncio.run(claims(servers[1].port, shares[1:], 1, seconds)),
            "R3, cluster of three": asyncio.run(claims(servers[1].port, shares[1:], 3, seconds))}}

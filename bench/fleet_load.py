# SPDX-License-Identifier: Apache-2.0
"""For fleet.py: gives programs a part of a processor, and sends requests. One thread sends all of them, over NATS or HTTP on TCP, and measures each."""
import asyncio
import contextlib
import itertools
import json
import os
import random
import re
import secrets
import time

PERIOD_US = 10_000      # of a quota: the default of 100 ms would be seen in each latency
WEIGHT = 100            # times that of a process of the same machine that has no group


class Share:
    """A group of processes (cgroup v1 or v2): at most this part of one processor, if it is given; and the processor time that they took."""

    numbers = itertools.count()

    def __init__(self, quota=None):
        name = "pyexec-bench-%d-%d" % (os.getpid(), next(self.numbers))
        self.is_v2 = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
        self.folders = ["/sys/fs/cgroup/" + name] if self.is_v2 else ["/sys/fs/cgroup/%s/%s" % (one, name) for one in ("cpu", "cpuacct")]
        for folder in self.folders:
            os.mkdir(folder)
        try:
            self._set("cpu.weight" if self.is_v2 else "cpu.shares", WEIGHT * (100 if self.is_v2 else 1024))
            if quota and self.is_v2:
                self._set("cpu.max", "%d %d" % (quota * PERIOD_US, PERIOD_US))
            elif quota:
                self._set("cpu.cfs_period_us", PERIOD_US)
                self._set("cpu.cfs_quota_us", int(quota * PERIOD_US))
        except OSError:
            self.close()
            raise

    def _set(self, name, value):
        with open(os.path.join(self.folders[0], name), "w") as file:
            file.write(str(value))

    def add(self, pid):
        for folder in self.folders:
            with open(folder + "/cgroup.procs", "w") as file:
                file.write(str(pid))

    def enter(self):
        self.add(os.getpid())

    def pids(self):
        with open(self.folders[0] + "/cgroup.procs") as file:
            return [int(line) for line in file]

    def seconds(self):
        if self.is_v2:
            with open(self.folders[0] + "/cpu.stat") as file:
                return int(file.readline().split()[1]) / 1e6
        with open(self.folders[1] + "/cpuacct.usage") as file:
            return int(file.read()) / 1e9

    def memory_bytes(self):
        """The private memory of all processes, plus the largest shared part of one, because children share pages with their zygote."""
        own, shared = 0, [0]
        for pid in self.pids():
            with contextlib.suppress(OSError):      # it has ended
                with open("/proc/%d/smaps_rollup" % pid) as file:
                    rows = re.findall(r"^(Private|Shared)_\w+: +(\d+)", file.read(), re.M)
                own += sum(int(kib) for name, kib in rows if name == "Private")
                shared.append(sum(int(kib) for name, kib in rows if name == "Shared"))
        return 1024 * (own + max(shared))

    def close(self):
        end = time.monotonic() + 5
        for folder in self.folders:
            while os.path.exists(folder):
                try:
                    os.rmdir(folder)
                except OSError:
                    if time.monotonic() > end:
                        break
                    time.sleep(0.05)


@contextlib.contextmanager
def shared(quota=None):
    """A group until the end of its processes; None where this user can make none."""
    try:
        made = Share(quota)
    except OSError:
        yield None
        return
    try:
        yield made
    finally:
        made.close()


class NatsLink(asyncio.Protocol):
    """A connection to a NATS server. All answers come to one inbox."""

    def __init__(self):
        self.buffer, self.waiting, self.numbers = b"", {}, itertools.count()
        self.inbox = b"_INBOX." + secrets.token_hex(8).encode()
        self.ready = asyncio.get_running_loop().create_future()

    def connection_made(self, transport):
        self.transport = transport
        transport.write(b"CONNECT " + json.dumps({"verbose": False, "pedantic": False, "headers": True, "no_responders": True, "lang": "bench",
                                                  "version": "1"}).encode() + b"\r\nSUB %s.* 1\r\nPING\r\n" % self.inbox)

    def data_received(self, data):
        self.buffer = data = self.buffer + data if self.buffer else data
        at = 0
        while (end := data.find(b"\r\n", at)) >= 0:
            words = data[at:end].split(b" ")
            if words[0] in (b"MSG", b"HMSG"):
                after = end + 2 + int(words[-1])
                if len(data) < after + 2:
                    break
                head = int(words[-2]) if words[0] == b"HMSG" else 0
                headers = data[end + 2:end + 2 + head]
                is_event = b"\nPyexec-Event:" in headers and b"\nPyexec-Status:" not in headers
                call = None if is_event else self.waiting.pop(words[1].rpartition(b".")[2], None)
                if call and not call.done():
                    call.set_result((headers, data[end + 2 + head:after]))
                at = after + 2
                continue
            if words[0] == b"PING":
                self.transport.write(b"PONG\r\n")
            elif words[0] == b"PONG" and not self.ready.done():
                self.ready.set_result(None)
            elif words[0] == b"-ERR":
                raise SystemExit("NATS: " + data[at:end].decode())
            at = end + 2
        self.buffer = data[at:]

    def request(self, subject, body, head=b""):
        """Returns a future of the head and the body of the answer."""
        token = b"%d" % next(self.numbers)
        call = self.waiting[token] = asyncio.get_running_loop().create_future()
        if head:
            head = b"NATS/1.0\r\n" + head + b"\r\n"
            self.transport.write(b"HPUB %s %s.%s %d %d\r\n%s%s\r\n" % (subject, self.inbox, token, len(head), len(head) + len(body), head, body))
        else:
            self.transport.write(b"PUB %s %s.%s %d\r\n%s\r\n" % (subject, self.inbox, token, len(body), body))
        return call

    async def ask(self, subject, body, head=b""):
        answer, content = await self.request(subject, body, head)
        if b"Pyexec-Status: 20" not in answer:
            raise SystemExit("%s: %s %s" % (subject.decode(), answer.decode(), content.decode(errors="replace")[:300]))
        return answer, content


class HttpLink(asyncio.Protocol):
    """A connection to `pyexec serve`, with one request at a time."""

    def __init__(self):
        self.buffer, self.call = b"", None

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if found and len(body) >= int(re.search(rb"Content-Length: (\d+)", head)[1]):
            self.buffer = b""
            self.call.set_result((head, body))

    def connection_lost(self, failure):
        if self.call and not self.call.done():
            self.call.set_exception(failure or ConnectionError("the server has closed the connection"))

    async def ask(self, path, body, token):
        self.call = asyncio.get_running_loop().create_future()
        self.transport.write(b"POST %s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n%s" % (
            path, token, len(body), body))
        head, content = await self.call
        if b" 20" not in head[:13]:
            raise SystemExit("%s: %s %s" % (path.decode(), head.decode(), content.decode(errors="replace")[:300]))
        return head, content


async def dial(kind, port):
    _, link = await asyncio.get_running_loop().create_connection(kind, "127.0.0.1", port)
    if kind is NatsLink:
        await link.ready
    return link


async def keep_busy(senders, seconds):
    """Each sender sends again as soon as it has its answer. Returns the latencies in ms and the answers per second."""
    taken, end = [], time.perf_counter() + seconds

    async def send(sender):
        while (begun := time.perf_counter()) < end:
            await sender()
            taken.append((time.perf_counter() - begun) * 1000)
    begun = time.perf_counter()
    await asyncio.gather(*map(send, senders))
    return taken, len(taken) / (time.perf_counter() - begun)


async def arrive(senders, rate, seconds):
    """Requests arrive at random, `rate` a second, whether earlier ones have ended or not. A latency begins with the arrival: it includes the
    wait for a free sender."""
    free, taken, tasks, loop = asyncio.Queue(), [], set(), asyncio.get_running_loop()
    for sender in senders:
        free.put_nowait(sender)

    async def send(due):
        sender = await free.get()
        await sender()
        taken.append((loop.time() - due) * 1000)
        free.put_nowait(sender)
    begun = due = loop.time()
    for number in itertools.count():
        due += random.expovariate(rate)
        if due > begun + seconds and number > 1:        # there are no quantiles of one
            break
        if (wait := due - loop.time()) > 0:
            await asyncio.sleep(wait)
        task = asyncio.ensure_future(send(due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    return taken, len(taken) / (loop.time() - begun)

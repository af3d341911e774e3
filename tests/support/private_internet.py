# SPDX-License-Identifier: Apache-2.0
"""Network namespaces with servers and a DNS of their own, for the tests of pyexec-egress. Nothing leaves the machine.

    run ──127.0.0.1:3128──▶ pyexec-egress, in `gateway` ──veth──▶ `internet`: the servers, with public addresses, and the DNS (9.9.9.9)

A World is one process with these three namespaces; a socket stays in the namespace in which it was made. Worlds starts it, as root or
as an ordinary user, and calls functions of the test's module in it."""
import array
import ctypes
import json
import os
import resource
import select
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
import traceback
import weakref

import pytest

from conftest import BUILD, sanitizer_options

NEWNS, NEWUSER, NEWNET = 0x00020000, 0x10000000, 0x40000000
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
ORDINARY = 60123
EGRESS_ID = 1900032768
DNS_SERVER = "9.9.9.9"
PATIENCE = 60  # seconds, for anything that must happen
libc = ctypes.CDLL(None, use_errno=True)


def checked(result, what):
    if result != 0:
        raise OSError(ctypes.get_errno(), "%s: %s" % (what, os.strerror(ctypes.get_errno())))


def unshare(flags):
    checked(libc.unshare(flags), "unshare")


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def receive_all(connection):
    """Returns what arrives until the end, also if that is a reset."""
    data = b""
    try:
        while part := connection.recv(65536):
            data += part
    except ConnectionError:
        pass
    return data


class Dns:
    """Answers A and AAAA. `names` maps a name to a list of addresses, or of ("CNAME", name), or to a word, or to a function that
    returns one of these. Words: NXDOMAIN, SERVFAIL, SILENT, TRUNCATED (over UDP; a list follows over TCP)."""
    TYPES = {1: socket.AF_INET, 28: socket.AF_INET6}

    def __init__(self, world, address=DNS_SERVER):
        self.names, self.asked, self.ids = {}, [], []
        self.udp = world.socket("internet", socket.SOCK_DGRAM)
        self.udp.bind((address, 53))
        world.serve(address, 53, self.answer_tcp)
        threading.Thread(target=self.answer_udp, daemon=True).start()

    @staticmethod
    def encode(name):
        return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"

    def answer(self, query, tcp):
        at, labels = 12, []
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode())
            at += 1 + query[at]
        kind = struct.unpack("!H", query[at + 1:at + 3])[0]
        question, name = query[12:at + 5], ".".join(labels).lower()
        self.asked.append(name)
        self.ids.append(query[:2])
        found = self.names.get(name, "NXDOMAIN")
        if callable(found):
            found = found()
        if found == "SILENT":
            return None
        truncated = isinstance(found, tuple) and found[0] == "TRUNCATED" and not tcp
        if isinstance(found, tuple):
            found = found[1]
        code = {"NXDOMAIN": 3, "SERVFAIL": 2}.get(found, 0) if isinstance(found, str) else 0
        records, owner = [], name
        for record in found if isinstance(found, list) and not truncated else []:
            if isinstance(record, tuple):
                data = self.encode(record[1])
                records.append(self.encode(owner) + struct.pack("!HHIH", 5, 1, 0, len(data)) + data)
                owner = record[1]
                continue
            family = socket.AF_INET6 if ":" in record else socket.AF_INET
            if family == self.TYPES.get(kind):
                data = socket.inet_pton(family, record)
                records.append(self.encode(owner) + struct.pack("!HHIH", kind, 1, 0, len(data)) + data)
        return query[:2] + struct.pack("!HHHHH", 0x8180 | code | (0x200 if truncated else 0), 1, len(records), 0, 0) + question + b"".join(records)

    def answer_udp(self):
        while True:
            try:
                query, sender = self.udp.recvfrom(4096)
            except OSError:
                return
            if not query:
                return
            reply = self.answer(query, False)
            if reply:
                self.udp.sendto(reply, sender)

    def answer_tcp(self, connection):
        while length := connection.recv(2):
            query = connection.recv(struct.unpack("!H", length)[0])
            reply = self.answer(query, True)
            if reply:
                connection.sendall(struct.pack("!H", len(reply)) + reply)


class Socket(socket.socket):
    def close(self):
        """Also wakes the thread that waits in accept(2): it would keep the socket, and so the port."""
        try:
            self.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        super().close()


class World:
    def __init__(self, ordinary):
        self.ordinary, self.sockets = ordinary, []
        self.folder = tempfile.mkdtemp(prefix="pyexec-egress-")
        if ordinary:
            os.chown(self.folder, ORDINARY, ORDINARY)
            os.setgroups([])
            os.setresgid(ORDINARY, ORDINARY, ORDINARY)
            os.setresuid(ORDINARY, ORDINARY, ORDINARY)
            libc.prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: /proc/self/uid_map is then this user's
            unshare(NEWUSER)
            write("/proc/self/setgroups", "deny")
            write("/proc/self/uid_map", "0 %d 1" % ORDINARY)
            write("/proc/self/gid_map", "0 %d 1" % ORDINARY)
        unshare(NEWNS | NEWNET)
        checked(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None), "mount")
        self.replace("/etc/resolv.conf", "nameserver %s\nsearch company.example\noptions ndots:5\n" % DNS_SERVER)
        self.replace("/etc/hosts", "127.0.0.1 localhost\n198.51.100.7 documented.example\n127.0.0.1 hosts-file.example\n93.184.216.34 in-hosts.example\n")
        self.spaces = {"gateway": os.open("/proc/self/ns/net", os.O_RDONLY)}
        for name in ("internet", "run"):
            unshare(NEWNET)
            self.spaces[name] = os.open("/proc/self/ns/net", os.O_RDONLY)
            self.ip("link set lo up")
        self.enter("gateway")
        self.ip("link set lo up")
        self.ip("link add gate type veth peer name net")
        self.ip("link set net netns /proc/%d/fd/%d" % (os.getpid(), self.spaces["internet"]))
        for space, link, own, route in (("gateway", "gate", "203.0.114.2/30", "203.0.114.1"), ("internet", "net", "203.0.114.1/30", None)):
            self.enter(space)
            self.ip("addr add %s dev %s" % (own, link))
            self.ip("-6 addr add 2a00:1::%d/64 dev %s nodad" % (2 if route else 1, link))
            self.ip("link set %s up" % link)
            if route:
                self.ip("route add default via %s" % route)
                self.ip("-6 route add default via 2a00:1::1")
        self.public = ["93.184.216.34", "93.184.216.35", "1.1.1.1", DNS_SERVER]
        for address in self.public:
            self.ip("addr add %s/32 dev lo" % address)
        self.ip("-6 addr add 2606:2800:220::1/128 dev lo nodad")
        self.enter("gateway")
        self.dns = Dns(self)
        self.kept = [made() for made in self.sockets if made()]

    def replace(self, path, text):
        own = os.path.join(self.folder, os.path.basename(path))
        write(own, text)
        os.chmod(own, 0o644)
        self.bind(own, path)

    @staticmethod
    def bind(own, path):
        checked(libc.mount(own.encode(), os.path.realpath(path).encode(), None, MS_BIND, None), "mount")

    @staticmethod
    def unbind(path):
        checked(libc.umount2(os.path.realpath(path).encode(), 2), "umount")  # MNT_DETACH

    def clean(self):
        """Closes what a test has left."""
        self.dns.names.clear()
        for made in self.sockets:
            if made() and made() not in self.kept:
                made().close()
        self.sockets = []

    def enter(self, space):
        checked(libc.setns(self.spaces[space], NEWNET), "setns")

    def ip(self, words):
        subprocess.run(["ip"] + words.split(), check=True)

    def socket(self, space, kind=socket.SOCK_STREAM, family=socket.AF_INET):
        self.enter(space)
        made = Socket(family, kind)
        self.enter("gateway")
        self.sockets.append(weakref.ref(made))
        made.settimeout(PATIENCE if kind == socket.SOCK_STREAM else None)
        return made

    def listen(self, address, port, space="internet", backlog=128):
        made = self.socket(space, family=socket.AF_INET6 if ":" in address else socket.AF_INET)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address, port))
        made.listen(backlog)
        made.settimeout(None)
        return made

    def serve(self, address, port, handler, space="internet"):
        """Calls handler(connection) in a thread for each connection. Returns the listener and a list of what was accepted."""
        listener, seen = self.listen(address, port, space), []

        def handle(connection):
            with connection:
                try:
                    handler(connection)
                except OSError:
                    pass

        def accept():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                seen.append(connection)
                connection.settimeout(PATIENCE)
                threading.Thread(target=handle, args=(connection,), daemon=True).start()
        threading.Thread(target=accept, daemon=True).start()
        return listener, seen

    def certificate(self, *names):
        """Returns the path of a file with a key and its own certificate."""
        path = os.path.join(self.folder, "tls.pem")
        if not os.path.exists(path):
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
                            "-subj", "/CN=test", "-addext", "subjectAltName=" + ",".join("DNS:" + name for name in names),
                            "-keyout", path + ".key", "-out", path + ".crt"], check=True, stderr=subprocess.DEVNULL)
            with open(path + ".key") as key, open(path + ".crt") as certificate:
                write(path, key.read() + certificate.read())
        return path


class Proxy:
    """pyexec-egress with one run, as the host starts it."""

    def __init__(self, world, hosts=("a.example", "a.example:80"), watch=None, max_files=None, **settings):
        self.world, self.packets = world, []
        self.log = open(os.path.join(world.folder, "egress.log"), "wb+")
        self.host, end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.host.settimeout(PATIENCE)
        self.program = subprocess.Popen([os.path.join(BUILD, "pyexec-egress")], stdin=end, stdout=subprocess.DEVNULL, stderr=self.log, env=sanitizer_options(),
                                        preexec_fn=lambda: self.prepare(world.ordinary, max_files))
        end.close()
        ids = {} if world.ordinary else {"uid": EGRESS_ID, "gid": EGRESS_ID}
        self.send({"op": "start", **ids, **settings}, *([] if watch is None else [watch]))
        self.first = self.next_packet()
        if self.first["event"] == "ready":
            self.listener = self.open_run(1, hosts)

    def prepare(self, ordinary, max_files):
        if max_files:
            resource.setrlimit(resource.RLIMIT_NOFILE, (max_files, max_files))
        if ordinary:
            self.become_ordinary()

    @staticmethod
    def become_ordinary():
        """Not even root of the user namespace, and without privileges there."""
        unshare(NEWUSER)
        write("/proc/self/setgroups", "deny")
        write("/proc/self/uid_map", "%d 0 1" % ORDINARY)
        write("/proc/self/gid_map", "%d 0 1" % ORDINARY)

    def send(self, packet, *descriptors):
        data = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        self.host.sendmsg([json.dumps(packet).encode()], data)

    def next_packet(self):
        data = self.host.recv(1 << 18)
        assert data, self.errors()
        return json.loads(data)

    def open_run(self, number, hosts):
        listener = self.world.listen("127.0.0.1", 3128 + number - 1, "run")
        self.send({"op": "open", "run": number, "allowed_hosts": list(hosts)}, listener.fileno())
        self.wait_for("opened", number)
        return listener

    def wait_for(self, event, run=1):
        while True:
            for packet in self.packets:
                if packet["event"] == event and packet.get("run") == run:
                    self.packets.remove(packet)
                    return packet
            self.packets.append(self.next_packet())

    def report(self, run=1):
        self.send({"op": "report", "run": run})
        return self.wait_for("report", run)

    def denied(self, run=1):
        """Returns the denials so far, by reason."""
        self.report(run)
        found = [packet for packet in self.packets if packet["event"] == "denied" and packet["run"] == run]
        self.packets = [packet for packet in self.packets if packet not in found]
        return found

    def connect(self, run=1):
        client = self.world.socket("run")
        client.connect(("127.0.0.1", 3128 + run - 1))
        return client

    def ask(self, request, run=1):
        """Sends bytes and returns everything that comes back."""
        with self.connect(run) as client:
            client.sendall(request)
            return receive_all(client)

    def get(self, url, *fields):
        host = url.split("/")[2]
        return self.ask(("GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n" % (url, host, "".join(field + "\r\n" for field in fields))).encode())

    def tunnel(self, target):
        """Returns the connection after CONNECT was answered, and the answer's head."""
        client = self.connect()
        client.sendall(("CONNECT %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (target, target)).encode())
        head = b""
        while b"\r\n\r\n" not in head and (part := client.recv(1)):
            head += part
        return client, head

    def tls(self, target, name=None):
        """Returns a TLS connection through a tunnel. Its certificate is not checked: the proxy does not have the connection's keys."""
        client, head = self.tunnel(target)
        assert head.startswith(b"HTTP/1.1 200 "), head + receive_all(client)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context.wrap_socket(client, server_hostname=name or target.split(":")[0])

    def errors(self):
        self.log.seek(0)
        return self.log.read().decode()

    def close(self):
        """Ends the host's side, and checks that the program ends by itself and without a complaint."""
        self.host.close()
        if getattr(self, "listener", None):
            self.listener.close()
        status = self.program.wait(PATIENCE)
        assert (status, self.errors()) == (0, ""), (status, self.errors())

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is None:
            self.close()
        else:
            self.program.kill()
            self.program.wait()
            self.host.close()
            if getattr(self, "listener", None):     # a program that failed at its start has none
                self.listener.close()
            print(self.errors())


class Worlds:
    """Calls functions in a World, which is a process of its own."""

    def __init__(self, module, ordinary):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if self.pid == 0:
            ours.close()
            status = 1
            try:
                self.work(theirs, module, ordinary)
                status = 0
            finally:
                os._exit(status)
        theirs.close()
        self.socket = ours

    @staticmethod
    def work(end, module, ordinary):
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        world = None
        try:
            world = World(ordinary)
            end.send(b"{}")
            while name := end.recv(4096):
                try:
                    module[name.decode()].body(world)
                    answer = {}
                except BaseException:  # also what pytest raises
                    answer = {"failed": traceback.format_exc()[-30000:]}
                world.clean()
                end.send(json.dumps(answer).encode())
        except Exception:
            end.send(json.dumps({"failed": traceback.format_exc()[-30000:]}).encode())
        finally:
            if world:
                shutil.rmtree(world.folder, ignore_errors=True)

    def result(self):
        if not select.select([self.socket], [], [], 300)[0]:
            raise AssertionError("the world does not answer")
        answer = json.loads(self.socket.recv(1 << 17) or b'{"failed": "the world has ended"}')
        if answer:
            raise AssertionError(answer["failed"])

    def call(self, name):
        self.socket.send(name.encode())
        self.result()

    def close(self):
        self.socket.close()
        os.waitpid(self.pid, 0)


@pytest.fixture(scope="module", params=["root", "ordinary user"])
def worlds(request):
    """For the module that imports it: a World of root's, and one of an ordinary user's."""
    if request.param == "root" and os.getuid() != 0:
        pytest.skip("not root")
    made = Worlds(vars(request.module), request.param == "ordinary user")
    made.result()
    yield made
    made.close()


def inside(body):
    """A test that is called inside of a World."""
    def test(worlds):
        worlds.call(body.__name__)
    test.body, test.__name__, test.__doc__ = body, body.__name__, body.__doc__
    return test

"""Each allocation and each system call of the host fails in turn (tests/support/fault_shim.c): the right result or a clear error.

`pytest` takes strides through the long loops, so that all of them are done in a few minutes; PYEXEC_NIGHTLY=1 makes every
call fail once."""
import errno
import json
import mmap
import os
import select
import socket
import struct
import subprocess
import threading

import pytest

from conftest import BUILD, ROOT

KINDS = ("memory open read write receive send poll map socket pipe fcntl eventfd memfd start wait epoll stat raw "
         "random").split()
ERRORS = {"memory": errno.ENOMEM, "open": errno.EMFILE, "read": errno.EIO, "write": errno.EIO, "receive": errno.ENOMEM,
          "send": errno.ENOMEM, "poll": errno.ENOMEM, "map": errno.ENOMEM, "socket": errno.EMFILE, "pipe": errno.EMFILE,
          "fcntl": errno.EMFILE, "eventfd": errno.EMFILE, "memfd": errno.EMFILE, "start": errno.EAGAIN, "wait": errno.ENOMEM,
          "epoll": errno.ENOMEM, "stat": errno.ENOMEM, "raw": errno.ENOMEM, "random": errno.EIO}
CODES = {"internal", "overloaded", "sandbox_unavailable"}
NIGHTLY = bool(os.environ.get("PYEXEC_NIGHTLY"))
SANITIZED = bool(os.environ.get("SANITIZE"))
pytestmark = pytest.mark.skipif(SANITIZED, reason="a sanitizer has its own malloc")


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("shim") / "shim.so")
    subprocess.run(["gcc", "-O1", "-g", "-w", "-shared", "-fPIC", ROOT + "/tests/support/fault_shim.c", "-o", path, "-ldl"], check=True)
    return path


@pytest.fixture(scope="module")
def host(compile_host):
    return compile_host("capi_faults.c")


# ---- The C API ----

LOOPS = [(scenario, "memory", mode, 1) for scenario in ("once", "error", "session", "later") for mode in ("once", "onward")]
LOOPS += [("cold", "memory", mode, 17) for mode in ("once", "onward")] + [("late", "memory", "once", 5)]
LOOPS += [("cold", "send", mode, 1) for mode in ("once", "onward")]
LOOPS += [(scenario, kind, mode, 1) for kind in KINDS[1:13] + ["stat"] for scenario in ("once", "session", "later")
          for mode in ("once", "onward")]


@pytest.mark.parametrize("scenario,kind,mode,stride", LOOPS, ids=["-".join(map(str, loop[:3])) for loop in LOOPS])
def test_the_c_api(host, shim, nothing_left, scenario, kind, mode, stride):
    done = subprocess.run([host, scenario, str(KINDS.index(kind)), str(ERRORS[kind]), mode, str(1 if NIGHTLY else stride)],
                          env=dict(os.environ, LD_PRELOAD=shim), capture_output=True, text=True, timeout=600)
    print(done.stdout)
    assert done.returncode == 0, done.stdout[:4000] + done.stderr


# ---- Programs: they map a file that has the control block ----

CONTROL = struct.Struct("=IIIIQQQ240s")


class Control:
    def __init__(self, path):
        with open(path, "w+b") as file:
            file.write(bytes(CONTROL.size))
            file.flush()
            self.map = mmap.mmap(file.fileno(), CONTROL.size)
        self.path, self.generation = path, 0

    def arm(self, kind, mode, n):
        self.generation += 1
        self.map[:] = CONTROL.pack(self.generation, KINDS.index(kind), ERRORS[kind], mode == "onward", 0, 0, 0, b"")
        self.map[16:24] = struct.pack("=Q", n)

    def disarm(self):
        self.map[16:24] = bytes(8)
        return struct.unpack("=Q", self.map[32:40])[0]


@pytest.fixture
def control(tmp_path):
    return Control(str(tmp_path / "control"))


class Lines:
    """A client of `pyexec rpc` or `pyexec mcp` that has one request at a time."""
    def __init__(self, command, shim, control):
        environment = dict(os.environ, LD_PRELOAD=shim, FAULT_CONTROL=control.path, PYEXEC_POLICY_PYTHON_BIN="/usr/bin/python3",
                           PYEXEC_HOST_POOL_SIZE="0", PYEXEC_HOST_ZYGOTES="1")
        self.process = subprocess.Popen([os.path.join(BUILD, "pyexec"), command], env=environment, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.number, self.rest = 0, b""

    def ask(self, method, **params):
        self.number += 1
        text = json.dumps({"jsonrpc": "2.0", "id": self.number, "method": method, "params": params})
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()
        while True:
            while b"\n" not in self.rest:
                assert select.select([self.process.stdout], [], [], 60)[0], "no answer to request %d" % self.number
                data = os.read(self.process.stdout.fileno(), 1 << 20)
                assert data, "the process ended"
                self.rest += data
            line, _, self.rest = self.rest.partition(b"\n")
            answer = json.loads(line)
            if "id" in answer:
                assert answer["id"] == self.number, answer
                return answer

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(30) == 0
        self.process.stdout.close()


CODE = "print('x' * 3000)\n{'long': 'y' * 200}"


def without_facts(result):
    return {key: value for key, value in result.items() if key not in ("usage", "session")}


def rpc(client, session):
    answer = client.ask("execute", session_id="s", code=CODE) if session else client.ask("execute_once", code=CODE)
    if "error" in answer:
        assert answer["error"]["data"]["code"] in CODES and answer["error"]["data"]["hint"], answer
        return None
    return without_facts(answer["result"])


def mcp(client, session):
    answer = client.ask("tools/call", name="run_python", arguments=dict({"session_id": "s"} if session else {}, code=CODE))
    if "error" in answer:
        assert answer["error"]["code"] == -32603 and answer["error"]["message"], answer
        return None
    result = answer["result"]
    if "structuredContent" not in result:
        assert result["isError"] and result["content"][0]["text"].split(":")[0] in CODES, answer
        return None
    return dict(without_facts(result["structuredContent"]), content=result["content"][0]["text"].split("\nnote: ")[0])


def loop(client, control, once, kind, mode, stride):
    wanted = {session: once(client, session) for session in (False, True) for _ in range(2)}
    for session in (False, True):
        n = 1
        while True:
            control.arm(kind, mode, n)
            got = once(client, session)
            fired = control.disarm()
            assert got is None and fired or got == wanted[session], (kind, mode, n, got)
            if not fired:
                break
            assert once(client, False) == wanted[False], (kind, mode, n)
            n += stride
        print("%s %s session=%s: %d calls" % (kind, mode, session, n))


# Not read, write and poll: if a server's own input or output fails, the server ends.
SERVER_KINDS = ["open", "receive", "send", "map", "socket", "pipe", "fcntl", "eventfd", "memfd", "stat"]


@pytest.mark.parametrize("mode", ["once", "onward"])
@pytest.mark.parametrize("kind", ["memory", *SERVER_KINDS])
@pytest.mark.parametrize("command", ["rpc", "mcp"])
def test_servers_on_lines(shim, control, nothing_left, command, kind, mode):
    client = Lines(command, shim, control)
    if command == "rpc":
        assert "result" in client.ask("initialize", protocol=1)
    else:
        assert "result" in client.ask("initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo={"name": "t", "version": "1"})
    # When every receive call fails, each run takes 5 seconds: the host waits that long for the report of a child's end.
    loop(client, control, rpc if command == "rpc" else mcp, kind, mode,
         1 if NIGHTLY else 3 if kind == "memory" or (kind, mode) == ("receive", "onward") else 1)
    client.close()


FILES = {"disable_open": False, "allow_readonly_open": False}


def test_the_mount_of_a_workspace_is_of_its_own_request(shim, control, nothing_left, open_folder):
    """Earlier, if the answer with the mount of a folder could not be received, the next request got it, and had another caller's files."""
    for name in "ab":
        (open_folder / name).mkdir()
        (open_folder / name / "name").write_text(name)
    client = Lines("rpc", shim, control)
    client.ask("initialize", protocol=1, policy=FILES)

    def read(name):
        answer = client.ask("execute_once", code="open('name').read()", workspace=str(open_folder / name))
        if "error" in answer:
            assert answer["error"]["data"]["code"] in CODES and answer["error"]["data"]["hint"], answer
            return None
        return answer["result"]["last_value_repr"]
    assert read("a") == "'a'"
    n = failed = 0
    fired = True
    while fired:
        n += 1
        control.arm("receive", "once", n)
        got = read("a")
        fired = control.disarm()
        failed += got is None
        assert got in (None, "'a'") and (fired or got), (n, got)
        assert [read("b"), read("a")] == ["'b'", "'a'"], n
    print("%d receptions, %d failed" % (n, failed))
    assert failed
    client.close()


# ---- The HTTP server ----

def test_nor_is_a_session_s_folder_another_s(shim, control, nothing_left, open_folder):
    """The same for `pyexec serve` with folders below workspace_root."""
    (open_folder / "root").mkdir()
    (open_folder / "conf").write_text("[session]\nworkspace_root = %s/root\nmax_count = 1000\n" % open_folder)
    path = str(open_folder / "socket")
    environment = dict(os.environ, LD_PRELOAD=shim, FAULT_CONTROL=control.path, PYEXEC_POLICY_PYTHON_BIN="/usr/bin/python3")
    with subprocess.Popen([os.path.join(BUILD, "pyexec"), "serve", "--config", str(open_folder / "conf"), "--files", "full",
                           "--listen", "unix:" + path], env=environment, stderr=subprocess.PIPE) as server:
        try:
            assert b"listening" in server.stderr.readline()
            threading.Thread(target=server.stderr.read, daemon=True).start()

            def write(name):
                """A new session writes its name into its folder."""
                answer = post(path, json.dumps({"code": "open('name', 'w').write('%s')" % name}).encode(), "/v1/sessions/%s/execute" % name)
                return answer and answer[0] == 200 and answer[1]["status"] == "ok"
            assert write("first")
            n = failed = 0
            fired = True
            while fired:
                n += 1
                control.arm("receive", "once", n)
                failed += not write("a%d" % n)
                fired = control.disarm()
                assert write("b%d" % n)
                for file in open_folder.glob("root/**/name"):
                    assert file.read_text() == file.parent.name, n
                assert len(list(open_folder.glob("root/**/b%d/name" % n))) == 1, n
            print("%d receptions, %d failed" % (n, failed))
            assert failed
        finally:
            server.terminate()
            assert server.wait(60) == 0


def post(path, body, route="/v1/execute"):
    """Returns the status and the JSON of the answer; None if the connection was closed without an answer."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(path)
        client.sendall(b"POST %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
                       % (route.encode(), len(body), body))
        data = b""
        try:
            while part := client.recv(65536):
                data += part
        except ConnectionResetError:
            return None
    head, _, rest = data.partition(b"\r\n\r\n")
    return (int(head.split()[1]), json.loads(rest)) if rest else None


@pytest.mark.parametrize("mode", ["once", "onward"])
@pytest.mark.parametrize("kind", ["memory", *SERVER_KINDS])
def test_the_http_server(shim, control, nothing_left, open_folder, kind, mode):
    path = str(open_folder / "socket")
    environment = dict(os.environ, LD_PRELOAD=shim, FAULT_CONTROL=control.path, PYEXEC_POLICY_PYTHON_BIN="/usr/bin/python3")
    server = subprocess.Popen([os.path.join(BUILD, "pyexec"), "serve", "--listen", "unix:" + path], env=environment,
                              stderr=subprocess.PIPE)
    assert b"listening" in server.stderr.readline()
    threading.Thread(target=server.stderr.read, daemon=True).start()
    body = json.dumps({"code": CODE}).encode()
    status, answer = post(path, body)
    assert status == 200
    wanted, n, closed = without_facts(answer), 1, 0
    while True:
        control.arm(kind, mode, n)
        got = post(path, body)
        fired = control.disarm()
        closed += got is None
        assert fired or got, n
        if got and got[0] == 200:
            assert without_facts(got[1]) == wanted, (n, got)
        elif got:
            assert got[1]["code"] in CODES and got[1]["hint"], (n, got)
        status, answer = post(path, body)
        assert status == 200 and without_facts(answer) == wanted, (n, answer)
        if not fired:
            break
        n += 1 if NIGHTLY or kind != "memory" else 3
    print("%s %s: %d calls; %d connections closed without an answer" % (kind, mode, n, closed))
    server.terminate()
    assert server.wait(30) == 0


# ---- One run of the program, from its first allocation on ----

# Some of these calls only make a run faster, so their failure may not change the result.
@pytest.mark.parametrize("mode", ["once", "onward"])
@pytest.mark.parametrize("kind", ["memory", "open", "read", "receive", "send", "poll", "map", "socket", "pipe", "fcntl", "eventfd", "memfd"])
def test_the_program(shim, control, nothing_left, kind, mode):
    environment = dict(os.environ, LD_PRELOAD=shim, FAULT_CONTROL=control.path, PYEXEC_POLICY_PYTHON_BIN="/usr/bin/python3")
    n = 1
    while True:
        control.arm(kind, mode, n)
        done = subprocess.run([os.path.join(BUILD, "pyexec"), "run", "--json", "-c", CODE], env=environment,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        fired = control.disarm()
        if done.returncode == 0:
            result = json.loads(done.stdout)
            assert (result["status"], result["stdout"], result["last_value_repr"]) == (
                "ok", "x" * 3000 + "\n", repr({"long": "y" * 200})), (n, done)
        else:
            assert done.returncode == 125 and fired, (n, done)
            error = json.loads(done.stdout) if done.stdout else {"hint": done.stderr}
            assert error["hint"] and (kind != "memory" or "memory" in done.stdout + done.stderr), (n, done)
        if not fired:
            break
        n += 1 if NIGHTLY or kind != "memory" else 23
    print("%s %s: %d calls" % (kind, mode, n))

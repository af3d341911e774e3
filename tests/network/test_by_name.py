# SPDX-License-Identifier: Apache-2.0
"""Runs with allowed_hosts, with a stand-in for the proxy: what a script can do, what the result says, and that nothing is left. With the
real proxy, servers and clients: test_by_name_clients.py."""
import json
import os
import shutil
import signal
import socket
import subprocess
import time

import pytest

import conftest
import stores
from conftest import BUILD, ROOT, Program
from library import Executor, Failure
from test_escape import read
from waiting import wait_until

STAND_IN = os.path.join(ROOT, "tests", "support", "stand_in_proxy.py")
HOSTS = ["a.example", "x.stop.example", "*.b.example:8443"]
POLICY = {"allowed_hosts": HOSTS, "use_import_whitelist": False, "banned_imports": [], "timeout_ms": 30000, "cpu_time_seconds": 20}
FLAGS = ["--allow-host", ",".join(HOSTS), "--any-import", "--timeout", "30s", "--cpu-time-seconds", "20"]
ASK = """
import os, socket
def ask(host, text=b"hello"):
    s = socket.socket()
    s.settimeout(20)
    s.connect(("127.0.0.1", 3128))
    s.sendall(b"CONNECT %s HTTP/1.1\\r\\n\\r\\n" % host.encode())
    head = s.recv(1000)
    if b" 200 " not in head:
        return head.split(b"\\r\\n")[0].decode()
    s.sendall(text)
    return s.recv(1000).decode()
"""


@pytest.fixture(scope="module")
def stand_in(_copy):
    """The folder with the stand-in, for a fixture's program."""
    made = {}

    def with_stand_in(program):
        folder = os.path.join(program.folder, "stand-in")
        if folder not in made:
            os.mkdir(folder)
            for name in os.listdir(program.folder):
                if os.path.isfile(os.path.join(program.folder, name)):
                    shutil.copy(os.path.join(program.folder, name), folder)
            shutil.copy(STAND_IN, os.path.join(folder, "pyexec-egress"))
            os.chmod(os.path.join(folder, "pyexec-egress"), 0o755)
            os.chmod(folder, 0o755)
            made[folder] = True
        return Program(folder, program.uid)
    yield with_stand_in
    for folder in made:
        shutil.rmtree(folder)


def executor(program, policy=POLICY, **keywords):
    if program.uid != os.getuid():
        keywords.update(user=program.uid, group=program.uid, extra_groups=[])
    return Executor(policy, program=program.path, cwd="/", **keywords)


def proxies_of(pid):
    """The ids of the stand-ins that this process has started."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/stat" % name) as file:
                parent = int(file.read().rsplit(")", 1)[1].split()[1])
            with open("/proc/%s/cmdline" % name, "rb") as file:
                if parent == pid and b"pyexec-egress" in file.read():
                    found.append(int(name))
        except OSError:
            pass
    return found


def value(result):
    assert result["status"] == "ok", (result["error_repr"], result)
    return eval(result["last_value_repr"])


def test_the_doctor_starts_the_proxy_and_says_what_it_lacks(any_pyexec, stand_in, nothing_left):
    def found(program):
        done = program.run("doctor", "--json")
        return json.loads(done.stdout)["details"]["network_by_name"]
    program = stand_in(any_pyexec)
    assert found(program) == "works"
    proxy = os.path.join(program.folder, "pyexec-egress")
    os.rename(proxy, proxy + ".away")
    try:
        assert found(program) == ("does not work: allowed_hosts: the proxy for the network by name is not installed: "
                                  "the program pyexec-egress is missing")
    finally:
        os.rename(proxy + ".away", proxy)


@pytest.mark.skipif(not os.path.exists(os.path.join(BUILD, "pyexec-egress")), reason="the build has no pyexec-egress")
def test_the_doctor_tries_the_settings_and_names_the_one_that_fails(pyexec, open_folder, nothing_left):
    def found(**variables):
        done = pyexec.run("doctor", "--json", env={**os.environ, **{"PYEXEC_EGRESS_" + name.upper(): str(value) for name, value in variables.items()}})
        return json.loads(done.stdout)["details"]["network_by_name"]
    os.chmod(open_folder, 0o755)
    secrets, value_file = open_folder / "secrets.json", open_folder / "value"
    for path, text in ((value_file, "0123456789abcdef\n"),
                       (secrets, json.dumps({"secrets": {"key": {"variable": "KEY", "host": "a.example", "header": "X: {}", "file": str(value_file)}}}))):
        path.write_text(text)
        os.chmod(path, 0o600)
        os.chown(path, pyexec.uid, pyexec.uid)
    assert found() == found(ca_file="/etc/ssl/certs/ca-certificates.crt", upstream="http://u:p@proxy.example:3128", allow_private="10.0.0.0/8", secrets=secrets) == "works"
    for name, bad in (("upstream", "socks5://proxy.example:1080"), ("ca_file", open_folder / "nothing.pem"), ("secrets", open_folder / "nothing.json")):
        answer = found(**{name: bad})
        assert answer.startswith("does not work: ") and name in answer, answer
    value_file.write_text("short")
    answer = found(secrets=secrets)
    assert answer.startswith("does not work: [egress] secrets: 'key' can't be used: ") and "0123" not in answer, answer


@pytest.mark.skipif(not os.path.exists(os.path.join(BUILD, "pyexec-egress")), reason="the build has no pyexec-egress")
def test_the_doctor_of_rpc_tries_what_initialize_was_given(pyexec, open_folder):
    """[egress], also a secret whose value came by a variable that is gone by then; [host]; and the folder of environments."""
    os.chmod(open_folder, 0o755)
    secrets = open_folder / "secrets.json"
    secrets.write_text(json.dumps({"secrets": {"key": {"variable": "KEY", "host": "a.example", "header": "X: {}", "environment": "KEY_VALUE"}}}))
    os.chmod(secrets, 0o600)
    os.chown(secrets, pyexec.uid, pyexec.uid)
    store = stores.HandMadeStore(open_folder / "environments")
    store.add("data", {"tool": "VERSION = 1\n"})

    def found(egress, **more):
        lines = [{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocol": 1, "egress": egress, **more}},
                 {"jsonrpc": "2.0", "id": 2, "method": "doctor"}]
        done = pyexec.run("rpc", "--drain", input="".join(json.dumps(line) + "\n" for line in lines), env={**os.environ, "KEY_VALUE": "0123456789abcdef"})
        answers = {answer["id"]: answer for answer in map(json.loads, done.stdout.splitlines())}
        return answers[2]["result"]
    assert found({})["details"]["network_by_name"] == "works"
    assert found({"secrets": str(secrets), "upstream": "http://u:p@proxy.example:3128"})["details"]["network_by_name"] == "works"
    answer = found({"ca_file": str(open_folder / "nothing.pem")})["details"]["network_by_name"]
    assert answer.startswith("does not work: ") and "ca_file" in answer, answer
    assert found({}, host={"zygote_memory": 123456789})["details"]["zygote_memory_bytes"] == 123456789
    report = found({}, env={"root": store.root}, policy={"environment": "data"})
    assert report["ok"] and report["python"]["path"].startswith(store.root), report["python"]


def test_allowed_names_pass_and_others_are_refused_with_a_hint(any_pyexec, stand_in, nothing_left):
    program = stand_in(any_pyexec)
    result = program.result(ASK + "[ask('a.example:443'), ask('evil.example:443'), ask('a.example:80')]", *FLAGS)
    assert value(result) == ["HELLO", "HTTP/1.1 403 Forbidden", "HTTP/1.1 403 Forbidden"]
    denials = [(one["layer"], one["what"], one["hint"]) for one in result["denials"]]
    assert denials == [("network", "request to %s" % host, "allowed_hosts has no entry for %s. Add it there." % host)
                       for host in ("evil.example:443", "a.example:80")]
    result = program.result("import urllib.request\nurllib.request.urlopen('https://evil.example/')", *FLAGS)
    assert "403" in result["error_repr"] and result["error"]["hint"] == "allowed_hosts has no entry for evil.example:443. Add it there.", result
    assert result["denials"][0]["what"] == "request to evil.example:443"


def test_the_audit_log_and_the_metrics_have_hosts_and_bytes(own, stand_in, open_folder):
    from serving import serving
    audit = open_folder / "audit"
    with serving(stand_in(own), *FLAGS, "--audit-log", str(audit)) as server:
        assert value(server.result(ASK + "ask('a.example:443'), ask('evil.example:443')")) == ("HELLO", "HTTP/1.1 403 Forbidden")
        server.result("1")
        text = server.metrics()
    first, second = (json.loads(line) for line in audit.read_text().splitlines())
    rows = {(row["host"], row["port"], row["verdict"], row["sent"], row["received"]) for row in first["network"]}
    assert rows == {("a.example", 443, "allowed", 5, 5), ("evil.example", 443, "denied", 0, 0)} and "network" not in second
    for line in ('connections_total{verdict="allowed"} 1', 'connections_total{verdict="denied"} 1', 'connections_total{verdict="failed"} 0', "sent_bytes_total 5", "received_bytes_total 5"):
        assert "pyexec_network_" + line in text.splitlines(), line


def test_a_script_without_the_proxy_gets_a_hint(own, stand_in):
    program = stand_in(own)
    for code in ("import socket\nsocket.create_connection(('a.example', 443))", "import socket\nsocket.create_connection(('1.1.1.1', 443))",
                 "import socket\nsocket.getaddrinfo('a.example', 443)", "import http.client\nhttp.client.HTTPSConnection('a.example').request('GET', '/')"):
        result = program.result(code, *FLAGS)
        assert result["status"] == "error" and all(word in result["error"]["hint"] for word in ("allowed_hosts", "HTTPS_PROXY", "trust_env=True")), result
        assert result["denials"][0]["layer"] == "network", result
    result = program.result("import socket\ns = socket.socket()\ns.bind(('127.0.0.1', 9))", *FLAGS)
    assert result["status"] == "error" and result["denials"], result


VARIABLES = {"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "WS_PROXY", "ws_proxy", "WSS_PROXY", "wss_proxy"}
FILES = {"SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PIP_CERT"}


def test_the_variables_and_the_authorities_are_those_of_the_run_alone(pyexec, stand_in, nothing_left):
    program = stand_in(pyexec)
    code = "import os\n{k: v for k, v in os.environ.items() if 'prox' in k.lower() or 'CERT' in k or 'CA_' in k}"
    found = value(program.result(code, *FLAGS))
    assert {name for name in found if found[name] == "http://127.0.0.1:3128"} == VARIABLES and found["no_proxy"] == found["NO_PROXY"] == ""
    assert {name for name in found if found[name] == "/etc/ssl/certs/ca-certificates.crt"} == FILES and len(found) == 16
    assert value(program.result(code, "--any-import")) == {}
    with executor(program) as host:
        for name in (*VARIABLES, *FILES, "NO_PROXY"):
            with pytest.raises(Failure) as failure:
                host.call(None, "1", env={name: "x"})
            assert failure.value.code == "invalid_request" and name in failure.value.message and failure.value.hint, failure.value
    assert value(program.result("import os\nos.environ['HTTP_PROXY']", "--any-import", "--env", "HTTP_PROXY=http://mine")) == "http://mine"
    count = value(program.result("import ssl, os\nlen(ssl.create_default_context().get_ca_certs())", *FLAGS))
    with open("/etc/ssl/certs/ca-certificates.crt") as file:
        assert 0 < count <= file.read().count("BEGIN CERTIFICATE")


# What must not open, as native code tries it: (a name, an expression that is not negative when it opened).
_, PRELUDE = read("prelude")
ATTEMPTS = PRELUDE + r"""
import socket as S, struct, errno
def address(host, port):
    return struct.pack("=HH4s8x", 2, S.htons(port), S.inet_aton(host))
def tcp():
    return libc.socket(2, 1, 0)
def connect(host, port, size=16):
    s = tcp()
    r = libc.connect(s, address(host, port), size)
    e = ctypes.get_errno()
    libc.close(s)
    print("  errno", e if r < 0 else 0)
    return r
for family in range(0, 47):
    for kind in (1, 2, 3, 4, 5, 6, 10):
        for flags in (0, 0o4000 | 0o2000000):
            if (family, kind) != (2, 1):
                tried("socket %d %d %d" % (family, kind, flags), libc.socket(family, kind | flags, 0))
for protocol in (1, 2, 17, 33, 132, 136, 255, 256, 262):
    tried("socket protocol %d" % protocol, libc.socket(2, 1, protocol))
for port in [1, 22, 80, 443, 3127, 3129, 8080, 65535, int(os.environ["HOST_PORT"])]:
    for host in ("127.0.0.1", "127.0.0.2", "127.255.255.254", "0.0.0.0"):
        tried("connect %s:%d" % (host, port), connect(host, port))
for host in ("10.0.0.1", "169.254.169.254", "192.168.0.1", "172.17.0.1", "93.184.216.34", "1.1.1.1", "224.0.0.1", "255.255.255.255", os.environ["HOST_ADDRESS"]):
    for port in (3128, 80, 53):
        tried("connect %s:%d" % (host, port), connect(host, port))
s = tcp()
tried("bind", libc.bind(s, address("127.0.0.1", 0), 16))
tried("bind any", libc.bind(s, address("0.0.0.0", 7777), 16))
tried("bind v6 size", libc.bind(s, address("0.0.0.0", 7777).ljust(28, b"\0"), 28))
tried("listen", libc.listen(s, 5))
tried("accept", libc.accept(s, None, None))
tried("accept4", libc.accept4(s, None, None, 0))
tried("fast open", libc.sendto(s, b"x", 1, 0x20000000, address("127.0.0.1", 3128), 16))
tried("sendto other", libc.sendto(s, b"x", 1, 0, address("127.0.0.1", 80), 16))
for level, option in ((6, 23), (6, 30), (6, 31), (6, 33), (6, 13), (6, 14), (6, 35), (0, 19), (0, 24), (0, 20), (0, 35), (1, 25), (1, 36), (1, 26), (1, 50), (1, 62), (41, 26), (263, 1), (255, 1)):
    tried("setsockopt %d %d" % (level, option), libc.setsockopt(s, level, option, struct.pack("=i", 1), 4))
tried("bound to a device", libc.setsockopt(s, 1, 25, b"lo\0\0", 4))
tried("connect IPv6 size", libc.connect(s, struct.pack("=HHI16sI", 10, S.htons(3128), 0, S.inet_pton(S.AF_INET6, "::1"), 0), 28))
tried("connect UNIX", libc.connect(s, b"\1\0/run/x" + bytes(102), 110))
pair = (ctypes.c_int * 2)()
libc.socketpair(1, 1, 0, pair)
for size in (2, 3, 16, 110):
    tried("pair to abstract %d" % size, libc.connect(pair[0], (b"\1\0\0" + os.environ["ABSTRACT"].encode()).ljust(110, b"\0"), size))
r = libc.connect(s, struct.pack("=HH4s8x", 0, 0, bytes(4)), 16)     # AF_UNSPEC only disconnects
tried("after AF_UNSPEC", libc.connect(s, address("127.0.0.1", 80), 16))
for number in (425, 426, 427, 206, 272, 308, 310, 311, 434, 438, 321):
    if number in (425, 426, 427, 206):
        tried("call %d" % number, sc(number, 8, 0, 0, 0, 0, 0))
import fcntl
for request in (0x8913, 0x8914, 0x8915, 0x8916, 0x8933, 0x890b, 0x8955, 0x89f0):
    tried("ioctl %x" % request, libc.ioctl(s, ctypes.c_ulong(request), ctypes.create_string_buffer(b"lo", 64)))
tried("sendmmsg", sc(307, s, 0, 0, 0))
tried("recvmmsg", sc(299, s, 0, 0, 0, 0))
"""
NATIVE = ["--files", "read", "--max-open-files", "64"]


@pytest.fixture(scope="module")
def listeners():
    """What a script could look for outside: a port on every address of the host, and an abstract name."""
    server, name = socket.create_server(("0.0.0.0", 0)), "pyexec-by-name-%d" % os.getpid()
    abstract = socket.socket(socket.AF_UNIX)
    abstract.bind("\0" + name)
    abstract.listen()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))      # sends nothing; the kernel only chooses the address
            address = probe.getsockname()[0]
        except OSError:
            address = "127.0.0.1"
    with server, abstract:
        yield ["--env", "HOST_PORT=%d" % server.getsockname()[1], "--env", "ABSTRACT=" + name, "--env", "HOST_ADDRESS=" + address]


@pytest.mark.parametrize("killed", [False, True], ids=["with the proxy", "with the proxy killed"])
def test_nothing_else_opens(any_pyexec, stand_in, listeners, killed, nothing_left):
    program = stand_in(any_pyexec)
    kill = ASK + "try: ask('x.stop.example:443')\nexcept OSError: pass\n" if killed else ""
    after = "" if not killed else r"""
import time
for i in range(1000):
    r = connect("127.0.0.1", 3128)
    if r < 0: break
    time.sleep(0.02)
tried("the proxy that was killed", r)
"""
    result = program.result(kill + ATTEMPTS + after, *FLAGS, *NATIVE, *listeners)
    assert result["status"] == "ok", (result["error_repr"], result["stdout"][-500:])
    lines = result["stdout"].splitlines()
    assert not [line for line in lines if line.startswith("ESCAPED")], [line for line in lines if line.startswith("ESCAPED")]
    assert sum(line.startswith("held") for line in lines) > 700, len(lines)


def test_a_neighbours_listener_is_out_of_reach(own, stand_in, nothing_left):
    """Two runs at the same time have the same address and port, and each reaches its own: the report of one never has the other's."""
    with executor(stand_in(own)) as host:
        for name in ("one", "two"):
            host.call(name, ASK + "kept = socket.create_connection(('127.0.0.1', 3128))\n")
        assert value(host.call("one", "ask('evil-1.example:443')"))
        result = host.call("two", "ask('evil-2.example:443')")
        assert [denial["what"] for denial in result["denials"]] == ["request to evil-2.example:443"], result["denials"]
        assert host.call("one", "1")["denials"] == []


def test_a_session_keeps_its_network_and_each_call_has_its_own_denials(pyexec, stand_in, nothing_left):
    with executor(stand_in(pyexec)) as host:
        assert value(host.call("s", ASK + "ask('a.example:443')")) == "HELLO"
        result = host.call("s", "open_one = socket.create_connection(('127.0.0.1', 3128)); ask('evil.example:443')")
        assert value(result) == "HTTP/1.1 403 Forbidden" and len(result["denials"]) == 1
        result = host.call("s", "open_one.sendall(b'CONNECT a.example:443 HTTP/1.1\\r\\n\\r\\n'); open_one.recv(100)")
        assert value(result).startswith(b"HTTP/1.1 200") and result["denials"] == []
        with pytest.raises(Failure) as failure:
            host.call("s", "1", policy={"allowed_hosts": ["c.example"]})
        assert "allowed_hosts" in failure.value.message


def test_a_killed_proxy_ends_connections_and_the_next_call_starts_another(pyexec, stand_in, nothing_left):
    with executor(stand_in(pyexec)) as host:
        assert value(host.call("s", ASK + "ask('a.example:443')")) == "HELLO"
        assert value(host.call("t", ASK + "held = socket.create_connection(('127.0.0.1', 3128)); held.settimeout(30); 1")) == 1
        first, = proxies_of(host.pid)
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: not os.path.exists("/proc/%d" % first))
        assert value(host.call("s", "ask('a.example:443')")) == "HELLO"
        second, = (pid for pid in proxies_of(host.pid) if conftest.is_alive(pid))
        assert second != first
        # The connection from before has ended, and the session can make others.
        result = host.call("t", "try: data = held.recv(10)\nexcept OSError: data = b''\ndata, ask('a.example:443')")
        assert value(result) == (b"", "HELLO")
        # It ends during a call: this call gets errors, at once, and the next one works.
        result = host.call("t", "def attempt():\n    try: return ask('a.example:443')\n    except OSError as e: return type(e).__name__\n"
                           "try: ask('x.stop.example:443')\nexcept OSError: pass\nimport time\n"
                           "while (got := attempt()) == 'HELLO' or got == '': time.sleep(0.02)\ngot")
        assert "Error" in value(result), result
        assert value(host.call("t", "ask('a.example:443')")) == "HELLO"
        assert value(host.call(None, ASK + "ask('a.example:443')")) == "HELLO"


def fds_of(pid):
    return len(os.listdir("/proc/%d/fd" % pid))


def test_runs_from_the_pool_and_sessions_leave_nothing(pyexec, stand_in, nothing_left):
    with executor(stand_in(pyexec), host={"pool_size": 2, "pool_idle": 1000}) as host:
        assert host.call(None, "1", policy={"allowed_hosts": []})["status"] == "ok"
        for _ in range(3):
            assert value(host.call(None, ASK + "ask('a.example:443')")) == "HELLO"
        host.call("s", "1")
        host._do("close_session", session_id="s")
        proxy, = proxies_of(host.pid)

        def settled():
            return fds_of(host.pid), fds_of(proxy)
        wait_until(lambda: settled() == (time.sleep(1.2), settled())[1])
        before = settled()
        for i in range(12):
            assert value(host.call(None, ASK + "ask('a.example:443')")) == "HELLO"
            if i % 4 == 0:
                host.call("s%d" % i, ASK + "kept = socket.create_connection(('127.0.0.1', 3128))")
                host._do("close_session", session_id="s%d" % i)
        wait_until(lambda: all(now <= was for now, was in zip(settled(), before)))
        assert proxies_of(host.pid) == [proxy]
    wait_until(lambda: not conftest.is_alive(proxy))


def test_other_runs_start_no_proxy(own, stand_in):
    with executor(stand_in(own), policy={}) as host:
        assert host.call(None, "1")["status"] == "ok" and proxies_of(host.pid) == []


def test_a_layer_that_is_missing_is_named(bare, stand_in):
    program = stand_in(bare)
    for layer in ("network_namespace", "mount_namespace", "seccomp"):
        error = program.error("1", *FLAGS, "--allow-missing", layer)
        assert error["code"] == "sandbox_unavailable" and "allowed_hosts" in error["message"] and "'%s'" % layer in error["message"] and error["hint"], error


def zygotes_of(pid):
    """The ids of the zygotes below this process; children of runs have the same command line, and a zygote as their parent."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/cmdline" % name, "rb") as file:
                if b"pyexec_guest" in file.read():
                    found.append(int(name))
        except OSError:
            pass
    return [one for one in found if pid in ancestors(one)]


def ancestors(pid):
    found = []
    while pid > 1:
        try:
            with open("/proc/%d/stat" % pid) as file:
                pid = int(file.read().rsplit(")", 1)[1].split()[1])
        except OSError:
            break
        found.append(pid)
    return found


def test_a_zygote_that_is_started_again_must_have_the_layers_too(pyexec, stand_in, nothing_left):
    """A setting of the kernel changes while pyexec runs, and the operator has allowed that the layer is missing."""
    if pyexec.uid == 0:
        pytest.skip("root needs no permission for namespaces; the ordinary user's case shows it")
    program = stand_in(pyexec)
    with executor(program, prefix=["unshare", "-Ur"], host={"allow_missing": ["network_namespace"], "zygotes": 1, "pool_size": 0}) as host:
        result = host.call(None, ASK + "ask('a.example:443')")
        assert value(result) == "HELLO" and result["missing_layers"] == []
        subprocess.run(["nsenter", "--user", "--target", str(host.pid), "sh", "-c", "echo 0 > /proc/sys/user/max_net_namespaces"], check=True)
        for zygote in zygotes_of(host.pid):
            os.kill(zygote, signal.SIGKILL)
        for _ in range(2):
            with pytest.raises(Failure) as failure:
                host.call(None, "1")
            assert failure.value.code == "sandbox_unavailable" and "'network_namespace'" in failure.value.message, failure.value
        assert host.call(None, "1", policy={"allowed_hosts": []})["missing_layers"] == ["network_namespace"]


def test_a_proxy_that_does_not_start_is_said(own, stand_in, nothing_left):
    program = stand_in(own)
    path = os.path.join(program.folder, "pyexec-egress")
    os.rename(path, path + "-away")
    try:
        error = program.error("1", *FLAGS)
        assert error["code"] == "sandbox_unavailable" and "pyexec-egress is missing" in error["message"] and "doctor" in error["hint"], error
        with open(path, "w") as file:
            file.write("#!/bin/sh\necho no luck today >&2\nexit 1\n")
        os.chmod(path, 0o755)
        error = program.error("1", *FLAGS)
        assert error["code"] == "sandbox_unavailable" and "no luck today" in error["message"], error
        assert program.result("1")["status"] == "ok"
    finally:
        os.rename(path + "-away", path)


def test_a_run_that_the_proxy_can_not_serve_does_not_begin(pyexec, stand_in, open_folder, nothing_left):
    """And it does not wait until its timeout for a proxy that does not answer."""
    os.chmod(open_folder, 0o777)
    program = stand_in(pyexec)
    with executor(program) as host:
        for session in (None, "s"):
            with pytest.raises(Failure) as failure:
                host.call(session, ASK + "ask('a.example:443')", policy={"allowed_hosts": ["a.example", "x.refused.example"]})
            assert failure.value.code == "sandbox_unavailable", failure.value
            assert "allowed_hosts" in failure.value.message and "too many runs are open" in failure.value.message and failure.value.hint
        assert value(host.call(None, ASK + "ask('a.example:443')")) == "HELLO"
        assert value(host.call("t", ASK + "ask('a.example:443')")) == "HELLO"


def test_what_can_not_be_together(own, stand_in):
    with executor(stand_in(own)) as host:
        for policy, word in (({"forkable": True}, "forkable"), ({"auto_checkpoint": True}, "auto_checkpoint"), ({"disable_networking": False, "allowed_hosts": HOSTS}, "disable_networking")):
            with pytest.raises(Failure) as failure:
                host.create("f", policy=policy)
            assert failure.value.code == "invalid_policy" and word in failure.value.message and failure.value.hint
        with pytest.raises(Failure) as failure:
            host._do("verify", solution="def f(): pass", tests=[{"code": "f()"}])
        assert "allowed_hosts" in failure.value.message

# SPDX-License-Identifier: Apache-2.0
"""Clients of HTTP, unmodified, in runs with allowed_hosts: over the real proxy, to real TLS servers with test names. The operator's
[egress] ca_file has the servers' authority."""
import base64
import hashlib
import io
import json
import os
import ssl
import subprocess
import zipfile

import pytest

import environments
from conftest import BUILD, ROOT, sanitizer_options
from private_internet import PATIENCE, Proxy, inside, worlds  # noqa: F401 (a fixture)

pytestmark = pytest.mark.skipif(not os.path.exists(os.path.join(BUILD, "pyexec-egress")), reason="the build has no pyexec-egress")
SITE, SETTINGS = "93.184.216.34", {}
NAMES = ("a.example", "www.b.example", "index.example")
HOSTS = "a.example,a.example:80,*.b.example:8443,index.example"


@pytest.fixture(scope="module")
def python(session_folder):
    """A Python with the clients, where every user can read it."""
    folder = session_folder / "clients"
    made = environments.copy(environments.kept("network-clients", os.path.join(ROOT, "tests/network/requirements.txt")), folder)
    subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
    return made


@pytest.fixture(scope="module", autouse=True)
def settings(own, python):
    """What the process of a World inherits."""
    SETTINGS.update(program=own.path, python=str(python))


def wheel():
    """A package with one module."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("tiny_by_name.py", "answer = 42\n")
        archive.writestr("tiny_by_name-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-by-name\nVersion: 1.0\n")
        archive.writestr("tiny_by_name-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("tiny_by_name-1.0.dist-info/RECORD", "")
    return content.getvalue()


WHEEL = wheel()


def read_head(connection):
    head = b""
    while b"\r\n\r\n" not in head and (part := connection.recv(1)):
        head += part
    return head.decode()


def answer(connection, kind, body):
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n" % (kind, len(body)) + body)


def echo_websocket(connection, head):
    key = next(line.split(": ")[1] for line in head.split("\r\n") if line.lower().startswith("sec-websocket-key"))
    accept = base64.b64encode(hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
    connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n" % accept)
    frame = connection.recv(2)
    mask, data = connection.recv(4), connection.recv(frame[1] & 127)
    text = bytes(byte ^ mask[i % 4] for i, byte in enumerate(data)).upper()
    connection.sendall(bytes((frame[0], len(text))) + text)
    connection.recv(1000)


def serve_requests(connection):
    while head := read_head(connection):
        path = head.split(" ")[1]
        if "upgrade: websocket" in head.lower():
            return echo_websocket(connection, head)
        if path == "/simple/tiny-by-name/":
            answer(connection, b"text/html", b'<a href="/tiny_by_name-1.0-py3-none-any.whl">tiny_by_name-1.0-py3-none-any.whl</a>')
        elif path.endswith(".whl"):
            answer(connection, b"application/octet-stream", WHEEL)
        else:
            answer(connection, b"text/plain", ("hello from " + path).encode())


def start_servers(world):
    """The TLS servers, and one without TLS on port 80."""
    if SITE not in map(str, world.dns.names.get("a.example", ())):     # the world ends servers and forgets names after each test
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(world.certificate(*NAMES))

        def secure(connection):
            with context.wrap_socket(connection, server_side=True) as tls:
                tls.settimeout(PATIENCE)
                serve_requests(tls)
        for port, handler in ((443, secure), (8443, secure), (80, serve_requests)):
            world.serve(SITE, port, handler)
    for name in NAMES + ("evil.example",):
        world.dns.names[name] = [SITE]


def run(world, code, hosts=HOSTS, ca=True):
    """Executes the code in a run with these hosts, and returns the result."""
    start_servers(world)
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "PYEXEC_HOST_POOL_SIZE": "0", **sanitizer_options()}
    if ca:
        environment["PYEXEC_EGRESS_CA_FILE"] = world.certificate(*NAMES) + ".crt"
    done = subprocess.run([SETTINGS["program"], "run", "--json", "--any-import", "--python-bin", SETTINGS["python"], "--isolate-site=false", "--files", "full",
                           "--address-space-bytes", "none", "--max-open-files", "64", "--timeout", "60s", "--cpu-time-seconds", "60", "--allow-host", hosts, "-c", code],
                          env=environment, cwd="/", capture_output=True, timeout=120, preexec_fn=Proxy.become_ordinary if world.ordinary else None)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return json.loads(done.stdout)


def value(result):
    assert result["status"] == "ok", (result["error_repr"], result["error"])
    assert not [denial for denial in result["denials"] if denial["layer"] == "network"], result["denials"]
    return eval(result["last_value_repr"])


@inside
def test_urllib_requests_and_httpx(world):
    assert value(run(world, """
import urllib.request, requests, httpx
urls = ["https://a.example/one", "http://a.example/two", "https://www.b.example:8443/three"]
[urllib.request.urlopen(u).read().decode() for u in urls] + [requests.get(u).text for u in urls] + [httpx.get(u).text for u in urls]""")) == \
        ["hello from /one", "hello from /two", "hello from /three"] * 3


@inside
def test_aiohttp_with_trust_env_and_websockets(world):
    assert value(run(world, """
import aiohttp, websockets, websockets.sync.client
async def ask():
    async with aiohttp.ClientSession(trust_env=True) as session:
        async with session.get("https://a.example/one") as answer:
            found = [await answer.text()]
        async with session.ws_connect("wss://a.example/ws") as ws:
            await ws.send_str("shout")
            found.append((await ws.receive()).data)
    async with websockets.connect("wss://www.b.example:8443/ws") as ws:
        await ws.send("louder")
        found.append(await ws.recv())
    with websockets.sync.client.connect("wss://a.example/ws") as ws:
        ws.send("sync")
        found.append(ws.recv())
    return found
await ask()""")) == ["hello from /one", "SHOUT", "LOUDER", "SYNC"]


@inside
def test_pip_installs_from_an_index(world):
    assert value(run(world, """
import sys
from pip._internal.cli.main import main
status = main(["install", "-q", "--disable-pip-version-check", "--no-cache-dir", "--no-input", "--no-compile", "--target", "out", "--index-url", "https://index.example/simple/", "tiny-by-name"])
sys.path.append("out")
import tiny_by_name
status, tiny_by_name.answer""")) == (0, 42)


@inside
def test_a_refused_host_is_named_by_each_client(world):
    result = run(world, """
import requests, httpx, urllib.request, aiohttp
found = []
for ask in (requests.get, httpx.get, urllib.request.urlopen):
    try: ask("https://evil.example/")
    except Exception as error: found.append("403" in str(error))
    found.append(ask is urllib.request.urlopen or ask("http://evil.example/").status_code)
async def with_aiohttp(**how):
    async with aiohttp.ClientSession(**how) as session:
        try:
            async with session.get("https://evil.example/") as answer: return answer.status
        except Exception as error: return str(error)
found.append("403" in str(await with_aiohttp(trust_env=True)))
found""")
    assert result["status"] == "ok" and eval(result["last_value_repr"]) == [True, 403, True, 403, True, True, True], result
    whats = {denial["what"] for denial in result["denials"]}
    assert whats == {"request to evil.example:443", "request to evil.example:80"} and all("allowed_hosts" in denial["hint"] for denial in result["denials"]), result["denials"]
    result = run(world, "import requests\nrequests.get('https://evil.example/')")
    assert "evil.example" in result["error"]["hint"] and "allowed_hosts" in result["error"]["hint"], result["error"]
    result = run(world, "import aiohttp\nasync def f():\n    async with aiohttp.ClientSession() as s: await s.get('https://a.example/')\nawait f()")
    assert result["status"] == "error" and "trust_env=True" in str(result["error"]["hint"]), (result["error"], result["denials"])


@inside
def test_without_the_operators_authority_the_certificate_is_not_trusted(world):
    result = run(world, """
import requests, httpx, urllib.request
found = []
for ask in (requests.get, httpx.get, urllib.request.urlopen):
    try: ask("https://a.example/")
    except Exception as error: found.append("CERTIFICATE_VERIFY_FAILED" in str(error))
found""", ca=False)
    assert value(result) == [True] * 3
    for client in ("requests.get", "httpx.get", "urllib.request.urlopen"):
        error = run(world, "import requests, httpx, urllib.request\n%s('https://a.example/')" % client, ca=False)["error"]
        assert "CERTIFICATE_VERIFY_FAILED" in error["message"] and "[egress]" in error["hint"] and "ca_file" in error["hint"], error

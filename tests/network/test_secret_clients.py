# SPDX-License-Identifier: Apache-2.0
"""Clients of HTTP, unmodified and in whole runs, with a host that has a secret: the host gets the value, the script never sees it, and no other
host gets it."""
import gzip
import os
import socket
import struct
import subprocess

import pytest

import environments
from conftest import BUILD, ROOT
from secret_site import VALUE, echo, operator, response, shown, websocket

pytestmark = pytest.mark.skipif(not os.path.exists(os.path.join(BUILD, "pyexec-egress")), reason="the build has no pyexec-egress")


@pytest.fixture(scope="module")
def python(session_folder):
    """A Python with the clients, where every user can read it."""
    folder = session_folder / "secret-clients"
    made = environments.copy(environments.kept("network-clients", os.path.join(ROOT, "tests/network/requirements.txt")), folder)
    subprocess.run(["chmod", "-R", "a+rX", folder], check=True)
    return str(made)


@pytest.fixture(scope="module")
def place(pyexec):
    with operator(pyexec.uid) as made:
        yield made


@pytest.fixture
def sites(place):
    made = []

    def site(answer=echo, instead=None):
        made.append(place.site(answer, instead))
        return made[-1]
    yield site
    for one in made:
        one.close()


PRELUDE = """
import os
KEY, URL = os.environ["API_KEY"], os.environ["URL"]
HEADERS = {"Authorization": "Bearer " + KEY}
"""


def run(pyexec, python, place, site, code, *others):
    hosts = ",".join(one.host for one in (site, *others))
    flags = ["--any-import", "--python-bin", python, "--isolate-site=false", "--address-space-bytes", "none", "--max-open-files", "64", "--timeout", "120s",
             "--cpu-time-seconds", "100", "--allow-host", hosts, "--env", "URL=https://" + site.host]
    flags += [flag for i, other in enumerate(others) for flag in ("--env", "OTHER%d=https://%s" % (i, other.host))]
    done = pyexec.result(PRELUDE + code, *flags, env={**os.environ, "PYEXEC_HOST_POOL_SIZE": "0", **place.settings(api_key=(site.host, VALUE))}, timeout=200)
    assert VALUE not in str(done)
    assert done["status"] == "ok", (done["error_repr"], done["denials"])
    return eval(done["last_value_repr"])


def all_got(site, count):
    tokens = [request.fields["authorization"] for request in site.requests]
    assert tokens == ["Bearer " + VALUE] * count and {request.fields["accept-encoding"] for request in site.requests} == {"identity"}, site.requests


CLIENTS = {
    "requests": """
import requests
with requests.Session() as session:
    answers = [session.request(method, URL + "/a", headers=HEADERS, data=body) for method, body in (("GET", None), ("POST", b"x" * 10), ("PUT", iter([b"ab", b"cd"])))]
found = [(a.headers["X-Echo"], a.text) for a in answers]
""",
    "httpx": """
import httpx
with httpx.Client() as client:
    answers = [client.request(method, URL + "/a", headers=HEADERS, content=body) for method, body in (("GET", None), ("POST", b"x" * 10), ("PUT", iter([b"ab", b"cd"])))]
found = [(a.headers["X-Echo"], a.text) for a in answers]
""",
    "httpx without waiting": """
import httpx
async def parts():
    yield b"ab"
    yield b"cd"
async with httpx.AsyncClient() as client:
    answers = [await client.request(method, URL + "/a", headers=HEADERS, content=body) for method, body in (("GET", None), ("POST", b"x" * 10), ("PUT", parts()))]
found = [(a.headers["X-Echo"], a.text) for a in answers]
""",
    "aiohttp": """
import aiohttp
async def parts():
    yield b"ab"
    yield b"cd"
found = []
async with aiohttp.ClientSession(trust_env=True) as client:
    for method, body in (("GET", None), ("POST", b"x" * 10), ("PUT", parts())):
        async with client.request(method, URL + "/a", headers=HEADERS, data=body) as a:
            found.append((a.headers["X-Echo"], await a.text()))
""",
}


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_uses_the_secret_over_one_connection(pyexec, python, place, sites, client):
    site = sites()
    key, found = run(pyexec, python, place, site, CLIENTS[client] + "KEY, found")
    assert [echoed for echoed, _ in found] == ["Bearer " + shown(key)] * 3
    assert [text.split(" ")[2] for _, text in found] == ["0", "10", "4"], found
    all_got(site, 3)
    assert site.connections == 1
    assert [request.method for request in site.requests] == ["GET", "POST", "PUT"]


@pytest.mark.parametrize("client, ask", [
    ("requests", "requests.put(URL, data=DATA, headers=HEADERS).text, requests.put(URL, data=(DATA[i:i + 9999] for i in range(0, len(DATA), 9999)), headers=HEADERS).text"),
    ("httpx", "httpx.put(URL, content=DATA, headers=HEADERS, timeout=60).text, httpx.put(URL, content=(DATA[i:i + 9999] for i in range(0, len(DATA), 9999)), headers=HEADERS, timeout=60).text"),
])
def test_large_and_chunked_uploads_arrive_whole(pyexec, python, place, sites, client, ask):
    site = sites()
    ours, first, second = run(pyexec, python, place, site, "import hashlib, %s\nDATA = os.urandom(3 << 20)\nhashlib.sha256(DATA).hexdigest(), %s" % (client, ask))
    assert [text.split(" ")[2:] for text in (first, second)] == [[str(3 << 20), ours]] * 2
    all_got(site, 2)
    assert "content-length" in site.requests[0].fields and site.requests[1].fields["transfer-encoding"] == "chunked"


REDIRECTS = """
import requests, httpx, aiohttp, urllib.request
found = []
for path in ("/to-other", "/to-plain"):
    for ask in (lambda u: requests.get(u, headers=HEADERS).text, lambda u: httpx.get(u, headers=HEADERS, follow_redirects=True).text,
                lambda u: urllib.request.urlopen(urllib.request.Request(u, headers=HEADERS)).read().decode()):
        try:
            found.append(ask(URL + path).split(" ")[:2])
        except Exception as error:
            found.append(type(error).__name__)
async with aiohttp.ClientSession(trust_env=True) as client:
    async with client.get(URL + "/to-other", headers=HEADERS) as a:
        found.append((await a.text()).split(" ")[:2])
KEY, found
"""


def test_a_redirect_never_takes_the_value_to_another_host(pyexec, python, place, sites):
    """The other host is another port, which has no secret: what a client sends there is its own placeholder, or nothing."""
    other = sites()
    first = sites(lambda request: response(b"", "Location: %s/landed" % ("https://" + other.host if request.path == "/to-other" else "http://" + first.host), status="302 Found"))
    key, found = run(pyexec, python, place, first, REDIRECTS, other)
    assert len(found) == 7 and [one for one in found[:3] + found[6:] if one[0] not in ("nothing", "Bearer")] == [], found
    all_got(first, 7)
    assert len(other.requests) == 4
    for request in other.requests:
        assert request.fields.get("authorization") in (None, "Bearer " + key) and VALUE not in str(request.fields), request.fields


def test_a_client_of_http_2_gets_http_1(pyexec, python, place, sites):
    site = sites()
    code = """
import ssl, socket
s = socket.create_connection(("127.0.0.1", 3128))
host = URL[8:]
s.sendall(f"CONNECT {host} HTTP/1.1\\r\\nHost: {host}\\r\\n\\r\\n".encode())
head = s.recv(1000)
context = ssl.create_default_context()
context.set_alpn_protocols(["h2", "http/1.1"])
with context.wrap_socket(s, server_hostname="localhost") as tls:
    chosen = tls.selected_alpn_protocol()
    tls.sendall(f"GET / HTTP/1.1\\r\\nHost: {host}\\r\\nConnection: close\\r\\n\\r\\n".encode())
    status = tls.recv(12)
chosen, status
"""
    assert run(pyexec, python, place, site, code) == ("http/1.1", b"HTTP/1.1 200")
    all_got(site, 1)


def test_websockets_work_and_what_they_say_is_searched(pyexec, python, place, sites):
    site = sites(websocket)
    key, found = run(pyexec, python, place, site, """
import aiohttp, websockets, websockets.sync.client
URL = "wss" + URL[5:]
found = []
async with aiohttp.ClientSession(trust_env=True) as session:
    async with session.ws_connect(URL, headers=HEADERS) as ws:
        await ws.send_str("shout")
        found.append((await ws.receive()).data)
async with websockets.connect(URL, additional_headers=HEADERS) as ws:
    await ws.send("louder")
    found.append(await ws.recv())
with websockets.sync.client.connect(URL) as ws:
    ws.send("sync")
    found.append(ws.recv())
KEY, found""")
    assert found == ["Bearer %s %s" % (shown(key), text) for text in ("SHOUT", "LOUDER", "SYNC")]
    assert [request.fields["authorization"] for request in site.requests] == ["Bearer " + VALUE] * 3
    assert not [request for request in site.requests if "sec-websocket-extensions" in request.fields]


def test_a_compressed_answer_is_refused_with_its_reason(pyexec, python, place, sites):
    site = sites(lambda request: response(gzip.compress(request.fields["authorization"].encode()), "Content-Encoding: gzip"))
    found = run(pyexec, python, place, site, """
import requests, httpx, aiohttp
found = [(a.status_code, a.text) for a in (requests.get(URL), httpx.get(URL))]
async with aiohttp.ClientSession(trust_env=True) as client:
    async with client.get(URL) as a:
        found.append((a.status, await a.text()))
found""")
    assert len(found) == 3
    for status, text in found:
        assert status == 502 and "its answer is compressed, although only 'identity' was asked for" in text, (status, text)


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    os.close(connection.detach())


def say_and_wait(text):
    def handle(tls):
        tls.recv(1)
        tls.sendall(text)
        while tls.recv(1000):
            pass
    return handle


@pytest.mark.parametrize("instead, reason", [
    (lambda tls: tls.unwrap(), "it closed the connection "),
    (lambda tls: None, "it closed the connection "),
    (reset, "it closed the connection "),
    (say_and_wait(b"220 mail.example ESMTP\r\n"), "it answers with something else than HTTP/1"),
], ids=["ends TLS", "ends", "resets", "speaks another protocol"])
def test_a_server_that_takes_no_request_is_said_at_once(pyexec, python, place, sites, instead, reason):
    """The limits of these clients are far below the proxy's idle timeout of five minutes."""
    site = sites(instead=instead)
    found = run(pyexec, python, place, site, """
import requests, httpx
[(a.status_code, a.text) for a in (requests.get(URL, timeout=60), httpx.get(URL, timeout=60))]""")
    for status, text in found:
        assert status == 502 and reason in text, (status, text)


def test_an_answer_that_is_cut_is_an_error(pyexec, python, place, sites):
    site = sites(lambda request: [b"HTTP/1.1 200 OK\r\n\r\nhalf of it", lambda tls: os.close(tls.detach()), None])
    found = run(pyexec, python, place, site, """
import requests, httpx
found = []
for ask in (requests.get, httpx.get):
    try: found.append(ask(URL, timeout=60).text)
    except Exception as error: found.append(type(error).__name__)
found""")
    assert found[0] in ("ChunkedEncodingError", "ConnectionError") and found[1] == "RemoteProtocolError", found

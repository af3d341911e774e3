"""`pyexec serve`: tokens, separation of principals, ceilings, rates, turns, Host and Origin."""
import hashlib
import json
import os

import pytest

from serving import raw, serving, statuses, token_line
from waiting import wait_until

pytestmark = pytest.mark.usefixtures("nothing_left")
LONG = ["--timeout", "60s", "--cpu-time-seconds", "60", "--files", "full"]
ALICE, BOB = token_line("alice", "a-secret"), token_line("bob", "b-secret")


@pytest.fixture(scope="module")
def server(own):
    with serving(own, *LONG, tcp=True, tokens=["# people", "", ALICE, BOB]) as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_left():
    """The same fixture as in test_serve.py."""


def as_alice(server, method, path, body=None, **more):
    return server.ask(method, path, body, address=server.tcp, token="a-secret", **more)


def as_bob(server, method, path, body=None, **more):
    return server.ask(method, path, body, address=server.tcp, token="b-secret", **more)


# ---- Tokens ----

@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Bearer wrong", "bearer  wrong", "Basic YTpi",
                                    "Bearer a-secre", "Bearer a-secret ", "Bearer a-secret x", "a-secret",
                                    "Bearer " + "x" * 5000])
def test_without_a_known_token_nothing_is_answered(server, header):
    headers = {"Authorization": header} if header is not None else {}
    for method, path in [("POST", "/v1/execute"), ("GET", "/v1/sessions"), ("GET", "/metrics"),
                         ("PUT", "/v1/sessions/a/files/b")]:
        if header == "Bearer a-secret ":
            continue                # white space around a header's value is not part of it
        answer = server.ask(method, path, b"{}" if method != "GET" else None, headers, address=server.tcp)
        assert answer.status == 401 and answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.json()["code"] == "unauthorized" and answer.json()["hint"]


def test_a_wrong_token_on_the_unix_socket_is_refused_too(server):
    assert server.ask("GET", "/v1/sessions", token="wrong").status == 401
    assert server.ask("GET", "/v1/sessions", token="a-secret").status == 200


def test_a_token_is_compared_to_its_last_digit(own):
    token = "0123456789abcdef" * 4
    digest = hashlib.sha256(token.encode()).hexdigest()
    others = ["alice sha256:" + digest[:-n] + "".join("%x" % (int(digit, 16) ^ 1) for digit in digest[-n:]) for n in (1, 2, 8, 32)]
    with serving(own, tcp=True, tokens=[token_line("alice", token)]) as server:
        def status(token):
            return server.ask("GET", "/v1/sessions", address=server.tcp, token=token).status
        assert status(token) == 200
        for wrong in (token[:-1] + "e", token[:-2] + "ee", token[:-1], token + "f", token[:-8] + "0" * 8, token.upper(), token[:-32] + "0" * 32):
            assert status(wrong) == 401, wrong
        # The hash in the file must be complete too.
        for line in others:
            server.write_tokens(line)
            server.reload()
            assert status(token) == 401, line


def test_probes_need_no_token(server):
    for path in ("/healthz", "/readyz", "/openapi.json"):
        assert server.ask("GET", path, address=server.tcp).status == 200


def test_a_token_is_in_no_log(server):
    server.ask("GET", "/v1/sessions", token="never-to-be-logged", address=server.tcp)
    as_alice(server, "GET", "/v1/sessions")
    assert "never-to-be-logged" not in server.log() and "a-secret" not in server.log()


def test_tokens_are_read_again_on_sighup(own):
    with serving(own, tcp=True, tokens=[ALICE]) as server:
        assert as_alice(server, "GET", "/v1/sessions").status == 200
        assert as_bob(server, "GET", "/v1/sessions").status == 401
        server.write_tokens(BOB)
        server.reload()
        assert as_alice(server, "GET", "/v1/sessions").status == 401
        assert as_bob(server, "GET", "/v1/sessions").status == 200
        server.write_tokens(token_line("alice", "another"), BOB)
        server.reload()
        assert as_alice(server, "GET", "/v1/sessions").status == 401
        assert server.ask("GET", "/v1/sessions", token="another").status == 200


BAD_LINES = ["alice", "alice sha256:12", "alice sha256:" + "g" * 64, "alice md5:" + "0" * 64,
             "al/ice sha256:" + "0" * 64, "local sha256:" + "0" * 64, ".. sha256:" + "0" * 64,
             "a" * 65 + " sha256:" + "0" * 64, ALICE + " rate=0", ALICE + " rate=x", ALICE + " nonsense",
             ALICE + " no_such_key=1", ALICE + " max_sessions=-1", ALICE + " timeout_ms=0",
             ALICE + "\n" + ALICE, ALICE + "\n" + token_line("bob", "a-secret"), ALICE + "\n\0" + BOB]


@pytest.mark.parametrize("line", BAD_LINES)
def test_a_bad_token_file_stops_the_start_and_keeps_the_old_at_reload(own, line, open_folder):
    bad = open_folder / "tokens"
    bad.write_text(line + "\n")
    os.chmod(bad, 0o600)
    done = own.run("serve", "--listen", "unix:%s/socket" % open_folder, "--token-file", str(bad))
    assert done.returncode == 125 and str(bad).encode() in done.stderr, done.stderr
    assert b"hint: " in done.stderr and (b"pyexec policy" in done.stderr) == ("timeout_ms=0" in line or "no_such_key" in line)
    assert not (open_folder / "socket").exists()


def test_a_token_file_that_can_not_be_read_says_who_may_not(own, open_folder):
    for path in (open_folder / "none", open_folder):
        done = own.run("serve", "--listen", "unix:%s/socket" % open_folder, "--token-file", str(path))
        assert done.returncode == 125 and str(path).encode() in done.stderr and b"user %d" % own.uid in done.stderr, done.stderr


def test_a_bad_file_at_reload_keeps_the_old_tokens(own):
    with serving(own, tcp=True, tokens=[ALICE]) as server:
        for line in BAD_LINES:
            server.write_tokens(BOB, line)
            server.reload()
        os.unlink(server.tokens)
        server.reload()
        assert server.log().count("reload failed") == len(BAD_LINES) + 1
        assert as_alice(server, "GET", "/v1/sessions").status == 200
        assert as_bob(server, "GET", "/v1/sessions").status == 401


@pytest.mark.parametrize("mode", [0o666, 0o622, 0o620])
def test_a_token_file_that_others_may_write_is_refused(own, open_folder, mode):
    path = open_folder / "tokens"
    path.write_text(ALICE + "\n")
    os.chmod(path, mode)
    done = own.run("serve", "--listen", "127.0.0.1:0", "--token-file", str(path))
    assert done.returncode == 125 and b"chmod 600" in done.stderr


# ---- Separation of principals ----

def test_sessions_and_files_of_another_are_not_there(server):
    assert as_alice(server, "POST", "/v1/sessions/box/execute", {"code": "mine = 1"}).status == 200
    assert as_alice(server, "PUT", "/v1/sessions/box/files/f", b"of alice").status == 204
    for method, path, body in [("GET", "/v1/sessions/box", None), ("DELETE", "/v1/sessions/box", None),
                               ("POST", "/v1/sessions/box/interrupt", None), ("GET", "/v1/sessions/box/files", None),
                               ("GET", "/v1/sessions/box/files/f", None), ("PUT", "/v1/sessions/box/files/f", b"x"),
                               ("DELETE", "/v1/sessions/box/files/f", None), ("PUT", "/v1/sessions/box/files", b"x")]:
        answer = as_bob(server, method, path, body)
        assert (answer.status, answer.json()["code"]) == (404, "session_not_found"), (method, path)
    assert as_bob(server, "GET", "/v1/sessions").json() == {"sessions": []}
    assert server.ask("GET", "/v1/sessions").json() == {"sessions": []}
    # For another principal, the same id is another session.
    assert as_bob(server, "POST", "/v1/sessions/box/execute", {"code": "mine"}).json()["error"]["type"] == "NameError"
    assert as_bob(server, "GET", "/v1/sessions/box/files").json() == {"files": []}
    assert as_alice(server, "GET", "/v1/sessions/box/files/f").body == b"of alice"
    for ask in (as_alice, as_bob):
        assert [one["id"] for one in ask(server, "GET", "/v1/sessions").json()["sessions"]] == ["box"]
        assert ask(server, "DELETE", "/v1/sessions/box").status == 204


# ---- Ceilings ----

def test_a_principal_has_its_own_ceiling(own):
    with serving(own, *LONG, tcp=True, tokens=[ALICE + " timeout_ms=500 max_stdout_bytes=10 disable_open=true", BOB]) as server:
        result = as_alice(server, "POST", "/v1/execute", {"code": "print('x' * 100)"}).json()
        assert result["stdout_truncated"] and len(result["stdout"]) == 10
        assert as_alice(server, "POST", "/v1/execute", {"code": "while 1: pass"}).json()["status"] == "timeout"
        answer = as_alice(server, "POST", "/v1/execute", {"code": "1", "policy": {"timeout_ms": 501}})
        assert answer.status == 400 and answer.json()["code"] == "invalid_policy"
        answer = as_alice(server, "POST", "/v1/sessions", {"policy": {"disable_open": False}})
        assert answer.status == 400 and answer.json()["code"] == "invalid_policy"
        assert as_bob(server, "POST", "/v1/execute", {"code": "1", "policy": {"timeout_ms": 501}}).status == 200
        server.write_tokens(ALICE, BOB)
        server.reload()
        assert as_alice(server, "POST", "/v1/execute", {"code": "1", "policy": {"timeout_ms": 501}}).status == 200


def test_a_rate_is_429_with_retry_after(own):
    with serving(own, *LONG, tcp=True, tokens=[ALICE + " rate=0.1", BOB]) as server:
        assert as_alice(server, "POST", "/v1/execute", {"code": "1"}).status == 200
        answer = as_alice(server, "POST", "/v1/execute", {"code": "1"})
        assert (answer.status, answer.json()["code"]) == (429, "overloaded")
        assert 1 <= int(answer.headers["Retry-After"]) <= 10 and "rate" in answer.json()["hint"]
        # Only runs count, and only those of the principal itself.
        for _ in range(3):
            assert as_alice(server, "GET", "/v1/sessions").status == 200
        assert as_bob(server, "POST", "/v1/execute", {"code": "1"}).status == 200
        assert server.metric('pyexec_refused_total{reason="rate"}') == 1
        server.write_tokens(ALICE + " rate=1000", BOB)
        server.reload()
        wait_until(lambda: as_alice(server, "POST", "/v1/execute", {"code": "1"}).status == 200, "still refused")


def test_max_sessions_of_a_principal(own):
    """At the principal's limit its oldest idle session ends, as with the server's own max_count."""
    with serving(own, *LONG, tcp=True, tokens=[ALICE + " max_sessions=2", BOB]) as server:
        def names(ask):
            return sorted(one["id"] for one in ask(server, "GET", "/v1/sessions").json()["sessions"])
        for name in ("one", "two", "three"):
            assert as_alice(server, "POST", "/v1/sessions/%s/execute" % name, {"code": "1"}).status == 200
            assert as_bob(server, "POST", "/v1/sessions", {"id": name}).status == 201
        assert names(as_alice) == ["three", "two"] and names(as_bob) == ["one", "three", "two"]
        busy = []
        for name in ("two", "three"):
            connection = server.connection(server.tcp)
            connection.request("POST", "/v1/sessions/%s/execute" % name, json.dumps({"code": "while 1: pass"}),
                               {"Authorization": "Bearer a-secret"})
            busy.append(connection)
        wait_until(lambda: server.metric("pyexec_running") == 2, "not busy")
        for answer in (as_alice(server, "POST", "/v1/sessions/four/execute", {"code": "1"}),
                       as_alice(server, "POST", "/v1/sessions", {"id": "four"})):
            assert (answer.status, answer.json()["code"]) == (429, "session_limit")
            assert answer.headers["Retry-After"] and "2 sessions" in answer.json()["title"]
        server.write_tokens(ALICE + " max_sessions=3", BOB)
        server.reload()
        assert as_alice(server, "POST", "/v1/sessions", {"id": "four"}).status == 201
        for connection in busy:
            connection.close()


def test_max_concurrent_of_a_principal(own):
    with serving(own, *LONG, tcp=True, tokens=[ALICE + " max_concurrent=1", BOB],
                 config="[host]\nmax_concurrent = 4\n") as server:
        busy = []
        for _ in range(3):
            connection = server.connection(server.tcp)
            connection.request("POST", "/v1/execute", json.dumps({"code": "while 1: pass"}),
                               {"Authorization": "Bearer a-secret"})
            busy.append(connection)
        wait_until(lambda: (server.metric("pyexec_queue_length"), server.metric("pyexec_running")) == (2, 1), "not queued")
        assert as_bob(server, "POST", "/v1/execute", {"code": "1"}).status == 200
        # Requests that are not runs do not wait for a turn.
        assert as_alice(server, "GET", "/v1/sessions").status == 200
        for connection in busy:
            connection.close()


def test_turns_are_fair_and_a_full_queue_is_503(own):
    """A principal that fills the queue first can't keep the calls of another principal from every second turn."""
    with serving(own, *LONG, tcp=True, tokens=[ALICE, BOB],
                 config="[host]\nmax_concurrent = 1\nqueue_length = 20\n") as server:
        blocker = server.connection()
        blocker.request("POST", "/v1/sessions/b/execute", json.dumps({"code": "while True: pass"}))
        wait_until(lambda: server.metric("pyexec_running") == 1, "not running")

        def send(token, name):
            connection = server.connection(server.tcp)
            connection.request("POST", "/v1/execute", json.dumps({"code": "1"}),
                               {"Authorization": "Bearer " + token, "X-Request-Id": name})
            return connection
        waiting = [send("a-secret", "alice-%d" % i) for i in range(10)]
        wait_until(lambda: server.metric("pyexec_queue_length") == 10, "not queued")
        answer = as_alice(server, "POST", "/v1/execute", {"code": "1"})
        assert (answer.status, answer.json()["code"]) == (503, "overloaded")
        assert answer.headers["Retry-After"] == "1" and answer.json()["hint"]
        waiting += [send("b-secret", "bob-%d" % i) for i in range(5)]
        wait_until(lambda: server.metric("pyexec_queue_length") == 15, "not queued")
        server.ask("POST", "/v1/sessions/b/interrupt")
        for connection in waiting:
            assert connection.getresponse().status == 200
            connection.close()
        order = [line["request_id"] for line in server.lines(event="request", route="/v1/execute", status=200)]
        assert max(order.index("bob-%d" % i) for i in range(5)) < 12, order
        blocker.close()


# ---- DNS rebinding ----

@pytest.mark.parametrize("host, status", [
    ("127.0.0.1", 200), ("localhost:80", 200), ("LOCALHOST", 200), ("[::1]:8080", 200), ("10.0.0.1:1", 200),
    ("evil.example", 421), ("evil.example:80", 421), ("localhost.evil.example", 421), ("127.0.0.1.evil.example", 421),
    ("named.example:8443", 200), ("", 421), ("[evil.example]", 421), ("a:b", 421)])
def test_the_host_header(own, host, status, named):
    request = "GET /healthz HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n" % host
    assert statuses(raw(named.tcp, request.encode())) in ([status], [400] if not host else [status])


@pytest.fixture(scope="module")
def named(own):
    config = "[serve]\nallowed_hosts = named.example\nallowed_origins = https://page.example\n"
    with serving(own, tcp=True, tokens=[ALICE], config=config) as running:
        yield running


@pytest.mark.parametrize("origin, status", [
    ("https://page.example", 200), ("http://page.example", 403), ("https://evil.example", 403), ("null", 403),
    ("https://page.example.evil.example", 403), ("", 403)])
def test_the_origin_header(named, origin, status):
    answer = named.ask("GET", "/healthz", headers={"Origin": origin}, address=named.tcp)
    assert answer.status == status
    assert answer.headers["Access-Control-Allow-Origin"] == (origin if status == 200 else None)


def test_the_own_page_may_ask(named):
    assert named.ask("GET", "/healthz", headers={"Origin": "http://" + named.tcp}, address=named.tcp).status == 200


def test_a_browser_that_asks_whether_it_may(named):
    """The preflight of fetch() carries no token."""
    ask = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST",
           "Access-Control-Request-Headers": "authorization, content-type"}
    answer = named.ask("OPTIONS", "/v1/execute", headers=ask, address=named.tcp)
    assert answer.status == 204 and "POST" in answer.headers["Access-Control-Allow-Methods"]
    allowed = answer.headers["Access-Control-Allow-Headers"].lower()
    assert "authorization" in allowed and "content-type" in allowed
    answer = named.ask("OPTIONS", "/v1/execute", headers=dict(ask, Origin="https://evil.example"), address=named.tcp)
    assert answer.status == 403 and not answer.headers["Access-Control-Allow-Origin"]
    got = named.execute("1 + 1", address=named.tcp, token="a-secret", headers={"Origin": "https://page.example"})
    assert got.status == 200 and got.headers["Access-Control-Allow-Origin"] == "https://page.example"
    assert got.headers["Vary"] == "Origin"

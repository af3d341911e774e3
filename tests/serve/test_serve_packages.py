# SPDX-License-Identifier: Apache-2.0
"""`packages` of a request over HTTP: the server makes an environment with them, if [env] allow_requests has their names."""
import contextlib
import json
import os
import re
import signal
import subprocess
import threading
import time

import pytest

import env_stores
import wheels
from mcp_stdio import Client, text
from json_lines import JsonLines
from serving import dial, events, serving, token_line
from waiting import wait_until

NAME = re.compile(r"cached-[0-9a-f]{32}")
TOKENS = [token_line("alice", "a-secret", "allow_requests=alpha"), token_line("bob", "b-secret", "allow_requests="),
          token_line("carla", "c-secret", "timeout=5s")]


def make_store(program, fast=True):
    store = env_stores.CommandStore(program, fast)
    store.write("alpha/alpha.py", "number = 42\n")
    store.write("beta/beta.py", "number = 7\n")
    return store


@contextlib.contextmanager
def running(program, *flags, allow="alpha,beta,gamma,Delta.X,uvicorn[standard]", fast=True, variables=None, **keywords):
    store = make_store(program, fast)
    try:
        environment = {**store.environment, "PYEXEC_ENV_ALLOW_REQUESTS": allow, **(variables or {})}
        with serving(program, *flags, env=environment, **keywords) as server:
            server.store = store
            yield server
    finally:
        store.close()


@pytest.fixture
def server(pyexec, nothing_left):
    with running(pyexec, "--audit-log", "FOLDER/audit") as started:
        yield started


@pytest.fixture(scope="module")
def shared_server(own):
    with running(own, tcp=True, tokens=TOKENS) as started:
        yield started


def outcomes(server):
    return {name: int(server.metric('pyexec_package_requests_total{outcome="%s"}' % name)) for name in ("found", "made", "failed", "cancelled")}


def waiting(server):
    """Waits until an installer of the server runs."""
    wait_until(lambda: os.path.exists(server.store.home + "/waiting"), "no installer has started", 120)


def in_background(function, *arguments, **keywords):
    """Calls the function in a thread. Returns the thread; its answer is in `.answers`."""
    answers = []
    thread = threading.Thread(target=lambda: answers.append(function(*arguments, **keywords)))
    thread.answers = answers
    thread.start()
    return thread


def answer_of(thread):
    thread.join(300)
    assert thread.answers, "no answer"
    return thread.answers[0]


def builders():
    """Returns the processes `pyexec env cached` and their installers."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open("/proc/%s/cmdline" % pid, "rb") as file:
            words = file.read().split(b"\0")
            if words[1:3] == [b"env", b"cached"] or any(word.endswith(b"/fast-uv") for word in words[:3]):
                found.append(int(pid))
    return found


def test_a_request_gets_its_packages_and_the_next_one_finds_them(server):
    assert server.result("import alpha; alpha.number", packages=["alpha"], timeout=300)["last_value_repr"] == "42"
    assert server.result("import alpha; alpha.number", packages=[" Alpha "])["last_value_repr"] == "42"
    assert outcomes(server) == {"found": 1, "made": 1, "failed": 0, "cancelled": 0}
    for packages in (["beta", "alpha>=1"], ["alpha >= 1", "beta", "beta"]):      # one list, whatever its order
        assert server.result("import alpha, beta; alpha.number + beta.number", packages=packages, timeout=300)["last_value_repr"] == "49"
    assert outcomes(server) == {"found": 2, "made": 2, "failed": 0, "cancelled": 0}
    assert all(NAME.fullmatch(name) for name in server.store.parts("names")) and len(server.store.parts("names")) == 2
    # The rest of the policy holds, and other requests have nothing of it.
    assert "not allowed" in server.result("import os", packages=["alpha"])["error"]["message"]
    assert server.result("import alpha")["status"] == "error"
    assert server.result("import alpha", packages=[])["status"] == "error"
    assert server.ask("GET", "/v1/environments").json() == {"environments": []}
    server.store.check()


def test_streams_and_detached_executions_too(server):
    connection = server.connection(timeout=300)
    connection.request("POST", "/v1/execute", json.dumps({"code": "import alpha; print(alpha.number)", "packages": ["alpha"]}),
                       {"Accept": "text/event-stream"})
    seen = dict(event for event in events(connection.getresponse()) if event[0])
    assert seen["stdout"]["text"] == "42\n" and seen["result"]["status"] == "ok"
    connection.close()
    answer = server.execute("import beta; beta.number", packages=["beta"], detach=True)
    assert answer.status == 202, answer.body
    path = "/v1/executions/" + answer.json()["execution_id"]
    wait_until(lambda: server.ask("GET", path).json()["state"] == "ended", "it does not end", 300)
    assert server.ask("GET", path).json()["result"]["last_value_repr"] == "7"
    assert server.execute("1", packages=["omega"], detach=True).status == 400


def test_a_session_keeps_the_packages_of_its_first_call(server):
    policy = {"timeout_ms": 3000}
    first = server.result("import alpha; a = alpha.number; a", "s", packages=["alpha"], session_policy=policy, timeout=300)
    assert first["last_value_repr"] == "42" and first["session"]["created"]
    assert server.result("a + 1", "s")["last_value_repr"] == "43"
    assert server.result("a + 2", "s", packages=["alpha"])["last_value_repr"] == "44"
    kept = server.ask("GET", "/v1/sessions/s").json()["policy"]
    assert NAME.fullmatch(kept["environment"]) and kept["timeout_ms"] == 3000
    names = server.store.parts("names")
    for session, packages in (("s", ["beta"]), ("s", ["alpha", "beta"]), ("plain", ["alpha"])):
        server.result("1", "plain")
        answer = server.execute("1", session, packages=packages)
        assert answer.status == 400 and "was made without them" in answer.json()["title"], answer.body
        assert "new session id" in answer.json()["hint"]
    assert server.store.parts("names") == names                      # nothing was made for them
    server.ask("POST", "/v1/sessions/s/reset")
    for session in ("s", "plain"):
        server.ask("DELETE", "/v1/sessions/" + session)


def test_a_session_that_is_made_with_packages(server):
    def make(**body):
        return server.ask("POST", "/v1/sessions", body, timeout=300)
    made = make(id="s", packages=["alpha"], policy={"timeout_ms": 3000})
    assert made.status == 201 and NAME.fullmatch(made.json()["policy"]["environment"]) and made.json()["policy"]["timeout_ms"] == 3000, made.body
    assert server.result("import alpha; a = alpha.number; a", "s")["last_value_repr"] == "42"
    assert server.result("a + 1", "s", packages=["alpha"])["last_value_repr"] == "43"
    assert make(id="s", packages=["alpha"]).status == make(id="s", packages=["beta"]).status == 409
    assert make(id="plain", packages=[]).json()["policy"]["environment"] == ""
    for body, text in (({"packages": ["omega"]}, "'omega' is not among those"), ({"packages": "alpha"}, "must be a list"),
                       ({"packages": ["alpha"], "policy": {"environment": "data"}}, "policy names an environment too"),
                       ({"package": ["alpha"]}, '"packages": list')):
        answer = make(**body)
        assert answer.status == 400 and text in answer.json()["title"], answer.body
    assert outcomes(server) == {"found": 0, "made": 1, "failed": 0, "cancelled": 0}     # nothing was made for beta
    for session in ("s", "plain"):
        server.ask("DELETE", "/v1/sessions/" + session)


def test_a_session_that_waits_for_its_packages_holds_nothing_up(own, nothing_left):
    with running(own, variables={"PYEXEC_HOST_MAX_CONCURRENT": "1"}) as server:
        server.store.write("wait", "")
        made = in_background(server.ask, "POST", "/v1/sessions", {"id": "s", "packages": ["alpha"]}, timeout=300)
        waiting(server)
        assert server.result("6 * 7")["last_value_repr"] == "42" and server.ask("POST", "/v1/sessions", {"id": "t"}).status == 201
        later = in_background(server.execute, "import alpha; alpha.number", "s", timeout=300)
        os.unlink(server.store.home + "/wait")
        assert answer_of(made).status == 201 and answer_of(later).json()["last_value_repr"] == "42"
        # Its client goes away.
        server.store.write("wait", "")
        os.unlink(server.store.home + "/waiting")
        body = json.dumps({"id": "u", "packages": ["beta"]}).encode()
        sock = dial(server.socket)
        sock.sendall(b"POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        waiting(server)
        sock.close()
        wait_until(lambda: outcomes(server)["cancelled"] == 1 and not builders(), "it is not cancelled", 60)
        assert server.ask("GET", "/v1/sessions/u").status == 404
        for session in ("s", "t"):
            server.ask("DELETE", "/v1/sessions/" + session)


def test_a_session_keeps_its_packages_after_many_other_lists(own, nothing_left):
    with running(own, variables={"PYEXEC_ENV_MAX_CACHED": "1"}) as server:
        first = server.result("import alpha; n = alpha.number", "s", packages=["alpha"], timeout=300)
        assert first["status"] == "ok", first
        for number in range(300):
            assert server.execute("1", packages=["beta==%d" % number]).status == 503
        assert server.result("n", "s", packages=["alpha"])["last_value_repr"] == "42"
        server.ask("DELETE", "/v1/sessions/s")


def test_a_session_keeps_packages_that_can_not_be_installed_any_more(server):
    assert server.result("import alpha; n = alpha.number", "s", packages=["alpha"], timeout=300)["status"] == "ok"
    server.store.ok("prune", "--unused-days", "0")
    assert server.store.parts("names") == []
    server.store.write("broken", "error: Failed to fetch: dns error: no route\n")
    assert server.execute("1", packages=["alpha"], timeout=300).status == 500
    assert server.result("n", "s", packages=["alpha"])["last_value_repr"] == "42"
    server.ask("DELETE", "/v1/sessions/s")


def test_a_server_finds_what_an_earlier_one_has_made(own, nothing_left):
    store = make_store(own)
    try:
        for expected in ({"found": 0, "made": 1, "failed": 0, "cancelled": 0}, {"found": 1, "made": 0, "failed": 0, "cancelled": 0}):
            with serving(own, env={**store.environment, "PYEXEC_ENV_ALLOW_REQUESTS": "alpha"}) as server:
                assert server.result("import alpha; alpha.number", packages=["alpha"], timeout=300)["last_value_repr"] == "42"
                assert outcomes(server) == expected
    finally:
        store.close()


def test_an_environment_in_use_is_not_pruned_as_unused(server):
    assert server.execute("1", packages=["alpha"], timeout=300).status == 200
    name, = server.store.parts("names")
    long_ago = time.time() - 40 * 86400
    os.utime(server.store.folder(name) + "/lock", (long_ago, long_ago))
    assert server.execute("1", packages=["alpha"]).status == 200
    server.store.ok("prune")
    assert server.store.parts("names") == [name]


def test_both_logs_say_who_asked_for_what(server):
    assert server.execute("1", packages=["alpha>=1", "beta"], timeout=300).status == 200
    assert server.execute("1", packages=["beta", "alpha>=1"]).status == 200
    line, = server.lines(event="packages")
    assert line["outcome"] == "made" and line["packages"] == ["alpha>=1", "beta"] and line["principal"] == "local" and line["ms"] > 1
    assert NAME.fullmatch(line["environment"])
    with open(server.folder + "/audit") as file:
        audited = [json.loads(entry) for entry in file]
    builds = [entry for entry in audited if "build" in entry]
    assert [entry["build"] for entry in builds] == ["made", "found"] and len(audited) == 4
    assert all(entry["packages"] == ["alpha>=1", "beta"] and entry["principal"] == "local" for entry in builds)


@pytest.mark.parametrize("packages, text", [
    ("alpha", "must be a list"), ({"alpha": 1}, "must be a list"), ([1], "must be a list"), ([["alpha"]], "must be a list"), (["alpha"] * 101, "must be a list"),
    (["omega"], "'omega' is not among those"), (["alpha", "omega>=1"], "'omega' is not among those"), (["alphaa"], "'alphaa' is not among those"),
    (["uvicorn"], "'uvicorn' is not among those"), (["alpha[x]"], "'alpha[x]' is not among those"),
    (["alpha @ https://h.example/a.whl"], "is not the name of a package"), (["https://h.example/alpha.whl"], "is not the name of a package"),
    (["./alpha"], "is not the name of a package"), (["../alpha.whl"], "is not the name of a package"), (["-r /etc/passwd"], "is not the name of a package"),
    (["--index-url=https://h.example"], "is not the name of a package"), (["alpha --hash=sha256:00"], "is not the name of a package"),
    (["alpha; sys_platform == 'linux'"], "is not the name of a package"), (["alpha\n-e ."], "is not the name of a package"),
    (["alpha>1\u2028-e ."], "is not the name of a package"), (["alpha==${HOME}"], "is not the name of a package"), (["alpha\0"], "is not the name of a package"),
    (["git+https://h.example/alpha"], "is not the name of a package"), ([""], "is not the name of a package"), (["alpha" + "a" * 300], "is not the name of a package")])
def test_what_is_refused_before_anything_is_installed(shared_server, packages, text):
    answer = shared_server.execute("1", packages=packages)
    assert answer.status == 400 and answer.json()["code"] == "invalid_request", answer.body
    assert answer.json()["title"].startswith("packages: ") and text in answer.json()["title"] and answer.json()["hint"], answer.body
    assert shared_server.store.parts("build") == []


def test_an_environment_and_packages_together_are_refused(shared_server):
    for member in ("policy", "session_policy", "policy_defaults"):
        answer = shared_server.execute("1", packages=["alpha"], **{member: {"environment": "data"}})
        assert answer.status == 400 and member + " names an environment too" in answer.json()["title"]


def test_names_are_compared_as_package_indexes_do(shared_server):
    assert shared_server.execute("1", packages=["delta_x", "UVICORN[Standard]"]).status == 400        # uvicorn itself is not named
    answer = shared_server.execute("1", packages=["delta_x==1"], timeout=300)
    assert answer.status == 200, answer.body


def test_the_line_of_a_token_replaces_the_list(shared_server):
    def ask(who, packages, **more):
        return shared_server.execute("1", packages=packages, address=shared_server.tcp, token="%s-secret" % who[0], timeout=300, **more)
    assert ask("alice", ["alpha"]).status == 200
    answer = ask("alice", ["beta"])
    assert answer.status == 400 and "It may ask for alpha." in answer.json()["hint"]
    answer = ask("bob", ["alpha"])
    assert answer.status == 400 and "may not ask for packages" in answer.json()["title"] and "allow_requests" in answer.json()["hint"]
    assert ask("carla", ["beta"]).status == 200
    # The environment is allowed for that request alone.
    for name in shared_server.store.parts("names"):
        answer = shared_server.execute("1", policy={"environment": name}, address=shared_server.tcp, token="a-secret")
        assert answer.status == 400 and "ceiling" in answer.json()["title"], answer.body
    assert shared_server.execute("import alpha", "t", packages=["alpha"], address=shared_server.tcp, token="a-secret").json()["status"] == "ok"
    assert shared_server.execute("alpha.number", "t", address=shared_server.tcp, token="a-secret").json()["last_value_repr"] == "42"
    assert shared_server.ask("DELETE", "/v1/sessions/t", address=shared_server.tcp, token="a-secret").status == 204


@pytest.mark.parametrize("allow", ["a>=1", "*", "https://h.example/a", "a[b][c]"])
def test_a_name_in_the_configuration_that_is_none_is_refused_at_the_start(own, allow):
    done = own.run("serve", env={**os.environ, "PYEXEC_ENV_ALLOW_REQUESTS": allow})
    assert done.returncode == 125 and b"is not the name of a package" in done.stderr, done.stderr
    with running(own, tokens=TOKENS) as server:
        server.write_tokens(token_line("alice", "a-secret", "allow_requests=" + allow))
        server.reload()
        assert "is not the name of a package" in server.log()


def test_without_configuration_there_are_none(own):
    with running(own, allow="") as server:
        answer = server.execute("1", packages=["alpha"])
        assert answer.status == 400 and "may not ask for packages" in answer.json()["title"] and "GET /v1/environments" in answer.json()["hint"]
        # The metadata of a script is a comment here.
        assert server.result("# /// script\n# dependencies = ['alpha']\n# ///\n5")["last_value_repr"] == "5"


def test_requests_at_the_same_time_make_one_environment(server):
    server.store.write("wait", "")
    threads = [in_background(server.execute, "import alpha; alpha.number", packages=["alpha"], timeout=300) for _ in range(5)]
    waiting(server)
    wait_until(lambda: server.metric("pyexec_package_requests_waiting") == 4, "the others do not wait", 60)
    assert server.metric("pyexec_package_builds") == 1 and len(server.store.parts("build")) == 1
    assert server.result("6 * 7")["last_value_repr"] == "42"         # others go on
    os.unlink(server.store.home + "/wait")
    assert [answer_of(thread).json()["last_value_repr"] for thread in threads] == ["42"] * 5
    assert outcomes(server) == {"found": 4, "made": 1, "failed": 0, "cancelled": 0} and len(server.lines(event="packages")) == 1


def test_a_wait_holds_no_turn_and_only_so_many_are_made_at_once(own, nothing_left):
    with running(own, variables={"PYEXEC_HOST_MAX_CONCURRENT": "1", "PYEXEC_ENV_MAX_BUILDS": "1"}) as server:
        server.store.write("wait", "")
        first = in_background(server.execute, "import alpha; alpha.number", packages=["alpha"], timeout=300)
        waiting(server)
        second = in_background(server.execute, "import beta; beta.number", packages=["beta"], timeout=300)
        wait_until(lambda: server.metric("pyexec_package_requests_waiting") == 1, "the second does not wait", 60)
        assert server.result("6 * 7")["last_value_repr"] == "42"
        # A later call of a session does not overtake the one that waits.
        third = in_background(server.execute, "import alpha; n = 1", "s", packages=["alpha"], timeout=300)
        wait_until(lambda: server.metric("pyexec_package_requests_waiting") == 2, "the third does not wait", 60)
        fourth = in_background(server.execute, "n + 1", "s", timeout=300)
        assert server.metric("pyexec_package_builds") == 1 and len(server.store.parts("build")) == 1
        os.unlink(server.store.home + "/wait")
        assert answer_of(first).json()["last_value_repr"] == "42" and answer_of(second).json()["last_value_repr"] == "7"
        assert answer_of(third).json()["status"] == "ok" and answer_of(fourth).json()["last_value_repr"] == "2"
        server.ask("DELETE", "/v1/sessions/s")


def test_requests_can_not_fill_the_disk(own, nothing_left):
    with running(own, variables={"PYEXEC_ENV_MAX_CACHED": "1"}) as server:
        assert server.result("import alpha; alpha.number", packages=["alpha"], timeout=300)["last_value_repr"] == "42"
        for packages in (["alpha>=0"], ["beta"]):
            answer = server.execute("1", packages=packages, timeout=300)
            assert answer.status == 503 and "max_cached" in answer.json()["hint"] and answer.headers["Retry-After"], answer.json()
        assert server.result("import alpha; alpha.number", packages=["alpha"])["last_value_repr"] == "42"
        assert len(server.store.parts("names")) == 1


def test_the_process_ends_with_the_last_client_that_waits(server):
    server.store.write("wait", "")
    body = json.dumps({"code": "1", "packages": ["alpha"]}).encode()
    sockets = []
    for _ in range(2):
        sock = dial(server.socket)
        sock.sendall(b"POST /v1/execute HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        sockets.append(sock)
    waiting(server)
    wait_until(lambda: server.metric("pyexec_package_requests_waiting") == 1, "the second does not wait", 60)
    sockets[0].close()
    sockets[1].close()
    wait_until(lambda: server.metric("pyexec_package_builds") == 0 and outcomes(server)["cancelled"] == 2, "it is not cancelled", 60)
    wait_until(lambda: not builders(), "a process is left", 60)
    os.unlink(server.store.home + "/wait")
    assert server.result("import alpha; alpha.number", packages=["alpha"], timeout=300)["last_value_repr"] == "42"
    assert server.store.parts("build") == []


def test_one_client_that_goes_away_does_not_disturb_the_others(server):
    server.store.write("wait", "")
    body = json.dumps({"code": "1", "packages": ["alpha"]}).encode()
    sock = dial(server.socket)
    sock.sendall(b"POST /v1/execute HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
    waiting(server)
    other = in_background(server.execute, "import alpha; alpha.number", packages=["alpha"], timeout=300)
    wait_until(lambda: server.metric("pyexec_package_requests_waiting") == 1, "the second does not wait", 60)
    sock.close()
    time.sleep(0.5)
    assert server.metric("pyexec_package_builds") == 1
    os.unlink(server.store.home + "/wait")
    assert answer_of(other).json()["last_value_repr"] == "42"


def test_a_cancelled_execution_ends_the_process_and_gets_its_answer(server):
    server.store.write("wait", "")
    answer = server.execute("1", packages=["alpha"], detach=True)
    path = "/v1/executions/" + answer.json()["execution_id"]
    waiting(server)
    server.ask("DELETE", path)
    wait_until(lambda: server.ask("GET", path).json()["state"] == "ended", "it does not end", 60)
    assert server.ask("GET", path).json()["result"]["status"] == "cancelled"
    wait_until(lambda: not builders(), "a process is left", 60)
    assert outcomes(server)["cancelled"] == 1


def test_a_failure_says_what_the_installer_said(server):
    server.store.write("broken", "  x No solution found when resolving dependencies:\n  Because alpha was not found in the package registry and you require alpha, "
                                 "we can conclude that your requirements are unsatisfiable.\n")
    answer = server.execute("1", packages=["alpha"], timeout=300)
    assert answer.status == 400 and answer.json()["code"] == "invalid_request", answer.body
    assert "not in the package index" in answer.json()["title"] and "Because alpha was not found" in answer.json()["title"]
    assert "Check the name and version" in answer.json()["hint"]
    assert outcomes(server) == {"found": 0, "made": 0, "failed": 1, "cancelled": 0} and server.store.parts("build") == []
    # What is the server's own fault goes to its log.
    server.store.write("broken", "error: Failed to fetch: https://secret-index.example: dns error: no route\n")
    answer = server.execute("1", packages=["alpha"], timeout=300)
    assert answer.status == 500 and "the package index can't be reached" in answer.json()["title"] and "secret-index" not in answer.body.decode()
    assert "secret-index" in server.log()
    os.unlink(server.store.home + "/broken")
    assert server.execute("1", packages=["alpha"], timeout=300).status == 200


def test_a_full_disk_is_the_servers_own_fault(server):
    server.store.write("broken", "error: Failed to install: No space left on device (os error 28)\n")
    answer = server.execute("1", packages=["alpha"], timeout=300)
    assert answer.status == 500 and "its disk is full" in answer.json()["title"] and "log" in answer.json()["hint"]
    assert "No space left" in server.log() and server.store.parts("names") == [] and server.store.parts("build") == []


def test_it_must_be_ready_within_the_time(own, nothing_left):
    with running(own, variables={"PYEXEC_ENV_BUILD_TIMEOUT": "2s"}) as server:
        server.store.write("wait", "")
        answer = server.execute("1", packages=["alpha"], timeout=120)
        assert answer.status == 500 and "was not ready after 2 seconds" in answer.json()["title"] and "pyexec env create" in answer.json()["hint"]
        wait_until(lambda: not builders(), "a process is left", 60)
        os.unlink(server.store.home + "/wait")


def test_a_server_that_is_killed_leaves_nothing_broken(pyexec, nothing_left):
    store = make_store(pyexec)
    environment = {**store.environment, "PYEXEC_ENV_ALLOW_REQUESTS": "alpha"}
    try:
        with serving(pyexec, env=environment) as server:
            server.store = store
            store.write("wait", "")
            body = json.dumps({"code": "1", "packages": ["alpha"]}).encode()
            sock = dial(server.socket)
            sock.sendall(b"POST /v1/execute HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            waiting(server)
            server.stop(signal.SIGKILL)
            sock.close()
            wait_until(lambda: not builders(), "a process is left", 60)
        assert store.parts("names") == [] and store.parts("store") == []
        os.unlink(store.home + "/wait")
        with serving(pyexec, env=environment) as server:
            assert server.result("import alpha; alpha.number", packages=["alpha"], timeout=300)["last_value_repr"] == "42"
        assert store.parts("build") == [] and len(store.parts("store")) == 1
        store.check()
    finally:
        store.close()


def test_a_server_that_drains_waits_for_it_and_then_ends_it(own, nothing_left):
    with running(own, config="[serve]\ndrain_grace = 2s\n") as server:
        server.store.write("wait", "")
        thread = in_background(server.execute, "1", packages=["alpha"], timeout=120)
        waiting(server)
        assert server.stop() == 0
        answer = answer_of(thread)
        assert answer.status == 503 or answer.json().get("status") == "cancelled", answer.body
        wait_until(lambda: not builders(), "a process is left", 60)
        os.unlink(server.store.home + "/wait")
    with running(own) as server:
        server.store.write("wait", "")
        thread = in_background(server.execute, "import alpha; alpha.number", packages=["alpha"], timeout=120)
        waiting(server)
        server.process.terminate()
        wait_until(lambda: "draining" in server.log(), "it does not drain")
        os.unlink(server.store.home + "/wait")
        assert answer_of(thread).json()["last_value_repr"] == "42"
        assert server.process.wait(60) == 0


def test_an_environment_that_was_removed_is_made_again(server):
    assert server.execute("1", packages=["alpha"], timeout=300).status == 200
    server.store.ok("prune", "--unused-days", "0")
    wait_until(lambda: server.store.ok("prune", "--unused-days", "0") is not None, "")
    assert server.store.parts("names") == []
    assert server.result("import alpha; alpha.number", packages=["alpha"], timeout=300)["last_value_repr"] == "42"
    assert outcomes(server)["made"] == 2


def test_with_pip_from_wheels(own, nothing_left):
    with running(own, "--allow-import", "sys", fast=False, allow="tally") as server:
        wheels.wheel(server.store.wheels, "tally", "1.0", {"tally.py": "import helper\nvalue = helper.VALUE\n"}, requires=["helper"])
        wheels.wheel(server.store.wheels, "tally", "2.0", {"tally.py": "value = 2\n"})
        wheels.wheel(server.store.wheels, "helper", "1.0", {"helper.py": "VALUE = 1\n", "helper.pth": "import sys; sys.early = 1\n"})
        result = server.result("import sys, tally, helper\n[tally.value, hasattr(sys, 'early')]", packages=["tally<2"], timeout=300)
        assert result["last_value_repr"] == "[1, False]", result
        assert server.result("import tally; tally.value", packages=["tally"], timeout=300)["last_value_repr"] == "2"
        answer = server.execute("1", packages=["tally>=9"], timeout=300)
        assert answer.status == 400 and "tally" in answer.json()["title"], answer.body


def test_other_fronts_say_that_they_take_none(own, nothing_left):
    with JsonLines(own, "rpc") as client:
        client.ask("initialize", protocol=1)
        for method, params in (("execute_once", {}), ("execute", {"session_id": "s"})):
            error = client.ask(method, code="1", packages=["alpha"], **params)["error"]
            assert "packages: only executions and sessions of `pyexec serve` take packages" in error["message"], error
            assert "`environment` in the policy" in error["data"]["hint"]
        assert "takes no 'packages'" in client.ask("create_session", session_id="s", packages=["alpha"])["error"]["message"]
        assert "packages: verify takes no such member" in client.ask("verify", solution="1", tests=[{"code": "1"}], packages=["alpha"])["error"]["message"]
    with Client(own) as client:
        assert "Nothing can be installed" in text(client.call("run_python", code="1", packages=["alpha"]))


def test_pyexec_run_with_a_server_sends_the_packages(own, nothing_left):
    script = "# /// script\n# requires-python = '>=3.8'\n# dependencies = ['beta', 'delta_x']\n# ///\nimport alpha, beta\nalpha.number + beta.number"
    client = {"PATH": "/usr/bin:/bin", "HOME": "/nowhere", "PYEXEC_ENV_ROOT": "/nowhere"}
    with running(own) as server:
        def run(*arguments, **more):
            done = subprocess.run([own.path, "run", "--server", "unix:" + server.socket, *arguments], capture_output=True, timeout=300,
                                  env={**client, **more})
            return done.returncode, done.stdout.decode(), done.stderr.decode()
        assert run("--with", "alpha", "-c", "import alpha; alpha.number") == (0, "42\n", "")
        path = server.store.write("script.py", script)
        assert run("--with", "alpha>=1", path) == (0, "49\n", "")
        # Packages take the place of the environment in the client's own configuration; --environment makes the metadata a comment.
        assert run("--with", "alpha", "-c", "import alpha; alpha.number", PYEXEC_POLICY_ENVIRONMENT="data") == (0, "42\n", "")
        assert "'data' is beyond this caller's ceiling" in run("--environment", "data", path)[2]
        status, _, told = run("--with", "omega", "-c", "1")
        assert status == 125 and "'omega' is not among those" in told and "It may ask for alpha" in told
        status, _, told = run("--with", "./alpha.whl", "-c", "1")
        assert status == 125 and "is not the name of a package" in told
        assert outcomes(server) == {"found": 1, "made": 2, "failed": 0, "cancelled": 0}
    store = make_store(own)       # without a server the packages are installed here, where that is allowed
    try:
        done = own.run("run", "--with", "alpha", "-c", "import alpha; alpha.number", timeout=300,
                       env={**store.environment, "PYEXEC_CLI_SERVER": "unix:/nowhere/socket", "PYEXEC_CLI_FALLBACK": "true"})
        assert (done.returncode, done.stdout) == (0, b"42\n"), done.stderr
        assert len(store.parts("names")) == 1
    finally:
        store.close()

# SPDX-License-Identifier: Apache-2.0
"""Secrets in `pyexec serve`: each principal has its own and nobody another's, over HTTP and over MCP; sessions, reloads, and values that change."""
import contextlib
import os
import signal

import pytest

from conftest import BUILD, is_alive
from secret_site import OTHER_VALUE, VALUE, operator, shown
from serving import serving, token_line
from waiting import wait_until

pytestmark = pytest.mark.skipif(not os.path.exists(os.path.join(BUILD, "pyexec-egress")), reason="the build has no pyexec-egress")
ALICE, BOB = token_line("alice", "a-token", "secrets=first"), token_line("bob", "b-token", "secrets=second")
BOTH, CAROL = token_line("both", "both-token", "secrets=first,second"), token_line("carol", "c-token")
# For each of the two hosts: the placeholder, and what the host says it got for FORGED or for the placeholder.
FETCH = """
import os, urllib.request
found = {}
for name in ("FIRST", "SECOND"):
    sent = FORGED or os.environ.get(name, "nothing")
    request = urllib.request.Request("https://" + HOSTS[name] + "/" + PATH, headers={"Authorization": "Bearer " + sent})
    found[name] = (os.environ.get(name), urllib.request.urlopen(request).headers["X-Echo"])
found
"""


class Place:
    def __init__(self, pyexec, made):
        self.pyexec, self.made = pyexec, made
        self.first, self.second = made.site(), made.site()
        self.asked = 0

    @contextlib.contextmanager
    def serving(self, *flags, tokens=(ALICE, BOB, BOTH, CAROL), env=None, **more):
        settings = self.made.settings(first=(self.first.host, VALUE), second=(self.second.host, OTHER_VALUE))
        hosts = "%s,%s" % (self.first.host, self.second.host)
        with serving(self.pyexec, "--any-import", "--allow-host", hosts, "--timeout", "120s", "--cpu-time-seconds", "100", *flags, tokens=list(tokens),
                     env={**settings, **(env or {})}, **more) as server:
            yield server

    def code(self, forged=None):
        self.asked += 1
        self.path = "p%d" % self.asked
        return "FORGED, PATH, HOSTS = %r, %r, %r" % (forged, self.path, {"FIRST": self.first.host, "SECOND": self.second.host}) + FETCH

    def took(self, result):
        """Which values the hosts got in the last run, and the placeholders that it had. What came back is no value in any case."""
        assert result["status"] == "ok", (result["error_repr"], result["denials"])
        assert VALUE not in str(result) and OTHER_VALUE not in str(result)
        found, got = eval(result["last_value_repr"]), {}
        for name, site, value in (("FIRST", self.first, VALUE), ("SECOND", self.second, OTHER_VALUE)):
            placeholder, echoed = found[name]
            token = site.got("/" + self.path)
            got[name] = token == "Bearer " + value
            assert VALUE not in token.replace(value, "") and OTHER_VALUE not in token.replace(value, ""), "the value of the other host"
            assert (placeholder is not None) == got[name], (found, token)
            assert not got[name] or echoed == "Bearer " + shown(placeholder, value)
        return [name for name in got if got[name]], found


@pytest.fixture(scope="module")
def place(pyexec):
    with operator(pyexec.uid) as made:
        yield Place(pyexec, made)


def run(place, server, token=None, session=None, forged=None):
    return place.took(server.result(place.code(forged), session, token=token, timeout=120))


def call(place, server, token=None, **more):
    """The same over MCP."""
    message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "run_python", "arguments": {"code": place.code(), **more}}}
    answer = server.ask("POST", "/mcp", message, {"Accept": "application/json, text/event-stream"}, token=token, timeout=120)
    assert answer.status == 200, answer.body
    return answer.json()["result"]["structuredContent"]


def test_each_principal_has_its_own_secrets_and_no_others(place, nothing_left):
    with place.serving(tcp=True) as server:
        for token, names in (("a-token", ["FIRST"]), ("b-token", ["SECOND"]), ("both-token", ["FIRST", "SECOND"]), ("c-token", []), (None, [])):
            assert run(place, server, token)[0] == names, token
        count = len(place.first.requests)
        assert server.execute(place.code(), address=server.tcp).status == 401
        assert server.execute(place.code(), token="no-token").status == 401
        assert len(place.first.requests) == count


def test_the_placeholder_of_another_is_only_text(place):
    with place.serving() as server:
        _, found = run(place, server, "a-token", "s")
        theirs = found["FIRST"][0]
        for token in ("b-token", "c-token", None):
            names, found = run(place, server, token, forged=theirs)
            assert "FIRST" not in names and place.first.got("/" + place.path) == "Bearer " + theirs
        # Its own secret is used, whatever the script writes.
        assert run(place, server, "a-token", forged="anything")[0] == ["FIRST"]


def test_callers_without_a_token_have_local_secrets(place):
    with place.serving(env={"PYEXEC_EGRESS_LOCAL_SECRETS": "second"}) as server:
        assert run(place, server)[0] == ["SECOND"]
        assert place.took(call(place, server))[0] == ["SECOND"]
        assert run(place, server, "a-token")[0] == ["FIRST"] and run(place, server, "c-token")[0] == []


def test_mcp_over_http_has_the_secrets_of_its_token(place, nothing_left):
    with place.serving() as server:
        for token, names in (("a-token", ["FIRST"]), ("b-token", ["SECOND"]), ("c-token", []), (None, [])):
            assert place.took(call(place, server, token))[0] == names, token
            assert place.took(call(place, server, token, session_id="s"))[0] == names, token
            assert place.took(call(place, server, token, session_id="s"))[0] == names, token
        execution = call(place, server, "a-token", detach=True)["execution_id"]
        ended = wait_until(lambda: (got := server.ask("GET", "/v1/executions/" + execution, token="a-token").json())["state"] == "ended" and got, "it does not end", 100)
        assert place.took(ended["result"])[0] == ["FIRST"]


def test_sessions_of_one_name_are_apart_and_keep_what_they_began_with(place):
    with place.serving() as server:
        for _ in range(2):
            assert run(place, server, "a-token", "s")[0] == ["FIRST"] and run(place, server, "b-token", "s")[0] == ["SECOND"]
            assert run(place, server, "c-token", "s")[0] == []
        # alice loses her secret and carol gets one: for runs at once, for sessions when their process is made.
        server.write_tokens(token_line("alice", "a-token"), BOB, token_line("carol", "c-token", "secrets=first"))
        server.reload()
        assert run(place, server, "a-token")[0] == [] and run(place, server, "c-token")[0] == ["FIRST"]
        assert place.took(call(place, server, "a-token"))[0] == [] and place.took(call(place, server, "c-token"))[0] == ["FIRST"]
        assert run(place, server, "a-token", "s")[0] == ["FIRST"] and run(place, server, "c-token", "s")[0] == []
        for token in ("a-token", "c-token"):
            assert server.ask("DELETE", "/v1/sessions/s", token=token).status == 204
        assert run(place, server, "a-token", "s")[0] == [] and run(place, server, "c-token", "s")[0] == ["FIRST"]


def test_a_name_that_is_no_secret_is_said(place):
    with place.serving(tokens=[token_line("alice", "a-token", "secrets=third")]) as server:
        answer = server.execute(place.code(), token="a-token")
        assert answer.json()["code"] == "invalid_policy" and b"there is none named 'third'" in answer.body, answer.body


def proxies(server):
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open("/proc/%s/stat" % name) as stat, open("/proc/%s/cmdline" % name) as command:
            if int(stat.read().rsplit(")", 1)[1].split()[1]) == server.process.pid and "pyexec-egress" in command.read():
                found.append(int(name))
    return found


def test_a_new_value_is_used_by_the_next_proxy(place):
    """As documented: the proxy reads the file when it starts."""
    changed = "sk-new-99887766554433221100ffeeddccbbaa"
    with place.serving(tokens=[ALICE]) as server:
        assert run(place, server, "a-token", "s")[0] == ["FIRST"]
        place.made.write("first.value", changed + "\n")
        assert run(place, server, "a-token")[0] == ["FIRST"]
        proxy, = proxies(server)
        os.kill(proxy, signal.SIGKILL)
        wait_until(lambda: not is_alive(proxy), "it lives")
        for session in (None, "s"):
            result = server.result(place.code(), session, token="a-token", timeout=120)
            assert result["status"] == "ok" and changed not in str(result), result
            assert place.first.got("/" + place.path) == "Bearer " + changed

# SPDX-License-Identifier: Apache-2.0
"""`pyexec serve` with other MCP servers (code mode): which principals can call the tools of which servers."""
import ast
import json
import os
import time

import pytest

from code_mode import entry
from conftest import BUILD, is_alive
from http_mcp import Server as HttpServer
from serving import serving, token_line
from waiting import wait_until

LONG = ["--timeout", "60s", "--cpu-time-seconds", "60"]
MODERN = {"MCP-Protocol-Version": "2026-07-28"}
META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
PATIENT = {"PYEXEC_MCP_START_TIMEOUT": "300s"}


def line(name, *settings):
    return token_line(name, name + "-secret", *settings)


@pytest.fixture
def serve(own, tmp_path, nothing_left):
    """Starts a server with these MCP servers and principals."""
    def made(servers, *tokens, config="", env={}):
        (tmp_path / "servers.json").write_text(json.dumps({"mcpServers": servers}))
        return serving(own, *LONG, tcp=True, tokens=tokens, env={**PATIENT, **env},
                       config="[mcp]\nservers = %s/servers.json\n%s" % (tmp_path, config))
    return made


def value(server, who, code, session=None, **more):
    """Returns the value of a script. Repeats it until the MCP servers have started."""
    where = {"address": server.tcp, "token": who + "-secret"} if who else {}
    deadline = time.monotonic() + 120
    result = {"error": {"type": "NameError"}}
    while result["error"] and result["error"]["type"] == "NameError":       # not started yet, on a busy machine
        assert time.monotonic() < deadline, result
        result = server.result(code, session, timeout=120, **where, **more)
    assert result["status"] == "ok", result
    return ast.literal_eval(result["last_value_repr"])


def modules(server, who, *names, wanted=()):
    """Waits until a script has the modules `wanted`. Returns which of the modules `names` it has then."""
    def found():
        return value(server, who, "[name for name in %r if name in globals()]" % (names,))
    wait_until(lambda: set(wanted) <= set(found()), "the servers do not start", 120)
    return found()


def rpc(server, who, method, **params):
    headers = {**MODERN, "Mcp-Method": method, **({"Mcp-Name": params["name"]} if "name" in params else {})}
    answer = server.ask("POST", "/mcp", {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": META}}, headers,
                        address=server.tcp, token=who + "-secret", timeout=120)
    assert answer.status == 200, answer.body
    return answer.json()["result"]


def test_each_principal_has_the_servers_of_its_line_alone(serve):
    with serve({"shop": entry(), "other": entry()}, line("alice", "mcp_servers=shop"), line("bob"), line("carol", "mcp_servers=shop,other", "timeout_ms=60000")) as server:
        assert modules(server, "alice", "shop", "other", wanted=["shop"]) == ["shop"]
        assert modules(server, "bob", "shop", "other") == []
        assert modules(server, "carol", "shop", "other", wanted=["shop", "other"]) == ["shop", "other"]
        assert modules(server, None, "shop", "other") == []        # `local` may use those of [mcp] local_servers
        assert value(server, "alice", "import shop\nshop.say('a')") == "a"
        result = server.result("import other", address=server.tcp, token="alice-secret")
        assert "import 'other' not allowed" in result["error"]["message"]


def test_sessions_streams_and_detached_executions_have_them_too(serve):
    with serve({"shop": entry()}, line("alice", "mcp_servers=shop")) as server:
        assert value(server, "alice", "kept = shop.say\nkept('a')", "s") == "a"
        assert value(server, "alice", "kept('b'), shop.echo('c')['times']", "s") == ("b", 1)
        who = {"address": server.tcp, "token": "alice-secret"}
        begun = server.ask("POST", "/v1/execute", {"code": "shop.say('d')", "detach": True}, **who).json()
        done = server.ask("GET", "/v1/executions/%s?wait_ms=60000" % begun["execution_id"], timeout=120, **who).json()
        assert done["result"]["last_value_repr"] == "'d'", done
        answer = server.ask("POST", "/v1/execute", {"code": "shop.say('e')"}, {"Accept": "text/event-stream"}, timeout=120, **who)
        assert "'e'" in answer.body.decode()


def test_over_mcp_the_description_has_their_signatures_and_run_python_calls_them(serve):
    with serve({"shop": entry(), "other": entry()}, line("alice", "mcp_servers=shop"), line("bob")) as server:
        assert value(server, "alice", "shop.say('a')") == "a"
        told = rpc(server, "alice", "tools/list")["tools"][0]["description"]
        assert "class shop:  # import shop" in told and "def say(text: str)" in told and "other" not in told.replace("tools of other MCP servers", "").replace("no other", "")
        assert "class shop" not in rpc(server, "bob", "tools/list")["tools"][0]["description"]
        result = rpc(server, "alice", "tools/call", name="run_python", arguments={"code": "sum(shop.echo(str(n), times=n)['times'] for n in range(10))"})
        assert result["structuredContent"]["last_value_repr"] == "45"
        result = rpc(server, "bob", "tools/call", name="run_python", arguments={"code": "shop.say('a')"})
        assert "name 'shop' is not defined" in result["structuredContent"]["error"]["message"]
        assert rpc(server, "alice", "server/discover")["capabilities"]["tools"] == {}      # no stream would tell of a change


def test_no_two_principals_share_a_process(serve):
    with serve({"shop": entry()}, line("alice", "mcp_servers=shop"), line("bob", "mcp_servers=shop")) as server:
        code = "import json\njson.loads(shop.starts_children())[0]"
        alice, again, bob = (value(server, who, code) for who in ("alice", "alice", "bob"))
        assert alice == again != bob and is_alive(alice) and is_alive(bob)
    wait_until(lambda: not is_alive(alice) and not is_alive(bob), "servers are left")


def test_a_dead_server_of_one_principal_is_not_that_of_another(serve):
    with serve({"shop": entry()}, line("alice", "mcp_servers=shop"), line("bob", "mcp_servers=shop")) as server:
        assert value(server, "bob", "shop.say('a')") == value(server, "alice", "shop.say('a')") == "a"
        died = server.result("shop.dies()", address=server.tcp, token="alice-secret", timeout=120)
        assert "MCP server 'shop' ended (exit status 3)" in died["error"]["message"]
        assert value(server, "bob", "shop.say('b')") == "b"


def test_the_principal_of_the_socket_has_those_of_local_servers(serve):
    with serve({"shop": entry(), "other": entry()}, line("alice"), config="local_servers = other\n") as server:
        assert modules(server, None, "shop", "other", wanted=["other"]) == ["other"] and modules(server, "alice", "shop", "other") == []


def test_a_reload_gives_and_takes_servers(serve):
    with serve({"shop": entry(), "other": entry()}, line("alice", "mcp_servers=shop")) as server:
        old = value(server, "alice", "import json\njson.loads(shop.starts_children())[0]")
        server.write_tokens(line("alice", "mcp_servers=other"))
        server.reload()
        assert modules(server, "alice", "shop", "other", wanted=["other"]) == ["other"]
        wait_until(lambda: not is_alive(old), "the server that may not be used any more goes on", 60)
        server.write_tokens(line("alice"))
        server.reload()
        assert modules(server, "alice", "shop", "other") == []
        server.write_tokens(line("alice", "mcp_servers=shop,nowhere"))
        server.reload()
        assert "'alice' may use 'nowhere', which is not in" in server.log()
        assert modules(server, "alice", "shop", "nowhere", wanted=["shop"]) == ["shop"]


def test_idle_servers_end_and_start_again(serve):
    with serve({"shop": entry()}, line("alice", "mcp_servers=shop"), config="idle_timeout = 1s\n") as server:
        code = "import json\njson.loads(shop.starts_children())[0]"
        first = value(server, "alice", code)
        wait_until(lambda: not is_alive(first), "the idle server goes on", 60)
        second = value(server, "alice", code)
        assert second != first


def test_a_silent_server_keeps_nobody_waiting_for_ever(serve):
    with serve({"quiet": entry("silent"), "shop": entry()}, line("alice", "mcp_servers=quiet,shop"), line("bob", "mcp_servers=shop"),
               config="start_timeout = 3s\n", env={"PYEXEC_MCP_START_TIMEOUT": "3s"}) as server:
        assert modules(server, "alice", "quiet") == []
        wait_until(lambda: "MCP server 'quiet' was ended: it did not answer within [mcp] start_timeout" in
                   rpc(server, "alice", "tools/list")["tools"][0]["description"], "the silent server is not given up", 120)


@pytest.mark.skipif(not os.path.exists(BUILD + "/pyexec-mcp-http"), reason="this build has no libcurl")
def test_each_principal_has_a_session_of_its_own_with_a_server_over_http(serve):
    with HttpServer() as remote, serve({"shop": {"url": remote.url}}, line("alice", "mcp_servers=shop"), line("bob", "mcp_servers=shop")) as server:
        remote.tools["session"] = lambda r: r.text(r.headers["Mcp-Session-Id"])
        alice, again, bob = (value(server, who, "shop.session()") for who in ("alice", "alice", "bob"))
        assert alice == again != bob


@pytest.mark.parametrize("tokens, config, why", [
    ([line("alice", "mcp_servers=nowhere")], None, "'alice' may use 'nowhere', which is not in"),
    ([line("alice", "mcp_servers=shop")], "[mcp]\n", "'alice' may use 'shop', but there are no MCP servers"),
    ([], "[mcp]\nlocal_servers = shop\n", "'local' may use 'shop', but there are no MCP servers"),
    ([], "[mcp]\nservers = /nowhere/servers.json\n", "can't read the MCP servers from '/nowhere/servers.json'"),
])
def test_what_is_not_there_is_refused_at_the_start(own, tmp_path, nothing_left, tokens, config, why):
    (tmp_path / "servers.json").write_text(json.dumps({"mcpServers": {"shop": entry(), "off": {"command": "x", "disabled": True}}}))
    config = config or "[mcp]\nservers = %s/servers.json\n" % tmp_path
    with serving(own, tcp=True, tokens=tokens, config=config, ready=False) as server:
        assert server.process.wait(60) == 125
        assert why in server.log() and "hint: " in server.log()


def test_the_flag_names_the_file_too(own, tmp_path, nothing_left):
    (tmp_path / "servers.json").write_text(json.dumps({"mcpServers": {"shop": entry()}}))
    with serving(own, *LONG, "--mcp-servers", str(tmp_path / "servers.json"), tcp=True, tokens=[line("alice", "mcp_servers=shop")], env=PATIENT) as server:
        assert value(server, "alice", "shop.say('a')") == "a"

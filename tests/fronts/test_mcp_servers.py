# SPDX-License-Identifier: Apache-2.0
"""Code mode: `pyexec mcp --mcp-servers`, whose scripts call the tools of other MCP servers. The servers here are scripted
(tests/support/hostile_mcp_server.py); test_mcp_real_servers.py has those of npm and PyPI."""
import ast
import json
import os
import signal
import subprocess
import time

import pytest

from conftest import BUILD, is_alive
from code_mode import described, entry, error, start, value       # noqa: F401 (a fixture)
from mcp_stdio import Client, text

# ---- What scripts see ----

def test_one_script_calls_many_tools_and_only_its_value_comes_back(start):
    client = start({"shop": entry()})
    result = client.call("run_python", code="import shop\nsum(shop.echo(str(n), times=n)['times'] for n in range(20))")
    assert value(result) == 190 and result["structuredContent"]["usage"]["tool_calls"]["count"] == 20


def test_results_are_structured_content_else_text_else_the_content(start):
    client = start({"shop": entry()})
    assert value(client.call("run_python", code="shop.echo('a'), shop.say('b'), shop.mixed()")) == (
        {"text": "a", "times": 1}, "b", [{"type": "text", "text": "a"}, {"type": "image", "data": "AA==", "mimeType": "image/png"}])


def test_an_error_of_a_tool_is_a_tool_error_with_its_text(start):
    client = start({"shop": entry()})
    assert error(client, "shop.fails()") == "no such city"
    assert value(client.call("run_python", code="try: shop.breaks()\nexcept ToolError as e: kept = e\nstr(kept), kept.tool, kept.data")) == (
        "shop: broken (-32000)", "shop.breaks", {"why": 1})
    assert "asks for more input" in error(client, "shop.asks()")
    assert "must be string" in error(client, "shop.say(5)") and "unexpected keyword argument" in error(client, "shop.say('a', b=1)")


def test_modules_can_be_imported_under_every_policy(start):
    client = start({"shop": entry()}, "--allowed-imports", "")
    assert value(client.call("run_python", code="import shop, tools, shop.aio\nfrom shop import say\nfrom shop.aio import slow\nsay('a'), shop.aio is not None")) == ("a", True)
    client = start({"shop": entry()}, "--any-import", "--banned-imports", "shop")
    assert value(client.call("run_python", code="import shop\nshop.say('a')")) == "a"


def test_awaitable_forms_run_at_once(start):
    client = start({"shop": entry(), "other": entry()}, "--allow-import", "asyncio")
    code = "import asyncio, time\nbegan = time.monotonic()\nboth = await asyncio.gather(shop.aio.slow(1), other.aio.slow(2))\nboth, time.monotonic() - began"
    both, seconds = value(client.call("run_python", code=code))
    assert both == ["1", "2"] and seconds < 30


def test_names_that_python_does_not_take_are_mapped_and_the_original_is_told(start):
    client = start({"my-shop.io": entry(), "my_shop/io": entry(), "time": entry(), "print": entry(), "7": entry(), "class": entry()})
    names = value(client.call("run_python", code="import tools\nimport my_shop_io, my_shop_io_2, print_2, mcp_7, time_2, time\n"
                              "str(time).split()[1], my_shop_io.create_issue(), my_shop_io.create_issue_2(), my_shop_io_2.create_issue_3(), "
                              "time_2.import_(), time_2.tool_1st(), time_2.aio_2(), time_2.list(), print_2.say('a'), class_2.say('b')"))
    assert names == ("'time'", "create.issue", "create/issue", "create-issue", "import", "1st", "aio", "list", "a", "b")
    helped = client.call("run_python", code="help(my_shop_io.create_issue_2)")["structuredContent"]["stdout"]
    assert "create_issue_2(" in helped and "The tool 'create/issue' of the MCP server." in helped


def test_sessions_keep_their_modules_over_calls(start):
    client = start({"shop": entry()})
    client.call("run_python", session_id="s", code="import shop\nkept = shop.say")
    assert value(client.call("run_python", session_id="s", code="kept('a'), shop.say('b')")) == ("a", "b")


# ---- What the model is told ----

def test_the_description_has_the_signatures_of_few_tools(start):
    told = described(start({"shop": entry()}))
    print(told)
    assert "Each server is a module that is already imported:\nshop: 26 tools of the MCP server 'shop'\n" in told
    assert "class shop:  # import shop\n" in told and "    def echo(text: str, times: int = 1) -> dict:\n" in told and "Gives back what it is given." in told
    ast.parse(told[told.index("# Functions that"):])


def test_of_many_tools_it_says_how_to_find_them(start):
    client = start({"shop": entry("many", "pages")})
    told = described(client)
    assert "shop: 500 tools" in told and "has more tools than can be offered" in told and len(told) < 16000
    client = start({"shop": entry("many")})
    told = described(client)
    assert "shop: 1000 tools" in told and "# Left out to save space: " in told and "tools.search(" in told and len(told) < 16000
    found = client.call("run_python", code="import tools\ntools.search('paints number')")["structuredContent"]["last_value_repr"]
    assert found.splitlines()[:2] == ["shop.tool_777(a: str)", "    Tool number 777, which paints."] and found.count("shop.tool_") == 10
    assert value(client.call("run_python", code="shop.tool_777('x'), 'tool_5' in dir(shop), len(tools.search('nothing like it'))")) == ("tool_777", True, 0)


# ---- Both eras ----

@pytest.mark.parametrize("era", ["old", "modern", "pages", "deaf", "slow-start"])
def test_servers_of_each_era(start, era):
    client = start({"shop": entry(era)})
    assert value(client.call("run_python", code="shop.say('a'), shop.create_issue_3()")) == ("a", "create-issue")


@pytest.mark.parametrize("era", ["old", "modern"])
def test_a_call_passes_the_clients_trace_on_to_the_server(start, era):
    client = start({"shop": entry(era)})
    trace = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "a=b"}
    told = json.loads(value(client.call("run_python", trace, code="shop.environment()")))
    assert {key: told["meta"][key] for key in trace} == trace
    without = json.loads(value(client.call("run_python", code="shop.environment()")))["meta"]
    assert "traceparent" not in (without or {})


# ---- Hostile servers ----

@pytest.mark.parametrize("behaviour, why", [
    ("dead", "MCP server 'shop' ended (exit status 4); it said: I can't start"),
    ("unknown-version", "MCP server 'shop' speaks no revision of MCP that pyexec knows"),
])
def test_a_server_that_does_not_start_is_told_to_the_model(start, behaviour, why):
    client = start({"shop": entry(behaviour), "other": entry()})
    assert why in described(client)
    assert value(client.call("run_python", code="other.say('a'), 'shop' in globals()")) == ("a", False)


def test_a_command_that_is_not_there_is_told(start):
    assert "can't start '/nowhere/server': No such file or directory" in described(start({"shop": {"command": "/nowhere/server"}}))


def test_a_silent_server_is_given_up(start, monkeypatch):
    monkeypatch.setenv("PYEXEC_MCP_START_TIMEOUT", "500ms")
    assert "did not answer within [mcp] start_timeout" in described(start({"shop": entry("silent")}))


def test_a_server_that_could_not_start_is_tried_again(start, tmp_path, monkeypatch):
    monkeypatch.setenv("PYEXEC_MCP_START_TIMEOUT", "15s")
    client = start({"shop": entry("dead", str(tmp_path / "now")), "other": entry()})
    assert "I can't start" in described(client) and "class shop" not in described(client)
    (tmp_path / "now").touch()
    deadline = time.monotonic() + 300
    while not all("class " + name in described(client) for name in ("shop", "other")):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert value(client.call("run_python", code="shop.say('a'), other.say('b')")) == ("a", "b")


def test_notices_of_changes_that_are_none_announce_nothing(start):
    client = start({"shop": entry()})
    described(client)
    assert value(client.call("run_python", code="shop.flaps()")) == "nothing has changed"
    client.held.clear()
    assert value(client.call("run_python", code="[shop.flaps() and shop.slow(n) for n in range(4)], shop.say('a')"))[1] == "a"
    assert client.held == []


def test_a_server_that_dies_fails_its_call_and_is_started_again_by_the_next(start):
    client = start({"shop": entry()})
    assert error(client, "shop.dies()") == "MCP server 'shop' ended (exit status 3); it said: the last words"
    code = "import time\nfor _ in range(600):\n    try: told = shop.say('back'); break\n    except ToolError: time.sleep(0.1)\ntold"
    assert value(client.call("run_python", code=code)) == "back"


def test_a_call_without_an_answer_ends_after_call_timeout_and_is_cancelled(start, monkeypatch):
    monkeypatch.setenv("PYEXEC_MCP_CALL_TIMEOUT", "1s")
    client = start({"shop": entry()})
    assert error(client, "shop.hangs()") == "timeout: MCP server 'shop' gave no answer within call_timeout=1000 ms"
    code = "import json\nfor _ in range(100):\n    try: told = json.loads(shop.cancelled())\n    except ToolError: continue\n    if told: break\nlen(told) > 0"
    assert value(client.call("run_python", code=code)) is True


def test_a_call_whose_script_is_gone_is_cancelled(start):
    client = start({"shop": entry()}, "--allow-import", "asyncio")
    assert client.call("run_python", code="import asyncio\nasync def main():\n    try: await asyncio.wait_for(shop.aio.hangs(), 0.1)\n"
                       "    except asyncio.TimeoutError: pass\nawait main()")["isError"] is False
    code = "import json, time\nfor _ in range(600):\n    told = json.loads(shop.cancelled())\n    if told: break\n    time.sleep(0.1)\nlen(told)"
    assert value(client.call("run_python", code=code)) == 1


def test_second_answers_and_garbage_disturb_nothing(start):
    client = start({"shop": entry()})
    assert value(client.call("run_python", code="shop.twice(), shop.garbage(), shop.say('a')")) == ("first", "after it", "a")


def test_floods_and_long_lines_end_the_server(start):
    client = start({"shop": entry(), "other": entry()})
    assert "it sent 64 MiB without answering" in error(client, "shop.floods()")
    assert "it sent a line longer than 16 MiB" in error(client, "other.long_line()")


def test_a_result_that_is_too_large_is_an_error_of_the_call(start):
    client = start({"shop": entry()})
    assert value(client.call("run_python", code="len(shop.large(8000000))")) == 8000000
    assert "larger than 8 MiB" in error(client, "shop.large(9000000)")


def test_lies_about_schemas_make_functions_that_take_anything(start):
    client = start({"shop": entry("lies")})
    told = described(client)
    ast.parse(told[told.index("# Functions that"):told.index("\nNot available")])
    assert "MCP server 'shop' has more tools than can be offered" in told
    assert value(client.call("run_python", code="shop.no_schema(a=1), shop.list_schema(b=[2]), shop.odd(c=3), shop.deep(d=4), shop.wide(p299='x'), shop.says_number()")) == (
        "no_schema", "list_schema", "odd", "deep", "wide", "says_number")


def test_endless_pages_are_cut(start):
    assert "shop: 50 tools" in described(start({"shop": entry("endless-pages")}))


def test_a_list_that_changes_is_announced_and_offered(start):
    client = start({"shop": entry()})
    assert "new_one" not in described(client)
    client.call("run_python", code="shop.more_tools()")
    deadline = time.monotonic() + 60
    while "new_one" not in described(client):
        assert time.monotonic() < deadline
    assert any(message.get("method") == "notifications/tools/list_changed" for message in client.held)
    assert client.info["capabilities"]["tools"] == {"listChanged": True}
    assert value(client.call("run_python", code="shop.new_one()")) == "new_one"


# ---- Processes ----

def test_a_server_has_the_environment_and_the_folder_of_its_entry(start, tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET_OF_PYEXEC", "s")
    monkeypatch.setenv("TOKEN_FOR_SHOP", "t")
    client = start({"shop": entry(env={"TOKEN": "${TOKEN_FOR_SHOP}", "PLAIN": "${NOT_THERE:-p}"}, cwd=str(tmp_path))})
    told = value(client.call("run_python", code="import json\njson.loads(shop.environment())"))
    assert told["folder"] == str(tmp_path)
    variables = told["variables"]
    assert variables["TOKEN"] == "t" and variables["PLAIN"] == "p" and variables["PATH"] == os.environ["PATH"]
    assert not {"SECRET_OF_PYEXEC", "TOKEN_FOR_SHOP"} & set(variables)


def wait_gone(pids):
    deadline = time.monotonic() + 60
    while any(map(is_alive, pids)):
        assert time.monotonic() < deadline, [pid for pid in pids if is_alive(pid)]
        time.sleep(0.05)


def children(pid):
    found = set()
    try:
        for task in os.listdir("/proc/%d/task" % pid):
            with open("/proc/%d/task/%s/children" % (pid, task)) as file:
                found |= set(map(int, file.read().split()))
    except (FileNotFoundError, ProcessLookupError):
        pass        # it has ended meanwhile
    return found


def descendants(pid):
    found, todo = set(), [pid]
    while todo:
        new = children(todo.pop()) - found
        found |= new
        todo += new
    return found


@pytest.mark.parametrize("how", ["end of input", "SIGTERM", "SIGKILL"])
@pytest.mark.parametrize("behaviour", ["plain", "stubborn"])
def test_no_process_of_a_server_is_left(own, tmp_path, nothing_left, how, behaviour):
    path = tmp_path / "servers.json"
    path.write_text(json.dumps({"mcpServers": {"shop": entry(behaviour)}}))
    client = Client(own, "--mcp-servers", str(path))
    value(client.call("run_python", code="import json\njson.loads(shop.starts_children())"))
    process = client.process
    pids = descendants(process.pid)
    assert len(pids) > 4
    if how == "end of input":
        process.stdin.close()
    else:
        process.send_signal(getattr(signal, how))
    process.wait(60)
    wait_gone(pids)
    process.stdout.close()


# ---- The file of servers ----

@pytest.mark.parametrize("content, why", [
    ("{", "line 1"), ("[]", "mcpServers is not an object"), ('{"mcpServers": {"a": 5}}', "a: not an object"),
    ('{"mcpServers": {"a": {}}}', "command is not a string"), ('{"mcpServers": {"a": {"command": "x", "args": [1]}}}', "args are not strings"),
    ('{"mcpServers": {"a": {"command": "x", "env": {"A": 1}}}}', "env has a name or a value"),
])
def test_a_bad_file_of_servers_is_refused_at_the_start(tmp_path, content, why):
    path = tmp_path / "servers.json"
    path.write_text(content)
    done = subprocess.run([BUILD + "/pyexec", "mcp", "--mcp-servers", str(path), "--python-bin", "/usr/bin/python3"], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 125 and why in done.stderr and "hint: " in done.stderr


def test_the_configuration_names_the_file_too(own, tmp_path, nothing_left):
    (tmp_path / "servers.json").write_text(json.dumps({"servers": {"shop": entry(), "off": {"disabled": True, "command": "/nowhere"}}}))
    (tmp_path / "pyexec.conf").write_text("[mcp]\nservers = %s/servers.json\n" % tmp_path)
    with Client(own, "--config", str(tmp_path / "pyexec.conf")) as client:
        assert value(client.call("run_python", code="shop.say('a'), 'off' in globals()")) == ("a", False)


# ---- pyexec tools --mcp-servers ----

def stubs(own, path, *flags, **environment):
    return subprocess.run([own.path, "tools", "--mcp-servers", str(path), *flags], capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL,
                          env={**os.environ, "PYEXEC_MCP_START_TIMEOUT": "300s", **environment})


def test_tools_prints_the_stubs_of_servers_and_names_those_that_are_not_there(own, tmp_path, nothing_left):
    path = tmp_path / "servers.json"
    path.write_text(json.dumps({"mcpServers": {"shop": entry(), "my-io": entry("modern")}}))
    done = stubs(own, path)
    assert done.returncode == 0 and not done.stderr, done
    assert "class shop:  # import shop" in done.stdout and "class my_io:" in done.stdout and "Gives back what it is given." in done.stdout
    ast.parse(done.stdout)
    short = stubs(own, path, "--no-docstrings", "--max-bytes", "1000").stdout
    assert len(short) <= 1000 and "Gives back" not in short
    path.write_text(json.dumps({"mcpServers": {"shop": entry(), "gone": entry("dead")}}))
    done = stubs(own, path)
    assert done.returncode == 125 and "class shop" in done.stdout and "MCP server 'gone' ended (exit status 4); it said: I can't start" in done.stderr
    both = stubs(own, path, "tools.json")
    assert both.returncode == 125 and "both a file of tools and --mcp-servers" in both.stderr

# SPDX-License-Identifier: Apache-2.0
"""Code mode with MCP servers of npm and PyPI, at the versions that tests/mcp/servers pins."""
import ast
import contextlib
import glob
import json
import os
import socket
import subprocess
import time

import pytest

from conftest import BUILD
from environments import kept, kept_modules
from mcp_clients import PINS
from mcp_stdio import Client, text

SERVERS = os.path.join(PINS, "servers")


def node_server(name):
    modules = kept_modules("mcp-servers-node", os.path.join(SERVERS, "package.json"))
    nodes = glob.glob(modules + "/node_modules/node-linux-*/bin/node")
    with open("%s/node_modules/%s/package.json" % (modules, name)) as file:
        programs = json.load(file)["bin"]
    program = programs if isinstance(programs, str) else next(iter(programs.values()))
    return nodes[0] if nodes else "node", "%s/node_modules/%s/%s" % (modules, name, program)


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    monkeypatch.setenv("PYEXEC_MCP_START_TIMEOUT", "300s")


@pytest.fixture(scope="module")
def python():
    return kept("mcp-servers-python", os.path.join(SERVERS, "requirements.txt"))


def use(own, tmp_path, servers, *codes):
    """Returns the description of run_python, and the values of these scripts."""
    path = tmp_path / "servers.json"
    path.write_text(json.dumps({"mcpServers": servers}))
    with Client(own, "--mcp-servers", str(path), "--timeout", "60s") as client:
        told = "is still starting"
        while "is still starting" in told:      # on a busy machine
            told = client.ask("tools/list")["result"]["tools"][0]["description"]
        results = [client.call("run_python", code=code) for code in codes]
        client.ask("ping")
        client.process.stdin.close()
        assert client.process.wait(60) == 0
        client.process.stdout.read()
    for result in results:
        assert not result["isError"], (text(result), told)
    return told, [ast.literal_eval(result["structuredContent"]["last_value_repr"]) for result in results]


def test_the_everything_server_of_npm(own, tmp_path, nothing_left):
    command, *arguments = node_server("@modelcontextprotocol/server-everything")
    told, (values,) = use(own, tmp_path, {"everything": {"command": command, "args": arguments}},
                          "everything.echo(message='hello'), 'get_sum' in dir(everything) and everything.get_sum(2, 3)")
    assert "class everything:  # import everything" in told and "hello" in values[0] and "5" in values[1]


def test_the_filesystem_server_of_npm(own, tmp_path, nothing_left):
    command, *arguments = node_server("@modelcontextprotocol/server-filesystem")
    folder = tmp_path / "files"
    folder.mkdir()
    code = ("for i in range(5): filesystem.write_file('%s/%%d.txt' %% i, 'text %%d' %% i)\n"
            "str(filesystem.list_directory('%s')), str(filesystem.read_text_file('%s/3.txt'))") % ((folder,) * 3)
    _, (values,) = use(own, tmp_path, {"filesystem": {"command": command, "args": [*arguments, str(folder)]}}, code)
    assert "4.txt" in values[0] and "text 3" in values[1] and (folder / "4.txt").read_text() == "text 4"


def test_the_time_server_of_pypi(own, python, tmp_path, nothing_left):
    told, (answer,) = use(own, tmp_path, {"time": {"command": python, "args": ["-m", "mcp_server_time"]}},
                          "str(time_2.convert_time('UTC', '12:00', 'Asia/Tokyo'))")
    assert "class time_2:  # import time_2" in told and "21:00" in answer


def test_a_server_written_with_the_python_sdk(own, python, tmp_path, nothing_left):
    code = "def plain(x): return x['result'] if isinstance(x, dict) and 'result' in x else x\n" \
           "{part: plain(stock.count(part)) for part in plain(stock.parts())}, stock.order('nut'), stock.order('nut', number=1)"
    told, (values,) = use(own, tmp_path, {"stock": {"command": python, "args": [SERVERS + "/sdk_server.py"]}}, code)
    assert "def count(part: str)" in told and "How many of a part are in stock." in told
    assert {name: int(number) for name, number in values[0].items()} == {"bolt": 120, "nut": 80, "washer": 300}
    assert values[1]["nut"] == 90 and values[2]["nut"] == 81


# ---- Over HTTP ----

@contextlib.contextmanager
def listening(*command, **environment):
    """Starts a server, with {port} in its command replaced by a free port, and returns its address."""
    for _ in range(3):                       # another program may have taken the port
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        process = subprocess.Popen([part.replace("{port}", str(port)) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, env={**os.environ, **{name: text.replace("{port}", str(port)) for name, text in environment.items()}})
        deadline = time.monotonic() + 120
        ready = False
        while not ready and process.poll() is None:
            assert time.monotonic() < deadline
            with socket.socket() as trial:
                ready = trial.connect_ex(("127.0.0.1", port)) == 0
            time.sleep(0.05)
        if ready:
            break
    assert ready
    try:
        yield "http://127.0.0.1:%d/mcp" % port
    finally:
        process.kill()
        process.wait()


over_http = pytest.mark.skipif(not os.path.exists(BUILD + "/pyexec-mcp-http"), reason="this build has no libcurl")


@over_http
def test_the_everything_server_of_npm_over_http(own, tmp_path, nothing_left):
    command, *arguments = node_server("@modelcontextprotocol/server-everything")
    with listening(command, *arguments, "streamableHttp", PORT="{port}") as url:
        told, (values,) = use(own, tmp_path, {"everything": {"type": "http", "url": url}},
                              "[everything.echo(message=str(n)) for n in range(10)], everything.get_sum(2, 3)")
    assert "class everything:  # import everything" in told and all(str(n) in values[0][n] for n in range(10)) and "5" in values[1]


@over_http
def test_a_server_written_with_the_python_sdk_over_http(own, python, tmp_path, nothing_left):
    code = "def plain(x): return x['result'] if isinstance(x, dict) and 'result' in x else x\n" \
           "{part: plain(stock.count(part)) for part in plain(stock.parts())}, stock.order('nut', number=1)"
    with listening(python, SERVERS + "/sdk_server.py", "{port}") as url:
        told, (values,) = use(own, tmp_path, {"stock": {"url": url, "headers": {"Authorization": "Bearer ${HOME}"}}}, code)
    assert "def count(part: str)" in told and values[1]["nut"] == 81
    assert {name: int(number) for name, number in values[0].items()} == {"bolt": 120, "nut": 80, "washer": 300}

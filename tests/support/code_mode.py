"""`pyexec mcp` in code mode: a client whose scripts call the tools of other MCP servers, and functions that several tests use."""
import ast
import json
import os

import pytest

from conftest import ROOT
from mcp_stdio import Client, text

SERVER = ROOT + "/tests/support/hostile_mcp_server.py"


def entry(*behaviour, **more):
    """The scripted server, as the file of servers names it."""
    return {"command": "/usr/bin/python3", "args": [SERVER, *behaviour], **more}


@pytest.fixture
def start(own, tmp_path, nothing_left, monkeypatch):
    """Starts a `pyexec mcp` with these servers and returns its client."""
    clients = []
    for name in ("PYEXEC_MCP_START_TIMEOUT", "PYEXEC_MCP_CALL_TIMEOUT"):
        monkeypatch.setenv(name, os.environ.get(name, "300s"))

    def made(servers, *flags):
        path = tmp_path / ("servers-%d.json" % len(clients))
        path.write_text(json.dumps({"mcpServers": servers}))
        client = Client(own, "--mcp-servers", str(path), "--timeout", "60s", *flags)
        clients.append(client)
        while "is still starting" in described(client):     # on a busy machine
            pass
        return client
    yield made
    for client in clients:
        client.process.stdin.close()
        assert client.process.wait(60) == 0
        client.process.stdout.close()


def value(result):
    """The last value of a script that ended well."""
    assert not result["isError"], text(result)
    return ast.literal_eval(result["structuredContent"]["last_value_repr"])


def error(client, code):
    """Runs the script, which must fail, and returns the message."""
    result = client.call("run_python", code=code)
    assert result["isError"]
    return result["structuredContent"]["error"]["message"]


def described(client):
    """The description of run_python."""
    return client.ask("tools/list")["result"]["tools"][0]["description"]

# SPDX-License-Identifier: Apache-2.0
"""Code mode: calls of tools that need approval. The user of the client is asked by elicitation, or the call is refused."""
import json

import pytest

from code_mode import described, entry, error, start, value       # noqa: F401 (a fixture)
from mcp_stdio import META


def asking(start, approval, capabilities, *flags):
    """Starts a client with these capabilities. The tools of the server may not be loaded yet."""
    client = start({"shop": entry(approval=approval)}, *flags)
    client.ask("initialize", protocolVersion="2025-11-25", capabilities=capabilities, clientInfo={"name": "t", "version": "1"})
    return client


@pytest.fixture
def client(start):
    return asking(start, ["say"], {"elicitation": {}}, "--allow-import", "asyncio")


def question(client):
    """The next request of the server; fails when a run ends before it."""
    while True:
        for message in client.held:
            if message.get("method") == "elicitation/create":
                client.held.remove(message)
                return message
            assert "content" not in message.get("result", ()), message
        client.held.append(client.read())


def answer(client, asked, **members):
    client.line({"jsonrpc": "2.0", "id": asked["id"], **members})


def test_the_user_is_asked_with_the_whole_arguments(client):
    number = client.start("run_python", code="shop.say('a' * 5000 + '\\u202eé')")
    asked = question(client)
    assert asked["params"]["requestedSchema"] == {"type": "object", "properties": {}}
    message = asked["params"]["message"].splitlines()
    assert message[0] == "A script wants to call shop.say with these arguments:"
    assert message[1].startswith('{"text":"aaaa') and message[1].endswith('a\\u202eé"}') and message[1].count("a") == 5000
    answer(client, asked, result={"action": "accept", "content": {}})
    assert value(client.wait(number)["result"]) == "a" * 5000 + "\u202eé"


def test_other_tools_are_called_without_a_question(client):
    assert value(client.call("run_python", code="shop.echo('a')['text']")) == "a"


@pytest.mark.parametrize("members, reason", [
    ({"result": {"action": "decline"}}, "the user did not allow it"),
    ({"result": {"action": "cancel"}}, "the user did not allow it"),
    ({"result": {"action": "Accept"}}, "the user did not allow it"),
    ({"result": {}}, "the MCP client could not ask the user for approval"),
    ({"error": {"code": -32603, "message": "no dialog"}}, "the MCP client could not ask the user for approval"),
])
def test_what_is_not_accepted_is_denied(client, members, reason):
    number = client.start("run_python", code="try: shop.say('a')\nexcept PermissionError as e: kept = str(e)\nkept")
    answer(client, question(client), **members)
    assert value(client.wait(number)["result"]) == "tool 'shop.say' denied: " + reason


def test_each_call_has_its_question(client):
    code = "import asyncio\nawait asyncio.gather(*[shop.aio.say(str(n)) for n in range(8)])"
    number = client.start("run_python", code=code)
    asked = [question(client) for _ in range(8)]
    assert len({one["id"] for one in asked}) == 8
    for one in reversed(asked):
        answer(client, one, result={"action": "accept"})
        answer(client, one, result={"action": "decline"})       # too late: the first answer counts
    assert value(client.wait(number)["result"]) == [str(n) for n in range(8)]


def test_an_answer_after_the_run_has_ended_does_nothing(client):
    number = client.start("run_python", code="shop.say('a')")
    asked = question(client)
    client.line({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": number}})
    answer(client, asked, result={"action": "accept"})
    answer(client, {"id": "approve-nothing"}, result={"action": "accept"})
    assert value(client.call("run_python", code="1 + 1")) == 2


@pytest.mark.parametrize("capabilities", [{}, {"elicitation": {"url": {}}}, {"elicitation": True}])
def test_without_elicitation_the_call_is_denied_and_the_script_is_told_why(start, capabilities):
    client = asking(start, True, capabilities)
    assert error(client, "shop.echo('a')").startswith(
        "tool 'shop.echo' denied: it needs the user's approval, but this MCP client can't ask the user. Use a client that supports elicitation with 'pyexec mcp'")


def test_a_request_of_the_stateless_revision_asks_nobody(client):
    result = client.call("run_python", META, code="shop.say('a')")
    assert "can't ask the user" in result["structuredContent"]["error"]["message"]


def test_a_name_that_the_server_does_not_have_is_reported(start):
    client = asking(start, ["say", "sya"], {"elicitation": {"form": {}}})
    assert "MCP server 'shop' has no tool 'sya', but approval names it" in described(client)


@pytest.mark.parametrize("approval", ["say", 1, [1], {"say": True}])
def test_an_approval_of_another_form_is_refused(own, tmp_path, approval):
    path = tmp_path / "servers.json"
    path.write_text(json.dumps({"mcpServers": {"shop": entry(approval=approval)}}))
    done = own.run("mcp", "--mcp-servers", str(path))
    assert done.returncode == 125 and "approval must be true, false or a list of names of tools" in done.stderr.decode()

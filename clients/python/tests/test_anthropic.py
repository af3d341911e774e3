"""Programmatic tool calling with the real client of the package `anthropic`. The model is scripted, and there is no network."""
import asyncio
import datetime
import json
import threading
import time

import anthropic
import httpx2 as httpx
import pytest
from anthropic.types import ServerToolUseBlock, ToolUseBlock

from pyexec import ToolDenied
from pyexec.anthropic import PyexecMessages, arun_tools, programmatic_tools, run_tools

PRICES = {"tea": 3.5, "rice": 2.0}


def price(item: str, amount: int = 1) -> dict:
    """The price of an item.

    Args:
        item: its name
        amount: how many
    """
    if item not in PRICES:
        raise LookupError("there is no " + item)
    return {"item": item, "price": PRICES[item] * amount}


def text(words):
    return {"type": "text", "text": words}


def code(source, number=1):
    return {"type": "tool_use", "id": "toolu_%d" % number, "name": "code_execution", "input": {"code": source}}


class Scripted:
    """A server of the Messages API that gives these answers, and keeps the requests. An answer is a list of blocks."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), []

    def __call__(self, request):
        self.asked.append(json.loads(request.content))
        blocks = self.answers.pop(0)
        if isinstance(blocks, int):
            return httpx.Response(blocks, json={"type": "error", "error": {"type": "api_error", "message": "scripted"}})
        stop = "tool_use" if any(block["type"] == "tool_use" for block in blocks) else "end_turn"
        return httpx.Response(200, json={
            "id": "msg_%d" % len(self.asked), "type": "message", "role": "assistant", "model": "scripted", "content": blocks, "stop_reason": stop,
            "stop_sequence": None, "usage": {"input_tokens": 10, "output_tokens": 5}})

    def create(self):
        return anthropic.Anthropic(api_key="x", max_retries=0, http_client=httpx.Client(transport=httpx.MockTransport(self))).messages.create

    def acreate(self):
        return anthropic.AsyncAnthropic(api_key="x", max_retries=0,
                                        http_client=httpx.AsyncClient(transport=httpx.MockTransport(self))).messages.create


ASK = {"model": "scripted", "max_tokens": 100}
PROGRAM = """import json
rows = [json.loads(await price({"item": item, "amount": 2})) for item in ("tea", "rice")]
print(sum(row["price"] for row in rows))"""


def told(asked, number=-1):
    """Returns the tool_result blocks in a message of a request."""
    return [json.loads(block["content"]) for block in asked["messages"][number]["content"] if block["type"] == "tool_result"]


def test_one_program_calls_many_tools(px):
    model = Scripted([text("I shall look."), code(PROGRAM)], [text("11 euros.")])
    messages = [{"role": "user", "content": "What do two teas and two bags of rice cost?"}]
    containers = PyexecMessages(model.create(), client=px)
    answer = run_tools(containers.create, {"price": price}, messages=messages, **ASK)
    assert answer.content[-1].text == "11 euros." and answer.stop_reason == "end_turn"
    assert len(model.asked) == 2, "the model is asked once for the code, and once more with its result"
    assert told(model.asked[1]) == [{"stdout": "11.0\n", "stderr": "", "return_code": 0}]
    kinds = [block["type"] for message in messages for block in message["content"] if isinstance(block, dict)]
    assert kinds == ["text", "server_tool_use", "tool_use", "tool_result", "tool_use", "tool_result", "code_execution_tool_result", "text"]
    containers.close()


def test_the_model_gets_a_tool_of_the_clients_own(rpc):
    tools = programmatic_tools({"price": price}) + [{"name": "direct", "input_schema": {"type": "object"},
                                                     "allowed_callers": ["direct", "code_execution_20250825"]}]
    model = Scripted([text("hello")])
    PyexecMessages(model.create(), client=rpc).create(messages=[{"role": "user", "content": "go"}], tools=tools, **ASK)
    own, other = model.asked[0]["tools"]
    assert own["name"] == "code_execution" and "type" not in own and set(own["input_schema"]["properties"]) == {"code"}
    assert "- price(item: str, amount: int = 1): The price of an item." in own["description"] and "- direct()" in own["description"]
    assert "asyncio" in own["description"] and other == {"name": "direct", "input_schema": {"type": "object"}}


def test_responses_have_the_shapes_of_the_api(rpc):
    model = Scripted([text("I shall look."), code("x = await price(item='tea')\nx")], [text("done")], [code("len(x)")], [text("still there")])
    containers = PyexecMessages(model.create(), client=rpc)
    messages, tools = [{"role": "user", "content": "go"}], programmatic_tools({"price": price})
    paused = containers.create(messages=messages, tools=tools, **ASK)
    said, began, called = paused.content
    assert paused.stop_reason == "tool_use" and paused.container.id.startswith("container_") and said.text == "I shall look."
    assert isinstance(began, ServerToolUseBlock) and began.name == "code_execution" and began.id.startswith("srvtoolu_")
    assert isinstance(called, ToolUseBlock) and (called.name, called.input) == ("price", {"item": "tea", "amount": 1})
    assert (called.caller.type, called.caller.tool_id) == ("code_execution_20260120", began.id)
    assert (paused.usage.input_tokens, paused.usage.output_tokens) == (10, 5)
    messages += [paused.to_param(), {"role": "user", "content": [{"type": "tool_result", "tool_use_id": called.id, "content": [text("3.5")]}]}]
    ended = containers.create(messages=messages, tools=tools, container=paused.container.id, **ASK)
    result, last = ended.content
    assert result.type == "code_execution_tool_result" and result.tool_use_id == began.id and result.content.type == "code_execution_result"
    assert (result.content.stdout, result.content.return_code, result.content.content) == ("'3.5'\n", 0, [])
    assert last.text == "done" and ended.stop_reason == "end_turn"
    # The variables of the code still exist in the next turn.
    messages += [ended.to_param(), {"role": "user", "content": "and now?"}]
    again = containers.create(messages=messages, tools=tools, container={"id": paused.container.id}, **ASK)
    assert again.content[1].content.stdout == "3\n" and again.content[-1].text == "still there"
    roles = [message["role"] for message in model.asked[-1]["messages"]]
    assert roles == ["user", "assistant", "user", "assistant", "user", "assistant", "user"], "as a plain conversation with a tool"
    containers.close()


def test_calls_at_once_are_answered_together(rpc):
    source = "import asyncio, json\nsum(json.loads(one)['price'] for one in await asyncio.gather(*(price({'item': 'tea'}) for i in range(20))))"
    model = Scripted([code(source)], [text("done")])
    messages = [{"role": "user", "content": "go"}]
    run_tools(PyexecMessages(model.create(), client=rpc).create, {"price": price}, messages=messages, **ASK)
    assert told(model.asked[1])[0]["stdout"] == "70.0\n"
    assert sum(block["type"] == "tool_use" for message in messages for block in message["content"] if isinstance(block, dict)) == 20


def test_errors_of_tools_are_exceptions_in_the_code(rpc):
    def mail(to: str) -> str:
        raise ToolDenied("not without the user")
    source = "try: await %s\nexcept Exception as error: said = str(error)\nsaid"
    model = Scripted([code(source % "price(item='milk')")], [code(source % "price({'item': 5})")], [code(source % "mail(to='me')")], [code("1/0")],
                     [code("await other()")], [text("done")])
    tools = programmatic_tools({"price": price, "mail": mail, "other": price})
    run_tools(PyexecMessages(model.create(), client=rpc).create, {"price": price, "mail": mail}, messages=[{"role": "user", "content": "go"}],
              tools=tools, **ASK)
    missing, wrong, denied, division, absent = [told(asked)[0] for asked in model.asked[1:]]
    assert missing["stdout"] == "'there is no milk'\n" and "item" in wrong["stdout"] and denied["stdout"] == "'denied: not without the user'\n"
    assert division["return_code"] == 1 and "ZeroDivisionError" in division["stderr"] and "TypeError" in absent["stderr"]


def test_calls_of_the_model_beside_its_code(rpc):
    """A direct call of the model waits for the program as usual. The model gets its answer together with the result of the code."""
    tools = programmatic_tools({"price": price}) + [{"name": "weather", "input_schema": {"type": "object"}}]
    for source, wanted in (("await price(item='tea')", "price"), ("6 * 7", None)):
        model = Scripted([code(source), {"type": "tool_use", "id": "toolu_w", "name": "weather", "input": {}}], [text("done")])
        messages = [{"role": "user", "content": "go"}]
        answer = run_tools(PyexecMessages(model.create(), client=rpc).create, {"price": price, "weather": lambda: "sun"}, messages=messages,
                           tools=tools, **ASK)
        assert answer.content[-1].text == "done"
        called = {block["name"]: block["caller"]["type"] for block in messages[1]["content"] if block["type"] == "tool_use"}
        assert called == {"weather": "direct", **({wanted: "code_execution_20260120"} if wanted else {})}
        results = {block["tool_use_id"][:8]: block["content"] for block in model.asked[1]["messages"][2]["content"]}
        assert set(results) == {"toolu_w", "srvtoolu"} and results["toolu_w"] == "sun"


def test_two_programs_in_one_message(rpc):
    model = Scripted([code("x = await price(item='tea')", 1), code("x", 2)], [text("done")])
    run_tools(PyexecMessages(model.create(), client=rpc).create, {"price": price}, messages=[{"role": "user", "content": "go"}], **ASK)
    assert ['"price"' in one["stdout"] for one in told(model.asked[1])] == [False, True]


def test_async():
    async def stock(item: str) -> int:
        await asyncio.sleep(0)
        return len(item)

    async def main():
        model = Scripted([code("int(await stock(item='rice')) + 1")], [text("five")])
        containers = PyexecMessages(model.acreate())
        answer = await arun_tools(containers.acreate, {"stock": stock}, messages=[{"role": "user", "content": "go"}], **ASK)
        await asyncio.to_thread(containers.close)
        return answer.content[-1].text, told(model.asked[1])[0]["stdout"]
    assert asyncio.run(main()) == ("five", "5\n")


def test_a_call_that_the_code_leaves_behind_holds_nothing(rpc):
    """The call may reach the program or not, because the code does not wait for it."""
    model = Scripted([code("import asyncio\ntask = asyncio.create_task(price(item='tea'))\nawait asyncio.sleep(0)\n6 * 7")], [text("done")])
    containers = PyexecMessages(model.create(), client=rpc)
    run_tools(containers.create, {"price": price}, messages=[{"role": "user", "content": "go"}], **ASK)
    assert told(model.asked[1])[0]["stdout"] == "42\n"
    deadline = time.monotonic() + 60
    while any(thread.name in ("pyexec-tool", "pyexec-code") for thread in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not [thread for thread in threading.enumerate() if thread.name in ("pyexec-tool", "pyexec-code")]
    containers.close()


def test_a_container_expires_and_close_ends_all(rpc, monkeypatch):
    model = Scripted([code("await price(item='tea')")], [text("first")], [text("second")], [code("1")], [text("third")])
    containers = PyexecMessages(model.create(), client=rpc)
    tools, messages = programmatic_tools({"price": price}), [{"role": "user", "content": "go"}]
    monkeypatch.setattr("pyexec.anthropic._IDLE", datetime.timedelta(seconds=-1))
    paused = containers.create(messages=messages, tools=tools, **ASK)
    assert len(rpc.sessions()) == 1
    result = {"type": "tool_result", "tool_use_id": paused.content[-1].id, "content": "3.5"}
    with pytest.raises(ValueError, match="or it has expired"):
        containers.create(messages=[*messages, paused.to_param(), {"role": "user", "content": [result]}], tools=tools,
                          container=paused.container.id, **ASK)
    assert rpc.sessions() == []
    assert containers.create(messages=messages, tools=tools, **ASK).container is None, "no code has run"
    monkeypatch.undo()
    containers.create(messages=messages, tools=tools, **ASK)
    containers.create(messages=messages, tools=tools, **ASK)
    containers.close()
    assert rpc.sessions() == []


def test_what_the_api_refuses_is_refused(rpc):
    containers = PyexecMessages(Scripted([code("await price(item='tea')")], [text("done")]).create(), client=rpc)
    messages, tools = [{"role": "user", "content": "go"}], programmatic_tools({"price": price})
    paused = containers.create(messages=messages, tools=tools, **ASK)
    result = {"type": "tool_result", "tool_use_id": paused.content[-1].id, "content": "3.5"}

    def go_on(*blocks, container=paused.container.id):
        return containers.create(messages=[*messages, paused.to_param(), {"role": "user", "content": list(blocks)}], tools=tools,
                                 container=container, **ASK)
    with pytest.raises(ValueError, match="no container 'container_x'"):
        go_on(result, container="container_x")
    with pytest.raises(ValueError, match="tool_result blocks and no others"):
        go_on(result, text("please"))
    with pytest.raises(ValueError, match="no tool_result for the call toolu_"):
        go_on({**result, "tool_use_id": "toolu_other"})
    with pytest.raises(ValueError, match="is text, not a block of the type 'image'"):
        go_on({**result, "content": [{"type": "image"}]})
    assert go_on(result).content[-1].text == "done", "the code has waited"
    containers.close()


def test_a_failure_of_the_model_loses_nothing(rpc):
    model = Scripted([code("await price(item='tea')")], 500, [text("done")])
    containers = PyexecMessages(model.create(), client=rpc)
    messages, tools = [{"role": "user", "content": "go"}], programmatic_tools({"price": price})
    paused = containers.create(messages=messages, tools=tools, **ASK)
    messages += [paused.to_param(), {"role": "user", "content": [{"type": "tool_result", "tool_use_id": paused.content[-1].id, "content": "3.5"}]}]
    again = dict(messages=messages, tools=tools, container=paused.container.id, **ASK)
    with pytest.raises(anthropic.InternalServerError):
        containers.create(**again)
    assert [block.type for block in containers.create(**again).content] == ["code_execution_tool_result", "text"]
    containers.close()


def test_code_that_is_no_text_and_failures_of_the_host(rpc):
    wrong = {"type": "tool_use", "id": "toolu_1", "name": "code_execution", "input": {"source": "1"}}
    model = Scripted([wrong], [text("done")])
    run_tools(PyexecMessages(model.create(), client=rpc).create, {}, messages=[{"role": "user", "content": "go"}], **ASK)
    assert told(model.asked[1]) == [{"error_code": "invalid_tool_input"}]
    model = Scripted([code("1")], [text("done")])
    run_tools(PyexecMessages(model.create(), client=rpc, policy={"timeout_ms": -1}).create, {}, messages=[{"role": "user", "content": "go"}], **ASK)
    assert told(model.asked[1]) == [{"error_code": "unavailable"}]


def test_a_request_without_code_execution_is_the_models(rpc):
    model = Scripted([text("hello")])
    answer = PyexecMessages(model.create(), client=rpc).create(messages=[{"role": "user", "content": "go"}], **ASK)
    assert answer.content[0].text == "hello" and answer.container is None and "tools" not in model.asked[0]


def test_the_loop_is_that_of_the_api_itself():
    """With an API that runs the code itself, the container is passed on, and all calls of a response are answered in one message."""
    asked = []

    def create(**request):
        asked.append(json.loads(json.dumps(request)))
        calls = [{"type": "tool_use", "id": "toolu_%d" % i, "name": "price", "input": {"item": item},
                  "caller": {"type": "code_execution_20260120", "tool_id": "srvtoolu_1"}} for i, item in enumerate(("tea", "rice"))]
        answers = [("pause_turn", [text("…")]),
                   ("tool_use", [{"type": "server_tool_use", "id": "srvtoolu_1", "name": "code_execution", "input": {"code": "…"}}, *calls]),
                   ("end_turn", [text("done")])]
        stop, blocks = answers[len(asked) - 1]
        return {"content": blocks, "stop_reason": stop, "container": {"id": "container_1", "expires_at": "2026-01-01T00:00:00Z"}}
    answer = run_tools(create, {"price": price}, messages=[{"role": "user", "content": "go"}], model="m")
    assert answer["content"] == [text("done")] and [request.get("container") for request in asked] == [None, "container_1", "container_1"]
    assert [tool["name"] for tool in asked[0]["tools"]] == ["code_execution", "price"]
    assert asked[0]["tools"][1]["allowed_callers"] == ["code_execution_20260120"]
    last = asked[2]["messages"][-1]
    assert last["role"] == "user" and [block["type"] for block in last["content"]] == ["tool_result"] * 2
    assert json.loads(last["content"][1]["content"]) == {"item": "rice", "price": 2.0}

"""LangChain agents with a scripted model: fixed messages, no network."""
import asyncio

import pytest
from langchain.agents import create_agent
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.tools import StructuredTool, ToolException
from langchain_core.tools import tool as as_tool
from langgraph.checkpoint.memory import InMemorySaver

from pyexec import Result
from pyexec.langchain import PyexecTool, script_tools


class Scripted(GenericFakeChatModel):
    def bind_tools(self, tools, **unused):
        return self


def call(number, code):
    return AIMessage("", tool_calls=[{"name": "python", "args": {"code": code}, "id": str(number), "type": "tool_call"}])


def scripted(*codes):
    return Scripted(messages=iter([*(call(number, code) for number, code in enumerate(codes)), AIMessage("done")]))


@pytest.fixture
def tool(rpc):
    return PyexecTool(client=rpc, policy={"use_import_whitelist": True})


TURNS = ("import numpy\nnumpy.mean([1, 2, 6])", "import statistics\nmean = statistics.mean([1, 2, 6])\nmean", "print(mean * 2)")


def _check(messages):
    first, second, third = [message for message in messages if message.type == "tool"]
    assert "import 'numpy' not allowed. Use statistics, math" in first.content
    assert second.content == "3" and third.content == "6"
    assert isinstance(third.artifact, Result) and not first.artifact.ok and messages[-1].content == "done"


def test_three_turns_with_an_error_mended_from_its_hint(tool):
    _check(create_agent(scripted(*TURNS), [tool]).invoke({"messages": "go"})["messages"])


def test_the_same_async(tool):
    _check(asyncio.run(create_agent(scripted(*TURNS), [tool]).ainvoke({"messages": "go"}))["messages"])


@pytest.mark.filterwarnings("ignore:.*create_react_agent")
def test_with_langgraphs_prebuilt_agent(tool):
    from langgraph.prebuilt import create_react_agent
    _check(create_react_agent(scripted(*TURNS), [tool]).invoke({"messages": "go"})["messages"])


def test_each_thread_has_a_session(tool):
    agent = create_agent(scripted("x = 1", "x"), [tool], checkpointer=InMemorySaver())

    def ask(thread):
        agent.nodes     # both threads use one model, which gives its messages in order
        return agent.invoke({"messages": "go"}, {"configurable": {"thread_id": thread}})
    ask("a / ü")
    tool.invoke({"code": "y = 2"}, {"configurable": {"thread_id": "a / ü"}})
    assert tool.invoke({"code": "x + y"}, {"configurable": {"thread_id": "a / ü"}}) == "3"
    assert "NameError" in tool.invoke({"code": "x"}, {"configurable": {"thread_id": "b"}})
    assert "NameError" in tool.invoke({"code": "x"})


def test_the_description_says_what_the_policy_allows(rpc):
    default = PyexecTool(policy={})
    assert "any installed module. Files" in PyexecTool(client=rpc).description      # the client's policy
    assert "no others: math" in default.description and "can't use files" in default.description and "no network" in default.description
    wide = PyexecTool(client=rpc, policy={"use_import_whitelist": False, "banned_imports": ["os"], "disable_open": False,
                                          "disable_networking": False, "timeout_ms": 500})
    assert "any module except these: os" in wide.description and "open()" in wide.description and "0.5 s" in wide.description
    assert set(default.args) == {"code"} and default.args["code"]["description"]


def test_failures_of_the_host_are_told_to_the_model(rpc):
    tool = PyexecTool(client=rpc, session_id="not/an/id")
    answer = tool.invoke({"name": "python", "args": {"code": "1"}, "id": "1", "type": "tool_call"})
    assert answer.status == "error" and "session" in answer.content
    asynchronous = asyncio.run(tool.ainvoke({"name": "python", "args": {"code": "1"}, "id": "1", "type": "tool_call"}))
    assert asynchronous.status == "error" and asynchronous.content == answer.content


def test_its_own_client_ends_with_it():
    tool = PyexecTool(session_id="mine")
    assert tool.invoke({"code": "pass"}) == "(no output)" and tool.invoke({"code": "1"}) == "1"
    tool.close()


def test_the_model_gets_a_bounded_text(rpc):
    message = PyexecTool(client=rpc).invoke({"type": "tool_call", "id": "1", "name": "python", "args": {"code": "print('å' * 40000)\n'end'"}})
    assert len(message.content.encode()) < 20_100 and "bytes left out" in message.content and message.content.endswith("'end'")


PRICES = {"tea": 3, "rice": 2}


@as_tool
def price(item: str, amount: int = 1) -> dict:
    """The price of an item.

    Args:
        item: its name
        amount: how many
    """
    if item not in PRICES:
        raise ToolException("there is no " + item)
    return {"item": item, "price": PRICES[item] * amount}


async def _stock(item: str) -> int:
    await asyncio.sleep(0)
    return len(item)

stock = StructuredTool.from_function(coroutine=_stock, name="warehouse-stock", description="How many there are.")
PROGRAM = "sum(price(item, amount=2)['price'] for item in ['tea', 'rice']), warehouse_stock('rice')"


class Calls(BaseCallbackHandler):
    def __init__(self):
        self.names = []

    def on_tool_start(self, serialized, input_str, **more):
        self.names.append(serialized["name"])


@pytest.mark.parametrize("asynchronous", [False, True])
def test_one_program_calls_many_tools(px, asynchronous):
    """The tool may be sync or async, and so may the agent. Callbacks see the tool calls of the program."""
    program = PyexecTool(tools=[price, stock], client=px)
    agent, calls = create_agent(scripted(PROGRAM), [program]), Calls()
    given = {"messages": "go"}, {"callbacks": [calls]}
    messages = (asyncio.run(agent.ainvoke(*given)) if asynchronous else agent.invoke(*given))["messages"]
    assert [message.content for message in messages if message.type == "tool"] == ["(10, 4)"]
    assert calls.names == ["python", "price", "price", "warehouse-stock"]


def test_the_description_lists_the_functions(rpc):
    text = PyexecTool(tools=[price, stock], client=rpc).description
    assert "- price(item: str, amount: int = 1): The price of an item." in text
    assert "- warehouse_stock(item: str): How many there are. The tool is called 'warehouse-stock' elsewhere." in text
    assert "asyncio.gather" in text and "asyncio" not in PyexecTool(tools=[price], policy={"use_import_whitelist": True}).description


@pytest.mark.parametrize("asynchronous", [False, True])
def test_errors_of_tools_are_exceptions_in_words(rpc, asynchronous):
    @as_tool
    def longest(word: str) -> str:
        """One word."""
        raise RuntimeError("no words")
    handled = [StructuredTool.from_function(price.func, name=name, description="as price", handle_tool_error=handler, handle_validation_error=True)
               for name, handler in (("same", True), ("fixed", "not now"), ("worded", lambda error: "sorry, " + str(error)))]
    tools = script_tools([price, longest, *handled], asynchronous=asynchronous)
    code = "try: %s\nexcept Exception as error: said = type(error).__name__, str(error)\nsaid"

    def said(call):
        async def main():
            return await rpc.aio().execute_once(code % call, tools=tools)
        return (asyncio.run(main()) if asynchronous else rpc.execute_once(code % call, tools=tools)).last_value_repr
    assert said("price('milk')") == "('ToolError', 'there is no milk')"
    assert said("longest('a')") == "('ToolError', 'no words')"
    assert [said("%s('milk')" % tool.name) for tool in handled] == [
        "('ToolError', 'there is no milk')", "('ToolError', 'not now')", "('ToolError', 'sorry, there is no milk')"]
    assert said("price(5)").startswith("('TypeError', ")
    with pytest.raises(Exception) as hostile:       # the tool checks what the script does not check
        answer = tools["price"][1](item="tea", amount="many")
        asyncio.run(answer)
    assert str(hostile.value) == "amount: Input should be a valid integer, unable to parse string as an integer"

"""pydantic-ai agents with a scripted model: fixed messages, no network."""
import asyncio
import dataclasses
import os

import pytest
from pydantic_ai import Agent, DeferredToolRequests, FunctionToolset, ModelRetry, RunContext, Tool
from pydantic_ai.exceptions import ApprovalRequired
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import FunctionModel

from pyexec.pydantic_ai import PyexecToolset


@dataclasses.dataclass
class Item:
    name: str
    price: float


def price(ctx: RunContext[dict], item: str, amount: int = 1) -> Item:
    """The price of an item.

    Args:
        item: its name
        amount: how many
    """
    if item not in ctx.deps:
        raise ModelRetry("there is no " + item)
    return Item(item, ctx.deps[item] * amount)


async def process(day: set[str]) -> int:
    """The process that runs this."""
    return os.getpid() if day == {"today"} else 0


class Scripted(FunctionModel):
    """A model that calls `python` with these programs, one after another, and keeps the tools that it was offered."""

    def __init__(self, *codes, tool="python"):
        self.codes, self.offered = list(codes), []

        def answer(messages, info):
            self.offered.append({definition.name: definition for definition in info.function_tools})
            if self.codes:
                return ModelResponse([ToolCallPart(tool, self.codes.pop(0) if tool != "python" else {"code": self.codes.pop(0)})])
            return ModelResponse([TextPart("done")])
        super().__init__(answer)


def texts(result):
    return [part.content for message in result.all_messages() for part in message.parts if isinstance(part, ToolReturnPart)]


DEPS = {"tea": 3.5, "rice": 2.0}
PROGRAM = "[price(item, amount=2)['price'] for item in ['tea', 'rice']], process(['today'])"


@pytest.mark.parametrize("asynchronous", [False, True])
def test_one_program_calls_many_tools(px, asynchronous):
    agent = Agent(Scripted(PROGRAM, "price('tea')"), toolsets=[PyexecToolset([price, process], client=px)], deps_type=dict)
    result = asyncio.run(agent.run("go", deps=DEPS)) if asynchronous else agent.run_sync("go", deps=DEPS)
    assert texts(result) == ["([7.0, 4.0], %d)" % os.getpid(), "{'name': 'tea', 'price': 3.5}"] and result.output == "done"


def test_the_description_lists_the_functions(rpc):
    model = Scripted()
    Agent(model, toolsets=[PyexecToolset([price, process], client=rpc)], deps_type=dict).run_sync("go", deps=DEPS)
    offered, = model.offered
    assert set(offered) == {"python"} and set(offered["python"].parameters_json_schema["properties"]) == {"code"}
    assert "- price(item: str, amount: int = 1) -> dict: The price of an item." in offered["python"].description


def test_errors_of_tools_are_exceptions_in_words(rpc):
    code = "try: %s\nexcept Exception as error: said = type(error).__name__, str(error)\nsaid"
    agent = Agent(Scripted(code % "price('milk')", code % "price(5)", code % "process(['tomorrow', 1])"),
                  toolsets=[PyexecToolset([price, process], client=rpc)], deps_type=dict)
    missing, guest, deep = texts(agent.run_sync("go", deps=DEPS))
    assert missing == "('ToolError', 'there is no milk')" and guest.startswith("('TypeError'") and "Error'" in deep


def test_each_run_has_a_session_which_ends_with_it(rpc):
    toolset = PyexecToolset([price], client=rpc)
    agent = Agent(Scripted("x = price('tea')['price']", "x"), toolsets=[toolset], deps_type=dict)
    assert texts(agent.run_sync("go", deps=DEPS)) == ["(no output)", "3.5"]
    assert rpc.sessions() == []
    model = Scripted("x")
    assert "NameError" in texts(Agent(model, toolsets=[toolset], deps_type=dict).run_sync("go", deps=DEPS))[0]
    named = PyexecToolset([price], client=rpc, session_id="mine")
    for codes, wanted in ((["y = 1"], ["(no output)"]), (["y"], ["1"])):
        assert texts(Agent(Scripted(*codes), toolsets=[named], deps_type=dict).run_sync("go", deps=DEPS)) == wanted


def test_a_tool_that_needs_an_approval_stays_the_models(rpc):
    def mail(to: str) -> str:
        """Sends a mail."""
        return "sent"

    def pay(amount: int) -> str:
        raise ApprovalRequired()
    tools = FunctionToolset([Tool(mail, requires_approval=True), pay])
    model = Scripted({"to": "me"}, tool="mail")
    agent = Agent(model, toolsets=[PyexecToolset(tools, client=rpc)], output_type=[str, DeferredToolRequests])
    asked = agent.run_sync("go").output
    assert [call.tool_name for call in asked.approvals] == ["mail"] and set(model.offered[0]) == {"python", "mail"}
    denied, = texts(Agent(Scripted("pay(5)"), toolsets=[PyexecToolset(tools, client=rpc)]).run_sync("go"))
    assert "PermissionError: tool 'pay' denied: it needs an approval" in denied


def test_failures_of_the_host_are_told_to_the_model(rpc):
    agent = Agent(Scripted("1"), toolsets=[PyexecToolset(client=rpc, session_id="not/an/id")])
    told = [str(part.content) for message in agent.run_sync("go").all_messages() for part in message.parts
            if part.part_kind in ("retry-prompt", "tool-return")]
    assert len(told) == 1 and "session" in told[0]


def test_its_own_client_ends_with_it():
    toolset = PyexecToolset(policy={"timeout_ms": 2000})
    assert texts(Agent(Scripted("6 * 7"), toolsets=[toolset]).run_sync("go")) == ["42"]
    toolset.close()

"""openai-agents with a scripted model: fixed messages, no network."""
import asyncio
import dataclasses
import json
import os
from typing import Optional

import pytest
from agents import Agent, Model, ModelResponse, RunConfig, RunContextWrapper, Runner, Usage, function_tool
from agents.guardrail import GuardrailFunctionOutput
from agents.tool_guardrails import ToolInputGuardrail
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

from pyexec.openai_agents import python_tool


class Scripted(Model):
    """A model that calls `python` with these programs, one after another, and keeps the tools that it was offered."""

    def __init__(self, *codes):
        self.codes, self.offered = list(codes), []

    async def get_response(self, system_instructions, input, model_settings, tools, *rest, **more):
        self.offered = tools
        if self.codes:
            arguments = json.dumps({"code": self.codes.pop(0)})
            item = ResponseFunctionToolCall(type="function_call", call_id="c%d" % len(self.codes), name="python", arguments=arguments)
        else:
            item = ResponseOutputMessage(id="m", type="message", role="assistant", status="completed",
                                         content=[ResponseOutputText(type="output_text", text="done", annotations=[])])
        return ModelResponse(output=[item], usage=Usage(), response_id=None)

    def stream_response(self, *unused, **more):
        raise NotImplementedError


@dataclasses.dataclass
class Shop:
    prices: dict


@function_tool(failure_error_function=None)
def price(context: RunContextWrapper[Shop], item: str, amount: int = 1) -> dict:
    """The price of an item.

    Args:
        item: its name
        amount: how many
    """
    if item not in context.context.prices:
        raise LookupError("there is no " + item)
    return {"item": item, "price": context.context.prices[item] * amount}


@function_tool
async def process() -> int:
    """The process that runs this."""
    await asyncio.sleep(0)
    return os.getpid()


def run(tool, *codes, context=None):
    model = Scripted(*codes)
    done = Runner.run_sync(Agent("a", tools=[tool], model=model), "go", context=context or Shop({"tea": 3.5, "rice": 2.0}),
                           run_config=RunConfig(tracing_disabled=True))
    assert done.final_output == "done"
    return [item.output for item in done.new_items if item.type == "tool_call_output_item"]


def test_one_program_calls_many_tools(px):
    tool = python_tool([price, process], client=px)
    code = "[price(item, amount=2)['price'] for item in ['tea', 'rice']], process()"
    gathered = "import asyncio, tools\n[one['price'] for one in await asyncio.gather(*(tools.aio.price('tea') for i in range(3)))]"
    assert run(tool, code, gathered) == ["([7.0, 4.0], %d)" % os.getpid(), "[3.5, 3.5, 3.5]"]


def test_the_description_lists_the_functions(rpc):
    tool = python_tool([price, process], client=rpc)
    assert "- price(item: str, amount: int" in tool.description and "The price of an item." in tool.description
    assert "keeps nothing between calls" in tool.description
    assert "keeps variables" in python_tool(client=rpc, session="s").description


def test_parameters_that_a_strict_schema_requires_may_be_left_out(rpc):
    @function_tool
    def f(a: int, b: Optional[int] = None, c: int = 3) -> list:
        return [a, b, c]
    tool = python_tool([f], client=rpc)
    assert "- f(a: int, b = None, c: int = 3)" in tool.description
    assert run(tool, "f(1), f(1, c=5), f(1, 2)") == ["([1, None, 3], [1, None, 5], [1, 2, 3])"]


def test_errors_of_tools_are_exceptions_in_words(rpc):
    """The error texts come from the tool's own failure_error_function, if it has one."""
    @function_tool
    def hidden() -> str:
        raise RuntimeError("a secret of the database")

    @function_tool(failure_error_function=lambda context, error: "in words: %s" % error)
    def worded() -> str:
        raise RuntimeError("no")
    code = "try: %s\nexcept Exception as error: said = type(error).__name__, str(error)\nsaid"
    tool = python_tool([price, hidden, worded], client=rpc)
    assert run(tool, code % "price('milk')", code % "worded()") == ["('ToolError', 'there is no milk')", "('ToolError', 'in words: no')"]
    fixed, wrong = run(tool, code % "hidden()", code % "price(5)")
    assert fixed.startswith("('ToolError', 'An error occurred") and "secret" not in fixed and wrong.startswith("('TypeError'")


def test_tools_that_need_an_approval_are_denied(rpc):
    async def over(context, arguments, call_id):
        return arguments["amount"] > 10

    @function_tool(needs_approval=True)
    def mail(to: str) -> str:
        return "sent"

    @function_tool(needs_approval=over)
    def pay(amount: int) -> str:
        return "paid %d" % amount
    answers = run(python_tool([mail, pay], client=rpc), "mail('me')", "pay(5)", "pay(11)")
    assert "PermissionError: tool 'mail' denied: it needs an approval" in answers[0]
    assert answers[1] == "'paid 5'" and "tool 'pay' denied" in answers[2]


def test_a_tool_that_is_not_enabled_is_not_there(rpc):
    @function_tool(is_enabled=lambda context, agent: agent.name == "b" and context.context is not None)
    def f() -> str:
        return "here"
    assert "NameError" in run(python_tool([f], client=rpc), "f()")[0]


def test_guardrails_are_never_passed_by(rpc):
    @function_tool
    def f() -> str:
        return "here"
    f.tool_input_guardrails = [ToolInputGuardrail(guardrail_function=lambda data: GuardrailFunctionOutput(None, False))]
    with pytest.raises(ValueError, match="'f' has guardrails"):
        python_tool([f], client=rpc)


def test_a_session_keeps_variables(rpc):
    tool = python_tool(client=rpc, session=lambda context: "for-" + context.context)
    assert run(tool, "x = 1", "x", context="me") == ["(no output)", "1"]
    assert "NameError" in run(tool, "x", context="you")[0]
    assert "NameError" in run(python_tool(client=rpc), "x = 1", "x")[1]


def test_failures_of_the_host_are_told_to_the_model(rpc):
    assert "session" in run(python_tool(client=rpc, session="not/an/id"), "1")[0]

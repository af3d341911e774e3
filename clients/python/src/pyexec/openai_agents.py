# SPDX-License-Identifier: Apache-2.0
"""openai-agents: `Agent(tools=[python_tool([search, mail])])`: the model writes one program that calls these tools.

The tools are FunctionTools of the SDK, and run in this process. The model's program calls them as functions (docs/tools.md).
"""
from __future__ import annotations

import copy
import json
import uuid
from collections.abc import Sequence
from typing import Any, Callable, Optional, Union

from agents import FunctionTool
from agents.tool import invoke_function_tool, maybe_invoke_function_tool_failure_error_function, set_function_tool_failure_error_function
from agents.tool_context import ToolContext

from ._adapters import CODE_SCHEMA, ScriptTools, add_tool, describe_policy, describe_tools, plain_error
from .client import Pyexec
from .errors import PyexecError
from .tools import ToolDenied, ToolError
from .types import Policy

SessionOf = Union[None, str, Callable[[ToolContext[Any]], str]]


def python_tool(tools: Sequence[FunctionTool] = (), *, client: Optional[Pyexec] = None, policy: Optional[Policy] = None,
                session: SessionOf = None, name: str = "python") -> FunctionTool:
    """Returns a FunctionTool with the parameter `code`. The code can call these tools.

    client: a client to share. Without it the tool makes its own client, which ends with this process.
    policy: its keys replace those of the client's policy.
    session: the id of a session that keeps variables between calls, or a function that gets the context and returns the id.
    Without it each call runs in a new process.
    """
    for tool in tools:
        if tool.tool_input_guardrails or tool.tool_output_guardrails:
            raise ValueError("the tool '%s' has guardrails, but calls from a program would bypass them: check the arguments in its function" % tool.name)
    used = client or Pyexec()
    given: Policy = policy or {}
    whole = {**used.policy, **given}

    async def invoke(context: ToolContext[Any], text: str) -> str:
        try:
            code = json.loads(text)["code"]
        except (ValueError, TypeError, KeyError):
            return 'The arguments are not a JSON object with "code".'
        offered = _script_tools([tool for tool in tools if await _is_enabled(tool, context)], context)
        try:
            found = session(context) if callable(session) else session
            if found is None:
                result = await used.aio().execute_once(code, policy=given, tools=offered)
            else:
                result = await used.aio().session(found, policy=given).execute(code, tools=offered)
        except PyexecError as failure:
            return str(failure)
        return result.explain() or "(no output)"
    description = describe_policy(whole, keeps_state=session is not None) + describe_tools(_script_tools(tools, None), whole)
    return FunctionTool(name=name, description=description, params_json_schema=copy.deepcopy(CODE_SCHEMA), on_invoke_tool=invoke)


async def _is_enabled(tool: FunctionTool, context: ToolContext[Any]) -> bool:
    enabled = tool.is_enabled
    if isinstance(enabled, bool):
        return enabled
    answer = enabled(context, context.agent)
    return bool(answer if isinstance(answer, bool) else await answer)


def _script_tools(tools: Sequence[FunctionTool], context: Optional[ToolContext[Any]]) -> ScriptTools:
    offered: ScriptTools = {}
    for tool in tools:
        parameters = _loosened(tool.params_json_schema) if tool.strict_json_schema else tool.params_json_schema
        add_tool(offered, tool.name, tool.description, parameters, _caller(tool, context), tool.output_json_schema)
    return offered


def _loosened(schema: dict[str, Any]) -> dict[str, Any]:
    """A strict schema requires every parameter. In the schema that is returned, a parameter is optional if it has a default or may be
    null."""
    properties = {name: {**part, "default": None} if _may_be_null(part) and "default" not in part else part
                  for name, part in (schema.get("properties") or {}).items()}
    return {**schema, "properties": properties, "required": [name for name, part in properties.items() if "default" not in part]}


def _may_be_null(part: dict[str, Any]) -> bool:
    kind = part.get("type")
    return kind == "null" or (isinstance(kind, list) and "null" in kind) or any(map(_may_be_null, part.get("anyOf", ())))


def _caller(tool: FunctionTool, context: Any) -> Any:
    # With None the exception of the tool is raised here. With the SDK's function it would become a text that looks like a result.
    raising = set_function_tool_failure_error_function(copy.copy(tool), None)

    async def call(**arguments: Any) -> Any:
        text, call_id = json.dumps(arguments), "pyexec_" + uuid.uuid4().hex
        own = ToolContext.from_agent_context(context, call_id, tool_name=tool.name, tool_arguments=text)
        if tool.needs_approval is True or (callable(tool.needs_approval) and await tool.needs_approval(own, arguments, call_id)):
            raise ToolDenied("it needs an approval, which a program can't wait for")
        try:
            return await invoke_function_tool(function_tool=raising, context=own, arguments=text)
        except Exception as error:
            # The tool has its own function that makes the error text for the model. That text may say less than the exception.
            words = await maybe_invoke_function_tool_failure_error_function(function_tool=tool, context=own, error=error)
            raise ToolError(words or str(plain_error(error)) or type(error).__name__) from error
    return call

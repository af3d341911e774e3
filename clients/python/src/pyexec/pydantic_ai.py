# SPDX-License-Identifier: Apache-2.0
"""pydantic-ai: `Agent(model, toolsets=[PyexecToolset([search, mail])])`: the model writes one program that calls these tools.

The tools run in this process, and the model's program calls them as functions (docs/tools.md). A tool that needs an approval, or
that is run outside of the agent, can't be called by the program: the model calls it directly.
"""
from __future__ import annotations

import inspect
import json
import uuid
from dataclasses import dataclass, replace
from typing import Any, Optional

from pydantic_ai import AbstractToolset, FunctionToolset, ModelRetry, RunContext, ToolDefinition, ToolReturn, WrapperToolset
from pydantic_ai.exceptions import ApprovalRequired, CallDeferred
from pydantic_ai.tools import AgentDepsT
from pydantic_ai.toolsets import ToolsetTool
from pydantic_core import SchemaValidator, core_schema

from ._adapters import CODE_SCHEMA, ScriptTools, add_tool, describe_policy, describe_tools
from .client import Pyexec
from .errors import PyexecError
from .tools import ToolDenied
from .types import Policy

_VALIDATOR = SchemaValidator(core_schema.typed_dict_schema({"code": core_schema.typed_dict_field(core_schema.str_schema())}))
_RETRIES = 3


@dataclass
class PyexecToolset(WrapperToolset[AgentDepsT]):
    """A toolset with one tool, `python`. Its code can call the tools of `wrapped`.

    wrapped: another toolset, or a list of functions and Tools.
    policy: the policy of the sessions; its keys replace those of the client's policy.
    client: a client to share. Without it the toolset makes its own client, and close() closes it.
    session_id: the session to use. Without it each run of the agent has its own session, which ends with the run.
    """

    wrapped: Any = ()                   # a toolset, or a list of functions and Tools
    policy: Optional[Policy] = None
    client: Optional[Pyexec] = None
    session_id: Optional[str] = None
    tool_name: str = "python"
    _run: Optional[str] = None          # the id of the session for this run of the agent

    def __post_init__(self) -> None:
        if not isinstance(self.wrapped, AbstractToolset):
            self.wrapped = FunctionToolset(list(self.wrapped))
        self._owned = self.client is None
        self.client = self.client or Pyexec()

    async def for_run(self, ctx: RunContext[AgentDepsT]) -> AbstractToolset[AgentDepsT]:
        return replace(self, wrapped=await self.wrapped.for_run(ctx), _run=self.session_id or "pydantic-ai-" + uuid.uuid4().hex)

    async def __aexit__(self, *args: Any) -> Optional[bool]:
        if self._run is not None and self._run != self.session_id:
            await self._session().close()
        return await super().__aexit__(*args)

    def close(self) -> None:
        if self._owned and self.client is not None:
            self.client.close()

    def _session(self) -> Any:
        assert self.client is not None
        return self.client.aio().session(self._run or self.session_id, policy=self.policy)

    async def get_tools(self, ctx: RunContext[AgentDepsT]) -> dict[str, ToolsetTool[AgentDepsT]]:
        assert self.client is not None
        tools = await self.wrapped.get_tools(ctx)
        own = {name: tool for name, tool in tools.items() if tool.tool_def.kind != "function"}
        policy = {**self.client.policy, **(self.policy or {})}
        description = describe_policy(policy) + describe_tools(self._offer(tools, ctx), policy)
        definition = ToolDefinition(name=self.tool_name, parameters_json_schema=CODE_SCHEMA, description=description)
        return {**own, self.tool_name: ToolsetTool(toolset=self, tool_def=definition, max_retries=_RETRIES, args_validator=_VALIDATOR)}

    async def call_tool(self, name: str, tool_args: dict[str, Any], ctx: RunContext[AgentDepsT], tool: ToolsetTool[AgentDepsT]) -> Any:
        if name != self.tool_name:
            return await self.wrapped.call_tool(name, tool_args, ctx, tool)
        tools = self._offer(await self.wrapped.get_tools(ctx), ctx)
        try:
            result = await self._session().execute(tool_args["code"], tools=tools)
        except PyexecError as failure:
            raise ModelRetry(str(failure)) from failure
        return result.explain() or "(no output)"

    def _offer(self, tools: dict[str, ToolsetTool[AgentDepsT]], ctx: RunContext[AgentDepsT]) -> ScriptTools:
        offered: ScriptTools = {}
        for name, tool in tools.items():
            if tool.tool_def.kind == "function":
                add_tool(offered, name, tool.tool_def.description, tool.tool_def.parameters_json_schema, self._caller(name, tool, ctx),
                         tool.tool_def.return_schema)
        return offered

    def _caller(self, name: str, tool: ToolsetTool[AgentDepsT], ctx: RunContext[AgentDepsT]) -> Any:
        async def call(**arguments: Any) -> Any:
            own = replace(ctx, tool_name=name, tool_call_id="pyexec_" + uuid.uuid4().hex)
            values = tool.args_validator.validate_json(json.dumps(arguments), context=ctx.validation_context)
            try:
                if tool.args_validator_func is not None:
                    checked = tool.args_validator_func(own, **values)
                    if inspect.isawaitable(checked):
                        await checked
                answer = await self.wrapped.call_tool(name, values, own, tool)
            except (ApprovalRequired, CallDeferred):
                raise ToolDenied("it needs an approval or an answer that a program can't wait for") from None
            return answer.return_value if isinstance(answer, ToolReturn) else answer
        return call

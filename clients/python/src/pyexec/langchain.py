# SPDX-License-Identifier: Apache-2.0
"""LangChain: `create_agent(model, [PyexecTool()])` gives the model a Python that keeps its state.

With `PyexecTool(tools=[search, mail])` the code can call these tools: the model writes one program for many calls.
"""
from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, Literal, Optional

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool, ToolException
from langchain_core.utils.function_calling import convert_to_openai_function
from pydantic import BaseModel, Field, PrivateAttr

from ._adapters import ScriptTools, add_tool, describe_policy, describe_tools
from .client import Pyexec, Session
from .errors import PyexecError
from .tools import ToolError
from .types import Policy, Result


class PythonCode(BaseModel):
    """The arguments that the model sends."""

    code: str = Field(description="Python code. Its output and the value of its last expression are returned.")


def script_tools(tools: Sequence[BaseTool], config: Optional[RunnableConfig] = None, asynchronous: bool = False) -> ScriptTools:
    """Makes functions that a script can call, from LangChain's tools: `px.execute_once(code, tools=script_tools([search]))`. They run in this
    process, with the callbacks of this config, and check their arguments themselves."""
    offered: ScriptTools = {}
    for tool in tools:
        function = convert_to_openai_function(tool)
        add_tool(offered, tool.name, function.get("description"), function.get("parameters"), _caller(tool, config, asynchronous))
    return offered


def _caller(tool: BaseTool, config: Optional[RunnableConfig], asynchronous: bool) -> Any:
    # With handlers of its own a tool returns the text of an error as if it were a result.
    raising = tool.model_copy(update={"handle_tool_error": False, "handle_validation_error": False})

    async def call_async(**arguments: Any) -> Any:
        try:
            return await raising.ainvoke(arguments, config)
        except ToolException as error:
            raise ToolError(_words(tool, error)) from error

    def call(**arguments: Any) -> Any:
        try:
            return raising.invoke(arguments, config)
        except ToolException as error:
            raise ToolError(_words(tool, error)) from error
    only_async = isinstance(tool, StructuredTool) and tool.func is None
    return call_async if asynchronous or only_async else call


def _words(tool: BaseTool, error: ToolException) -> str:
    """Returns the text for the model that the tool's own error handler makes of the error."""
    handler = tool.handle_tool_error
    return handler if isinstance(handler, str) else str(handler(error)) if callable(handler) else str(error)


class PyexecTool(BaseTool):
    """A LangChain tool, for sync and async agents. The message's artifact is the pyexec `Result`.

    tools: tools that the code can call as functions. They run in this process.
    policy: the policy of the sessions; its keys replace those of the client's policy.
    client: a client to share. Without it the tool makes its own client, and close() closes it.
    session_id: the session to use. Without it each thread of a LangGraph checkpointer (`configurable.thread_id`) has a session,
    and calls without a thread share one session.
    """

    name: str = "python"
    description: str = ""
    args_schema: Any = PythonCode
    response_format: Literal["content", "content_and_artifact"] = "content_and_artifact"
    handle_tool_error: Any = True
    policy: dict[str, Any] = Field(default_factory=dict)
    session_id: Optional[str] = None
    _client: Pyexec = PrivateAttr()
    _owned: bool = PrivateAttr()
    _tools: list[BaseTool] = PrivateAttr()
    _prefix: str = PrivateAttr(default_factory=lambda: "lc-" + uuid.uuid4().hex[:12])

    def __init__(self, *, tools: Sequence[BaseTool] = (), client: Optional[Pyexec] = None, policy: Optional[Policy] = None,
                 session_id: Optional[str] = None, **more: Any) -> None:
        used, given = client or Pyexec(), dict[str, Any](policy or {})
        whole = {**used.policy, **given}
        more.setdefault("description", describe_policy(whole) + describe_tools(script_tools(tools), whole))
        super().__init__(policy=given, session_id=session_id, **more)
        self._owned, self._client, self._tools = client is None, used, list(tools)

    def _session(self, config: RunnableConfig) -> Session:
        thread = (config.get("configurable") or {}).get("thread_id")
        session = self.session_id
        if session is None:
            # A thread's name may be any text, but only a few characters are allowed in a session's id.
            session = self._prefix if thread is None else "%s-%s" % (self._prefix, uuid.uuid5(uuid.NAMESPACE_OID, str(thread)).hex)
        return self._client.session(session, policy=self.policy)  # type: ignore[arg-type]

    def _run(self, code: str, config: RunnableConfig) -> tuple[str, Result]:
        try:
            result = self._session(config).execute(code, tools=script_tools(self._tools, config))
        except PyexecError as failure:
            raise ToolException(str(failure)) from failure
        return result.explain() or "(no output)", result

    async def _arun(self, code: str, config: RunnableConfig) -> tuple[str, Result]:
        session = self._client.aio().session(self._session(config).id, policy=self.policy)  # type: ignore[arg-type]
        try:
            result = await session.execute(code, tools=script_tools(self._tools, config, asynchronous=True))
        except PyexecError as failure:
            raise ToolException(str(failure)) from failure
        return result.explain() or "(no output)", result

    def close(self) -> None:
        if self._owned:
            self._client.close()

# SPDX-License-Identifier: Apache-2.0
"""LangChain: `create_agent(model, [PyexecTool()])` gives the model a Python that keeps its state."""
from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Literal, Optional

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, ToolException
from pydantic import BaseModel, Field, PrivateAttr

from .client import Pyexec, Session
from .errors import PyexecError
from .types import DEFAULT_ALLOWED_IMPORTS, DEFAULT_BANNED_IMPORTS, Policy, Result


class PythonCode(BaseModel):
    """What the model sends."""

    code: str = Field(description="Python code. The value of its last expression is returned, as is what it prints.")


def describe(policy: Mapping[str, Any]) -> str:
    """Returns what a model should know about this policy before its first call."""
    if policy.get("use_import_whitelist", True):
        imports = "It may import these modules and no others: %s." % ", ".join(policy.get("allowed_imports", DEFAULT_ALLOWED_IMPORTS))
    else:
        banned = ", ".join(policy.get("banned_imports", DEFAULT_BANNED_IMPORTS))
        imports = "It may import modules, but none of: %s." % banned if banned else "It may import any module that is there."
    files = "It has no files."
    if not policy.get("disable_open", True):
        files = "Files: open() with relative paths%s." % (", for reading" if policy.get("allow_readonly_open") else "")
    network = "no network" if policy.get("disable_networking", True) else "the network"
    return (
        "Runs Python code in a sandbox that keeps variables between calls. The value of the last expression is returned, so print() "
        "is not needed for it. %s %s It has %s, and %g s for each call. Read the hint of an error: it says what to do instead."
        % (imports, files, network, policy.get("timeout_ms", 5000) / 1000))


class PyexecTool(BaseTool):
    """A LangChain tool, for sync and async agents. The message's artifact is the pyexec `Result`.

    policy: of the sessions, over the client's. client: one to share; else the tool has its own, closed by close().
    session_id: the session to use; else each thread of a LangGraph checkpointer (`configurable.thread_id`) has one, and
    calls without a thread share one of the tool's.
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
    _prefix: str = PrivateAttr(default_factory=lambda: "lc-" + uuid.uuid4().hex[:12])

    def __init__(self, *, client: Optional[Pyexec] = None, policy: Optional[Policy] = None, session_id: Optional[str] = None,
                 **more: Any) -> None:
        used, given = client or Pyexec(), dict[str, Any](policy or {})
        more.setdefault("description", describe({**used.policy, **given}))
        super().__init__(policy=given, session_id=session_id, **more)
        self._owned, self._client = client is None, used

    def _session(self, config: RunnableConfig) -> Session:
        thread = (config.get("configurable") or {}).get("thread_id")
        session = self.session_id
        if session is None:
            # A thread's name may be any text, but only a few characters are allowed in a session's id.
            session = self._prefix if thread is None else "%s-%s" % (self._prefix, uuid.uuid5(uuid.NAMESPACE_OID, str(thread)).hex)
        return self._client.session(session, policy=self.policy)  # type: ignore[arg-type]

    def _run(self, code: str, config: RunnableConfig) -> tuple[str, Result]:
        try:
            result = self._session(config).execute(code)
        except PyexecError as failure:
            raise ToolException(str(failure)) from failure
        return result.explain() or "(no output)", result

    async def _arun(self, code: str, config: RunnableConfig) -> tuple[str, Result]:
        session = self._session(config)
        try:
            result = await self._client.aio().session(session.id, policy=self.policy).execute(code)  # type: ignore[arg-type]
        except PyexecError as failure:
            raise ToolException(str(failure)) from failure
        return result.explain() or "(no output)", result

    def close(self) -> None:
        if self._owned:
            self._client.close()

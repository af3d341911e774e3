# SPDX-License-Identifier: Apache-2.0
"""Client of pyexec, which runs unreviewed Python code in a kernel sandbox.

    from pyexec import Pyexec

    with Pyexec(policy={"timeout_ms": 2000}) as px:
        print(px.execute_once("6 * 7").last_value_repr)     # 42

`AsyncPyexec` is the same for asyncio. Adapters: pyexec.smolagents, pyexec.langchain, pyexec.pydantic_ai, pyexec.openai_agents,
pyexec.anthropic, pyexec.inspect_ai, pyexec.jupyter.
"""
from ._transport import Event
from .aio import AsyncFiles, AsyncPyexec, AsyncSession, AsyncStream
from .client import Files, Pyexec, Session, Stream
from .errors import (
    AlreadyStartedError, ClosedError, ConflictError, ConnectionLostError, InternalError, InvalidPolicyError, InvalidRequestError, NotFoundError,
    OverloadedError, ProgramNotFoundError, PyexecError, PythonNotFoundError, PythonUnsupportedError, SandboxUnavailableError,
    SessionBusyError, SessionLimitError, SessionLostError, SessionNotForkableError, SessionNotFoundError, ShuttingDownError, UnauthorizedError,
)
from .tools import ToolDenied, ToolError
from .types import (
    DEFAULT_ALLOWED_IMPORTS, DEFAULT_BANNED_IMPORTS, Denial, Display, EnvironmentInfo, ErrorInfo, FileChange, FileEntry, Output, Policy, RequestFields,
    Restored, Result, SessionConfig, SessionInfo, SessionList, ToolUsage, Undone, Usage,
)
from .verify import Test, Tolerance, Verdict, Verified, VerifyFields

__all__ = [
    "AlreadyStartedError", "AsyncFiles", "AsyncPyexec", "AsyncSession", "AsyncStream", "ClosedError", "ConflictError", "ConnectionLostError",
    "DEFAULT_ALLOWED_IMPORTS", "DEFAULT_BANNED_IMPORTS", "Denial", "Display", "EnvironmentInfo", "ErrorInfo", "Event", "FileChange", "FileEntry",
    "Files", "InternalError",
    "InvalidPolicyError", "InvalidRequestError", "NotFoundError", "Output", "OverloadedError", "Policy", "ProgramNotFoundError",
    "Pyexec", "PyexecError", "PythonNotFoundError", "PythonUnsupportedError", "RequestFields", "Restored", "Result", "SandboxUnavailableError",
    "Session", "SessionBusyError", "SessionConfig", "SessionInfo", "SessionLimitError", "SessionList", "SessionLostError",
    "SessionNotForkableError",
    "SessionNotFoundError", "ShuttingDownError", "Stream",
    "Test", "Tolerance", "ToolDenied", "ToolError", "ToolUsage", "UnauthorizedError", "Undone", "Usage", "Verdict", "Verified", "VerifyFields",
]

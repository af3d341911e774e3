# SPDX-License-Identifier: Apache-2.0
"""Failures of the host, with a class for each code. A script that fails gives a `Result`, not an
exception."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Optional

MALFORMED = (ValueError, KeyError, TypeError, AttributeError, RecursionError)       # what reading a malformed answer raises


class PyexecError(Exception):
    """The base class of all errors. A code that this version does not know is raised as this class.

    code: the name in the protocol ("invalid_policy"); message: what failed, with the value;
    hint: what to do next, or ""; retry_after: seconds after which the call may be repeated, or None. If it is set, the code never
    started.
    """

    code = "internal"

    def __init__(self, message: str, hint: str = "", retry_after: Optional[float] = None, code: Optional[str] = None) -> None:
        super().__init__("%s (%s)" % (message, hint) if hint else message)
        self.message, self.hint, self.retry_after = message, hint, retry_after
        if code is not None:
            self.code = code


class InvalidPolicyError(PyexecError):
    code = "invalid_policy"


class InvalidRequestError(PyexecError):
    code = "invalid_request"


class PythonNotFoundError(PyexecError):
    code = "python_not_found"


class PythonUnsupportedError(PyexecError):
    code = "python_unsupported"


class SandboxUnavailableError(PyexecError):
    code = "sandbox_unavailable"


class SessionLimitError(PyexecError):
    code = "session_limit"


class SessionNotFoundError(PyexecError):
    code = "session_not_found"


class SessionBusyError(PyexecError):
    """A call of the session runs or waits, so it can't be forked now."""

    code = "session_busy"


class SessionNotForkableError(PyexecError):
    """The session can't be forked. The message says why."""

    code = "session_not_forkable"


class SessionLostError(PyexecError):
    """Over NATS: the node of the session is gone, and the session's state with it. The next call with its id makes a new session."""

    code = "session_lost"


class AlreadyStartedError(PyexecError):
    """Over NATS: a request with this key was started before. It is not started again."""

    code = "already_started"


class OverloadedError(PyexecError):
    code = "overloaded"


class ShuttingDownError(PyexecError):
    code = "shutting_down"


class InternalError(PyexecError):
    code = "internal"


class UnauthorizedError(PyexecError):
    """Over HTTP: missing or unknown token."""

    code = "unauthorized"


class NotFoundError(PyexecError):
    """Over HTTP: no such file or path."""

    code = "not_found"


class ConflictError(PyexecError):
    """Over HTTP: a session with this id exists."""

    code = "conflict"


class ProgramNotFoundError(PyexecError):
    """The program `pyexec` can't be started here."""

    code = "program_not_found"


class ConnectionLostError(PyexecError):
    """`pyexec rpc` has ended, or the server does not answer. It is not known whether the code ran."""

    code = "connection_lost"


class ClosedError(PyexecError):
    """The client has been closed."""

    code = "closed"


_CLASSES = {cls.code: cls for cls in PyexecError.__subclasses__()}


def error_from(data: Mapping[str, Any], retry_after: Optional[float] = None) -> PyexecError:
    """The exception for an error object of the protocol or a problem of HTTP."""
    code = str(data.get("code") or "internal")
    message = str(data.get("message") or data.get("detail") or data.get("title") or code)
    wait = data.get("retry_after_ms")
    if isinstance(wait, (int, float)) and wait:
        retry_after = wait / 1000
    return _CLASSES.get(code, PyexecError)(message, str(data.get("hint") or ""), retry_after, code)

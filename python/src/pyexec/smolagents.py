# SPDX-License-Identifier: Apache-2.0
"""smolagents: `CodeAgent(tools, model, executor=PyexecExecutor())` runs the agent's code in a pyexec session.

As with smolagents' own remote executors, tools are sent as source and run inside the sandbox: one that talks to the
host, the network or a secret of this process can't work there. Nothing is installed either: what a tool imports must
be in the sandbox's interpreter, and allowed by the policy.
"""
from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, Optional

from smolagents.local_python_executor import BASE_BUILTIN_MODULES, CodeOutput
from smolagents.monitoring import AgentLogger, LogLevel
from smolagents.remote_executors import RemotePythonExecutor
from smolagents.tools import Tool
from smolagents.utils import AgentError

from ._text import bounded, cut_lines, display_lines
from .client import Pyexec
from .types import DEFAULT_ALLOWED_IMPORTS, Policy

# Modules that smolagents' own code imports in the sandbox, in addition to those that it allows to the
# model.
_SUPPORT = ("typing", "dataclasses", "pathlib", "io")

# smolagents' own wrapper imports PIL, numpy and pickle; this one knows their types by name. What it writes is the
# format of its SafeSerializer.
_FINAL_ANSWER = '''
def _final_answer_of(tool):
    import base64, io, json

    class FinalAnswerException(BaseException):
        __qualname__ = "FinalAnswerException"

    def marked(kind, data, **more):
        return {"__type__": kind, "data": data, **more}

    def safe(obj):
        kind, module = type(obj).__name__, type(obj).__module__.split(".")[0]
        if obj is None or isinstance(obj, (str, int, float, bool)):
            return obj
        if isinstance(obj, dict):
            if all(isinstance(key, str) for key in obj):
                return {key: safe(value) for key, value in obj.items()}
            return marked("dict_with_complex_keys", [[safe(key), safe(value)] for key, value in obj.items()])
        if isinstance(obj, list):
            return [safe(item) for item in obj]
        if isinstance(obj, (tuple, set, frozenset)):
            return marked(next(base.__name__ for base in (tuple, set, frozenset) if isinstance(obj, base)), [safe(item) for item in obj])
        if isinstance(obj, bytes):
            return marked("bytes", base64.b64encode(obj).decode())
        if isinstance(obj, complex):
            return {"__type__": "complex", "real": obj.real, "imag": obj.imag}
        if module == "datetime" and kind in ("datetime", "date", "time"):
            return marked(kind, obj.isoformat())
        if module == "datetime" and kind == "timedelta":
            return {"__type__": kind, "total_seconds": obj.total_seconds()}
        if module in ("decimal", "pathlib"):
            return marked("Decimal" if module == "decimal" else "Path", str(obj))
        if module == "numpy" and hasattr(obj, "tolist"):
            return marked("ndarray", obj.tolist(), dtype=str(obj.dtype)) if kind == "ndarray" else obj.item()
        if module == "PIL" and hasattr(obj, "save"):
            buffer = io.BytesIO()
            obj.save(buffer, format="PNG")
            return marked("PIL.Image", base64.b64encode(buffer.getvalue()).decode())
        raise TypeError("final_answer can't pass on a %s: give text, numbers, lists, dicts, dates, bytes, arrays or images" % kind)

    def final_answer(*args, **kwargs):
        raise FinalAnswerException("safe:" + json.dumps(safe(tool(*args, **kwargs))))
    return final_answer

final_answer = _final_answer_of(final_answer)
'''


class PyexecExecutor(RemotePythonExecutor):  # type: ignore[misc]
    """A smolagents PythonExecutor with one session, which keeps its state between the agent's steps and runs.

    additional_imports: modules that code may import beside those of the client's policy and smolagents' defaults; give the agent the same
    as additional_authorized_imports, which is what its prompt says.
    policy: of the session, over the client's; with allowed_imports in it, it is the whole list.
    client: one to share; else the executor has its own, and cleanup() closes it.
    """

    def __init__(self, additional_imports: Sequence[str] = (), logger: Optional[AgentLogger] = None, *,
                 client: Optional[Pyexec] = None, policy: Optional[Policy] = None) -> None:
        super().__init__(list(additional_imports), logger or AgentLogger(level=LogLevel.OFF))
        tops = (name.split(".")[0] for name in additional_imports)
        self._client, self._owned = client or Pyexec(), client is None
        known = self._client.policy.get("allowed_imports", DEFAULT_ALLOWED_IMPORTS)
        allowed = dict.fromkeys([*known, *BASE_BUILTIN_MODULES, *_SUPPORT, *tops])
        # A final answer comes as a message of an exception, which is bounded like a value.
        whole: Policy = {"allowed_imports": list(allowed), "max_value_bytes": 4 << 20}
        whole.update(policy or {})
        self.session = self._client.session(policy=whole)

    def run_code_raise_errors(self, code: str) -> CodeOutput:
        result = self.session.execute(code)
        if result.error is not None and result.error.type == self.FINAL_ANSWER_EXCEPTION:
            answer = self._deserialize_final_answer(result.error.message, self.allow_pickle)
            return CodeOutput(output=answer, logs=bounded(result.stdout), is_final_answer=True)
        if not result.ok:
            raise AgentError(result.explain(), self.logger)
        logs = "\n".join([result.stdout + result.stderr, *display_lines(result), *cut_lines(result)])
        if result.session is not None and result.session.restarted:
            logs += "\nThe session had been restarted (%s): variables of earlier steps are gone." % result.session.restarted
        value = None if result.last_value_repr is None else bounded(result.last_value_repr)
        return CodeOutput(output=value, logs=bounded(logs), is_final_answer=False)

    def send_tools(self, tools: dict[str, Any]) -> None:
        foreign = [name for name, tool in tools.items() if not isinstance(tool, Tool)]
        if foreign:
            raise AgentError("managed agents run in this process, where the sandbox can't call them: %s" % ", ".join(foreign),
                             self.logger)
        super().send_tools(tools)
        if "final_answer" in tools:
            self.run_code_raise_errors(_FINAL_ANSWER)

    def install_packages(self, additional_imports: list[str]) -> list[str]:
        """Installs nothing. If a tool needs a package that the sandbox does not have, this says so before
        the agent begins."""
        for package in additional_imports:
            name = "PIL" if package == "pillow" else package
            result = self.session.execute("import " + name)
            if not result.ok:
                raise AgentError(
                    "a tool needs the package '%s', which the sandbox does not have: %s. pyexec installs nothing; let policy "
                    "have python_bin of an environment with it, isolate_site=False, and its module in allowed_imports."
                    % (package, bounded(result.error_repr or result.status)), self.logger)
        return additional_imports

    def _patch_final_answer_with_exception(self, final_answer_tool: Any) -> None:
        """Does nothing: the tool is sent unchanged, and _FINAL_ANSWER wraps it in the sandbox."""

    def cleanup(self) -> None:
        """Ends the session, and the client if it is its own. CodeAgent.cleanup() calls it."""
        with contextlib.suppress(Exception):
            self.session.close()
        if self._owned:
            self._client.close()

# SPDX-License-Identifier: Apache-2.0
"""smolagents: `CodeAgent(tools, model, executor=PyexecExecutor())` runs the agent's code in a pyexec session.

The agent's tools and managed agents stay in this process: the code calls them as functions, with JSON as arguments and
results (docs/tools.md). With `host_tools=False` tools are sent as source code and run inside the sandbox, as with smolagents'
own remote executors.
"""
from __future__ import annotations

import contextlib
import inspect
import json
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from smolagents.local_python_executor import BASE_BUILTIN_MODULES, CodeOutput
from smolagents.monitoring import AgentLogger, LogLevel
from smolagents.remote_executors import RemotePythonExecutor
from smolagents.serialization import SafeSerializer
from smolagents.tools import Tool
from smolagents.utils import AgentError

from ._adapters import ScriptTools, add_tool
from ._text import bounded, cut_lines, display_lines
from .client import Pyexec
from .tools import encode_value
from .types import DEFAULT_ALLOWED_IMPORTS, Policy, Result

# Modules that smolagents' own code imports in the sandbox, in addition to those that it allows the
# model to import.
_SUPPORT = ("typing", "dataclasses", "pathlib", "io")

# smolagents' own wrapper imports PIL, numpy and pickle. This wrapper recognises the types of these libraries by name. It
# writes the format of smolagents' SafeSerializer.
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
        raise FinalAnswerException(ANSWER)
    return final_answer

final_answer = _final_answer_of(TOOL)
'''
# The tool's source code has been sent, and the message of the exception is the answer.
_IN_SANDBOX = _FINAL_ANSWER.replace("TOOL", "final_answer").replace("ANSWER", '"safe:" + json.dumps(safe(tool(*args, **kwargs)))')
# The tool of this program gets the arguments as text, and keeps the answer. The exception only ends the script.
_ON_HOST = _FINAL_ANSWER.replace("TOOL", "__import__('tools').final_answer").replace("ANSWER", "tool(sent=json.dumps(safe([args, kwargs])))")
_SENT = {"type": "object", "properties": {"sent": {"type": "string"}}, "required": ["sent"]}

_JSON_TYPES = ("string", "boolean", "integer", "number", "array", "object", "null")


class PyexecExecutor(RemotePythonExecutor):  # type: ignore[misc]
    """A smolagents PythonExecutor with one session, which keeps its state between the agent's steps and runs.

    additional_imports: modules that the code may import in addition to those of the client's policy and smolagents' defaults. Give
    the agent the same list as additional_authorized_imports, because its prompt shows that list.
    policy: the policy of the session; its keys replace those of the client's policy. If it has allowed_imports, this is the
    whole list.
    client: a client to share. Without it the executor makes its own client, and cleanup() closes it.
    host_tools: True: the tools run in this process. False: their source code is sent, and they run in the sandbox.
    """

    def __init__(self, additional_imports: Sequence[str] = (), logger: Optional[AgentLogger] = None, *,
                 client: Optional[Pyexec] = None, policy: Optional[Policy] = None, host_tools: bool = True) -> None:
        super().__init__(list(additional_imports), logger or AgentLogger(level=LogLevel.OFF))
        tops = (name.split(".")[0] for name in additional_imports)
        self._client, self._owned = client or Pyexec(), client is None
        known = self._client.policy.get("allowed_imports", DEFAULT_ALLOWED_IMPORTS)
        allowed = dict.fromkeys([*known, *BASE_BUILTIN_MODULES, *_SUPPORT, *tops])
        whole: Policy = {"allowed_imports": list(allowed)}
        if not host_tools:
            # The final answer is then the message of an exception. The policy limits its length like that of a value.
            whole["max_value_bytes"] = 4 << 20
        whole.update(policy or {})
        self._policy, self._host_tools = whole, host_tools
        self._final_answer: Any = None          # this program's tool, if it has one
        self._answers: list[Any] = []           # what this tool has returned for this step
        self._prelude = ""                      # code that a session without state must run first
        self._prepared = True
        self.session = self._client.session(policy=whole)

    def run_code_raise_errors(self, code: str) -> CodeOutput:
        lost = self._prepare()
        self._answers.clear()
        result = self.session.execute(code)
        self._note(result)
        if result.error is not None and result.error.type == self.FINAL_ANSWER_EXCEPTION:
            if self._final_answer is None:
                self._answers.append(self._deserialize_final_answer(result.error.message, self.allow_pickle))
            if self._answers:       # otherwise the script itself raised an exception with this name
                return CodeOutput(output=self._answers[-1], logs=bounded(result.stdout), is_final_answer=True)
        if not result.ok:
            raise AgentError(result.explain(), self.logger)
        logs = "\n".join([result.stdout + result.stderr, *display_lines(result), *cut_lines(result)])
        lost = lost or (result.session.restarted if result.session is not None else None)
        if lost:
            logs += "\nThe session had been restarted (%s): variables of earlier steps are gone." % lost
        value = None if result.last_value_repr is None else bounded(result.last_value_repr)
        return CodeOutput(output=value, logs=bounded(logs), is_final_answer=False)

    def _note(self, result: Result) -> None:
        """After any of these the next call begins without the state of this one."""
        if result.status not in ("ok", "error") or (result.session is not None and result.session.restarted):
            self._prepared = False

    def _prepare(self) -> Optional[str]:
        """Gives a session that is new, or has lost its state, its final_answer. Returns why the state was lost."""
        if self._prepared or not self._prelude:
            return None
        result = self.session.execute(self._prelude)
        if not result.ok:
            raise AgentError(result.explain(), self.logger)
        self._prepared = True
        return result.session.restarted if result.session is not None else None

    def _take_answer(self, sent: str) -> None:
        """Calls this program's final_answer tool. The arguments come from the script, and nobody has checked them."""
        args, kwargs = SafeSerializer.from_json_safe(json.loads(sent))
        self._answers.append(_call(self._final_answer, *args, **kwargs))

    def send_tools(self, tools: dict[str, Any]) -> None:
        if self._host_tools:
            self._offer(tools)
            return
        foreign = [name for name, tool in tools.items() if not isinstance(tool, Tool)]
        if foreign:
            raise AgentError("managed agents run in this process, and tools that are sent as source can't call them: %s. Leave out host_tools=False"
                             % ", ".join(foreign), self.logger)
        super().send_tools(tools)
        if "final_answer" in tools:
            self.run_code_raise_errors(_IN_SANDBOX)

    def _offer(self, tools: Mapping[str, Any]) -> None:
        """The tools and managed agents as functions of the host, which each call of the session offers."""
        own: ScriptTools = {}
        for name, tool in tools.items():
            if name == "final_answer":
                continue
            if getattr(tool, "python_executor", None) is self:
                raise AgentError("the managed agent %r uses the same executor, and would wait for itself. Give it another executor" % name,
                                 self.logger)
            if add_tool(own, name, tool.description, _parameters(tool), _caller(tool), _returns(tool)) != name:
                raise AgentError("the tool %r can't be a function of the script: its name is a built-in of Python, or not a valid name in Python. "
                                 "Give it another name" % name, self.logger)
        self._final_answer = tools.get("final_answer")
        if self._final_answer is not None:
            add_tool(own, "final_answer", self._final_answer.description, _SENT, self._take_answer)
        self._prelude = _ON_HOST if self._final_answer is not None else ""
        self._prepared = False
        self.session = self._client.session(self.session.id, policy=self._policy, tools=own)
        self._prepare()

    def install_packages(self, additional_imports: list[str]) -> list[str]:
        """Installs nothing. If a tool needs a package that the sandbox does not have, this says so before
        the agent begins."""
        for package in additional_imports:
            name = "PIL" if package == "pillow" else package
            result = self.session.execute("import " + name)
            if not result.ok:
                raise AgentError(
                    "a tool needs the package '%s', which the sandbox does not have: %s. pyexec installs nothing. In policy, "
                    "set python_bin to the Python of an environment that has the package, set isolate_site=False, and add its module to allowed_imports."
                    % (package, bounded(result.error_repr or result.status)), self.logger)
        return additional_imports

    def _patch_final_answer_with_exception(self, final_answer_tool: Any) -> None:
        """Does nothing: the tool is sent unchanged, and _IN_SANDBOX wraps it there."""

    def cleanup(self) -> None:
        """Ends the session, and closes the client if the executor made it. CodeAgent.cleanup() calls this."""
        with contextlib.suppress(Exception):
            self.session.close()
        if self._owned:
            self._client.close()


def _call(tool: Any, *args: Any, **kwargs: Any) -> Any:
    """Calls a tool or a managed agent. Refuses keyword arguments that it does not declare, because its function may have more
    parameters, such as an agent's max_steps, which scripts must not set."""
    for name in kwargs:
        if name not in tool.inputs:
            raise TypeError("%s() takes no argument %.100r" % (tool.name, name))
    return tool(*args, **kwargs)


def _caller(tool: Any) -> Any:
    return lambda **arguments: _call(tool, **arguments)


def _parameters(tool: Any) -> dict[str, Any]:
    """The JSON Schema of `inputs`, in the order of forward()."""
    forward = inspect.signature(tool.forward).parameters if hasattr(tool, "forward") else {}
    names = [name for name in forward if name in tool.inputs]
    properties, required = {}, []
    for name in names + [name for name in tool.inputs if name not in names]:
        given = tool.inputs[name]
        properties[name] = _schema(given)
        default = forward[name].default if name in forward else ... if given.get("nullable") else inspect.Parameter.empty
        if default is inspect.Parameter.empty:
            required.append(name)
        else:
            with contextlib.suppress(ValueError):       # the default has no JSON form; the tool itself applies it
                properties[name]["default"] = json.loads(encode_value(default))
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _schema(given: Mapping[str, Any]) -> dict[str, Any]:
    """Returns {} for a type that JSON does not have ("any", "image"): such a value is not checked."""
    kinds = [given.get("type")] if isinstance(given.get("type"), str) else list(given.get("type") or ())
    schema = {key: value for key, value in given.items() if key in ("description", "items", "properties", "enum")}
    if not kinds or not set(kinds) <= set(_JSON_TYPES):
        return schema
    if given.get("nullable") and "null" not in kinds:
        kinds.append("null")
    return {**schema, "type": kinds[0] if len(kinds) == 1 else kinds}


def _returns(tool: Any) -> dict[str, Any]:
    kind = getattr(tool, "output_type", None)
    return dict(getattr(tool, "output_schema", None) or ({"type": kind} if kind in _JSON_TYPES else {}))

# SPDX-License-Identifier: Apache-2.0
"""inspect_ai: `sandbox="pyexec"` in a task (found by its entry point).

There is no shell and no other program in the sandbox. exec() runs `python3 -c CODE`, `python3 FILE` and `python3 -`, also in
the form in which the `python` tool calls them through bash. Each command runs in a new process with the sample's files. Every
other command gets the exit status 127 and a text that says what to do instead.

`use_tools(python_program([search(), calculator()]))` gives the model a tool whose code calls these tools as functions.
"""
from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import shlex
import shutil
import stat
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple, Optional, Union, overload

from inspect_ai.model import ChatMessageAssistant, ChatMessageTool, execute_tools
from inspect_ai.tool import Tool, ToolCall, ToolDef, ToolParam, ToolParams, tool
from inspect_ai.util import ExecResult, OutputLimitExceededError, SandboxEnvironment, SandboxEnvironmentConfigType
from inspect_ai.util import SandboxEnvironmentLimits, SandboxUnavailableError, SandboxUserUnsupportedError, sandbox, sandboxenv
from pydantic import BaseModel, ConfigDict

from ._adapters import CODE_SCHEMA, ScriptTools, add_tool, describe_policy, describe_tools
from ._text import error_is_shown
from .aio import AsyncPyexec
from .errors import InvalidRequestError, PyexecError
from .tools import ToolDenied, ToolError
from .types import Policy, RequestFields, Result

POLICY: Policy = {"disable_open": False, "timeout_ms": 60_000, "cpu_time_seconds": 60}      # the keys of a config's policy replace these

_PYTHON = re.compile(r"(?:/\S*/)?python(?:3(?:\.\d+)?)?")
_FLAGS = re.compile(r"-[uBIsE]+")          # they have no meaning here
_SHELL_ONLY = re.compile(r"[;&|<>`$()*?\n]")
_SHELLS = ("bash", "sh", "/bin/bash", "/bin/sh")


class PyexecConfig(BaseModel):
    """sandbox=SandboxEnvironmentSpec("pyexec", PyexecConfig(policy={…}))"""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)
    policy: dict[str, Any] = {}
    program: Optional[str] = None

    def __hash__(self) -> int:
        return hash((repr(sorted(self.policy.items())), self.program))


class Command(NamedTuple):
    """A command that runs Python: its code or its file (if both are None, the code is on standard input), and sys.argv."""

    code: Optional[str]
    file: Optional[str]
    arguments: list[str]


def parse_command(cmd: list[str]) -> Optional[Command]:
    """Returns None for a command that does not run only Python."""
    if cmd and cmd[0] in _SHELLS:
        script = _shell_script(cmd[1:])
        if script is None or _SHELL_ONLY.search(script):
            return None
        with contextlib.suppress(ValueError):
            return parse_command(shlex.split(script))
        return None
    if not cmd or not _PYTHON.fullmatch(cmd[0]):
        return None
    rest = cmd[1:]
    while rest and _FLAGS.fullmatch(rest[0]):
        rest = rest[1:]
    if not rest or rest[0] == "-":
        return Command(None, None, ["-", *rest[1:]])
    if rest[0] == "-c" and len(rest) > 1:
        return Command(rest[1], None, ["-c", *rest[2:]])
    return None if rest[0].startswith("-") else Command(None, rest[0], rest)


def _shell_script(arguments: list[str]) -> Optional[str]:
    while arguments and arguments[0] in ("--login", "-l"):
        arguments = arguments[1:]
    return arguments[1] if len(arguments) == 2 and arguments[0] in ("-c", "-lc") else None


class _Folder:
    """The sample's files, in a folder of the host. Scripts write to it too, so no symbolic link in a path is followed."""

    def __init__(self) -> None:
        self.path = os.path.realpath(tempfile.mkdtemp(prefix="pyexec-inspect-"))

    def relative(self, path: str) -> str:
        """Accepts the paths that scripts use: relative to the folder, or the absolute path that scripts
        see."""
        if path == self.path or path.startswith(self.path + "/"):
            path = path[len(self.path):].lstrip("/") or "."
        path = os.path.normpath(path)
        if os.path.isabs(path) or path.split("/")[0] == "..":
            raise PermissionError(errno.EACCES, "outside of the sample's folder; use a relative path", path)
        return path

    @contextlib.contextmanager
    def _parent(self, path: str, make: bool) -> Iterator[tuple[int, str]]:
        *folders, name = self.relative(path).split("/")
        at = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for folder in folders:
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(folder, 0o755, dir_fd=at)
                inner = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
                os.close(at)
                at = inner
            yield at, name
        finally:
            os.close(at)

    def write(self, path: str, content: bytes) -> None:
        with self._parent(path, True) as (at, name):
            fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644, dir_fd=at)
            with open(fd, "wb") as file:
                os.ftruncate(fd, 0)
                file.write(content)

    def read(self, path: str, limit: int) -> bytes:
        with self._parent(path, False) as (at, name):
            # O_NONBLOCK, because the file may be a pipe, which open() would wait for.
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=at)
        with open(fd, "rb") as file:
            status = os.fstat(fd)
            if stat.S_ISDIR(status.st_mode):
                raise IsADirectoryError(errno.EISDIR, "Is a directory", path)
            if not stat.S_ISREG(status.st_mode):
                raise PermissionError(errno.EACCES, "not a regular file", path)
            content = file.read(limit + 1)
        if len(content) > limit:
            raise OutputLimitExceededError(SandboxEnvironmentLimits.MAX_READ_FILE_SIZE_STR, None)
        return content

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


@sandboxenv(name="pyexec")
class PyexecSandboxEnvironment(SandboxEnvironment):
    """A folder of files. Each command is a separate run that works on it."""

    def __init__(self, client: AsyncPyexec) -> None:
        super().__init__()
        self._client, self._folder = client, _Folder()

    @classmethod
    async def sample_init(cls, task_name: str, config: Optional[SandboxEnvironmentConfigType],
                          metadata: dict[str, str]) -> dict[str, SandboxEnvironment]:
        settings = config if isinstance(config, PyexecConfig) else PyexecConfig()
        policy: Policy = {**POLICY, **settings.policy}  # type: ignore[typeddict-item]
        client = AsyncPyexec(policy=policy, program=settings.program)
        await client.start()
        return {"default": cls(client)}

    @classmethod
    async def sample_cleanup(cls, task_name: str, config: Optional[SandboxEnvironmentConfigType],
                             environments: dict[str, SandboxEnvironment], interrupted: bool) -> None:
        for environment in environments.values():
            sandbox = environment.as_type(cls)
            await sandbox._client.close()
            await asyncio.to_thread(sandbox._folder.remove)

    @classmethod
    def config_deserialize(cls, config: dict[str, Any]) -> BaseModel:
        return PyexecConfig(**config)

    async def exec(self, cmd: list[str], input: Union[str, bytes, None] = None, cwd: Optional[str] = None,
                   env: Optional[dict[str, str]] = None, user: Optional[str] = None, timeout: Optional[int] = None,
                   timeout_retry: bool = True, concurrency: bool = True) -> ExecResult[str]:
        if user is not None:
            raise SandboxUserUnsupportedError("pyexec runs every command as one user: leave user=%r out" % user)
        command = parse_command(cmd)
        if command is None:
            return _refused(127, "can't run '%s': there is no shell and no program but Python here. Use python3 -c CODE, "
                            "python3 FILE or code on the standard input of python3" % shlex.join(cmd)[:200])
        given = input.decode() if isinstance(input, bytes) else input or ""
        code, name = command.code, command.file
        if name is not None:
            try:
                code = await self._source(name, cwd)
            except (OSError, UnicodeDecodeError) as failure:
                return _refused(2, "can't open file '%s': %s" % (name, failure))
        if code is None:
            code, given = given, ""
        return await self._python(code, given, command.arguments, cwd, env, timeout)

    async def _source(self, name: str, cwd: Optional[str]) -> str:
        path = name if name.startswith("/") else os.path.join(self._folder.relative(cwd or "."), name)
        return (await asyncio.to_thread(self._folder.read, path, 10 << 20)).decode()

    async def _python(self, code: str, stdin: str, arguments: list[str], cwd: Optional[str], env: Optional[dict[str, str]],
                      timeout: Optional[int]) -> ExecResult[str]:
        request: RequestFields = {
            "workspace": self._folder.path, "stdin": stdin, "env": env or {}, "print_last_expression": False,
            "policy": {"max_stdout_bytes": SandboxEnvironmentLimits.MAX_EXEC_OUTPUT_SIZE,
                       "max_stderr_bytes": SandboxEnvironmentLimits.MAX_EXEC_OUTPUT_SIZE},
        }
        folder = self._folder.relative(cwd or ".")
        if folder != ".":
            request["working_dir"] = folder
        if timeout is not None:
            request["timeout_ms"] = timeout * 1000
            request["policy"]["cpu_time_seconds"] = timeout
        if len(arguments) > 1:
            return _refused(2, "can't pass arguments to a script: %s. Put them into the code, env or a file" % shlex.join(arguments[1:]))
        try:
            return _exec_result(await self._client.execute_once(code, **request))
        except InvalidRequestError as failure:      # the command is invalid, for example has a NUL byte
            return _refused(2, str(failure))
        except PyexecError as failure:
            raise SandboxUnavailableError(str(failure)) from failure

    async def write_file(self, file: str, contents: Union[str, bytes]) -> None:
        content = contents.encode() if isinstance(contents, str) else contents
        await asyncio.to_thread(self._folder.write, file, content)

    @overload
    async def read_file(self, file: str, text: Literal[True] = True) -> str: ...

    @overload
    async def read_file(self, file: str, text: Literal[False]) -> bytes: ...

    async def read_file(self, file: str, text: bool = True) -> Union[str, bytes]:
        content = await asyncio.to_thread(self._folder.read, file, SandboxEnvironmentLimits.MAX_READ_FILE_SIZE)
        return content.decode() if text else content


def _refused(code: int, why: str) -> ExecResult[str]:
    return ExecResult(False, code, "", "pyexec: %s.\n" % why)


def _exec_result(result: Result) -> ExecResult[str]:
    if result.status in ("timeout", "cpu_limit"):
        raise TimeoutError(result.error_repr or result.status)
    if result.stdout_truncated or result.stderr_truncated:
        raise OutputLimitExceededError(SandboxEnvironmentLimits.MAX_EXEC_OUTPUT_SIZE_STR, result.stdout)
    stderr = result.stderr
    if result.error is not None:
        if result.error_repr and result.error.type != "SystemExit" and not error_is_shown(result):
            stderr += result.error_repr + "\n"
        if result.error.hint and result.error.hint not in stderr:
            stderr += "Hint: %s\n" % result.error.hint
    return ExecResult(result.exit_code == 0, result.exit_code, result.stdout, stderr)


@tool
def python_program(tools: Sequence[Union[Tool, ToolDef]], policy: Optional[dict[str, Any]] = None, program: Optional[str] = None) -> Tool:
    """A tool `python`, whose code can call other tools as functions. So one program replaces many tool calls of the model.

    Each call runs in a new process. If the sample's sandbox is "pyexec", the code has the sample's files and that sandbox's policy.
    Otherwise each call starts its own pyexec, which is slower.
    The tool calls of the code are handled like calls of the model: they are in the transcript, and approval and review policies
    apply to them.

    Args:
      tools: The tools that the code can call. They run in the process of inspect_ai.
      policy: Its keys replace those of the policy of the sample's sandbox, or of this module's POLICY if that is not "pyexec".
      program: The path of `pyexec`. Without it `pyexec` is found through PATH.

    Returns:
      The tool.
    """
    definitions = [one if isinstance(one, ToolDef) else ToolDef(one) for one in tools]
    whole: Policy = {**POLICY, **(policy or {})}  # type: ignore[typeddict-item]

    async def execute(code: str) -> str:
        given: Any = policy or {}
        fatal: list[Exception] = []
        offered = _script_tools(definitions, fatal)
        box = _box()
        if box is not None:
            result = await box._client.execute_once(code, tools=offered, workspace=box._folder.path, policy=given)
        else:
            async with AsyncPyexec(policy=whole, program=program) as client:
                result = await client.execute_once(code, tools=offered)
        if fatal:       # the same as for a call of the model: an exception that is not a ToolError ends the sample
            raise fatal[0]
        return result.explain() or "(no output)"
    return ToolDef(
        execute, name="python", parallel=True,
        description=describe_policy(whole, keeps_state=False) + describe_tools(_script_tools(definitions, []), whole),
        parameters=ToolParams(properties={"code": ToolParam(**CODE_SCHEMA["properties"]["code"])}, required=["code"])).as_tool()


def _box() -> Optional[PyexecSandboxEnvironment]:
    """Returns the sample's sandbox if it is "pyexec", else None."""
    with contextlib.suppress(ProcessLookupError, TypeError):        # there is no sandbox; it is another kind
        return sandbox().as_type(PyexecSandboxEnvironment)
    return None


def _script_tools(definitions: Sequence[ToolDef], fatal: list[Exception]) -> ScriptTools:
    offered: ScriptTools = {}
    for definition in definitions:
        add_tool(offered, definition.name, definition.description, definition.parameters.model_dump(exclude_none=True), _caller(definition, fatal))
    return offered


def _caller(definition: ToolDef, fatal: list[Exception]) -> Any:
    async def call(**arguments: Any) -> Any:
        asked = ChatMessageAssistant(content="", tool_calls=[ToolCall("pyexec_" + uuid.uuid4().hex, definition.name, arguments)])
        try:
            messages = (await execute_tools([asked], [definition], max_output=0)).messages
        except Exception as error:
            fatal.append(error)
            raise
        answer = next(one for one in messages if isinstance(one, ChatMessageTool))
        if answer.error is None:
            return answer.text
        raise ToolDenied(answer.error.message) if answer.error.type == "approval" else ToolError(answer.error.message)
    return call

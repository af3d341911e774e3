# SPDX-License-Identifier: Apache-2.0
"""The kernel: it gets Jupyter's messages, and runs cells in a session of `pyexec rpc`. This process neither runs nor parses
code of a notebook: the session itself finds lines that are not Python (magics.py)."""
from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import threading
from typing import Any, Optional, cast

from ipykernel.kernelbase import Kernel

from ..client import Pyexec
from ..errors import PyexecError
from ..tools import ToolError, Tools
from ..types import Display, Policy, Result, SessionConfig
from .commands import COMMAND, Commands
from .magics import HELPERS_CODE, MAY_HAVE_MAGIC, Cell, UsageError, as_python, help_code, span

# Defaults for a person at a notebook. A notebook may import everything that the interpreter has, because the sandbox does
# not depend on the imports of a script. The kernelspec and POLICY_VARIABLE (a JSON object) can change these values.
DEFAULTS: Policy = {"timeout_ms": 60_000, "cpu_time_seconds": 60, "disable_open": False, "isolate_site": False,
                    "use_import_whitelist": False, "banned_imports": []}
POLICY_VARIABLE = "PYEXEC_KERNEL_POLICY"


def policy_of(given: dict[str, Any]) -> Policy:
    """Returns the kernel's policy. A user who lists the allowed imports wants to allow no others."""
    listed = {"use_import_whitelist": True} if "allowed_imports" in given else {}
    return cast(Policy, {**DEFAULTS, **listed, **given})

# The types that a page only shows. Jupyter's page runs HTML and JavaScript in a cell's output, with the
# rights of its user.
STATIC_FORMS = ("text/plain", "image/png", "image/jpeg", "image/gif", "image/webp", "application/json")

ASIDE: Policy = {"timeout_ms": 1000, "cpu_time_seconds": 1}      # for requests of the front end other than cells
FOR_CELL: Policy = {"timeout_ms": 30_000, "cpu_time_seconds": 10}   # for code that must run before a cell can begin
NAME_BEFORE = re.compile(r"(?:[^\W\d]\w*\.)*(?:[^\W\d]\w*)?\Z")
IDENTIFIER = re.compile(r"[^\W\d]\w*\Z")
KEYWORDS = ("and as assert async await break class continue def del elif else except False finally for from global if import in is "
            "lambda None nonlocal not or pass raise return True try while with yield")
INPUT_HINT = "This front end does not support input(): put the value into the cell."
INPUT_SECONDS = 0.02    # the pause between two checks for an answer of the front end


def completion_code(word: str) -> str:
    """Prints the names that may follow this dotted name, each on its own line."""
    owner, dot, prefix = word.rpartition(".")
    names = "dir(%s)" % owner if dot else "globals(), *dir(__builtins__), *%r.split()" % KEYWORDS
    hidden = "" if prefix else " and n[0] != '_'"
    return "print(*[n for n in sorted({*%s}) if n.startswith(%r)%s][:200], sep='\\n')" % (names, prefix, hidden)


class Untraced:
    """Standard error without the traceback at its end, because Jupyter shows the traceback in a separate
    message. Text that may be the beginning of a traceback is held until the result comes."""

    _BEGIN = re.compile(r"^(?:Traceback \(most recent call last\):|  \+ Exception Group Traceback|  File \"<cell)", re.M)

    def __init__(self) -> None:
        self.held = ""

    def pass_on(self, text: str) -> str:
        self.held += text
        found = self._BEGIN.search(self.held)
        if found is not None:
            end = found.start()
        else:       # a last line that is not whole may become one
            end = self.held.rfind("\n") + 1
            if not self.held.startswith(("T", " "), end):
                end = len(self.held)
        passed, self.held = self.held[:end], self.held[end:]
        return passed

    def rest(self, result: Result) -> str:
        trace = result.error.traceback if result.error is not None else ""
        if trace and self.held.endswith(trace):
            return self.held[:-len(trace)]
        return self.held


class PyexecKernel(Kernel):
    implementation = "pyexec"
    implementation_version = "0.1.0"
    banner = "Python in a pyexec sandbox"
    language_info = {"name": "python", "mimetype": "text/x-python", "file_extension": ".py", "pygments_lexer": "python3",
                     "nbconvert_exporter": "python", "codemirror_mode": {"name": "python", "version": 3}}
    settings: Policy = DEFAULTS
    folder: Optional[str] = None    # the user's folder to work in. None: the workspace is in memory and ends with the kernel
    restarted: Optional[str] = None     # why the state was lost, if no cell has reported it yet
    rich = False        # True: displays of other types than STATIC_FORMS are sent too

    def __init__(self, **keywords: Any) -> None:
        super().__init__(**keywords)  # type: ignore[no-untyped-call]
        # The session lives as long as the notebook's process.
        life: SessionConfig = {"idle_ttl": None, "hard_ttl": None}
        name = "notebook"
        if self.folder is not None:     # a session's workspace is ROOT/NAME
            root, name = os.path.split(self.folder)
            life = {**life, "workspace_root": root, "adopt_workspace": True}
        self.client = Pyexec(policy=self.settings, session=life)
        aio = self.client.aio()
        self.commands = Commands(aio, aio.session(name))

    # ---- Life ----

    def start(self) -> None:
        super().start()  # type: ignore[no-untyped-call]
        signal.signal(signal.SIGINT, self._on_interrupt)

    def pre_handler_hook(self) -> None:
        """In the base class, Ctrl-C would raise an exception in the event loop of this process."""

    def post_handler_hook(self) -> None:
        pass

    def _on_interrupt(self, *unused: object) -> None:
        # In a new thread, because the interrupted code of this thread may hold the lock of the pipe.
        threading.Thread(target=self._interrupt, daemon=True).start()

    def _interrupt(self) -> None:
        with contextlib.suppress(PyexecError):      # nothing runs
            self.client.session(self.commands.session.id).interrupt()

    async def do_shutdown(self, restart: bool) -> dict[str, Any]:
        self.client.close()
        return {"status": "ok", "restart": restart}

    # ---- Cells ----

    async def do_execute(self, code: str, silent: bool, store_history: bool = True, user_expressions: Optional[dict[str, str]] = None,
                         allow_stdin: bool = False, *, cell_meta: Any = None, cell_id: Any = None) -> dict[str, Any]:
        if not code.strip():
            return self._ok({})
        command = COMMAND.match(code)
        try:
            if command is not None:
                self._write(silent, "stdout", await self.commands.run(command["name"], command["words"].split()))
                return self._ok({})
            cell = await self._as_python(code, silent)
            result, shown = await self._run_cell(cell.code, silent, allow_stdin)
        except UsageError as failure:
            return self._fail(silent, "UsageError", str(failure), [str(failure)], failure.hint)
        except PyexecError as failure:
            return self._fail(silent, failure.code, failure.message, [failure.message], failure.hint)
        restarted = (result.session.restarted if result.session is not None else None) or self.restarted
        self.restarted = None
        if result.session is not None and result.session.restored is not None:
            self._say(silent, "pyexec: the session is as it was before this cell\n")
        if restarted:
            self._say(silent, "pyexec: the session was restarted (%s): names%s of earlier cells are gone\n"
                      % (restarted, " and files" if self.folder is None else ""))
        if cell.timed and result.usage is not None:
            self._write(silent, "stdout", "CPU time: %s\nWall time: %s\n" % (span(result.usage.cpu_ms), span(result.usage.wall_ms)))
        if result.error is not None and not (result.ok and result.error.type == "SystemExit"):
            # The error of a process that died has no traceback.
            lines = (result.error.traceback or "").splitlines() or [result.error_repr or result.status]
            hint = INPUT_HINT if result.error.type == "EOFError" and "input" in code else result.error.hint or ""
            return self._fail(silent, result.error.type, result.error.message, lines, hint)
        if not result.ok:
            return self._fail(silent, result.status, result.error_repr or result.status, [result.error_repr or result.status], "")
        if result.last_value_repr is not None and not silent:
            data, metadata = self._forms(shown)
            self._send("execute_result", {"execution_count": self.execution_count, "metadata": metadata,
                                          "data": {"text/plain": result.last_value_repr, **data}})
        return self._ok({name: await self._expression(text) for name, text in (user_expressions or {}).items()})

    async def _as_python(self, code: str, silent: bool) -> Cell:
        if MAY_HAVE_MAGIC.search(code) is None:
            return Cell(code)
        cell = await as_python(code, self._ask_for_cell)
        if cell.needs_helpers:
            await self._ask_for_cell(HELPERS_CODE)
        for note in cell.notes:
            self._say(silent, note)
        return cell

    async def _ask_for_cell(self, code: str) -> str:
        return await self._ask(code, FOR_CELL)

    async def _run_cell(self, code: str, silent: bool, allow_stdin: bool) -> tuple[Result, Display]:
        """Returns the result, and the display of its last value if it has one."""
        errors, result, shown = Untraced(), None, Display()
        tools: Tools = {"input": self._ask_front_end} if allow_stdin else {}
        async for event in self.commands.session.stream(code, silent=silent, tools=tools):
            if isinstance(event, Result):
                result = event
            elif isinstance(event, Display):
                if event.last_value:
                    shown = event
                else:
                    self._show(silent, event)
            else:
                self._write(silent, event.stream, event.text if event.stream == "stdout" else errors.pass_on(event.text))
        assert result is not None
        self._write(silent, "stderr", errors.rest(result))
        return result, shown

    async def _ask_front_end(self, prompt: str = "", password: bool = False) -> str:
        """Answers input() and getpass.getpass() of the cell. It is cancelled when the cell ends, for example by an interrupt."""
        assert self.session is not None
        while self.stdin_socket.poll(0):        # drops answers to earlier questions that nobody waits for
            self.stdin_socket.recv_multipart()
        ident = self._parent_ident["shell"] if hasattr(self, "_parent_ident") else self._get_shell_context_var(self._shell_parent_ident)
        parent = self.get_parent("shell")       # type: ignore[no-untyped-call]
        self.session.send(self.stdin_socket, "input_request", {"prompt": prompt, "password": password}, parent, ident=ident)
        reply = None
        while reply is None:
            while not self.stdin_socket.poll(0):
                await asyncio.sleep(INPUT_SECONDS)
            _, reply = self.session.recv(self.stdin_socket)
        value = reply["content"].get("value", "")
        if value == "\x04":
            raise ToolError("the notebook ended its input", "EOF")
        return str(value)

    async def _expression(self, text: str) -> dict[str, Any]:
        result = await self.commands.session.execute(text, silent=True, policy=ASIDE)
        if result.error is not None:
            return {"status": "error", "ename": result.error.type, "evalue": result.error.message, "traceback": []}
        return {"status": "ok", "data": {"text/plain": result.last_value_repr or "None"}, "metadata": {}}

    def _ok(self, expressions: dict[str, Any]) -> dict[str, Any]:
        return {"status": "ok", "execution_count": self.execution_count, "payload": [], "user_expressions": expressions}

    def _fail(self, silent: bool, name: str, value: str, trace: list[str], hint: str) -> dict[str, Any]:
        content = {"ename": name, "evalue": value, "traceback": [*trace, "Hint: " + hint] if hint and hint not in "\n".join(trace) else trace}
        if not silent:
            self._send("error", content)
        return {"status": "error", "execution_count": self.execution_count, **content}

    def _send(self, kind: str, content: dict[str, Any]) -> None:
        self.send_response(self.iopub_socket, kind, content)  # type: ignore[no-untyped-call]

    def _write(self, silent: bool, stream: str, text: str) -> None:
        if text and not silent:
            self._send("stream", {"name": stream, "text": text})

    def _say(self, silent: bool, text: str) -> None:
        self._write(silent, "stderr", text)

    def _forms(self, display: Display) -> tuple[dict[str, Any], dict[str, Any]]:
        if self.rich:
            return dict(display.data), dict(display.metadata)
        return {mime: data for mime, data in display.data.items() if mime in STATIC_FORMS}, {}

    def _show(self, silent: bool, display: Display) -> None:
        if not silent:
            data, metadata = self._forms(display)
            self._send("display_data", {"data": data, "metadata": metadata, "transient": {}})

    # ---- Requests of the front end other than cells ----

    async def _ask(self, code: str, policy: Policy = ASIDE) -> str:
        """Runs this code in the session and returns its output, or "" when it can't run."""
        try:
            result = await self.commands.session.execute(code, silent=True, policy=policy)
        except PyexecError:
            return ""
        if result.session is not None and result.session.restarted:
            self.restarted = result.session.restarted
        return result.stdout if result.ok else ""

    async def do_complete(self, code: str, cursor_pos: Optional[int]) -> dict[str, Any]:
        end = len(code) if cursor_pos is None else cursor_pos
        found = NAME_BEFORE.search(code[:end])
        word = found.group() if found is not None else ""
        names = (await self._ask(completion_code(word))).splitlines()
        # The script in the session can change this list, so it is not trusted.
        return {"status": "ok", "matches": [name for name in names if IDENTIFIER.match(name) and len(name) <= 200],
                "cursor_start": end - len(word.rpartition(".")[2]), "cursor_end": end, "metadata": {}}

    async def do_inspect(self, code: str, cursor_pos: Optional[int], detail_level: int = 0, omit_sections: Any = ()) -> dict[str, Any]:
        at = len(code) if cursor_pos is None else cursor_pos
        while at < len(code) and (code[at].isalnum() or code[at] == "_"):
            at += 1
        found = NAME_BEFORE.search(code[:at].rstrip("("))
        word = found.group().rstrip(".") if found is not None else ""
        text = await self._ask(help_code(word, detail_level > 0)) if word else ""
        return {"status": "ok", "found": bool(text), "data": {"text/plain": text} if text else {}, "metadata": {}}



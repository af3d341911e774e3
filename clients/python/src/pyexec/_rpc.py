# SPDX-License-Identifier: Apache-2.0
"""`pyexec rpc` as a child process: JSON lines on its standard streams. One thread reads the answers and completes the
futures by id. Each caller writes its own line."""
from __future__ import annotations

import base64
import contextlib
import importlib
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Mapping
from concurrent.futures import Future
from typing import IO, Any, Optional

from ._transport import BLOCKING_BYTES, Call, OnCall, OnEvent, ToolCall, Transport, encode, refuse_key
from .errors import ClosedError, ConnectionLostError, InvalidRequestError, ProgramNotFoundError, PyexecError, error_from
from .types import Output, display_from

PROTOCOL = 1
DENIED = -32001         # docs/rpc.md, Tool calls
TOOL_FAILED = -32000
CLOSE_SECONDS = 10.0
REMEMBERED_SESSIONS = 10000


def _installed_program() -> Optional[str]:
    """Returns the program in the package pyexec-runtime, if that is installed."""
    try:
        runtime = importlib.import_module("pyexec_runtime")
    except ImportError:
        return None
    return str(runtime.program())


def _missing_program_hint() -> str:
    if not sys.platform.startswith("linux"):
        return ("Scripts run on Linux only. On this system the client is remote only: Pyexec.connect(\"https://HOST\", token=...) uses a "
                "`pyexec serve` on a Linux machine.")
    return ("Install pyexec-runtime or another package of pyexec, or give the path of its program: Pyexec(program=\"/path/to/pyexec\") or the "
            "environment variable PYEXEC. Without it the client is remote only: Pyexec.connect(\"https://HOST\", token=...).")


def find_program(program: Optional[str] = None) -> str:
    """Returns the path of `pyexec`: the argument, or the environment variable PYEXEC, or the program in the package
    pyexec-runtime, or the program in PATH."""
    wanted = program or os.environ.get("PYEXEC") or _installed_program() or "pyexec"
    found = shutil.which(wanted)
    if found is None:
        raise ProgramNotFoundError("there is no program '%s'" % wanted, _missing_program_hint())
    return found


class _Process:
    """One `pyexec rpc`, from its start to its end."""

    def __init__(self, program: str) -> None:
        # The files are unbuffered. A buffered file has a lock, which could be held for ever in a forked child.
        self.errors: IO[bytes] = tempfile.TemporaryFile(buffering=0)
        try:
            # Ctrl-C and the signals of a service manager reach this process too, and it decides what happens to its calls.
            self.popen = subprocess.Popen([program, "rpc", "--ignore-signals"], bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                          stderr=self.errors, start_new_session=True)
        except OSError as failure:
            self.errors.close()
            raise ProgramNotFoundError("can't start '%s': %s" % (program, failure.strerror),
                                       "Check that it is the program `pyexec` for this machine.") from failure
        self.ids = itertools.count(1)
        self.lock = threading.Lock()            # protects `waiting` and `lost`
        self.writing = threading.Lock()         # held while a line is written to standard input
        self.waiting: dict[int, tuple[Future[Any], Optional[OnEvent], Optional[OnCall]]] = {}
        self.lost: Optional[PyexecError] = None
        self.reader = threading.Thread(target=self._read, name="pyexec-rpc", daemon=True)
        self.reader.start()

    def call(self, method: str, params: Mapping[str, Any], on_event: Optional[OnEvent] = None, on_call: Optional[OnCall] = None) -> Call:
        number = next(self.ids)
        line = encode({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()   # future.cancel() then fails: only the answer completes the future
        with self.lock:
            if self.lost is not None:
                raise self.lost
            self.waiting[number] = (future, on_event, on_call)
        self._send(line)
        return Call(future, lambda: self._send(encode({"jsonrpc": "2.0", "method": "cancel", "params": {"request": number}})))

    def _send(self, line: bytes) -> None:
        assert self.popen.stdin is not None
        with self.writing, contextlib.suppress(OSError, ValueError):    # if the process has ended, the reader reports it
            rest = memoryview(line + b"\n")
            while rest:
                rest = rest[self.popen.stdin.write(rest):]

    def _read(self) -> None:
        assert self.popen.stdout is not None
        with contextlib.suppress(OSError, ValueError):
            for line in os.fdopen(self.popen.stdout.fileno(), "rb", 1 << 16, closefd=False):
                self._take(json.loads(line))
        self._end()

    def _take(self, message: Mapping[str, Any]) -> None:
        method = message.get("method")
        if method == "tool_call":
            self._take_call(message["id"], message["params"])
            return
        if method is not None:
            self._take_event(method, message["params"])
            return
        with self.lock:
            future, _, _ = self.waiting.pop(message.get("id") or 0, (None, None, None))
        if future is None:
            return
        error = message.get("error")
        if error is None:
            future.set_result(message.get("result"))
        else:
            future.set_exception(error_from(error.get("data") or {"code": "invalid_request", "message": error.get("message")}))

    def _take_event(self, method: str, params: Mapping[str, Any]) -> None:
        with self.lock:
            _, on_event, _ = self.waiting.get(params.get("request") or 0, (None, None, None))
        if on_event is None:
            return
        if method == "output":
            on_event(Output(params["stream"], params["text"], params.get("seq", 0)))
        elif method == "display":
            on_event(display_from(params["display"]))

    def _take_call(self, call_id: str, params: Mapping[str, Any]) -> None:
        with self.lock:
            _, _, on_call = self.waiting.get(params.get("request") or 0, (None, None, None))

        def answer(given: Mapping[str, Any]) -> None:
            message: dict[str, Any] = {"jsonrpc": "2.0", "id": call_id}
            if "deny" in given:
                message["error"] = {"code": DENIED, "message": given["deny"]}
            elif "error" in given:
                message["error"] = {"code": TOOL_FAILED, **given["error"]}
            else:
                message["result"] = given["result"]
            try:
                line = encode(message)
            except InvalidRequestError as failure:
                line = encode({"jsonrpc": "2.0", "id": call_id, "error": {"code": TOOL_FAILED, "message": "the answer: %s" % failure.message}})
            self._send(line)
        if on_call is None:
            answer({"error": {"message": "the client has no such tool"}})
        else:
            on_call(ToolCall(params["name"], params["arguments"], answer))

    def _end(self) -> None:
        """Called when standard output has ended because the process has ended, or when the process wrote a line that is not JSON."""
        self.kill()
        self.errors.seek(max(0, self.errors.seek(0, os.SEEK_END) - 2000))
        said = self.errors.read().decode(errors="replace").strip()
        self.errors.close()
        lost = ConnectionLostError(
            "`pyexec rpc` ended with %d%s" % (self.popen.returncode, ": " + said if said else ""),
            "The next call starts it again; sessions begin anew. Whether this call's code ran is not known.")
        with self.lock:
            self.lost = lost
            waiting, self.waiting = self.waiting, {}
        for future, _, _ in waiting.values():
            future.set_exception(lost)

    def kill(self) -> None:
        """Waits for a second until the process ends, and then kills it."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.popen.wait(1)
        self.popen.kill()
        self.popen.wait()
        for stream in (self.popen.stdin, self.popen.stdout):
            with contextlib.suppress(OSError, ValueError):
                if stream is not None:
                    stream.close()

    def close(self) -> None:
        """Closes its input: the process then cancels all runs and ends."""
        with self.writing, contextlib.suppress(OSError, ValueError):
            assert self.popen.stdin is not None
            self.popen.stdin.close()
        if threading.current_thread() is self.reader:       # the reader can't wait for itself
            return
        self.reader.join(CLOSE_SECONDS)
        if self.reader.is_alive():
            self.popen.kill()
            self.reader.join()

    def forget(self) -> None:
        """For a forked child: closes its copies of the descriptors. While they are open, the process would not see the end of
        its input when the parent closes it."""
        for stream in (self.popen.stdin, self.popen.stdout, self.errors):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()
        self.popen.returncode = 0       # it is not a child of this process, so Popen must not wait for it


class RpcTransport(Transport):
    def __init__(self, program: Optional[str], initialize: Mapping[str, Any]) -> None:
        super().__init__()
        self._program, self._initialize = program, {"protocol": PROTOCOL, **initialize}
        self._lock = threading.Lock()
        self._process: Optional[_Process] = None
        self._info: Mapping[str, Any] = {}
        self._closed = False
        self._sessions: dict[str, bool] = {}    # ids of sessions that had a result; True: the state was lost after it
        self._ended: Optional[weakref.finalize[Any, Any]] = None

    def start(self) -> Mapping[str, Any]:
        self._running()
        return self._info

    def _running(self) -> _Process:
        with self._lock:
            if self._closed:
                raise ClosedError("the client is closed", "Make a new Pyexec.")
            if self._process is None or self._process.lost is not None:
                for session in list(self._sessions):
                    self._sessions[session] = True
                self._process = self._begin()
            return self._process

    def _begin(self) -> _Process:
        process = _Process(find_program(self._program))
        try:
            self._info = process.call("initialize", self._initialize).future.result()
        except BaseException:
            process.close()
            raise
        if self._ended is not None:
            self._ended.detach()
        self._ended = weakref.finalize(self, process.close)     # also called when the interpreter exits
        return process

    def may_block(self, params: Mapping[str, Any]) -> bool:
        process = self._process
        return process is None or process.lost is not None or _size(params) > BLOCKING_BYTES

    def call(self, method: str, params: Mapping[str, Any], on_event: Optional[OnEvent] = None, on_call: Optional[OnCall] = None) -> Call:
        refuse_key(params.get("key"))
        sent = dict(params)
        if method == "create_session":      # an older program has no such method, but an empty silent call makes the session too
            method = "execute"
            sent = {"session_id": params["session_id"], "code": "", "silent": True, "session_policy": params.get("policy", {})}
        elif method == "write_file":
            sent["content_base64"] = base64.b64encode(sent.pop("content")).decode()
        if on_event is not None:
            sent["stream"] = True
        try:
            call = self._running().call(method, sent, on_event, on_call)
        except ConnectionLostError:         # the process has just ended, and this call was not sent
            call = self._running().call(method, sent, on_event, on_call)
        if method not in ("execute", "read_file", "close_session"):
            return call
        answer: Future[Any] = Future()
        answer.set_running_or_notify_cancel()
        call.future.add_done_callback(lambda done: self._answer(method, sent, done, answer))
        return Call(answer, call.cancel)

    def _answer(self, method: str, params: Mapping[str, Any], done: Future[Any], answer: Future[Any]) -> None:
        failure = done.exception()
        if failure is not None:
            answer.set_exception(failure)
            return
        found = done.result()
        if method == "read_file":
            found = base64.b64decode(found["content_base64"])
        elif method == "close_session":
            self._sessions.pop(params["session_id"], None)
        else:
            self._note_session(params["session_id"], found)
        answer.set_result(found)

    def _note_session(self, session: str, result: Any) -> None:
        """Sets `restarted` in the first result of a session whose process was lost. The new process does not know of it."""
        lost = self._sessions.pop(session, False)
        self._sessions[session] = False
        if len(self._sessions) > REMEMBERED_SESSIONS:
            self._sessions.pop(next(iter(self._sessions)), None)
        told = result.get("session")
        if lost and told and told.get("restarted") is None:
            told["restarted"] = "host_restart"

    def close(self) -> None:
        with self._lock:
            self._closed = True
            process, self._process = self._process, None
            if self._ended is not None:
                self._ended.detach()
        if process is not None:
            process.close()

    def after_fork(self) -> None:
        self._lock = threading.Lock()
        if self._ended is not None:
            self._ended.detach()
        process, self._process = self._process, None
        if process is not None:
            process.forget()


def _size(value: Any) -> int:
    """Estimates how many bytes the message will have."""
    if isinstance(value, (str, bytes)):
        return len(value)
    if isinstance(value, Mapping):
        return sum(_size(key) + _size(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return sum(map(_size, value))
    return 8

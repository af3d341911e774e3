# SPDX-License-Identifier: Apache-2.0
"""An executor as a test uses it: a thread-safe client of `pyexec rpc`."""
import base64
import json
import os
import subprocess
import threading

from conftest import BUILD, PYTHON


class Failure(Exception):
    def __init__(self, code, message, hint):
        super().__init__("%s: %s (%s)" % (code, message, hint))
        self.code, self.message, self.hint = code, message, hint


class Executor:
    def __init__(self, policy=None, session=None, host=None, program=None, prefix=(), environments=None, **popen):
        program = program or os.path.join(BUILD, "pyexec")
        self.process = subprocess.Popen([*prefix, program, "rpc"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, **popen)
        self.pid = self.process.pid
        self.lock, self.waiting, self.number = threading.Lock(), {}, 0
        self.tool = None        # a function that gets the params of each tool call and returns its result
        threading.Thread(target=self._read, daemon=True).start()
        try:
            self._do("initialize", protocol=1, policy={"python_bin": PYTHON, **(policy or {})},
                     session=session or {}, host=host or {}, **({"env": environments} if environments else {}))
        except Failure:
            self.__exit__()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.process.stdin.close()
        assert self.process.wait(20) == 0

    def _read(self):
        with self.process.stdout:
            for line in self.process.stdout:
                answer = json.loads(line)
                if answer.get("method") == "tool_call":
                    threading.Thread(target=self._answer, args=(answer,), daemon=True).start()
                    continue
                with self.lock:
                    event, slot = self.waiting.pop(answer["id"])
                slot.append(answer)
                event.set()

    def _answer(self, call):
        result = self.tool(call["params"])
        with self.lock:
            self._send(id=call["id"], result=result)

    def _send(self, **message):
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        self.process.stdin.flush()

    def _do(self, method, **params):
        event, slot = threading.Event(), []
        with self.lock:
            self.number += 1
            self.waiting[self.number] = event, slot
            self._send(id=self.number, method=method, params=params)
        assert event.wait(60), (method, params)
        if "error" in slot[0]:
            data = slot[0]["error"]["data"]
            raise Failure(data["code"], data["message"], data["hint"])
        return slot[0]["result"]

    def call(self, session, code, **request):
        """Makes one call and returns the result object. session None: a single run."""
        if session is None:
            return self._do("execute_once", code=code, **request)
        return self._do("execute", session_id=session, code=code, **request)

    def create(self, session, **params):
        self._do("create_session", session_id=session, **params)

    def interrupt(self, session):
        self._do("interrupt", session_id=session)

    def fork(self, session, *ids):
        """Returns the ids of the new sessions."""
        return self._do("fork_session", session_id=session, **{"ids": ids} if ids else {})["sessions"]

    def verify(self, solution, tests, **more):
        """Returns the whole answer: passed, summary, solution, tests."""
        return self._do("verify", solution=solution, tests=tests, **more)

    def undo(self, session, to=None):
        """Returns the execution count of the call before which the session is again."""
        return self._do("undo", session_id=session, **({} if to is None else {"to": to}))["to"]

    def reset(self, session):
        return self._do("reset_session", session_id=session)

    def close(self, session):
        self._do("close_session", session_id=session)

    def close_all(self):
        self._do("close_all")

    def sessions(self):
        return self._do("list_sessions")["sessions"]

    def stats(self):
        return self._do("stats")

    def list_files(self, session):
        return self._do("list_files", session_id=session)["files"]

    def read_file(self, session, path):
        return base64.b64decode(self._do("read_file", session_id=session, path=path)["content_base64"])

    def write_file(self, session, path, data):
        self._do("write_file", session_id=session, path=path, content_base64=base64.b64encode(data).decode())

    def delete_file(self, session, path):
        self._do("delete_file", session_id=session, path=path)

# SPDX-License-Identifier: Apache-2.0
"""Tool calls over JSON-RPC: requests of the server, and clients that answer them correctly, wrongly, late, or never."""
import json
import os
import subprocess
import threading

import pytest

from conftest import PYTHON
from test_rpc import Client
from test_rpc_lines import SANITIZED, memory_kib

TOOLS = [{"name": "lookup", "description": "The weather.", "parameters": {
            "type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer", "default": 1}}, "required": ["city"]}},
         {"name": "anything", "parameters": {"type": "object", "additionalProperties": True}}]
CATCH = "try: value = lookup('Rome')\nexcept ToolError as error: value = ('ToolError', str(error))\nvalue"


class Caller(Client):
    def start(self, code, method="execute_once", tools=TOOLS, **params):
        return self.send(method, code=code, tools=tools, **params)

    def of(self, method):
        """Returns the server's next request or notification with this method."""
        while True:
            for message in self.held:
                if message.get("method") == method:
                    self.held.remove(message)
                    return message
            self.held.append(self.read())

    def tool_call(self):
        return self.of("tool_call")

    def answer(self, call, **members):
        self.line({"jsonrpc": "2.0", "id": call if isinstance(call, str) else call["id"], **members})

    def refused(self):
        params = self.of("answer_refused")["params"]
        return params["call_id"], params["error"]

    def value(self, number):
        result = self.wait(number)["result"]
        assert result["status"] == "ok", (result["error"], result["stderr"])
        return eval(result["last_value_repr"])


@pytest.fixture
def caller(pyexec, nothing_left):
    with Caller(pyexec, policy={"use_import_whitelist": False, "banned_imports": [], "timeout_ms": 600000, "cpu_time_seconds": None}) as made:
        yield made


# ---- Calls and answers ----

def test_a_call_is_a_request_to_the_client(caller):
    number = caller.start("x = lookup('Rome', days=3)\nx, lookup('Oslo')")
    first = caller.tool_call()
    assert first == {"jsonrpc": "2.0", "id": first["id"], "method": "tool_call", "params": {
        "request": number, "session_id": None, "call_id": first["id"], "name": "lookup", "arguments": {"city": "Rome", "days": 3}}}
    caller.answer(first, result={"sun": [True, None, 1.5, "é\0😀"]})
    second = caller.tool_call()
    assert second["params"]["arguments"] == {"city": "Oslo", "days": 1} and second["id"] != first["id"]
    caller.answer(second, result=None)
    assert caller.value(number) == ({"sun": [True, None, 1.5, "é\0😀"]}, None)


def test_a_sessions_call_names_its_session(caller):
    number = caller.start("x = lookup('a')", method="execute", session_id="s:1")
    call = caller.tool_call()
    assert (call["params"]["request"], call["params"]["session_id"]) == (number, "s:1")
    caller.answer(call, result=5)
    assert caller.wait(number)["result"]["usage"]["tool_calls"]["count"] == 1
    assert caller.call("execute", session_id="s:1", code="x")["result"]["last_value_repr"] == "5"
    assert "NameError" in caller.call("execute", session_id="s:1", code="lookup")["result"]["error_repr"]


def test_an_error_has_the_message_and_the_data(caller):
    number = caller.start("try: lookup('a')\nexcept ToolError as error: kept = str(error), error.tool, error.data\nkept")
    caller.answer(caller.tool_call(), error={"code": 7, "message": "no such\0city", "data": {"near": ["b"]}})
    assert caller.value(number) == ("no such city", "lookup", {"near": ["b"]})


def test_the_code_32001_is_a_denial(caller):
    number = caller.start("\nlookup('a')")
    caller.answer(caller.tool_call(), error={"code": -32001, "message": "not on Sundays"})
    result = caller.wait(number)["result"]
    assert result["error_repr"] == "PermissionError: tool 'lookup' denied: not on Sundays"
    assert [(denial["layer"], denial["what"], denial["line"]) for denial in result["denials"]] == [("tools", "lookup()", 2)]


def test_calls_at_once_are_answered_in_any_order(caller):
    number = caller.start("import asyncio, tools\nawait asyncio.gather(*[tools.aio.anything(i=i) for i in range(100)])")
    calls = [caller.tool_call() for _ in range(64)]
    for call in reversed(calls):
        caller.answer(call, result=call["params"]["arguments"]["i"])
    for call in [caller.tool_call() for _ in range(36)]:
        caller.answer(call, result=call["params"]["arguments"]["i"])
    assert caller.value(number) == list(range(100))


def test_what_was_printed_before_a_call_comes_before_it(caller):
    number = caller.start("for i in range(50):\n    print('line', i)\n    anything(i=i)", stream=True)
    text = ""
    for i in range(50):
        while (message := caller.read()).get("method") == "output":
            text += message["params"]["text"]
        assert text.endswith("line %d\n" % i)
        caller.answer(message, result=0)
    caller.wait(number)


def test_large_arguments_and_answers(caller):
    number = caller.start("anything(x='é' * 3000000) == 'ü' * 3000000")
    call = caller.tool_call()
    assert call["params"]["arguments"] == {"x": "é" * 3000000}
    caller.line(json.dumps({"jsonrpc": "2.0", "id": call["id"], "result": "ü" * 3000000}, ensure_ascii=False).encode())
    assert caller.value(number) is True


def test_a_request_without_an_id_has_calls_too(caller):
    caller.line({"jsonrpc": "2.0", "method": "execute", "params": {"session_id": "s", "code": "x = lookup('a')", "tools": TOOLS}})
    call = caller.tool_call()
    assert call["params"]["request"] is None
    caller.answer(call, result=6)
    assert caller.call("execute", session_id="s", code="x")["result"]["last_value_repr"] == "6"


@pytest.mark.parametrize("tools, word", [
    ({}, "list"), (None, "list"), ("lookup", "list"), ([5], "objects"), ([{}], "name"), ([{"name": "a\0b"}], "NUL"),
    ([{"name": "class"}], "keyword"), ([{"name": "print"}], "built-in"), ([{"name": "f", "parameters": []}], "object"),
    ([{"name": "f", "colour": 1}], "colour"), ([{"name": "f%d" % i} for i in range(257)], "256"),
])
def test_tools_that_can_not_be_are_refused(caller, tools, word):
    error = caller.call("execute_once", code="1", tools=tools)["error"]
    assert error["data"]["code"] == "invalid_request" and error["message"].startswith("tools: ") and error["data"]["hint"]
    assert word in error["message"]


# ---- input() ----

def test_a_tool_called_input_answers_input_and_getpass(caller):
    code = "import getpass\nprint('before', end='')\nx = input('who? ')\ny = getpass.getpass()\nx, y, input() + str(input(5)), 'ToolError' in globals()"
    number = caller.start(code, tools=[{"name": "input"}], stream=True)
    asked = []
    for answer in ("Ann", "secret", "a", "b"):
        call = caller.tool_call()
        asked.append((call["params"]["name"], call["params"]["arguments"]["prompt"], call["params"]["arguments"]["password"]))
        caller.answer(call, result=answer)
    assert caller.value(number) == ("Ann", "secret", "ab", False)
    assert asked == [("input", "who? ", False), ("input", "Password: ", True), ("input", "", False), ("input", "5", False)]


def test_input_without_the_tool_reads_standard_input_again(caller):
    number = caller.start("input()", method="execute", session_id="s", tools=[{"name": "input"}])
    caller.answer(caller.tool_call(), result="from the client")
    assert caller.value(number) == "from the client"
    number = caller.start("input()", method="execute", session_id="s", stdin="from stdin\n")
    assert caller.value(number) == "from stdin"


def test_input_fails_as_its_caller_says(caller):
    number = caller.start("try: input()\nexcept EOFError as error: print(error)\ntry: input()\nexcept RuntimeError as error: print(error)\ninput()",
                          tools=[{"name": "input"}])
    caller.answer(caller.tool_call(), error={"code": 1, "message": "no more", "data": "EOF"})
    caller.answer(caller.tool_call(), error={"code": 1, "message": "nobody is there"})
    caller.answer(caller.tool_call(), error={"code": -32001, "message": "no"})
    result = caller.wait(number)["result"]
    assert (result["stdout"], result["error_repr"]) == ("no more\nnobody is there\n", "PermissionError: tool 'input' denied: no")


# ---- Answers that can't be used ----

BAD = [
    (b'{"jsonrpc":"2.0","id":ID}', "result or an error"),
    (b'{"jsonrpc":"2.0","id":ID,"result":1,"error":{"code":1,"message":"x"}}', "either a result or an error"),
    (b'{"jsonrpc":"2.0","id":ID,"error":"x"}', "code"),
    (b'{"jsonrpc":"2.0","id":ID,"error":{"code":"1","message":"x"}}', "code"),
    (b'{"jsonrpc":"2.0","id":ID,"error":{"code":1}}', "message"),
    (b'{"id":ID,"result":1}', "JSON-RPC 2.0"),
    (b'{"jsonrpc":"2.0","id":ID,"result":"' + b"x" * (8 << 20) + b'"}', "8 MiB"),
    (b'{"jsonrpc":"2.0","id":ID,"error":{"code":1,"message":"x","data":"' + b"x" * (8 << 20) + b'"}}', "8 MiB"),
    (b'{"jsonrpc":"2.0","id":ID,"result":' + b"[" * 300 + b"]" * 300 + b"}", "deep"),
    (b'{"jsonrpc":"2.0","id":ID,"result":' + b"[" * 3000 + b"]" * 3000 + b"}", "nesting"),
    (b'{"jsonrpc":"2.0","id":ID,"result":123456789012345678901234567890}', "too large"),
    (b'{"jsonrpc":"2.0","id":ID,"result":"\\ud800"}', "surrogate"),
    (b'{"jsonrpc":"2.0","id":ID,"result":{"a":1,"a":2}}', "twice"),
    (b'{"jsonrpc":"2.0","id":ID,"result":NaN}', "NaN"),
    (b'{"jsonrpc":"2.0","id":ID,"result":{', "end of file"),
    (b'{"jsonrpc":"2.0","id":ID,"result":"' + b"x" * (33 << 20) + b'"}', "32 MiB"),
]


@pytest.mark.parametrize("line, word", BAD, ids=[word for _, word in BAD])
def test_an_answer_that_can_not_be_used_fails_its_call(caller, line, word):
    number = caller.start(CATCH)
    call = caller.tool_call()
    caller.line(line.replace(b"ID", json.dumps(call["id"]).encode(), 1))
    told, error = caller.refused()
    assert told == call["id"] and word in error["message"]
    kind, text = caller.value(number)
    assert kind == "ToolError" and text.startswith("the caller's answer can't be used: ") and word in text
    assert caller.call("ping")["result"] == {}


def test_a_second_answer_is_refused_and_changes_nothing(caller):
    number = caller.start("lookup('a'), anything()")
    call = caller.tool_call()
    caller.answer(call, result=1)
    caller.answer(call, result=2)
    told, error = caller.refused()
    assert (told, error["code"], error["data"]["code"]) == (call["id"], -32000, "call_not_found") and error["data"]["hint"]
    caller.answer(caller.tool_call(), result=3)
    assert caller.value(number) == (1, 3)


@pytest.mark.parametrize("given", ["c-0123456789abcdef-1", "", "c-", 7, None, 1.5])
def test_an_answer_to_an_unknown_id_is_refused(caller, given):
    number = caller.start("lookup('a')")
    call = caller.tool_call()
    caller.line({"jsonrpc": "2.0", "id": given, "result": 1})
    told, error = caller.refused()
    assert told == given and error["data"]["code"] == "call_not_found"
    caller.answer(call, result=2)
    assert caller.value(number) == 2


def test_a_request_with_a_calls_id_is_no_answer(caller):
    number = caller.start("lookup('a')")
    call = caller.tool_call()
    caller.line({"jsonrpc": "2.0", "id": call["id"], "method": "ping"})
    assert caller.wait(call["id"])["result"] == {}
    caller.answer(call, result=2)
    assert caller.value(number) == 2


def test_a_flood_of_answers_disturbs_nothing(caller):
    number = caller.start("lookup('a')")
    call = caller.tool_call()
    flood = b"\n".join([b'{"jsonrpc":"2.0","id":"c-%d","result":1}' % i for i in range(20000)])
    sender = threading.Thread(target=caller.line, args=(flood,))
    sender.start()
    told = [caller.refused()[0] for _ in range(20000)]
    sender.join()
    assert told == ["c-%d" % i for i in range(20000)]
    caller.answer(call, result=2)
    assert caller.value(number) == 2


# ---- Answers that come late, or never ----

def test_a_call_without_an_answer_ends_at_the_tools_timeout(caller):
    number = caller.start(CATCH, policy={"tool_timeout_ms": 200})
    call = caller.tool_call()
    assert caller.value(number) == ("ToolError", "timeout: no answer within tool_timeout_ms=200")
    caller.answer(call, result=1)
    assert caller.refused()[1]["data"]["code"] == "call_not_found"


@pytest.mark.parametrize("method, params", [("execute_once", {}), ("execute", {"session_id": "s"})])
def test_cancel_ends_a_request_whose_call_waits(caller, method, params):
    number = caller.start("lookup('a')", method=method, **params)
    call = caller.tool_call()
    assert caller.call("cancel", request=number)["result"] == {}
    assert caller.wait(number)["result"]["status"] == "cancelled"
    caller.answer(call, result=1)
    assert caller.refused()[1]["data"]["code"] == "call_not_found"
    again = caller.start("lookup('b')", method=method, **params)
    caller.answer(caller.tool_call(), result=2)
    assert caller.value(again) == 2


def test_interrupt_reaches_a_script_whose_call_waits(caller):
    number = caller.start("try: lookup('a')\nexcept KeyboardInterrupt: print('stopped')\nanything(n=1)", method="execute", session_id="s")
    caller.tool_call()
    assert caller.call("interrupt", session_id="s")["result"] == {}
    caller.answer(caller.tool_call(), result=4)
    result = caller.wait(number)["result"]
    assert (result["stdout"], result["last_value_repr"]) == ("stopped\n", "4")


def test_no_call_comes_after_its_requests_result(caller):
    """Threads call a tool while the script ends. The client gets each such call before the result, and none after it. The script first waits for
    the threads of the script before it: they still count for max_threads while they write their tracebacks, which takes long with CPython 3.15."""
    code = "import threading\n[t.join() for t in threading.enumerate() if t is not threading.current_thread()]\n[threading.Thread(target=anything, kwargs={'i': i}, daemon=True).start() for i in range(8)]\nNone"
    for i in range(20):
        number = caller.start(code, method="execute", session_id="s")
        result = caller.wait(number)["result"]
        assert result["status"] == "ok", result
        caller.held.clear()
        assert caller.call("ping")["result"] == {}
        assert caller.held == []


def test_the_end_of_input_ends_what_waits(pyexec, nothing_left):
    client = Caller(pyexec, policy={"timeout_ms": 60000})
    client.start("lookup('a')")
    client.start("lookup('a')", method="execute", session_id="s")
    client.tool_call(), client.tool_call()
    client.__exit__()


def test_a_client_that_is_killed_leaves_nothing(pyexec, nothing_left):
    script = ("import json, os, signal, subprocess, sys\n"
              "rpc = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
              "for line in sys.stdin:\n    rpc.stdin.write(line.encode())\n"
              "rpc.stdin.flush()\n"
              "while b'tool_call' not in rpc.stdout.readline(): pass\n"
              "print(rpc.pid, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)\n")
    lines = [{"id": 1, "method": "initialize", "params": {"protocol": 1, "policy": {"python_bin": PYTHON, "timeout_ms": 60000}}},
             {"id": 2, "method": "execute_once", "params": {"code": "lookup('a')", "tools": TOOLS}}]
    user = {} if pyexec.uid == os.getuid() else {"user": pyexec.uid, "group": pyexec.uid, "extra_groups": []}
    client = subprocess.Popen(["/usr/bin/python3", "-c", script, pyexec.path, "rpc"], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              cwd="/", **user)
    out, _ = client.communicate("".join(json.dumps({"jsonrpc": "2.0", **line}) + "\n" for line in lines), timeout=60)
    assert client.returncode == -9 and int(out) > 1


def test_a_drain_fails_calls_that_nobody_can_answer(pyexec, nothing_left):
    lines = [{"id": 1, "method": "initialize", "params": {"protocol": 1, "policy": {"python_bin": PYTHON, "timeout_ms": 60000}}}]
    lines += [{"id": i, "method": "execute_once", "params": {"code": CATCH, "tools": TOOLS}} for i in (2, 3)]
    done = pyexec.run("rpc", "--drain", input="".join(json.dumps({"jsonrpc": "2.0", **line}) + "\n" for line in lines))
    assert done.returncode == 0
    answers = {message["id"]: message for message in map(json.loads, done.stdout.splitlines()) if "method" not in message}
    for i in (2, 3):
        assert answers[i]["result"]["last_value_repr"] == "('ToolError', 'the client has ended its input, so no answer can come')"


# ---- Clients that do not read ----

def test_calls_that_nobody_reads_are_bounded(caller):
    """A script makes many large calls and abandons them. Memory and threads do not grow with their number."""
    code = ("import asyncio, tools\n"
            "async def one(i):\n"
            "    task = asyncio.ensure_future(tools.aio.anything(x='a' * (1 << 20)))\n"
            "    await asyncio.sleep(0.01)\n"
            "    task.cancel()\n"
            "for i in range(300): await one(i)\n'done'")
    number = caller.start(code)
    caller.line({"jsonrpc": "2.0", "id": 500, "method": "ping"})
    peak, quiet, before = 0, 0, None
    while quiet < 20:
        threading.Event().wait(0.1)
        now = memory_kib(caller.process.pid)
        quiet = quiet + 1 if now == before else 0
        before, peak = now, max(peak, memory_kib(caller.process.pid, "Threads"))
    assert SANITIZED or memory_kib(caller.process.pid, "VmHWM") < 200 << 10
    assert peak <= 80
    assert caller.value(number) == "done"
    assert caller.wait(500)["result"] == {}


def test_limits_hold_while_nobody_reads_the_calls(caller):
    number = caller.start("import threading\nfor i in range(8): threading.Thread(target=anything, kwargs={'x': 'a' * (3 << 20)}, daemon=True).start()\n"
                          "while True: pass", policy={"cpu_time_seconds": 1})
    other = caller.start("6 * 7", tools=[])
    threading.Event().wait(3)       # both have ended long before; the client begins to read only now
    assert caller.wait(number)["result"]["status"] == "cpu_limit"
    assert caller.value(other) == 42


# ---- A session's own tools ----

def test_tools_of_a_session_are_called_in_each_of_its_executions(caller):
    assert caller.call("create_session", session_id="s", tools=TOOLS, policy={"timeout_ms": 50000})["result"] == {}
    for i in range(3):
        number = caller.start("lookup('Rome', days=%d)" % i, method="execute", session_id="s", tools=[])
        call = caller.tool_call()
        assert (call["params"]["request"], call["params"]["session_id"], call["params"]["arguments"]) == (number, "s", {"city": "Rome", "days": i})
        caller.answer(call, result=i)
        assert caller.wait(number)["result"]["last_value_repr"] == str(i)
    own = [{"name": "lookup", "parameters": {"type": "object", "properties": {"other": {}}}}]
    number = caller.send("execute", session_id="s", code="lookup(other=1), anything(x=2)", tools=own)
    calls = [caller.tool_call()]
    caller.answer(calls[0], result="a")
    calls.append(caller.tool_call())
    caller.answer(calls[1], result="b")
    assert [call["params"]["arguments"] for call in calls] == [{"other": 1}, {"x": 2}]
    assert caller.value(number) == ("a", "b")
    number = caller.send("execute", session_id="s", code="lookup('Rome')")
    caller.answer(caller.tool_call(), result=5)
    assert caller.value(number) == 5
    assert "NameError" in caller.call("execute", session_id="other", code="lookup")["result"]["error_repr"]


@pytest.mark.parametrize("params, word", [({}, "session_id"), ({"session_id": "t", "tools": {}}, "list"), ({"session_id": "t", "policy": 1}, "policy"),
                                          ({"session_id": "t", "tools": [{"name": "class"}]}, "class"), ({"session_id": "t", "more": 1}, "more"),
                                          ({"session_id": "a/b"}, "a/b"), ({"session_id": "t", "policy": {"unknown": 1}}, "unknown")])
def test_a_session_that_can_not_be_made_is_refused(caller, params, word):
    error = caller.call("create_session", **params)["error"]
    assert word in error["message"], error
    assert caller.call("list_sessions")["result"]["sessions"] == []


def test_a_session_is_made_once(caller):
    assert caller.call("create_session", session_id="s")["result"] == {}
    assert "already" in caller.call("create_session", session_id="s")["error"]["message"]
    assert caller.call("execute", session_id="s", code="1")["result"]["session"]["execution_count"] == 1


# ---- A module that the tools hide ----

HIDDEN = [("import tools\ntools.helper()", {"tools.py": "def helper(): pass"}), ("from tools import helper", {"tools.py": "def helper(): pass"}),
          ("import tools.text", {"tools/__init__.py": "", "tools/text.py": ""}), ("from tools import text", {"tools/text.py": ""})]


@pytest.mark.parametrize("code, files", HIDDEN)
def test_a_hint_says_that_the_tools_hide_a_module_of_the_workspace(caller, code, files):
    params = {"code": code, "files": files, "policy": {"disable_open": False}}
    error = caller.call("execute_once", tools=TOOLS, **params)["result"]["error"]
    assert "hides the module tools of the working directory" in error["hint"] and "another name" in error["hint"], error
    assert caller.call("execute_once", **params)["result"]["status"] == "ok"
    error = caller.call("execute_once", tools=TOOLS, code=code)["result"]["error"]
    assert "hides" not in (error["hint"] or ""), error


# ---- Approvals ----

SEND = {"name": "send", "approval": True, "parameters": {"type": "object", "properties": {"to": {"type": "string"}}}}


def test_a_call_that_needs_approval_is_asked_for_first(caller):
    number = caller.start("send('Ada')", tools=[SEND])
    asked = caller.of("tool_approval")
    call_id = asked["params"]["call_id"]
    assert asked == {"jsonrpc": "2.0", "id": "approve-" + call_id, "method": "tool_approval", "params": {
        "request": number, "session_id": None, "call_id": call_id, "name": "send", "arguments": {"to": "Ada"}}}
    assert [message for message in caller.held if message.get("method") == "tool_call"] == []
    caller.answer(call_id, result="too early")
    assert caller.refused()[1]["data"]["code"] == "call_not_found"
    caller.answer(asked, result={"allow": True})
    call = caller.tool_call()
    assert (call["id"], call["params"]) == (call_id, asked["params"])
    caller.answer(asked, result={"allow": True})
    assert caller.refused()[1]["data"]["code"] == "call_not_found"
    caller.answer(call, result="sent")
    assert caller.value(number) == "sent"


@pytest.mark.parametrize("own", [{}, {"tools": []}, {"tools": [{"name": "other"}]}])
def test_a_sessions_tool_that_needs_approval_is_asked_for_first(caller, own):
    assert caller.call("create_session", session_id="s", tools=[SEND])["result"] == {}
    number = caller.send("execute", session_id="s", code="send('Ada')", **own)
    asked = caller.of("tool_approval")
    assert (asked["params"]["request"], asked["params"]["session_id"]) == (number, "s")
    caller.answer(asked, result={"allow": True})
    caller.answer(caller.tool_call(), result="sent")
    assert caller.value(number) == "sent"


@pytest.mark.parametrize("decision", [{"result": {"deny": "not now"}}, {"error": {"code": -32001, "message": "not now"}}])
def test_a_call_is_denied(caller, decision):
    number = caller.start("try: send('Ada')\nexcept PermissionError as error: value = str(error)\nvalue", tools=[SEND])
    caller.answer(caller.of("tool_approval"), **decision)
    assert caller.value(number) == "tool 'send' denied: not now"
    assert [message for message in caller.held if message.get("method") == "tool_call"] == []


@pytest.mark.parametrize("decision", [{"result": True}, {"result": {"allow": False}}, {"result": {"allow": True, "deny": "x"}}, {"result": {}},
                                      {"result": {"deny": "a\0b"}}, {"result": None}, {"error": {"code": -32601, "message": "Method not found"}}])
def test_what_is_no_decision_allows_nothing(caller, decision):
    number = caller.start("try: send('Ada')\nexcept ToolError as error: value = str(error)\nvalue", tools=[SEND])
    caller.answer(caller.of("tool_approval"), **decision)
    value = caller.value(number)
    assert value == "Method not found" if "error" in decision else "must be {\"allow\": true} or {\"deny\": the reason}" in value
    assert [message for message in caller.held if message.get("method") == "tool_call"] == []


def test_decisions_come_in_any_order_and_after_the_end(caller):
    number = caller.start("import asyncio, tools\nvalues = await asyncio.gather(*[tools.aio.send(str(i)) for i in range(20)])\nvalues", tools=[SEND])
    asked = [caller.of("tool_approval") for _ in range(20)]
    for one in reversed(asked):
        caller.answer(one, result={"allow": True})
    for _ in range(20):
        call = caller.tool_call()
        caller.answer(call, result=call["params"]["arguments"]["to"])
    assert caller.value(number) == [str(i) for i in range(20)]
    number = caller.start("send('Ada')", tools=[SEND])
    asked = caller.of("tool_approval")
    caller.send("cancel", request=number)
    assert caller.wait(number)["result"]["status"] == "cancelled"
    caller.answer(asked, result={"allow": True})
    assert caller.refused() == (asked["id"], caller_error(asked))


def caller_error(asked):
    """Returns the error of the notification answer_refused for an answer to a call that does not wait."""
    message = "no such tool call waits for an answer"
    return {"code": -32000, "message": message, "data": {
        "code": "call_not_found", "message": message, "hint": "The call was already answered, or its script no longer waits for it: tool_timeout_ms has passed, or the script has ended."}}

# SPDX-License-Identifier: Apache-2.0
"""Tools: functions of the host that a script calls, through the C API (capi_tools.c) as root and as an ordinary user."""
import json
import os
import re
import subprocess

import pytest

from conftest import USERS, uid_of


class Tools:
    def __init__(self, program, uid):
        self.program, self.uid = program, uid

    def all(self, *scripts, session="", made=(), timeout=120, settings=None, **policy):
        """Returns for each script its result, and what the callbacks printed while it ran."""
        configuration = {"policy": {"python_bin": "/usr/bin/python3", "timeout_ms": 20000, "cpu_time_seconds": 20, **policy}, **(settings or {})}
        done = subprocess.run([self.program, json.dumps(configuration), session, *made], text=True, capture_output=True, timeout=timeout,
                              input="".join(script + "\0" for script in scripts),
                              **{} if self.uid == os.getuid() else {"user": self.uid, "group": self.uid, "extra_groups": []})
        assert done.returncode == 0, done.stderr
        results, said = [], []
        for line in done.stdout.splitlines():
            if line.startswith("# "):
                said.append(line[2:])
            else:
                results.append((json.loads(line), said))
                said = []
        assert len(results) == len(scripts) and not said
        return results

    def __call__(self, script, **policy):
        return self.all(script, **policy)[0][0]


@pytest.fixture(scope="module", params=USERS)
def tools(request, compile_host):
    return Tools(compile_host("capi_tools.c"), uid_of(request.param))


def value(result):
    assert result["status"] == "ok", (result["error"], result["stderr"])
    return result["last_value_repr"]


# ---- What the script sees ----

def test_a_tool_is_a_global_function_with_its_schemas_signature(tools, nothing_left):
    result = tools("import inspect\nstr(inspect.signature(lookup)), lookup('Paris'), lookup('Rome', 'F', 3), lookup(days=2, city='Oslo')",
                   use_import_whitelist=False, banned_imports=[])
    assert eval(value(result)) == ("(city: str, unit: str = 'C', days: int = ...) -> dict",
                                   {"city": "Paris", "unit": "C"}, {"city": "Rome", "unit": "F", "days": 3},
                                   {"city": "Oslo", "unit": "C", "days": 2})
    assert result["usage"]["tool_calls"]["count"] == 3 and result["usage"]["tool_calls"]["wait_ms"] > 0


def test_help_shows_the_description_and_the_arguments(tools):
    result = tools("help(lookup)")
    assert "lookup(city: str, unit: str = 'C', days: int = ...) -> dict" in result["stdout"]
    assert "The weather of a city." in result["stdout"] and "city: Its name." in result["stdout"]


def test_the_module_tools_can_be_imported_under_any_policy(tools):
    script = "import tools\nfrom tools import lookup as f\nimport tools.aio\nf is tools.lookup is lookup, tools.ToolError is ToolError, sorted(tools.__all__)[0]"
    for policy in ({"allowed_imports": []}, {"use_import_whitelist": False, "banned_imports": ["tools"]}):
        assert value(tools(script, **policy)) == "(True, True, 'ToolError')"


def test_without_tools_there_is_no_such_module_or_name(tools):
    (result, _), = tools.all("# no tools\ntry: import tools\nexcept ImportError as error: print(str(error)[:27])\n'lookup' in globals()")
    assert (result["stdout"], value(result)) == ("import 'tools' not allowed. \n"[:27] + "\n", "False")
    assert result["usage"]["tool_calls"] == {"count": 0, "wait_ms": 0.0}


def test_a_script_may_shadow_a_tool(tools):
    assert value(tools("lookup = 5\nimport tools\nlookup, tools.lookup('a')['city']")) == "(5, 'a')"


@pytest.mark.parametrize("call, error", [
    ("lookup()", "TypeError: lookup() missing 1 required positional argument: 'city'"),
    ("lookup('a', town=1)", "TypeError: lookup() got an unexpected keyword argument 'town'"),
    ("lookup(5)", "TypeError: lookup(): city must be string, not 5"),
    ("lookup('a', 'K')", "ValueError: lookup(): unit must be one of 'C', 'F', not 'K'"),
    ("lookup('a', days=0)", "ValueError: lookup(): days must be at least 1, not 0"),
    ("lookup('a', days=True)", "TypeError: lookup(): days must be integer, not True"),
    ("anything(x=lambda: 1)", "TypeError: anything(): the arguments can't be written as JSON: "),
    ("anything(x='a' * (9 << 20))", "TypeError: anything(): the arguments can't be written as JSON: more than 8 MiB of JSON"),
    ("x = []\nx.append(x)\nanything(x=x)", "TypeError: anything(): the arguments can't be written as JSON: it contains itself"),
    ("mail(to='a')", "TypeError: mail() needs the argument 'from': pass it as **{'from': ...}"),
])
def test_a_wrong_call_is_refused_in_the_script(tools, call, error):
    result = tools(call)
    assert result["error_repr"].startswith(error) and result["usage"]["tool_calls"]["count"] == 0
    assert "<pyexec>" not in result["error"]["traceback"]


def test_values_are_json_as_in_results(tools):
    script = ("import datetime, decimal\n"
              "anything(a=float('nan'), b=(1, 2), c={1: 'x'}, d=b'ab', e='\\ud800', f=1 << 70, g=decimal.Decimal('1.5'),"
              " h=datetime.date(2020, 1, 2), i='\\0é😀', j=0.1, k=None)")
    assert eval(value(tools(script))) == {
        "a": None, "b": [1, 2], "c": {"1": "x"}, "d": "YWI=", "e": "\\ud800", "f": str(1 << 70), "g": "1.5", "h": "2020-01-02",
        "i": "\0é😀", "j": 0.1, "k": None}


def test_plain_values_arrive_as_they_are(tools):
    script = ("given = {'all': ''.join(map(chr, range(0x180))), 'quoted': '\\\\\"/\u2028', 'far': '\U0010ffff', 'empty': '', '': '', 'a\"\\nb': 0,"
              " 'least': -1 << 63, 'most': (1 << 63) - 1, 'yes': True, 'no': False, 'none': None}\n"
              "anything(**given) == given, anything(), anything(x=1 << 63), anything(x='\\udc80', y='a'), anything(**{'\\ud800': 1})")
    assert eval(value(tools(script))) == (True, {}, {"x": str(1 << 63)}, {"x": "\\udc80", "y": "a"}, {"\\ud800": 1})


def test_a_str_or_int_of_another_class_is_an_argument_by_its_value(tools):
    script = "class S(str): pass\nclass N(int): pass\nimport enum\nclass E(enum.IntEnum): A = 7\nanything(s=S('x'), n=N(3), e=E.A)"
    assert eval(value(tools(script, use_import_whitelist=False, banned_imports=[]))) == {"s": "x", "n": 3, "e": 7}


def test_large_arguments_and_results(tools):
    script = "len(anything(x='a' * 8000000)['x']), len(large()), len(anything(x=list(range(500000)))['x'])"
    assert value(tools(script)) == "(8000000, 8388606, 500000)"


def test_names_that_are_no_identifiers_are_passed_as_keywords(tools):
    assert value(tools("mail('b', **{'from': 'a'})")) == "{'to': 'b', 'from': 'a'}"


def test_none_for_an_optional_argument_is_leaving_it_out(tools):
    assert value(tools("lookup('a', None, None)")) == "{'city': 'a'}"


# ---- Errors ----

def test_an_error_is_a_tool_error_with_the_tool_and_its_data(tools):
    (result, said), = tools.all("try: fails()\nexcept ToolError as error: kept = error\nstr(kept), kept.tool, kept.data, isinstance(kept, RuntimeError)")
    assert (value(result), said) == ("('no such city', 'fails', {'code': 7}, True)", ["fail: ok"])


def test_an_uncaught_error_names_the_scripts_own_line(tools):
    result = tools("\nfails()")
    assert (result["error"]["type"], result["error"]["line"], result["error_repr"]) == ("tools.ToolError", 2, "tools.ToolError: no such city")


def test_a_denial_is_a_permission_error_and_listed(tools):
    result = tools("\n\ndenies()")
    assert result["error_repr"] == "PermissionError: tool 'denies' denied: not on Sundays"
    assert [(denial["layer"], denial["what"], denial["line"]) for denial in result["denials"]] == [("tools", "denies()", 3)]
    assert result["denials"][0]["hint"]


def test_a_call_that_is_freed_without_an_answer_is_an_error(tools):
    assert tools("forgets()")["error_repr"] == "tools.ToolError: the host gave no answer"


def test_answers_that_are_no_json_are_refused_and_the_call_still_waits(tools):
    (result, said), = tools.all("garbage()")
    assert value(result) == "'done'"
    assert said == [what + ": invalid_request" for what in ("", "{", "NaN", "[1,]", '{"a":1,"a":2}', '"\\ud800"', "1 2", "large")] + [
        "waits: 1", "good: ok", "again: call_not_found", "waits: 0"]


def test_more_calls_than_the_policy_allows_are_denied(tools):
    result = tools("for i in range(3):\n    anything(i=i)", max_tool_calls=2)
    assert result["error_repr"] == "PermissionError: tool 'anything' denied: this execution has made max_tool_calls=2 calls"
    assert "max_tool_calls" in result["denials"][0]["hint"] and result["usage"]["tool_calls"]["count"] == 3


def test_a_wait_ends_after_the_tools_timeout(tools):
    result = tools("try: never()\nexcept ToolError as error: print(error)\nanything(n=1)", tool_timeout_ms=100)
    assert (result["stdout"], value(result)) == ("timeout: no answer within tool_timeout_ms=100\n", "{'n': 1}")


def test_a_list_of_tools_has_one_callback(tools):
    assert value(tools("# a list\none(), two(5), two(n=6)")) == "({}, {'n': 5}, {'n': 6})"


def test_names_and_definitions_that_no_tool_can_have(compile_host):
    done = subprocess.run([compile_host("capi_tools.c"), "refusals"], capture_output=True, text=True, timeout=60)
    lines = done.stdout.splitlines()
    assert len(lines) == 28 and lines.pop() == "# added: 256"
    assert all(line.endswith(": invalid_request") for line in lines), lines


# ---- Several calls at the same time ----

def test_calls_under_gather_run_at_once(tools):
    script = "import asyncio, tools, time\nbegan = time.monotonic()\nanswers = await asyncio.gather(*[tools.aio.later(i) for i in range(200)])\n" \
             "answers == [{'n': i} for i in range(200)], time.monotonic() - began < 0.05 * 200 / 2"
    assert value(tools(script, allowed_imports=["asyncio", "time"])) == "(True, True)"


def test_threads_call_at_once(tools):
    script = """
import threading
answers = {}
def work(n):
    for i in range(5):
        answers[n, i] = later(n * 10 + i)["n"]
threads = [threading.Thread(target=work, args=(n,)) for n in range(10)]
[thread.start() for thread in threads]
mine = [later(n=i)["n"] for i in range(5)]
[thread.join() for thread in threads]
mine == list(range(5)), answers == {(n, i): n * 10 + i for n in range(10) for i in range(5)}
"""
    assert value(tools(script, allowed_imports=["threading"])) == "(True, True)"


def test_threads_and_tasks_call_at_once(tools):
    script = """
import threading, asyncio, tools
sums = []
def work():
    sums.append(sum(later(n=i)["n"] for i in range(20)))
threads = [threading.Thread(target=work) for _ in range(4)]
[thread.start() for thread in threads]
total = sum(answer["n"] for answer in await asyncio.gather(*[tools.aio.later(i) for i in range(150)]))
[thread.join() for thread in threads]
total, sums
"""
    assert value(tools(script, allowed_imports=["threading", "asyncio"])) == "(%d, [190, 190, 190, 190])" % sum(range(150))


def test_a_cancelled_task_gives_its_call_up(tools):
    script = "import asyncio, tools\ntry: await asyncio.wait_for(tools.aio.never(), 0.05)\nexcept asyncio.TimeoutError: print('gone')\n" \
             "await tools.aio.lookup('a')"
    result = tools(script, allowed_imports=["asyncio"])
    assert (result["stdout"], value(result)) == ("gone\n", "{'city': 'a', 'unit': 'C'}")


# ---- Time ----

def test_the_clock_stands_still_while_the_script_only_waits(tools):
    # The tool's time limit ends each wait. All waits together are longer than the script's time limit.
    result = tools("for i in range(4):\n    try: never()\n    except ToolError: pass\n'through'", timeout_ms=1000, tool_timeout_ms=700)
    assert value(result) == "'through'" and result["usage"]["wall_ms"] > 2500 and result["usage"]["tool_calls"]["wait_ms"] > 2500


def test_short_calls_let_the_clock_stand_still_too(tools):
    result = tools("for i in range(40):\n    later(i)\n'through'", timeout_ms=1000)
    assert value(result) == "'through'" and result["usage"]["tool_calls"]["wait_ms"] > 1900


def test_a_thread_that_works_meanwhile_lets_the_clock_run(tools):
    script = "import threading, time\ndef spin():\n    while True: pass\nthreading.Thread(target=spin, daemon=True).start()\nnever()"
    result = tools(script, timeout_ms=700, allowed_imports=["threading", "time"])
    assert result["status"] == "timeout", result["error"]


@pytest.mark.parametrize("tool", ["never", "blocks"])
def test_the_cpu_limit_holds_while_a_callback_waits(tools, tool):
    script = "import threading\ndef spin():\n    while True: pass\nthreading.Thread(target=spin, daemon=True).start()\n%s()" % tool
    result = tools(script, timeout_ms=60000, cpu_time_seconds=1, allowed_imports=["threading"])
    assert result["status"] == "cpu_limit" and result["usage"]["cpu_ms"] < 5000


def test_a_script_that_works_is_timed_although_it_called(tools):
    result = tools("anything(n=1)\nwhile True: pass", timeout_ms=500)
    assert result["status"] == "timeout"


def test_a_single_run_waits_no_longer_than_max_wait(tools):
    (result, _), = tools.all("never()", timeout_ms=2000, settings={"host": {"max_wait": "1s"}})
    assert result["status"] == "timeout" and 2900 < result["usage"]["wall_ms"] < 15000


def test_cancel_and_interrupt_end_a_wait(tools):
    (cancelled, _), (interrupted, _) = tools.all("cancels()", "try: interrupts()\nexcept KeyboardInterrupt: 'stopped'\n'went on'")
    assert cancelled["status"] == "cancelled"
    assert value(interrupted) == "'went on'"


# ---- Sessions ----

def test_a_session_keeps_its_names_between_calls_with_tools(tools, nothing_left):
    first, second, third, fourth = [result for result, _ in tools.all(
        "f = lookup\nlater = 3\nlookup('a')", "f('b')['city'], later, lookup is not f, tools.later(4)['n'] if 'tools' in dir() else None",
        "# no tools\ntry: f('c')\nexcept RuntimeError as error: print(error)\n'lookup' in dir(), later", "f('d')['city'], later", session="s")]
    assert value(first) == "{'city': 'a', 'unit': 'C'}"
    assert value(second) == "('b', 3, True, None)"
    assert (third["stdout"], value(third)) == ("tool 'lookup' is not offered to this execution\n", "(False, 3)")
    assert value(fourth) == "('d', 3)"


def test_calls_of_threads_end_with_the_call_of_the_session(tools, nothing_left):
    script = """
import threading
ends, begun = [], threading.Event()
def work():
    begun.set()
    try: never()
    except ToolError as error: ends.append(str(error))
thread = threading.Thread(target=work)
thread.start()
begun.wait()
for i in range(20): later(i)    # time for the thread to get from begun.set() into its call
"""
    results = tools.all(script, "thread.join(20)\nends, lookup('a')['city']", "later(n=2)", session="s", allowed_imports=["threading"])
    assert value(results[1][0]) == "([\"tool 'never': the execution that offered it has ended\"], 'a')"
    assert value(results[2][0]) == "{'n': 2}"


def test_tasks_that_are_left_do_not_disturb_the_next_call(tools):
    results = tools.all("import asyncio, tools\ntask = asyncio.create_task(tools.aio.never())\nawait asyncio.sleep(0.05)",
                        "try: await task\nexcept ToolError as error: print(error)\nawait tools.aio.lookup('a')",
                        "import tools\n(await tools.aio.lookup('b'))['city']", session="s", allowed_imports=["asyncio"])
    assert results[1][0]["stdout"] == "tool 'never': the execution that offered it has ended\n"
    assert value(results[2][0]) == "'b'"


def test_answers_that_come_too_late_do_not_reach_the_next_call(tools):
    scripts = ["import asyncio, tools\nfor i in range(20): asyncio.create_task(tools.aio.later(i))\nawait asyncio.sleep(0.04)", "later(n=99)", "1 + 1"] * 4
    results = [result for result, _ in tools.all(*scripts, session="s", allowed_imports=["asyncio"])]
    assert [value(result) for result in results[1::3]] == ["{'n': 99}"] * 4 and [value(result) for result in results[2::3]] == ["2"] * 4


def test_a_call_that_only_waits_ends_as_cancelled_at_the_sessions_hard_ttl(tools, nothing_left):
    (result, _), (after, _) = tools.all("never()", "1", session="s", settings={"session": {"hard_ttl": "1s"}})
    assert result["status"] == "cancelled"
    assert after["session"]["created"] and after["session"]["restarted"] == "hard_ttl"


def test_waiting_keeps_a_session_from_its_idle_ttl(tools):
    (first, _), (second, _) = tools.all("x = 1\ntry: never()\nexcept ToolError: 'kept'\nx", "x", session="s", tool_timeout_ms=1500,
                                        settings={"session": {"idle_ttl": "500ms"}})
    assert (value(first), value(second)) == ("1", "1")


# ---- Hostile children ----

PRELUDE = """
import socket, struct
channel = socket.fromfd(3, socket.AF_UNIX, socket.SOCK_SEQPACKET)
def field(kind, data=b""): return struct.pack("HHI", kind, 0, len(data)) + data
CALL, ARGUMENTS, END, ABANDON = %d, %d, %d, %d
def send(number, name, *arguments):
    channel.send(field(CALL, struct.pack("Q", number) + name) + b"".join(field(ARGUMENTS, a) for a in arguments) + field(END))
"""


@pytest.fixture(scope="module")
def prelude():
    with open(os.path.join(os.path.dirname(__file__), "..", "..", "src", "protocol", "child_fields.def")) as file:
        kinds = re.findall(r"^PX_CHILD_\w+\((\w+),", file.read(), re.M)
    return PRELUDE % tuple(kinds.index(name) + 1 for name in ("TOOL_CALL", "TOOL_ARGUMENTS", "TOOL_CALL_END", "TOOL_ABANDON"))


HOSTILE = {
    "arguments that are no JSON": "send(1, b'lookup', b'{')",
    "arguments that are no object": "send(1, b'lookup', b'[]')",
    "NaN": "send(1, b'lookup', b'{\"a\":NaN}')",
    "duplicate keys": "send(1, b'lookup', b'{\"a\":1,\"a\":2}')",
    "lone surrogates": "send(1, b'lookup', b'{\"a\":\"\\\\ud800\"}')",
    "no UTF-8": "send(1, b'lookup', b'{\"a\":\"\\xff\"}')",
    "depth": "send(1, b'lookup', b'{\"a\":' + b'[' * 3000 + b']' * 3000 + b'}')",
    "two lines": "send(1, b'lookup', b'{\\n}')",
    "no arguments": "send(1, b'lookup')",
    "an unknown tool": "send(1, b'os.system', b'{}')",
    "a name with NUL": "send(1, b'look\\0up', b'{}')",
    "a name that is too long": "send(1, b'x' * 129, b'{}')",
    "no name": "channel.send(field(CALL, struct.pack('Q', 1)))",
    "half a number": "channel.send(field(CALL, b'abc'))",
    "a number twice": "send(1, b'never', b'{}')\nsend(1, b'never', b'{}')",
    "number 0": "send(0, b'never', b'{}')",
    "a call inside a call": "channel.send(field(CALL, struct.pack('Q', 1) + b'never') * 2)",
    "arguments of no call": "channel.send(field(ARGUMENTS, b'{}'))",
    "an end of no call": "channel.send(field(END))",
    "65 calls at once": "for i in range(65): send(i + 1, b'never', b'{}')",
    "arguments above 8 MiB": "channel.send(field(CALL, struct.pack('Q', 1) + b'never'))\nfor i in range(600): channel.send(field(ARGUMENTS, b' ' * 30000))",
    "arguments above 32 MiB together":
        "for n in range(1, 7):\n    channel.send(field(CALL, struct.pack('Q', n) + b'never') + field(ARGUMENTS, b'{\"a\":\"'))\n"
        "    for i in range(220): channel.send(field(ARGUMENTS, b'a' * 30000))\n    channel.send(field(ARGUMENTS, b'\"}') + field(END))",
    "half an abandonment": "channel.send(field(ABANDON, b'abc'))",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_child_that_breaks_the_protocol_ends_its_run_alone(tools, prelude, what):
    (bad, said), (good, _) = tools.all(prelude + HOSTILE[what] + "\nimport time\ntime.sleep(15)", "lookup('a')['city']",
                                       allowed_imports=["socket", "struct", "time"])
    assert (bad["status"], bad["exit_code"], said) == ("crashed", 1, []), bad["error"]
    assert "on the result channel" in bad["error_repr"]
    assert value(good) == "'a'"


def test_a_child_without_tools_may_not_call(tools, prelude):
    (bad, _), = tools.all("# no tools" + prelude + "send(1, b'lookup', b'{}')\nimport time\ntime.sleep(15)", allowed_imports=["socket", "struct", "time"])
    assert bad["status"] == "crashed" and "a run without tools" in bad["error_repr"]


def test_abandoning_what_is_not_there_is_nothing(tools, prelude):
    script = prelude + "for i in range(100): channel.send(field(ABANDON, struct.pack('Q', i)))\n'on'"
    assert value(tools(script, allowed_imports=["socket", "struct"])) == "'on'"


def test_a_child_that_reads_no_answers_is_timed(tools, prelude):
    script = prelude + "import time\nfor i in range(3): send(i + 1, b'large', b'{}')\ntime.sleep(100)"
    result = tools(script, timeout_ms=2000, allowed_imports=["socket", "struct", "time"], address_space_bytes=1 << 30)
    assert result["status"] == "timeout" and result["usage"]["wall_ms"] < 60000


# ---- A session's own tools ----

MADE = ["bad list: invalid_request", "again: invalid_request",
        '[{"parameters":{"properties":{"n":{}}},"name":"city"},{"name":"lookup"}]']


def test_tools_of_a_session_are_there_in_all_its_calls(tools, nothing_left):
    scripts = ["# no tools\ncity(n=1)", "# no tools\nlookup()", "lookup('Paris')", "# no tools\nimport tools\ntools.city(n=[2]), city(n=3)"]
    (first, said), *others = tools.all(*scripts, session="s", made=["own"])
    assert said == MADE
    assert [eval(value(result)) for result in (first, *(result for result, _ in others))] == [
        {"n": 1}, {}, {"city": "Paris", "unit": "C"}, ({"n": [2]}, {"n": 3})]


def test_tools_of_a_session_without_a_callback_use_the_requests(tools, nothing_left):
    scripts = ["# no tools\ncity(n=1)", "# nobody answers\ncity(n=1)", "lookup('Paris')", "# no tools\nlookup()"]
    (first, _), (refused, _), (own, _), (last, said) = tools.all(*scripts, session="s", made=["lent"])
    assert first["error_repr"] == last["error_repr"] == "tools.ToolError: no such city" and said == ["fail: ok"]
    assert refused["failed"] == "invalid_request" and "tools" in refused["message"]
    assert eval(value(own)) == {"city": "Paris", "unit": "C"}

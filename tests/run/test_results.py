"""The result object: it always has every key; values, errors, streams, denials and usage; and runs without --json."""
import json
import re

import pytest

ANY = ["--any-import"]
KEYS = ["status", "exit_code", "stdout", "stdout_truncated", "stdout_bytes", "stderr", "stderr_truncated", "stderr_bytes",
        "last_value_repr", "last_value_truncated", "last_value_json", "last_value_json_error", "error_repr", "error",
        "display", "display_dropped", "files", "files_truncated", "denials",
        "denials_dropped", "tier", "missing_layers", "usage", "session", "environment"]
STATUSES = {"ok", "error", "timeout", "cpu_limit", "memory_limit", "killed", "crashed", "cancelled"}
# This continues after each exception. In CPython 3.11 the try does not cover the jump of a `while 1` inside.
STUBBORN = "x = 1\nwhile x:\n  try:\n    while x: x += 1\n  except BaseException: pass"
LAYERS = {"imports", "files", "network", "syscall", "processes"}


def check(result):
    """Checks what is true of every result."""
    assert list(result) == KEYS and result["status"] in STATUSES
    assert type(result["exit_code"]) is int and (result["exit_code"] == 0) == (result["status"] == "ok")
    for stream in ("stdout", "stderr"):
        assert type(result[stream]) is str and type(result[stream + "_truncated"]) is bool and type(result[stream + "_bytes"]) is int
        size = len(result[stream].encode())
        if result[stream + "_truncated"]:
            assert result[stream + "_bytes"] > size - 3
        elif "\ufffd" not in result[stream]:
            assert result[stream + "_bytes"] == size
    assert (result["error"] is None) == (result["error_repr"] is None) == (result["status"] == "ok")
    if result["error"]:
        error = result["error"]
        assert list(error) == ["type", "message", "line", "traceback", "hint"]
        assert result["error_repr"] == (error["type"] + ": " + error["message"] if error["message"] else error["type"])
        assert result["last_value_repr"] is None
    for denial in result["denials"]:
        assert list(denial) == ["layer", "what", "line", "hint"] and denial["layer"] in LAYERS and denial["what"]
    assert len(result["denials"]) <= 100 and result["denials_dropped"] >= 0
    assert result["display"] == [] and result["display_dropped"] == 0 and result["last_value_json"] is None and result["missing_layers"] == [] and result["session"] is None
    assert result["environment"] is None
    assert result["tier"] == "full"
    assert type(result["files"]) is list and result["files_truncated"] is False
    usage = result["usage"]
    assert list(usage) == ["wall_ms", "cpu_ms", "peak_memory_bytes", "tool_calls"]
    assert usage["wall_ms"] > 0 and usage["cpu_ms"] >= 0 and 1 << 20 < usage["peak_memory_bytes"] < 600 << 20
    return result


# Every key, always

@pytest.mark.parametrize("code, flags, status", [
    ("1", [], "ok"), ("", [], "ok"), ("print(1)", [], "ok"), ("1/0", [], "error"), ("x = (", [], "error"), ("import os", [], "error"),
    ("raise SystemExit(3)", [], "error"), ("while 1: pass", ["--timeout=30ms"], "timeout"),
    (STUBBORN, ["--timeout=30ms"], "timeout"),
    ("x = bytearray(1 << 40)", [], "memory_limit"), ("import ctypes\nctypes.string_at(0)", ANY, "crashed"),
    ("import os\nos._exit(7)", ANY, "crashed"), ("import os, signal\nos.kill(os.getpid(), signal.SIGTERM)", ANY, None),
    ("open('a', 'w').write('x')", ["--files=full"], "ok"), ("open('a')", [], "error"),
    ("import socket\nsocket.socket()", [], "error"),
])
def test_every_key_is_there_in_order(pyexec, code, flags, status):
    result = check(pyexec.result(code, *flags))
    assert status in (None, result["status"]), result


def test_json_is_one_line_and_exits_0(pyexec):
    for code in ("print('a\\nb')", "1/0", "raise SystemExit(9)"):
        done = pyexec.run("run", "--json", "-c", code)
        assert done.returncode == 0 and done.stderr == b"" and done.stdout.count(b"\n") == 1 and done.stdout.endswith(b"}\n")


@pytest.mark.parametrize("text", ["\\x00\\x01\\x1f\\x7f", "\\\"\\\\/\\b\\f\\n\\r\\t", "\\u2028\\u2029\\ufeff", "\U0001f600é", "</script>"])
def test_any_text_survives_json(own, text):
    result = check(own.result("s = '%s'\nprint(s, end='')\ns" % text))
    expected = eval("'%s'" % text)
    assert result["stdout"] == expected and result["last_value_repr"] == repr(expected)


# Errors

@pytest.mark.parametrize("code, type_, message, line", [
    ("1/0", "ZeroDivisionError", "division by zero", 1), ("\n\nnosuch", "NameError", "name 'nosuch' is not defined", 3),
    ("def f():\n  return [][1]\n\nf()", "IndexError", "list index out of range", 2), ("raise ValueError", "ValueError", "", 1),
    ("raise ValueError('é\\n2')", "ValueError", "é\n2", 1), ("{}['k']", "KeyError", "'k'", 1),
    ("class E(Exception): pass\nraise E(1, 2)", "E", "(1, 2)", 2),
    ("class A:\n  class E(Exception): pass\nraise A.E('x')", "E", "x", 3), ("raise BaseException('b')", "BaseException", "b", 1),
    ("raise KeyboardInterrupt", "KeyboardInterrupt", "", 1), ("raise GeneratorExit", "GeneratorExit", "", 1),
    ("import json\njson.loads('{')", "JSONDecodeError", None, 2), ("def f(): f()\nf()", "RecursionError", None, 1),
    ("raise 3", "TypeError", "exceptions must derive from BaseException", 1), ("assert 1 == 2", "AssertionError", "", 1),
    ("exec('\\n\\n1/0')", "ZeroDivisionError", "division by zero", 1), ("next(iter([]))", "StopIteration", "", 1),
    ("class E(Exception):\n  def __str__(self): raise ValueError\nraise E", "E", None, 3),
    ("raise ExceptionGroup('g', [ValueError(1)])", "ExceptionGroup", "g (1 sub-exception)", 1),
    ("raise TimeoutError('timeout of mine')", "TimeoutError", "timeout of mine", 1),
])
def test_an_uncaught_exception(own, code, type_, message, line):
    result = check(own.result(code))
    error = result["error"]
    assert (result["status"], result["exit_code"], error["type"].split(".")[-1], error["line"]) == ("error", 1, type_, line), result
    assert message is None or error["message"] == message
    assert error["traceback"] == result["stderr"] and 'File "<cell>"' in result["stderr"]
    assert re.search(r"File \"<cell>\", line %d\b" % line, error["traceback"])


def test_a_traceback_has_only_the_scripts_frames(pyexec):
    code = "import json\n\ndef load(text):\n    return json.loads(text)\n\nload('{')\n"
    trace = check(pyexec.result(code))["error"]["traceback"].splitlines()
    frames = [line.strip() for line in trace if line.lstrip().startswith("File ")]
    assert frames == ['File "<cell>", line 6, in <module>', 'File "<cell>", line 4, in load']
    assert trace[0] == "Traceback (most recent call last):" and "    load('{')" in trace and "    return json.loads(text)" in trace


@pytest.mark.parametrize("code, words, types", [
    ("try:\n    1/0\nexcept ArithmeticError as e:\n    raise ValueError('v') from e", "direct cause", ["ZeroDivisionError", "ValueError"]),
    ("try:\n    1/0\nexcept ArithmeticError:\n    raise ValueError('v')", "During handling", ["ZeroDivisionError", "ValueError"]),
    ("try:\n    1/0\nexcept ArithmeticError:\n    raise ValueError('v') from None", None, ["ValueError"]),
    ("try:\n    try:\n        {}[1]\n    except KeyError:\n        1/0\nexcept ArithmeticError as e:\n    raise ValueError('v') from e",
     "direct cause", ["KeyError", "ZeroDivisionError", "ValueError"]),
])
def test_chained_exceptions(own, code, words, types):
    result = check(own.result(code))
    trace = result["error"]["traceback"]
    assert result["error_repr"] == "ValueError: v" and result["error"]["line"] == code.count("\n") + 1
    assert re.findall(r"^(\w+): ", trace, re.M) == types and (words or "Traceback") in trace
    assert trace.count("Traceback (most recent call last):") == len(types) == trace.count("<cell>")


def test_chains_that_are_loops_or_long_end(own):
    assert check(own.result("a = ValueError('a')\nb = ValueError('b')\na.__cause__ = b\nb.__cause__ = a\nraise a"))["error_repr"] == "ValueError: a"
    code = "e = None\nfor i in range(20000):\n    n = ValueError(i)\n    n.__cause__ = e\n    e = n\nraise e"
    assert check(own.result(code))["error_repr"] == "ValueError: 19999"


def test_a_long_error_message_is_cut_on_a_character(own):
    result = own.result("raise ValueError('é' * 1000)", "--max-value-bytes=99")
    assert set(result["error"]["message"]) == {"é"} and len(result["error"]["message"].encode()) <= 99
    assert result["error"]["type"] == "ValueError" and result["error_repr"].startswith("ValueError: é")


def test_notes_are_in_the_traceback(own):
    result = own.result("e = ValueError('v')\ne.add_note('a note') if hasattr(e, 'add_note') else 0\nraise e")
    assert result["error_repr"] == "ValueError: v" and result["stderr"].endswith("ValueError: v\na note\n")


@pytest.mark.parametrize("code, type_, line", [
    ("x = = 1\ny = 2", "SyntaxError", 1), ("a = 1\nb = 2\nif True", "SyntaxError", 3), ("x = (", "SyntaxError", 1),
    ("a = 1\n  b = 2", "IndentationError", 2), ("if 1:\nx = 1", "IndentationError", 2), ("if 1:\n\tx\n        y", "TabError", 3),
    ("a = 1\nreturn", "SyntaxError", 2), ("'abc", "SyntaxError", 1), ("a = 1\n'''abc", "SyntaxError", 2), ("break", "SyntaxError", 1),
    ("a\nx = 1é", "SyntaxError", 2), ("def f():\n  x = 1\n  global x", "SyntaxError", 3), ("# -*- coding: nosuch -*-\n)", "SyntaxError", 2),
    ("print 'a'", "SyntaxError", 1), ("f'{'", "SyntaxError", 1), ("def f(): await x", "SyntaxError", 1), ("1\n\n\n)", "SyntaxError", 4),
])
def test_syntax_errors(own, code, type_, line):
    result = check(own.result(code))
    assert (result["status"], result["exit_code"], result["error"]["type"], result["error"]["line"]) == ("error", 1, type_, line), result
    assert 'File "<cell>", line %d' % line in result["stderr"] and result["error"]["traceback"] == result["stderr"]
    assert code.split("\n")[line - 1].strip()[:5] in result["stderr"]
    assert result["stdout"] == "" and result["denials"] == []


def test_nothing_of_a_script_with_a_syntax_error_runs(own):
    assert own.result("print('ran')\nx = (")["stdout"] == ""


def test_a_syntax_error_at_run_time_is_an_exception(own):
    result = check(own.result("a = 1\nexec('x = = 1')"))
    assert result["error"]["type"] == "SyntaxError" and "exec('x = = 1')" in result["stderr"] and result["denials"] == []


def test_warnings_of_the_compiler_are_on_stderr_and_the_run_is_ok(own):
    result = check(own.result("x = 1\nx is 1"))
    assert (result["status"], result["last_value_repr"], result["denials"]) == ("ok", "True", [])
    assert "SyntaxWarning" in result["stderr"]


# sys.exit

@pytest.mark.parametrize("argument, status, exit_code, error", [
    ("", "ok", 0, None), ("None", "ok", 0, None), ("0", "ok", 0, None), ("False", "ok", 0, None), ("1", "error", 1, "SystemExit: 1"),
    ("3", "error", 3, "SystemExit: 3"), ("255", "error", 255, "SystemExit: 255"), ("256", "ok", 0, None), ("-1", "error", 255, "SystemExit: -1"),
    ("True", "error", 1, "SystemExit: True"), ("'bye'", "error", 1, "SystemExit: bye"), ("''", "error", 1, "SystemExit"),
    ("(1, 2)", "error", 1, "SystemExit: (1, 2)"), ("1.5", "error", 1, "SystemExit: 1.5"), ("10**30", "error", None, "SystemExit"),
])
def test_sys_exit(own, argument, status, exit_code, error):
    for code in ("import sys\nprint('a')\nsys.exit(%s)\nprint('b')", "print('a')\nraise SystemExit(%s)"):
        result = check(own.result(code % argument, *ANY))
        assert result["stdout"] == "a\n" and "Traceback" not in result["stderr"], result
        assert result["status"] == status and exit_code in (None, result["exit_code"]), result
        assert (result["error_repr"] or "").startswith(error or "") and bool(result["error_repr"]) == bool(error), result
        assert result["stderr"] == (eval("str(%s)" % argument) + "\n" if argument in ("'bye'", "''", "(1, 2)", "1.5") else result["stderr"])


def test_sys_exit_can_be_caught_and_runs_cleanup(own):
    assert own.result("try:\n    raise SystemExit(3)\nexcept SystemExit as e:\n    x = e.code\nx")["last_value_repr"] == "3"
    result = own.result("try:\n    raise SystemExit(3)\nfinally:\n    print('clean')")
    assert (result["exit_code"], result["stdout"]) == (3, "clean\n")


def test_exit_handlers_and_threads(own):
    result = own.result("import atexit\natexit.register(print, 'at exit')\nprint('end')", *ANY)
    assert result["stdout"].startswith("end\n") and result["status"] == "ok"
    code = "import threading\nthreading.Thread(target=lambda: 1/0, name='t').start()\n[t.join() for t in threading.enumerate() if t.name == 't']\n5"
    result = check(own.result(code, *ANY))
    assert (result["status"], result["last_value_repr"]) == ("ok", "5") and "ZeroDivisionError" in result["stderr"]


# The last value

@pytest.mark.parametrize("code, value", [
    ("2 * 25", "50"), ("None", None), ("x = 1", None), ("", None), ("\n\n", None), ("# comment", None), ("pass", None), ("if 1:\n    5", None),
    ("5\nx = 1", None), ("1; 2; 3", "3"), ("5;", None), ("5 # five", "5"), ("5\n\n# end\n", "5"), ("(1,\n 2)", "(1, 2)"), ("print()", None),
    ("'doc'", "'doc'"), ("...", "Ellipsis"), ("(x := 3)", "3"), ("lambda: 0", None), ("[i for i in range(3)]", "[0, 1, 2]"),
    ("float('nan')", "nan"), ("True", "True"), ("'a\\nb'", "'a\\nb'"), ("'\\ud800'", "'\\ud800'"), ("b'\\xff'", "b'\\xff'"), ("_", "x"),
    ("for i in range(3):\n    i", None), ("def f():\n    return 1\nf()", "1"), ("from __future__ import annotations\n'x'", "'x'"),
    ("class N:\n    def __repr__(self): return 'a\\nb'\nN()", "a\nb"), ("class N:\n    def __repr__(self): return ''\nN()", ""),
    ("x = 1\r\nx\r\n", "1"), ("\ufeff7", "7"), ("(yield_ := 1)", "1"), ("None or 0", "0"),
])
def test_last_value(own, code, value):
    result = own.result(code)
    if code == "lambda: 0":
        assert result["last_value_repr"].startswith("<function <lambda>")
    elif code == "_":
        assert result["error"]["type"] == "NameError"
    else:
        check(result)
        assert (result["status"], result["last_value_repr"], result["last_value_truncated"]) == ("ok", value, False), result
    assert result["stdout"] in ("", "\n")


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 10])
@pytest.mark.parametrize("character", ["a", "é", "€", "😀"])
def test_last_value_is_cut_on_a_character(own, size, character):
    result = check(own.result("'%s' * 20" % character, "--max-value-bytes=%d" % size))
    whole = ("'" + character * 20 + "'").encode()
    assert result["last_value_repr"] == whole[:size].decode(errors="ignore") and result["last_value_truncated"]


def test_last_value_that_just_fits(own):
    assert own.result("'aé'", "--max-value-bytes=5")["last_value_repr"] == "'aé'"
    assert own.result("'aé'", "--max-value-bytes=5")["last_value_truncated"] is False
    result = own.result("'aé'", "--max-value-bytes=4")
    assert (result["last_value_repr"], result["last_value_truncated"]) == ("'aé", True)


@pytest.mark.parametrize("body, type_", [("raise ValueError('no repr')", "ValueError"), ("return 3", "TypeError"),
                                         ("return repr(self)", "RecursionError"), ("raise SystemExit(4)", "SystemExit"),
                                         ("raise KeyboardInterrupt", "KeyboardInterrupt")])
def test_a_repr_that_fails_is_the_scripts_error(own, body, type_):
    result = check(own.result("class R:\n    def __repr__(self): %s\nprint('before')\nR()" % body))
    assert result["status"] == "error" and result["error"]["type"] == type_ and result["stdout"] == "before\n"
    assert result["last_value_repr"] is None and result["exit_code"] == (4 if type_ == "SystemExit" else 1)


def test_a_repr_that_hangs_is_a_timeout_and_one_that_prints_prints(own):
    assert own.result("class R:\n    def __repr__(self):\n        while 1: pass\nR()", "--timeout=50ms")["status"] == "timeout"
    result = own.result("class R:\n    def __repr__(self):\n        print('p')\n        return 'r'\nR()")
    assert (result["stdout"], result["last_value_repr"]) == ("p\n", "r")


def test_last_value_switched_off(own):
    result = check(own.result("print(1)\n1 + 1", "--no-print-last-expression"))
    assert result["last_value_repr"] is None and result["stdout"] == "1\n"


# Streams

@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("character", ["a", "é", "€", "😀"])
def test_caps_cut_on_a_character(own, stream, size, character):
    result = check(own.result("import sys\nx = sys.%s.write('%s' * 9)" % (stream, character), *ANY, "--max-%s-bytes=%d" % (stream, size)))
    whole = (character * 9).encode()
    assert result[stream] == whole[:size].decode(errors="ignore") and result[stream + "_bytes"] == len(whole)
    assert result[stream + "_truncated"] is (size < len(whole))
    other = "stderr" if stream == "stdout" else "stdout"
    assert (result[other], result[other + "_truncated"], result[other + "_bytes"]) == ("", False, 0)


def test_output_that_just_fits_is_not_truncated(own):
    result = own.result("print('€' * 3, end='')", "--max-stdout-bytes=9")
    assert (result["stdout"], result["stdout_truncated"], result["stdout_bytes"]) == ("€€€", False, 9)


@pytest.mark.parametrize("literal, text", [
    (r"b'a\xffb'", "a\ufffdb"), (r"b'\xe2\x82'", "\ufffd"), (r"b'\xc3\xa9'", "é"), (r"b'a\x00b'", "a\0b"), (r"b'\xed\xa0\x80'", "\ufffd" * 3),
    (r"b'\xc0\xaf'", "\ufffd" * 2), (r"b'\xf5\x80'", "\ufffd" * 2), (r"b'\x80' * 3", "\ufffd" * 3), (r"b'\xf0\x9f\x98\x80'", "😀"),
])
def test_invalid_utf8_is_repaired_as_python_would(own, literal, text):
    for number, stream in ((1, "stdout"), (2, "stderr")):
        result = own.result("import os\nn = os.write(%d, %s)" % (number, literal), *ANY)
        assert eval(literal).decode(errors="replace") == text
        assert result[stream] == text and result[stream + "_bytes"] == len(eval(literal)) and not result[stream + "_truncated"]


def test_a_character_in_two_writes_is_one(own):
    assert own.result("import os\nos.write(1, b'\\xe2\\x82'); os.write(1, b'\\xac')\nNone", *ANY)["stdout"] == "€"


def test_an_unpaired_surrogate_does_not_break_the_stream(own):
    result = check(own.result("print('a')\nprint('\\ud800')\nprint('b')"))
    assert result["stdout"] == "a\n\\ud800\nb\n" and result["status"] == "ok"


def test_the_streams_are_apart_and_each_in_order(own):
    code = "import sys, os\nfor i in range(50):\n    print(i)\n    print(i, file=sys.stderr)\n    sys.stdout.flush()\n    os.write(1, b'x\\n')"
    result = check(own.result(code, *ANY))
    assert result["stdout"] == "".join("%d\nx\n" % i for i in range(50))
    assert result["stderr"] == "".join("%d\n" % i for i in range(50))


def test_the_traceback_comes_after_the_scripts_own_errors(own):
    result = check(own.result("import sys\nprint('first', file=sys.stderr)\n1/0", *ANY))
    assert result["stderr"].startswith("first\nTraceback") and result["error"]["traceback"] == result["stderr"][6:]


def test_output_without_newline_or_flush_is_kept(own):
    for end in ("", "\n1/0", "\nraise SystemExit(1)"):
        assert own.result("print('a', end='')" + end)["stdout"] == "a"
    assert own.result("print('a', end='')\nwhile 1: pass", "--timeout=50ms")["stdout"] == "a"


def test_truncated_stderr_leaves_the_error_whole(own):
    result = own.result("1/0", "--max-stderr-bytes=9")
    assert result["stderr"] == "Traceback" and result["stderr_truncated"] and result["stderr_bytes"] == len(result["error"]["traceback"].encode())
    assert result["error"]["traceback"].endswith("ZeroDivisionError: division by zero\n")


# Denials

@pytest.mark.parametrize("code, layer, what, line", [
    ("\nimport os", "imports", "import os", 2), ("x = 1\n\ndef f():\n    open('/etc/passwd')\nf()", "files", "/etc/passwd", 4),
    ("import socket\nsocket.socket()", "network", "socket", 2),
    ("import socket\nsocket.getaddrinfo('example.com', 80)", "network", None, 2),
])
def test_a_denial_says_what_where_and_what_instead(pyexec, code, layer, what, line):
    result = check(pyexec.result(code))
    denial = result["denials"][0]
    assert denial["layer"] == layer and denial["line"] == line and (what or "") in denial["what"] and len(denial["hint"]) > 20, denial
    assert result["denials_dropped"] == 0 and result["error"]["hint"]


@pytest.mark.parametrize("code", ["import subprocess\nsubprocess.run(['true'])", "import os\nos.fork()", "import os\nos.system('true')"])
def test_processes_are_denied(own, code):
    result = check(own.result(code, *ANY))
    assert result["status"] == "error" or "fork" not in code
    assert [d for d in result["denials"] if d["layer"] == "processes" and d["line"] == 2 and d["hint"]], result["denials"]


def test_a_system_call_outside_the_filter_is_named(pyexec):
    result = check(pyexec.result("import ctypes\nctypes.CDLL(None).ptrace(0, 0, 0, 0)", *ANY, "--files=full"))
    assert (result["status"], result["exit_code"]) == ("crashed", 159), result
    denial = result["denials"][-1]
    assert denial["layer"] == "syscall" and "ptrace" in denial["what"]


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 1000])
def test_at_most_100_denials_and_the_rest_counted(own, count):
    code = "for i in range(%d):\n    try:\n        import os\n    except ImportError:\n        pass" % count
    result = check(own.result(code))
    assert result["status"] == "ok" and len(result["denials"]) == min(count, 100) and result["denials_dropped"] == max(0, count - 100)


def test_denials_are_in_order_and_caught_ones_count(own):
    code = "".join("try:\n    import %s\nexcept ImportError: pass\n" % name for name in ("os", "csv", "numpy"))
    result = check(own.result(code))
    assert [(d["what"], d["line"]) for d in result["denials"]] == [("import os", 2), ("import csv", 5), ("import numpy", 8)]
    assert result["status"] == "ok" and result["error"] is None


@pytest.mark.parametrize("code", ["1/0", "nosuch", "import json\njson.loads('')", "import traceback\ntraceback.print_stack()", "raise SystemExit('x')",
                                  "x = 1\nx is 1", "help", "import datetime\ndatetime.datetime.now()", "print('é')", "input()"])
def test_ordinary_work_is_no_denial(own, code):
    assert check(own.result(code))["denials"] == []


# Usage

def test_usage_is_plausible(own):
    idle = check(own.result("import time\ntime.sleep(0.1)"))["usage"]
    assert 100 <= idle["wall_ms"] < 400 and idle["cpu_ms"] < 60
    busy = check(own.result("import time\nend = time.process_time() + 0.1\nwhile time.process_time() < end: pass"))["usage"]
    assert 95 <= busy["cpu_ms"] < 400 and busy["wall_ms"] >= busy["cpu_ms"] * 0.8
    large = check(own.result("x = bytearray(b'x') * (100 << 20)"))["usage"]
    assert 100 << 20 < large["peak_memory_bytes"] < 200 << 20 and idle["peak_memory_bytes"] < 40 << 20


def test_usage_of_a_run_that_was_killed(own):
    usage = check(own.result(STUBBORN, "--timeout=50ms"))["usage"]
    assert 500 <= usage["wall_ms"] < 1500 and usage["cpu_ms"] > 20


# Without --json

@pytest.mark.parametrize("code, out, error, exit_code", [
    ("print('a')", "a\n", "", 0), ("6 * 7", "42\n", "", 0), ("print('a')\n'b'", "a\n'b'\n", "", 0), ("None", "", "", 0), ("x = 1", "", "", 0),
    ("print('a', end='')", "a", "", 0), ("'é'", "'é'\n", "", 0),
    ("1/0", "", "Traceback (most recent call last):\n  File \"<cell>\", line 1, in <module>\n    1/0\n    ~^~\nZeroDivisionError: division by zero\n", 1),
    ("raise SystemExit(3)", "", "", 3), ("raise SystemExit", "", "", 0), ("raise SystemExit('bye')", "", "bye\n", 1),
    ("import sys\nprint('e', file=sys.stderr)", "", "e\n", 0), ("import sys\nx = sys.stdout.buffer.write(b'\\xff\\x00')", b"\xff\x00", "", 0),
])
def test_plain_output_and_exit_code(pyexec, code, out, error, exit_code):
    done = pyexec.run("run", *ANY, "-c", code)
    if isinstance(out, str):
        out = out.encode()
    stderr = re.sub(r"^ *[~^]+\n", "", done.stderr.decode(), flags=re.M)
    assert (done.stdout, done.returncode) == (out, exit_code), done
    assert stderr == re.sub(r"^ *[~^]+\n", "", error, flags=re.M)


@pytest.mark.parametrize("code, flags, exit_code", [
    ("while 1: pass", ["--timeout=50ms"], 124), ("x = bytearray(1 << 40)", [], 1), ("import ctypes\nctypes.string_at(0)", ANY, 139),
    ("import ctypes\nctypes.CDLL(None).ptrace(0, 0, 0, 0)", [*ANY, "--files=full"], 159), ("import os", [], 1), ("x = (", [], 1),
    ("1", ["--timeout=0s"], 125), ("1", ["--python-bin=/nonexistent"], 125), ("1", ["--nosuch"], 125),
])
def test_plain_exit_codes(own, code, flags, exit_code):
    done = own.run("run", *flags, "-c", code)
    assert done.returncode == exit_code and done.stderr and done.stdout == b""
    if exit_code == 125:
        assert done.stderr.startswith(b"pyexec: ") and b"\nhint: " in done.stderr and b"Traceback" not in done.stderr


def test_plain_code_from_a_file_and_from_standard_input(pyexec, open_folder):
    path = open_folder / "s.py"
    path.write_text("print(input())\n1 + 1")
    path.chmod(0o644)
    assert pyexec.run("run", str(path), input="from stdin\n").stdout == b"from stdin\n2\n"
    assert pyexec.run("run", "-", input="1 + 1").stdout == b"2\n"
    assert pyexec.run("run", input="1 + 1").stdout == b"2\n"


def test_plain_output_is_cut_at_the_cap_and_says_so(own):
    done = own.run("run", "--max-stdout-bytes=5", "-c", "print('1234567')")
    assert done.stdout.startswith(b"12345") and b"67" not in done.stdout and done.returncode == 0


def test_plain_errors_have_the_hint(own):
    done = own.run("run", "-c", "import os")
    assert b"ImportError: import 'os' not allowed" in done.stderr and b"Allowed modules" in done.stderr and b"hint:" not in done.stderr
    done = own.run("run", "-c", "value = 1\nvalu")
    assert done.stderr.count(b"Did you mean: 'value'?") == 1 and b"hint:" not in done.stderr
    done = own.run("run", "-c", "return 5")
    assert b"\nhint: A script can't return a value" in done.stderr


def test_no_colours_where_there_is_no_terminal(own):
    for arguments in (["run", "-c", "1/0"], ["policy"], ["policy", "--origin"], ["run", "--nosuch"]):
        done = own.run(*arguments)
        assert b"\x1b[" not in done.stdout + done.stderr


def test_host_errors_in_json_are_objects(pyexec):
    done = pyexec.run("run", "--json", "--timeout=0s", "-c", "1")
    assert done.returncode == 125 and set(json.loads(done.stdout)) == {"code", "message", "hint"}

"""One run: values, errors, results, limits. Through `pyexec run --json` as root and as a user."""
import json
import os
import re
import resource
import subprocess
import sys

import pytest

from conftest import PYTHON
from test_results import KEYS

ANY = ["--any-import"]


def test_main_job(pyexec, nothing_left):
    result = pyexec.result("a = 5\nb = 10\na * b")
    assert set(result) == set(KEYS)
    assert (result["status"], result["exit_code"], result["last_value_repr"]) == ("ok", 0, "50")
    assert result["error"] is None and result["error_repr"] is None
    assert result["missing_layers"] == [] and result["files"] == [] and result["denials"] == []
    assert 0 < result["usage"]["wall_ms"] < 5000 and 0 < result["usage"]["cpu_ms"] < 2000
    assert 1 << 20 < result["usage"]["peak_memory_bytes"] < 512 << 20


@pytest.mark.parametrize("code, value", [
    ("1 + 1", "2"), ("'a'", "'a'"), ("None", None), ("x = 1", None), ("", None), ("  ", None),
    ("# only a comment", None), ("def f(): pass", None), ("1; 2; 3", "3"), ("'\\ud800'", "'\\ud800'"),
    ("'grün'", "'grün'"), ("'''doc'''", "'doc'"), ("from __future__ import annotations\n__name__", "'__main__'"),
    ("class A:\n  pass\n[A.__module__]", "['__main__']"),
    ("import json\njson.dumps({'a': [1]})", "'{\"a\": [1]}'"),
])
def test_last_value(own, code, value):
    result = own.result(code)
    assert (result["status"], result["last_value_repr"]) == ("ok", value), result


def test_last_value_can_be_switched_off(own):
    assert own.result("1 + 1", "--no-print-last-expression")["last_value_repr"] is None


def test_last_value_is_cut_on_a_character(own):
    result = own.result("'ü' * 1000", "--max-value-bytes", "100")
    assert result["last_value_truncated"] and len(result["last_value_repr"].encode()) in (99, 100)
    assert set(result["last_value_repr"]) == {"'", "ü"}


@pytest.mark.parametrize("code, status, exit_code, error", [
    ("1 / 0", "error", 1, "ZeroDivisionError: division by zero"),
    ("import sys\nsys.exit(0)", "ok", 0, None),
    ("import sys\nsys.exit()", "ok", 0, None),
    ("import sys\nsys.exit(3)", "error", 3, "SystemExit: 3"),
    ("import sys\nsys.exit('bye')", "error", 1, "SystemExit: bye"),
    ("raise KeyboardInterrupt", "error", 1, "KeyboardInterrupt"),
    ("raise TimeoutError('mine')", "error", 1, "TimeoutError: mine"),
    ("class E(Exception): pass\nraise E('x')", "error", 1, "E: x"),
    ("raise BaseException", "error", 1, "BaseException"),
    ("assert 1 == 2, 'no'", "error", 1, "AssertionError: no"),
    ("x = (", "error", 1, "SyntaxError"),
    ("x = [0] * 10**10", "memory_limit", 1, "MemoryError"),
    ("try:\n    x = [0] * 10**10\nexcept MemoryError:\n    print('caught')", "ok", 0, None),
    ("class R:\n    def __repr__(self): raise ValueError('no repr')\nR()", "error", 1, "ValueError: no repr"),
    ("class S(Exception):\n    def __str__(self): raise ValueError\nraise S", "error", 1, "S"),
    ("import os\nos._exit(3)", "crashed", 3, "Crashed"),
    ("import ctypes\nctypes.string_at(0)", "crashed", 139, "Crashed: SIGSEGV"),
    ("import os\nos.abort()", "crashed", 139 if os.uname().machine == "x86_64" else 133, "Crashed: SIGABRT"),
])
def test_how_a_script_ends(own, code, status, exit_code, error):
    result = own.result(code, *ANY)
    assert (result["status"], result["exit_code"]) == (status, exit_code), result
    assert error is None and result["error_repr"] is None or result["error_repr"].startswith(error)
    if status in ("memory_limit", "crashed"):
        assert result["error"]["hint"]


def test_traceback_is_that_of_python(own):
    code = "def f(x):\n    return 1 / x\n\n\nf(0)\n"
    result = own.result(code)
    assert result["error"]["line"] == 2
    # 3.13 and later also mark f(0).
    lines = [line for line in result["error"]["traceback"].splitlines() if line.strip(" ~^")]
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[1] == '  File "<cell>", line 5, in <module>' and lines[2] == "    f(0)"
    assert lines[3] == '  File "<cell>", line 2, in f' and lines[-1] == result["error_repr"]
    assert result["stderr"] == result["error"]["traceback"]


def test_traceback_shows_only_the_scripts_frames_and_the_chain(own):
    code = "import json\ntry:\n    json.loads('{')\nexcept ValueError as e:\n    raise KeyError('k') from e"
    trace = own.result(code)["error"]["traceback"]
    assert "json/decoder" not in trace and "direct cause" in trace and trace.count("<cell>") == 2


@pytest.mark.parametrize("code, line", [("x = = 1\ny = 2", 1), ("a = 1\nb = 2\nif True", 3)])
def test_syntax_error_names_its_line(own, code, line):
    result = own.result(code)
    assert result["error"]["type"] == "SyntaxError" and result["error"]["line"] == line
    assert 'File "<cell>", line %d' % line in result["stderr"]


def test_output_is_kept_up_to_the_cap_and_counted(own):
    result = own.result("print('é' * 100)", "--max-stdout-bytes", "33")
    assert result["stdout"] == "é" * 16 and result["stdout_truncated"]
    assert result["stdout_bytes"] == 201 and not result["stderr_truncated"]


def test_output_that_is_not_utf8_is_repaired(own):
    result = own.result("import os\nos.write(1, b'a\\xffb\\xe2\\x82')\nNone", *ANY)
    assert result["stdout"] == "a\ufffdb\ufffd"


def test_200_megabytes_of_output_leave_the_host_flat(own):
    code = "for _ in range(200): print('x' * (1 << 20))"
    script = ("import resource, subprocess, sys, json\n"
              "out = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE).stdout\n"
              "r = json.loads(out)\n"
              "assert r['stdout_truncated'] and r['stdout_bytes'] == 200 * ((1 << 20) + 1), r['status']\n"
              "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n")
    done = subprocess.run([sys.executable, "-c", script, own.path, "run", "--json", "--python-bin",
                           PYTHON, "--cpu-time-seconds", "30", "--timeout", "60s", "-c", code],
                          stdout=subprocess.PIPE, check=True)
    assert int(done.stdout) < 100 << 10


def test_streams_pass_through_and_exit_code_without_json(pyexec):
    done = pyexec.run("run", "-c", "import sys\nprint('out')\nprint('err', file=sys.stderr)\nsys.exit(7)", *ANY)
    assert (done.returncode, done.stdout, done.stderr[:4]) == (7, b"out\n", b"err\n")
    done = pyexec.run("run", "-c", "40 + 2")
    assert (done.returncode, done.stdout) == (0, b"42\n")


def test_stdin_reaches_the_script(own):
    assert own.result("input(), input()", input="a\nb\n")["last_value_repr"] == "('a', 'b')"
    assert own.result("input()")["error_repr"].startswith("EOFError")
    big = "x" * 3_000_000
    assert own.result("import sys\nlen(sys.stdin.read())", *ANY, input=big)["last_value_repr"] == "3000000"


def test_environment_is_the_requests_and_nothing_of_the_hosts(own):
    code = "import os\nsorted(os.environ.items())"
    text = own.result(code, *ANY, "--env", "A=b", "--env", "C=",
                      env=dict(os.environ, SECRET="s3cret"))["last_value_repr"]
    assert "('A', 'b')" in text and "('C', '')" in text and "s3cret" not in text and "SECRET" not in text


# ---- limits ----

def test_wall_limit_raises_and_then_kills(own):
    result = own.result("import time\ntime.sleep(60)", "--timeout", "200ms")
    assert (result["status"], result["exit_code"]) == ("timeout", 124)
    assert result["error_repr"].startswith("TimeoutError: timeout") and "timeout_ms" in result["error"]["hint"]
    assert result["error"]["line"] == 2
    code = "import time\nwhile True:\n    try:\n        time.sleep(60)\n    except BaseException: pass"
    result = own.result(code, "--timeout", "200ms")
    assert (result["status"], result["exit_code"]) == ("timeout", 124)
    assert 650 < result["usage"]["wall_ms"] < 3000


def test_a_caught_timeout_is_still_a_timeout_and_cleanup_runs(own):
    code = ("import time\ntry:\n    time.sleep(60)\nexcept TimeoutError:\n    print('caught')\n"
            "finally:\n    print('cleaned up')\n1")
    result = own.result(code, "--timeout", "200ms")
    assert (result["status"], result["stdout"]) == ("timeout", "caught\ncleaned up\n")


@pytest.mark.parametrize("code", ["while True: pass", "sum(iter(int, 1))",
                                  "import re\nre.match('(a*)*b', 'a' * 40)"])
def test_cpu_limit(own, code):
    result = own.result(code, "--cpu-time-seconds", "1", "--timeout", "60s")
    assert result["status"] == "cpu_limit" and result["exit_code"] in (1, 137)
    assert result["error_repr"].startswith("TimeoutError: timeout") and result["error"]["hint"]
    assert 900 < result["usage"]["cpu_ms"] < 2500


def test_memory_limit_null_and_small(own):
    assert own.result("len('x' * (600 << 20))", "--address-space-bytes", "none")["status"] == "ok"
    assert own.error("1", "--address-space-bytes", "1M")["code"] == "invalid_policy"


def test_open_files_are_counted_exactly_and_imports_still_work(own):
    code = ("import os\nn = []\ntry:\n    while True: n.append(os.open('/dev/null', os.O_RDONLY))\n"
            "except OSError as e: print(e.errno)\nimport decimal, statistics, xml.dom.minidom\nlen(n)")
    for limit in (0, 1, 16):
        result = own.result(code, *ANY, "--files", "full", "--max-open-files", str(limit))
        assert (result["stdout"], result["last_value_repr"]) == ("24\n", str(limit)), result


def test_threads_are_bounded(pyexec):
    code = ("import threading\ne = threading.Event()\nn = 0\ntry:\n    while n < 100:\n"
            "        threading.Thread(target=e.wait, daemon=True).start(); n += 1\n"
            "except RuntimeError as x: print(x)\ne.set()\nn")
    for limit in (1, 16):
        result = pyexec.result(code, *ANY, "--max-threads", str(limit))
        assert result["last_value_repr"] == str(limit) and "can't start new thread" in result["stdout"]


def test_random_state_is_fresh_in_every_run(own):
    code = "import random, uuid, os, ssl\n(random.random(), uuid.uuid4().hex, os.urandom(8), ssl.RAND_bytes(8))"
    values = {own.result(code, *ANY)["last_value_repr"] for _ in range(10)}
    assert len(values) == 10


def test_denials_are_listed_with_lines_and_bounded(own):
    code = "for i in range(150):\n    try:\n        import os\n    except ImportError: pass"
    result = own.result(code)
    assert len(result["denials"]) == 100 and result["denials_dropped"] == 50
    first = result["denials"][0]
    assert (first["layer"], first["what"], first["line"]) == ("imports", "import os", 3) and first["hint"]


def test_two_runs_do_not_see_each_other(own):
    assert own.result("import json\njson.planted = 1")["status"] == "ok"
    assert own.result("import json\nhasattr(json, 'planted')")["last_value_repr"] == "False"


def test_help_has_the_exit_statuses_of_its_command_alone(own):
    statuses = {"run": "0 1 N 124 125 128+N 141", "repl": "0 N 125 141", "serve": "0 125 141", "doctor": "0 1 125 141"}
    for command, expected in statuses.items():
        text = own.run(command, "--help").stdout.decode().partition("\nExit status:\n")[2]
        found = [line.split()[0] for line in text.splitlines() if line[2:3] not in ("", " ")]
        assert found == expected.split(), (command, text)

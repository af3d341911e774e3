"""The default modules on every interpreter of this machine: what works in plain Python works in a run."""
import ast
import subprocess

import pytest

from test_interpreters import BUILDS
from test_modules import MODULES

PYTHONS = ["/usr/bin/python3", *BUILDS]


def name_of(python):
    return python.split("/")[-3] if "versions" in python else "debian"


def program():
    """Makes a script that tries each line separately, and whose last value names the lines that fail."""
    lines = ["failed = []"]
    for module, checks in MODULES.items():
        lines.append("import " + module)
        for check in checks:
            lines.append("try:\n    ok = bool(%s)\nexcept Exception as e:\n    ok = type(e).__name__\nif ok is not True: failed.append((%r, ok))"
                         % (check, check))
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("python", PYTHONS, ids=name_of)
def test_every_default_module_does_what_plain_python_does(own, python):
    plain = subprocess.run([python, "-I", "-S", "-c", program() + "print(failed)"], capture_output=True, text=True, check=True)
    result = own.result(program() + "failed", "--python-bin", python)
    assert result["status"] == "ok" and result["denials"] == [], result
    assert ast.literal_eval(result["last_value_repr"]) == ast.literal_eval(plain.stdout)


def test_every_default_module_works_as_each_user(pyexec, nothing_left):
    result = pyexec.result(program() + "failed")
    assert (result["status"], result["last_value_repr"], result["denials"]) == ("ok", "[]", []), result


@pytest.mark.parametrize("python", PYTHONS, ids=name_of)
@pytest.mark.parametrize("code, phrase, layer", [
    ("import os", "ImportError: import 'os' not allowed", "imports"), ("open('a')", "PermissionError: open() disabled", "files"),
    ("import socket\nsocket.create_connection(('127.0.0.1', 9))", "network disabled", "network"),
])
def test_refusals_have_their_phrases_on_every_interpreter(own, python, code, phrase, layer):
    result = own.result(code, "--python-bin", python)
    assert result["status"] == "error" and phrase in result["error_repr"] and result["error"]["hint"], result
    assert [d["layer"] for d in result["denials"]] == [layer] and result["denials"][0]["line"] == code.count("\n") + 1


@pytest.mark.parametrize("python", PYTHONS, ids=name_of)
def test_limits_and_errors_are_the_same_on_every_interpreter(own, python):
    flags = ["--python-bin", python]
    # In CPython 3.13.0, also without pyexec, a try around `while x: x += 1` does not catch an exception that a signal raises. So the
    # loop here is another one.
    result = own.result("try:\n    i = 0\n    while True: i += 1\nexcept TimeoutError:\n    print('caught')\nfinally:\n    print('clean')",
                        *flags, "--timeout", "150ms")
    assert (result["status"], result["exit_code"]) == ("timeout", 124) and result["stdout"].endswith("clean\n"), result
    result = own.result("x = [0] * 10**10", *flags)
    assert (result["status"], result["exit_code"]) == ("memory_limit", 1), result
    result = own.result("def f(n):\n    return 1 / n\n\nprint('é')\nf(0)", *flags)
    assert (result["error_repr"], result["error"]["line"], result["stdout"]) == ("ZeroDivisionError: division by zero", 2, "é\n"), result
    result = own.result("x = 1\ny = (", *flags)
    assert result["error"]["type"] == "SyntaxError" and result["error"]["line"] == 2, result
    result = own.result("raise SystemExit(7)", *flags)
    assert (result["status"], result["exit_code"], result["error_repr"]) == ("error", 7, "SystemExit: 7"), result
    result = own.result("import ctypes\nctypes.CDLL(None).ptrace(0, 0, 0, 0)", *flags, "--any-import")
    assert (result["status"], result["exit_code"]) == ("crashed", 159) and "ptrace" in result["denials"][-1]["what"], result
    assert result["denials"][-1]["line"] == 2, result
    result = own.result("open('f', 'w').write('x')\nopen('f').read()", *flags, "--files", "full")
    assert result["last_value_repr"] == "'x'" and [f["path"] for f in result["files"]] == ["f"], result

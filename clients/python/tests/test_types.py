"""The types of the package agree with the program, and are valid for Python 3.9 and later."""
import glob
import json
import os
import subprocess
import sys
import typing

import pytest
from conftest import PROGRAM, ROOT

import pyexec
from pyexec import DEFAULT_ALLOWED_IMPORTS, Display, Policy, PyexecError, RequestFields, Result, SessionConfig
from pyexec._remote import Answer, problem
from pyexec.errors import error_from
from pyexec.types import result_from


def effective():
    return json.loads(subprocess.run([PROGRAM, "policy"], capture_output=True, check=True).stdout)


def test_the_policys_keys_are_the_programs():
    assert set(effective()) == set(Policy.__annotations__)
    assert tuple(effective()["allowed_imports"]) == DEFAULT_ALLOWED_IMPORTS
    assert tuple(effective()["banned_imports"]) == pyexec.DEFAULT_BANNED_IMPORTS


def test_the_requests_fields_are_the_programs(rpc):
    with pytest.raises(PyexecError) as failure:
        rpc._transport.call("execute_once", {"nosuch": 1}).future.result()
    for name in ("code", "session_policy"):
        assert name in failure.value.hint
    known = failure.value.hint.partition("has ")[2].partition(";")[0].split(", ")
    # `silent`, `tools`, `key` and `packages` are of the fronts; the other two are settings of a client for all its calls.
    assert set(known) - {"code", "session_policy", "policy_defaults"} == set(RequestFields.__annotations__) - {"silent", "tools", "key", "packages"}
    with open(os.path.join(ROOT, "src", "policy", "session.def")) as file:
        assert all('"%s"' % key in text for text in [file.read()] for key in SessionConfig.__annotations__)


def test_every_key_of_a_result_is_a_field(rpc):
    raw = rpc.session().execute("1 / 0").raw
    assert set(raw) <= set(Result.__dataclass_fields__)
    shown = rpc.execute_once("display(1)").raw["display"][0]
    assert set(shown) == set(Display.__dataclass_fields__)
    for part, value in (("error", raw["error"]), ("usage", raw["usage"]), ("session", raw["session"])):
        assert set(value) <= set(getattr(result_from(raw), part).__dataclass_fields__), part


def test_fields_of_another_version_disturb_nothing():
    assert result_from({}).status == "" and result_from({}).error is None
    later = result_from({"status": "ok", "new": 1, "error": {"type": "E", "new": 2}, "usage": {"new": 1}, "display": [{"data": {"a": 1}, "x": 1}],
                         "files": [{"path": "p", "content": "odd", "content_base64": "AA=="}], "session": {"id": "s", "new": 1}})
    assert later.error.type == "E" and later.display[0].data == {"a": 1} and later.files[0].content == b"\0" and later.raw["new"] == 1
    assert type(error_from({"code": "next_years"})) is PyexecError and error_from({"code": "next_years"}).code == "next_years"


def test_an_error_says_when_to_try_again():
    assert error_from({"code": "overloaded", "message": "m", "retry_after_ms": 1500}).retry_after == 1.5
    assert isinstance(error_from({"code": "overloaded"}, 2.0), pyexec.OverloadedError)


def test_only_an_answer_of_pyexec_says_when_to_try_again():
    """The code may run behind a proxy, and `retry_after` says that it never started."""
    headers, ours = {"Retry-After": "3"}, b'{"status": 503, "code": "overloaded", "title": "full", "hint": ""}'
    assert problem(Answer(503, headers, ours)).retry_after == 3
    for body in (b"<h1>Service Unavailable</h1>", b'{"error": "rate limit"}', b'{"code": 503}', b"[]", b""):
        error = problem(Answer(503, headers, body))
        assert (error.code, error.retry_after) == ("internal", None) and str(error).startswith("HTTP 503: "), error


def test_mypy_is_content_with_all_of_it(tmp_path):
    use = tmp_path / "use.py"
    use.write_text("from pyexec import Pyexec, Policy\npolicy: Policy = {'timeout_ms': 1}\n"
                   "reveal_type(Pyexec(policy=policy).execute_once('1', timeout_ms=5))\nPyexec().execute_once('1', nosuch=1)\n")
    run = [sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path / "cache")]
    done = subprocess.run([*run, "--config-file", ROOT + "/clients/python/pyproject.toml"], cwd=ROOT + "/clients/python", capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    done = subprocess.run([*run, "--strict", str(use)], cwd=tmp_path, capture_output=True, text=True)
    assert 'Revealed type is "pyexec.types.Result"' in done.stdout and "nosuch" in done.stdout, done.stdout


OTHERS = sorted(path for path in glob.glob(os.path.expanduser("~/.pyenv/versions/3.*/bin/python3"))
                if int(path.split("/versions/3.")[1].split(".")[0]) >= 9)


@pytest.mark.skipif(not OTHERS, reason="no other interpreters (pyenv builds)")
@pytest.mark.parametrize("interpreter", OTHERS)
def test_other_interpreters(interpreter):
    """The core needs only the standard library."""
    code = """
import asyncio
from pyexec import AsyncPyexec, Pyexec
with Pyexec() as px:
    print(px.execute_once("6 * 7").last_value_repr, [type(event).__name__ for event in px.stream("print(1)")])
async def main():
    async with AsyncPyexec() as px:
        print((await px.execute_once("1 + 1")).last_value_repr)
asyncio.run(main())
"""
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(pyexec.__file__)), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([interpreter, "-S", "-c", code], env={**environment, "PYTHONPATH": ROOT + "/clients/python/src"}, capture_output=True,
                          text=True, timeout=60)
    assert done.stdout == "42 ['Output', 'Result']\n2\n", done.stderr


def test_the_public_names_are_there():
    assert all(hasattr(pyexec, name) for name in pyexec.__all__) and typing.get_type_hints(Result)


def test_an_explanation_has_no_error_twice(rpc):
    for code, error in (("x ==== 1", "invalid syntax"), ("1 / 0", "division by zero"), ("raise KeyError('k')", "KeyError: 'k'"),
                        ("raise ValueError('a\\nsecond')", "ValueError: a")):
        assert rpc.execute_once(code).explain().count(error) == 1, code
    assert result_from({"status": "error", "error_repr": "E: m"}).explain() == "E: m"


def test_an_explanation_tells_of_displays(rpc):
    shown = rpc.execute_once("class Rich:\n    def __repr__(self): return 'plain'\n    def _repr_html_(self): return '<b>'\n"
                             "display('first')\ndisplay(Rich())\nRich()").explain()
    assert shown.splitlines() == ["plain", "'first'", "plain", "[display: text/html]", "[display: text/html]"]
    many = result_from({"status": "ok", "display": [{"data": {"image/png": "AA=="}}] * 60, "display_dropped": 3}).explain()
    assert many.count("[display: image/png]") == 50 and "[10 more displays" in many and "[3 displays beyond" in many


@pytest.mark.parametrize("letter", ["a", "å", "€", "🐍", "\ud800"])
@pytest.mark.parametrize("shift", range(4))
def test_an_explanation_is_bounded_between_characters(letter, shift):
    printed = "x" * shift + letter * 100_000
    text = result_from({"status": "error", "stdout": printed, "error_repr": "E: the end"}).explain()
    head, left_out, tail = text.split("\n[... ")[0], int(text.split("\n[... ")[1].split()[0]), text.split(" ...]\n")[1]
    sizes = [len(part.encode("utf-8", "surrogatepass")) for part in (printed + "\nE: the end", head, tail)]
    assert printed.startswith(head) and tail.endswith(letter + "\nE: the end") and set(tail[:-11]) == {letter}
    assert sizes[1] + left_out + sizes[2] == sizes[0] and 19_990 < sizes[1] + sizes[2] <= 20_000
    whole = result_from({"status": "ok", "stdout": "a" * 20_000}).explain()
    assert whole == "a" * 20_000

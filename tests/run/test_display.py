"""Rich display: display(), representations, limits, hostile objects, and each way out. Libraries: test_display_libraries.py."""
import base64
import json
import os
import time

import pytest

from json_lines import JsonLines
from library import Executor
from serving import events, serving
from test_interpreters import BUILDS

PNG = b"\x89PNG\r\n\x1a\n0000"
RICH = '''
class Rich:
    def __repr__(self): return "<Rich>"
    def _repr_html_(self): return "<b>h\u00e9</b>"
    def _repr_markdown_(self): return "**m**"
    def _repr_svg_(self): return "<svg/>"
    def _repr_png_(self): return %r
    def _repr_jpeg_(self): return b"jpeg"
    def _repr_latex_(self): return "$x$"
    def _repr_json_(self): return {"a": [1, 2.5, None], "n": 2 ** 70}
''' % PNG


def klass(name, **methods):
    """Source of a class whose methods return or do what is given as source."""
    lines = ["    def %s(self, **k):\n        %s" % (method, body) for method, body in methods.items()]
    return "class %s:\n%s\n" % (name, "\n".join(lines))


def shown(result):
    return [display["data"] for display in result["display"]]


# What is displayed

def test_all_forms_of_an_object(pyexec, nothing_left):
    result = pyexec.result(RICH + "display(Rich())")
    assert result["status"] == "ok" and result["last_value_repr"] is None and result["stderr"] == "", result
    assert result["display"] == [{"metadata": {}, "last_value": False, "data": {
        "text/html": "<b>h\u00e9</b>", "text/markdown": "**m**", "image/svg+xml": "<svg/>",
        "image/png": base64.b64encode(PNG).decode(), "text/latex": "$x$", "text/plain": "<Rich>",
        "application/json": {"a": [1, 2.5, None], "n": str(2 ** 70)}}}]


def test_a_last_value_with_a_rich_form_is_displayed_too(own):
    result = own.result(RICH + "Rich()")
    assert result["last_value_repr"] == "<Rich>" and [d["last_value"] for d in result["display"]] == [True]
    assert shown(result)[0]["text/plain"] == "<Rich>" and "image/png" in shown(result)[0]


@pytest.mark.parametrize("value", ["5", "'a'", "[1]", "{'a': 1}", "range(3)", "int", "object()", "len", "A()", "B()", "Mock()", "Rich",
                                   "lambda: 1", "(x for x in [])", "E()"])
def test_a_last_value_with_a_repr_only_is_not(own, value):
    code = (klass("A", __repr__="return 'A!'") + "class B: pass\n" + RICH + klass("E", _repr_html_="return None") +
            "class Mock:\n    def __getattr__(self, name): return lambda *a, **k: 'anything'\n    def __repr__(self): return 'M'\n")
    result = own.result(code + value)
    assert result["status"] == "ok" and result["last_value_repr"] and result["display"] == [] and result["stderr"] == "", result


def test_display_takes_several_and_any_object(own):
    result = own.result("print(display(1, 'a', None, [2]))\ndisplay()\nNone")
    assert [data["text/plain"] for data in shown(result)] == ["1", "'a'", "None", "[2]"] and result["stdout"] == "None\n"


def test_mimebundle_metadata_include_exclude_and_raw(own):
    code = klass("A", _repr_mimebundle_="return {'text/html': 'h', 'application/vnd.x+json': {'a': (1, 2)}, 'application/x-bytes': b'\\0'}, "
                                        "{'text/html': {'w': 1}}", __repr__="return 'A'")
    code += "display(A(), metadata={'m': 2})\ndisplay(A(), include=['text/html'])\ndisplay(A(), exclude={'text/html', 'text/plain'})\n"
    code += "display({'text/markdown': '*x*'}, raw=True, display_id='i', clear=True)"
    result = own.result(code)
    assert [d["metadata"] for d in result["display"]] == [{"text/html": {"w": 1}, "m": 2}, {"text/html": {"w": 1}}, {"text/html": {"w": 1}}, {}]
    whole = {"text/html": "h", "application/vnd.x+json": {"a": [1, 2]}, "application/x-bytes": "AA==", "text/plain": "A"}
    assert shown(result) == [whole, {"text/html": "h"}, {name: whole[name] for name in list(whole)[1:3]}, {"text/markdown": "*x*"}]


def test_methods_of_the_instance_and_data_with_metadata(own):
    result = own.result("class A: pass\na = A()\na._repr_html_ = lambda: ('h', {'isolated': True})\na")
    assert shown(result)[0]["text/html"] == "h" and result["display"][0]["metadata"] == {"text/html": {"isolated": True}}


def test_image_data_may_be_base64_already(own):
    code = klass("A", _repr_png_="return 'iVBORw=='") + klass("B", _repr_png_="return 'no base64!'") + "display(A(), B())"
    result = own.result(code)
    assert shown(result)[0]["image/png"] == "iVBORw==" and "image/png" not in shown(result)[1] and "image/png" in result["stderr"]


def test_an_exception_in_one_form_loses_no_other(own):
    code = klass("A", _repr_svg_="raise ValueError('no svg')", _repr_html_="return 'h'", _repr_latex_="raise NotImplementedError",
                 _repr_json_="return object()", _repr_png_="return 5", __repr__="return 'A'") + "A()"
    result = own.result(code)
    assert result["status"] == "ok" and result["last_value_repr"] == "A" and shown(result) == [{"text/html": "h", "text/plain": "A"}]
    assert "_repr_svg_ of A" in result["stderr"] and "ValueError: no svg" in result["stderr"] and "line 3, in _repr_svg_" in result["stderr"]
    assert "NotImplementedError" not in result["stderr"] and "application/json" in result["stderr"] and "pyexec>" not in result["stderr"]


def test_a_repr_that_raises(own):
    result = own.result(klass("A", __repr__="1 / 0", _repr_html_="return 'h'") + "display(A())\ndisplay(5)")
    assert shown(result) == [{"text/html": "h"}, {"text/plain": "5"}] and "ZeroDivisionError" in result["stderr"]
    result = own.result(klass("A", __repr__="1 / 0", _repr_html_="return 'h'") + "A()")
    assert result["error"]["type"] == "ZeroDivisionError" and result["display"] == []


def test_getattr_that_raises_is_nobodys_news(own):
    result = own.result("class A:\n    def __getattr__(self, name): return {}[name]\n    def __repr__(self): return 'A'\nA()")
    assert result["last_value_repr"] == "A" and result["display"] == [] and result["stderr"] == ""


def test_display_stays_what_it_is(own):
    """Changes that a script makes to its own names do not stop the next display."""
    code = "import json\njson.loads = json.dumps = None\nimport builtins\nfor n in ('repr', 'isinstance', 'getattr', 'str', 'type'): setattr(builtins, n, None)\n"
    result = own.result(code + RICH + "display(Rich())", "--any-import")
    assert result["status"] == "ok" and "application/json" in shown(result)[0], result


@pytest.mark.skipif(not BUILDS, reason="no pyenv builds of 3.8 or later")
@pytest.mark.parametrize("python", BUILDS, ids=lambda path: str(path).split("/")[-3:][0])
def test_every_interpreter(own, python):
    result = own.result(RICH + "display(Rich(), n)\n[Rich, n][1:]", "--python-bin", str(python), "--input", "n=0.1", "--value-json", "split")
    assert result["status"] == "ok" and result["stderr"] == "" and result["last_value_json"] == [0.1], result
    assert len(shown(result)[0]) == 7 and shown(result)[1] == {"text/plain": "0.1"}


# Order, streams, ways out

def test_displays_stream_in_order_of_the_output(own, nothing_left):
    with JsonLines(own, "rpc") as client:
        client.ask("initialize", protocol=1, policy={"python_bin": "/usr/bin/python3"})
        number = client.send("execute_once", stream=True, code="import time\nfor i in range(3):\n    print('before', i)\n    display(i)\n    time.sleep(0.05)")
        result = client.wait(number)["result"]
        notes = [note for note in client.held if note.get("method") in ("output", "display")]
    assert [note["params"]["seq"] for note in notes] == list(range(6))
    assert [note["method"] for note in notes] == ["output", "display"] * 3
    assert [note["params"]["display"] for note in notes if note["method"] == "display"] == result["display"]
    assert notes[1]["params"] == {"request": number, "seq": 1, "display": {"data": {"text/plain": "0"}, "metadata": {}, "last_value": False}}


def test_http_has_them_in_the_result_and_as_events(own, nothing_left):
    with serving(own) as server:
        assert shown(server.result("display(5)")) == [{"text/plain": "5"}]
        connection = server.connection()
        connection.request("POST", "/v1/execute", json.dumps({"code": "print('a')\ndisplay(5)"}), {"Accept": "text/event-stream"})
        names = [(name, data) for name, data in events(connection.getresponse()) if name != "result"]
        connection.close()
    assert names == [("stdout", {"seq": 0, "text": "a\n"}), ("display", {"data": {"text/plain": "5"}, "metadata": {}, "last_value": False})]


def test_mcp_shows_images_and_the_last_value_once(own):
    with JsonLines(own, "mcp", "--python-bin", "/usr/bin/python3") as client:
        client.ask("initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo={"name": "t", "version": "1"})
        answer = client.ask("tools/call", name="run_python", arguments={"code": RICH + "display(Rich(), 5)"})["result"]
        assert [block.get("data", block.get("text")) for block in answer["content"]] == ["(no output)", base64.b64encode(PNG).decode(), "5"]
        assert len(answer["structuredContent"]["display"]) == 2
        answer = client.ask("tools/call", name="run_python", arguments={"code": klass("A", _repr_html_="return 'h'", __repr__="return 'A'") + "A()"})["result"]
        assert [block["text"] for block in answer["content"]] == ["A"]


def test_terminal_programs_print_the_text(own):
    code = klass("A", _repr_html_="return 'h'", __repr__="return 'A'")
    assert own.run("run", "-c", code + "print(1)\ndisplay(A(), 2)\nA()").stdout == b"1\nA\n2\nA\n"
    assert own.run("repl", input=code + "\ndisplay(A())\nA()\n").stdout.split() == [b"A", b"A"]


def test_save_display_of_types_with_one_ending(own, open_folder):
    os.chmod(open_folder, 0o777)
    types = ["application/x-a", "application/x.a", "x/png", "image/png", "y/x-a", "y/a"]
    code = "display({mime: mime.encode() for mime in %r}, raw=True)\ndisplay(1)" % types
    done = own.run("run", "--save-display", str(open_folder / "out"), "-c", code)
    assert done.returncode == 0, done.stderr
    assert {path.name: path.read_text() for path in (open_folder / "out").iterdir()} == {
        "display-1.x.a": types[0], "display-1-2.x.a": types[1], "display-1.png": types[2], "display-1-2.png": types[3],
        "display-1-3.x.a": types[4], "display-1.a": types[5], "display-2.txt": "1"}


def test_save_display(pyexec, open_folder):
    os.chmod(open_folder, 0o777)
    folder = str(open_folder / "out")
    done = pyexec.run("run", "--save-display", folder, "-c", RICH + "display(Rich(), 5)\ndisplay({'application/x-a': b'b'}, raw=True)")
    assert done.returncode == 0, done.stderr
    found = {name: (open_folder / "out" / name).read_bytes() for name in os.listdir(folder)}
    assert set(found) == {"display-1." + end for end in ("html", "md", "svg", "png", "tex", "json")} | {"display-2.txt", "display-3.x.a"}
    assert found["display-1.png"] == PNG and found["display-2.txt"] == b"5" and json.loads(found["display-1.json"])["a"] == [1, 2.5, None]
    again = pyexec.run("run", "--save-display", folder, "-c", "display(5)\ndisplay(6)")
    assert again.returncode == 125 and b"No file is overwritten" in again.stderr
    link = open_folder / "link"
    link.mkdir()
    os.chmod(link, 0o777)
    os.symlink(open_folder / "target", link / "display-1.txt")
    assert pyexec.run("run", "--json", "--save-display", str(link), "-c", "display(5)").returncode == 125
    assert not (open_folder / "target").exists()


def test_a_c_program_gets_each(compile_host):
    import subprocess
    done = subprocess.run([compile_host("capi_display.c"), "/usr/bin/python3"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done


# Sessions

def test_sessions_display_and_go_on(nothing_left):
    with Executor() as executor:
        assert shown(executor.call("s", RICH + "display(Rich())"))[0]["text/plain"] == "<Rich>"
        assert executor.call("s", "1")["display"] == []
        assert [d["last_value"] for d in executor.call("s", "Rich()")["display"]] == [True]
        result = executor.call("s", "display(1)\ndisplay(2)", policy={"max_displays": 1})
        assert shown(result) == [{"text/plain": "1"}] and result["display_dropped"] == 1
        assert executor.call("s", "display(1)\ndisplay(2)")["display_dropped"] == 0


def test_a_thread_between_calls_displays_nothing(nothing_left):
    code = "import threading, time\ndef show():\n    while True:\n        display('x' * 50000)\n        time.sleep(0.001)\nthreading.Thread(target=show, daemon=True).start()"
    with Executor({"use_import_whitelist": False, "banned_imports": [], "timeout_ms": 20000, "cpu_time_seconds": None}) as executor:
        executor.call("s", code)
        for n in range(20):
            time.sleep(0.02)
            assert executor.call("s", "time.sleep(0.005)\n%d" % n)["last_value_repr"] == str(n)


# Bounds

def test_no_more_than_the_number_allowed(own):
    result = own.result("for i in range(5): display(i)\n'end'", "--max-displays", "3")
    assert [data["text/plain"] for data in shown(result)] == ["0", "1", "2"] and result["display_dropped"] == 2
    assert result["stderr"].count("max_displays=3") == 1 and result["last_value_repr"] == "'end'"
    assert own.result("for i in range(101): display(i)")["display_dropped"] == 1


def test_no_more_than_the_bytes_allowed(own):
    result = own.result("display('x' * 600)\ndisplay('y' * 600)\ndisplay('z')", "--max-display-bytes", "1000")
    assert [data["text/plain"][1] for data in shown(result)] == ["x", "z"] and result["display_dropped"] == 1
    assert "max_display_bytes=1000" in result["stderr"]
    # Binary data counts with the length of its base64.
    code = klass("A", _repr_png_="return b'p' * 75", __repr__="return ''") + "display(A())"
    assert own.result(code, "--max-display-bytes", "100")["display_dropped"] == 0
    assert own.result(code, "--max-display-bytes", "99")["display_dropped"] == 1
    assert own.result("display(5)", "--max-displays", "0")["display_dropped"] == 1


def test_eight_mebibytes_pass_and_more_does_not(own):
    code = klass("A", _repr_html_="return 'h' * %d", __repr__="return ''") + "display(A())"
    result = own.result(code % (8 << 20))
    assert len(shown(result)[0]["text/html"]) == 8 << 20
    assert own.result(code % ((8 << 20) + 1))["display_dropped"] == 1


def test_many_forms_of_many_displays(own):
    code = "for i in range(1000): display({'text/x-%d' % j: 'a' for j in range(32)}, raw=True)"
    result = own.result(code, "--max-displays", "1000", "--timeout", "30s", "--cpu-time-seconds", "30")
    assert result["status"] == "ok" and len(result["display"]) == 1000 and result["display_dropped"] == 0
    assert own.result("display({'text/x-%d' % j: 'a' for j in range(33)}, raw=True)")["display_dropped"] == 1


@pytest.mark.parametrize("mime", ["text", "text/a b", "Text/Plain", "", "a/b/c", "text/\n", "x" * 200 + "/y", 5])
def test_names_that_are_no_types(own, mime):
    result = own.result("display({%r: 'a', 'text/plain': 'b'}, raw=True)" % (mime,))
    assert shown(result) == [{"text/plain": "b"}] and "no MIME type" in result["stderr"], result


@pytest.mark.parametrize("value", ["float('nan')", "[1, object()]", "'\\ud800'", "{1: 2, '1': 3}", "10 ** 400", "deep"])
def test_json_that_is_none_never_breaks_the_run(own, value):
    code = "deep = []\nfor i in range(150): deep = [deep]\n" + klass("A", _repr_json_="return %s" % value, __repr__="return 'A'")
    result = own.result(code + "display(A())\n'end'")
    assert result["status"] == "ok" and result["last_value_repr"] == "'end'" and len(result["display"]) + result["display_dropped"] == 1, result


# Hostile objects end in the same way as other code

@pytest.mark.parametrize("how", ["display(A())", "A()"])
@pytest.mark.parametrize("body, flags, status", [
    ("while True: pass", ["--timeout", "300ms"], "timeout"),
    ("while True: pass", ["--cpu-time-seconds", "1", "--timeout", "60s"], "cpu_limit"),
    ("return 'x' * (1 << 40)", [], "memory_limit"),
    ("raise SystemExit(3)", [], "error"),
    ("raise KeyboardInterrupt", [], "error"),
    ("import os; os._exit(7)", ["--any-import"], "crashed"),
    ("import os; os.fork()", ["--any-import"], "ok"),
    ("return self._repr_html_()", [], "ok"),
])
def test_hostile_representations(pyexec, how, body, flags, status, nothing_left):
    result = pyexec.result(klass("A", _repr_html_=body, __repr__="return 'A'") + how, *flags)
    assert result["status"] == status, result
    if status == "ok":
        assert result["display"] == ([] if how == "A()" else [{"data": {"text/plain": "A"}, "metadata": {}, "last_value": False}])
        assert "_repr_html_ of A" in result["stderr"]


def test_a_session_survives_an_endless_representation(nothing_left):
    with Executor() as executor:
        executor.call("s", klass("A", _repr_html_="while True: pass") + "x = 5")
        assert executor.call("s", "A()", timeout_ms=300)["status"] == "timeout"
        assert executor.call("s", "x")["last_value_repr"] == "5"


@pytest.mark.parametrize("text", ["'\\x00'", "'a\\u2028\\ud800'", "'\\x1b[31m'", "'</script>'"])
def test_text_of_any_characters(own, text):
    result = own.result(klass("A", _repr_html_="return " + text) + "A()")
    assert shown(result)[0]["text/html"] == eval(text).encode("utf-8", "backslashreplace").decode()


# The traceback's length

@pytest.mark.parametrize("code", [
    "def f(n): return f(n + 1)\nf(0)",
    "def f(n):\n    return g(n)\ndef g(n):\n    return f(n + 1)\nf(0)",
    "class A:\n    def __getattr__(self, name): return getattr(self, name + 'x')\nA().b",
])
def test_a_recursion_error_is_short(own, code):
    result = own.result(code)
    assert result["error"]["type"] == "RecursionError"
    traceback = result["error"]["traceback"]
    assert len(traceback.encode()) <= 16 << 10 and traceback.startswith("Traceback") and "RecursionError: " in traceback.splitlines()[-1]
    assert "repeated" in traceback or "[...]" in traceback, traceback

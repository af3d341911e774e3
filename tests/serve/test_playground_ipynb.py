# SPDX-License-Identifier: Apache-2.0
"""Notebook files of the playground: files that it saves are valid for Jupyter's own package, and files that it loads are shown or refused."""
import json
import os
import subprocess

import pytest

from conftest import ROOT
from environments import kept
from playground import browser, nothing_left, page, server       # noqa: F401 (fixtures)
from waiting import wait_until

pytestmark = pytest.mark.usefixtures("nothing_left")
VALIDATE = """
import json, nbformat, sys
with open(sys.argv[1]) as file:
    notebook = json.load(file)
assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5), notebook
nbformat.validate(notebook, version=4, version_minor=5)
print("valid with nbformat", nbformat.__version__)
"""
SVG = '<svg xmlns="http://www.w3.org/2000/svg" width="30" height="20"/>'
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAEElEQVR4nGP4z8AARAwQCgAf7gP9i18U1AAAAABJRU5ErkJggg=="
CELLS = [
    ("import sys\nprint('printed')\nprint('told ä €', file=sys.stderr)", "ok"),
    ("display({'text/html': '<table><tr><td>a cell</table>', 'text/plain': 'T'}, raw=True)\n{'a': 1}", "ok"),
    ("display({'image/svg+xml': %r, 'text/plain': 'drawn'}, raw=True)\ndisplay({'image/png': %r}, raw=True)" % (SVG, PNG), "ok"),
    ("display({'application/json': {'a': [1]}, 'text/x-odd': 'odd', 'text/plain': 'j'}, raw=True)", "ok"),
    ("class T:\n    def _repr_html_(self): return '<p>value</p>'\nT()", "ok"),
    ("import requests", "bad"),
    ("print('before')\n1 / 0", "bad"),
    ("print('x' * 1_500_000)", "ok"),
]


@pytest.fixture(scope="module")
def python():
    """Returns the Python of an environment with nbformat."""
    return kept("playground-venv", ROOT + "/tests/serve/requirements.txt")


def saved(page, name="notebook.ipynb"):
    """Waits until the file is complete, and returns its path and content."""
    path = os.path.join(page.browser.downloads, name)
    if os.path.exists(path):
        os.remove(path)
    page.click("Save as a notebook file")

    def whole():
        try:
            with open(path) as file:
                return json.load(file)
        except (OSError, ValueError):
            return None
    return path, wait_until(whole, "nothing is saved")


def load(page, path, said="is loaded"):
    page.find("#notebook-file").send_keys(str(path))
    # The notice may still say why the file was refused before.
    wait_until(lambda: page.value("document.querySelector('#confirm') !== null") or
               (os.path.basename(path) in page.text(".notice") and said in page.text(".notice")), "nothing is loaded")
    if page.value("document.querySelector('#confirm') !== null"):
        page.find("#confirm").click()
    wait_until(lambda: said in page.text(".notice"), "it is not said: " + page.text(".notice"))
    return page.text(".notice")


def notebook(*cells, **more):
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": list(cells), **more}


def cell(source="1", outputs=(), **more):
    return {"cell_type": "code", "id": "a", "metadata": {}, "execution_count": 7, "source": source, "outputs": list(outputs), **more}


def shows(data, kind="display_data"):
    return {"output_type": kind, "metadata": {}, "data": data, **({"execution_count": 1} if kind == "execute_result" else {})}


def test_what_is_saved_is_valid_and_has_every_output(page, python):
    for code, state in CELLS:
        page.run(code, state)
    path, file = saved(page)
    done = subprocess.run([python, "-c", VALIDATE, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    print(done.stdout)
    cells = file["cells"][1:]
    assert ["".join(one["source"]) for one in cells] == [code for code, _ in CELLS]
    assert [one["execution_count"] for one in cells] == list(range(1, len(CELLS) + 1))
    outputs = [one["outputs"] for one in cells]
    assert [(one["name"], "".join(one["text"])) for one in outputs[0]] == [("stdout", "printed\n"), ("stderr", "told ä €\n")]
    assert "".join(outputs[1][0]["data"]["text/html"]) == "<table><tr><td>a cell</table>"
    assert (outputs[1][1]["output_type"], outputs[1][1]["data"], outputs[1][1]["execution_count"]) == ("execute_result", {"text/plain": ["{'a': 1}"]}, 2)
    assert "".join(outputs[2][0]["data"]["image/svg+xml"]) == SVG and "".join(outputs[2][1]["data"]["image/png"]) == PNG
    assert outputs[3][0]["data"]["application/json"] == {"a": [1]}
    assert [one["output_type"] for one in outputs[4]] == ["execute_result"]
    assert outputs[5][-1]["ename"] == "ImportError" and "Allowed modules" in "\n".join(outputs[5][-1]["traceback"])
    # The traceback appears only as the error, and not on standard error too.
    assert [one["output_type"] for one in outputs[6]] == ["stream", "error"] and outputs[6][1]["ename"] == "ZeroDivisionError"
    assert "dropped" in "".join(outputs[7][-1]["text"])
    assert len({one["id"] for one in file["cells"]}) == len(file["cells"])


def test_a_saved_file_is_loaded_again_and_saved_the_same(page, python):
    for code, state in CELLS[:3] + CELLS[4:7]:
        page.run(code, state)
    path, first = saved(page)
    texts = [page.value("document.querySelectorAll('.cell')[args[0]].querySelectorAll('pre, iframe, img').length", index) for index in range(page.count())]
    page.restart()
    wait_until(lambda: page.text(".output").strip() == "", "the outputs stay")
    load(page, path)
    assert page.count() == len(first["cells"])
    assert [page.value("document.querySelectorAll('.cell')[args[0]].querySelectorAll('pre, iframe, img').length", index)
            for index in range(page.count())] == texts
    page.reload()
    assert "ZeroDivisionError" in page.text(".output") and page.find("iframe").is_displayed()
    second = saved(page)[1]
    for one in first["cells"] + second["cells"]:
        one["execution_count"] = None                # from another session: this cell did not run in the present one
        for output in one["outputs"]:
            output.pop("execution_count", None)
            output.get("data", {}).pop("application/json", None)
    assert second == first
    # The code in it can run.
    assert "42" in page.run("6 * 7")


def test_notebooks_of_jupyter_are_loaded(page, tmp_path):
    path = tmp_path / "made elsewhere.ipynb"
    path.write_text(json.dumps({**notebook(
        {"cell_type": "markdown", "metadata": {}, "source": ["# Title\n", "\n", "text"]}, {"cell_type": "raw", "metadata": {}, "source": "raw"},
        cell(["x = 1\n", "x"], [{"output_type": "stream", "name": "stdout", "text": ["a\n", "b\n"]},
                               {"output_type": "error", "ename": "E", "evalue": "v", "traceback": ["\x1b[0;31mE\x1b[0m: v"]},
                               shows({"application/vnd.plotly.v1+json": {}, "text/html": ["<p>", "html</p>"]}),
                               shows({"application/javascript": "alert(1)"}), shows({"text/plain": "plain"}, "execute_result")])), "nbformat_minor": 2}))
    said = load(page, path)
    assert "comments here: 2" in said and "does not load: 1" in said
    assert page.count() == 3 and "# # Title\n#\n# text" in page.text(".cm-content")
    shown = page.output(2)
    assert "a\nb" in shown and "E: v" in shown and "\x1b" not in shown and "plain" in shown and "[7]" not in page.text(".count")
    # It is saved with its own name.
    assert saved(page, "made elsewhere.ipynb")[1]["cells"][2]["id"] == "a"


def test_cells_are_replaced_only_when_the_person_agrees(page, tmp_path):
    path = tmp_path / "other.ipynb"
    path.write_text(json.dumps(notebook(cell("loaded = 1"))))
    page.run("work = 1")
    page.find("#notebook-file").send_keys(str(path))
    wait_until(lambda: page.value("document.querySelector('#confirm') !== null"), "nothing is asked")
    assert "other.ipynb" in page.text("dialog[open]")
    page.find("#cancel").click()
    wait_until(lambda: page.value("document.querySelector('dialog[open]') === null"), "it stays open")
    assert "work = 1" in page.text(".cm-content") and "loaded" not in page.text(".cm-content")
    index = page.start("import time\nwhile True: time.sleep(0.01)")
    wait_until(lambda: page.state(index) == "running", "it does not run")
    page.find("#notebook-file").send_keys(str(path))
    wait_until(lambda: "is running" in page.text(".notice"), "it is not refused")
    page.click("Interrupt the running cell")
    page.ended(index)
    load(page, path)
    assert page.count() == 1 and "loaded = 1" in page.text(".cm-content") and page.text(".output").strip() == ""


BAD = [
    ("not JSON", b"import os", "is not JSON"), ("empty", b"", "is not JSON"), ("binary", b"\x89PNG\r\n\x1a\n\xff\xfe", "not UTF-8 text"),
    ("a list", b"[]", "it has no nbformat"), ("null", b"null", "it has no nbformat"), ("deep", b"[" * 200_000, "is not JSON"),
    ("deep and whole", b'{"nbformat": 4, "cells": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "Its cell 1 is not an object"),
    ("version 3", notebook(nbformat=3), "nbconvert"), ("version 5", notebook(nbformat=5), "version 4"), ("version <b>", notebook(nbformat="<b>"), "version 4"),
    ("no cells", notebook(cells=None), "no list of cells"), ("cells that are none", notebook(5), "Its cell 1 is not an object"),
    ("a kind of its own", notebook({"cell_type": "<script>", "source": ""}), "unknown type"),
    ("source of numbers", notebook(cell([1])), "source of cell 1"), ("outputs that are none", notebook({**cell(), "outputs": {}}), "not a list"),
    ("an output that is none", notebook(cell(outputs=[None])), "is not an object"),
    ("an output of a kind of its own", notebook(cell(outputs=[{"output_type": "x"}])), "unknown type"),
    ("a stream of numbers", notebook(cell(outputs=[{"output_type": "stream", "text": 5}])), "has no text"),
    ("an error of numbers", notebook(cell(outputs=[{"output_type": "error", "ename": 1, "evalue": 2, "traceback": [3]}])), "no traceback"),
    ("a picture that is none", notebook(cell(outputs=[shows({"image/png": "\"><script>alert(1)</script>"})])), "not base64"),
    ("html of objects", notebook(cell(outputs=[shows({"text/html": {"a": 1}})])), "not text"),
    ("many cells", notebook(*[cell()] * 501), "at most 500"), ("many outputs", notebook(cell(outputs=[shows({"text/plain": "x"})] * 1001)), "more than 1000"),
    ("large", b" " * (20 << 20) + b"x", "loads at most 20 MiB"),
]


def test_wrong_and_hostile_files_are_refused_in_plain_words(page, tmp_path):
    page.run("work = 1")
    for name, content, said in BAD:
        path = tmp_path / (name.replace("<b>", "b") + ".ipynb")
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        notice = load(page, path, said)
        assert "is not loaded" in notice and path.name in notice, (name, notice)
    assert "work = 1" in page.text(".cm-content") and "42" in page.run("6 * 7")


def test_nothing_of_a_hostile_file_runs(page, tmp_path):
    attack = "<script>top.pwned = 1</script><img src=x onerror='top.pwned=2'><svg onload='top.pwned=3'></svg>"
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9" onload="top.pwned=4"><script>top.pwned=5</script></svg>'
    outputs = [shows({"text/html": attack}), shows({"image/svg+xml": svg}), shows({"text/plain": attack}, "execute_result"),
               {"output_type": "stream", "name": attack, "text": attack}, {"output_type": "error", "ename": attack, "evalue": attack, "traceback": [attack]},
               shows({"image/svg+xml": attack, "__proto__": {"text/html": attack}})]
    path = tmp_path / "hostile.ipynb"
    path.write_text(json.dumps(notebook(cell(attack, outputs, id=attack), {"cell_type": "markdown", "source": attack, "attachments": {"x": {"text/html": attack}}},
                                        metadata={"language_info": {"name": attack}})))
    assert "<script>" in load(page, path)
    for frame in page.driver.find_elements("css selector", "iframe"):
        assert frame.get_dom_attribute("sandbox") == ""
        page.driver.switch_to.frame(frame)
        wait_until(lambda: page.driver.execute_script("return document.readyState") == "complete", "a frame does not load")
        page.driver.switch_to.default_content()
    wait_until(lambda: page.value("[...document.images].every(one => one.complete)"), "a picture does not load")
    page.browser.value("for (let i = 0; i < 2; i++) await new Promise(requestAnimationFrame)")
    assert page.value("window.pwned ?? null") is None and page.value("document.querySelectorAll('script').length") <= 1
    assert "42" in page.run("6 * 7")
    # The id in the file is not used.
    assert attack not in [one["id"] for one in saved(page, "hostile.ipynb")[1]["cells"]]

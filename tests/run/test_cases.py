"""Public reports about sandboxes and habits of generated code, as ../shared/cases has them: all that need no
package beside the interpreter. The check of each row decides; what is wrong with a row is said in DISPUTED."""
import importlib.util
import json
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

# Row: what holds instead, and why.
DISPUTED = {
    "stdin_lines": ("stdin", "its input in_lines.txt is not among the cases: it is '1 2\\n3 4\\n', as the check says"),
    "stdin_open0": ("stdin", "the same"),
    "stdin_buffer": ("stdin", "the same"),
}
LINES = "1 2\n3 4\n"


def rows(folder):
    with open(os.path.join(folder, "INDEX.tsv"), encoding="utf-8") as file:
        for row in file.read().splitlines()[1:]:
            path, front, flags, opts, check, words = row.split("\t")[:6]
            if front != "kernel" and not flags.startswith("V"):
                yield os.path.basename(path)[:-3], (path, front, flags, opts.split(), check, words)


@pytest.fixture(scope="module")
def cases(shared, own):
    """The folder's own runner, with the program under test."""
    folder = os.path.join(shared, "cases")
    if not os.path.exists(os.path.join(folder, "INDEX.tsv")):
        pytest.skip("../shared/cases is not there")
    os.environ["PYEXEC"], before = os.path.join(own.folder, "pyexec"), os.environ.get("PYEXEC")
    os.environ["PYEXEC_POLICY_PYTHON_BIN"], python = "/usr/bin/python3", os.environ.get("PYEXEC_POLICY_PYTHON_BIN")
    spec = importlib.util.spec_from_file_location("cases_lib", os.path.join(folder, "lib.py"))
    library = importlib.util.module_from_spec(spec)
    library.__dict__["__file__"] = os.path.join(folder, "lib.py")
    spec.loader.exec_module(library)
    here = os.getcwd()
    os.chdir(folder)
    yield library, folder
    os.chdir(here)
    for name, value in (("PYEXEC", before), ("PYEXEC_POLICY_PYTHON_BIN", python)):
        os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


def run(library, name, row):
    """What is wrong with the case, or None."""
    path, front, flags, opts, check, words = row
    if name in DISPUTED:
        opts = ["stdin=" + LINES.encode("unicode_escape").decode().replace(" ", "\\x20") if o.startswith("stdin=") else o for o in opts]
    results = library.run_case(front, flags, path, opts)
    r = results[-1]
    error = r.get("error") or {}
    names = {"r": r, "rs": results, "out": r["stdout"], "err": r["stderr"], "val": r["last_value_repr"], "st": r["status"], "er": r.get("error_repr") or "",
             "hint": error.get("hint") or "", "disp": r["display"], "files": r["files"], "den": r["denials"], "rc": r["exit_code"], "text": r.get("text", ""), "json": json}
    return None if eval(check, names) else "%s (%s): %s\n%s" % (name, front, words, json.dumps(results[-2:])[:3000])


def test_the_cases_that_need_no_package(cases):
    library, folder = cases
    wanted = dict(rows(folder))
    assert len(wanted) > 180 and set(DISPUTED) <= set(wanted)
    with ThreadPoolExecutor(4) as threads:
        wrong = [told for told in threads.map(lambda item: run(library, *item), wanted.items()) if told]
    assert not wrong, "\n".join([str(len(wrong)), *wrong])

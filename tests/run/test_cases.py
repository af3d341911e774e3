"""The cases of ../shared/cases: public reports about sandboxes, and habits of generated code. Each row of a case has its own check;
DISPUTED lists the rows that are wrong. The packages for the rows of LARGE take gigabytes, so only `make cases` runs these rows."""
import importlib.util
import json
import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

import environments
from conftest import BUILD, ROOT

# Row: the check that is used instead, and the reason.
DISPUTED = {
    "stdin_lines": ("stdin", "its input in_lines.txt is not among the cases: it is '1 2\\n3 4\\n', as the check says"),
    "stdin_open0": ("stdin", "the same"),
    "stdin_buffer": ("stdin", "the same"),
}
LINES = "1 2\n3 4\n"
# Rows that need what tests/run/requirements.txt leaves out for its size.
LARGE = {"lib_polars", "lib_polars_lazy", "lib_cv2", "lib_cv2_imshow", "lib_skimage", "lib_numba", "lib_numba_cache", "lib_xgboost_default",
         "lib_lightgbm", "lib_ortools_mip", "lib_z3", "lib_plotly_png"}
ALL = os.environ.get("PYEXEC_CASES") == "all"
# The time limit is raised, because a busy machine is not the fault of a library. CPU time and memory stay at the defaults.
PATIENCE = ["--timeout", "60s"]


def rows(folder):
    """Yields the name, flags and row of each case."""
    with open(os.path.join(folder, "INDEX.tsv"), encoding="utf-8") as file:
        for row in file.read().splitlines()[1:]:
            path, front, flags, opts, check, words = row.split("\t")[:6]
            yield os.path.basename(path)[:-3], front if front == "kernel" else flags, (path, front, flags, opts.split(), check, words)


def chosen(folder, *kinds):
    return {name: row for name, kind, row in rows(folder) if kind in kinds}


@pytest.fixture(scope="module")
def folder(shared):
    folder = os.path.join(shared, "cases")
    if not os.path.exists(os.path.join(folder, "INDEX.tsv")):
        pytest.skip("../shared/cases is not there")
    return folder


@pytest.fixture(scope="module")
def place(folder, session_folder):
    """Makes a folder with links to the cases, into which packages can be installed."""
    place = session_folder / "cases"
    place.mkdir()
    for name in os.listdir(folder):
        (place / name).symlink_to(os.path.join(folder, name))
    return place


@pytest.fixture(scope="module")
def library(place, own):
    """Runs the runner of that folder with the program under test."""
    before = {name: os.environ.get(name) for name in ("PYEXEC", "PYEXEC_POLICY_PYTHON_BIN")}
    os.environ.update(PYEXEC=own.path, PYEXEC_POLICY_PYTHON_BIN="/usr/bin/python3")
    spec = importlib.util.spec_from_file_location("cases_lib", place / "lib.py")
    library = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(library)
    here = os.getcwd()
    os.chdir(place)
    yield library
    os.chdir(here)
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)


def use_python(library, python, *sets):
    """Rows with these flags run with this interpreter."""
    for name in sets:
        flags = library.SETS[name]
        flags[flags.index("--python-bin") + 1] = python
        library.SETS[name] = flags if "--timeout" in flags else flags + PATIENCE


def run(library, name, row):
    """Returns what is wrong with the case, or None."""
    path, front, flags, opts, check, words = row
    if name in DISPUTED:
        opts = ["stdin=" + LINES.encode("unicode_escape").decode().replace(" ", "\\x20") if o.startswith("stdin=") else o for o in opts]
    results = library.run_case(front, flags, path, opts)
    r = results[-1]
    error = r.get("error") or {}
    names = {"r": r, "rs": results, "out": r["stdout"], "err": r["stderr"], "val": r["last_value_repr"], "st": r["status"], "er": r.get("error_repr") or "",
             "hint": error.get("hint") or "", "disp": r["display"], "files": r["files"], "den": r["denials"], "rc": r["exit_code"], "text": r.get("text", ""), "json": json}
    return None if eval(check, names) else "%s (%s): %s\n%s" % (name, front, words, json.dumps(results[-2:])[:3000])


def run_all(library, wanted, at_once=4):
    with ThreadPoolExecutor(at_once) as threads:
        wrong = [told for told in threads.map(lambda item: run(library, *item), wanted.items()) if told]
    assert not wrong, "\n".join([str(len(wrong)), *wrong])


def test_every_row_is_run_by_a_test(folder):
    assert {kind for _, kind, _ in rows(folder) if kind.startswith(("V", "k"))} == {"V", "VT", "VB", "V2", "V2B", "kernel"}
    names = [name for name, _, _ in rows(folder)]
    assert len(names) == len(set(names)) and {*DISPUTED, *LARGE} <= set(names)


def test_the_cases_that_need_no_package(library, folder):
    wanted = {name: row for name, kind, row in rows(folder) if not kind.startswith("V") and kind != "kernel"}
    assert len(wanted) > 180
    run_all(library, wanted)


@pytest.fixture(scope="module")
def packages():
    return environments.packages()


def cases_environment(session_folder, name):
    """Installs the versions that the cases name, except versions that no index has."""
    with open(os.path.join(ROOT, os.pardir, "shared/cases/%s.txt" % name)) as file:
        pins = re.sub(r"^soupsieve==.*", "soupsieve", file.read(), flags=re.M)
    path = session_folder / (name + ".txt")
    path.write_text(pins)
    return environments.kept("cases-" + name.rpartition("-")[2], path)


@pytest.fixture(scope="module")
def python(packages, session_folder):
    return cases_environment(session_folder, "requirements-venv") if ALL else packages


def test_the_cases_of_packages(library, folder, python):
    use_python(library, python, "V", "VT", "VB")
    wanted = {name: row for name, row in chosen(folder, "V", "VT", "VB").items() if ALL or name not in LARGE}
    assert len(wanted) > 50
    run_all(library, wanted, 2)


@pytest.mark.skipif(not ALL, reason="make cases runs torch, tensorflow and jax: several gigabytes of packages")
def test_the_cases_of_torch_and_the_like(library, folder, session_folder):
    use_python(library, cases_environment(session_folder, "requirements-venv2"), "V2", "V2B")
    run_all(library, chosen(folder, "V2", "V2B"), 1)


def test_the_cases_of_the_kernel(library, folder, place, own, python):
    """Uses the environment of the Python client, which has Jupyter's client."""
    made = subprocess.run([ROOT + "/tools/python-venv.sh", BUILD], capture_output=True, text=True)
    if made.returncode == 77:
        pytest.skip("the packages of the Python client can't be installed: " + made.stderr[-300:])
    client = made.stdout.strip()
    (place / "venv3").symlink_to(os.path.dirname(os.path.dirname(client)))
    subprocess.run([client, "-m", "pyexec.jupyter", "install", "--prefix", place / "jp", "--program", own.path, "--set", "python_bin=" + python],
                   check=True, capture_output=True)
    wanted = chosen(folder, "kernel")
    assert len(wanted) >= 14
    run_all(library, wanted, 2)

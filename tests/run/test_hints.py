"""What a model that wrote the code reads after a failure: each hint says what to do instead."""
import subprocess

import pytest

from library import Executor
from test_interpreters import BUILDS

ANY = ["--any-import"]
FULL = ["--files", "full"]


@pytest.mark.parametrize("code, words", [
    ("import math\nvalue = 1\nprint(valeu)", "Did you mean: 'value'?"), ("prnt(1)", "Did you mean: 'print'?"),
    ("class A:\n    def total(self): pass\nA().totl()", "Did you mean: 'total'?"), ("'abc'.uper()", "Did you mean: 'upper'?"),
    ("import math\nmath.sqr(2)", "Did you mean: 'sqrt'?"), ("from math import sqroot", "Did you mean: 'sqrt'?"),
    ("json.dumps(1)", "Did you forget to import 'json'?"), ("qqqqqq", "Define or import it first"), ("(5).qqqqqq", "dir()"),
    ("np.array([1])", "import numpy as np"), ("pd.DataFrame()", "import pandas as pd"), ("plt.show()", "import matplotlib.pyplot as plt"),
    ("get_ipython()", "not a notebook"), ("__file__", "relative to the working directory"), ("x = null", "None"), ("x = true", "True"),
    ("x = [false]", "False"),
])
def test_a_wrong_name(own, code, words):
    result = own.result(code)
    assert result["status"] == "error" and words in result["error"]["hint"], result["error"]


@pytest.mark.parametrize("code, words", [
    ("!pip install numpy\nprint(1)", "Nothing can be installed"), ("pip install numpy", "Nothing can be installed"),
    ("%pip install numpy", "Nothing can be installed"), ("x = 1\n%matplotlib inline", "not a notebook"), ("if 1:\n    !ls", "not a notebook"),
    ("```python\nprint(1)\n```", "fences"), ("print(1)\n```", "fences"), ("return 5", "last expression"),
    ("def f():\n    await g()", "async def"), ("def f():\n    async with a: pass", "async def"),
    ("x = [1, 2", "send the whole code"), ("x = '''abc", "send the whole code"), ("x = 'abc", "send the whole code"), ("x = “a”", "ASCII quotes"),
    ("print 'a'", "Python 3"), ("def f():\nreturn 1", "four spaces"), ("  x = 1", "four spaces"), ("if 1:\n    x = 1\n  y = 2", "four spaces"),
    ("def f():\n\tx = 1\n        return x", "spaces only"),
])
def test_code_that_does_not_compile(own, code, words):
    result = own.result(code)
    assert result["status"] == "error" and words in (result["error"]["hint"] or ""), result["error"]


@pytest.mark.parametrize("code, flags, words", [
    ("import nosuch", ANY, "isolate_site"), ("import nosuch", [*ANY, "--no-isolate-site"], "not installed"),
    ("from utils import helper", ANY, "into the script"), ("from . import utils", [], "relative imports"),
    ("import asyncio\nasync def f(): asyncio.run(f())\nasyncio.run(f())", ANY, "await main()"), ("import asyncio\nasync def f(): pass\nasyncio.create_task(f())", ANY, "await main()"),
    ("async def f(): return 1\nf() + 1", [], "await it"), ("async def f(): return 1\nlen(f())", [], "await it"),
    ("input('n? ')", [], "stdin"), ("def f(n): return f(n + 1)\nf(0)", [], "loop"),
    ("import threading, time\nfor _ in range(99): threading.Thread(target=time.sleep, args=(9,), daemon=True).start()", ANY, "16 threads may run at once (max_threads)"),
    ("import argparse\np = argparse.ArgumentParser()\np.add_argument('x')\np.parse_args()", ANY, "no command-line arguments"),
    ("import sys\nsys.argv[1]", ANY, "no command-line arguments"), ("import os\nos.environ['API_KEY']", ANY, "request's env"),
    ("str(10 ** 5000)", [], "hex(n)"), ("open('data.csv')", FULL, "request's files"), ("open('~/x', 'w')", FULL, "does not expand ~"),
    ("open('/tmp/x', 'w')", FULL, "relative"), ("open('a')", [], "disable_open"), ("import tempfile\ntempfile.TemporaryFile()", ANY, "in variables"),
    ("import multiprocessing\nmultiprocessing.Pool(2)", ANY, "ThreadPoolExecutor"), ("import multiprocessing\nmultiprocessing.Pool(2)", [*ANY, *FULL], "ThreadPoolExecutor"),
    ("from concurrent.futures import ProcessPoolExecutor\nProcessPoolExecutor(2).submit(abs, 1)", [*ANY, *FULL], "ThreadPoolExecutor"),
    ("import subprocess\nsubprocess.run(['ls'])", ANY, "in Python"), ("import urllib.request\nurllib.request.urlopen('http://example.com')", ANY, "disable_networking"),
    ("import sqlite3\nsqlite3.connect('no/a.db')", [*ANY, *FULL], "os.makedirs()"), ("import locale\nlocale.setlocale(locale.LC_ALL, 'de_DE.UTF-8')", ANY, "C.UTF-8"),
    ("open('out/a.txt', 'w')", FULL, "The folder 'out' is not there: to write into it, make it first with os.makedirs(). To read: The working directory is empty."),
    ("import pathlib\npathlib.Path('a/b/c.txt').write_text('x')", [*ANY, *FULL], "The folder 'a/b' is not there"),
    ("import zoneinfo\nzoneinfo.ZoneInfo('Europe/Berln')", ANY, "available_timezones()"),
    ("import sqlite3\nsqlite3.connect('a.db')", [*ANY, "--files", "read"], "allow_readonly_open): use ':memory:'"),
    ("import tempfile\ntempfile.mkdtemp()", [*ANY, "--files", "read"], "allow_readonly_open"), ("fs = [open(str(n), 'w') for n in range(99)]", FULL, "16 may be open at once"),
])
def test_what_a_sandbox_does_not_have(own, code, flags, words):
    result = own.result(code, *flags)
    assert result["status"] == "error" and words in (result["error"]["hint"] or ""), result["error"]


@pytest.mark.parametrize("code, words", [
    ("import datetime\ndatetime.now()", "from datetime import datetime"), ("import datetime\ndatetime.strptime('2026', '%Y')", "from datetime import datetime"),
    ("import json, datetime\njson.dumps({'at': datetime.datetime.now()})", "default=str"), ("{[1]: 2}", "tuple"), ("{{1}, {2}}", "frozenset"),
    ("import datetime\ndatetime(2026, 1, 1)", "in the module"), ("for row in {'a': 1}:\n    row['a']", "not a dict"),
    ("d = {1: 1, 2: 2}\nfor k in d:\n    del d[k]", "list("), ("n = 1\ndef f():\n    n += 1\nf()", "global"),
    ("b'\\xff\\xfe'.decode()", "latin-1"), ("float('1,5')", "replace(',', '')"), ("d = {'a': 1}\nf'{d['a']'", "quotes"),
    # The message of pandas.
    ("class DataFrame: pass\nDataFrame().append(1)", "pd.concat"), ("raise KeyError(\"None of [Index(['x'], dtype='object')] are in the [columns]\")", "df.columns"),
])
def test_what_generated_code_often_gets_wrong(own, code, words):
    result = own.result(code)
    assert result["status"] == "error" and words in (result["error"]["hint"] or ""), result["error"]


@pytest.mark.parametrize("code", ["1 / 0", "raise SystemExit(2)", "{}['x']", "[][1]", "raise OSError(5, 'x')"])
def test_no_hint_where_the_error_says_it_all(own, code):
    assert own.result(code)["error"]["hint"] is None


def test_a_suggestion_of_a_session_and_of_hostile_text(own):
    result = own.result("class A:\n    def __dir__(self): return ['na\\nme\\x1b']\n    pass\nA().name")
    assert result["status"] == "error" and result["error"]["hint"]
    result = own.result("globals()['{max_threads}x'] = 1\nraise NameError('x', name='{max_threads}y')")
    assert "16" not in result["error"]["hint"]


def test_shared_memory_without_a_file_is_explained(pyexec):
    code = "import mmap\nmmap.mmap(-1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\nmmap.mmap(-1, 4096, access=mmap.ACCESS_COPY)\n"
    assert pyexec.result(code, *ANY)["denials"] == []
    result = pyexec.result(code + "mmap.mmap(-1, 4096)", *ANY)
    denial, = result["denials"]
    assert (denial["layer"], denial["line"]) == ("syscall", 4) and "MAP_SHARED" in denial["what"], denial
    assert denial["hint"] == result["error"]["hint"] and "MAP_PRIVATE" in denial["hint"] and "bytearray" in denial["hint"]


@pytest.mark.parametrize("code", ["import mmap\nmmap.mmap(-1, 1, 2); raise PermissionError('mine')", "import mmap\nmmap.mmap(-1, 1, 2); open('/etc/passwd')"])
def test_other_refusals_are_not_taken_for_it(own, code):
    assert not [d for d in own.result(code, *ANY)["denials"] if d["layer"] == "syscall"]


@pytest.fixture
def package(open_folder):
    """Returns flags for an interpreter with a package that reads facts about the machine, as pandas and joblib do."""
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", "--symlinks", str(open_folder / "v")], check=True)
    site = next((open_folder / "v/lib").iterdir()) / "site-packages"
    (site / "prober.py").write_text(
        "import os, threading\ndef look():\n    for path in ('/sys/fs/cgroup/cpu.max', '/proc/cpuinfo', '/proc/self/status'):\n"
        "        try: open(path).close()\n        except OSError: pass\n        os.path.exists(path)\nlook()\n"
        "def look_in_a_thread():\n    thread = threading.Thread(target=look)\n    thread.start(), thread.join()\n"
        "def read(path):\n    with open(path) as file: return file.read()\n")
    return ["--python-bin", str(open_folder / "v/bin/python"), "--no-isolate-site", "--allow-import", "prober"]


@pytest.mark.parametrize("files", ["none", "read", "full"])
def test_what_packages_look_at_by_themselves_is_no_denial(pyexec, package, files):
    result = pyexec.result("import prober\nprober.look()\nprober.look_in_a_thread()\n1", *package, "--files", files)
    assert (result["status"], result["denials"]) == ("ok", []), result
    result = pyexec.result("import prober\nprober.read('/etc/passwd')", *package, "--files", files)
    assert [d["layer"] for d in result["denials"]] == ["files"] and result["error"]["hint"] == result["denials"][0]["hint"], result
    result = pyexec.result("try: open('/proc/cpuinfo')\nexcept OSError: pass", *package, "--files", files)
    assert [d["what"] for d in result["denials"]] == ["open /proc/cpuinfo"], result


def test_display_needs_no_import(own):
    result = own.result("from IPython.display import display")
    assert "display() is a builtin here" in result["error"]["hint"] + result["error"]["message"]


# ---- Text around the code ----

@pytest.mark.parametrize("code, words", [
    ("Here is the code:\n```python\nprint(1)\n```\nIt prints 1.", "fences"), ("```\nprint(1)\n```", "fences"), ("Sure! Here is it.\n\n```py\nx = 1\n```", "fences"),
    ("The following code prints one\nprint(1)", "This line is text"), ("x = 1\nThis prints the value of x.", "This line is text"),
    ("print(1)\n<|im_end|>", "'<|im_end|>'"), ("<code>\nprint(1)\n</code>", "'<code>'"), ("print(1)\n</code>", "'</code>'"), ("print(1)\n[/PYTHON]", "'[/PYTHON]'"),
    ("print(1)\n<end_code>", "'<end_code>'"), ("x = 1\\nprint(x)\\n", "real line breaks"), ("def f():\\n    return 1\\nf()", "real line breaks"),
])
def test_text_around_the_code(own, code, words):
    result = own.result(code)
    assert result["error"]["type"] == "SyntaxError" and words in (result["error"]["hint"] or ""), result["error"]


@pytest.mark.parametrize("code", ["x = 1 +\n", "x = 1 \\ y\n", "if x = 1: pass", "for x in y print(x)", "a b", "x <- 1"])
def test_code_is_not_taken_for_text(own, code):
    hint = own.result(code)["error"]["hint"] or ""
    assert not any(words in hint for words in ("text", "fence", "marker", "line breaks")), hint


@pytest.mark.parametrize("code, character", [("x = 1\u00a0+ 2", "U+00A0"), ("x = 1\u200b", "U+200B"), ("x =\u00a01", "U+00A0"), ("x = 0x1f\u200b", "U+200B"), ("y = 2.5\u2009* 3", "U+2009")])
def test_an_invisible_character_is_named(own, code, character):
    result = own.result(code)
    assert "invalid non-printable character " + character in result["error_repr"] and character in result["stderr"], result["error"]
    assert own.result("x = 1abc")["error_repr"].startswith("SyntaxError: invalid decimal literal")


# ---- A newer Python ----

NEWER = [("def first[T](xs): return xs[0]", (3, 12)), ("class A[T]: pass", (3, 12)), ("type Pair = tuple[int, int]", (3, 12)), ("names = ['a']\nf\"{\"x\".join(names)}\"", (3, 12)),
         ("f'{'a'}'", (3, 12)), ("f'{\"\\n\".join([])}'", (3, 12)), ("try: pass\nexcept* ValueError: pass", (3, 11)), ("match 1:\n    case 1: pass", (3, 10)),
         ("from itertools import batched", (3, 12)), ("import itertools\nitertools.batched('ab', 1)", (3, 12)), ("import itertools\nitertools.pairwise('ab')", (3, 10)),
         ("import math\nmath.lcm(1, 2)", (3, 9)), ("from datetime import UTC", (3, 11)), ("import datetime\ndatetime.UTC", (3, 11)), ("from typing import Self", (3, 11)),
         ("import tomllib", (3, 11)), ("import zoneinfo", (3, 9)), ("from enum import StrEnum", (3, 11)), ("'ab'.removeprefix('a')", (3, 9)), ("(5).bit_count()", (3, 10)),
         ("ExceptionGroup('a', [ValueError()])", (3, 11)), ("x: int | None = 1\nint | None", (3, 10)), ("{} | {}", (3, 9)), ("list[int]", (3, 9)),
         ("zip([1], [2], strict=True)", (3, 10)), ("import asyncio\nasyncio.TaskGroup", (3, 11)), ("from warnings import deprecated", (3, 13))]


@pytest.mark.parametrize("python", ["/usr/bin/python3", *BUILDS], ids=lambda path: str(path).split("/")[-3])
def test_what_is_newer_than_this_python_is_named(python):
    with Executor({"python_bin": python, "use_import_whitelist": False, "banned_imports": []}) as executor:
        version = eval(executor.call(None, "import sys\nsys.version_info[:2]")["last_value_repr"])
        for code, since in NEWER:
            result = executor.call(None, code)
            if version >= since:
                assert result["status"] == "ok", (code, result["error"])
            else:
                words = "new in Python %d.%d, and this is Python %d.%d" % (*since, *version)
                assert words in (result["error"]["hint"] or ""), (code, result["error"])
        gone = executor.call(None, "import distutils")
        assert gone["status"] == "ok" if version < (3, 12) else "was removed in Python 3.12" in gone["error"]["hint"], gone


# ---- Files ----

def test_a_missing_file_is_looked_for(pyexec, open_folder):
    for name in ("sales.csv", "Sales 2024.xlsx", "notes.txt", ".hidden"):
        (open_folder / name).write_text("x")
    given = [flag for name in ("sales.csv", "Sales 2024.xlsx", "notes.txt", ".hidden") for flag in ("--file", str(open_folder / name))]
    hint = pyexec.result("open('sale.csv')", "--files", "read", *given)["error"]["hint"]
    assert hint.startswith("Did you mean 'sales.csv'? The working directory has: 'sales.csv', ") and "'notes.txt'" in hint and ".hidden" not in hint, hint
    assert "The working directory has: 'Sales" in pyexec.result("import csv\nopen('zzz.bin', 'rb')", "--files", "read", "--allow-import", "csv", *given)["error"]["hint"]
    assert "is empty" in pyexec.result("open('data.csv')", "--files", "full")["error"]["hint"]
    many = pyexec.result("for i in range(40): open('f%02d' % i, 'w').close()\nopen('g')", "--files", "full")["error"]["hint"]
    assert "and 25 more" in many and many.count("'f") == 15, many
    result = pyexec.result("open('/mnt/data/sales.csv')", "--files", "read", *given)
    assert "open('sales.csv')" in result["error"]["hint"] and "outside sandbox" in result["error_repr"]
    odd = pyexec.result("open(b'a\\xff\\n' * 30, 'w').close()\nopen('b')", "--files", "full")["error"]
    assert odd["hint"].startswith("The working directory has: "), odd


# ---- Hints that mislead ----

@pytest.mark.parametrize("code, flags, words", [
    ("import multiprocessing as mp\nlock = mp.Lock()", [*ANY, *FULL], "threading.Lock"), ("import multiprocessing as mp\nmp.Value('i')", [*ANY, *FULL], "threading.Lock"),
    ("import multiprocessing as mp\nmp.Queue()", ANY, "threading.Lock"), ("raise ModuleNotFoundError(\"No module named 'tkinter'\")", [], "no display"),
    ("import curses\ncurses.setupterm()", ANY, "no terminal"),
    ("import threading\nthreading.stack_size(1 << 29)\nthreading.Thread(target=print).start()", ANY, "address_space_bytes"),
    ("raise ImportError('libbig.so: failed to map segment from shared object')", [], "address_space_bytes"),
    ("raise OSError('libbig.so: failed to map segment from shared object')", [], "536870912 bytes"),
    ("import os\nos.mkdir('a')\nos.chdir('a')\nos.rmdir('../a')\nos.getcwd()", [*ANY, *FULL], "was deleted"),
])
def test_the_cause_is_named(own, code, flags, words):
    result = own.result(code, *flags)
    assert result["status"] == "error" and words in (result["error"]["hint"] or ""), result["error"]


def raising(kind, message):
    """Raises an error of a library, given by its qualified name."""
    module, _, name = kind.rpartition(".")
    return "class %s(Exception): __module__ = %r\nraise %s(%r)" % (name, module or "builtins", name, message)


@pytest.mark.parametrize("kind, message, words", [
    ("cv2.error", "OpenCV(5.0.0) window.cpp:1215: error: (-2:Unspecified error) The function is not implemented. Rebuild the library", "cv2.imwrite()"),
    ("RuntimeError", "\n\nKaleido requires Google Chrome to be installed.\n", "fig.write_html("),
    ("choreographer.browsers.chromium.ChromeNotFoundError", "Kaleido v1 and later requires Chrome", "fig.write_html("),
    ("LookupError", "\n****\n  Resource 'punkt_tab' not found.\n  >>> import nltk\n  >>> nltk.download('punkt_tab')\n", "nltk_data/"),
    ("OSError", "[E050] Can't find model 'en_core_web_sm'.", "spacy.blank("),
    ("xgboost.core.XGBoostError", "\nXGBoost Library (libxgboost.so) could not be loaded.\n['libxgboost.so: failed to map segment from shared object']", "address_space_bytes"),
    ("FileNotFoundError", "No such file or directory (os error 2): out/a.csv", "os.makedirs()"),
    ("FileNotFoundError", "[Errno 2] Failed to open local file 'a.parquet'. Detail: [errno 2] No such file or directory", "request's files"),
    ("_duckdb.IOException", 'IO Error: Cannot open file "out/a.csv": No such file or directory', "os.makedirs()"),
    ("OSError", "cannot open resource", "load_default(size=20)"), ("reportlab.pdfbase.ttfonts.TTFError", "Can't open file \"arial.ttf\"", "Helvetica"),
    ("OSError", "Cannot save file into a non-existent directory: 'out'", "os.makedirs(folder"), ("pytz.exceptions.UnknownTimeZoneError", "'Mars'", "pytz.all_timezones"),
    ("ImportError", "Cannot load backend 'TkAgg' which requires the 'tk' interactive framework, as 'headless' is currently running", "matplotlib.use()"),
])
def test_what_libraries_raise(own, kind, message, words):
    result = own.result(raising(kind, message))
    assert result["status"] == "error" and words in (result["error"]["hint"] or ""), result["error"]


def test_figures_of_the_machine_are_not_shown(own):
    hint = own.result("open('/proc/meminfo')", *FULL)["error"]["hint"]
    assert "hides the machine's memory" in hint


def test_a_limit_that_is_not_set_is_not_blamed(own):
    crash = "import ctypes\nctypes.string_at(0)"
    assert "address_space_bytes=" in own.result(crash, *ANY)["error"]["hint"]
    hint = own.result(crash, *ANY, "--address-space-bytes", "none")["error"]["hint"]
    assert "crashed" in hint and "address_space_bytes" not in hint


def test_modules_that_are_refused_are_not_advised(own):
    assert "StringIO" not in own.result("open('a')")["error"]["hint"]
    assert "StringIO" in own.result("open('a')", "--allow-import", "io")["error"]["hint"]
    assert "asyncio" not in own.result("async def f(): return 1\nf() + 1")["error"]["hint"]

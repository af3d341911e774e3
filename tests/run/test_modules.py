"""Imports: the default modules work completely, and every way to import another module is refused."""
import json

import pytest

ALTERNATIVES = "array, base64, bisect, collections, datetime, decimal, fractions, functools, hashlib, heapq, hmac, itertools, json"
BAN = ["--use-import-whitelist=false"]

# Lines that use each module of the default set. Each expression must be true, or the two values equal.
MODULES = {
    "math": ["math.sqrt(9) == 3", "math.comb(5, 2) == 10", "math.isclose(math.pi, 3.14159265, rel_tol=1e-8)", "math.inf > 1"],
    "statistics": ["statistics.stdev([1, 2, 3]) == 1", "statistics.median([1, 3]) == 2", "statistics.NormalDist(0, 1).cdf(0) == 0.5",
                   "statistics.quantiles([1, 2, 3], n=2) == [2]", "statistics.mean([1, 2]) == 1.5"],
    "random": ["len(set(random.sample(range(9), 3))) == 3", "random.Random(1).random() == random.Random(1).random()",
               "0 <= random.SystemRandom().random() < 1", "random.choice('a') == 'a'", "len(random.choices('ab', k=3)) == 3",
               "random.gauss(0, 1) < 100", "random.seed('text') is None", "len(random.randbytes(4)) == 4"],
    "re": ["re.findall(r'\\d+', 'a12b3') == ['12', '3']", "re.sub('(?i)A', 'x', 'aA') == 'xx'", "re.compile('a').pattern == 'a'",
           "re.match(r'(?P<n>\\w)', 'é')['n'] == 'é'", "'DOTALL' in repr(re.DOTALL)"],
    "json": ["json.loads('{\"a\": [1, null]}') == {'a': [1, None]}", "json.dumps({'b': 1, 'a': 'é'}, indent=1, sort_keys=True)[0] == '{'",
             "issubclass(json.JSONDecodeError, ValueError)", "json.JSONEncoder().encode([1.5]) == '[1.5]'"],
    "itertools": ["list(itertools.chain([1], [2])) == [1, 2]", "len(list(itertools.permutations('abc'))) == 6",
                  "list(itertools.accumulate([1, 2])) == [1, 3]", "[k for k, _ in itertools.groupby('aab')] == ['a', 'b']"],
    "functools": ["functools.reduce(int.__add__, [1, 2]) == 3", "functools.lru_cache(lambda x: x + 1)(1) == 2",
                  "functools.partial(int, base=2)('11') == 3", "functools.singledispatch(lambda x: x)(2) == 2"],
    "collections": ["collections.Counter('aab')['a'] == 2", "collections.namedtuple('P', 'x y')(1, 2).y == 2",
                    "collections.defaultdict(list)['a'] == []", "collections.deque([1, 2], 1).pop() == 2",
                    "collections.OrderedDict(a=1).popitem() == ('a', 1)", "collections.ChainMap({}, {'a': 1})['a'] == 1"],
    "decimal": ["str(decimal.Decimal('0.1') + decimal.Decimal('0.2')) == '0.3'", "decimal.getcontext().prec == 28",
                "decimal.Decimal('2.5').quantize(decimal.Decimal('1'), decimal.ROUND_HALF_UP) == 3",
                "decimal.Decimal(2).sqrt() > 1", "'%s' % decimal.localcontext"],
    "fractions": ["fractions.Fraction(1, 3) + fractions.Fraction('1/6') == fractions.Fraction(1, 2)",
                  "fractions.Fraction(3.14159).limit_denominator(10) == fractions.Fraction(22, 7)"],
    "string": ["string.ascii_lowercase[:2] == 'ab'", "string.Template('$a').substitute(a=1) == '1'", "string.capwords('a b') == 'A B'",
               "string.Formatter().format('{0}', 1) == '1'"],
    "textwrap": ["textwrap.fill('a b', 1) == 'a\\nb'", "textwrap.dedent('  a') == 'a'", "textwrap.shorten('a b c', 3, placeholder='') == 'a b'"],
    "heapq": ["heapq.nsmallest(1, [3, 1]) == [1]", "heapq.heappop([1, 2]) == 1", "list(heapq.merge([1], [0])) == [0, 1]"],
    "bisect": ["bisect.bisect([1, 3], 2) == 1", "bisect.insort([1], 2) is None"],
    "array": ["array.array('i', [1]).tobytes() == b'\\1\\0\\0\\0'", "array.array('d', [1.5]).tolist() == [1.5]", "'q' in array.typecodes"],
    "base64": ["base64.b64encode(b'a') == b'YQ=='", "base64.b32decode('ME======') == b'a'", "base64.b85decode(base64.b85encode(b'x')) == b'x'",
               "base64.urlsafe_b64encode(b'\\xff') == b'_w=='"],
    "hashlib": ["hashlib.sha256(b'').hexdigest()[:8] == 'e3b0c442'", "hashlib.md5(b'a').hexdigest()[:4] == '0cc1'",
                "hashlib.blake2b(b'', digest_size=8).digest_size == 8", "hashlib.new('sha512', b'').digest_size == 64",
                "len(hashlib.pbkdf2_hmac('sha256', b'p', b's', 10)) == 32", "hashlib.sha3_256(b'').hexdigest()[:4] == 'a7ff'",
                "len(hashlib.scrypt(b'p', salt=b's', n=2, r=1, p=1)) == 64", "'sha1' in hashlib.algorithms_available"],
    "hmac": ["hmac.new(b'k', b'm', 'sha256').hexdigest()[:8] == 'b60090e3'", "hmac.compare_digest('a', 'a')",
             "len(hmac.digest(b'k', b'm', 'sha1')) == 20"],
    "uuid": ["uuid.uuid4().version == 4", "uuid.uuid1().version == 1", "uuid.uuid4() != uuid.uuid4()", "0 < uuid.getnode() < 1 << 48",
             "uuid.uuid5(uuid.NAMESPACE_DNS, 'a') == uuid.uuid5(uuid.NAMESPACE_DNS, 'a')",
             "uuid.UUID('12345678123456781234567812345678').int > 0"],
    "time": ["time.strptime('2024', '%Y').tm_year == 2024", "time.time() > 1.7e9", "time.sleep(0.001) is None",
             "time.perf_counter() > 0", "time.strftime('%Y', time.gmtime(0)) == '1970'", "time.monotonic_ns() > 0",
             "time.localtime().tm_year > 2000", "time.process_time() > 0"],
    "datetime": ["datetime.datetime.now().year > 2023", "datetime.datetime.strptime('2024-01-02', '%Y-%m-%d').day == 2",
                 "datetime.date(2024, 3, 1) - datetime.timedelta(1) == datetime.date(2024, 2, 29)",
                 "datetime.datetime.now(datetime.timezone.utc).isoformat()[-6:] == '+00:00'", "datetime.date.today().strftime('%B')",
                 "datetime.datetime.fromisoformat('2024-01-02T03:04').hour == 3"],
    "socket": ["socket.AF_INET == 2", "issubclass(socket.gaierror, OSError)", "socket.inet_aton('1.2.3.4') == b'\\1\\2\\3\\4'",
               "socket.htons(1) == 256", "hasattr(socket, 'create_connection')"],
    "traceback": ["traceback.format_exc()", "traceback.format_exception_only(ValueError, ValueError('x')) == ['ValueError: x\\n']",
                  "traceback.extract_stack()", "traceback.format_stack()", "hasattr(traceback.TracebackException, 'format')"],
}


def test_the_default_modules_are_23_and_all_are_here(own):
    assert set(json.loads(own.run("policy").stdout)["allowed_imports"]) == set(MODULES) and len(MODULES) == 23


@pytest.mark.parametrize("name", MODULES)
def test_default_module_works_whole(own, name):
    code = "import %s\n" % name + "".join("assert %s, %r\n" % (line, line) for line in MODULES[name]) + repr(name)
    result = own.result(code)
    assert result["status"] == "ok" and result["last_value_repr"] == repr(name), result["error_repr"]
    assert result["denials"] == [] and result["stderr"] == "", result


@pytest.mark.parametrize("name", MODULES)
def test_default_module_imports_in_every_form(own, name):
    result = own.result("import %s as a\nfrom %s import *\n__import__(%r) is a\nexec('import %s')\n%s is a" % ((name,) * 5))
    assert (result["status"], result["last_value_repr"], result["denials"]) == ("ok", "True", []), result


def test_all_default_modules_at_once(pyexec):
    result = pyexec.result("import " + ", ".join(MODULES) + "\nlen({%s})" % ", ".join(MODULES))
    assert (result["last_value_repr"], result["denials"]) == ("23", [])


@pytest.mark.parametrize("code", [
    "import collections.abc\ncollections.abc.Sequence", "from collections import abc", "from json import decoder",
    "import json.decoder, json.encoder", "import json.tool as t", "from collections.abc import Mapping as M"])
def test_submodules_of_allowed_modules(own, code):
    result = own.result(code)
    assert result["status"] == "ok" and result["denials"] == [], result


@pytest.mark.parametrize("code", [
    "import statistics, random\nrandom.SystemRandom().choice(range(3)); statistics.harmonic_mean([1, 2])",
    "import uuid\n[uuid.uuid1(), uuid.uuid3(uuid.NAMESPACE_URL, 'a')]",
    "import json\njson.dumps(float('nan')); json.loads('[1e400]')",
    "import datetime\ndatetime.datetime.strptime('Monday 01 January 2024', '%A %d %B %Y')",
    "import decimal, fractions\nhash(fractions.Fraction(1, 3)); decimal.Decimal('1').__format__('.2f')",
    "import traceback\ntry:\n    1/0\nexcept ZeroDivisionError:\n    assert 'line 3' in traceback.format_exc()",
    "import re\nre.compile('(a', 0) if False else re.escape('a.b')",
    "import functools\nfunctools.singledispatchmethod(print)\n@functools.total_ordering\nclass A:\n    def __lt__(self, o): return True\n    def __eq__(self, o): return True",
    "import base64, textwrap, string\nstring.Template('$x').get_identifiers() if hasattr(string.Template, 'get_identifiers') else 1",
    "import socket\nrepr(socket.SocketType), socket.AddressFamily.AF_INET6",
    "'é'.encode('cp1252'), b'ab'.decode('utf-16-le'), 'a'.encode('idna'), 'x'.encode('punycode')",
])
def test_what_an_allowed_module_imports_is_not_the_scripts(own, code):
    result = own.result(code)
    assert result["status"] == "ok" and result["denials"] == [], result


@pytest.mark.parametrize("line", ["sys", "os", "io"])
def test_what_an_allowed_module_imports_stays_unimportable(own, line):
    result = own.result("import random, socket, traceback, json\nimport " + line)
    assert result["error_repr"].startswith("ImportError: import '%s' not allowed" % line)


# Refusals

@pytest.mark.parametrize("names, words", [
    ("io", "bytearray"), ("calendar zoneinfo dateutil", "timedelta"), ("email", "strptime"), ("html xml bs4 lxml", "re."), ("sqlite3", "lists and dicts"),
    ("logging warnings", "print()"), ("argparse configparser tomllib", "variables"), ("queue", "deque"), ("difflib", "zip()"), ("operator", "lambda"),
    ("contextlib", "finally"), ("unittest", "assert"), ("sklearn statsmodels", "linear_regression"), ("sympy", "fractions"),
    ("matplotlib seaborn PIL", "chart of text"), ("openpyxl docx reportlab pypdf", "Markdown"), ("zipfile tarfile gzip", "as it is"), ("platform", "leave it out"),
])
def test_what_to_use_instead_is_said(own, names, words):
    for name in names.split():
        assert words in own.result("import " + name)["error"]["hint"].partition("Allowed modules")[0], name


@pytest.mark.parametrize("code, name", [
    ("import os", "os"), ("from os import path", "os"), ("import os.path as p", "os"), ("from os import *", "os"),
    ("import sys", "sys"), ("import csv", "csv"), ("import nosuchthing", "nosuchthing"), ("import _json", "_json"),
    ("__import__('os')", "os"), ("__import__('os.path')", "os"), ("__builtins__.__import__('os')", "os"),
    ("exec('import os')", "os"), ("eval('__import__(\"os\")')", "os"), ("exec(compile('import os', 'x', 'exec'))", "os"),
    ("exec('import os', {})", "os"), ("eval('__import__(\"os\")', {'__builtins__': __builtins__})", "os"),
    ("import importlib\nimportlib.import_module('os')", "importlib"), ("from importlib import import_module", "importlib"),
    ("import json\nimport os", "os"), ("import json, os", "os"), ("def f():\n    import os\nf()", "os"),
    ("class A:\n    import os", "os"), ("import threading\nprint(1)", "threading"), ("import importlib.util", "importlib"),
    ("import builtins", "builtins"), ("import _thread", "_thread"), ("import numpy", "numpy"),
    ("import größe", "größe"), ("import xml.etree.ElementTree as E", "xml"), ("(lambda: __import__('sys'))()", "sys"),
    ("f = __import__\nf('os', globals(), locals(), ['path'], 0)", "os"), ("[__import__(n) for n in ['json', 'os']]", "os"),
])
def test_not_allowed(own, code, name):
    result = own.result(code)
    assert result["status"] == "error" and result["exit_code"] == 1
    phrase = "import '%s' not allowed" % name
    assert result["error_repr"].startswith("ImportError: " + phrase), result["error_repr"]
    error = result["error"]
    assert error["type"] == "ImportError" and error["message"].startswith(phrase)
    assert error["hint"] and error["hint"] in error["message"] and ALTERNATIVES in error["hint"] and "allowed_imports" in error["hint"]
    assert result["stderr"].rstrip("\n").splitlines()[-1] == result["error_repr"]
    assert [d for d in result["denials"] if d["layer"] == "imports" and d["what"] == "import " + name and d["hint"]], result["denials"]


def test_not_allowed_as_each_user(pyexec, nothing_left):
    result = pyexec.result("x = 1\nimport subprocess")
    assert result["error_repr"].startswith("ImportError: import 'subprocess' not allowed")
    assert result["error"]["line"] == 2 and result["denials"][0]["line"] == 2


@pytest.mark.parametrize("name", ["os", "sys", "subprocess", "pathlib", "shutil", "multiprocessing", "ctypes", "resource",
                                  "inspect", "builtins", "pickle"])
def test_banned(own, name):
    for code in ("import " + name, "__import__(%r)" % name, "import importlib\nimportlib.import_module(%r)" % name,
                 "exec('from %s import *')" % name):
        result = own.result(code, *BAN)
        assert result["error_repr"].startswith("ImportError: import '%s' banned" % name), (code, result["error_repr"])
        assert "banned_imports" in result["error"]["hint"] and "shutil" in result["error"]["hint"]
        assert result["denials"][0]["layer"] == "imports" and result["denials"][0]["what"] == "import " + name


@pytest.mark.parametrize("code", ["import csv, io, dataclasses, enum, typing, asyncio, urllib.parse", "import importlib\nimportlib.import_module('csv')",
                                  "import tempfile, logging, argparse, unittest", "import sqlite3, ssl, http.client, xml.dom.minidom"])
def test_what_is_not_banned_works(own, code):
    result = own.result(code, *BAN)
    assert result["status"] == "ok" and result["denials"] == [], result


@pytest.mark.parametrize("code, flags, error", [
    ("import csv", ["--allow-import", "csv"], None),
    ("import importlib\nimportlib.import_module('os')", ["--allow-import", "importlib"], "ImportError: import 'os' not allowed"),
    ("import importlib\nimportlib.import_module('json.decoder').JSONDecodeError", ["--allow-import", "importlib"], None),
    ("import importlib\nimportlib.import_module('.path', 'os')", ["--allow-import", "importlib"], "ImportError: import 'os' not allowed"),
    ("import importlib\nimportlib.import_module('.', package='os')", ["--allow-import", "importlib"], "ImportError: import 'os' not allowed"),
    ("import importlib\nimportlib.import_module('.path', 'os')", BAN, "ImportError: import 'os' banned"),
    ("import importlib\nimportlib.import_module('.decoder', 'json').JSONDecodeError", ["--allow-import", "importlib"], None),
    ("import importlib\nimportlib.__import__('os')", ["--allow-import", "importlib"], "ImportError: import 'os' not allowed"),
    ("import importlib.util\nimportlib.util.find_spec('json').name", ["--allow-import", "importlib"], None),
    ("import json", ["--allowed-imports", ""], "ImportError: import 'json' not allowed"),
    ("import os", ["--allow-import", "os"], None),                      # the ban list belongs to the other mode
    ("import os, sys, pickle, inspect", ["--any-import"], None),
    ("import os", ["--banned-imports", "json", *BAN], None),
    ("import json", ["--banned-imports", "json", *BAN], "ImportError: import 'json' banned"),
    ("import json.decoder", ["--banned-imports", "json", *BAN], "ImportError: import 'json' banned"),
    ("import urllib.request", ["--allow-import", "urllib"], None),
    ("import nosuchthing", ["--any-import"], "ModuleNotFoundError: No module named 'nosuchthing'"),
    ("import nosuchthing", ["--allow-import", "nosuchthing"], "ModuleNotFoundError: No module named 'nosuchthing'"),
    ("import json.nosuch", [], "ModuleNotFoundError: No module named 'json.nosuch'"),
    ("from json import nosuch", [], "ImportError: cannot import name 'nosuch' from 'json'"),
    ("__import__('')", ["--any-import"], "ValueError: Empty module name"),
    ("__import__(3)", ["--any-import"], "TypeError"),
    ("import csv", ["--preload-imports", "csv"], "ImportError: import 'csv' not allowed"),
])
def test_rules(own, code, flags, error):
    result = own.result(code, *flags)
    assert result["status"] == ("error" if error else "ok"), result
    assert (result["error_repr"] or "").startswith(error or ""), result
    if error and "nosuch" in error:
        assert result["denials"] == []


@pytest.mark.parametrize("code", ["from . import x", "from .. import x", "from .os import path", "__import__('os', {'__package__': 'a'}, {}, [], 1)"])
def test_relative_imports_end_in_an_import_error(own, code):
    for flags in ([], ["--any-import"]):
        result = own.result(code, *flags)
        assert result["status"] == "error" and result["error"]["type"] in ("ImportError", "ModuleNotFoundError", "KeyError"), result


# Names with underscores

@pytest.mark.parametrize("name", ["__main__", "__x__", "__x", "x__"])
def test_dunder_names_are_refused(own, name):
    for flags in ([], BAN, ["--any-import"]):
        result = own.result("import " + name, *flags)
        assert result["error_repr"].startswith("ImportError: import '%s' not allowed" % name), (flags, result["error_repr"])
        assert "block_dunder_imports" in result["error"]["hint"] and result["denials"][0]["what"] == "import " + name


def test_dunder_names_when_they_are_not_blocked(own):
    open_rule = ["--no-block-dunder-imports"]
    assert own.result("import __main__\n__main__.__name__", "--any-import", *open_rule)["last_value_repr"] == "'__main__'"
    assert own.result("import __x__", "--any-import", *open_rule)["error"]["type"] == "ModuleNotFoundError"
    assert own.result("import __main__", *open_rule)["error_repr"].startswith("ImportError: import '__main__' not allowed")
    assert own.result("import __main__", *open_rule, "--allow-import", "__main__")["status"] == "ok"


def test_one_underscore_is_no_dunder(own):
    assert own.result("import _json", "--allow-import", "_json")["status"] == "ok"


@pytest.mark.parametrize("names", ["annotations", "annotations, division", "generator_stop"])
def test_future_imports(own, names):
    for flags in ([], BAN, ["--allowed-imports", ""]):
        result = own.result("from __future__ import %s\nx: int = 1\nx" % names, *flags)
        assert result["status"] == "ok" and result["last_value_repr"] == "1" and result["denials"] == [], result


def test_future_has_its_effect_and_its_errors(own):
    result = own.result("from __future__ import annotations\ndef f(a: nosuch): pass\nf.__annotations__")
    assert result["last_value_repr"] == "{'a': 'nosuch'}"
    assert own.result("from __future__ import nosuch")["error"]["type"] == "SyntaxError"
    assert own.result("x = 1\nfrom __future__ import division")["error"]["type"] == "SyntaxError"


# The effect of a refusal on a script

def test_a_caught_refusal_is_an_ordinary_import_error(own):
    result = own.result("try:\n    import numpy\nexcept ImportError as e:\n    x = (type(e).__name__, e.name, str(e)[:26])\nx")
    assert result["last_value_repr"].startswith("('ImportError', ") and "import 'numpy' not allowed" in result["last_value_repr"]
    assert result["status"] == "ok" and [d["what"] for d in result["denials"]] == ["import numpy"]
    assert result["denials"][0]["line"] == 2


def test_nothing_is_bound_by_a_refusal(own):
    assert own.result("try:\n    import os\nexcept ImportError: pass\n'os' in globals()")["last_value_repr"] == "False"


def test_a_replaced_import_function_changes_nothing_inside(own):
    result = own.result("import json\nold = __import__\nb = __builtins__ if isinstance(__builtins__, dict) else vars(__builtins__)\n"
                        "b['__import__'] = lambda *a: json\nimport os\nos is json")
    assert result["last_value_repr"] == "True" or result["error"]["type"] in ("ImportError", "TypeError"), result

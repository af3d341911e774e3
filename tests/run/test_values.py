"""Values as JSON in results, and as variables of a run, as in docs/results.md. Those of numpy and pandas: test_display_libraries.py."""
import json

import pytest

from library import Executor, Failure
from serving import serving

TEN = {"use_import_whitelist": False, "banned_imports": []}
IMPORTS = "import collections, dataclasses, datetime as dt, decimal, enum, fractions, ipaddress, pathlib, types, uuid\nfrom decimal import Decimal\n"


# Python's own repr of a long integer is refused.
OWN_REPR = "class L(list):\n    def __repr__(self): return 'L'\n"


@pytest.fixture(scope="module")
def executor():
    with Executor(TEN) as made:
        yield made


def ask(executor, code, tables="records", **more):
    return executor.call(None, IMPORTS + code, value_json=tables, **more)


@pytest.mark.parametrize("code, value", [
    ("True", True), ("False", False), ("5", 5), ("-0.0", -0.0), ("0.1", 0.1), ("1e308", 1e308), ("5e-324", 5e-324), ("1/3", 1 / 3), ("2.0", 2.0),
    ("2**53 + 1", 2 ** 53 + 1), ("2**63 - 1", 2 ** 63 - 1), ("-2**63", -2 ** 63), ("2**63", str(2 ** 63)), ("-2**63 - 1", str(-2 ** 63 - 1)),
    (OWN_REPR + "L([10**5000])", ["1" + "0" * 5000]), ("float('nan')", None), ("float('inf')", None), ("[float('-inf'), 1.0]", [None, 1.0]), ("1+2j", "(1+2j)"),
    ("''", ""), ("'a\\n\"\\u2028\\x00'", "a\n\"\u2028\x00"), ("'\\ud800'", "\\ud800"), ("'\U0001f600'", "\U0001f600"),
    ("b'\\x00\\xff'", "AP8="), ("bytearray(b'a')", "YQ=="), ("memoryview(b'a')", "YQ=="),
    ("[]", []), ("(1, [2, (3,)])", [1, [2, [3]]]), ("{3}", [3]), ("frozenset([1])", [1]), ("range(3)", [0, 1, 2]), ("collections.deque([1])", [1]),
    ("{'a': 1}.keys()", ["a"]), ("{'a': 1}.values()", [1]), ("{'a': 1}.items()", [["a", 1]]),
    ("{}", {}), ("{1: 'a', None: 'b', True: 0}", {"1": 0, "null": "b"}), ("{1.5: 1, (1, 2): 2, dt.date(2024, 1, 2): 3}", {"1.5": 1, "(1, 2)": 2, "2024-01-02": 3}),
    ("collections.OrderedDict(b=1, a=2)", {"b": 1, "a": 2}), ("collections.Counter('aab')", {"a": 2, "b": 1}), ("types.MappingProxyType({'a': 1})", {"a": 1}),
    ("dt.datetime(2024, 1, 2, 3, 4, 5, 6)", "2024-01-02T03:04:05.000006"), ("dt.datetime(2024, 1, 2, tzinfo=dt.timezone.utc)", "2024-01-02T00:00:00+00:00"),
    ("dt.date(2024, 1, 2)", "2024-01-02"), ("dt.time(1, 2)", "01:02:00"), ("dt.timedelta(days=1, milliseconds=500)", 86400.5),
    ("Decimal('1.10')", "1.10"), ("Decimal('NaN')", "NaN"), ("fractions.Fraction(1, 3)", "1/3"), ("uuid.UUID(int=5)", "00000000-0000-0000-0000-000000000005"),
    ("pathlib.PurePosixPath('/a/b')", "/a/b"), ("ipaddress.ip_address('127.0.0.1')", "127.0.0.1"),
    ("collections.namedtuple('P', 'x y')(1, [2])", {"x": 1, "y": [2]}),
    ("@dataclasses.dataclass\nclass D:\n    a: int\n    b: list\nD(1, [D(2, [])])", {"a": 1, "b": [{"a": 2, "b": []}]}),
    ("class E(enum.Enum):\n    A = (1, 2)\nE.A", [1, 2]), ("class E(enum.IntFlag):\n    A = 1\n    B = 2\nE.A | E.B", 3), ("class E(str, enum.Enum):\n    A = 'a'\n[E.A]", ["a"]),
    ("class I(int): pass\n[I(5)]", [5]), ("class F(float): pass\n[F(0.5)]", [0.5]), ("class S(str):\n    def __str__(self): return 'no'\nS('yes')", "yes"),
    ("class L(list): pass\nL([1])", [1]), ("class D(dict): pass\nD(a=1)", {"a": 1}),
    ("x = [1]\n[x, x]", [[1], [1]]), ("[[]] * 3", [[], [], []]),
], ids=lambda item: None if len(repr(item)) < 100 else "long")
def test_the_mapping(executor, code, value):
    result = ask(executor, code)
    assert (result["status"], result["last_value_json_error"]) == ("ok", None), result
    assert json.dumps(result["last_value_json"]) == json.dumps(value)


@pytest.mark.parametrize("code, why", [
    ("object()", "not representable: object"), ("len", "not representable"), ("(x for x in [1])", "not representable: generator"), ("[1, {'a': {2j: len}}]", "not representable"),
    ("class A: pass\nA()", "not representable: A"), ("a = []\na.append(a)\na", "contains itself"), ("d = {}\nd['d'] = [d]\nd", "contains itself"),
    ("a = 5\nfor i in range(101): a = [a]\na", "nested more than 100 deep"), ("{1: 1, '1': 2}", "two keys become '1'"), ("'x' * 70000", "max_value_bytes=65536"),
    ("[1.5] * 70000", "max_value_bytes"), ("list(range(30000))", "max_value_bytes"), ("b'x' * 60000", "max_value_bytes"), ("range(10**12)", "max_value_bytes"),
    (OWN_REPR + "L([1 << 10**7])", "max_value_bytes"), ("class D(dict):\n    def items(self):\n        while True: yield (id([]), 1); \nD(a=1)", ""),
    ("class D(dict):\n    def items(self): raise ValueError('no items')\nD(a=1)", "ValueError: no items"),
    ("class A(tuple):\n    _fields = 5\nA()", "TypeError"), ("'é' * 40000", "max_value_bytes"),
])
def test_what_is_no_value_says_why(executor, code, why):
    result = ask(executor, code)
    assert result["status"] == "ok" and result["last_value_json"] is None and why in result["last_value_json_error"], result
    assert result["last_value_repr"]


def test_the_bound_is_of_bytes(executor):
    for size, fits in ((10, True), (11, False)):
        result = ask(executor, "'%s'" % ("x" * (size - 2)), policy={"max_value_bytes": 10})
        assert (result["last_value_json"] is not None) == fits
    assert ask(executor, "'é' * 4", policy={"max_value_bytes": 10})["last_value_json"] == "éééé"
    assert ask(executor, "'é' * 5", policy={"max_value_bytes": 10})["last_value_json"] is None
    assert len(ask(executor, "'x' * 4_000_000", policy={"max_value_bytes": 16 << 20})["last_value_json"]) == 4_000_000


def test_only_when_it_is_asked_for(executor):
    assert executor.call(None, "5")["last_value_json"] is None
    for code in ("None", "x = 5", ""):
        result = ask(executor, code)
        assert (result["last_value_json"], result["last_value_json_error"]) == (None, None)
    assert ask(executor, "1 / 0")["last_value_json"] is None


@pytest.mark.parametrize("code, status", [
    ("class L(list):\n    def __iter__(self):\n        while True: pass\nL()", "timeout"),
    ("class D(dict):\n    def items(self):\n        while True: pass\nD(a=1)", "timeout"),
    ("class D(dict):\n    def items(self): return [(1, 'x' * (1 << 40))]\nD(a=1)", "memory_limit"),
    ("class D(dict):\n    def items(self): raise SystemExit(3)\nD(a=1)", "error"),
])
def test_hostile_values_end_like_other_code(executor, code, status):
    result = ask(executor, code, timeout_ms=300 if status == "timeout" else 60000)
    assert result["status"] == status and result["last_value_json"] is None, result


def test_a_script_changes_nothing_of_it(executor):
    code = "import json, builtins\njson.loads = json.dumps = json.encoder = None\nfor n in ('isinstance', 'type', 'repr', 'str'): setattr(builtins, n, None)\n{'a': 'b'}"
    assert executor.call(None, code, value_json="records")["last_value_json"] == {"a": "b"}


# Variables

VALUES = [None, True, 5, -5, 2 ** 53 + 1, 2 ** 63 - 1, -2 ** 63, 0.1, -0.0, 1e308, 5e-324, 1 / 3, "", "é\u2028\x00\U0001f600", [], {}, [[1, "a", None]],
          {"a": {"b": [1.5]}, "": 1, "class": 2}]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_inputs_come_as_they_were_sent(executor, value):
    result = executor.call(None, "x, type(x).__name__, repr(x)", inputs={"x": value}, value_json="records")
    assert result["last_value_json"] == [value, type(value).__name__, repr(value)]


def test_many_and_large_inputs(executor):
    result = executor.call(None, "len(a), len(b), sum(len(globals()[f'n{i}']) for i in range(200))",
                           inputs={"a": "x" * 9_000_000, "b": list(range(1000)), **{"n%d" % i: [i] for i in range(200)}})
    assert result["last_value_repr"] == "(9000000, 1000, 200)"
    both = executor.call(None, "#" * 50000 + "\nimport sys\n(x, sys.stdin.read())", inputs={"x": "y" * 20000}, stdin="typed")
    assert both["last_value_repr"] == "('%s', 'typed')" % ("y" * 20000)


def test_inputs_stay_in_a_session_and_nowhere_else(nothing_left):
    with Executor() as executor:
        assert executor.call("s", "x", inputs={"x": 5})["last_value_repr"] == "5"
        assert executor.call("s", "x, y", inputs={"y": "z" * 50000})["status"] == "ok"
        assert executor.call("s", "x, len(y)")["last_value_repr"] == "(5, 50000)"
        assert executor.call("s", "x", inputs={"x": 6})["last_value_repr"] == "6"
        assert executor.call("t", "x")["error"]["type"] == "NameError"
        assert executor.call(None, "x")["error"]["type"] == "NameError"


@pytest.mark.parametrize("name", ["print", "match", "_", "_x", "json", "x" * 255, "A9"])
def test_names_that_variables_may_have(executor, name):
    assert executor.call(None, "globals()[%r]" % name, inputs={name: 5})["last_value_repr"] == "5"


@pytest.mark.parametrize("name", ["", "a b", "1a", "a.b", "a-b", "é", "class", "None", "lambda", "await", "__builtins__", "__name__", "__x", "x__", "x" * 256, "a\n", "x;y"])
def test_names_that_none_may_have(executor, name):
    with pytest.raises(Failure) as failure:
        executor.call(None, "1", inputs={name: 5})
    assert failure.value.code == "invalid_request" and "inputs" in failure.value.message and failure.value.hint


@pytest.mark.parametrize("request_, words", [
    ({"inputs": []}, "inputs"), ({"inputs": "x"}, "inputs"), ({"inputs": None}, "inputs"), ({"value_json": "table"}, "value_json"), ({"value_json": True}, "value_json"),
    ({"value_json": ""}, "value_json"), ({"inputs": {"x": "y" * (10 << 20)}}, "10485760"),
])
def test_bad_requests(executor, request_, words):
    with pytest.raises(Failure) as failure:
        executor.call(None, "1", **request_)
    assert failure.value.code == "invalid_request" and words in failure.value.message and failure.value.hint


def test_inputs_nested_deep(executor):
    value = 5
    for _ in range(199):
        value = [value]
    assert executor.call(None, "1", inputs={"x": value})["status"] == "ok"
    with pytest.raises(Failure) as failure:
        executor.call(None, "1", inputs={"x": [value]})
    assert "deep" in failure.value.message


def test_value_json_null_asks_for_none(executor):
    assert executor.call(None, "5", value_json=None)["last_value_json"] is None


def test_inputs_that_do_not_fit_the_memory(executor):
    rows = [[i, i + 0.5, str(i)] for i in range(300000)]
    result = executor.call(None, "len(rows)", inputs={"rows": rows}, policy={"address_space_bytes": 64 << 20})
    assert result["status"] in ("memory_limit", "ok"), result


# On the command line

def test_flags(pyexec, open_folder):
    (open_folder / "in.json").write_text('{"rows": [1, 2], "n": 1}')
    (open_folder / "in.json").chmod(0o644)
    file = str(open_folder / "in.json")
    assert pyexec.run("run", "--inputs", file, "--input", "n=5", "--input", 's="a b"', "-c", "rows, n, s").stdout == b"([1, 2], 5, 'a b')\n"
    assert pyexec.run("run", "--value-json", "records", "-c", "{'a': (0.1, None)}").stdout == b'{"a":[0.1,null]}\n'
    done = pyexec.run("run", "--value-json", "split", "-c", "object")
    assert done.stdout == b"<class 'object'>\n" and b"not representable" in done.stderr and done.returncode == 0
    assert json.loads(pyexec.run("run", "--json", "--value-json", "split", "-c", "[1]").stdout)["last_value_json"] == [1]


@pytest.mark.parametrize("flags", [["--input", "n"], ["--input", "n=a"], ["--input", "=5"], ["--input", "1=5"], ["--inputs", "/nowhere"], ["--value-json", "table"],
                                   ["--inputs", "/dev/null"]])
def test_bad_flags(own, flags):
    done = own.run("run", *flags, "-c", "1")
    assert done.returncode == 125 and b"hint: " in done.stderr and done.stdout == b"", done


def test_an_integer_of_more_than_64_bits_is_told_how_to_come(own):
    done = own.run("run", "--input", "n=9223372036854775808", "-c", "n")
    assert done.returncode == 125 and b"NAME=JSON" in done.stderr
    path = "/v1/execute"
    with serving(own) as server:
        answer = server.ask("POST", path, b'{"code": "n", "inputs": {"n": 9223372036854775808}}')
        assert answer.status == 400 and "as a string" in answer.json()["hint"]
        answer = server.ask("POST", path, b'{"code": "n", "inputs": {"n": 9223372036854775807}, "value_json": "records"}')
        assert answer.json()["last_value_json"] == 2 ** 63 - 1

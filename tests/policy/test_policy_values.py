"""The policy and the request as JSON: types, ranges, merging. As flags and files they are in test_policy.py."""
import base64
import json

import pytest

from library import Executor, Failure

MIB = 1 << 20
GOOD = [
    ("timeout_ms", [1, 5000, 86400000]), ("cpu_time_seconds", [1, 86400, None]), ("address_space_bytes", [512 * MIB, 1 << 34, None]),
    ("max_open_files", [0, 4096, None]), ("max_stdout_bytes", [0, 256 * MIB]), ("max_stderr_bytes", [0, 256 * MIB]),
    ("max_value_bytes", [0, 16 * MIB]), ("max_displays", [0, 1000]), ("max_display_bytes", [0, 64 * MIB]), ("disable_networking", [True, False]), ("disable_open", [True, False]),
    ("allow_readonly_open", [False]), ("use_import_whitelist", [True, False]), ("block_dunder_imports", [True, False]),
    ("print_last_expression", [True, False]), ("isolate_site", [True, False]), ("allowed_imports", [[], ["json"], ["größe", "_x"]]),
    ("banned_imports", [[], ["json", "os"]]), ("preload_imports", [[], ["json"], ["os.path"]]), ("workspace_bytes", [0, 64 << 30]),
    ("max_threads", [1, 256]), ("python_bin", ["/usr/bin/python3"]),
]
NUMBERS = {"timeout_ms": (1, 86400000), "cpu_time_seconds": (1, 86400), "address_space_bytes": (64 * MIB, None), "max_open_files": (0, 4096),
           "max_stdout_bytes": (0, 256 * MIB), "max_stderr_bytes": (0, 256 * MIB), "max_value_bytes": (0, 16 * MIB),
           "max_displays": (0, 1000), "max_display_bytes": (0, 64 * MIB),
           "workspace_bytes": (0, 64 << 30), "max_threads": (1, 256)}
NULL = {"cpu_time_seconds", "address_space_bytes", "max_open_files"}
BOOLEANS = ["disable_networking", "disable_open", "allow_readonly_open", "use_import_whitelist", "block_dunder_imports",
            "print_last_expression", "isolate_site"]
LISTS = ["allowed_imports", "banned_imports", "preload_imports"]
BAD_HOSTS = [None, 5, {}, "a.example", [1], [None], [["a.example"]]]
BAD = [(key, value) for key, (low, high) in NUMBERS.items()
       for value in [low - 1, -1, 1.5, float(low), True, [low], {"a": low}, "", "lots", 1 << 62] + ([high + 1] if high else []) +
       ([] if key in NULL else [None]) if not (key == "address_space_bytes" and value == 1 << 62)]
BAD += [(key, value) for key in BOOLEANS for value in (0, 1, "true", "yes", None, [], {}, 1.0)]
BAD += [(key, value) for key in LISTS for value in (None, 5, {}, [1], [None], [""], ["a b"], ["a/b"], [["a"]], ["a\0b"], ["a" * 5000])]
BAD += [("allowed_hosts", value) for value in BAD_HOSTS]
BAD += [(key, ["a.b"]) for key in LISTS[:2]] + [("allowed_imports", ["__x__"]), ("python_bin", ""), ("python_bin", 5), ("python_bin", None),
                                               ("python_bin", "a\0b"), ("python_bin", [])]


@pytest.fixture(scope="module")
def executor():
    with Executor() as made:
        yield made


def fails(executor, code, **request):
    with pytest.raises(Failure) as failure:
        executor.call(None, request.pop("code_", "1"), **request)
    assert failure.value.code == code, failure.value
    return failure.value


@pytest.mark.parametrize("key, value", [(key, value) for key, values in GOOD for value in values], ids=lambda v: repr(v)[:30])
def test_a_good_value_of_a_request_is_taken(executor, key, value):
    result = executor.call(None, "x = 1", policy={key: value})
    # 1 ms may be over before the script begins.
    assert result["status"] == "ok" or (key, value) == ("timeout_ms", 1), result


@pytest.mark.parametrize("key, value", BAD, ids=lambda v: repr(v)[:30])
def test_a_bad_value_of_a_request_is_invalid_policy(executor, key, value):
    failure = fails(executor, "invalid_policy", policy={key: value})
    assert key in failure.message and "accepted" in failure.message and failure.hint, failure


@pytest.mark.parametrize("key, value", [pair for pair in BAD if pair[1] in (None, 1.5, "lots", [1], 0)][:40], ids=lambda v: repr(v)[:30])
def test_a_bad_value_of_an_executor_is_invalid_policy(key, value):
    with pytest.raises(Failure) as failure:
        with Executor({key: value}):
            pass
    assert failure.value.code == "invalid_policy" and key in failure.value.message, failure.value


@pytest.mark.parametrize("name, near", [("timeuot_ms", "timeout_ms"), ("timeout", "timeout_ms"), ("max_thread", "max_threads"),
                                        ("allow_imports", "allowed_imports"), ("Disable_Open", "disable_open"), ("network", "disable_networking")])
def test_a_misspelt_key_names_the_nearest(executor, name, near):
    failure = fails(executor, "invalid_policy", policy={name: 1})
    assert name in failure.message and (near in failure.hint or name == "network"), failure


@pytest.mark.parametrize("policy", [[], "x", 5, None, True], ids=repr)
def test_a_policy_that_is_no_object(executor, policy):
    assert "policy" in fails(executor, "invalid_request", policy=policy).message


# Merging

def test_a_request_is_merged_by_key_and_arrays_replace():
    with Executor({"allowed_imports": ["json", "csv"], "max_stdout_bytes": 5, "timeout_ms": 4000}) as executor:
        code = "import %s\nprint('123456')"
        assert executor.call(None, code % "csv")["stdout"] == "12345"
        result = executor.call(None, code % "math", policy={"allowed_imports": ["math"]})
        assert (result["status"], result["stdout"]) == ("ok", "12345"), result
        result = executor.call(None, code % "csv", policy={"allowed_imports": ["math"]})
        assert result["error_repr"].startswith("ImportError: import 'csv' not allowed"), result
        assert executor.call(None, code % "csv", policy={"max_stdout_bytes": 3})["stdout"] == "123"
        assert executor.call(None, code % "csv")["stdout"] == "12345"


def test_every_key_may_be_changed_by_a_request(executor):
    def value(code, **policy):
        result = executor.call(None, code, policy=policy)
        assert result["status"] == "ok", result
        return result["last_value_repr"]
    any_import = {"use_import_whitelist": False, "banned_imports": []}
    assert value("open('a', 'w').write('x')", disable_open=False) == "1"
    assert value("import os\nos.getpid()", **any_import) == "1"
    assert value("import sys\nsys.flags.no_site, sys.flags.isolated", isolate_site=False, **any_import).startswith("(0")
    assert value("import sys\n'csv' in sys.modules", preload_imports=["csv"], **any_import) == "True"
    assert value("1", print_last_expression=False) is None
    assert value("'abc'", max_value_bytes=2) == "'a"
    assert value("import resource\nresource.getrlimit(resource.RLIMIT_AS)[0]", address_space_bytes=300 * MIB, **any_import) == str(300 * MIB)
    assert value("import __main__", block_dunder_imports=False, **any_import) is None
    assert value("import socket\ns = socket.socket()", disable_networking=False) is None
    assert executor.call(None, "import socket\nsocket.socket()")["status"] == "error"
    assert executor.call(None, "open('a')")["error_repr"].startswith("PermissionError: open() disabled")


@pytest.mark.parametrize("own_policy, request_policy, words", [
    ({}, {"allow_readonly_open": True}, ["allow_readonly_open", "disable_open"]),
    ({"block_dunder_imports": False, "allowed_imports": ["__main__"]}, {"block_dunder_imports": True}, ["__main__", "block_dunder_imports"]),
])
def test_a_contradiction_between_executor_and_request(own_policy, request_policy, words):
    with Executor(own_policy) as executor:
        failure = fails(executor, "invalid_policy", policy=request_policy)
        assert all(word in failure.message for word in words) and failure.hint, failure
        assert executor.call(None, "6 * 7")["last_value_repr"] == "42"


def test_a_request_may_close_what_the_executor_opened_for_reading():
    with Executor({"disable_open": False, "allow_readonly_open": True}) as executor:
        result = executor.call(None, "open('a')", policy={"disable_open": True})
        assert result["error_repr"].startswith("PermissionError: open() disabled"), result


# The other members of a request

WRITE = {"disable_open": False}
REQUESTS = [
    {"code_": 5}, {"code_": None}, {"code_": ["1"]}, {"code_": "\0"}, {"code_": "x = '\0'"}, {"code_": "#" * (10 * MIB + 1)},
    {"working_dir": 5}, {"working_dir": ".."}, {"working_dir": "a/.."}, {"working_dir": "/"}, {"working_dir": "/workspace"}, {"working_dir": "a\0b"},
    {"working_dir": "x" * 256}, {"working_dir": "a/" * 5000}, {"workspace": "relative"}, {"workspace": "/no/such/folder"}, {"workspace": 5},
    {"env": []}, {"env": {"A": 1}}, {"env": {"A": None}}, {"env": {"": "1"}}, {"env": {"A": "b\0c"}}, {"env": "A=1"},
    {"stdin": 5}, {"stdin": ["a"]}, {"files": ["a"], "policy": WRITE}, {"files": {"a": 5}, "policy": WRITE}, {"files": {"a": None}, "policy": WRITE},
    {"files": {"a": "x"}}, {"files": {"../a": "x"}, "policy": WRITE}, {"files": {"/a": "x"}, "policy": WRITE}, {"files": {"": "x"}, "policy": WRITE},
    {"files": {"a/../../b": "x"}, "policy": WRITE}, {"files": {".": "x"}, "policy": WRITE}, {"files": {"a/": "x"}, "policy": WRITE},
    {"files": {"a": {"base64": "!!"}}, "policy": WRITE}, {"files": {"a": {"base64": 5}}, "policy": WRITE}, {"files": {"a": {}}, "policy": WRITE},
    {"files": {"a": {"base64": "YQ==", "b": 1}}, "policy": WRITE}, {"files": {"a": "x", "a/b": "y"}, "policy": WRITE},
    {"files": {"x" * 256: "y"}, "policy": WRITE}, {"files": {"a": "x" * 70000}, "policy": dict(WRITE, workspace_bytes=65536)},
    {"return_files": "*"}, {"return_files": [5]}, {"return_files": {}}, {"nosuch": 1}, {"Code": "1"}, {"timeout": "5s"},
]


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda r: repr(r)[:40])
def test_a_bad_request_is_invalid_request(executor, request_):
    request_ = dict(request_)
    failure = fails(executor, "invalid_request", **request_)
    name = next(iter(request_)).rstrip("_")
    assert name in failure.message, failure
    assert executor.call(None, "6 * 7")["last_value_repr"] == "42"


def test_every_bad_request_has_a_hint(executor):
    """A message says what failed, with the value, and a hint says what to do next."""
    failures = [fails(executor, "invalid_request", **dict(request)) for request in REQUESTS]
    assert [str(failure)[:120] for failure in failures if not failure.hint] == []


@pytest.mark.parametrize("request_", [{"timeout_ms": 0}, {"timeout_ms": "x"}, {"timeout_ms": None}, {"timeout_ms": 86400001}, {"print_last_expression": 1},
                                      {"print_last_expression": "no"}, {"print_last_expression": None}], ids=repr)
def test_a_bad_short_form_is_invalid_policy(executor, request_):
    assert next(iter(request_)) in fails(executor, "invalid_policy", **request_).message


@pytest.mark.parametrize("code", ["'\ud800'", "# \udcff"], ids=ascii)
def test_lone_surrogates_in_code_are_invalid_request(own, code):
    """Writes requests with json.dumps; each answer has the id of its request."""
    lines = [{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocol": 1, "policy": {"python_bin": "/usr/bin/python3"}}},
             {"jsonrpc": "2.0", "id": 2, "method": "execute_once", "params": {"code": code}}]
    done = own.run("rpc", input="".join(json.dumps(line) + "\n" for line in lines))
    answers = {answer["id"]: answer for answer in map(json.loads, done.stdout.splitlines())}
    assert 2 in answers and answers[2]["error"]["data"]["code"] == "invalid_request", answers


def test_a_good_request_with_everything(executor):
    result = executor.call(None, "import os, sys\nopen('out.txt', 'w').write(open('../in').read() + sys.stdin.read() + os.environ['A'])\n"
                                 "open('../bin', 'rb').read(), os.getcwd()",
                           policy={"disable_open": False, "use_import_whitelist": False, "banned_imports": []},
                           files={"in": "é", "bin": {"base64": base64.b64encode(b"\0\xff").decode()}}, stdin="ü", env={"A": "=b c="},
                           working_dir="d", return_files=["d/*"], timeout_ms=4000, print_last_expression=True)
    assert result["last_value_repr"] == "(b'\\x00\\xff', '/workspace/d')", result
    assert [(f["path"], f["change"], f["content_base64"]) for f in result["files"]] == [
        ("d/out.txt", "created", base64.b64encode("éü=b c=".encode()).decode())], result

# SPDX-License-Identifier: Apache-2.0
"""verify (docs/verify.md): one solution, many tests, and the verdict about each."""
import concurrent.futures

import pytest

from library import Executor, Failure

ADD = "def add(a, b=0):\n    return a + b\n"


@pytest.fixture(scope="module")
def verify(own):
    with Executor(program=own.path) as executor:
        yield executor.verify


def verdicts(answer):
    return [test["verdict"] for test in answer["tests"]]


def calls(*tests, call="f"):
    """Tests of (args, expect)."""
    return [{"call": call, "args": list(args), "expect": expect} for args, expect in tests]


def returned(verify, expression, expect, **more):
    """The verdict about a function that returns this."""
    return verify("def f():\n    return " + expression, calls(((), expect)), **more)["tests"][0]


def test_each_kind_of_test_gets_its_verdict(pyexec, nothing_left):
    keywords = {} if pyexec.uid == 0 else {"user": pyexec.uid, "group": pyexec.uid, "extra_groups": []}
    with Executor(program=pyexec.path, cwd="/", **keywords) as executor:
        answer = executor.verify(ADD + "print('loaded')\nif __name__ == '__main__':\n    print(add(*map(int, input().split())))", [
            {"stdin": "1 2\n", "expect_stdout": "loaded\n3\n"}, {"stdin": "1 2", "expect_stdout": "4"}, {"expect_stdout": ""}])
        assert verdicts(answer) == ["pass", "wrong", "error"]
        assert answer["tests"][1]["stdout"] == "loaded\n3\n" and answer["tests"][2]["error"]["type"] == "EOFError"
        answer = executor.verify("print('loaded')\n" + ADD, [
            {"call": "add", "args": [1], "kwargs": {"b": 2}, "expect": 3}, {"call": "add", "args": [1], "expect": 2},
            {"call": "add", "args": [None], "expect": None}, {"code": "assert add(1) == 1"}, {"code": "assert add(1) == 2"}, {"code": "add()"}])
        assert verdicts(answer) == ["pass", "wrong", "error", "pass", "wrong", "error"]
        assert [test["claim"] for test in answer["tests"]] == [False, False, False, True, False, False]
        assert answer["tests"][0]["value"] == 3 and answer["tests"][0]["stdout"] == "" and answer["solution"]["stdout"] == "loaded\n"
        assert answer["tests"][2]["error"]["traceback"].splitlines()[1:3] == ['  File "<cell>", line 3, in add', "    return a + b"]
        assert not answer["passed"] and answer["summary"]["tests"] == 6 and answer["summary"]["wrong"] == 2
        assert answer["tests"][0]["usage"]["peak_memory_bytes"] > 1 << 20


def test_hundreds_of_tests_run_in_several_lanes_and_each_once(verify):
    answer = verify("import random\ndef f(n):\n    global seen\n    seen = n\n    return n * n", calls(*[((n,), n * n) for n in range(300)]))
    assert answer["passed"] and [test["index"] for test in answer["tests"]] == list(range(300))
    assert answer["summary"]["pass"] == 300
    answer = verify("n = int(input())\nprint(n * n)", [{"stdin": str(n), "expect_stdout": str(n * n)} for n in range(200)])
    assert answer["passed"] and answer["solution"] is None


def test_several_verifies_at_once_do_not_mix(verify):
    def one(k):
        return verify("def f(n):\n    return n + %d" % k, calls(*[((n,), n + k) for n in range(30)]))["passed"]
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        assert all(pool.map(one, range(6)))


def test_the_solution_runs_once_and_a_test_leaves_nothing_for_the_next(verify):
    solution = ("import builtins, random\ncount = [0]\ntoken = random.random()\n"
                "def f():\n    count[0] += 1\n    old = len\n    builtins.len = lambda x: 99\n    return [count[0], old('ab')]\n"
                "def g():\n    return token\n")
    answer = verify(solution, calls(*[((), [1, 2])] * 6), policy={"use_import_whitelist": False, "banned_imports": []})
    assert answer["passed"], answer
    answer = verify(solution, calls(*[((), 0)] * 4, call="g"), policy={"use_import_whitelist": False, "banned_imports": []})
    assert len({test["value"] for test in answer["tests"]}) == 1


def test_files_of_the_request_are_there_in_each_test_as_the_solution_left_them(verify):
    files = {"policy": {"disable_open": False}, "files": {"in.txt": "hej"}}
    answer = verify("open('made', 'w').write(open('in.txt').read())\n"
                    "def f():\n    had = open('made').read()\n    open('made', 'a').write('+')\n    return had\n", calls(*[((), "hej")] * 4), **files)
    assert answer["passed"], answer
    answer = verify("import sys\nprint(open('in.txt').read() + input())\nopen('in.txt', 'w').write('x')",
                    [{"stdin": str(n), "expect_stdout": "hej%d" % n} for n in range(4)],
                    policy={"disable_open": False, "use_import_whitelist": False, "banned_imports": []}, files={"in.txt": "hej"})
    assert answer["passed"], answer


@pytest.mark.parametrize("expression, expect", [
    ("None", None), ("True", True), ("3", 3), ("2.0", 2), ("2", 2.0), ("0.1 + 0.2", 0.30000000000000004), ("'å\\n'", "å"),
    ("[1, [2, 'x'], {}]", [1, [2, "x"], {}]), ("(1, 2)", [1, 2]), ("(1, 2)", {"$tuple": [1, 2]}), ("{'a': [1], 'b': None}", {"b": None, "a": [1]}),
    ("{1: 'a', 2: 'b'}", {"2": "b", "1": "a"}), ("{1: 'a', (1, 2): 'b'}", {"$dict": [[{"$tuple": [1, 2]}, "b"], [1, "a"]]}),
    ("{3, 1, 2}", {"$set": [1, 2, 3]}), ("frozenset('ab')", {"$set": ["b", "a"]}), ("2 ** 100", {"$int": str(2 ** 100)}),
    ("float(10 ** 20)", {"$int": str(10 ** 20)}), ("-10 ** 30", {"$int": str(-10 ** 30)}), ("float('nan')", {"$float": "nan"}),
    ("-float('inf')", {"$float": "-inf"}), ("[float('nan'), 1.0]", [{"$float": "nan"}, 1]), ("b'ab'", {"$bytes": "YWI="}),
    ("{'$x': 1}", {"$$x": 1}), ("range(3)", [0, 1, 2])])
def test_values_that_are_equal(verify, expression, expect):
    test = returned(verify, expression, expect)
    assert test["verdict"] == "pass", test


@pytest.mark.parametrize("expression, expect", [
    ("True", 1), ("0", False), ("None", 0), ("None", False), ("'1'", 1), ("1", "1"), ("[1, 2]", {"$tuple": [1, 2]}), ("[1, 2]", [1]),
    ("[1]", [1, 2]), ("[2, 1]", [1, 2]), ("{1, 2}", [1, 2]), ("{1, 2}", {"$set": [1, 3]}), ("{'a': 1}", {"a": 1, "b": 2}),
    ("{'a': 1, 'b': 2}", {"a": 1}), ("2 ** 100 + 1", {"$int": str(2 ** 100)}), ("float(2 ** 53)", 2 ** 53 + 1), ("None", {"$float": "nan"}),
    ("float('nan')", None), ("[]", {}), ("{}", []), ("'ab'", "AB"), ("'a '", "a"), ("b'ab'", "ab"), ("{1: 'a'}", {"1": "b"}), ("'x' * 9", "x")])
def test_values_that_are_not_equal(verify, expression, expect):
    test = returned(verify, expression, expect)
    assert test["verdict"] == "wrong", test


def test_arguments_have_the_same_forms(verify):
    given = [{"$tuple": [1, {"$set": [2]}]}, {"$int": str(2 ** 70)}, {"$float": "inf"}, {"$bytes": "YWI="}, {"$dict": [[1, 2]]}, {"$$x": 1}]
    answer = verify("def f(*given):\n    return repr(given)", calls((given, repr(((1, {2}), 2 ** 70, float("inf"), b"ab", {1: 2}, {"$x": 1})))))
    assert answer["passed"], answer["tests"]


@pytest.mark.parametrize("compare, expect, verdict", [
    ("exact", "1.0 2\n3", "wrong"), ("exact", "1.0  2\n 3", "pass"), ("tokens", "1.0 2 3", "pass"), ("tokens", "1 2 3", "wrong"),
    ({"rel": 1e-9}, "1 2 3.0", "pass"), ({"abs": 0.5}, "1.4 2 3", "pass"), ({"abs": 0.1}, "1.4 2 3", "wrong"), ({"rel": 0.1}, "1 2 x", "wrong")])
def test_output_is_compared_as_the_request_says(verify, compare, expect, verdict):
    assert verdicts(verify("print('1.0  2\\n 3')", [{"expect_stdout": expect}] * 2, compare=compare)) == [verdict] * 2


@pytest.mark.parametrize("expect, verdict", [
    ("  yes \n1.000001 \n\nX Y\n\n", "pass"), ("YES\n1\n\nx y", "pass"), ("YES\n1\nx y", "wrong"), ("YES\n1\n\nx  y", "wrong"),
    ("YES\n1.0001\n\nx y", "wrong"), ("YES\none\n\nx y", "wrong"), ("YES\n1\n\nx y\nz", "wrong"), ("YES\n1\n", "wrong"), ("", "wrong")])
def test_lines_are_compared_as_online_judges_do(verify, expect, verdict):
    solution = "print('Yes\\n1\\n  \\n x y', end='\\n\\n')"
    assert verdicts(verify(solution, [{"expect_stdout": expect}] * 2, compare="lines")) == [verdict] * 2


def test_lines_compare_bytes_after_a_nul_too(verify):
    assert verdicts(verify("print('a\\0b')", [{"expect_stdout": "a\0c"}, {"expect_stdout": "A\0B"}], compare="lines")) == ["wrong", "pass"]


def test_numbers_within_a_tolerance(verify):
    assert returned(verify, "[1.0000001, 5]", [1, 5], compare={"rel": 1e-6})["verdict"] == "pass"
    assert returned(verify, "[1.0000001, 5]", [1, 5])["verdict"] == "wrong"
    assert returned(verify, "{1.0000001, 5.0}", {"$set": [5, 1]}, compare={"abs": 1e-6})["verdict"] == "pass"
    assert returned(verify, "float('inf')", {"$float": "inf"}, compare={"abs": 1})["verdict"] == "pass"
    assert returned(verify, "1e308", {"$float": "inf"}, compare={"abs": 1})["verdict"] == "wrong"


@pytest.mark.parametrize("solution, says", [
    ("def f():\n    yield 1", "it is a generator"), ("def f():\n    return map(str, [1])", "it is a map"),
    ("def f():\n    return object()", "not representable: object"), ("def f():\n    x = []\n    x.append(x)\n    return x", "it contains itself"),
    ("def f():\n    return 'x' * 10 ** 6", "max_value_bytes=65536"), ("def f():\n    return list(range(10 ** 6))", "max_value_bytes=65536"),
    ("def f():\n    x = []\n    for i in range(150): x = [x]\n    return x", "nested more than 100")])
def test_values_that_can_not_be_compared_are_an_error_that_says_why(verify, solution, says):
    test = verify(solution, calls(((), None)))["tests"][0]
    assert test["verdict"] == "error" and says in test["error"]["message"], test


def test_a_function_may_be_a_method_a_coroutine_or_of_a_module(verify):
    answer = verify("import math\nclass Solution:\n    def two(self, n):\n        return n * 2\nasync def later(n):\n    return n\n", [
        {"call": "Solution().two", "args": [2], "expect": 4}, {"call": "math.sqrt", "args": [4], "expect": 2}, {"call": "later", "args": [5], "expect": 5}])
    assert answer["passed"], answer["tests"]


def test_a_solution_is_loaded_as_a_module_for_tests_that_call_it(verify):
    solution = ("from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass Point:\n    x: int\n"
                "def f():\n    return [__name__, Point(3)]\nif __name__ == '__main__':\n    print(input())")
    policy = {"use_import_whitelist": False, "banned_imports": []}
    assert verify(solution, calls(((), ["solution", {"x": 3}])) + [{"stdin": "a", "expect_stdout": "a"}] * 2, policy=policy)["passed"]


def test_a_name_that_is_missing_is_an_error_with_the_names_that_there_are(verify):
    answer = verify("def solve(): pass\nclass Tree: pass\nanswer = 42", calls(((), 1), call="solution"))
    assert answer["tests"][0]["error"]["message"] == "the solution defines no 'solution'; it defines solve, Tree"


def test_a_solution_that_fails_gives_every_test_its_error(verify):
    answer = verify("import numpy_that_is_missing", calls(((), 1), ((), 2)) + [{"code": "1"}, {"expect_stdout": ""}])
    assert verdicts(answer) == ["error"] * 4
    assert {test["error"]["type"] for test in answer["tests"]} == {"ImportError"} and answer["solution"]["status"] == "error"
    assert {test["error"]["type"] for test in verify("def f(:", calls(((), 1)) + [{"expect_stdout": ""}] * 2)["tests"]} == {"SyntaxError"}


def test_a_warning_of_the_compiler_is_on_the_stderr_of_each_test(verify):
    answer = verify("print(1 is 1)", [{"expect_stdout": "True"}] * 3)
    assert answer["passed"] and all("SyntaxWarning" in test["stderr"] for test in answer["tests"])


def test_limits_hold_for_each_test(verify):
    solution = "def f(n):\n    if n == 1:\n        while True: pass\n    if n == 2:\n        return len(bytearray(1 << 30))\n    return n"
    answer = verify(solution, calls(*[((n,), n) for n in range(4)]), each={"timeout_ms": 300})
    assert verdicts(answer) == ["pass", "timeout", "memory_limit", "pass"], answer
    answer = verify("n = int(input())\nwhile n == 1: pass\nprint(n)", [{"stdin": str(n), "expect_stdout": str(n)} for n in range(3)],
                    each={"cpu_time_seconds": 1, "timeout_ms": 60000})
    assert verdicts(answer) == ["pass", "cpu_limit", "pass"]
    answer = verify("def f():\n    return len(bytearray(100 << 20))", calls(((), 1)), each={"address_space_bytes": "96M"})
    assert verdicts(answer) == ["memory_limit"]


def test_after_the_first_failure_the_rest_is_skipped_if_the_request_says_so(verify):
    answer = verify("def f(n): return n", calls(*[((n,), n if n != 2 else 0) for n in range(40)]), stop_on_fail=True)
    assert verdicts(answer) == ["pass", "pass", "wrong"] + ["skipped"] * 37 and answer["summary"]["skipped"] == 37


def test_output_is_bounded(verify):
    answer = verify("print('x' * 10000)", [{"expect_stdout": "x" * 10000}] * 2, output_bytes=100)
    assert answer["passed"] and answer["tests"][0]["stdout"] == "x" * 100 and answer["tests"][0]["stdout_truncated"]
    assert answer["tests"][0]["stdout_bytes"] == 10001
    test = returned(verify, "'x' * 1000", "x" * 1000, output_bytes=100)
    assert test["verdict"] == "pass" and test["value"] is None and test["value_truncated"]


def test_a_solution_with_threads_can_not_be_forked_and_the_error_says_so(verify):
    answer = verify("import threading\nstop = threading.Event()\nthreading.Thread(target=stop.wait, daemon=True).start()\ndef f(): return 1",
                    calls(((), 1), ((), 1)), policy={"use_import_whitelist": False, "banned_imports": []})
    assert verdicts(answer) == ["error"] * 2 and "2 threads" in answer["tests"][0]["error"]["message"]


@pytest.mark.parametrize("request_, says", [
    ({"tests": []}, "tests: not a list of 1 to 10000"), ({"tests": [{"call": "f"}]}, "tests[0]: expect: missing"),
    ({"tests": [{"call": "f(); g", "expect": 1}]}, "tests[0]: call: not the name"), ({"tests": [{"stdin": "x"}]}, "expect_stdout"),
    ({"tests": [{"code": "1"}, {"call": "f", "expected": 1}]}, "tests[1]: 'expected' is not a member of a call test"), ({"compare": "same"}, "compare: not"),
    ({"compare": {"rel": -1}}, "compare: not"), ({"each": 1}, "each: not an object"), ({"each": {"timeout": 1}}, "timeout"),
    ({"output_bytes": -1}, "output_bytes"), ({"stop_on_fail": 1}, "stop_on_fail"), ({"solution": None}, "solution: not a string"),
    ({"stdin": "x"}, "stdin: verify takes no such member"), ({"nonsense": 1}, "nonsense: verify takes no such member"),
    ({"checkpoint": True}, "checkpoint: verify takes no such member"), ({"session_policy": {}}, "session_policy: verify takes no such member"),
    ({"stop_on_fial": True}, "stop_on_fail"), ({"solution": 1}, "solution: not a string"), ({"each": {"timeout_ms": -1}}, "each: timeout_ms can't be -1"),
    ({"tests": [{}]}, "tests[0]: neither stdin, expect_stdout, call nor code"), ({"tests": [{"stdin": ""}]}, "expect_stdout: missing"),
    ({"tests": [{"call": "f", "args": 1, "expect": 1}]}, "tests[0]: args: not a list"),
    ({"tests": [{"call": "f", "kwargs": [], "expect": 1}]}, "tests[0]: kwargs: not an object"),
    ({"tests": [{"call": "f", "kwargs": {"a": {"$int": 1}}, "expect": 1}]}, "tests[0]: kwargs: $int takes"),
    ({"tests": [{"call": "f", "expect": {"$int": "1.5"}}]}, "$int takes"), ({"tests": [{"call": "f", "args": [{"$foo": 1}], "expect": 1}]}, "'$'")])
def test_a_request_that_is_wrong_is_refused_with_its_place(verify, request_, says):
    with pytest.raises(Failure) as failure:
        verify(**{"solution": ADD, "tests": [{"code": "1"}], **request_})
    assert failure.value.code in ("invalid_request", "invalid_policy") and says in f"{failure.value.message} {failure.value.hint}", failure.value

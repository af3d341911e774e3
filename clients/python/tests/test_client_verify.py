"""verify through both clients, with each transport."""
import asyncio
import math

import pytest

from pyexec import InvalidPolicyError, InvalidRequestError

SOLUTION = "def f(*given, **named):\n    return given[0] if given else named"


def test_python_values_keep_their_types(px):
    values = [None, True, 7, 2 ** 90, 1.5, math.inf, "å", [1, [2]], (1, (2,)), {1, 2}, b"ab", {"a": (1,)}, {1: "x", (1, 2): [None]}, {"$a": 1}]
    answer = px.verify(SOLUTION, [{"call": "f", "args": [value], "expect": value} for value in values])
    assert answer.passed, [test for test in answer.tests if not test.passed]
    assert [test.value for test in answer.tests] == values and [type(test.value) for test in answer.tests] == [type(value) for value in values]
    nan = px.verify(SOLUTION, [{"call": "f", "args": [math.nan], "expect": math.nan}])
    assert nan.passed and math.isnan(nan.tests[0].value)


def test_each_kind_of_test_and_the_limits(px):
    answer = px.verify("def f(n):\n    while n: pass\n    return {'n': n}\nif __name__ == '__main__':\n    print(input().upper())", [
        {"stdin": "abc", "expect_stdout": "ABC"}, {"stdin": "abc", "expect_stdout": "abc"}, {"call": "f", "kwargs": {"n": 0}, "expect": {"n": 0}},
        {"call": "f", "args": [1], "expect": 1}, {"code": "assert f(0) == {'n': 0}"}, {"call": "g", "expect": 0}],
        each={"timeout_ms": 300}, compare="tokens")
    assert [test.verdict for test in answer.tests] == ["pass", "wrong", "pass", "timeout", "pass", "error"]
    assert [test.claim for test in answer.tests] == [False] * 4 + [True, False] and not answer.passed
    assert answer.tests[5].error.type == "NameError" and "it defines f" in answer.tests[5].error.message
    assert answer.summary["pass"] == 3 and answer.solution["status"] == "ok" and answer.tests[0].usage.wall_ms > 0


def test_tests_after_the_first_failure_are_skipped(px):
    answer = px.verify(SOLUTION, [{"call": "f", "args": [n], "expect": min(n, 2)} for n in range(9)], stop_on_fail=True)
    assert [test.verdict for test in answer.tests] == ["pass"] * 3 + ["wrong"] + ["skipped"] * 5


def test_a_wrong_request_is_an_error(px):
    with pytest.raises(InvalidRequestError, match="tests: not a list"):
        px.verify(SOLUTION, [])
    for tests, says in [("ab", "tests: not a list"), ([{"code": "1"}, 1], "tests.1.: not an object"),
                        ([{"call": "f", "args": "ab", "expect": 1}], "args: not a list"), ([{"call": "f", "args": b"ab", "expect": 1}], "args: not a list"),
                        ([{"call": "f", "args": {"a": 1}, "expect": 1}], "args: not a list"), ([{"call": "f", "kwargs": [1], "expect": 1}], "kwargs: not an")]:
        with pytest.raises(InvalidRequestError, match=says):
            px.verify(SOLUTION, tests)
    with pytest.raises(TypeError, match="of the type object: docs/verify.md"):
        px.verify(SOLUTION, [{"call": "f", "args": [[object()]], "expect": 1}])
    with pytest.raises(InvalidPolicyError, match="timeout_mss"):
        px.verify(SOLUTION, [{"code": "1"}], each={"timeout_mss": 1})


def test_with_asyncio(make_async):
    async def main():
        async with make_async() as apx:
            answers = await asyncio.gather(*[apx.verify(SOLUTION, [{"call": "f", "args": [n], "expect": n}] * 3) for n in range(4)])
            assert all(answer.passed for answer in answers)
    asyncio.run(main())

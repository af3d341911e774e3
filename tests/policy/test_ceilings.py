"""What a caller who is not trusted may ask for: pyexec_request_set_ceiling(). Field by field: src/policy/ceiling_test.c."""
import pytest

from driver import Driver, Failure


@pytest.fixture
def driver(compile_host, nothing_left):
    with Driver(compile_host("capi_driver.c"), policy={"timeout_ms": 4000}) as made:
        yield made


def refused(driver, *arguments, **keywords):
    with pytest.raises(Failure) as failure:
        driver.call(*arguments, **keywords)
    assert failure.value.code == "invalid_policy"
    return failure.value.message, failure.value.hint


@pytest.mark.parametrize("session", ["", "s"])
def test_beyond_it_the_code_never_starts(driver, session):
    message, hint = refused(driver, session, "print(1)", {"timeout_ms": 9001}, {"timeout_ms": 9000})
    assert message == "timeout_ms: 9001 is beyond this caller's ceiling, which is 9000" and "at most 9000" in hint
    assert driver.do("sessions") == []
    assert driver.call(session, "2", {"timeout_ms": 9000}, {"timeout_ms": 9000})["last_value_repr"] == "2"


def test_it_is_merged_over_the_executor_s_policy(driver):
    assert refused(driver, "", "1", {"timeout_ms": 4001}, {})[0].startswith("timeout_ms: 4001")
    assert refused(driver, "", "1", {"disable_networking": False}, {"timeout_ms": 9000})[0].startswith("disable_networking: false")
    assert driver.call("", "1", {"timeout_ms": 4001})["status"] == "ok"
    assert refused(driver, "", "1", ceiling={"timeout": 5})[0].startswith("ceiling: policy has no key 'timeout'")


def test_the_short_fields_count_too(driver):
    assert refused(driver, "", "1", ceiling={"timeout_ms": 100}, timeout_ms=101)[0].startswith("timeout_ms: 101")


def test_what_is_not_asked_for_is_lowered(driver):
    result = driver.call("", "while True: pass", ceiling={"timeout_ms": 100, "cpu_time_seconds": None})
    assert (result["status"], "timeout_ms=100" in result["error_repr"]) == ("timeout", True), result
    assert driver.call("", "import re", ceiling={"allowed_imports": ["math"]})["error_repr"].startswith("ImportError: import 're' not allowed")


def test_defaults_of_the_caller_are_lowered_and_what_it_asks_for_is_refused(driver):
    ceiling = {"timeout_ms": 3000, "allowed_imports": ["math"]}
    own = {"timeout_ms": 9000, "allowed_imports": ["math", "re"], "max_value_bytes": 50, "python_bin": "/no/python", "disable_open": False}

    def kept(*arguments, **keywords):
        return len(driver.call(*arguments, **keywords)["last_value_repr"])
    long = "import math\n'x' * 1000"
    for session, extra, bytes in (("", {}, 50), ("d", {}, 50), ("e", {"session_policy": {"max_value_bytes": 60}}, 60)):
        assert kept(session, long, ceiling=ceiling, policy_defaults=own, **extra) == bytes
        assert "import 're' not" in driver.call(session, "import re", ceiling=ceiling, policy_defaults=own)["error_repr"]
    # A session keeps the limits with which it was made.
    assert kept("d", long, ceiling=ceiling, policy_defaults={"max_value_bytes": 70}) == 50
    assert kept("", long, {"max_value_bytes": 80}, ceiling, policy_defaults=own) == 80
    assert kept("", long, policy_defaults={"max_value_bytes": 90}) == 90
    assert refused(driver, "", "1", {"timeout_ms": 3001}, ceiling, policy_defaults=own)[0].startswith("timeout_ms: 3001")
    assert refused(driver, "", "1", ceiling=ceiling, policy_defaults={"timeout": 1})[0].startswith("policy has no key 'timeout'")


def test_it_holds_for_a_session_s_making_and_later_calls(driver):
    ceiling = {"timeout_ms": 3000, "disable_open": False}
    assert refused(driver, "s", "1", {"max_threads": 17}, ceiling)[0].startswith("max_threads: 17")
    assert refused(driver, "s", "1", ceiling=ceiling, session_policy={"max_threads": 17})[0].startswith("max_threads: 17")
    driver.call("s", "x = 1", {"disable_open": False}, ceiling)
    assert refused(driver, "s", "x", {"timeout_ms": 3001}, ceiling)[0].startswith("timeout_ms: 3001")
    assert driver.call("s", "x", {"timeout_ms": 3000}, ceiling)["last_value_repr"] == "1"
    # The ceiling is lower now, but the limits of the session can't be lowered any more.
    assert refused(driver, "s", "x", ceiling={"timeout_ms": 3000})[0].startswith("disable_open: full file access")
    assert driver.call("s", "x", ceiling=ceiling)["last_value_repr"] == "1"

"""Sessions that are made before their first call, their description, and their files as streams: the C API that pyexec serve uses."""
import os

import pytest

from conftest import USERS, uid_of
from driver import Driver, Failure

FULL = {"disable_open": False, "use_import_whitelist": False, "banned_imports": [], "workspace_bytes": 1 << 20}


@pytest.fixture
def program(compile_host, nothing_left):
    return compile_host("capi_driver.c")


@pytest.fixture
def driver(program):
    with Driver(program, policy=dict(FULL)) as made:
        yield made


def failure_of(driver, *words):
    with pytest.raises(Failure) as failure:
        driver.do(*words)
    assert failure.value.hint
    return failure.value


def test_files_are_put_before_the_first_call(driver):
    driver.do("create", "s", {"max_threads": 3}, "")
    driver.do("write", "s", "d/in.txt", "hello")
    result = driver.call("s", "import sys\nopen('d/in.txt').read(), 'json' in globals()")
    assert result["last_value_repr"] == "('hello', False)"
    assert result["session"] == {"id": "s", "created": False, "restarted": None, "execution_count": 1, "restored": None, "no_checkpoint": None}
    assert driver.call("s", "_")["last_value_repr"] == "('hello', False)"


def test_the_imports_of_its_policy_hold_from_the_first_call(driver):
    driver.do("create", "s", {"use_import_whitelist": True, "allowed_imports": ["math"]}, "")
    assert driver.call("s", "import math\nmath.pi > 3")["last_value_repr"] == "True"
    assert driver.call("s", "import re")["error_repr"].startswith("ImportError: import 're' not allowed")


def test_one_that_is_there_is_not_made_again(driver):
    driver.call("s", "x = 1")
    failure = failure_of(driver, "create", "s")
    assert (failure.code, failure.errno) == ("invalid_request", 17)
    assert driver.call("s", "x")["last_value_repr"] == "1"


@pytest.mark.parametrize("policy, ceiling, code", [
    ({"max_threads": 0}, "", "invalid_policy"), ("[]", "", "invalid_policy"), ("", "{", "invalid_policy"),
    ({"max_threads": 17}, {}, "invalid_policy"), ({"preload_imports": ["no_such"]}, "", "invalid_policy"),
    ({"python_bin": "/no/such"}, "", "python_not_found")])
def test_one_that_can_t_be_made_is_not_there(driver, policy, ceiling, code):
    assert failure_of(driver, "create", "s", policy, ceiling).code == code
    assert driver.do("sessions") == []
    driver.do("create", "s")
    driver.do("close", "s")


def test_it_is_named_and_configured_like_any(program):
    with Driver(program, session={"max_count": 2}) as driver:
        assert failure_of(driver, "create", "a/b").code == "invalid_request"
        for name in "abc":
            driver.do("create", name)
        assert [s["id"] for s in driver.do("sessions")] == ["b", "c"]
        driver.do("create", "a")
        assert driver.do("session", "a")["restarted"] == "evicted"
    with Driver(program, session={"enabled": False}) as driver:
        assert failure_of(driver, "create", "a").code == "invalid_request"


def test_a_session_shows_its_effective_policy(driver):
    driver.do("create", "s", {"max_threads": 3}, {"timeout_ms": 100})
    seen = driver.do("session", "s")
    assert {key: seen[key] for key in ("id", "principal", "busy", "execution_count", "restarted")} == \
        {"id": "s", "principal": None, "busy": False, "execution_count": 0, "restarted": None}
    assert (seen["policy"]["max_threads"], seen["policy"]["timeout_ms"], seen["policy"]["disable_open"]) == (3, 100, False)
    driver.call("s", "1")
    assert driver.do("session", "s")["execution_count"] == 1
    assert failure_of(driver, "session", "t").code == "session_not_found"


def test_one_that_dies_before_its_first_call_is_noticed(program):
    with Driver(program, session={"idle_ttl": "100ms"}) as driver:
        driver.do("create", "s")
        result = driver.call("t", "import time\ntime.sleep(0.5)")
        assert result["status"] == "ok" and [s["id"] for s in driver.do("sessions")] == ["t"]
        assert driver.call("s", "1")["session"] == {"id": "s", "created": True, "restarted": "idle_ttl", "execution_count": 1, "restored": None, "no_checkpoint": None}


def test_streams(driver):
    driver.do("create", "s")
    room = int(driver.do("stream", "s", "a/b/c", "write", "text"))
    assert 900000 < room <= 1 << 20
    assert driver.do("stream", "s", "a/b/c", "read") == "4 text"
    driver.do("stream", "s", "a/b/c", "write", "x")
    assert driver.call("s", "open('a/b/c').read()")["last_value_repr"] == "'x'"


def test_a_stream_of_what_is_not_there_says_so(driver):
    driver.do("create", "s")
    for path in ("gone", "gone/f"):
        failure = failure_of(driver, "stream", "s", path, "read")
        assert (failure.code, failure.errno) == ("invalid_request", 2)
    assert failure_of(driver, "stream", "t", "f", "read").code == "session_not_found"


@pytest.mark.parametrize("mode", ["read", "write"])
def test_streams_stay_in_the_workspace_and_wait_for_nothing(program, open_folder, mode):
    with Driver(program, policy=dict(FULL), session={"workspace_root": str(open_folder)}) as driver:
        driver.do("create", "s")
        here = open_folder / "s"
        (here / "d").mkdir()
        os.mkfifo(here / "fifo")
        for name, target in (("out", "/etc"), ("link", "/etc/passwd"), ("in", "d")):
            (here / name).symlink_to(target)
        for path in ("/etc/passwd", "../f", "d/../../f", "out/passwd", "link", "in/f", "fifo", "d", ".", "d/", *[""] * (mode == "write")):
            failure = failure_of(driver, "stream", "s", path, mode, "x")
            assert failure.code == "invalid_request" and failure.errno != 2, (path, failure)
        assert sorted(os.listdir(here)) == ["d", "fifo", "in", "link", "out"]


@pytest.mark.parametrize("user", USERS)
def test_the_quota_of_a_host_folder_is_counted(program, open_folder, user):
    os.chown(open_folder, uid_of(user), -1)
    with Driver(program, uid_of(user), policy=dict(FULL), session={"workspace_root": str(open_folder)}) as driver:
        driver.do("create", "s")
        assert int(driver.do("stream", "s", "f", "write", "x" * 1000)) == 1 << 20
        assert int(driver.do("stream", "s", "g", "write", "")) == (1 << 20) - 1000
        # The bytes of a file that is replaced do not count.
        assert int(driver.do("stream", "s", "f", "write", "")) == 1 << 20
        driver.call("s", "with open('big', 'w') as file:\n    file.write('x' * ((1 << 20) - 10))")
        driver.do("write", "s", "g", "x" * 10)
        failure = failure_of(driver, "write", "s", "f", "x")
        assert (failure.code, failure.errno) == ("invalid_request", 28) and "workspace_bytes" in failure.hint

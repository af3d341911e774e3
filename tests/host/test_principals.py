"""Callers in one executor that are separated from each other: pyexec_executor_use_principals()."""
import os
import stat
import subprocess

import pytest

from conftest import USERS, uid_of
from driver import Driver, Failure


@pytest.fixture
def open_driver(compile_host, nothing_left):
    program = compile_host("capi_driver.c")

    def open(principals=True, **configuration):
        driver = Driver(program, **configuration)
        if principals:
            driver.do("use_principals")
        return driver
    return open


# This asks the kernel, because the guard refuses access outside of the working directory anyway.
SEES = "import ctypes\nlibc = ctypes.CDLL(None)\n[libc.open(path.encode(), 0) >= 0 for path in %r]"
FULL = {"disable_open": False, "use_import_whitelist": False, "banned_imports": []}


def named(failure):
    return failure.value.code, failure.value.message


def test_each_has_its_own_sessions_of_the_same_id(open_driver):
    with open_driver() as driver:
        driver.call("alice/s", "x = 1")
        result = driver.call("bob/s", "'x' in globals()")
        assert result["last_value_repr"] == "False"
        assert result["session"] == {"id": "s", "created": True, "restarted": None, "execution_count": 1, "restored": None, "no_checkpoint": None}
        assert [(s["principal"], s["id"]) for s in driver.do("sessions")] == [("alice", "s"), ("bob", "s")]
        driver.do("close", "alice/s")
        assert driver.call("bob/s", "1")["session"]["created"] is False
        assert driver.call("alice/s", "'x' in globals()")["session"]["restarted"] == "closed"
        driver.do("close_all")
        assert driver.do("sessions") == []


@pytest.mark.parametrize("name", ["s", "/s", "a/", "a/b/c", "./s", "../s", "a/.", "a/..", "a b/s", "ü/s", "a" * 65 + "/s", "a/" + "s" * 129])
def test_bad_names_are_refused(open_driver, name):
    with open_driver() as driver:
        with pytest.raises(Failure) as failure:
            driver.call(name, "1")
        assert failure.value.code == "invalid_request" and failure.value.hint
        driver.call("a" * 64 + "/" + "s" * 128, "1")


def test_without_principals_a_slash_is_refused_and_none_is_named(open_driver):
    with open_driver(principals=False) as driver:
        with pytest.raises(Failure) as failure:
            driver.call("a/s", "1")
        assert failure.value.code == "invalid_request"
        driver.call("s", "1")
        assert driver.do("sessions")[0]["principal"] is None


def test_errors_name_the_id_alone(open_driver):
    with open_driver() as driver:
        for function in (["close", "alice/gone"], ["write", "alice/gone", "f", "x"]):
            with pytest.raises(Failure) as failure:
                driver.do(*function)
            assert named(failure) == ("session_not_found", "there is no session 'gone'")
        driver.call("alice/s", "1")
        for function in (["write", "alice/s", "f", "x"],):
            with pytest.raises(Failure) as failure:
                driver.do(*function)
            assert "'s'" in failure.value.message and "alice" not in failure.value.message + failure.value.hint
        with pytest.raises(Failure) as failure:
            driver.call("alice/s", "1", {"max_threads": 2})
        assert "'s'" in failure.value.message and "alice" not in failure.value.message


def test_each_has_max_count_sessions_and_makes_room_among_its_own(open_driver):
    with open_driver(session={"max_count": 2}) as driver:
        for name in ("alice/1", "bob/1", "bob/2", "alice/2", "bob/3"):
            driver.call(name, "1")
        assert {(s["principal"], s["id"]) for s in driver.do("sessions")} == \
            {("alice", "1"), ("alice", "2"), ("bob", "2"), ("bob", "3")}
        assert driver.call("bob/1", "1")["session"]["restarted"] == "evicted"
        # A name that begins with another principal's name belongs to a different principal.
        driver.call("bo/1", "1")
        assert len(driver.do("sessions")) == 5


def test_in_memory_a_workspace_is_below_its_principal_s_folder(open_driver):
    with open_driver(policy=dict(FULL)) as driver:
        assert driver.call("alice/s", "import os\nopen('f', 'w').close()\nos.getcwd()")["last_value_repr"] == "'/tmp/alice/s'"
        assert driver.call("bob/s", SEES % ["/tmp/bob/s", "/tmp/alice"])["last_value_repr"] == "[True, False]"


@pytest.mark.parametrize("user", USERS)
def test_on_the_host_each_has_a_folder_that_goes_with_its_last_session(open_driver, open_folder, user):
    (open_folder / "carol").mkdir()
    (open_folder / "carol" / "there").mkdir()
    for path in (open_folder, open_folder / "carol"):
        os.chown(path, uid_of(user), -1)
    session = {"workspace_root": str(open_folder), "adopt_workspace": True}
    with open_driver(uid=uid_of(user), policy=dict(FULL), session=session) as driver:
        for name in ("alice/s", "alice/t", "bob/s", "carol/s"):
            assert driver.call(name, "import os\nopen('f', 'w').close()\nos.getcwd()")["last_value_repr"] == repr("%s/%s" % (open_folder, name))
        for path in ("alice", "alice/s", "bob"):
            assert stat.S_IMODE((open_folder / path).stat().st_mode) == 0o700
        with pytest.raises(Failure) as failure:
            driver.call("carol/there", "1")
        assert failure.value.code == "invalid_request" and "adopt" not in failure.value.hint
        assert driver.call("bob/s", SEES % [str(open_folder / "bob" / "s"), str(open_folder / "alice")])["last_value_repr"] == "[True, False]"
        driver.do("close", "alice/s")
        assert os.listdir(open_folder / "alice") == ["t"]
        driver.do("close", "alice/t")
        assert sorted(os.listdir(open_folder)) == ["bob", "carol"]
        driver.call("alice/s", "1")
        assert (open_folder / "alice" / "s").is_dir()
    assert os.listdir(open_folder) == ["carol"] and os.listdir(open_folder / "carol") == ["there"]


def test_a_principal_s_folder_is_not_a_link(open_driver, open_folder):
    (open_folder / "elsewhere").mkdir()
    (open_folder / "root").mkdir()
    (open_folder / "root" / "alice").symlink_to(open_folder / "elsewhere")
    with open_driver(policy=dict(FULL), session={"workspace_root": str(open_folder / "root")}) as driver:
        with pytest.raises(Failure) as failure:
            driver.call("alice/s", "1")
        assert failure.value.code == "invalid_request" and not os.listdir(open_folder / "elsewhere")


def test_many_threads_make_and_close_the_sessions_of_one_principal(compile_host, open_folder, nothing_left):
    done = subprocess.run([compile_host("capi_principals.c"), str(open_folder)], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr
    assert os.listdir(open_folder) == []


def test_a_successor_says_why_the_sessions_of_the_executor_before_it_ended(open_driver):
    with open_driver() as driver:
        driver.do("remember", "alice/s", "host_restart")
        driver.do("remember", "alice/t", "idle_ttl")
        with pytest.raises(Failure) as failure:
            driver.do("session", "alice/s")
        assert named(failure) == ("session_not_found", "there is no session 's'; the last one of this id has ended: host_restart")
        assert driver.call("alice/s", "1")["session"] == {"id": "s", "created": True, "restarted": "host_restart", "execution_count": 1, "restored": None, "no_checkpoint": None}
        assert driver.call("alice/s", "1")["session"]["restarted"] is None
        driver.do("remember", "alice/s", "closed")      # ignored, because this session is live
        assert driver.do("session", "alice/s")["restarted"] == "host_restart"
        assert driver.call("alice/t", "1")["session"]["restarted"] == "idle_ttl"
        # Another principal gets no information about it.
        assert driver.call("bob/s", "1")["session"]["restarted"] is None
        with pytest.raises(Failure) as failure:
            driver.do("session", "bob/t")
        assert named(failure) == ("session_not_found", "there is no session 't'")


def test_a_call_that_never_started_keeps_the_reason_for_the_next(open_driver):
    with open_driver() as driver:
        driver.do("remember", "alice/s", "host_restart")
        with pytest.raises(Failure):
            driver.call("alice/s", "1", {"preload_imports": ["no_such_module_at_all"]})
        assert driver.call("alice/s", "1")["session"]["restarted"] == "host_restart"


@pytest.mark.parametrize("session, why", [("s", "host_restart"), ("alice/", "closed"), ("a b/s", "closed"), ("alice/../s", "closed"),
                                          ("alice/s", ""), ("alice/s", "rebooted"), ("alice/s", "host_restart ")])
def test_what_can_be_no_session_or_reason_is_not_remembered(open_driver, session, why):
    with open_driver() as driver:
        with pytest.raises(Failure) as failure:
            driver.do("remember", session, why)
        assert failure.value.code == "invalid_request" and failure.value.hint
        assert driver.call("alice/s", "1")["session"]["restarted"] is None


def test_the_last_10000_ends_are_remembered(open_driver):
    with open_driver() as driver:
        for number in range(10001):
            driver.do("remember", "alice/%d" % number, "host_restart")
        assert driver.call("alice/0", "1")["session"]["restarted"] is None
        assert driver.call("alice/1", "1")["session"]["restarted"] == "host_restart"
        assert driver.call("alice/10000", "1")["session"]["restarted"] == "host_restart"


def test_a_watcher_is_told_of_each_beginning_and_end(open_driver):
    with open_driver(session={"max_count": 2}) as driver:
        driver.call("alice/before", "1")
        driver.do("watch", "on")
        driver.call("alice/s", "1")
        driver.call("alice/s", "1")
        driver.do("create", "bob/t", "", "")
        driver.call("alice/u", "1")
        driver.do("close", "alice/s")
        driver.do("watch", "")
        driver.do("close", "alice/u")
        assert driver.do("watched") == "alice/s begun,bob/t begun,alice/before evicted,alice/u begun,alice/s closed"


def test_sessions_that_are_there_go_on_while_new_ones_are_refused(open_driver):
    with open_driver() as driver:
        driver.call("alice/s", "x = 1")
        driver.do("refuse_sessions")
        assert driver.call("alice/s", "x")["last_value_repr"] == "1"
        for refused in (lambda: driver.call("alice/new", "1"), lambda: driver.do("create", "alice/new", "", "")):
            with pytest.raises(Failure) as failure:
                refused()
            assert failure.value.code == "shutting_down" and failure.value.hint
        driver.do("close", "alice/s")
        with pytest.raises(Failure) as failure:
            driver.call("alice/s", "x")
        assert failure.value.code == "shutting_down"
        assert driver.call("", "1 + 1")["last_value_repr"] == "2"
        assert driver.do("sessions") == []


def test_a_session_that_never_had_a_call_is_told_as_one_that_never_was(open_driver):
    with open_driver() as driver:
        driver.do("watch", "on")
        with pytest.raises(Failure):
            driver.call("alice/s", "1", {"preload_imports": ["no_such_module_at_all"]})
        assert driver.do("watched") == "alice/s begun,alice/s "

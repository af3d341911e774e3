"""The host itself reaches a limit: the error names the limit and how to raise it, open sessions continue, and nothing is
left when there is room again."""
import os
import resource
import subprocess
import time

import pytest

from conftest import without_leak_search
from library import Executor, Failure

MANY = {"max_count": 0}
LONER = 61000 + os.getpid() % 1000      # a user with no other process
AS_LONER = ["setpriv", "--reuid=%d" % LONER, "--regid=%d" % LONER, "--clear-groups"] if os.getuid() == 0 else []


def below_limit(name, value):
    """Returns a command prefix that makes a user namespace with this low value of the sysctl (namespaces(7))."""
    return ["unshare", "-Ur", "sh", "-c", 'echo %d > /proc/sys/user/%s; exec "$@"' % (value, name), "sh"]


def open_until_refused(executor, at_most=100):
    for i in range(at_most):
        try:
            executor.call("s%d" % i, "x = %d" % i)
        except Failure as failure:
            return i, failure
    raise AssertionError("no limit was met")


def call_when_there_is_room(executor, session, code):
    """The kernel frees the resources of a killed process a little later."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return executor.call(session, code)
        except Failure as failure:
            assert failure.code == "overloaded" and time.monotonic() < deadline
            time.sleep(0.01)


@pytest.mark.parametrize("prefix, names", [
    (["prlimit", "--nofile=150"], ["open files", "RLIMIT_NOFILE", "150", "ulimit -n", "LimitNOFILE="]),
    (["prlimit", "--nproc=30", *AS_LONER], ["ulimit -u", "kernel.pid_max", "kernel.threads-max", "pids.max"]),
    (below_limit("max_user_namespaces", 30), ["user.max_user_namespaces"]),
    (below_limit("max_pid_namespaces", 30), ["user.max_pid_namespaces"]),
    (below_limit("max_mnt_namespaces", 30), ["user.max_mnt_namespaces"]),
], ids=["open_files", "processes", "user_namespaces", "pid_namespaces", "mount_namespaces"])
def test_the_limit_is_named_and_open_sessions_go_on(prefix, names, own, nothing_left):
    if "unshare" in prefix and subprocess.run([*prefix, "true"], stderr=subprocess.DEVNULL).returncode:
        pytest.skip("no user namespace to set the limit in")
    with Executor(session=MANY, program=own.path, prefix=prefix) as executor:
        count, failure = open_until_refused(executor)
        assert failure.code == "overloaded" and count > 10
        for name in names:
            assert name in str(failure)
        values = [call_when_there_is_room(executor, "s%d" % i, "x")["last_value_repr"] for i in range(count)]
        assert values == [str(i) for i in range(count)]
        executor.close("s0")
        executor.close("s1")
        result = call_when_there_is_room(executor, "again", "6 * 7")
        assert result["last_value_repr"] == "42" and result["session"]["restarted"] is None


@pytest.mark.parametrize("limit", [["--nofile=%d" % n] for n in (5, 6, 100)] + [["--nproc=0", *AS_LONER]],
                         ids=lambda limit: limit[0])
def test_a_program_that_may_not_even_start_names_the_limit(limit, own):
    done = subprocess.run(["prlimit", *limit, own.path, "run", "-c", "1"], capture_output=True, timeout=60, env=without_leak_search())
    assert done.returncode == 125 and b"ulimit -" in done.stderr and b"defect" not in done.stderr, done.stderr


def descriptors(executor):
    time.sleep(0.01)
    return len(os.listdir("/proc/%d/fd" % executor.pid))


def children(executor):
    """Returns how many processes are below it."""
    below, found = [str(executor.pid)], 0
    while below:
        done = subprocess.run(["ps", "-o", "pid=", "--ppid", ",".join(below)], stdout=subprocess.PIPE)
        below = done.stdout.decode().split()
        found += len(below)
    return found


@pytest.mark.parametrize("session", [True, False], ids=["session", "run"])
@pytest.mark.parametrize("files", ["none", "full"])
def test_whatever_descriptor_is_the_one_too_many(own, session, files, nothing_left):
    """Raises the limit by one each time, until the call succeeds."""
    policy = {"disable_open": False, "allow_readonly_open": False} if files == "full" else {}
    # No process or thread starts and ends in the background.
    with Executor(policy=policy, session=MANY, host={"zygotes": 1, "pool_size": 0}, program=own.path) as executor:
        executor.call("first", "x = 1")
        at_first = children(executor)
        before = min(descriptors(executor) for _ in range(20))      # a request holds a descriptor until it is freed
        _, hard = resource.prlimit(executor.pid, resource.RLIMIT_NOFILE)
        refused = 0
        for room in range(40):
            resource.prlimit(executor.pid, resource.RLIMIT_NOFILE, (before + room, hard))
            try:
                result = executor.call("next" if session else None, "6 * 7")
                assert result["last_value_repr"] == "42" and result["usage"]["cpu_ms"] > 0
                break
            except Failure as failure:
                assert failure.code == "overloaded" and "RLIMIT_NOFILE" in str(failure), failure
                refused += 1
        resource.prlimit(executor.pid, resource.RLIMIT_NOFILE, (hard, hard))
        assert refused >= 3
        assert executor.call("first", "x")["last_value_repr"] == "1"
        executor.close_all()
        executor.call("first", "x = 1")
        deadline = time.monotonic() + 5
        while (left := (descriptors(executor), children(executor))) != (before, at_first) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert left == (before, at_first)


@pytest.mark.parametrize("call", ["workspace", "kept session", "new session"])
def test_with_folders_of_the_host_too(own, call, open_folder, nothing_left):
    """Earlier, lost mounts gave an error with the code "ok" and no text, and missing descriptors were reported as a problem of the folder or as a defect."""
    (open_folder / "root").mkdir()
    (open_folder / "folder").mkdir()
    (open_folder / "folder" / "f").write_text("mine")
    policy = {"disable_open": False, "allow_readonly_open": False}
    request = {"workspace": str(open_folder / "folder")} if call == "workspace" else {}
    session = {**MANY, **({} if request else {"workspace_root": str(open_folder / "root")})}
    name = {"workspace": [None, None], "kept session": ["kept", "kept"], "new session": ["old", "new"]}[call]
    with Executor(policy=policy, session=session, host={"zygotes": 1, "pool_size": 0}, program=own.path) as executor:
        executor.call(name[0], "1", **request)
        before = min(descriptors(executor) for _ in range(20))
        _, hard = resource.prlimit(executor.pid, resource.RLIMIT_NOFILE)
        seen = set()
        for room in range(4 - before, 40):
            resource.prlimit(executor.pid, resource.RLIMIT_NOFILE, (before + room, hard))
            try:
                result = executor.call(name[1], "open('f').read()" if request else "6 * 7", **request)
                assert result["last_value_repr"] == ("'mine'" if request else "42")
                break
            except Failure as failure:
                assert failure.code == "overloaded" and "RLIMIT_NOFILE" in failure.hint and failure.message, str(failure)
                seen.add(failure.message)
            finally:
                resource.prlimit(executor.pid, resource.RLIMIT_NOFILE, (hard, hard))
        assert len(seen) >= 2, seen

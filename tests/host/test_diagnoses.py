"""A failure has the error code of its cause: when the machine lacks something, neither the interpreter nor the policy nor the script is blamed."""
import ctypes
import json
import os
import signal
import subprocess

import pytest

from conftest import ROOT, preload, without_leak_search
from test_kills import SLEEP, find
from test_host_limits import AS_LONER

# Waits as long as the file exists, and then executes Python.
WAITING_PYTHON = r"""
#include <signal.h>
#include <unistd.h>
int main(int argc, char **argv)
{
    if (access("%(folder)s/suicide", F_OK) == 0)
        kill(getpid(), SIGKILL);
    while (access("%(folder)s/wait", F_OK) == 0)
        usleep(1000);
    argv[0] = "/usr/bin/python3";
    execv(argv[0], argv);
    return 99 + 0 * argc;
}
"""


@pytest.fixture
def waiting_python(open_folder):
    (open_folder / "python.c").write_text(WAITING_PYTHON % {"folder": open_folder})
    subprocess.run(["gcc", "-o", open_folder / "python3", open_folder / "python.c"], check=True)
    return open_folder


def start(program, folder):
    return program.popen("run", "--json", "--python-bin", str(folder / "python3"), "-c", "6 * 7", stdin=subprocess.DEVNULL,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_a_zygote_that_is_killed_while_it_starts_is_started_again(pyexec, waiting_python, nothing_left):
    (waiting_python / "wait").touch()
    cli = start(pyexec, waiting_python)
    victim = find("zygote", cli.pid, wait=30)
    (waiting_python / "wait").unlink()
    os.kill(victim, signal.SIGKILL)
    out, err = cli.communicate(timeout=60)
    assert cli.returncode == 0 and json.loads(out)["last_value_repr"] == "42", (out, err)


def test_a_zygote_that_is_killed_again_is_no_fault_of_the_interpreter(pyexec, waiting_python, nothing_left):
    (waiting_python / "suicide").touch()
    cli = start(pyexec, waiting_python)
    out, err = cli.communicate(timeout=60)
    error = json.loads(out)
    assert cli.returncode == 125 and error["code"] == "overloaded" and "signal 9" in error["message"], (out, err)
    assert "memory" in error["hint"], error


@pytest.mark.parametrize("limit", range(1, 7))
def test_no_room_for_a_process_is_overload(own, limit, nothing_left):
    """The limit of processes is reached in turn at each process and thread that the host starts."""
    done = subprocess.run(["prlimit", "--nproc=%d" % limit, *AS_LONER, own.path, "run", "--json", "-c", "6 * 7"],
                          capture_output=True, timeout=60, env={**without_leak_search(), "PYEXEC_POLICY_PYTHON_BIN": "/usr/bin/python3"})
    answer = json.loads(done.stdout)
    if done.returncode == 0:
        assert answer["last_value_repr"] == "42", answer
    else:
        assert done.returncode == 125 and answer["code"] == "overloaded" and "ulimit -u" in answer["hint"], answer


def in_namespace_without_setgroups(program):
    """Runs the command as root of a user namespace that has all ids but must not change groups (user_namespaces(7))."""
    unshared, mapped = os.pipe(), os.pipe()
    def enter():
        os.setgroups([4])
        assert ctypes.CDLL(None).unshare(0x10000000) == 0
        os.write(unshared[1], b"1")
        os.read(mapped[0], 1)
        os.setuid(0)
    pid = os.fork()
    if pid == 0:
        os.read(unshared[0], 1)
        parent = os.getppid()
        with open("/proc/%d/task/%d/children" % (parent, parent)) as file:
            child = [word for word in file.read().split() if int(word) != os.getpid()][-1]
        for name, text in (("setgroups", "deny"), ("uid_map", "0 0 4294967295"), ("gid_map", "0 0 4294967295")):
            with open("/proc/%s/%s" % (child, name), "w") as file:
                file.write(text)
        os.write(mapped[1], b"1")
        os._exit(0)
    try:
        return program.run("run", "--json", "-c", "1", preexec_fn=enter)
    finally:
        os.waitpid(pid, 0)
        for fd in (*unshared, *mapped):
            os.close(fd)


@pytest.mark.skipif(os.getuid() != 0, reason="only root maps all ids")
def test_groups_that_cannot_be_dropped_are_fatal(own, nothing_left):
    done = in_namespace_without_setgroups(own)
    error = json.loads(done.stdout)
    assert done.returncode == 125 and error["code"] == "sandbox_unavailable" and "setgroups" in error["message"], error


def adjustment(pid):
    with open("/proc/%d/oom_score_adj" % pid) as file:
        return int(file.read())


def test_the_oom_killer_is_offered_the_script_before_the_host(pyexec, nothing_left):
    cli = pyexec.popen("run", "--timeout", "60s", "-c", SLEEP, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    child = find("child", cli.pid, wait=30)
    assert adjustment(child) == 1000
    assert adjustment(cli.pid) == adjustment(os.getpid()) < 1000
    assert adjustment(find("supervisor", cli.pid)) == adjustment(os.getpid())
    cli.terminate()
    cli.wait(60)


@pytest.fixture(scope="module")
def fail_call(session_folder):
    path = session_folder / "fail_call.so"
    subprocess.run(["gcc", "-Wall", "-Werror", "-shared", "-fPIC", "-o", path, os.path.join(ROOT, "tests", "support", "fail_call.c")], check=True)
    return str(path)


@pytest.mark.parametrize("call", ["recv", "read"])
def test_what_the_host_cannot_receive_is_its_own_error(own, call, fail_call, nothing_left):
    """Makes one call after the other fail, until the run makes no further call."""
    found = []
    for number in range(1, 200):
        done = own.run("run", "--json", "-c", "print('x' * 200000)\n6 * 7",
                       env=dict(os.environ, LD_PRELOAD=preload(fail_call), FAIL_CALL=call, FAIL_NUMBER=str(number)))
        injected = b"injected" in done.stderr
        answer = json.loads(done.stdout)
        if done.returncode == 0:
            assert (answer["status"], answer["stdout"], answer["last_value_repr"]) == ("ok", "x" * 200000 + "\n", "42"), (number, answer["status"], done.stderr)
        else:
            found.append(answer["code"])
            assert done.returncode == 125 and answer["message"] and answer["hint"], answer
        if not injected:
            break
    else:
        raise AssertionError("no end of the calls of %s" % call)
    print(number - 1, call, sorted(found))
    assert "internal" in found and not set(found) & {"python_unsupported", "invalid_policy"}, found

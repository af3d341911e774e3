"""Runs in their own cgroups, if the host lets pyexec make them: their limits, what the kernel reports when it
ends a run, and that no cgroup outlives its run.

Needs root and a cgroup v2 tree with the memory controller; tests/kernel/test_vm.py boots a kernel that has one."""
import contextlib
import glob
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from conftest import Program
from library import Executor
from waiting import wait_until

ROOT = "/sys/fs/cgroup"
SLEEP = "import time\ntime.sleep(60)"
SLOW = {"PYEXEC_POLICY_TIMEOUT": "2m", "PYEXEC_POLICY_CPU_TIME_SECONDS": "60"}     # long limits, because the machine is emulated


def read(*path):
    with open(os.path.join(*path)) as file:
        return file.read().strip()


def write(text, *path):
    with open(os.path.join(*path), "w") as file:
        file.write(text)


def has_memory():
    try:
        return {"memory", "pids", "cpu"} <= set(read(ROOT, "cgroup.controllers").split())
    except OSError:
        return False


real = pytest.mark.skipif(os.getuid() != 0 or not has_memory(), reason="needs root and cgroup v2 with the memory controller")


def bases(top):
    return glob.glob(top + "/pyexec-*")


def leaves(top):
    return glob.glob(top + "/pyexec-*/run-*")


@pytest.fixture
def top():
    """A folder that is delegated as by a service manager: the program is in a subgroup of it."""
    path = "%s/pxtest-%d" % (ROOT, os.getpid())
    write("+memory +pids +cpu", ROOT, "cgroup.subtree_control")
    os.makedirs(path + "/host")
    yield path
    wait_until(lambda: not bases(path), "a cgroup is left")
    wait_until(lambda: not read(path, "host", "cgroup.procs"))
    os.rmdir(path + "/host"), os.rmdir(path)


class Below(Program):
    """Runs the program in the subgroup, as root or as the user who owns the folder."""

    def __init__(self, program, top):
        super().__init__(program.folder, program.uid)
        self.top = top
        if self.uid:
            for name in (".", "cgroup.procs", "cgroup.subtree_control", "host", "host/cgroup.subtree_control"):
                os.chown(os.path.join(top, name), self.uid, self.uid)

    def popen(self, *arguments, **keywords):
        code = ("import os, sys\nopen(sys.argv[1], 'w').write(str(os.getpid()))\nuid = int(sys.argv[2])\n"
                "if uid: os.setgroups([]), os.setgid(uid), os.setuid(uid)\nos.execv(sys.argv[3], sys.argv[3:])")
        environment = {**os.environ, **SLOW, "PYEXEC_POLICY_PYTHON_BIN": "/usr/bin/python3", "PYEXEC_HOST_CGROUP": self.top,
                       **keywords.pop("env", {})}
        return subprocess.Popen([sys.executable, "-c", code, self.top + "/host/cgroup.procs", str(self.uid), self.path, *arguments],
                                env=environment, cwd="/", **keywords)


@pytest.fixture
def below(pyexec, top):
    return Below(pyexec, top)


@real
def test_a_run_has_a_cgroup_of_its_own(below, top, nothing_left):
    with below.popen("run", "-c", SLEEP, "--address-space-bytes", "100M", "--max-threads", "5", "--workspace-bytes", "20M") as process:
        leaf = wait_until(lambda: [path for path in leaves(top) if read(path, "cgroup.procs")])[0]
        assert len(read(leaf, "cgroup.procs").split()) == 1
        assert read(leaf, "memory.max") == str((100 + 20 + 32) << 20) and read(leaf, "pids.max") == "6"
        assert read(leaf, "memory.oom.group") == "1"
        # A process that was just moved has been charged to its old cgroup (cgroup-v2.rst, "Memory Ownership").
        wait_until(lambda: int(read(leaf, "memory.current")) > 0)
        assert len(read(bases(top)[0], "warm", "cgroup.procs").split()) >= 2       # supervisor and zygotes
        process.send_signal(signal.SIGINT)
        process.wait(30)
    assert not bases(top)


@contextlib.contextmanager
def rpc_below(below, top, **policy):
    with below.popen("rpc", stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        def ask(method, **params):
            process.stdin.write(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())["result"]
        ask("initialize", protocol=1, policy=policy, host={"cgroup": top})
        yield ask
        process.stdin.close()
        process.wait(30)
    assert not bases(top)


@real
def test_each_branch_has_a_cgroup_of_its_own(below, top, nothing_left):
    """A clone begins in the cgroup of its source; the host moves the branch before it runs."""
    with rpc_below(below, top, forkable=True) as ask:
        ask("execute", session_id="s", code="x = 1")
        assert ask("fork_session", session_id="s", ids=["a", "b"])["sessions"] == ["a", "b"]
        assert [ask("execute", session_id=name, code="x")["last_value_repr"] for name in ("s", "a", "b")] == ["1"] * 3
        assert sorted(len(read(leaf, "cgroup.procs").split()) for leaf in leaves(top)) == [1, 1, 1]
        ask("close_session", session_id="a")
        wait_until(lambda: len(leaves(top)) == 2)


@real
def test_a_limit_above_the_run_is_told_as_a_memory_limit(below, top, nothing_left):
    write("150M", top, "memory.max")
    if os.path.exists(top + "/memory.swap.max"):
        write("0", top, "memory.swap.max")
    result = below.result("x = bytearray(400 << 20)", "--address-space-bytes", "none")
    assert (result["status"], result["exit_code"]) == ("memory_limit", 137), result
    assert "a memory limit above it" in result["error_repr"] and result["error"]["hint"], result
    assert not leaves(top)


# Bytes in pipes are memory of the kernel, which the limits inside do not count.
PIPES = ("import os\nkept = []\nfor n in range(1000):\n    r, w = os.pipe()\n    os.set_blocking(w, False)\n    kept.append((r, w))\n"
            "    try: os.write(w, bytes(65536))\n    except BlockingIOError: pass\nx = b'x' * (32 << 20)\nprint(len(kept))")


@real
def test_what_the_address_space_limit_does_not_see_is_bounded(below, top, nothing_left):
    flags = ["--any-import", "--address-space-bytes", "64M", "--max-open-files", "3000", "--workspace-bytes", "0"]
    result = below.result(PIPES, *flags)
    assert (result["status"], result["exit_code"]) == ("memory_limit", 137), result
    assert "the memory limit of its cgroup" in result["error_repr"], result
    free = below.result(PIPES, *flags, env={"PYEXEC_HOST_CGROUP": "off"})
    assert (free["status"], free["stdout"]) == ("ok", "1000\n"), free


@real
def test_a_session_that_its_cgroup_ends_returns_to_its_checkpoint(below, top, nothing_left):
    """The checkpoint has a cgroup of its own, so it is not ended with the session's process."""
    policy = {"use_import_whitelist": False, "banned_imports": [], "address_space_bytes": 64 << 20, "max_open_files": 3000, "workspace_bytes": 0,
              "timeout_ms": 120000, "cpu_time_seconds": 60}
    with rpc_below(below, top, auto_checkpoint=True, **policy) as ask:
        ask("execute", session_id="s", code="x = [1]")
        for count in (2, 3):
            died = ask("execute", session_id="s", code="x.append(2)\n" + PIPES)
            assert (died["status"], died["exit_code"]) == ("memory_limit", 137) and "the memory limit of its cgroup" in died["error_repr"], died
            assert died["session"]["restored"] == {"to": count, "why": "memory_limit"} and died["session"]["restarted"] is None, died["session"]
            assert ask("execute", session_id="s", code="x")["last_value_repr"] == "[1]"
        assert ask("undo", session_id="s", to=1)["to"] == 1
        assert ask("execute", session_id="s", code="'x' in globals()")["last_value_repr"] == "False"
        ask("close_session", session_id="s")
        wait_until(lambda: not leaves(top), "a cgroup of a run is left")


@real
def test_the_folders_cpu_limit_holds(below, top, nothing_left):
    write("30000 100000", top, "cpu.max")
    result = below.result("t = 0\nfor n in range(500000): t += n")
    assert result["status"] == "ok", result
    throttled = int(dict(line.split() for line in read(top, "cpu.stat").splitlines())["nr_throttled"])
    assert throttled > 0 and result["usage"]["wall_ms"] > 1.5 * result["usage"]["cpu_ms"], (throttled, result["usage"])


@real
def test_one_that_is_ended_for_memory_disturbs_no_other(top, nothing_left):
    write(str(os.getpid()), top, "host", "cgroup.procs")
    try:
        write("300M", top, "memory.max")
        policy = {"address_space_bytes": None, "timeout_ms": 120000, "cpu_time_seconds": 60}
        with Executor(policy, host={"cgroup": top, "pool_size": 2}) as executor:
            assert executor.call("calm", "x = 41")["status"] == "ok"
            greedy = executor.call("greedy", "x = bytearray(900 << 20)")
            assert greedy["status"] == "memory_limit" and greedy["exit_code"] == 137, greedy
            assert executor.call("calm", "x + 1")["last_value_repr"] == "42"
            for _ in range(12):
                assert executor.call(None, "1 + 1")["last_value_repr"] == "2"
            executor.close_all()
            wait_until(lambda: len(leaves(top)) <= 2, "cgroups of runs are left")       # cgroups of the pool
    finally:
        write(str(os.getpid()), ROOT, "cgroup.procs")


@real
def test_nothing_is_left_when_the_host_is_killed(below, top, nothing_left):
    with below.popen("run", "-c", SLEEP) as process:
        wait_until(lambda: [path for path in leaves(top) if read(path, "cgroup.procs")])
        process.kill()
    wait_until(lambda: not bases(top), "a cgroup is left")


@real
def test_the_next_start_removes_what_nobody_could(below, top, nothing_left):
    with below.popen("run", "-c", SLEEP) as process:
        wait_until(lambda: [path for path in leaves(top) if read(path, "cgroup.procs")])
        for pid in read(top, "host", "cgroup.procs").split():       # the outer process too
            os.kill(int(pid), signal.SIGKILL)
        process.wait(30)
    time.sleep(0.5)
    assert bases(top)
    assert below.result("1 + 1")["last_value_repr"] == "2"
    assert not bases(top)


@real
def test_a_start_beside_a_running_one_leaves_it_alone(below, top, nothing_left):
    with below.popen("run", "-c", "import time\ntime.sleep(3)\nprint('on')", stdout=subprocess.PIPE) as process:
        wait_until(lambda: leaves(top))
        assert below.result("1 + 1")["last_value_repr"] == "2"
        assert process.communicate(timeout=60)[0] == b"on\n"


@real
def test_auto_uses_what_is_marked_as_delegated(below, top, nothing_left):
    def report():
        done = below.run("doctor", "--json", env={"PYEXEC_HOST_CGROUP": "auto"})
        found = json.loads(done.stdout)
        return [layer for layer in found["layers"] if layer["name"] == "cgroup"][0], found["details"]["cgroup"]
    layer, text = report()
    if below.uid == 0:
        assert not layer["present"] and "not delegated" in text, (layer, text)
        os.setxattr(top, "trusted.delegate", b"1")
    layer, text = report()
    assert layer["present"] and text == top, (layer, text)


@real
def test_a_folder_with_processes_can_not_be_used(below, top):
    write("+memory +pids", top, "cgroup.subtree_control")
    error = below.error("1", env={"PYEXEC_HOST_CGROUP": top + "/host"})
    assert error["code"] == "sandbox_unavailable" and "processes are in it" in error["message"], error


def test_a_path_that_can_not_be_used_is_refused_by_name(pyexec, nothing_left):
    for path, why in (("/tmp", "not in a cgroup v2 tree"), ("/no/such/folder", "No such file")):
        environment = dict(os.environ, PYEXEC_HOST_CGROUP=path)
        error = pyexec.error("1", env=environment)
        assert error["code"] == "sandbox_unavailable" and path in error["message"] and why in error["message"], error
        assert "Delegate" in error["hint"] and "--allow-missing cgroup" in error["hint"], error
        result = pyexec.result("1 + 1", "--allow-missing", "cgroup", env=environment)
        assert (result["last_value_repr"], result["missing_layers"]) == ("2", ["cgroup"]), result


def test_doctor_says_why_there_is_none(own):
    report = json.loads(own.run("doctor", "--json", env=dict(os.environ, PYEXEC_HOST_CGROUP="off")).stdout)
    layer = [layer for layer in report["layers"] if layer["name"] == "cgroup"][0]
    assert report["ok"] and not layer["present"] and layer["why"] == "[host] cgroup is off" and "Delegate" in layer["remedy"], layer

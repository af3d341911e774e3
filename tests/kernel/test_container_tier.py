"""The tier `container`: which attacks are stopped in a container without namespaces. Docker's default profile,
as a seccomp filter, refuses the namespaces. docs/security.md lists the attacks that it does not stop."""
import json
import os
import re
import shutil
import subprocess
import sys
import time

import pytest

from conftest import ORDINARY
from test_containers import PROFILES, install
from test_old_kernel import old_kernel  # noqa: F401 (a fixture)
from test_project_folders import make_venv
from test_real_input import AREAS, corpus  # noqa: F401 (a fixture)

pytestmark = pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are those of x86-64")
LOST = ["user_namespace", "pid_namespace", "mount_namespace", "network_namespace", "ipc_namespace", "uts_namespace",
        "time_namespace"]
# Root of a Docker container has no CAP_SYS_ADMIN, but may change its id; its scripts get an id of their own.
AS = {"ordinary": ["setpriv", "--reuid=%d" % ORDINARY, "--regid=%d" % ORDINARY, "--clear-groups"],
      "root": ["setpriv", "--bounding-set=-sys_admin,-sys_ptrace,-net_admin", "--inh-caps=-all"]}
PROBE = """
import ctypes, json, os
libc = ctypes.CDLL(None)
parent, bait, victim = os.getppid(), os.environ["BAIT"], int(os.environ["VICTIM"])
print(json.dumps({"read": libc.open(bait.encode(), 0) >= 0, "environment": libc.open(b"/proc/%d/environ" % victim, 0) >= 0,
       "list": libc.open(b"/proc", 0) >= 0, "write": libc.open(b"/tmp/pyexec-tier-escaped", 0o101, 0o600) >= 0,
       "signal": libc.kill(victim, 0) == 0, "signal the parent": libc.kill(parent, 0) == 0,
       "socket": libc.socket(2, 1, 0) >= 0,
       "memory": libc.shmget(0x7065, 4096, 0o1600) >= 0, "fork": libc.fork() >= 0,
       "uid": os.getuid(), "stat": os.path.exists(bait), "host name": os.uname().nodename}))
"""


@pytest.fixture(params=AS if os.getuid() == 0 else ["ordinary"])
def user(request):
    return request.param


@pytest.fixture
def contained(_copy, user):
    """Runs the program as a user of such a container."""
    before = AS[user] if os.getuid() == 0 else []

    def run(*command, **keywords):
        return subprocess.run([*before, *command], capture_output=True, text=True, timeout=540,
                              preexec_fn=lambda: install(PROFILES["docker"][0]), **{"cwd": "/", **keywords})
    run.program = _copy + "/pyexec"
    return run


def run_json(contained, *arguments, **keywords):
    return json.loads(contained(contained.program, "run", "--json", "--python-bin", "/usr/bin/python3", *arguments, **keywords).stdout)


def test_without_the_word_nothing_runs_and_the_hint_has_it(contained):
    error = run_json(contained, "-c", "1")
    assert error["code"] == "sandbox_unavailable" and "'user_namespace'" in error["message"], error
    assert "--allow-missing container (" in error["hint"] and "docs/security.md" in error["hint"], error


def test_each_result_names_the_layers_that_are_lost(contained, nothing_left):
    result = run_json(contained, "--allow-missing", "container", "-c", "6 * 7")
    assert (result["last_value_repr"], result["missing_layers"], result["tier"]) == ("42", LOST, "container"), result


def test_the_word_takes_nothing_away_where_the_layers_are(pyexec, nothing_left):
    result = pyexec.result("1", "--allow-missing", "container")
    assert (result["missing_layers"], result["tier"]) == ([], "full")


@pytest.mark.parametrize("profile", ["no Landlock", "no seccomp"])
def test_the_word_does_not_stand_for_what_must_remain(_copy, profile):
    done = subprocess.run([_copy + "/pyexec", "run", "--json", "--allow-missing", "container", "-c", "1"], capture_output=True,
                          text=True, timeout=60, cwd="/", preexec_fn=lambda: install(PROFILES[profile][0]))
    error = json.loads(done.stdout)
    assert error["code"] == "sandbox_unavailable" and "'%s'" % profile[3:].lower() in error["message"], error


def test_what_holds_and_what_does_not(contained, user, open_folder, nothing_left):
    """The table of docs/security.md, tried from native code. The victim has the same id as the run, which is the worst case."""
    bait = open_folder / "bait"
    bait.write_text("secret")
    os.chmod(bait, 0o644)
    run_uid = 1900000000 if user == "root" else ORDINARY if os.getuid() == 0 else os.getuid()
    ids = {"user": run_uid, "group": run_uid, "extra_groups": []} if os.getuid() == 0 else {}
    with subprocess.Popen(["sleep", "600"], cwd="/", **ids) as victim:
        result = run_json(contained, "--allow-missing", "container", "--any-import", "--env", "BAIT=%s" % bait,
                          "--env", "VICTIM=%d" % victim.pid, "-c", PROBE)
        assert victim.poll() is None
        victim.kill()
    found = json.loads(result["stdout"] or "null")
    assert found, result
    assert not any(found[name] for name in ("read", "environment", "list", "write", "socket", "memory", "fork")), found
    if tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 12):       # Landlock's scopes
        assert not found["signal"] and not found["signal the parent"], found
    assert (found["uid"], found["stat"], found["host name"]) == (run_uid, True, os.uname().nodename), found


def ids_of_a_run(user):
    """Returns the id of its scripts, and a command that starts a process with this id."""
    run_uid = 1900000000 if user == "root" else ORDINARY if os.getuid() == 0 else os.getuid()
    return run_uid, {"user": run_uid, "group": run_uid, "extra_groups": []} if os.getuid() == 0 else {}


# Each tries to change a file by its path; {name: whether it could}. The last ones by a descriptor that may only read.
CHANGES = """
import ctypes, json, os
libc = ctypes.CDLL(None, use_errno=True)
path, module = os.environ["BAIT"].encode(), os.environ["MODULE"].encode()
def calls(path):
    yield "chmod", libc.chmod(path, 0o777)
    yield "chmod at", libc.fchmodat(-100, path, 0o777, 0)
    yield "chmod at, 2", libc.syscall(452, -100, path, 0o777, 0)
    yield "utime", libc.utime(path, None)
    yield "utimes", libc.utimes(path, None)
    yield "futimesat", libc.futimesat(-100, path, None)
    yield "utimensat", libc.utimensat(-100, path, None, 0)
    yield "truncate", libc.truncate(path, ctypes.c_long(1))
    yield "open to truncate", libc.open(path, os.O_TRUNC)
    yield "openat to truncate", libc.openat(-100, path, os.O_TRUNC)
    yield "open for nothing to truncate", libc.open(path, os.O_TRUNC | 3)
    yield "rename", libc.rename(path, path + b".renamed")
    yield "link", libc.link(path, path + b".linked")
    yield "chown", libc.chown(path, os.getuid(), os.getgid())
    yield "setxattr", libc.setxattr(path, b"user.x", b"y", 1, 0)
    yield "unlink", libc.unlink(path)
done = {name: result >= 0 for name, result in calls(path)}
fd = libc.open(module, 0)
done["fchmod"], done["futimens"], done["ftruncate"] = [call >= 0 for call in
    (libc.fchmod(fd, 0o777), libc.futimens(fd, None), libc.ftruncate(fd, ctypes.c_long(1)))]
done.update(("module: " + name, result >= 0) for name, result in calls(module))
done["a module can be read"] = fd >= 0
print(json.dumps(done))
"""


def try_changes(contained, user, open_folder, python):
    """The files belong to the run's own id, which is the worst case. One is a module that scripts may read."""
    run_uid, _ = ids_of_a_run(user)
    bait, module = open_folder / "bait", python[1] / "own_module.py"
    for path in (bait, module):
        path.write_text("x = 'secret'\n")
        os.chmod(path, 0o644)
        os.utime(path, (1, 1))
        os.chown(path, run_uid, run_uid)
    os.chown(python[1], run_uid, run_uid)
    result = run_json(contained, "--allow-missing", "container", "--any-import", "--isolate-site=false", "--python-bin", str(python[0]),
                      "--env", "BAIT=%s" % bait, "--env", "MODULE=%s" % module, "-c", CHANGES)
    found = json.loads(result["stdout"] or "null")
    assert found and found.pop("a module can be read"), result
    assert [name for name, could in found.items() if could] == []
    for path in (bait, module):
        status = path.stat()
        assert (status.st_mode & 0o7777, status.st_mtime, status.st_size, status.st_nlink) == (0o644, 1, 13, 1), path


@pytest.fixture
def venv(open_folder):
    return make_venv(open_folder / "venv")


def test_nothing_of_a_file_is_changed(contained, user, open_folder, venv, nothing_left):
    """Landlock does not check modes, owners and times, and before Linux 6.2 no truncation: the filter does."""
    try_changes(contained, user, open_folder, venv)


def test_nor_on_linux_5_13(contained, user, open_folder, venv, old_kernel):  # noqa: F811
    def older(*command, **keywords):
        return contained(old_kernel, *command, **keywords)
    older.program = contained.program
    try_changes(older, user, open_folder, venv)


def test_null_can_be_written_and_a_module_read(contained, venv):
    code = "import ctypes\nlibc = ctypes.CDLL(None)\nlibc.open(b'/dev/null', 0o1001) >= 0, libc.open(json.__file__.encode(), 0) >= 0"
    assert run_json(contained, "--allow-missing", "container", "--any-import", "-c", "import json\n" + code)["last_value_repr"] == "(True, True)"


LOOK = """
import ctypes, json, os, time
libc, victim = ctypes.CDLL(None, use_errno=True), int(os.environ["VICTIM"])
print(json.dumps({"group": libc.getpgid(victim), "priority": libc.getpriority(0, victim), "signal": libc.kill(victim, 0) == 0,
       "none": libc.getpgid(4194303), "uptime": time.clock_gettime(time.CLOCK_BOOTTIME),
       "shared memory": libc.shm_open(b"/pyexec-tier", 0o102, 0o600) >= 0, "queue": libc.mq_open(b"/pyexec-tier", 0o102, 0o600, None) >= 0,
       "others' limits": libc.prlimit(victim, 7, None, ctypes.create_string_buffer(16)) >= 0,
       "others' processors": libc.sched_setaffinity(victim, 8, b"\\1" + bytes(7)) >= 0,
       "others' priority": libc.setpriority(0, victim, 5) >= 0, "their handle": libc.syscall(434, victim, 0) >= 0,
       "link": os.readlink(os.environ["LINK"]), "link of a process": libc.readlink(b"/proc/%d/exe" % victim, ctypes.create_string_buffer(99), 99) >= 0}))
"""


def look(contained, user, open_folder):
    _, ids = ids_of_a_run(user)
    (open_folder / "link").symlink_to("where/it/leads")
    with subprocess.Popen(["sleep", "600"], cwd="/", process_group=0, **ids) as victim:
        result = run_json(contained, "--allow-missing", "container", "--any-import", "--env", "VICTIM=%d" % victim.pid,
                          "--env", "LINK=%s" % (open_folder / "link"), "-c", LOOK)
        victim.kill()
    found = json.loads(result["stdout"] or "null")
    assert found, result
    refused = ("shared memory", "queue", "others' limits", "others' processors", "others' priority", "their handle", "link of a process")
    assert [name for name in refused if found[name]] == []
    return found, victim.pid


def test_processes_uptime_and_links_can_be_seen(contained, user, open_folder, nothing_left):
    """The rows of docs/security.md with "not held" are true: these attacks succeed."""
    found, victim = look(contained, user, open_folder)
    assert (found["group"], found["priority"], found["none"], found["link"]) == (victim, os.getpriority(os.PRIO_PROCESS, 0), -1, "where/it/leads"), found
    assert abs(found["uptime"] - time.clock_gettime(time.CLOCK_BOOTTIME)) < 600


def test_before_linux_6_12_processes_of_the_same_id_can_be_signalled(contained, user, old_kernel, open_folder):  # noqa: F811
    def older(*command, **keywords):
        return contained(old_kernel, *command, **keywords)
    older.program = contained.program
    assert look(older, user, open_folder)[0]["signal"] is True


def test_processes_of_the_same_id_leave_a_run_no_threads(contained, user):
    _, ids = ids_of_a_run(user)
    code = "import threading\ntry:\n    threading.Thread(target=print).start()\n    print('started')\nexcept RuntimeError as error: print(error)"
    hog = "import threading, time\nfor _ in range(40): threading.Thread(target=time.sleep, args=(600,)).start()\nprint(flush=True)"
    with subprocess.Popen([sys.executable, "-c", hog], cwd="/", stdout=subprocess.PIPE, **ids) as others:
        others.stdout.readline()
        result = run_json(contained, "--allow-missing", "container", "--any-import", "--max-threads", "30", "-c", code)
        others.kill()
    assert "can't start new thread" in result["stdout"], result


def test_files_are_refused_in_plain_words(contained):
    error = run_json(contained, "--allow-missing", "container", "--files", "full", "-c", "1")
    assert error["code"] == "sandbox_unavailable" and "'mount_namespace'" in error["message"], error
    assert "--files none" in error["hint"], error


def test_corpus(contained, open_folder, corpus):  # noqa: F811
    """Runs two scripts of each area; with PYEXEC_TIER_CORPUS=all every script."""
    for path in ("/tmp/corpus_host_secret.txt", "/tmp/corpus_host.sock", "/dev/shm/corpus_host_shm"):
        if os.getuid() == 0 and os.path.lexists(path):      # left by a runner of another user
            os.unlink(path)
    count = None if os.environ.get("PYEXEC_TIER_CORPUS") == "all" else 2
    for area in AREAS:
        for path in sorted(corpus.glob(area + "_*.py"))[:count]:
            shutil.copy(path, open_folder)
    done = contained(sys.executable, str(corpus.parent / "run_corpus.py"), "--cmd", contained.program +
                     " run --json --allow-missing container --python-bin /usr/bin/python3", ".", cwd=open_folder)
    failures = re.findall(r"^FAIL (\S+) +(.*)", done.stdout, re.M)
    # Threads are counted together with all processes of the user, and this machine has others.
    unexpected = [(name, why) for name, why in failures if "needs the layer 'mount_namespace'" not in why and name != "ben_30_threads.py"]
    assert not unexpected, unexpected
    assert int(re.search(r"^(\d+) passed", done.stdout, re.M)[1]) >= len(AREAS), done.stdout

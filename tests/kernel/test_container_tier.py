"""The tier `container`: what holds where a container gives no namespaces, with Docker's default profile as the
seccomp filter that refuses them. docs/security.md lists the attacks that it does not stop."""
import json
import os
import re
import shutil
import subprocess
import sys

import pytest

from conftest import ORDINARY
from test_containers import PROFILES, install
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
    assert (result["last_value_repr"], result["missing_layers"]) == ("42", LOST), result


def test_the_word_takes_nothing_away_where_the_layers_are(pyexec, nothing_left):
    assert pyexec.result("1", "--allow-missing", "container")["missing_layers"] == []


@pytest.mark.parametrize("profile", ["no Landlock", "no seccomp"])
def test_the_word_does_not_stand_for_what_must_remain(_copy, profile):
    done = subprocess.run([_copy + "/pyexec", "run", "--json", "--allow-missing", "container", "-c", "1"], capture_output=True,
                          text=True, timeout=60, cwd="/", preexec_fn=lambda: install(PROFILES[profile][0]))
    error = json.loads(done.stdout)
    assert error["code"] == "sandbox_unavailable" and "'%s'" % profile[3:].lower() in error["message"], error


def test_what_holds_and_what_does_not(contained, user, open_folder, nothing_left):
    """The table of docs/security.md, from native code. The victim is of the run's own id, the worst case."""
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


def test_files_are_refused_in_plain_words(contained):
    error = run_json(contained, "--allow-missing", "container", "--files", "full", "-c", "1")
    assert error["code"] == "sandbox_unavailable" and "'mount_namespace'" in error["message"], error
    assert "--files none" in error["hint"], error


def test_corpus(contained, open_folder, corpus):  # noqa: F811
    """Two scripts of each area; with PYEXEC_TIER_CORPUS=all every script."""
    for path in ("/tmp/corpus_host_secret.txt", "/tmp/corpus_host.sock", "/dev/shm/corpus_host_shm"):
        if os.getuid() == 0 and os.path.lexists(path):      # of a runner as another user
            os.unlink(path)
    count = None if os.environ.get("PYEXEC_TIER_CORPUS") == "all" else 2
    for area in AREAS:
        for path in sorted(corpus.glob(area + "_*.py"))[:count]:
            shutil.copy(path, open_folder)
    done = contained(sys.executable, str(corpus.parent / "run_corpus.py"), "--cmd", contained.program +
                     " run --json --allow-missing container --python-bin /usr/bin/python3", ".", cwd=open_folder)
    failures = re.findall(r"^FAIL (\S+) +(.*)", done.stdout, re.M)
    # Threads are counted with all processes of the user, of which the machine of the tests has others.
    unexpected = [(name, why) for name, why in failures if "needs the layer 'mount_namespace'" not in why and name != "ben_30_threads.py"]
    assert not unexpected, unexpected
    assert int(re.search(r"^(\d+) passed", done.stdout, re.M)[1]) >= len(AREAS), done.stdout

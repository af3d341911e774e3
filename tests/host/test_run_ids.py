"""The user ids that runs have on the host."""
import os
import subprocess

import pytest

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root gives runs an id of their own")


def ids_below(ancestor):
    """Returns the effective user and group ids of all processes below this one."""
    parents, ids = {}, {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/status" % entry) as file:
                fields = dict(line.split(":", 1) for line in file)
        except OSError:
            continue
        pid = int(entry)
        parents[pid] = int(fields["PPid"])
        ids[pid] = (int(fields["Uid"].split()[1]), int(fields["Gid"].split()[1]))

    def is_below(pid):
        while pid in parents and pid != ancestor:
            pid = parents[pid]
        return pid == ancestor
    return {ids[pid] for pid in ids if pid != ancestor and is_below(pid)}


def ids_of_a_run(own, *flags, **keywords):
    """Returns the ids that exist while a script runs, without root."""
    process = own.popen("run", *flags, "--timeout", "60s", "-c", "import sys\nprint('runs', flush=True)\nsys.stdin.read()",
                        "--any-import", stdin=subprocess.PIPE, stdout=subprocess.PIPE, **keywords)
    with process:
        assert process.stdout.readline() == b"runs\n"
        return ids_below(process.pid) - {(0, 0)}


def test_no_run_is_nobody(own, nothing_left):
    ids = ids_of_a_run(own)
    assert (65534, 65534) not in ids and (1900000000, 1900000000) in ids, ids


def test_an_id_that_an_account_has_is_left_out(own, tmp_path, nothing_left):
    """Runs in a mount namespace with its own /etc/passwd and /etc/subuid."""
    with open("/etc/passwd") as file:
        (tmp_path / "passwd").write_text(file.read() + "taken:x:1900000000:1:::\n")
    (tmp_path / "subuid").write_text("taken:1900065000:65536\n")
    replaced = [name for name in ("passwd", "subuid") if os.path.exists("/etc/" + name)]
    script = "".join("mount --bind %s/%s /etc/%s && " % (tmp_path, name, name) for name in replaced) + "exec \"$@\""
    command = ["unshare", "-m", "sh", "-c", script, "sh", own.path, "run", "--timeout", "60s", "--any-import", "-c",
               "import sys\nprint('runs', flush=True)\nsys.stdin.read()"]
    environment = {**os.environ, "PYEXEC_POLICY_PYTHON_BIN": "/usr/bin/python3"}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, cwd="/") as process:
        assert process.stdout.readline() == b"runs\n"
        ids = ids_below(process.pid) - {(0, 0)}
    expected = 1900131072 if "subuid" in replaced else 1900065536
    assert ids == {(expected, expected)}, ids


def test_the_operators_range_is_used(own, tmp_path, nothing_left):
    (tmp_path / "conf").write_text("[host]\nuid_range = 123000:3\n")
    ids = ids_of_a_run(own, "--config", str(tmp_path / "conf"))
    assert ids and all(123000 <= uid <= 123002 and gid == 123000 for uid, gid in ids), ids

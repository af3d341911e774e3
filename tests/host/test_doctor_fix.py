"""`pyexec doctor --fix`, in a mount namespace whose /etc and /proc/sys are made for the test."""
import os
import shutil
import subprocess

import pytest

from conftest import ORDINARY
from machine import Machine, impossible

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can make such a tree")
# $1: the folder for /proc/sys, $2: for /etc, $3: for /run, $4: a program that stands for apparmor_parser; then the command.
TREE = """set -e
mount -t tmpfs none /proc/sys; cp -r "$1/." /proc/sys/
mkdir -p "$2/sysctl.d" "$2/apparmor.d"; for name in passwd group; do cp /etc/$name "$2/"; done; mount --bind "$2" /etc
mount --bind "$3" /run; shift 3; exec "$@"
"""
OPEN = {"user/max_user_namespaces": "100", "user/max_pid_namespaces": "100", "kernel/unprivileged_userns_clone": "1"}


@pytest.fixture
def fix(_copy, open_folder):
    """Runs doctor --fix on a machine with these settings. Returns the output, and the files afterwards."""
    for name in ("sys/user", "sys/kernel", "etc", "run", "bin"):
        os.makedirs(open_folder / name)
    parser = open_folder / "bin/apparmor_parser"
    parser.write_text("#!/bin/sh\necho \"$@\" > %s/parsed\n" % open_folder)
    parser.chmod(0o755)

    def run(settings, *options, uid=0, env={}, run_files=(), after=""):
        for name, value in {**OPEN, **settings}.items():
            (open_folder / "sys" / name).write_text(value + "\n")
        for name in run_files:
            (open_folder / "run" / name).touch()
        ids = ["setpriv", "--reuid=%d" % uid, "--regid=%d" % uid, "--clear-groups"] if uid else []
        command = ids + [_copy + "/pyexec", "doctor", "--fix", *options]
        script = '"$@"; status=$?; cp -r /proc/sys/. %s/after-sys; exit $status' % open_folder
        return subprocess.run(["unshare", "--mount", "--propagation", "private", "sh", "-c", TREE, "sh", open_folder / "sys",
                               open_folder / "etc", open_folder / "run", "sh", "-c", script, "sh", *command], capture_output=True,
                              text=True, stdin=subprocess.DEVNULL, timeout=120, cwd="/",
                              env={**os.environ, "PATH": "%s:%s" % (open_folder / "bin", os.environ["PATH"]), **env})
    run.folder = open_folder
    os.makedirs(open_folder / "after-sys")
    return run


def settings_after(fix):
    return {name: (fix.folder / "after-sys" / name).read_text().split()[0] for name in OPEN}


CLOSED = {"user/max_user_namespaces": "0", "kernel/unprivileged_userns_clone": "0"}


def test_the_plan_changes_nothing_and_says_what_it_weakens(fix):
    done = fix(CLOSED)
    assert done.returncode == 1 and "user.max_user_namespaces = 15000" in done.stdout and "It weakens:" in done.stdout, done
    assert "--fix --yes" in done.stderr and settings_after(fix) == {**OPEN, **CLOSED}, done
    assert not os.listdir(fix.folder / "etc/sysctl.d")


def test_yes_does_only_what_is_needed(fix):
    done = fix(CLOSED, "--yes")
    assert done.returncode == 0 and "Done." in done.stdout, done
    lines = [line for line in (fix.folder / "etc/sysctl.d/60-pyexec.conf").read_text().splitlines() if line[0] != "#"]
    assert lines == ["user.max_user_namespaces = 15000", "kernel.unprivileged_userns_clone = 1"]
    assert settings_after(fix) == {**OPEN, "user/max_user_namespaces": "15000"}
    assert not os.listdir(fix.folder / "etc/apparmor.d")


def test_nothing_to_do_is_said(fix):
    done = fix({}, "--yes")
    assert done.returncode == 0 and "No setting of this machine is in the way" in done.stdout, done
    assert not os.listdir(fix.folder / "etc/sysctl.d")


def test_an_ordinary_user_gets_the_command(fix):
    done = fix(CLOSED, "--yes", uid=ORDINARY)
    assert done.returncode == 1 and "sudo pyexec doctor --fix --yes" in done.stdout, done
    assert settings_after(fix) == {**OPEN, **CLOSED}


def test_apparmors_restriction_stays_and_the_launcher_gets_a_profile(fix):
    done = fix({"kernel/apparmor_restrict_unprivileged_userns": "1"}, "--yes")
    assert done.returncode == 0, done
    profile = fix.folder / "etc/apparmor.d/pyexec-launch"
    assert "userns," in profile.read_text() and "pyexec-launch" in profile.read_text()
    assert (fix.folder / "parsed").read_text() == "-r /etc/apparmor.d/pyexec-launch\n"
    assert (fix.folder / "after-sys/kernel/apparmor_restrict_unprivileged_userns").read_text() == "1\n"


def test_a_profile_that_can_not_be_loaded_is_not_left(fix):
    (fix.folder / "bin/apparmor_parser").write_text("#!/bin/sh\nexit 1\n")
    done = fix({"kernel/apparmor_restrict_unprivileged_userns": "1"}, "--yes")
    assert done.returncode == 125 and "apparmor_parser" in done.stderr, done
    assert not os.listdir(fix.folder / "etc/apparmor.d")


@pytest.mark.parametrize("kind,env,files,wanted", [
    ("Kubernetes", {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, [], "seccompProfile: {type: Unconfined}"),
    ("Podman", {}, [".containerenv"], "podman run --security-opt seccomp=unconfined")])
def test_a_container_gets_its_options_and_nothing_is_changed(fix, kind, env, files, wanted):
    done = fix(CLOSED, "--yes", env=env, run_files=files)
    assert done.returncode == 1 and kind in done.stdout and wanted in done.stdout and "This weakens" in done.stdout, done
    assert "--allow-missing container" in done.stdout and settings_after(fix) == {**OPEN, **CLOSED}


@pytest.mark.parametrize("unit", ["../x.service", "x", ".service", "a b.service", "x.socket"])
def test_a_units_name_is_checked(fix, unit):
    done = fix({}, "--yes", "--unit", unit)
    assert done.returncode == 125 and "--unit" in done.stderr, done


def test_a_service_gets_its_cgroup_from_systemd(_copy):
    if why := impossible():
        pytest.skip("no machine of its own for systemd: " + why)
    machine = Machine()
    try:
        assert machine.wait() == "running"
        os.makedirs(machine.path("/opt/fix"))
        for name in ("pyexec", "libpyexec.so.0"):
            shutil.copy(os.path.join(_copy, name), machine.path("/opt/fix/" + name))
        with open(machine.path("/etc/systemd/system/my-app.service"), "w") as file:
            file.write("[Service]\nExecStart=/bin/sleep infinity\n")
        done = machine.run("/opt/fix/pyexec", "doctor", "--fix", "--yes", "--unit", "my-app.service")
        assert done.returncode == 0 and "my-app.service.d/pyexec-delegate.conf" in done.stdout, done
        shown = machine.run("systemctl", "show", "my-app.service", "--property=Delegate,DelegateControllers").stdout
        assert "Delegate=yes" in shown and {"cpu", "memory", "pids"} <= set(shown.split("DelegateControllers=")[1].split()), shown
        with open(machine.path("/.dockerenv"), "w"):
            pass
        # Docker mounts its own /etc/hosts. Without this mount, the file is only left over from an image.
        done = machine.run("/opt/fix/pyexec", "doctor", "--fix")
        assert "docker run" not in done.stdout, done
        done = machine.run("sh", "-c", "mount --bind /etc/hosts /etc/hosts && /opt/fix/pyexec doctor --fix --yes --unit other.service")
        assert done.returncode == 1 and "docker run --security-opt seccomp=unconfined" in done.stdout, done
        assert not os.path.exists(machine.path("/etc/systemd/system/other.service.d"))
    finally:
        machine.close()

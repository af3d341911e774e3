# SPDX-License-Identifier: Apache-2.0
"""`pyexec env` that ends at any point: nothing partial is ever visible, and the next command removes what was left."""
import os
import signal
import subprocess
import time

import pytest

import env_stores
from conftest import ROOT, preload


@pytest.fixture
def one(own):
    store = env_stores.CommandStore(own)
    yield store
    store.close()


@pytest.fixture(scope="session")
def shim(tmp_path_factory):
    path = str(tmp_path_factory.mktemp("shim") / "env_kill_shim.so")
    subprocess.run(["gcc", "-shared", "-fPIC", "-Wall", "-Werror", "-o", path, ROOT + "/tests/support/env_kill_shim.c", "-ldl"], check=True)
    return path


def cleaned(store):
    """Runs the next command until nothing unfinished is left: an installer that was killed with its parent may need a moment."""
    deadline = time.monotonic() + 120
    while True:
        store.ok("prune")
        if store.parts("build") == [] or time.monotonic() > deadline:
            break
        time.sleep(0.05)
    assert store.parts("build") == []
    assert len(store.parts("store")) == len({store.folder(name) for name in store.parts("names")})
    store.check()


def killed_at(store, shim, number, *arguments):
    environment = dict(store.environment, LD_PRELOAD=preload(shim), KILL_AT=str(number), COUNT_TO=store.home + "/count")
    return store.run(*arguments, env=environment)


def test_killed_at_each_point_of_create(one, shim):
    """Before each call that changes a file system, takes a lock or starts a process: at least 50 points."""
    assert killed_at(one, shim, 1 << 30, "create", "data", "alpha").returncode == 0
    with open(one.home + "/count") as file:
        count = int(file.read())
    assert count >= 50
    one.ok("remove", "data")
    points = sorted({1 + round(i * (count - 1) / 51) for i in range(52)})
    seen = set()
    for number in points:
        done = killed_at(one, shim, number, "create", "data", "alpha")
        assert done.returncode in (-signal.SIGKILL, 0), (number, done.stderr)
        one.check()
        named = one.parts("names")
        seen.add((done.returncode, tuple(named)))
        assert named in ([], ["data"]) and [entry["name"] for entry in one.json("list")] == named
        cleaned(one)
        assert one.parts("names") == named
        if named:
            assert one.ok("freeze", "data") == "alpha==1\n"
            one.ok("remove", "data")
    assert len(points) >= 50 and (-signal.SIGKILL, ()) in seen and (-signal.SIGKILL, ("data",)) in seen
    one.ok("create", "data", "alpha")


def test_killed_in_the_switch_of_an_update(one, shim):
    """The name leads to the old environment or to the new one."""
    one.ok("create", "data", "alpha")
    one.write("version", "2\n")
    killed_at(one, shim, 1 << 30, "update", "data")
    with open(one.home + "/count") as file:
        count = int(file.read())
    version = 2
    for number in range(count - 24, count + 1, 3):
        version += 1
        one.write("version", "%d\n" % version)
        before = one.ok("freeze", "data")
        killed_at(one, shim, number, "update", "data")
        one.check()
        assert one.ok("freeze", "data") in (before, "alpha==%d\n" % version)
        cleaned(one)
    one.ok("update", "data")
    assert one.ok("freeze", "data") == "alpha==%d\n" % version


def test_killed_in_remove(one, shim):
    for number in range(1, 16, 2):
        if not one.parts("names"):
            one.ok("create", "data", "alpha")
        killed_at(one, shim, number, "remove", "data")
        one.check()
        cleaned(one)
        assert len(one.parts("store")) == len(one.parts("names"))


def test_the_installer_ends_with_its_command(one):
    """A killed command's installer ends too, and until then its folder is not removed below it."""
    one.write("wait", "")
    process = one.program.popen("env", "create", "data", "alpha", env=one.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not os.path.exists(one.home + "/waiting") and time.monotonic() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    cleaned(one)
    assert one.parts("names") == []


def test_a_full_disk_says_so_and_leaves_nothing(one):
    if os.getuid() != 0:
        pytest.skip("needs root for a small tmpfs")
    os.mkdir(one.root)
    one.write("alpha/alpha.py", "#" * 300000)
    script = ("mount -t tmpfs -o size=64k,mode=755 none '%s' && '%s' env create data alpha; status=$?; ls '%s/names' '%s/build'; exit $status"
              % (one.root, one.program.path, one.root, one.root))
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], env=one.environment, capture_output=True, text=True, timeout=300)
    if "unshare" in done.stderr or "mount:" in done.stderr:
        pytest.skip("no mount namespace here")
    assert done.returncode == 125 and "No space left" in done.stderr and "hint:" in done.stderr, done.stderr
    assert sorted(done.stdout.split()) == [one.root + "/build:", one.root + "/names:"]

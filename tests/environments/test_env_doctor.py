# SPDX-License-Identifier: Apache-2.0
"""pyexec doctor says what is wrong with environments, and what to do."""
import json
import os
import shutil

import pytest

import env_stores


@pytest.fixture
def store(pyexec):
    store = env_stores.CommandStore(pyexec)
    store.write("alpha/alpha.py", "number = 42\n")
    store.write("big/big.py", "data = bytearray(40 << 20)\nfor i in range(0, len(data), 4096): data[i] = 1\n")
    yield store
    store.close()


def doctor(store, *flags, **variables):
    """Returns what it says about environments: as JSON, and the page as text without line ends."""
    environment = {**store.environment, **variables}
    found = json.loads(store.program.run("doctor", "--json", *flags, env=environment, timeout=300).stdout)["environments"]
    page = store.program.run("doctor", *flags, env=environment, timeout=300).stdout.decode()
    return found, " ".join(page.split())


def test_a_good_store_has_no_remarks(store):
    found, page = doctor(store)
    assert found["root"] == store.root and found["count"] == found["cached"] == found["preload_bytes"] == 0 and found["broken"] == []
    assert "error" not in found and "warning" not in found and found["zygote_memory_bytes"] >= 256 << 20
    store.ok("create", "data", "alpha")
    store.ok("cached", "alpha")
    found, page = doctor(store)
    assert (found["count"], found["cached"], found["broken"]) == (1, 1, []) and "environments 1, and 1 cached" in page and store.root in page
    assert "can't be used" not in page.split("environments folder")[1]


def test_environments_that_can_not_be_used_are_named_with_a_remedy(store):
    store.ok("create", "data", "alpha")
    store.ok("create", "other", "beta")
    folder = store.folder("data")
    os.chmod(folder + "/venv/bin", 0o755)
    os.unlink(folder + "/venv/bin/python")
    found, page = doctor(store)
    broken, = found["broken"]
    assert broken["name"] == "data" and "venv/bin/python" in broken["error"] and "pyexec env update data" in broken["hint"] and found["count"] == 2
    assert "can't be used data" in page and "pyexec env update data" in page


def test_a_store_that_others_could_write_to(store):
    store.ok("create", "data", "alpha")
    for path, mode in ((store.root, 0o777), (store.root + "/store", 0o775), (store.home, 0o757)):
        before = os.stat(path).st_mode & 0o7777
        os.chmod(path, mode)
        found, page = doctor(store)
        os.chmod(path, before)
        assert [each["name"] for each in found["broken"]] == ["data"] and "can write" in found["broken"][0]["error"], (path, found)
        assert "chmod go-w" in found["broken"][0]["hint"] and "chmod go-w" in page
    assert doctor(store)[0]["broken"] == []


def test_preloads_that_need_more_than_zygote_memory(store):
    store.ok("create", "one", "big", "--preload", "big")
    store.ok("create", "two", "big", "alpha", "--preload", "big")
    each = store.json("show", "one")["preload_cost"]["memory_bytes"]
    found, page = doctor(store, PYEXEC_HOST_ZYGOTES="1")
    assert 1.9 * each < found["preload_bytes"] < 2.1 * each and found["zygote_memory_bytes"] > 4 * each and "warning" not in found
    found, page = doctor(store, PYEXEC_HOST_ZYGOTES="1", PYEXEC_HOST_ZYGOTE_MEMORY="60M")
    assert found["zygote_memory_bytes"] == 60 << 20
    assert "the preloads of all environments take" in found["warning"] and "unused environment end" in found["warning"]
    assert "zygote_memory is 60 MiB" in page and "Set zygote_memory" in found["warning_hint"]
    found, page = doctor(store, PYEXEC_HOST_ZYGOTES="2", PYEXEC_HOST_ZYGOTE_MEMORY="60M")
    assert "of one environment alone take" in found["warning"] and 3.8 * each < found["preload_bytes"] < 4.2 * each


def python_without_installers(folder):
    """Returns a copy of the system's interpreter, whose library has no ensurepip and no pip."""
    real = os.path.realpath("/usr/bin/python3")
    version = "lib/" + os.path.basename(real)
    for name in ("bin", version):
        os.makedirs(folder / name)
    for name in os.listdir("/usr/" + version):
        if name != "ensurepip":
            os.symlink("/usr/%s/%s" % (version, name), folder / version / name)
    return shutil.copy(real, folder / "bin/python3")


def test_requests_may_ask_for_packages_that_nothing_can_install(store, open_folder):
    uv, python = open_folder / "uv", python_without_installers(open_folder)
    allowed = {"PYEXEC_ENV_ALLOW_REQUESTS": "alpha", "PYEXEC_ENV_UV": str(uv)}
    found, page = doctor(store, "--python-bin", python, **allowed)
    assert "no uv" in found["installer_error"] and "Install uv" in found["installer_hint"] and "packages of requests can't be installed" in page
    assert "installer_error" not in doctor(store, "--python-bin", python, **{**allowed, "PYEXEC_ENV_ALLOW_REQUESTS": ""})[0]
    uv.write_text("#!/bin/sh\n")
    os.chmod(uv, 0o755)
    assert "installer_error" not in doctor(store, "--python-bin", python, **allowed)[0]
    assert "installer_error" not in doctor(store, **{**allowed, "PYEXEC_ENV_UV": "/nowhere/uv"})[0]      # the system's interpreter has pip

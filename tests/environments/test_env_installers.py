# SPDX-License-Identifier: Apache-2.0
"""`pyexec env` and `pyexec run --with` with the real pip and the real uv: from a folder of wheels, and from an index over HTTP."""
import os
import shutil
import socket
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import env_stores
import wheels
from conftest import ROOT
from env_executors import run as call, start
from environments import kept
from library import Failure
from waiting import wait_until


@pytest.fixture(scope="session")
def uv(_copy):
    """A copy of uv that every user can reach."""
    python = kept("uv", os.path.join(ROOT, "tests", "environments", "requirements.txt"))
    return shutil.copy(os.path.join(os.path.dirname(python), "uv"), os.path.join(_copy, "uv"))


def made(program, request):
    """Yields a store of the program's user, with the installer of the parameter."""
    store = env_stores.CommandStore(program, fast=False, uv=request.getfixturevalue("uv") if request.param == "uv" else None)
    store.tool = request.param
    yield store
    store.close()


@pytest.fixture(params=["pip", "uv"])
def store(own, request):
    yield from made(own, request)


@pytest.fixture(params=["pip", "uv"])
def each(pyexec, request):
    """The same, as root and as an ordinary user."""
    yield from made(pyexec, request)


@pytest.fixture
def online(store):
    """The same, with an index over HTTP instead of a folder."""
    with wheels.index(store.wheels) as (url, asked):
        use(store, url)
        store.asked = asked
        yield store


def use(store, url):
    for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS", "UV_NO_INDEX", "UV_FIND_LINKS"):
        del store.environment[name]
    store.environment.update(PIP_INDEX_URL=url, UV_INDEX_URL=url, PIP_RETRIES="1", UV_HTTP_TIMEOUT="10", UV_HTTP_RETRIES="0")


def run_in(store, name, code):
    """Runs code with the interpreter of an environment, outside of a sandbox."""
    return subprocess.run([store.folder(name) + "/venv/bin/python", "-I", "-c", code], capture_output=True, text=True)


def run(store, *arguments):
    return store.program.run("run", *arguments, env=store.environment, timeout=300)


def test_from_a_folder_of_wheels(each):
    """Dependencies, a program of a package, no pip for scripts, and the same files with the same hash."""
    store = each
    wheels.wheel(store.wheels, "outer-thing", "1.0", {"outer/__init__.py": "from inner import number\n"}, ["inner>=2"], ["outer-tool = outer:number"])
    wheels.wheel(store.wheels, "inner", "2.0", {"inner.py": "number = 42\n"})
    wheels.wheel(store.wheels, "inner", "1.0", {"inner.py": "number = 1\n"})
    document = store.json("create", "data", "outer-thing")
    assert document["tool"].startswith(store.tool + " ") and document["imports"] == ["inner", "outer"]
    assert document["packages"] == [{"name": "inner", "version": "2.0"}, {"name": "outer-thing", "version": "1.0"}]
    assert all(row["error"] is None for row in document["measured"]) and len(document["measured"]) == 2
    assert run_in(store, "data", "import outer; print(outer.number)").stdout == "42\n"
    assert "No module named" in run_in(store, "data", "import pip").stderr
    site, = [os.path.join(folder, "") for folder, _, files in os.walk(store.folder("data")) if "inner.py" in files]
    assert any(name.startswith("inner.") for name in os.listdir(site + "__pycache__"))
    with open(store.folder("data") + "/venv/bin/outer-tool") as file:
        assert file.readline() == "#!%s/venv/bin/python\n" % store.folder("data")
    assert store.json("update", "data")["hash"] == document["hash"]
    for arguments, texts in [(["nothere"], ("no wheel is there", "is not in the package index")), (["inner==1.0", "outer-thing"], ("contradict",))]:
        message = store.fails("create", "bad", *arguments)
        assert any(text in message for text in texts) and "hint:" in message, message
    assert store.parts("names") == ["data"] and store.parts("build") == []


def test_pip_and_uv_give_the_same_files(own, uv):
    """The hash is of the installed files, so it does not depend on the installer."""
    hashes = set()
    for program in (None, uv):
        store = env_stores.CommandStore(own, fast=False, uv=program)
        try:
            wheels.wheel(store.wheels, "outer", "1.0", {"outer/__init__.py": "from inner import number\n"}, ["inner"])
            wheels.wheel(store.wheels, "inner", "2.0", {"inner.py": "number = 42\n"})
            hashes.add(store.json("create", "data", "outer")["hash"])
        finally:
            store.close()
    assert len(hashes) == 1


def test_create_and_update_from_an_index(online):
    wheels.wheel(online.wheels, "tally", "1.0", {"tally.py": "VERSION = 1\n"})
    first = online.json("create", "data", "tally>=1")
    assert first["packages"] == [{"name": "tally", "version": "1.0"}] and any("/tally" in path for path in online.asked)
    assert b"nothing has changed" in online.run("update", "data").stderr
    wheels.wheel(online.wheels, "tally", "2.0", {"tally.py": "VERSION = 2\n"})
    second = online.json("update", "data")
    assert second["packages"] == [{"name": "tally", "version": "2.0"}] and second["hash"] != first["hash"]
    done = run(online, "--environment", "data", "-c", "import tally; tally.VERSION")
    assert (done.returncode, done.stdout) == (0, b"2\n"), done.stderr
    assert online.json("update", "data", "tally<2")["packages"] == first["packages"]
    online.check()


def test_with_and_the_metadata_of_a_script(online):
    wheels.wheel(online.wheels, "tally", "1.0", {"tally.py": "VERSION = 1\n"})
    wheels.wheel(online.wheels, "words", "3.1", {"words.py": "COUNT = 3\n"}, ["tally"])
    for _ in range(2):
        done = run(online, "--with", "tally==1.0", "-c", "import tally; tally.VERSION")
        assert (done.returncode, done.stdout) == (0, b"1\n"), done.stderr
    assert done.stderr == b""       # the second one found it
    script = online.write("script.py", "# /// script\n# requires-python = '>=3.8'\n# dependencies = ['words>=3']\n# ///\n"
                          "import tally, words\nprint(tally.VERSION + words.COUNT)\n")
    for _ in range(2):
        done = run(online, script)
        assert (done.returncode, done.stdout) == (0, b"4\n"), done.stderr
    assert done.stderr == b"" and len(online.parts("names")) == 2 and all(name.startswith("cached-") for name in online.parts("names"))


def test_failures_of_an_index_are_explained(online):
    wheels.wheel(online.wheels, "tally", "1.0")
    wheels.source(online.wheels, "fromsource", "1.0", os.path.join(online.home, "built"))
    for arguments, texts in [(["nothere"], ("no wheel is there", "not in the package index")), (["tally==9"], ("no wheel is there", "not in the package index")),
                             (["fromsource"], ("--build-from-source",)), (["tally", "tally==2"], ("contradict", "no wheel is there", "not in the package index"))]:
        message = online.fails("create", "bad", *arguments)
        assert any(text in message for text in texts) and "hint:" in message, message
    with socket.socket() as closed:       # nobody listens
        closed.bind(("127.0.0.1", 0))
        online.environment["PIP_INDEX_URL"] = online.environment["UV_INDEX_URL"] = "http://user:secret@127.0.0.1:%d/simple" % closed.getsockname()[1]
        message = online.fails("create", "bad", "never-seen")
        assert "can't be reached" in message and "secret" not in message, message
    assert online.parts("names") == online.parts("store") == online.parts("build") == []


@pytest.mark.parametrize("path", ["scripts/python", "data/bin/python", "data/pyvenv.cfg"])
def test_a_package_that_replaces_the_interpreter_is_refused_before_it_runs(store, path):
    proof = os.path.join(store.wheels, "proof")
    wheels.wheel(store.wheels, "evil", "1.0", {"evil.py": "", "evil-1.0.data/" + path: "#!/bin/sh\necho > %s\n" % proof})
    assert "replaces the interpreter of its environment" in store.fails("create", "data", "evil")
    assert not os.path.exists(proof) and store.parts("names") == [] and store.parts("store") == []


def test_source_is_built_only_when_asked_for(store):
    proof = os.path.join(store.home, "built")
    path = wheels.source(store.wheels, "fromsource", "1.0", proof)
    message = store.fails("create", "data", "fromsource")
    assert "--build-from-source" in message and "outside of any sandbox" in message, message
    assert "is not a wheel" in store.fails("create", "data", path) and not os.path.exists(proof)
    assert run(store, "--with", "fromsource", "-c", "1").returncode == 125 and not os.path.exists(proof)


def test_a_source_distribution_is_built_and_its_code_runs_in_the_sandbox(each):
    """It compiles C. An update builds it again, because the environment was made so."""
    path = wheels.buildable(each.wheels, "cthing", "1.5")
    document = each.json("create", "data", "cthing", "--build-from-source")
    assert document["packages"] == [{"name": "cthing", "version": "1.5"}] and document["built_from_source"] is True
    code = "import ctypes, cthing\n(cthing.version, ctypes.CDLL(cthing.shared).answer())"
    done = run(each, "--environment", "data", "--any-import", "-c", code)
    assert (done.returncode, done.stdout) == (0, b"('1.5', 42)\n"), done.stderr
    wheels.buildable(each.wheels, "cthing", "1.6")
    assert each.json("update", "data")["packages"] == [{"name": "cthing", "version": "1.6"}]
    assert each.json("create", "file", path, "--build-from-source")["packages"] == [{"name": "cthing", "version": "1.5"}]
    each.check()


def test_a_build_that_fails_says_so(store):
    path = wheels.buildable(store.wheels, "cthing", "1.5")
    store.environment["CC"] = "/nowhere/cc"
    message = store.fails("create", "data", path, "--build-from-source")
    assert "can't be built from its source" in message and "/nowhere/cc" in message and store.parts("names") == []


def test_code_at_the_start_of_python_is_taken_out_of_packages_that_a_script_chose(store):
    """It would run before the last layers of a script are closed. For an operator's own environment it stays."""
    wheels.wheel(store.wheels, "sly", "1.0", {"sly.py": "import sys\nran = [name for name in ('from_pth', 'from_site') if hasattr(sys, name)]\n",
                                              "sly.pth": "import sys; sys.from_pth = 1\n", "sitecustomize.py": "import sys; sys.from_site = 1\n"})
    done = run(store, "--with", "sly", "-c", "import sly\nsly.ran")
    assert (done.returncode, done.stdout) == (0, b"[]\n"), done.stderr


def test_update_and_remove_while_sessions_use_the_environment(each):
    """A session of each version goes on with its own files, also those that it reads only afterwards; the next call has the new ones.
    Files go when nobody uses them, and not before, whatever command runs."""
    store, seen = each, []
    for number in (1, 2, 3):
        wheels.wheel(store.wheels, "tally", "%d.0" % number, {"tally/__init__.py": "VERSION = %d\n" % number, "tally/late.py": "LATE = %d\n" % number})
    with start(store.program, store) as started:
        for number, command in ((1, "create"), (2, "update"), (3, "update")):
            store.ok(command, "data", "tally==%d" % number)
            seen.append(store.folder("data"))
            assert call(started, "data", "import tally; tally.VERSION") == str(number)
            assert call(started, "data", "import tally; tally.VERSION", "s%d" % number) == str(number)
        assert len(set(seen)) == 3
        store.ok("remove", "data")
        with pytest.raises(Failure) as caught:
            call(started, "data", "1")
        assert caught.value.code == "invalid_policy" and "no environment 'data'" in caught.value.message
        store.ok("prune")
        for number in (1, 2, 3):
            assert started.call("s%d" % number, "import tally.late; tally.VERSION, tally.late.LATE")["last_value_repr"] == "(%d, %d)" % (number, number)
            assert os.path.exists(seen[number - 1] + "/venv/bin/python")
        started.close("s2")
        wait_until(lambda: started.call(None, "1") and store.ok("prune") is not None and not os.path.exists(seen[1]))
        assert os.path.exists(seen[0]) and os.path.exists(seen[2])
        assert started.call("s3", "tally.late.LATE")["last_value_repr"] == "3"
    store.ok("prune")
    assert store.parts("store") == store.parts("names") == []


def test_updates_while_runs_and_sessions_begin(each):
    """Each sees one version as a whole: the package's two files are of the same one. None fails."""
    store = each
    for number in (1, 2):
        wheels.wheel(store.wheels, "tally", "%d.0" % number, {"tally/__init__.py": "VERSION = %d\n" % number, "tally/late.py": "LATE = %d\n" % number})
    store.ok("create", "data", "tally==1")
    ended, found = threading.Event(), []

    def use(lane):
        count = 0
        while not ended.is_set():
            session = "%d-%d" % (lane, count) if lane % 2 else None
            found.append(call(started, "data", "import tally, tally.late; tally.VERSION, tally.late.LATE", session))
            if session:
                started.close(session)
            count += 1
    with start(store.program, store) as started, ThreadPoolExecutor(4) as threads:
        lanes = [threads.submit(use, lane) for lane in range(4)]
        for number in (2, 1, 2):
            before = len(found)
            store.ok("update", "data", "tally==%d" % number)
            wait_until(lambda: "(%d, %d)" % (number, number) in found[before:])
        ended.set()
        for lane in lanes:
            lane.result(60)
    assert set(found) == {"(1, 1)", "(2, 2)"}

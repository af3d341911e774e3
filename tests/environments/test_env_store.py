# SPDX-License-Identifier: Apache-2.0
"""pyexec env: create, list, show, update, remove, freeze, prune. docs/environments.md has the promises."""
import errno
import json
import os
import stat
import subprocess
import time

import pytest

import env_stores
import wheels


@pytest.fixture
def store(pyexec):
    """Environments made with a quick installer that needs no index."""
    store = env_stores.CommandStore(pyexec)
    yield store
    store.close()


@pytest.fixture
def one(own):
    """The same, for one user."""
    store = env_stores.CommandStore(own)
    yield store
    store.close()


@pytest.fixture
def pip(own):
    """Environments made with pip from a folder of wheels."""
    store = env_stores.CommandStore(own, fast=False)
    yield store
    store.close()


def run_in(store, name, code):
    """Runs code with the interpreter of an environment, outside of a sandbox."""
    return subprocess.run([store.folder(name) + "/venv/bin/python", "-I", "-c", code], capture_output=True, text=True)


def test_create_measures_imports_and_says_which_fail(store):
    store.write("alpha/alpha.py", "import math\n")
    store.write("alpha/alpha_bad.py", "import not_there_at_all\n")
    store.write("alpha/_private.py", "")
    done = store.run("create", "data", "alpha", "--json")
    document = json.loads(done.stdout)
    assert done.returncode == 0
    assert document["packages"] == [{"name": "alpha", "version": "1"}] and document["imports"] == ["alpha", "alpha_bad"]
    assert document["requirements"] == ["alpha"] and document["tool"] == "uv 0.0.1" and document["preload"] == []
    good, bad = document["measured"]
    assert good["import"] == "alpha" and good["error"] is None and good["threads"] == 1
    assert 5 << 20 < good["address_space_bytes"] < 200 << 20 and 1 << 20 < good["memory_bytes"] < 200 << 20 and good["ms"] >= 0
    assert "No module named 'not_there_at_all'" in bad["error"]
    assert "`import alpha_bad` fails in a sandbox" in done.stderr.decode() and "not_there_at_all" in done.stderr.decode()
    assert "address_space_bytes" not in document["limits"] and "max_threads" not in document["limits"]
    assert store.json("show", "data") == document
    store.check()


def test_an_import_that_makes_files_is_measured_with_file_access(one):
    one.write("filer/filer.py", "import tempfile\ntempfile.TemporaryFile().close()\n")
    done = one.run("create", "data", "filer", "--json")
    row, = json.loads(done.stdout)["measured"]
    assert row["error"] is None and "temporary directory" in row["needs_files"] and row["memory_bytes"] > 1 << 20
    assert "`import filer` needs file access (--files full)" in done.stderr.decode()
    assert "only with --files full" in one.ok("show", "data")


def test_limits_are_what_the_defaults_lack(one):
    """The default of address space is 512 MiB, of threads 16. This import maps 600 MiB and starts 12 threads."""
    one.write("heavy/heavy.py", "import mmap, threading\n"
                "kept = mmap.mmap(-1, 600 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ)\n"
                "wait = threading.Event()\n"
                "for _ in range(12): threading.Thread(target=wait.wait, daemon=True).start()\n")
    document = one.json("create", "heavy", "heavy")
    measured, = document["measured"]
    limits = document["limits"]
    assert 600 << 20 < measured["address_space_bytes"] < 900 << 20 and measured["threads"] == 13
    assert 512 + 600 <= limits["address_space_bytes"] >> 20 <= 512 + 900 and limits["max_threads"] == 16 + 12
    text = one.ok("show", "heavy")
    assert "address_space_bytes %d MiB" % (limits["address_space_bytes"] >> 20) in text and "max_threads 28" in text
    refused = one.program.result("import heavy", "--python-bin", one.folder("heavy") + "/venv/bin/python", "--no-isolate-site", "--any-import")
    assert refused["status"] != "ok"
    works = one.program.result("import heavy", "--python-bin", one.folder("heavy") + "/venv/bin/python", "--no-isolate-site", "--any-import",
                                 "--address-space-bytes", str(limits["address_space_bytes"]), "--max-threads", str(limits["max_threads"]))
    assert works["status"] == "ok", works


def test_preloads_show_their_memory_and_must_work(one):
    one.write("big/big.py", "data = bytearray(64 << 20)\nfor i in range(0, len(data), 4096): data[i] = 1\n")
    document = one.json("create", "warm", "big", "--preload", "big")
    assert document["preload"] == ["big"] and 60 << 20 < document["preload_cost"]["memory_bytes"] < 80 << 20
    text = one.ok("show", "warm")
    assert "preload        big: 6" in text and "MiB in each warm parent" in text
    assert "can't be imported" in one.fails("create", "other", "big", "--preload", "bigger")
    assert "not the name of a module" in one.fails("create", "other", "big", "--preload", "a b; c")
    assert one.parts("names") == ["warm"] and one.parts("build") == []


def test_nobody_may_write_and_everybody_may_read(store):
    store.write("alpha/alpha.py", "")
    store.ok("create", "data", "alpha", preexec_fn=lambda: os.umask(0o077))
    for folder, folders, files in os.walk(store.root):
        for name in [*folders, *files]:
            path = os.path.join(folder, name)
            mode = os.lstat(path).st_mode
            if stat.S_ISLNK(mode):
                continue
            assert not mode & 0o022, path
            if "/venv" in path:
                assert not mode & 0o222, path
            if name not in ("requirements.txt", "constraints.txt", "writer.lock"):
                assert mode & 0o444 == 0o444, path
    assert run_in(store, "data", "import alpha; print(alpha.__file__)").stdout.startswith(store.folder("data"))


def test_list_freeze_and_remove(one):
    assert "no environments in" in one.ok("list") and one.json("list") == []
    one.write("alpha/alpha.py", "")
    one.ok("create", "b", "alpha", "beta")
    one.ok("create", "a", "beta")
    assert [entry["name"] for entry in one.json("list")] == ["a", "b"]
    assert one.ok("freeze", "b") == "alpha==1\nbeta==1\n"
    assert one.ok("list").splitlines()[1].startswith("b ")
    one.ok("remove", "b")
    assert [entry["name"] for entry in one.json("list")] == ["a"] and len(one.parts("store")) == 1 and one.parts("build") == []
    message = one.fails("remove", "aa")
    assert "there is no environment 'aa'" in message and "Did you mean 'a'? There are: a." in message
    assert "Did you mean 'a'?" in one.fails("show", "b")


def test_update_switches_and_keeps_what_is_in_use(store):
    store.write("alpha/alpha.py", "")
    store.ok("create", "data", "alpha")
    old = store.folder("data")
    assert "nothing has changed" in store.run("update", "data").stderr.decode() and store.folder("data") == old
    with open(old + "/lock") as lock:
        assert env_stores.lock(lock)            # as a host does that has warm parents of it
        store.write("version", "2\n")
        store.ok("update", "data")
        new = store.folder("data")
        assert new != old and os.path.exists(old + "/venv/bin/python") and store.ok("freeze", "data") == "alpha==2\n"
        assert "next `pyexec env` command" in store.run("remove", "data").stderr.decode() or not os.path.exists(new)
        store.ok("prune")
        assert os.path.exists(old + "/venv/bin/python") and not os.path.exists(new)
    store.ok("prune")
    assert not os.path.exists(old) and store.parts("store") == []


def test_update_keeps_its_choices_and_takes_new_ones(one):
    one.write("alpha/alpha.py", "")
    one.write("beta/beta.py", "")
    one.ok("create", "data", "alpha", "--python", "/usr/bin/python3", "--preload", "alpha")
    document = one.json("update", "data", "alpha", "beta")
    assert document["requirements"] == ["alpha", "beta"] and document["preload"] == ["alpha"] and document["python"]["asked"] == "/usr/bin/python3"
    assert one.json("update", "data", "--preload", "")["preload"] == []


def test_two_at_once(one):
    """Of the same name one wins and the other says so; of different names both are made."""
    one.write("wait", "")
    both = [one.program.popen("env", "create", name, "alpha", env=one.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            for name in ("same", "same", "other")]
    deadline = time.monotonic() + 120
    while len(one.parts("build")) < 3 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(one.parts("build")) == 3 and one.parts("names") == []
    one.ok("prune")                           # takes nothing from those that are working
    assert len(one.parts("build")) == 3
    os.unlink(os.path.join(one.home, "wait"))
    ends = [(process.communicate(timeout=300), process.returncode)[::-1] for process in both]
    assert sorted(code for code, _ in ends[:2]) == [0, 125] and ends[2][0] == 0, ends
    assert any(b"there is an environment 'same' already" in err for _, (_, err) in ends[:2])
    assert one.parts("names") == ["other", "same"] and one.parts("build") == []
    one.check()


@pytest.mark.parametrize("name", ["", ".x", "-x", "_x", "a/b", "..", "Data", "a" * 65, "ä", "a b", "cached-1", "x\n"])
def test_names_that_are_refused(one, name):
    message = one.fails("create", "--", name, "alpha")
    assert "can't be the name of an environment" in message
    assert not os.path.exists(one.root)


def test_the_longest_name_and_unicode_folders(one):
    one.root = one.environment["PYEXEC_ENV_ROOT"] = os.path.join(one.home, "Umgebungen für 数据")
    one.ok("create", "a" * 64, "alpha")
    assert [entry["name"] for entry in one.json("list")] == ["a" * 64]
    one.check()


@pytest.mark.parametrize("output, reason, hint, code, number", [
    ("ERROR: No matching distribution found for nothere", "no wheel is there", "Check the name and version", "invalid_request", None),
    ("ERROR: ResolutionImpossible: for help visit", "contradict", "Change or remove one of the versions", "invalid_request", None),
    ("error: No space left on device (os error 28)", "the disk is full", "pyexec env prune", "internal", errno.ENOSPC),
    ("error: Failed to fetch\n  Caused by: dns error", "index can't be reached", "UV_FIND_LINKS", "internal", errno.ENETUNREACH),
    ("something \x1b[31mred\x1b[0m at https://user:secret@example.com/", "it failed", "--verbose", "internal", errno.EIO),
])
def test_failures_of_the_installer_are_explained(one, output, reason, hint, code, number):
    one.write("broken", output + "\n")
    message = one.fails("create", "data", "alpha")
    assert reason in message and hint in message and "\x1b" not in message and "secret" not in message
    for subcommand in (["create", "data"], ["cached"]):
        done = one.run(*subcommand, "alpha", "--json")
        told = json.loads(done.stdout)
        assert done.returncode == 125 and (told["code"], told.get("errno")) == (code, number), (done.stdout, done.stderr)
        assert reason in told["message"] and hint in told["hint"] and reason in done.stderr.decode()
    assert one.parts("names") == one.parts("store") == one.parts("build") == []


def test_the_answer_of_cached_for_programs(one):
    one.write("alpha/alpha.py", "number = 42\n")
    told = one.json("cached", "alpha")
    assert told == {"name": one.parts("names")[0]} and one.ok("cached", "alpha") == told["name"] + "\n"
    done = one.run("cached", "alpha @ nowhere", "--json")
    assert json.loads(done.stdout)["code"] == "invalid_request" and done.returncode == 125
    done = one.run("cached", "alpha", "--python", "/nowhere/python", "--json")
    assert json.loads(done.stdout)["code"] == "python_not_found"


def test_requirements_that_would_run_code_or_change_are_refused(one):
    os.mkdir(os.path.join(one.home, "folder"))
    try:
        for requirement, reason in [("./folder", "is not a wheel"), ("git+https://example.com/a.git", "is not a wheel"),
                                    ("a @ https://example.com/a-1.tar.gz", "is not a wheel"), ("./none.whl", "not there"),
                                    ("a @ https://example.com/a.tar.gz#x.whl", "is not a wheel"), ("==1", "does not begin with the name"),
                                    ("a-1.tar.gz", "is not a wheel"), ("a\nb", "does not begin")]:
            assert reason in one.fails("create", "data", requirement, cwd=one.home), requirement
        for line, reason in [("-e ./folder", "editable"), ("--no-binary :all:", "would run the code"), ("--no-binary=a", "would run the code"),
                             ("--global-option x", "environments don't have"), ("-r missing.txt", "can't read"), ("./folder", "is not a wheel"),
                             ("al\\\npha @ git+file:///x", "is not a wheel"), ("--editable=git+x", "editable"), ("-r r.txt", "too many files")]:
            path = one.write("r.txt", "alpha\n" + line + "\n")
            message = one.fails("create", "data", "-r", path)
            assert reason in message, (line, message)
        assert one.parts("names") == []
    finally:
        one.close()


def test_requirements_files_with_all_their_forms(one):
    one.write("more/c.txt", "alpha<9  # a constraint\n")
    one.write("more/b.txt", "-c c.txt\nbeta\n")
    path = one.write("a.txt", "# comment\n\nalpha  # why\n-r more/b.txt\n--index-url https://user:secret@example.com/simple\n")
    document = one.json("create", "data", "-r", path)
    assert document["requirements"] == ["alpha", "beta"]
    with open(one.folder("data") + "/requirements.txt") as file:
        assert file.read() == "alpha\nbeta\n--index-url https://user:secret@example.com/simple\n"
    assert stat.S_IMODE(os.stat(one.folder("data") + "/requirements.txt").st_mode) == 0o600
    with open(one.folder("data") + "/constraints.txt") as file:
        assert file.read() == "alpha<9\n"
    assert "secret" not in json.dumps(document)


def test_an_unwritable_root_says_what_to_do(one):
    one.environment["PYEXEC_ENV_ROOT"] = "/proc/environments"
    message = one.fails("create", "data", "alpha")
    assert "can't make the folder in '/proc/environments'" in message and "hint:" in message
    one.environment["PYEXEC_ENV_ROOT"] = "/sys/environments/env"     # nobody may make a folder there
    message = one.fails("create", "data", "alpha")
    assert "'/sys/environments/env': " in message and "PYEXEC_ENV_ROOT=/FOLDER" in message, message
    file = one.write("file", "")
    one.environment["PYEXEC_ENV_ROOT"] = file
    assert "'%s'" % file in one.fails("create", "data", "alpha")


def test_wrong_uses_are_explained(one):
    for arguments, text in [([], "no subcommand"), (["creat", "x"], "Did you mean `pyexec env create`?"), (["create"], "no name given"),
                            (["create", "x"], "no packages given"), (["list", "x"], "unexpected argument"), (["remove", "x", "--json"], "no option --json"),
                            (["prune", "--unused-days", "x"], "not a number of days"), (["create", "x", "a", "--python", "3.99"], "There are: 3."),
                            (["create", "x", "a", "--python", "/bin/sh"], "is not a Python"),
                            (["create", "x", "a", "--python", "/nowhere/python"], "'/nowhere/python' is not a program"),
                            (["create", "x", "a", "--python", "pythonic"], "'pythonic' is not a program in the folders of PATH"),
                            (["list", "x"], "`pyexec env show x`"), (["create"], "`pyexec env create data pandas`"), (["update", "x"], "There are no environments yet")]:
        assert text in one.fails(*arguments), arguments


def test_requirements_files_have_no_other_line_ends(one):
    for end in ("\u0085", "\u2028", "\u2029"):
        path = one.write("lines.txt", "alpha>1" + end + "-e .\n")
        assert "control characters" in one.fails("create", "data", "-r", path)


def test_the_installer_does_not_run_in_the_folder_of_the_caller(one):
    """uv takes uv.toml from there, and pip archives that requirements name."""
    one.ok("create", "data", "alpha")
    with open(os.path.join(one.home, "ran-in")) as file:
        assert file.read().startswith(one.root + "/build/")


# Holds each lock of the store that it can open, in each way that there is, until its input ends.
HOLDER = """
import fcntl, os, struct, sys
held = []
for folder, _, files in os.walk(sys.argv[1]):
    for name in files:
        if name in ("lock", "writer.lock"):
            try: file = open(os.path.join(folder, name))
            except PermissionError: continue
            fcntl.flock(file, fcntl.LOCK_EX)
            fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack("hhxxxxqqixxxx", fcntl.F_RDLCK, 0, 0, 0, 0))
            held.append(file)
print(len(held), flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can start a process of another user")
def test_a_user_who_may_only_read_holds_up_nobody(one):
    """A lock of flock(2) needs no right to write, so any user of the machine could have held these for ever."""
    one.write("alpha/alpha.py", "")
    one.ok("create", "data", "alpha")
    holder = subprocess.Popen(["/usr/bin/python3", "-c", HOLDER, one.root], user=65534, group=65534, extra_groups=[],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"1\n"                   # that of the environment, and not writer.lock
        done = one.program.run("run", "--environment", "data", "-c", "import alpha; 42", env=one.environment, timeout=120)
        assert (done.returncode, done.stdout) == (0, b"42\n"), done.stderr
        one.ok("create", "other", "beta", timeout=120)
        one.write("version", "2\n")
        one.ok("update", "data", timeout=120)
        one.ok("remove", "data", timeout=120)
        assert len(one.parts("store")) == 2                         # the first one is being read
    finally:
        holder.communicate(b"", timeout=60)
    one.ok("prune")
    assert len(one.parts("store")) == 1
    one.check()


def test_a_writer_that_is_stuck_is_named_after_a_while(one):
    one.ok("create", "data", "alpha")
    assert stat.S_IMODE(os.stat(one.root + "/writer.lock").st_mode) == 0o600
    with open(one.root + "/writer.lock", "r+") as file:
        assert env_stores.lock(file, exclusive=True)
        message = one.fails("remove", "data", timeout=120)
    assert "writer.lock' for 20 seconds" in message and "lslocks" in message
    one.ok("remove", "data")


def test_modules_of_the_standard_library_are_not_added_to_what_scripts_may_import(pip):
    """Python takes its own ctypes first. So a package that has a module of this name would only put it on the list."""
    names = ["csv.py", "subprocess/__init__.py", "ctypes/extra.py", "os.py", "_thread.py", "honest.py", "tests/__init__.py"]
    wheels.wheel(pip.wheels, "sly", "1.0", {name: "" for name in names})
    document = pip.json("create", "data", "sly")
    assert document["imports"] == ["honest", "tests"]
    for name in ("subprocess", "ctypes", "os"):
        done = pip.program.run("run", "--environment", "data", "-c", "import " + name, env=pip.environment, timeout=120)
        assert done.returncode == 1 and b"not allowed" in done.stderr, (name, done.stderr)
    assert pip.program.run("run", "--environment", "data", "-c", "import honest; 1", env=pip.environment, timeout=120).stdout == b"1\n"

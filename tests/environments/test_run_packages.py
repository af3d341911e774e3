# SPDX-License-Identifier: Apache-2.0
"""pyexec run --with, and scripts that list their packages (PEP 723)."""
import os
import time

import pytest

import env_stores


@pytest.fixture
def store(pyexec):
    store = env_stores.CommandStore(pyexec)
    store.write("alpha/alpha.py", "number = 42\n")
    yield store
    store.close()


@pytest.fixture
def one(own):
    store = env_stores.CommandStore(own)
    store.write("alpha/alpha.py", "number = 42\n")
    yield store
    store.close()


def run(store, *arguments, **keywords):
    return store.program.run("run", *arguments, env=store.environment, timeout=300, **keywords)


SCRIPT = """#!/usr/bin/env python3
# /// script
# requires-python = ">=3.8"  # a comment
# dependencies = [
#   "alpha",   # the first
#   'beta>=1',
# ]
# [tool.other]
# dependencies = ["gamma"]
# ///
import alpha
print(alpha.number)
"""


def test_the_first_run_makes_the_environment_and_the_next_ones_find_it(store):
    path = store.write("script.py", SCRIPT)
    first = run(store, path)
    assert (first.returncode, first.stdout) == (0, b"42\n"), first.stderr
    assert b"pyexec: installing with uv 0.0.1" in first.stderr
    names = store.parts("names")
    assert len(names) == 1 and names[0].startswith("cached-")
    second = run(store, path)
    assert (second.returncode, second.stdout, second.stderr) == (0, b"42\n", b"")
    other_order = store.write("other.py", SCRIPT.replace("alpha\",", "beta>=1\",").replace("'beta>=1'", "'alpha'"))
    assert run(store, other_order).stdout == b"42\n" and store.parts("names") == names
    assert store.json("list") == [] and "and 1 cached" in store.ok("list")


def test_with_adds_packages(one):
    done = run(one, "--with", "alpha", "-c", "import alpha\nalpha.number")
    assert (done.returncode, done.stdout) == (0, b"42\n"), done.stderr
    assert run(one, "--with", "alpha", "-c", "import os").returncode == 1      # the rest of the policy holds
    assert run(one, "-c", "import alpha").returncode == 1
    hint = run(one, "--with", "alpha", "--any-import", "-c", "import pandas").stderr
    assert b"pandas is not among the packages that were asked for" in hint and b"env update" not in hint, hint
    document = one.ok("list")
    assert "and 1 cached" in document
    assert b"both --with and --environment" in run(one, "--with", "alpha", "--environment", "x", "-c", "1").stderr


def test_prune_removes_what_nobody_used_for_a_time(one):
    one.ok("create", "kept", "alpha")
    for package in ("alpha", "beta"):
        assert run(one, "--with", package, "-c", "1").returncode == 0
    old, = [name for name in one.parts("names") if name.startswith("cached-")
            if "beta" in open(one.folder(name) + "/requirements.txt").read()]
    long_ago = time.time() - 40 * 86400
    for name in one.parts("names"):
        os.utime(one.folder(name) + "/lock", (long_ago, long_ago))
    assert run(one, "--with", "alpha", "-c", "1").returncode == 0              # a use
    assert one.ok("prune") == "removed 1\n"
    assert old not in one.parts("names") and len(one.parts("names")) == 2 and "kept" in one.parts("names")
    assert one.ok("prune", "--unused-days", "0") == "removed 1\n" and one.parts("names") == ["kept"]


@pytest.mark.parametrize("lines, text", [
    ('dependencies = ["./x.whl"]', "is not the name of a package"), ('dependencies = ["a @ file:///x.whl"]', "is not the name of a package"),
    ('dependencies = ["--index-url=x"]', "is not the name of a package"), ('dependencies = ["a --hash=x"]', "is not the name of a package"),
    ('dependencies = ["${HOME}"]', "is not the name of a package"), ('dependencies = ["a\\u000a-e ."]', "does not begin with the name"),
    # These end a line for pip, and the last ones are archives for it.
    ('dependencies = ["a>1\\u2028https://h.example/x.tar.gz"]', "is not the name of a package"), ('dependencies = ["a>1\\u0085-e ."]', "is not the name of a package"),
    ('dependencies = ["evil.tgz"]', "is not the name of a package"), ('dependencies = ["evil.TAR.GZ"]', "is not the name of a package"),
    ('dependencies = ["evil.tar.xz"]', "is not the name of a package"),
    ('dependencies = "alpha"', "not a list of texts"), ('dependencies = ["alpha"', "no closing bracket"), ('dependencies = ["alpha', "no closing quote"),
    ('dependencies = [1]', "list of at most 1000 texts"), ("requires-python = 3", "not a text"), ('requires-python = "what"', "can't be read"),
    ('requires-python = ">=3.99"', "satisfies requires-python >=3.99"), ("x", "a key has no value"), ("x = " + "[" * 40, "too deeply"),
])
def test_metadata_that_is_refused(one, lines, text):
    code = "# /// script\n" + "".join("# %s\n" % line for line in lines.splitlines()) + "# ///\n1\n"
    done = run(one, "-c", code)
    assert done.returncode == 125, (done.stdout, done.stderr)
    assert text in done.stderr.decode() and "hint:" in done.stderr.decode(), done.stderr
    assert one.parts("names") == []


@pytest.mark.parametrize("code", [
    "# /// script\n# dependencies = [\n1", "#/// script\n# dependencies = ['nothere']\n# ///\n1", "x = '''\n # /// script\n# dependencies = ['a']\n# ///'''\n1",
    "# /// other\n# dependencies = ['a']\n# ///\n1", "# /// script\n# a = {b = [1, {c = 2}], d.e = 'x'}\n# t = '''\n#  x\n# '''\n# w = 2020-01-01T00:00:00Z\n# [tool.x]\n# junk\n# ///\n1",
    "# /// script\n# ///\n1"])
def test_comments_that_name_no_packages(one, code):
    done = run(one, "-c", code)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"1\n", b"") and one.parts("names") == []

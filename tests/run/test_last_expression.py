# SPDX-License-Identifier: Apache-2.0
"""The guest cuts a program before its last expression as a cut in the syntax tree does, for each interpreter of this machine.

The oracle is Python's own `ast`, in support/split_programs.py. Code objects with all their places, warnings and exceptions are
compared: for the interpreter's library, HumanEval, the corpus and programs that are made from them by random changes.
"""
import glob
import gzip
import json
import os
import subprocess

import pytest
from conftest import BUILD, ROOT, SHARED
from run.test_interpreters import BUILDS

PYTHONS = ["/usr/bin/python3", *BUILDS]
SEED, RANDOM = "2026", 1000


@pytest.fixture(scope="module")
def solutions(tmp_path_factory):
    """HumanEval's programs, each followed by a call of its test."""
    folder, path = tmp_path_factory.mktemp("humaneval"), os.path.join(SHARED, "data", "HumanEval.jsonl.gz")
    if os.path.exists(path):
        with gzip.open(path, "rt") as lines:
            for number, line in enumerate(lines):
                problem = json.loads(line)
                text = "%s%s\n%s\ncheck(%s)\n" % (problem["prompt"], problem["canonical_solution"], problem["test"], problem["entry_point"])
                (folder / ("%d.py" % number)).write_text(text)
    return sorted(map(str, folder.iterdir()))


@pytest.mark.parametrize("python", PYTHONS, ids=lambda path: path.split("/")[-3])
def test_programs_are_cut_as_the_syntax_tree_is(python, solutions):
    library = subprocess.run([python, "-c", "import os; print(os.path.dirname(os.__file__))"], capture_output=True, text=True, check=True)
    files = sorted(glob.glob(library.stdout.strip() + "/*.py")) + solutions + sorted(glob.glob(SHARED + "/corpus/*.py"))
    assert len(files) > 100
    done = subprocess.run([python, "-B", ROOT + "/tests/support/split_programs.py", BUILD + "/tests", SEED, str(RANDOM), *files],
                          capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr
    *different, summary = done.stdout.splitlines()
    assert not different, "\n".join(different)
    programs, shown = int(summary.split()[0]), int(summary.split()[2])
    # Library files rarely end with an expression; that they do not is found in the text too.
    assert programs > 1100 and shown > 0.6 * programs, summary

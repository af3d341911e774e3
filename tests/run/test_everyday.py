"""Sixty programs as models write them, for ten everyday tasks (everyday/). The tests check the output with files and all imports
allowed, and the error that a model reads with the default policy. The first lines of a program NAME.py have the task, its input, the
packages that it needs, its displays and files, and its value. NAME.txt is the output of Python."""
import base64
import fnmatch
import glob
import json
import os
import re

import pytest

from conftest import ROOT
from environments import packages
from library import Executor

FOLDER = ROOT + "/tests/run/everyday"
HEAD = re.compile(r"# (Asked|Input|Needs|Shows|Makes|Value|Fails): (.+)\n")
FULL = {"use_import_whitelist": False, "banned_imports": [], "disable_open": False, "allow_readonly_open": False, "timeout_ms": 60000}


def read(path):
    with open(os.path.join(FOLDER, path), "rb") as file:
        return file.read()


class Program:
    def __init__(self, path):
        self.name = os.path.basename(path)[:-3]
        self.code = read(path).decode()
        self.head, at = {}, 0
        while found := HEAD.match(self.code, at):
            self.head[found[1]], at = found[2], found.end()
        self.prints = read(self.name + ".txt").decode()

    def words(self, key):
        return self.head.get(key, "").split()

    def files(self):
        return {name: {"base64": base64.b64encode(read("files/" + name)).decode()} for name in self.words("Input")}


PROGRAMS = [Program(path) for path in sorted(glob.glob(FOLDER + "/*.py"))]
PLAIN = [program for program in PROGRAMS if "Needs" not in program.head]
PACKAGED = [program for program in PROGRAMS if "Needs" in program.head]


def named(programs):
    return [pytest.param(program, id=program.name) for program in programs]


@pytest.fixture(scope="module")
def full():
    """Allows files and all imports of the standard library. All other limits are the defaults."""
    with Executor(FULL) as made:
        yield made


@pytest.fixture(scope="module")
def analysis(own):
    """The policy for data analysis, with more packages than its documentation asks for."""
    python = packages()
    policy = own.json("policy", "--config", ROOT + "/examples/analysis/pyexec.conf")
    with Executor(dict(policy, python_bin=python), {}, {"zygotes": 1}) as made:
        yield made


def run_and_check(executor, program):
    result = executor.call(None, program.code, files=program.files())
    assert result["stdout"] == program.prints, result
    if "Fails" in program.head:
        kind, _, words = program.head["Fails"].partition(": ")
        assert result["status"] == "error" and result["error"]["type"] == kind, result
        assert words in result["error_repr"] + (result["error"]["hint"] or ""), result
    else:
        assert result["status"] == "ok" and result["error"] is None and "Warning" not in result["stderr"], result
    richest = [next(mime for mime in ("image/png", "text/html") if mime in shown["data"]) for shown in result["display"]]
    assert richest == program.words("Shows"), richest
    made = [file["path"] for file in result["files"]]
    assert len(made) == len(program.words("Makes")) and all(map(fnmatch.fnmatch, made, program.words("Makes"))), made
    assert (result["last_value_repr"] or "").strip().startswith(program.head.get("Value", "")), result["last_value_repr"]
    assert ("Value" in program.head) == (result["last_value_repr"] is not None), result["last_value_repr"]


def test_there_are_six_programs_for_each_of_ten_tasks():
    tasks = [program.name.partition("_")[0] for program in PROGRAMS]
    assert len(PROGRAMS) == 60 and {tasks.count(task) for task in tasks} == {6} and len(set(tasks)) == 10
    assert all("Asked" in program.head and "pyexec" not in program.code for program in PROGRAMS)


@pytest.mark.parametrize("program", named(PLAIN))
def test_with_files_and_all_imports(full, program):
    run_and_check(full, program)


@pytest.mark.parametrize("program", named(PACKAGED))
def test_with_packages(analysis, program):
    run_and_check(analysis, program)


def test_with_the_default_policy():
    """Programs that only compute work. Others are refused with what to do instead, before the list of allowed modules."""
    refused = 0
    with Executor() as executor:
        for program in PROGRAMS:
            result = executor.call(None, program.code)
            if result["status"] == "ok":
                assert result["stdout"] == program.prints
                continue
            error, refused = result["error"], refused + 1
            advice = error["hint"].partition("Allowed modules: ")[0]
            assert error["type"] in ("ImportError", "PermissionError") and len(advice) > 10, (program.name, json.dumps(error))
            assert result["denials"][0]["hint"] == error["hint"] or error["type"] == "PermissionError", (program.name, result["denials"])
    assert 40 < refused < len(PROGRAMS)

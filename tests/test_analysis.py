"""The programs of examples/analysis, as an agent sends them, with the configuration that lies beside them: what comes out
(tests/analysis_checks.py), and what a model reads after each of its usual mistakes."""
import base64
import glob
import json
import os
import subprocess

import pytest

import analysis_checks
from conftest import ROOT
from library import Executor

FOLDER = ROOT + "/examples/analysis"
PROGRAMS = sorted(os.path.basename(path)[:-3] for path in glob.glob(FOLDER + "/*.py") if not path.endswith("make_data.py"))


def source(name):
    with open("%s/%s.py" % (FOLDER, name)) as file:
        return file.read()


@pytest.fixture(scope="session")
def data(session_folder):
    """The files by name, as make_data.py makes them."""
    folder = session_folder / "analysis"
    subprocess.run(["/usr/bin/python3", FOLDER + "/make_data.py", folder], check=True)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture(scope="session")
def configuration(session_folder):
    """The configuration file, where every user can read it."""
    path = session_folder / "pyexec.conf"
    with open(FOLDER + "/pyexec.conf") as file:
        path.write_text(file.read())
    return str(path)


@pytest.fixture(scope="session")
def flags(science, configuration):
    return ["--config", configuration, "--python-bin", science]


@pytest.fixture(scope="module")
def executor(pyexec, science, configuration):
    """One warm parent of this user's for all programs."""
    policy = json.loads(pyexec.run("policy", "--config", configuration).stdout)
    user = {} if pyexec.uid == os.getuid() else {"user": pyexec.uid, "group": pyexec.uid, "extra_groups": []}
    with Executor(dict(policy, python_bin=science), {}, {"zygotes": 1}, pyexec.path, cwd="/", **user) as made:
        yield made


def files_of(data):
    return {name: {"base64": base64.b64encode(content).decode()} for name, content in data.items()}


def request(name, data):
    return {"code": source(name), "files": files_of(data), "return_files": ["*"], "value_json": "records"}


def check(name, result, data, science):
    getattr(analysis_checks, name)(analysis_checks.Outcome(result, data, science))


def test_every_program_is_checked_and_short():
    assert len(PROGRAMS) >= 20
    for name in PROGRAMS:
        assert 10 <= len(source(name).splitlines()) <= 40 and "pyexec" not in source(name), name
        assert hasattr(analysis_checks, name), name


def test_the_data_is_the_same_each_time(data, open_folder):
    subprocess.run(["/usr/bin/python3", FOLDER + "/make_data.py", open_folder], check=True)
    assert {path.name: path.read_bytes() for path in open_folder.iterdir()} == data


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_run(executor, data, science, name):
    check(name, executor.call(None, **request(name, data)), data, science)


def test_all_in_one_session(executor, data, science):
    """One after another: what one leaves (names, figures, files) does not disturb the next."""
    for name in PROGRAMS:
        result = executor.call("analyst", **request(name, data))
        # What it overwrites with the same data is no news.
        result["files"] = [file for file in result["files"] if file["path"] not in data]
        if name == "markdown_report":       # there are more tables now
            assert "files summarised" in result["stdout"] and [file["path"] for file in result["files"]] == ["overview.md"]
        else:
            check(name, result, data, science)
    executor.close("analyst")


@pytest.mark.parametrize("name", ["linear_regression", "sensor_resample"])
def test_a_command(pyexec, flags, data, science, open_folder, nothing_left, name):
    """As docs/data-analysis.md says: files in, results and plots out."""
    for file, content in data.items():
        (open_folder / file).write_bytes(content)
    os.chmod(open_folder, 0o777)
    inputs = [part for file in data for part in ("--file", str(open_folder / file))]
    done = pyexec.run("run", "--json", *flags, *inputs, "--value-json", "records", "--return-files", "*", "-", input=source(name))
    assert done.returncode == 0, done
    check(name, json.loads(done.stdout), data, science)


@pytest.mark.parametrize("name", ["stock_risk", "wine_classifier"])
def test_a_run_without_preloads(own, flags, data, science, session_folder, name):
    """Slower, but the same comes out."""
    inputs = [part for file in data for part in ("--file", str(session_folder / "analysis" / file))]
    done = own.run("run", "--json", *flags, "--preload-imports", "", *inputs, "--value-json", "records", "--return-files", "*", "-",
                   input=source(name))
    check(name, json.loads(done.stdout), data, science)

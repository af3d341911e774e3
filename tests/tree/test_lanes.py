"""tools/lanes.py: each file runs once, lanes are separated from each other, and failures in a lane are reported."""
import importlib.util
import os
import signal
import subprocess
import time
import xml.etree.ElementTree as xml

import pytest

from conftest import ROOT

spec = importlib.util.spec_from_file_location("lanes", ROOT + "/tools/lanes.py")
lanes = importlib.util.module_from_spec(spec)
spec.loader.exec_module(lanes)
apart = pytest.mark.skipif(not lanes.possible(), reason="needs root and namespaces")


def test_every_file_runs_in_one_place():
    rows, chosen = lanes.table(), lanes.files(["tests"])
    assert set(rows) <= set(chosen), "a row names no file: %s" % (set(rows) - set(chosen))
    for clients in (False, True):
        each, alone = lanes.split(chosen, rows, clients)
        assert sorted(sum(each, alone)) == sorted(chosen)
        assert {path for path, (_, place) in rows.items() if place == "alone"} == set(alone)
        took = [sum(rows.get(path, (lanes.UNKNOWN, ""))[0] for path in lane) +
                sum(seconds for seconds, at in lanes.CLIENTS.values() if clients and at == number)
                for number, lane in enumerate(each)]
        assert max(took) - min(took) < 60, took


def test_the_files_of_a_group_are_together():
    rows = lanes.table()
    each, _ = lanes.split(lanes.files(["tests"]), rows, True)
    for group in {place for _, place in rows.values()} - {"", "alone"}:
        members = {path for path, (_, place) in rows.items() if place == group}
        assert [number for number, lane in enumerate(each) if members <= set(lane)] in ([[0]] if group == "java" else [[0], [1], [2]]), group


# The sanitizer belongs to the lanes in which these tests run, and not to those that they make.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in ("SANITIZE", "PYEXEC_REPORTS")}


def run(tmp_path, *texts, **keywords):
    """Runs the program on one test file for each text. Returns its process and the folder with its reports."""
    build = tmp_path / "build"
    build.mkdir()
    paths = []
    for number, text in enumerate(texts):
        paths.append(tmp_path / ("test_part%d.py" % number))
        paths[-1].write_text(text)
    return subprocess.Popen([ROOT + "/tools/lanes.py", build, *paths], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, start_new_session=True, **{"env": ENVIRONMENT, **keywords}), build


def outcomes(build):
    """Returns test → whether it passed, from the report of all lanes."""
    return {case.get("name"): case.find("failure") is None and case.find("error") is None
            for case in xml.parse(build / "pytest.xml").iter("testcase")}


GOOD = "def test_good(): pass\n"


def test_reports_are_put_together_and_a_failure_is_the_status(tmp_path):
    process, build = run(tmp_path, GOOD, "def test_bad(): assert False, 'this is wrong'\n")
    out = process.communicate(timeout=300)[0]
    assert process.returncode == 1 and "this is wrong" in out, out
    assert outcomes(build) == {"test_good": True, "test_bad": False}


def test_a_lane_that_dies_is_told(tmp_path):
    process, build = run(tmp_path, GOOD, "import os\ndef test_dies(): os.kill(os.getpid(), 9)\n")
    out = process.communicate(timeout=300)[0]
    assert process.returncode == lanes.INCOMPLETE and "has left no report" in out, out


# This test fails the first time that it runs.
UNSTABLE = """
import os
def test_unstable%d():
    path = %r
    if not os.path.exists(path):
        open(path, "w").close()
        assert False, "the first time"
"""


def test_what_fails_once_runs_again_and_is_named(tmp_path):
    process, build = run(tmp_path, GOOD, UNSTABLE % (0, str(tmp_path / "ran")), env=dict(ENVIRONMENT, PYEXEC_SHARED=str(tmp_path)))
    out = process.communicate(timeout=300)[0]
    assert process.returncode == 0 and "the first time" in out and "once more" in out, out
    case = next(case for case in xml.parse(build / "pytest.xml").iter("testcase") if case.get("name") == "test_unstable0")
    assert [element.tag for element in case] == ["unstable"] and "the first time" in case[0].get("message")


@pytest.mark.parametrize("number, keywords", [(lanes.AGAIN + 1, {}), (1, {"SANITIZE": "-fsanitize=address"})])
def test_many_failures_or_those_under_a_sanitizer_are_not_run_again(tmp_path, number, keywords):
    texts = [UNSTABLE % (part, str(tmp_path / ("ran%d" % part))) for part in range(number)]
    process, build = run(tmp_path, *texts, env={**ENVIRONMENT, "PYEXEC_SHARED": str(tmp_path), **keywords})
    out = process.communicate(timeout=300)[0]
    assert process.returncode == 1 and list(outcomes(build).values()) == [False] * number, out


# Each test waits for the other, so that both run; then it checks what it can see of the other.
APART = """
import glob, os, subprocess, sys, time
mine, other = %r, %r
def test_%s():
    for folder in ("/tmp", "/var/tmp", "/dev/shm"):
        open(folder + "/lane-" + mine, "w").close()
    sleeper = subprocess.Popen(["sleep", "600"])
    while not open("/proc/%%d/cmdline" %% sleeper.pid).read().startswith("sleep"):     # it is between fork and exec
        time.sleep(0.05)
    open(%r + "/" + mine, "w").close()
    while not os.path.exists(%r + "/" + other):
        time.sleep(0.05)
    names = [os.path.basename(path) for folder in ("/tmp", "/var/tmp", "/dev/shm") for path in glob.glob(folder + "/lane-*")]
    assert names == ["lane-" + mine] * 3
    found = [open(path).read().split("\\0")[0] for path in glob.glob("/proc/[0-9]*/cmdline")]
    assert found.count("sleep") == 1, found
    assert os.getpid() // 10000 == (1 if mine == "one" else 2) and os.getppid() > 1
"""


@apart
def test_lanes_see_nothing_of_each_other(tmp_path):
    met = str(tmp_path)         # in this lane's own /tmp; both inner lanes see it, like a clone that is there
    process, build = run(tmp_path, *(APART % (mine, other, mine, met, met) for mine, other in (("one", "two"), ("two", "one"))),
                         env=dict(ENVIRONMENT, PYEXEC_SHARED=met))
    out = process.communicate(timeout=300)[0]
    assert process.returncode == 0, out
    assert outcomes(build) == {"test_one": True, "test_two": True}


@apart
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all(tmp_path, number):
    waits = "import subprocess\ndef test_waits(): subprocess.run(['sleep', '%d'])\n" % (70000 + os.getpid())
    process, build = run(tmp_path, waits, waits)

    def sleepers():
        found = subprocess.run(["pgrep", "-fc", "^sleep %d$" % (70000 + os.getpid())], capture_output=True, text=True)
        return int(found.stdout)
    deadline = time.monotonic() + 120
    while sleepers() < 2:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)          # as a terminal does
    else:
        process.send_signal(number)
    process.communicate(timeout=120)
    assert process.returncode not in (0, 1)
    deadline = time.monotonic() + 60
    while sleepers() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert sleepers() == 0

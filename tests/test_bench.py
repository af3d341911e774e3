"""pyexec bench: everything is measured, or it says why not. How fast is no test's business."""
import json
import resource
import subprocess

import pytest

ROWS = {"python", "bubblewrap", "cli", "floor_clone", "floor_clone_namespaces", "floor_socket_round_trip",
        "floor_socket_round_trip_first", "execute_once", "execute_once_pooled", "session"}
PACKAGED = {"runs_per_second_preloaded", "session_private_kib_preloaded"}


def bench(program, *flags, **keywords):
    done = program.run("bench", "--quick", "--json", *flags, **keywords)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check_percentiles(row):
    assert 0 < row["p50"] <= row["p90"] <= row["p99"], row


@pytest.fixture(scope="module")
def python_with_packages(session_folder):
    """A virtual environment with packages that have the names of numpy and pandas."""
    folder = session_folder / "venv"
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", folder], check=True)
    [site] = folder.glob("lib/python3*/site-packages")
    for name in ("numpy", "pandas"):
        (site / (name + ".py")).write_text("")
    return str(folder / "bin/python")


def test_every_row_and_goal_is_there(pyexec, nothing_left):
    report = bench(pyexec, "--sessions", "30")
    assert set(report["us"]) == ROWS
    for name, row in report["us"].items():
        if row or name != "bubblewrap":     # which may be missing
            check_percentiles(row)
    sessions = report["sessions"]
    check_percentiles(sessions["call_us"])
    assert (sessions["wanted"], sessions["opened"], sessions["host_processes"]) == (30, 30, 1)
    assert sessions["opened_per_second"] > 0 and sessions["host_rss_kib"] > 500
    assert sessions["idle_cpu_us_per_second"] >= 0
    for memory in (sessions["kib"], report["waiting_child_kib"]):
        assert 100 < memory["private"] <= memory["pss"] < 10240, memory
    goals = {goal["name"]: goal for goal in report["goals"]}
    assert PACKAGED < set(goals) and len(goals) == 13
    for name, goal in goals.items():
        if "not_measured" in goal:
            assert goal["figure"] is None and goal["met"] is None and name in PACKAGED
        elif "at_least" in goal:
            assert goal["met"] == (goal["figure"] >= goal["at_least"])
        elif "at_most" in goal:
            assert goal["met"] == (goal["figure"] <= goal["at_most"])
        else:
            assert name == "pooled_to_round_trip" and goal["met"] is None


def test_figures_with_packages_are_there_when_the_packages_are(own, python_with_packages, nothing_left):
    report = bench(own, "--sessions", "0", "--python-bin", python_with_packages)
    assert report["preloaded"]["runs_per_second"] > 0
    assert report["preloaded"]["session_kib"]["private"] > 100
    assert report["sessions"] is None
    why = {goal["name"]: goal.get("not_measured") for goal in report["goals"]}
    assert why["sessions_opened_per_second"] == "--sessions is 0" and why["runs_per_second_preloaded"] is None


def test_a_missing_package_is_named(own, nothing_left):
    report = bench(own, "--sessions", "0", "--isolate-site", "--python-bin", "/usr/bin/python3")
    if report["preloaded"] is None:
        why = {goal["name"]: goal.get("not_measured") for goal in report["goals"]}
        assert "'numpy' can't be imported" in why["runs_per_second_preloaded"]


def test_the_table_shows_goals_and_what_was_not_measured(own, nothing_left):
    done = own.run("bench", "--quick", "--sessions", "0")
    assert done.returncode == 0
    assert b"pooled / first socket round trip" in done.stdout and b"<= 1.5" in done.stdout
    assert b"not measured: --sessions is 0" in done.stdout


def test_more_sessions_than_one_process_may_hold_are_shared_out(own, nothing_left):
    limit = 200         # open files: 25 sessions
    report = bench(own, "--sessions", "60", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)))
    assert (report["sessions"]["opened"], report["sessions"]["host_processes"]) == (60, 3)


@pytest.mark.parametrize("count", ["many", "-1", "5x", "100001", ""])
def test_a_count_of_sessions_is_a_number(own, count):
    done = own.run("bench", "--sessions", count)
    assert done.returncode == 125 and b"--sessions" in done.stderr and done.stdout == b""

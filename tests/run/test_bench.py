"""pyexec bench: it measures everything, or says why not. No test compares the speed."""
import json
import math
import resource
import signal
import subprocess
import time
from xml.etree import ElementTree

import pytest

ROWS = {"python", "bubblewrap", "cli", "floor_clone", "floor_clone_namespaces", "floor_socket_round_trip",
        "floor_socket_round_trip_first", "execute_once", "execute_once_pooled", "execute_once_pooled_files", "session", "session_idle",
        "output_100_mb"}
SVG = "{http://www.w3.org/2000/svg}"
SHOWN_ONLY = {"pooled_to_round_trip", "session_to_round_trip"}
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
        if row or name != "bubblewrap":     # it may be missing
            check_percentiles(row)
    sessions = report["sessions"]
    check_percentiles(sessions["call_us"])
    assert (sessions["wanted"], sessions["opened"], sessions["host_processes"]) == (30, 30, 1)
    tenths = sessions["opened_per_second_by_tenths"]
    assert len(tenths) == 10 and min(tenths) > 0 and sessions["opened_per_second"] <= max(tenths)
    assert set(report["runs_per_second"]) == {"1_zygote", "2_zygotes", "2_zygotes_unpooled"} and min(report["runs_per_second"].values()) > 0
    assert sessions["opened_per_second"] > 0 and sessions["host_rss_kib"] > 500
    assert sessions["idle_cpu_us_per_second"] >= 0
    for memory in (sessions["kib"], report["waiting_child_kib"]):
        assert 100 < memory["private"] <= memory["pss"] < 10240, memory
    goals = {goal["name"]: goal for goal in report["goals"]}
    assert PACKAGED < set(goals) and len(goals) == 21
    for name, goal in goals.items():
        if "not_measured" in goal:
            assert goal["figure"] is None and goal["met"] is None and name in PACKAGED
        elif "at_least" in goal:
            assert goal["met"] == (goal["figure"] >= goal["at_least"])
        elif "at_most" in goal:
            assert goal["met"] == (goal["figure"] <= goal["at_most"])
        else:
            assert name in SHOWN_ONLY and goal["met"] is None


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
    assert b"pooled / first socket round trip" in done.stdout and b"<= 3.2" in done.stdout
    assert b"not measured: --sessions is 0" in done.stdout


def test_more_sessions_than_one_process_may_hold_are_shared_out(own, nothing_left):
    limit = 340         # open files: 60 sessions; the two pools of the other rows use 250
    report = bench(own, "--sessions", "130", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit)))
    assert (report["sessions"]["opened"], report["sessions"]["host_processes"]) == (130, 3)


@pytest.mark.parametrize("count", ["many", "-1", "5x", "100001", ""])
def test_a_count_of_sessions_is_a_number(own, count):
    done = own.run("bench", "--sessions", count)
    assert done.returncode == 125 and b"--sessions" in done.stderr and done.stdout == b""


def test_the_medians_are_drawn_with_those_of_others(own, tmp_path):
    peers, plot = tmp_path / "peers.json", tmp_path / "plot.svg"
    peers.write_text(json.dumps([{"group": "session", "title": "a <kernel> & more", "us": 12345}]))
    plot.write_text("x" * 100000)       # an older file, which is longer
    report = bench(own, "--sessions", "0", "--plot", plot, "--peers", peers)
    root = ElementTree.fromstring(plot.read_text())
    texts = [text.text for text in root.iter(SVG + "text")]
    assert "a <kernel> & more" in texts and "12.3 ms" not in texts and "12 ms" in texts
    kinds = [rect.get("class") for rect in root.iter(SVG + "rect")]
    assert kinds.count("floor") == 4 and kinds.count("ours") == 5 and kinds.count("peer") == 3 + bool(report["us"]["bubblewrap"])
    # The axis is logarithmic: ten times the time makes a bar longer by a constant amount.
    widths = dict(zip([text.text for text in root.iter(SVG + "text") if text.get("class") == "label"],
                      [float(rect.get("width")) for rect in root.iter(SVG + "rect") if rect.get("height") == "14"]))
    decade = (widths["a <kernel> & more"] - widths["execute of 1+1 in a session"]) / math.log10(12345 / report["us"]["session"]["p50"])
    assert abs(widths["a <kernel> & more"] - decade * math.log10(1234.5)) < 1


@pytest.mark.parametrize("flags, words", [
    (["--plot", "/nonexistent/plot.svg"], "--plot"), (["--peers", "/dev/null"], "without --plot"),
    (["--plot", "/dev/null", "--peers", "/dev/null"], "--peers"), (["--plot", "/dev/null", "--peers", "PEERS"], "not understood")])
def test_a_plot_that_can_not_be_made_is_said_at_once(own, tmp_path, flags, words):
    (tmp_path / "PEERS").write_text('[{"group": "other", "title": "x", "us": 1}]')
    done = own.run("bench", *flags, cwd=tmp_path, timeout=5)
    assert done.returncode == 125 and words in done.stderr.decode() and "hint: " in done.stderr.decode()


def test_half_load_counts_each_stall_for_all_calls_that_arrive_during_it(own, nothing_left):
    """The program is stopped for half of the time, so half of the calls are due while it is stopped. A closed loop would make no
    calls then: each of its callers would notice a stop once."""
    program = own.popen("bench", "--quick", "--json", "--half-load", "1", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while program.poll() is None:
        program.send_signal(signal.SIGSTOP)
        time.sleep(0.3)
        program.send_signal(signal.SIGCONT)
        time.sleep(0.3)
    output, errors = program.communicate()
    assert program.returncode == 0, errors
    report = json.loads(output)
    assert (report["seconds"], report["arrivals"]) == (1, "poisson")
    for name in ("pooled_runs", "session_calls"):
        side = report[name]
        expected = side["saturation_per_second"] / 2
        assert side["rate_per_second"] == pytest.approx(expected, rel=1e-4)
        assert abs(side["planned"] - expected) < 6 * math.sqrt(expected) + 1 and 0 < side["made"] <= side["planned"], side
        for row in ("latency_us", "late_us", "call_us"):
            assert 0 <= side[row]["p50"] <= side[row]["p90"] <= side[row]["p99"] <= side[row]["p99_9"] <= side[row]["max"]
        for percentile, us in side["latency_us"].items():
            assert us >= max(side["call_us"][percentile], side["late_us"][percentile]), side
        counts = [count for _, count in side["latency_below_us"]]
        assert counts == sorted(counts) and counts[-1] == side["made"]
    [goal] = report["goals"]
    latency = report["pooled_runs"]["latency_us"]
    assert goal["name"] == "pooled_runs_p99_to_p50" and goal["figure"] == pytest.approx(latency["p99"] / latency["p50"], rel=1e-3)
    assert goal["met"] == (goal["figure"] <= goal["at_most"])
    calls = report["session_calls"]
    quick = max((count for us, count in calls["latency_below_us"] if us <= 34000), default=0)
    assert calls["made"] - quick > calls["made"] / 10, calls


def test_half_load_prints_a_table(own):
    done = own.run("bench", "--quick", "--half-load", "1")
    assert done.returncode == 0, done.stderr
    assert b"p99.9" in done.stdout and b"from the planned arrival to the end" in done.stdout and b"Poisson" in done.stdout


@pytest.mark.parametrize("flags, words", [
    (["--half-load", "0"], "--half-load"), (["--half-load", "5s"], "--half-load"), (["--half-load", "86401"], "--half-load"),
    (["--half-load", ""], "--half-load"), (["--half-load", "1", "--sessions", "5"], "--sessions"),
    (["--half-load", "1", "--plot", "/dev/null"], "--plot")])
def test_half_load_is_a_number_of_seconds_and_nothing_else_is_measured(own, flags, words):
    done = own.run("bench", *flags)
    assert done.returncode == 125 and words in done.stderr.decode() and "hint: " in done.stderr.decode() and done.stdout == b""

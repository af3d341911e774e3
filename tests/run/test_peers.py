"""bench/peers.py: what it prints is what it measured, and what it could not measure has a reason. Nothing is downloaded."""
import json
import os
import shutil
import subprocess
import sys

import pytest

from conftest import BUILD, ROOT

sys.path.insert(0, ROOT + "/bench")
from peers import ALL, report, rounds, workloads        # noqa: E402
from peers.driver import Cannot, Driver                 # noqa: E402


def what(name):
    return __import__("peers." + name, fromlist=["WHAT"]).WHAT


@pytest.fixture(scope="module")
def measured(session_folder):
    """One quick run of three peers, with two problems, the second of which has a wrong solution. Returns JSON, output, page."""
    if os.environ.get("SANITIZE"):
        pytest.skip("Python can't load a library with a sanitizer")
    problems, figures, page = (session_folder / name for name in ("problems.jsonl", "figures.json", "page.md"))
    problems.write_text("".join(json.dumps({
        "prompt": "def double(x):\n", "canonical_solution": "    return %s\n" % solution, "entry_point": "double",
        "test": "def check(f):\n    assert f(21) == 42\n"}) + "\n" for solution in ("2 * x", "x")))
    shutil.copy(ROOT + "/docs/performance.md", page)
    done = subprocess.run(
        [sys.executable, ROOT + "/bench/peers.py", BUILD + "/pyexec", "--quick", "--no-packages", "--only", "pooled,python_per_call,zygo_peer",
         "--humaneval", problems, "--sessions", "3", "--json", figures, "--markdown", page, "--no-bench"],
        capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(figures.read_text()), done.stdout, page.read_text()


def test_each_cell_has_a_figure_or_a_reason(measured):
    figures, _, _ = measured
    pyexec, python, zygo = figures["peers"]
    for row in ("one_line", "session", "humaneval", "opened"):
        assert 0 < pyexec["rows"][row]["p50_us"] <= pyexec["rows"][row]["p99_us"] and pyexec["rows"][row]["count"] > 0
    assert pyexec["rows"]["one_line"]["count"] == 10 and pyexec["rows"]["opened"]["count"] == 3
    assert python["rows"]["one_line"]["p50_us"] > 0
    assert python["rows"]["session"]["cannot"] == python["rows"]["memory"]["cannot"] == "a process ends with its run"
    assert "rows" not in zygo and "zygo-cli" in zygo["cannot"]
    memory = pyexec["rows"]["memory"]
    assert memory.get("sessions") == 3 and memory["mib"] > 0.1 or "can't be read" in memory["cannot"]
    assert "packages" not in pyexec["rows"] and figures["left_out"] == ["numpy and pandas, by --no-packages"]


def test_a_wrong_solution_is_not_counted_as_right(measured):
    for peer in measured[0]["peers"][:2]:
        row = peer["rows"]["humaneval"]
        assert (row["right"], row["tried"], row["of"], row["count"]) == (1, 2, 2, 1) and "AssertionError" in row["first_failure"]


def test_terminal_and_page_show_reasons_and_versions(measured):
    figures, output, page = measured
    for text in (output, page):
        assert "a process ends with its run" in text and "zygo-cli 0.1.7" in text and ", 1 of 2" in text and "by --no-packages" in text
        assert figures["machine"]["python"] in text
    assert page.count("<!-- measured: ") == page.count("<!-- end -->") == 5 and "`--quick`" in page


class Wrong:
    """A driver whose answer is not that of the code."""

    def ask(self, operation, *arguments):
        return 1.0, "41\n"


def test_a_wrong_answer_has_no_time():
    plan = type("Plan", (), {"rounds": 2, "calls": 3, "seconds": 1})
    rows = rounds.Rows({"wrong": Wrong()}, plan, lambda text: None)
    rows.one_line()
    assert rows.rows == {"wrong": {"one_line": {"cannot": "a wrong answer: '41\\n'"}}}


def test_a_driver_that_ends_is_reported_and_not_waited_for():
    driver = Driver([sys.executable, "-c", "print('ok 0 ', flush=True); input(); raise SystemExit(3)"], {})
    with pytest.raises(Cannot, match="run: its process ended with status 3"):
        driver.ask("run", "1")
    driver.end()


def test_the_page_says_what_each_peer_isolates():
    """`bench/peers.py --markdown docs/performance.md` writes this table too."""
    with open(ROOT + "/docs/performance.md") as file:
        page = file.read()
    whats = [what(name) for name in ALL if name not in ("unpooled", "command")]
    assert report.isolation_markdown(whats) in page
    assert all(set(one["isolates"]) == set(report.COLUMNS) and one["name"] and one["mode"] for one in map(what, ALL))


def test_a_session_that_forgets_gives_a_wrong_answer():
    (first, one), (second, two) = workloads.session_step(1), workloads.session_step(2)
    assert first == second and (one, two) == ("1\n", "2\n")


def test_every_goal_of_pyexec_bench_has_a_reason_for_a_miss():
    with open(ROOT + "/src/bench/bench_report.c") as file:
        text = file.read()
    missing = [name for name in report.WHY_MISSED if '"%s"' % name not in text and name != "pooled_runs_p99_to_p50"]
    assert not missing and len(report.WHY_MISSED) == 20

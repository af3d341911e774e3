"""The tools that set up, build and test, on machines with unusual settings."""
import importlib.util
import os
import shutil
import signal
import subprocess
import sys

import pytest

from conftest import BUILD, ROOT

APT = """#!/bin/sh
# Its lock is held the first two times.
echo "$@" >> %(folder)s/calls
[ $(wc -l < %(folder)s/calls) -gt %(held)d ] && exit %(status)d
echo "E: %(message)s" >&2
exit 100
"""


def bootstrap(folder, held, message="Could not get lock /var/lib/apt/lists/lock. It is held by process 7 (apt-get)", status=0):
    for name, text in (("apt-get", APT % {"folder": folder, "held": held, "message": message, "status": status}),
                       ("dpkg-query", "#!/bin/sh\nexit 1\n"), ("sudo", "#!/bin/sh\nexec \"$@\"\n")):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    done = subprocess.run([ROOT + "/tools/bootstrap.sh"], capture_output=True, text=True, timeout=120,
                          env=dict(os.environ, PATH="%s:%s" % (folder, os.environ["PATH"])))
    return done, [line.split()[0] for line in (folder / "calls").read_text().splitlines()]


def test_bootstrap_waits_for_the_lock_of_apt(tmp_path):
    done, calls = bootstrap(tmp_path, held=2)
    assert done.returncode == 0 and calls == ["update", "update", "update", "install"], (done, calls)
    assert "lock" in done.stderr


def test_bootstrap_does_not_repeat_what_failed_otherwise(tmp_path):
    done, calls = bootstrap(tmp_path, held=9, message="Unable to locate package gcc")
    assert done.returncode == 1 and calls == ["update"] and "Unable to locate package" in done.stderr, (done, calls)


def test_a_copied_build_folder_is_built_anew(tmp_path):
    """Uses a project of one file with our Makefile, because in a copy of the tree ninja would build the original."""
    first, copy = tmp_path / "first", tmp_path / "copy"
    (first / "tools").mkdir(parents=True)
    shutil.copy(ROOT + "/Makefile", first)
    (first / "tools" / "bootstrap.sh").write_text("#!/bin/sh\n")
    (first / "tools" / "demo.sh").write_text("#!/bin/sh\nexec \"$1\"\n")
    for script in (first / "tools").iterdir():
        script.chmod(0o755)
    (first / "meson.build").write_text("project('small', 'c')\nexecutable('pyexec', 'main.c')\n")
    (first / "main.c").write_text('#include <stdio.h>\nint main(void) { puts("first"); return 0; }\n')

    def make(folder):
        return subprocess.run(["make", "run"], cwd=folder, capture_output=True, text=True, timeout=120,
                              env={key: value for key, value in os.environ.items() if key not in ("BUILD", "MAKEFLAGS", "MAKELEVEL")})
    assert make(first).stdout.endswith("first\n")
    shutil.copytree(first, copy)
    (copy / "main.c").write_text('#include <stdio.h>\nint main(void) { puts("copy"); return 0; }\n')
    done = make(copy)
    assert done.stdout.endswith("copy\n") and "made in another folder" in done.stdout, done
    again = make(copy)
    assert again.stdout.endswith("copy\n") and "another folder" not in again.stdout, again
    assert make(first).stdout.endswith("first\n")


@pytest.mark.parametrize("file, choice", [("test_mcp.py", "signal_ends_it"), ("test_rpc_lines.py", "a_signal_ends_it and SIGHUP")])
def test_signal_tests_pass_where_signals_are_ignored_and_blocked(file, choice):
    """As with nohup, in a background job of a shell, or below a supervisor that blocks signals."""
    def ignore():
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD])
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "%s/tests/fronts/%s" % (ROOT, file), "-k", choice],
                          preexec_fn=ignore, capture_output=True, text=True, timeout=300, env=dict(os.environ, PYEXEC_BUILD=BUILD))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


REPORT = """<testsuites><testsuite><testcase classname="tests.run.test_a" name="good" time="2.5"/>
<testcase classname="tests.run.test_b.TestB" name="other" time="70.4"/>
<testcase classname="tests.run.test_a" name="skipped" time="0"><skipped message="no such thing"/></testcase>%s</testsuite></testsuites>"""


def summary(build, report, units="OK", program="0", **environment):
    """`program`: the exit status of tools/lanes.py; None: it did not finish."""
    (build / "meson-logs").mkdir(exist_ok=True)
    if program:
        (build / "program.status").write_text(program + "\n")
    (build / "meson-logs" / "testlog.json").write_text('{"name": "base/buffer", "result": "%s", "duration": 0.5}\n' % units)
    (build / "pytest.xml").write_text(report)
    (build / "times.txt").write_text("3 unit tests\n90 whole-program tests: tests/run\n")
    return subprocess.run([sys.executable, ROOT + "/tools/test-summary.py", str(build)], capture_output=True, text=True, timeout=60,
                          cwd=ROOT, env={**os.environ, "TESTS": "tests/run", **environment})


def test_the_summary_counts_the_chosen_tests_and_says_what_took_long(tmp_path):
    done = summary(tmp_path, REPORT % "")
    assert done.returncode == 0 and done.stdout.endswith("\n3 passed, 0 failed, 1 skipped\n"), done
    assert "skipped: tests.run.test_a::skipped - no such thing" in done.stdout
    assert "seconds of each part (93 in all):\n      3  unit tests\n     90  whole-program tests: tests/run\n" in done.stdout
    assert "the slowest files and tests:\n     70  tests/run/test_b.py\n" in done.stdout
    assert (tmp_path / "summary.txt").read_text() == "3 passed, 0 failed, 1 skipped\n"


def test_the_summary_ends_with_what_failed_and_why(tmp_path):
    done = summary(tmp_path, REPORT % """<testcase classname="tests.run.test_a" name="bad" time="1"><failure message="assert 1 == 2&#10;more"/></testcase>
        <testcase classname="tests.run.test_a" name="shaky" time="1"><unstable message="too late">long</unstable></testcase>
        <testcase classname="A" name="java" time="1"><flakyFailure message="lost"/></testcase>""", program="1")
    assert done.returncode == 1 and done.stdout.endswith("""
unstable, passed when it ran once more: tests.run.test_a::shaky: too late
unstable, passed when it ran once more: A::java: lost
failed: tests.run.test_a::bad: assert 1 == 2
5 passed, 1 failed, 1 skipped
"""), done.stdout


@pytest.mark.parametrize("report, units, left, program", [
    ('<testcase classname="tests.run.test_a" name="bad" time="1"><failure message="x"/></testcase>', "OK", None, "1"),
    ('<testcase classname="tests.run.test_a" name="bad" time="1"><error message="x"/></testcase>', "OK", None, "1"),
    ("", "FAIL", None, "0"), ("", "TIMEOUT", None, "0"), ("", "OK", "lane1/tsan.123", "0"),
    ("", "OK", None, "1"), ("", "OK", None, "3"), ("", "OK", None, "137"), ("", "OK", None, None)])
def test_the_summary_fails_with_any_failure(tmp_path, report, units, left, program):
    if left:
        (tmp_path / "reports" / left).parent.mkdir(parents=True)
        (tmp_path / "reports" / left).write_text("WARNING: ThreadSanitizer: data race")
    done = summary(tmp_path, REPORT % report, units, program)
    assert done.returncode == 1 and ", 1 failed, 1 skipped\n" in done.stdout, done


CASE = '<testsuites><testsuite name="a run"><testcase name="rpc" time="1.5">%s</testcase></testsuite></testsuites>'


@pytest.mark.parametrize("reports, status, counted, line", [
    ({"client.xml": CASE % ""}, "0", "4 passed, 0 failed, 0 skipped", None),
    ({"client.xml": CASE % "", "client.first.xml": CASE % '<failure message="late"/>'}, "0", "4 passed, 0 failed, 0 skipped",
     "unstable, passed when it ran once more: typescript/client: a run: rpc: late"),
    ({"client.xml": CASE % '<failure message="wrong"/>'}, "1", "3 passed, 1 failed, 0 skipped", "failed: typescript/client: a run: rpc: wrong"),
    ({"client.first.xml": "<testsui", "client.xml": "<testsui"}, "1", "3 passed, 1 failed, 0 skipped",
     "failed: typescript/client: it did not end, and its report is not complete"),
    ({}, "2", "3 passed, 1 failed, 0 skipped", "failed: tools/typescript-tests.sh as a whole"),
    ({}, "77", "3 passed, 0 failed, 1 skipped", "skipped: the TypeScript client's tests - there is no node"),
])
def test_the_summary_counts_the_typescript_client(tmp_path, reports, status, counted, line):
    (tmp_path / "clients/java/target/surefire-reports").mkdir(parents=True)
    (tmp_path / "clients/java/target/surefire-reports/TEST-a.xml").write_text("<testsuite/>")
    (tmp_path / "meson-logs").mkdir()
    (tmp_path / "typescript").mkdir()
    for name in ("testlog", "testlog-valgrind"):
        (tmp_path / "meson-logs" / (name + ".json")).write_text('{"name": "base/buffer", "result": "OK", "duration": 0.5}\n')
    for name, text in reports.items():
        (tmp_path / "typescript" / name).write_text(text)
    for name, text in {"program": "0", "install": "0", "java": "0", "python": "0", "typescript": status}.items():
        (tmp_path / (name + ".status")).write_text(text + "\n")
    (tmp_path / "typescript.txt").write_text("there is no node\n")
    environment = {key: value for key, value in os.environ.items() if key not in ("TESTS", "SANITIZE")}
    # With a program of this name in PATH, the unit tests count a second time, under valgrind.
    (tmp_path / "valgrind").write_text("#!/bin/sh\n")
    (tmp_path / "valgrind").chmod(0o755)
    done = subprocess.run([sys.executable, ROOT + "/tools/test-summary.py", "."], capture_output=True, text=True, timeout=60, cwd=tmp_path,
                          env=dict(environment, PATH="%s:%s" % (tmp_path, os.environ["PATH"])))
    assert done.stdout.endswith("\n%s\n" % counted) and (line or counted) in done.stdout.splitlines(), done


@pytest.mark.parametrize("node, said", [("18", "Node 18 is here, and the TypeScript client needs Node 20 or later"), (None, "there is no node or no npm")])
def test_without_node_the_typescript_client_is_skipped(tmp_path, node, said):
    for name, text in {"node": "#!/bin/sh\necho %s\n" % node, "npm": "#!/bin/sh\nexit 1\n"}.items() if node else ():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    os.symlink(shutil.which("dirname"), tmp_path / "dirname")
    done = subprocess.run(["/bin/sh", ROOT + "/tools/typescript-build.sh", str(tmp_path)], capture_output=True, text=True, timeout=60,
                          env={"PATH": str(tmp_path)})
    assert done.returncode == 77 and said in done.stderr, done


def test_the_soak_of_runs_notices_what_grows_and_not_what_varies(monkeypatch):
    monkeypatch.syspath_prepend(ROOT + "/tests/support")
    import soak_runs
    flat = [{"server": 5000 + 3000 * (i % 3), "all": 22000 + 9000 * (i % 2), "descriptors": 98 + i % 3, "threads": 9 + (i > 7),
             "processes": 21 - i % 2} for i in range(soak_runs.BLOCKS)]
    assert soak_runs.check(flat) == []
    for what in flat[0]:
        leaks = [{**block, what: block[what] + (20000 if what in ("server", "all") else 20) * i // 10} for i, block in enumerate(flat)]
        assert [grown.split(":")[0] for grown in soak_runs.check(leaks)] == [what]


def load_nightly():
    spec = importlib.util.spec_from_file_location("nightly", ROOT + "/tools/nightly.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_nightly_page_keeps_the_rows_of_parts_that_do_not_run_again():
    nightly, parts = load_nightly(), ["asan", "faults", "soak"]
    rows = nightly.read_rows("", parts)
    nightly.add_row(rows, "asan", False, "1a", "2026-01-01 00:00", "tests/serve", "1 passed", 5)
    nightly.add_row(rows, "asan", False, "1a", "2026-01-01 01:00", "tests/run", "**FAILED**: 1 failed", 6)
    nightly.add_row(rows, "soak", True, "1a", "2026-01-01 02:00", "an hour", "as it was | all", 60)
    rows = nightly.read_rows(nightly.page(rows), parts)
    nightly.add_row(rows, "asan", False, "2b", "2026-01-02 00:00", "tests/run", "2 passed", 7)
    text = nightly.page(rows)
    assert text[text.index("| part"):].splitlines()[2:] == [
        "| asan | 1a | 2026-01-01 00:00 | tests/serve | 1 passed | 5 |",
        "| asan | 2b | 2026-01-02 00:00 | tests/run | 2 passed | 7 |",
        "| faults | | | nothing | not run | |",
        "| soak | 1a | 2026-01-01 02:00 | an hour | as it was / all | 60 |"]
    rows = nightly.read_rows(text, parts)
    nightly.add_row(rows, "asan", True, "3c", "2026-01-03 00:00", "everything", "9 passed", 90)
    assert [line for line in nightly.page(rows).splitlines() if line.startswith("| asan")] == [
        "| asan | 3c | 2026-01-03 00:00 | everything | 9 passed | 90 |"]


def test_the_nightly_page_is_in_its_format():
    nightly = load_nightly()
    with open(ROOT + "/docs/nightly.md") as file:
        text = file.read()
    parts = [line.split("|")[1].strip() for line in text.partition("|---")[2].splitlines()[1:]]
    rows = nightly.read_rows(text, list(dict.fromkeys(parts)))
    assert {"asan", "tsan", "faults", "kills", "fuzz", "soak"} <= set(rows)
    assert nightly.page(rows).partition("| part")[2] == text.partition("| part")[2]

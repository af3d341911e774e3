"""HumanEval through the shell and the C API, and the corpus of hostile scripts."""
import gzip
import json
import os
import re
import subprocess
import sys
import time

import pytest

from conftest import ORDINARY, ROOT, USERS

AREAS = ["ben", "cpu", "crs", "ctp", "dev", "env", "fdx", "fkb", "frg", "fsr", "fsw", "grd", "imp", "ipc", "krn",
         "mem", "mnt", "net", "nsx", "out", "prc", "pro", "proc", "ptr", "res", "ses", "sig", "tim", "wal", "xtn"]


def problems(shared):
    with gzip.open(os.path.join(shared, "data", "HumanEval.jsonl.gz"), "rt") as lines:
        for problem in map(json.loads, lines):
            for solved in (True, False):
                body = problem["canonical_solution"] if solved else "    return None\n"
                yield problem["task_id"], solved, "%s%s%s\ncheck(%s)\n" % (
                    problem["prompt"], body, problem["test"], problem["entry_point"])


def plain_line(code):
    """Returns the line of the innermost frame of the code itself, as plain Python reports it."""
    done = subprocess.run([sys.executable, "-I", "-"], input=code, capture_output=True, text=True)
    error = done.stderr.strip().splitlines()[-1].split(":")[0]
    return error, int(re.findall(r'File "<stdin>", line (\d+)', done.stderr)[-1])


@pytest.fixture(scope="session")
def expected(shared):
    return {(task, solved): None if solved else plain_line(code) for task, solved, code in problems(shared)}


def check(results, expected, times, what):
    assert len(results) == 328
    for key, result in results.items():
        if expected[key] is None:
            assert result["status"] == "ok", (key, result)
        else:
            assert result["status"] == "error", (key, result)
            assert (result["error"]["type"], result["error"]["line"]) == expected[key], (key, result)
    times.sort()
    print("%s: p50 %.2f ms, p99 %.2f ms per problem" % (what, times[len(times) // 2], times[int(len(times) * .99)]))


def test_humaneval_through_the_shell(own, shared, expected, capsys):
    results, times = {}, []
    for task, solved, code in problems(shared):
        start = time.perf_counter()
        done = own.run("run", "--json", "--any-import", "-", input=code)
        times.append((time.perf_counter() - start) * 1000)
        results[task, solved] = json.loads(done.stdout)
    with capsys.disabled():
        check(results, expected, times, "\nHumanEval, pyexec run")


def test_humaneval_through_the_c_api(humaneval, shared, expected, capsys):
    lines = "".join(json.dumps({"code": code}) + "\n" for _, _, code in problems(shared))
    done = subprocess.run([humaneval], input=lines, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    results = {key[:2]: outcome for key, outcome in zip(problems(shared), outcomes)}
    with capsys.disabled():
        check(results, expected, [outcome["elapsed_ms"] for outcome in outcomes], "\nHumanEval, C API")


@pytest.fixture(scope="session")
def humaneval(compile_host):
    return compile_host("capi_lines.c")


@pytest.fixture(scope="session")
def corpus(shared, session_folder):
    """Returns the scripts without their runner, which would recognise itself and stop."""
    folder = session_folder / "corpus"
    folder.mkdir(mode=0o755, exist_ok=True)
    source = os.path.join(shared, "corpus")
    for name in os.listdir(source):
        if name.endswith(".py") and name != "run_corpus.py":
            with open(os.path.join(source, name), "rb") as script:
                (folder / name).write_bytes(script.read())
    with open(os.path.join(source, "run_corpus.py"), "rb") as runner:
        (folder.parent / "run_corpus.py").write_bytes(runner.read())
    return folder


def run_corpus(program, corpus, pattern, python, **options):
    """The scripts that match the pattern do what they should, each in one `pyexec run`."""
    # A runner of another user may have left this file. Nobody else may open it again (proc(5), protected_regular).
    for path in ("/tmp/corpus_host_secret.txt", "/tmp/corpus_host.sock", "/dev/shm/corpus_host_shm"):
        if os.getuid() == 0 and os.path.lexists(path):
            os.unlink(path)
    done = subprocess.run([sys.executable, str(corpus.parent / "run_corpus.py"), "--cmd",
                           program.path + " run --json --python-bin " + python, "--only", pattern, "."],
                          cwd=corpus, capture_output=True, text=True, **options)
    assert re.search(r"^[1-9]\d* passed, 0 failed$", done.stdout, re.M), done.stdout + done.stderr


# The guard is the same code for every user. Without it only the kernel stops attacks, so this runs for each user.
@pytest.mark.parametrize("any_pyexec", [USERS[0], *(user + "-unguarded" for user in USERS)], indirect=True)
@pytest.mark.parametrize("area", AREAS)
def test_corpus(any_pyexec, corpus, area):
    options = {} if any_pyexec.uid == os.getuid() else {"user": ORDINARY, "group": ORDINARY, "extra_groups": []}
    run_corpus(any_pyexec, corpus, area + "_*", "/usr/bin/python3", timeout=600, **options)

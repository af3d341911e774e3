# SPDX-License-Identifier: Apache-2.0
"""`pyexec batch run` in its own process and at a `pyexec serve`: what it reads, what it writes, and how it continues."""
import collections
import contextlib
import ctypes
import fcntl
import json
import os
import pty
import random
import re
import resource
import signal
import subprocess
import threading
import time

import pytest

from answering import answering, refusal
from batches import PATIENCE, Batch, lines
from conftest import ORDINARY, ROOT, preload
from serving import serving

@pytest.fixture
def batch(pyexec, open_folder):
    return Batch(pyexec, open_folder)


def test_each_task_has_a_result(batch, nothing_left):
    batch.write([{"id": "t%d" % number, "code": "print(input()) or %d * 2" % number, "stdin": "in %d\n" % number} for number in range(50)])
    said = batch.run("--concurrency", "7")
    results = batch.results()
    assert {name: (each["line"], each["result"]["status"], each["result"]["last_value_repr"], each["result"]["stdout"]) for name, each in results.items()} == {
        "t%d" % number: (number + 1, "ok", str(number * 2), "in %d\n" % number) for number in range(50)}
    assert "50 tasks" in said and not os.path.exists(batch.output.replace(".jsonl", ".dead.jsonl"))
    before = open(batch.output).read()
    assert "continuing: 50 of 50" in batch.run() and open(batch.output).read() == before
    assert batch.run("--quiet") == ""


def test_ids_may_be_missing_or_numbers(batch):
    batch.write([{"code": "1"}, {"code": "1"}, {"id": 7, "code": "2"}, {"id": "ä\u0000", "code": "3"}])
    batch.run()
    assert sorted((each["line"], each["result"]["last_value_repr"]) for each in batch.results().values()) == [(1, "1"), (2, "1"), (3, "2"), (4, "3")]
    own = [name for name in batch.results() if isinstance(name, str) and re.fullmatch(r"[12]-[0-9a-f]{12}", name)]
    assert len(own) == 2 and {7, "ä\0"} <= set(batch.results())
    with open(batch.tasks, "rb+") as file:       # a line before them: tasks without an id are other tasks, the others are not
        rest = file.read()
        file.seek(0)
        file.write(b'{"id": "new", "code": "4"}\n' + rest)
    batch.run()
    assert len(lines(batch.output)) == 6 and len(batch.results()) == 6      # the first of them is now what the second was


def test_what_is_no_task_is_a_dead_letter_and_the_others_run(batch):
    long = b'{"id": "long", "code": "' + b"#" * (32 << 20) + b'"}'
    bad = [b"not json", b"[1]", b"5", b'{"id": "half", "code": "1"', b'{"id": "nul", "code": "1\x00"}', b"\x00", b'{"id": "\xff", "code": "1"}',
           b'{"code": "1", "code": "2"}', b'{"id": null, "code": "1"}', b'{"id": "", "code": "1"}', b'{"id": 1.5, "code": "1"}',
           b'{"id": "' + b"x" * 1025 + b'", "code": "1"}', b"{" * 100000, long]
    refused = [b'{"id": "r1"}', b'{"id": "r2", "code": 5}', b'{"id": "r3", "code": "1", "nonsense": 1}', b'{"id": "r4", "code": "1", "workspace": "/tmp"}',
               b'{"id": "r5", "code": "1", "policy": {"timeout_ms": -1}}']
    good = [b'\xef\xbb\xbf{"id": "first", "code": "1"}\r', b"", b" \t\r", b'  {"id": "second", "code": "2"}  ', b'{"id": "last", "code": "3"}']
    batch.write(b"\n".join(good[:2] + bad + refused + good[2:]))
    batch.run(status=1)
    assert sorted(batch.results()) == ["first", "last", "second"]
    dead = batch.dead()
    assert {each["line"]: (each["reason"], each["may_have_run"]) for each in dead.values()} == {
        **{number + 3: ("invalid", False) for number in range(len(bad))},
        **{number + 3 + len(bad): ("refused", False) for number in range(len(refused))}}
    assert all(each["message"] and each["hint"] and each["code"].startswith("invalid_") for each in dead.values())
    assert "32 MiB" in next(each["message"] for each in dead.values() if each["line"] == 2 + len(bad))
    batch.run(status=1)         # they are tried again, and are in the file once
    assert batch.dead() == dead and len(lines(batch.output.replace(".jsonl", ".dead.jsonl"))) == len(dead)
    batch.write([{"id": "first", "code": "1"}, {"id": "r1", "code": "'corrected'"}])
    batch.run()
    assert batch.results()["r1"]["result"]["last_value_repr"] == "'corrected'" and batch.dead() == {}


def test_an_id_that_is_there_twice_is_an_error_before_the_start(batch):
    batch.write([{"id": "a", "code": "1"}, {"id": "b", "code": "1"}, {"id": 5, "code": "1"}, {"id": "a", "code": "2"}])
    assert "lines 1 and 4" in batch.run(status=125)
    batch.write([{"id": "7", "code": "1"}, {"id": 7, "code": "1"}])
    assert "lines 1 and 2" in batch.run(status=125)
    assert batch.results() == {}


def test_tasks_from_standard_input(batch):
    data = b'{"id": "a", "code": "1"}\n{"id": "b", "code": "2"}'
    batch.run(tasks="-", input=data)
    assert sorted(batch.results()) == ["a", "b"] and sorted(os.listdir(batch.folder)) == ["r.jsonl", "r.state"]
    assert "continuing: 2 of 2" in batch.run(tasks="-", input=data)
    done = batch.program.run("batch", "run", "-", input=data)
    assert done.returncode == 125 and b"--output" in done.stderr


def test_the_output_is_named_after_the_tasks(batch):
    batch.write([{"id": "a", "code": "1"}])
    assert batch.program.run("batch", "run", batch.tasks).returncode == 0
    assert sorted(os.listdir(batch.folder)) == ["tasks.jsonl", "tasks.results.jsonl", "tasks.results.state"]


@pytest.mark.parametrize("flags, words", [
    ([], "no subcommand"), (["list"], "unknown subcommand 'list'"), (["run"], "no file of tasks"), (["run", "/nowhere/tasks"], "/nowhere/tasks"),
    (["run", "/"], "'/' is a folder"), (["run", "TASKS", "--output", "/nowhere/r.jsonl"], "/nowhere/r"), (["run", "TASKS", "--output", "fifo"], "not a file"),
    (["run", "TASKS", "--concurrency", "0"], "--concurrency"), (["run", "TASKS", "--concurrency", "5x"], "--concurrency"),
    (["run", "TASKS", "--concurrency", "1001"], "--concurrency"), (["run", "TASKS", "--output", "/nowhere/"], "/nowhere/"),
    (["run", "TASKS", "--server", "unix:/nowhere/s"], "can't connect"), (["run", "TASKS", "more"], "more")])
def test_wrong_arguments_are_named(batch, flags, words):
    batch.write([{"id": "a", "code": "1"}])
    os.mkfifo(batch.folder / "fifo")
    os.chmod(batch.folder / "fifo", 0o666)
    done = batch.program.run("batch", *[batch.tasks if flag == "TASKS" else flag for flag in flags], cwd=batch.folder)
    said = done.stderr.decode()
    assert done.returncode == 125 and words in said and "hint: " in said, said


def test_the_policy_of_the_command_is_the_default_of_each_task(batch):
    code = "len(open('a').read())"
    batch.write([{"id": "a", "code": code, "files": {"a": "abc"}}, {"id": "b", "code": code, "files": {"a": "abc"}, "policy": {"disable_open": True}},
                 {"id": "c", "code": "while True: pass", "policy": {"timeout_ms": 100}}])
    batch.run("--files", "full", status=1)
    results = batch.results()
    assert results["a"]["result"]["last_value_repr"] == "3" and results["c"]["result"]["status"] == "timeout" and "b" in batch.dead()


def test_files_of_others_are_left_alone(batch):
    batch.write([{"id": "a", "code": "1"}])
    with open(batch.output, "w") as file:
        file.write("something else\n")
    os.chmod(batch.output, 0o666)
    assert "is not" in batch.run(status=125)
    assert open(batch.output).read() == "something else\n" and not os.path.exists(batch.output.replace(".jsonl", ".state"))
    os.unlink(batch.output)
    batch.run()
    with open(batch.output, "ab") as file:
        file.write(b"{}\n")
    assert "line 2 was not written" in batch.run(status=125)
    assert len(lines(batch.output)) == 2
    os.unlink(batch.output)
    assert "is not" in batch.run(status=125)        # the journal alone


def test_a_second_command_does_not_write_the_same_output(batch):
    batch.write([{"id": "a", "code": "1"}])
    batch.run()
    with open(batch.output.replace(".jsonl", ".state"), "r+b") as held:
        fcntl.fcntl(held, 37, bytes(ctypes.create_string_buffer(32)).replace(b"\0", b"\1", 1))      # F_OFD_SETLK, F_WRLCK
        assert "another `pyexec batch run`" in batch.run(status=125)
    batch.run()


# ---- What was killed ----

def test_a_half_of_a_line_is_cut_off_and_its_task_is_lost(batch):
    batch.write([{"id": "a", "code": "1"}, {"id": "b", "code": "2"}])
    batch.run("--concurrency", "1")
    whole = open(batch.output, "rb").read()
    for cut in (1, 50, len(whole.split(b"\n")[1])):
        with open(batch.output, "wb") as file:
            file.write(whole[:-cut])
        said = batch.run(status=1)
        assert "cut off" in said, cut
        dead = batch.dead()
        assert list(batch.results()) == ["a"] and dead["b"]["reason"] == "lost" and dead["b"]["may_have_run"] is True
        assert "--retry-lost" in dead["b"]["hint"]
        batch.run(status=1)             # it stays lost
        assert batch.dead() == dead
        batch.run("--retry-lost")
        assert list(batch.results()) == ["a", "b"] and batch.dead() == {}
        batch.run()


def test_kills_lose_no_task_and_run_none_twice(batch, nothing_left):
    ids = ["t%d" % number for number in range(600)]
    batch.write([{"id": name, "code": "import time\ntime.sleep(0.05)\n'%s'" % name} for name in ids])
    chance, kills = random.Random(5), 0
    while True:
        with batch.popen("--concurrency", "4") as process:
            try:
                process.communicate(timeout=chance.uniform(0.1, 0.5) if kills < 12 else PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                kills += 1
                continue
        assert process.returncode in (0, 1), process.returncode
        break
    assert kills == 12
    results, dead = batch.results(), batch.dead()
    assert len(lines(batch.output)) == len(results) and set(results) | set(dead) == set(ids) and not set(results) & set(dead)
    assert all(each["result"]["last_value_repr"] == repr(name) for name, each in results.items())
    assert all((each["reason"], each["may_have_run"]) == ("lost", True) for each in dead.values()) and len(dead) <= 12 * 4
    started = collections.Counter(line for line in batch.state() if re.fullmatch("[0-9a-f]{24}", line))
    assert len(started) == len(ids) and set(started.values()) == {1}
    batch.run("--retry-lost")
    assert set(batch.results()) == set(ids) and batch.dead() == {}


def wait_for_start(batch, count):
    end = time.monotonic() + PATIENCE
    path = batch.output.replace(".jsonl", ".state")
    while not os.path.exists(path) or sum(len(line) == 24 for line in batch.state()) < count:
        assert time.monotonic() < end, "the tasks do not start"
        time.sleep(0.01)


def test_ctrl_c_waits_for_the_tasks_in_progress_and_the_next_command_continues(batch, nothing_left):
    batch.write([{"id": number, "code": "import time\ntime.sleep(1)\n%d" % number} for number in range(30)])
    process = batch.popen("--concurrency", "3")
    wait_for_start(batch, 3)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=PATIENCE)[1].decode()
    assert process.returncode == 130 and "no new tasks" in said and "continues" in said
    done = batch.results()
    assert 3 <= len(done) < 30 and batch.dead() == {} and len(done) == sum(len(line) == 24 for line in batch.state())
    batch.write([{"id": number, "code": "%d" % number} for number in range(30)])
    batch.run()
    assert sorted(batch.results()) == list(range(30))


@pytest.mark.parametrize("at_a_server", [False, True], ids=["here", "server"])
def test_a_second_ctrl_c_ends_the_tasks_in_progress(own, open_folder, at_a_server, nothing_left):
    """In a fleet they end there: test_a_second_ctrl_c_leaves_the_tasks_to_the_fleet."""
    with contextlib.ExitStack() as stack:
        flags = ["--server", "unix:" + stack.enter_context(serving(own, "--timeout", "700s")).socket] if at_a_server else []
        cancel_all(Batch(own, open_folder), *flags)


def cancel_all(batch, *flags):
    batch.write([{"id": number, "code": "import time\ntime.sleep(600)", "policy": {"timeout_ms": 700000}} for number in range(9)])
    process = batch.popen("--concurrency", "2", *flags)
    wait_for_start(batch, 2)
    process.send_signal(signal.SIGINT)
    assert b"no new tasks" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    dead = batch.dead()
    assert len(dead) == 2 and {(each["reason"], each["may_have_run"]) for each in dead.values()} == {("cancelled", True)}
    batch.write([{"id": number, "code": "1"} for number in range(9)])
    batch.run(*flags, status=1)
    assert len(batch.results()) == 7 and batch.dead() == dead
    batch.run("--retry-lost", *flags)
    assert len(batch.results()) == 9


def test_nothing_is_written_after_a_half_of_a_line_that_stays(own, open_folder):
    """A disk is full for a moment, and the half of a result can't be cut off: later results would be lost in its line."""
    shim = open_folder / "half_write.so"
    subprocess.run(["gcc", "-Wall", "-Werror", "-shared", "-fPIC", "-o", shim, os.path.join(ROOT, "tests", "support", "half_write.c")], check=True)
    batch = Batch(own, open_folder)
    batch.write([{"id": number, "code": "import time\ntime.sleep(%g)\nprint('x' * 20000)" % (0.1 * (number % 4))} for number in range(40)])
    said = batch.run("--concurrency", "4", status=125, env={**os.environ, "LD_PRELOAD": preload(shim), "HALF_NUMBER": "9"})
    assert "can't write '%s'" % batch.output in said and "Free some space" in said and "continues" in said
    whole, _, half = open(batch.output).read().rpartition("\n")
    assert [json.loads(line)["id"] for line in whole.split("\n")] and 5000 < len(half) < 15000 and "}" not in half
    assert "cut off" in batch.run(status=1)
    results, dead = batch.results(), batch.dead()
    assert len(lines(batch.output)) == len(results) and sorted([*results, *dead]) == list(range(40))
    assert 1 <= len(dead) <= 4 and {(each["reason"], each["may_have_run"]) for each in dead.values()} == {("lost", True)}


def test_files_that_others_have_prepared_are_not_written(batch):
    """Links at the names of files that the user has not named."""
    victim = batch.folder / "victim"
    victim.write_text("kept\n")
    os.chmod(victim, 0o666)
    batch.write([{"id": "a", "code": "1"}, {"id": "bad"}])
    batch.run(status=1)
    os.symlink(victim, str(batch.output).replace(".jsonl", ".dead.jsonl.new"))
    batch.run(status=1)
    assert list(batch.dead()) == ["bad"] and not os.path.exists(batch.output.replace(".jsonl", ".dead.jsonl.new"))
    for name in (".dead.jsonl", ".state"):
        for path in (batch.output, *(batch.output.replace(".jsonl", each) for each in (".dead.jsonl", ".state"))):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        os.symlink(victim, batch.output.replace(".jsonl", name))
        said = batch.run(status=125)
        assert name in said and "hint: " in said, said
    assert victim.read_text() == "kept\n"


def test_a_full_disk_ends_the_batch_and_loses_nothing(batch, nothing_left):
    """The limit of a file's size fails as a full disk does (EFBIG), and needs no file system of its own."""
    batch.write([{"id": number, "code": "print('x' * 20000)"} for number in range(200)])

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
    said = batch.run("--concurrency", "2", status=125, preexec_fn=limit)
    assert "can't write" in said and "Free some space" in said and "continues" in said
    assert 20 < len(batch.results()) < 60
    batch.run("--concurrency", "2", status=1)
    results, dead = batch.results(), batch.dead()
    assert len(results) + len(dead) == 200 and len(dead) <= 2 and {each["reason"] for each in dead.values()} <= {"lost"}


FULL = """set -eu
mount -t tmpfs -o size=90m tmpfs "$1/disk"
cd "$1/disk"
head -c 70M /dev/zero >filler
for size in 20m 90m; do
    "$2" batch run "$1/tasks.jsonl" --output r.jsonl --concurrency 2 2>>"$1/said" && echo 0 >>"$1/said" || echo $? >>"$1/said"
    du -k r.jsonl | cut -f1 >>"$1/said"
    cp r.jsonl "$1/r-$size.jsonl"
    rm -f filler
done
"""


def test_a_file_system_that_is_full_loses_no_result(batch):
    """Space for the results of the tasks in progress was reserved, and is given back."""
    batch.write([{"id": number, "code": "print('x' * 900000)"} for number in range(60)])
    os.mkdir(batch.folder / "disk", 0o777)
    os.chmod(batch.folder / "disk", 0o777)
    program = batch.program
    keywords = {} if program.uid == os.getuid() else {"user": program.uid, "group": program.uid, "extra_groups": []}
    done = subprocess.run(["unshare", "--mount", *([] if program.uid == 0 else ["--map-root-user"]), "sh", "-c", FULL, "sh", batch.folder, program.path],
                          env={**os.environ, "PYEXEC_POLICY_PYTHON_BIN": "/usr/bin/python3"}, cwd="/", capture_output=True, timeout=PATIENCE, **keywords)
    assert done.returncode == 0, done.stderr
    said = open(batch.folder / "said").read()
    status, kib, last, _ = [int(line) for line in said.split("\n") if line.isdigit()]
    results = lines(batch.folder / "r-20m.jsonl")
    assert status == 125 and "Free some space" in said and 5 < len(results) < 30
    assert kib * 1024 - os.path.getsize(batch.folder / "r-20m.jsonl") < 100000, "the reserve was not given back"
    assert last == 0 and sorted(each["id"] for each in lines(batch.folder / "r-90m.jsonl")) == list(range(60))


def test_a_terminal_shows_a_bar(batch):
    batch.write([{"id": number, "code": "import time\ntime.sleep(0.5)"} for number in range(4)])
    ours, theirs = pty.openpty()
    with batch.program.popen("batch", "run", batch.tasks, "--output", batch.output, "--concurrency", "2", stdin=subprocess.DEVNULL, stderr=theirs) as process:
        os.close(theirs)
        said = b""
        try:
            while part := os.read(ours, 65536):
                said += part
        except OSError:     # the other end is closed
            pass
    os.close(ours)
    assert process.returncode == 0 and re.search(rb"\[#*\.+\] \d/4 \(\d+%\)", said) and b"4 tasks" in said


# ---- At a server ----

def test_tasks_run_at_a_server(own, open_folder, nothing_left):
    batch = Batch(own, open_folder)
    batch.write([{"id": number, "code": "open('a').read() + '%d'" % number, "files": {"a": "x"}} for number in range(40)] +
                [{"id": "more", "code": "1", "policy": {"timeout_ms": 9999}}, {"id": "bad", "code": "1", "nonsense": 1}])
    with serving(own, "--files", "full", "--timeout", "5s") as server:
        batch.run("--server", "unix:" + server.socket, "--timeout", "3s", status=1)
        results, dead = batch.results(), batch.dead()
        assert [results[number]["result"]["last_value_repr"] for number in range(40)] == ["'x%d'" % number for number in range(40)]
        assert {name: (each["reason"], each["code"]) for name, each in dead.items()} == {"more": ("refused", "invalid_policy"), "bad": ("refused", "invalid_request")}


def test_a_busy_server_is_asked_again(own, open_folder):
    batch = Batch(own, open_folder)
    batch.write([{"id": number, "code": "import time\ntime.sleep(0.05)"} for number in range(60)])
    env = {**os.environ, "PYEXEC_HOST_MAX_CONCURRENT": "1", "PYEXEC_HOST_QUEUE_LENGTH": "1", "PYEXEC_HOST_MAX_ASLEEP": "1"}
    with serving(own, env=env) as server:
        batch.run("--server", "unix:" + server.socket, "--concurrency", "16")
    assert len(batch.results()) == 60


def test_a_server_that_is_killed_loses_only_what_it_ran(own, open_folder):
    batch = Batch(own, open_folder)
    batch.write([{"id": number, "code": "import time\ntime.sleep(0.3)"} for number in range(60)])
    with serving(own) as server:
        process = batch.popen("--server", "unix:" + server.socket, "--concurrency", "3")
        wait_for_start(batch, 5)
        server.process.kill()
        server.process.wait()
        assert process.poll() is None       # it waits for the server
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 130
    dead = batch.dead()
    assert 1 <= len(dead) <= 3 and {each["reason"] for each in dead.values()} == {"lost"}
    batch.run(status=1)
    assert len(batch.results()) == 60 - len(dead) and batch.dead() == dead


@pytest.mark.parametrize("first, ours", [
    (refusal(503, "overloaded"), True), (refusal(429, "overloaded"), True), (refusal(408, "request_timeout"), True),
    ((503, "text/html", b"<h1>503 Service Unavailable</h1>"), False), ((429, "application/json", b'{"error": "rate limit"}'), False),
    ((408, "text/plain", b""), False), ((503, "application/problem+json", b'{"title": "a", "status": 503}'), False)])
def test_only_an_answer_of_pyexec_says_that_nothing_was_started(own, open_folder, first, ours):
    batch = Batch(own, open_folder)
    batch.write([{"id": "a", "code": "1"}])
    with answering(first) as server:
        batch.run("--server", server.url, status=0 if ours else 1)
    assert server.runs == (2 if ours else 1) and list(batch.results()) == (["a"] if ours else [])
    assert {(each["reason"], each["may_have_run"], "proxy" in each["message"]) for each in batch.dead().values()} == (set() if ours else {("lost", True, True)})


@pytest.mark.skipif(os.getuid() != 0, reason="only root can write where another user can't")
def test_a_folder_that_is_not_ours(pyexec, open_folder):
    if pyexec.uid != ORDINARY:
        pytest.skip("root may write everywhere")
    batch = Batch(pyexec, open_folder)
    batch.write([{"id": "a", "code": "1"}])
    os.chmod(open_folder, 0o755)
    assert "may write" in batch.run(status=125)

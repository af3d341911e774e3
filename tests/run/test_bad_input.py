"""Everything that can be wrong before a run: interpreters, code, files, streams, machines."""
import contextlib
import json
import os
import shutil
import signal
import subprocess
import time

import pytest

ALL = "user_namespace,pid_namespace,mount_namespace,network_namespace,ipc_namespace,uts_namespace"


def script(folder, text):
    path = folder / "python"
    path.write_text(text)
    os.chmod(folder, 0o755)
    os.chmod(path, 0o755)
    return str(path)


def test_no_such_interpreter(pyexec):
    for name in ("/no/such/python", "nosuchpython"):
        error = pyexec.error("1", "--python-bin", name)
        assert error["code"] == "python_not_found" and name in error["message"] and error["hint"]


def test_interpreters_that_can_not_be_started(own, tmp_path):
    plain = tmp_path / "plain"
    plain.write_text("#!/bin/sh\n")
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for path in (plain, loop, tmp_path, "/dev/null"):
        error = own.error("1", "--python-bin", str(path))
        assert error["code"] in ("python_not_found", "python_unsupported") and str(path) in error["message"], error
        assert error["hint"]


def test_an_empty_file_and_a_cut_program(own, tmp_path):
    with open("/usr/bin/python3", "rb") as file:
        start = file.read(100_000)
    for content in (b"", start, b"#!/no/such/interpreter\n"):
        path = tmp_path / "python"
        path.write_bytes(content)
        path.chmod(0o755)
        error = own.error("1", "--python-bin", str(path), timeout=30)
        assert error["code"] in ("python_not_found", "python_unsupported") and str(path) in error["message"], error


@pytest.mark.parametrize("text", ["#!/bin/sh\nexit 0\n", "#!/bin/sh\necho nonsense\n", "#!/bin/sh\nexit 3\n"])
def test_a_script_that_is_no_python(own, tmp_path, text):
    error = own.error("1", "--python-bin", script(tmp_path, text))
    assert error["code"] == "python_unsupported" and str(tmp_path) in error["message"]


def test_a_script_that_hangs(own, tmp_path, nothing_left):
    error = own.error("1", "--python-bin", script(tmp_path, "#!/bin/sh\nsleep 100\n"), timeout=30)
    assert error["code"] == "python_unsupported" and "10 s" in error["message"]


def test_a_program_that_is_no_python(own, nothing_left):
    error = own.error("1", "--python-bin", "/bin/ls")
    assert error["code"] == "python_unsupported" and "/bin/ls" in error["message"]


def test_a_launcher_script_is_resolved(own, tmp_path):
    path = script(tmp_path, "#!/bin/sh\nexec /usr/bin/python3 \"$@\"\n")
    assert own.result("6 * 7", "--python-bin", path)["last_value_repr"] == "42"


@pytest.mark.parametrize("code, word", [(b"x = '\xff'", "UTF-8"), (b"x = 1\0", "NUL"), (b"#" * (11 << 20), "bytes")],
                         ids=["latin-1", "nul", "11 MB"])
def test_code_that_can_not_be(own, code, word):
    done = own.run("run", "--json", "-", input=code)
    error = json.loads(done.stdout)
    assert done.returncode == 125 and error["code"] == "invalid_request" and word in error["message"] + error["hint"]


@pytest.mark.parametrize("code", [b"x = '\xff'", b"'\xed\xa0\x80'", b"\xc0\x80"], ids=["latin-1", "surrogate", "overlong"])
def test_code_as_an_argument_that_is_not_utf8(own, code):
    error = own.error(code)
    assert error["code"] == "invalid_request" and "UTF-8" in error["message"] + error["hint"]


def test_the_longest_code_and_one_byte_more(own):
    flags = ["--cpu-time-seconds", "60", "--timeout", "60s", "--address-space-bytes", "4G"]
    code = b"#" * ((10 << 20) - 2) + b"\n7"
    assert json.loads(own.run("run", "--json", *flags, "-", input=code).stdout)["last_value_repr"] == "7"
    done = own.run("run", "--json", *flags, "-", input=b"#" + code)
    assert done.returncode == 125 and json.loads(done.stdout)["code"] == "invalid_request"


def test_empty_code_of_every_kind(own, tmp_path):
    tmp_path.chmod(0o755)
    (tmp_path / "s.py").write_bytes(b"")
    for arguments in (["-c", ""], ["-"], [str(tmp_path / "s.py")], ["/dev/null"], ["-c", "\n\n# nothing\n"]):
        done = own.run("run", "--json", *arguments)
        result = json.loads(done.stdout)
        assert (result["status"], result["exit_code"], result["last_value_repr"]) == ("ok", 0, None), arguments


def test_code_from_files(own, tmp_path):
    os.chmod(tmp_path, 0o755)
    (tmp_path / "s.py").write_text("print('from a file')")
    assert own.run("run", str(tmp_path / "s.py")).stdout == b"from a file\n"
    for path in (tmp_path / "missing.py", tmp_path):
        done = own.run("run", str(path))
        assert done.returncode == 125 and str(path).encode() in done.stderr
    assert own.result("")["status"] == "ok"
    big = "x = 1\n" * 1_500_000
    assert json.loads(own.run("run", "--json", "--cpu-time-seconds", "240", "--timeout", "240s", "--no-print-last-expression",
                              "--address-space-bytes", "4G", "-", input=big, timeout=300).stdout)["status"] == "ok"


def test_unreadable_script_file(pyexec, tmp_path):
    path = tmp_path / "s.py"
    path.write_text("1")
    os.chmod(path, 0)
    done = pyexec.run("run", str(path))
    assert done.returncode == (0 if pyexec.uid == 0 else 125)


def test_standard_streams_closed_or_full(own):
    line = "exec %s run -c 'print(1)' %%s" % own.path
    environment = dict(os.environ, PYEXEC_POLICY_PYTHON_BIN="/usr/bin/python3")
    def shell(redirect):
        return subprocess.run(["sh", "-c", line % redirect], env=environment, capture_output=True, timeout=30)
    assert shell("<&-").stdout == b"1\n"
    assert shell("<&- 2>&-").stdout == b"1\n"
    full = shell(">/dev/full")
    assert full.returncode == 125 and full.stderr
    closed = subprocess.run(["bash", "-c", "%s run -c 'while True: print(1)' | head -1; echo ${PIPESTATUS[0]}" % own.path],
                            env=environment, capture_output=True, timeout=30)
    assert closed.stdout == b"1\n141\n", closed


@pytest.mark.parametrize("redirect, why", [(">/dev/full", b"No space left"), (">&-", b"Bad file descriptor")], ids=["full", "closed"])
@pytest.mark.parametrize("command", ["run --json -c 1", "run -c 1", "run -c 'print(1)'", "policy", "policy --origin", "doctor", "doctor --json",
                                     "--help", "run --help", "--version", "completion bash"])
def test_a_command_that_cannot_print_fails_and_says_why(own, command, redirect, why):
    done = subprocess.run(["sh", "-c", "exec %s %s %s" % (own.path, command, redirect)], capture_output=True, timeout=60,
                          env=dict(os.environ, PYEXEC_POLICY_PYTHON_BIN="/usr/bin/python3"))
    assert done.returncode == 125 and b"pyexec: can't write to standard output: " + why in done.stderr, done


@pytest.mark.parametrize("redirect", [">/dev/full", ">&-"])
@pytest.mark.parametrize("command, ask", [("rpc", b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n'),
                                          ("mcp", b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n'), ("repl", b"1\n")])
def test_a_server_that_cannot_answer_fails_and_says_why(own, command, ask, redirect, nothing_left):
    done = subprocess.run(["sh", "-c", "exec %s %s %s" % (own.path, command, redirect)], input=ask, capture_output=True, timeout=60,
                          env=dict(os.environ, PYEXEC_POLICY_PYTHON_BIN="/usr/bin/python3"))
    assert done.returncode not in (0, None) and b"pyexec: " in done.stderr, done


def test_output_that_nobody_reads_with_json(own, nothing_left):
    environment = dict(os.environ, PYEXEC_POLICY_PYTHON_BIN="/usr/bin/python3")
    done = subprocess.run(["bash", "-c", "%s run --json -c 'print(\"x\" * 900000)' | true; echo ${PIPESTATUS[0]}" % own.path],
                          env=environment, capture_output=True, timeout=30)
    assert done.stdout in (b"141\n", b"125\n"), done


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_output_nobody_reads_does_not_outlive_a_signal(own, number, nothing_left):
    with own.popen("run", "--timeout", "1s", "-c", "while True: print('x' * 1000)", stdin=subprocess.DEVNULL,
                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as stuck:
        try:
            time.sleep(1.8)
            stuck.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                stuck.wait(5)
            # On a busy machine the script still ran, and the signal interrupted the script alone.
            if stuck.poll() is None:
                stuck.send_signal(number)
            assert stuck.wait(60) != 0
        finally:
            stuck.kill()


def test_limits_hold_while_nobody_reads(own, nothing_left):
    # The script fills the pipe and continues to compute; the limit of 1 s ends it although nobody reads for 4 s.
    code = "import threading\nthreading.Thread(target=lambda: print('x' * 500000), daemon=True).start()\nwhile True: pass"
    with own.popen("run", "--timeout", "1s", "--cpu-time-seconds", "60", "--any-import", "-c", code, stdin=subprocess.DEVNULL,
                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as slow:
        time.sleep(3)
        deadline, more = time.monotonic() + 20, 1
        while more >= 0.1 and time.monotonic() < deadline:      # on a busy machine the script may have begun late
            before = cpu_seconds_below(slow.pid)
            time.sleep(1)
            more = cpu_seconds_below(slow.pid) - before
        assert len(slow.stdout.read()) == 500001 and slow.wait(20) == 124
    assert more < 0.1, "the script still uses CPU time, %.2f s in the last second" % more


def cpu_seconds_below(pid):
    """Returns the CPU time of the living descendants of a process."""
    parents, used = {}, {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/stat" % name) as file:
                words = file.read().rsplit(")", 1)[1].split()
        except OSError:
            continue
        parents[int(name)] = int(words[1])
        used[int(name)] = (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
    below, total = {pid}, 0.0
    while more := {child for child, parent in parents.items() if parent in below} - below:
        below |= more
        total += sum(used[child] for child in more)
    return total


def test_a_closed_standard_error(own):
    done = subprocess.run(["sh", "-c", "exec %s run -c 'import sys\nprint(1)\n1/0' 2>&-" % own.path], capture_output=True, timeout=30,
                          env=dict(os.environ, PYEXEC_POLICY_PYTHON_BIN="/usr/bin/python3"))
    assert done.stdout in (b"1\n", b"") and done.returncode in (1, 125), done


def test_a_slow_reader_gets_all(own):
    line = "%s run -c 'for i in range(100000): print(i)' --max-stdout-bytes 10M --timeout 30s | (sleep 1; tail -1)" % own.path
    done = subprocess.run(["sh", "-c", line], capture_output=True, timeout=60,
                          env=dict(os.environ, PYEXEC_POLICY_PYTHON_BIN="/usr/bin/python3"))
    assert done.stdout == b"99999\n", done


@pytest.mark.parametrize("arguments", [["run", "--nosuch", "-c", "1"], ["run", "-c"], ["run", "a", "b"], ["nosuch"],
                                       ["run", "--json=yes", "-c", "1"], ["run", "--env", "A", "-c", "1"]])
def test_wrong_flags(own, arguments):
    done = own.run(*arguments)
    assert done.returncode == 125 and done.stderr.startswith(b"pyexec: ") and done.stdout == b""


@pytest.mark.parametrize("arguments, named", [
    (["run", "--nosuch", "-c", "1"], "--nosuch"), (["run", "--timeout"], "--timeout"), (["run", "--json=yes", "-c", "1"], "--json"),
    (["run", "--files", "some", "-c", "1"], "files"), (["run", "-x", "-c", "1"], "-x"), (["run", "--env", "A", "-c", "1"], "--env"),
    (["run", "--allow-missing", "nosuch", "-c", "1"], "nosuch"), (["run", "--network=maybe", "-c", "1"], "network"),
    (["doctor", "--nosuch"], "--nosuch"), (["policy", "--orign"], "--orign"), (["bench", "--nosuch"], "--nosuch"),
    (["run", "--file", "/no/such", "--files", "read", "-c", "1"], "/no/such"),
    (["run", "--config", "/no/such", "-c", "1"], "/no/such")], ids=lambda value: value if isinstance(value, str) else "")
def test_wrong_flags_are_named_before_anything_runs(own, arguments, named):
    done = own.run(*arguments)
    assert done.returncode == 125 and named.encode() in done.stderr and done.stdout == b"", done


@pytest.mark.skipif(os.getuid() != 0, reason="mounting needs root")
@pytest.mark.parametrize("options", ["ro,size=64k", "size=4k"])
def test_a_readonly_or_full_tmp(_copy, options):
    work = "/usr/local/share/pyexec-test"
    shutil.copytree(_copy, work, dirs_exist_ok=True)
    try:
        done = subprocess.run(["unshare", "-m", "sh", "-c", "mount -t tmpfs -o %s none /tmp; cat /dev/zero > /tmp/fill 2>/dev/null;"
                               " exec %s/pyexec run --python-bin /usr/bin/python3 --files full -c 'open(\"a\", \"w\").write(\"x\")'" % (options, work)],
                              capture_output=True, timeout=30)
        assert (done.returncode, done.stdout) == (0, b"1\n"), done
    finally:
        shutil.rmtree(work)


def run_without_namespaces(program, *arguments):
    command = ["unshare", "-Ur", "sh", "-c", "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"", "sh", program.path, *arguments]
    return subprocess.run(command, capture_output=True, timeout=60, user=program.uid if os.getuid() == 0 else None, cwd="/",
                          extra_groups=[] if os.getuid() == 0 else None, group=program.uid if os.getuid() == 0 else None,
                          env=dict(os.environ, PYEXEC_POLICY_PYTHON_BIN="/usr/bin/python3"))


def test_user_namespaces_forbidden(pyexec, nothing_left):
    if pyexec.uid == 0:
        pytest.skip("root needs no permission; the ordinary user's case shows it")
    error = json.loads(run_without_namespaces(pyexec, "run", "--json", "-c", "1").stdout)
    assert error["code"] == "sandbox_unavailable" and "user_namespace" in error["message"]
    assert "max_user_namespaces" in error["hint"] and "--allow-missing" in error["hint"]
    done = run_without_namespaces(pyexec, "doctor")
    assert done.returncode == 1 and b"user_namespace" in done.stdout and b"max_user_namespaces" in done.stdout


def test_less_protection_only_when_told_to(pyexec, nothing_left):
    if pyexec.uid == 0:
        pytest.skip("root needs no permission; the ordinary user's case shows it")
    code = ("import ctypes\nlibc = ctypes.CDLL(None)\n"
            "[libc.open(b'/etc/passwd', 0), libc.open(b'/tmp/x', 0o101, 0o600), libc.socket(2, 1, 0), libc.fork()]")
    done = run_without_namespaces(pyexec, "run", "--json", "--any-import", "--allow-missing", ALL, "-c", code)
    result = json.loads(done.stdout)
    assert result["last_value_repr"] == "[-1, -1, -1, -1]", result
    assert result["missing_layers"] == ALL.split(",")


@pytest.mark.parametrize("left_out", ALL.split(","))
def test_every_missing_layer_must_be_named(pyexec, left_out):
    if pyexec.uid == 0:
        pytest.skip("root needs no permission; the ordinary user's case shows it")
    names = ",".join(name for name in ALL.split(",") if name != left_out)
    done = run_without_namespaces(pyexec, "run", "--json", "--allow-missing", names, "-c", "1")
    error = json.loads(done.stdout)
    assert done.returncode == 125 and error["code"] == "sandbox_unavailable" and left_out in error["message"], error


def test_what_still_holds_without_namespaces(pyexec, open_folder):
    if pyexec.uid == 0:
        pytest.skip("root needs no permission; the ordinary user's case shows it")
    secret = open_folder / "secret"
    secret.write_text("secret")
    secret.chmod(0o644)
    code = ("import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\n"
            "def tried(f, *a): return f(*a) < 0\n"
            "[tried(libc.open, b'/etc/passwd', 0), tried(libc.open, b'%s', 0), tried(libc.socket, 1, 1, 0), tried(libc.socket, 10, 2, 0),"
            " tried(libc.kill, 1, 0), tried(libc.kill, -1, 0), tried(libc.ptrace, 16, 1, 0, 0)]" % secret)
    result = json.loads(run_without_namespaces(pyexec, "run", "--json", "--any-import", "--allow-missing", ALL, "-c", code).stdout)
    assert result["last_value_repr"] == str([True] * 7) or result["exit_code"] == 159, result

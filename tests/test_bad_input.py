"""What can be wrong from the start: interpreters, code, files, streams, machines."""
import json
import os
import shutil
import subprocess

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


def test_code_from_files(own, tmp_path):
    os.chmod(tmp_path, 0o755)
    (tmp_path / "s.py").write_text("print('from a file')")
    assert own.run("run", str(tmp_path / "s.py")).stdout == b"from a file\n"
    for path in (tmp_path / "missing.py", tmp_path):
        done = own.run("run", str(path))
        assert done.returncode == 125 and str(path).encode() in done.stderr
    assert own.result("")["status"] == "ok"
    big = "x = 1\n" * 1_500_000
    assert json.loads(own.run("run", "--json", "--cpu-time-seconds", "60", "--timeout", "60s", "--no-print-last-expression",
                              "--address-space-bytes", "4G", "-", input=big).stdout)["status"] == "ok"


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

# SPDX-License-Identifier: Apache-2.0
"""`pyexec run --server`: the same output, exit status and signals as without a server, and clear errors."""
import contextlib
import json
import os
import signal
import socket
import subprocess
import threading

import pytest

from answering import answering, refusal
from serving import serving, token_line
from waiting import wait_until

pytestmark = pytest.mark.usefixtures("nothing_left")
SERVER_FLAGS = ["--files", "full", "--any-import", "--timeout", "60s", "--cpu-time-seconds", "60", "--max-stdout-bytes", "256M"]


@pytest.fixture(scope="module")
def server(pyexec):
    """As root and as an ordinary user. The tests of this file share it."""
    with serving(pyexec, *SERVER_FLAGS, tcp=True, tokens=[token_line("alice", "secret"), token_line("bob", "other", "timeout_ms=2000")]) as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_left(server):
    """All tests of this file share a server."""
    yield
    wait_until(lambda: server.metric("pyexec_running") == 0, "a run goes on")


def through(server, *arguments, **keywords):
    return server.program.run("run", "--server", "unix:" + server.socket, *arguments, **keywords)


def start(server, *arguments, **keywords):
    for name in ("stdin", "stdout", "stderr"):
        keywords.setdefault(name, subprocess.PIPE)
    return server.program.popen("run", "--server", "unix:" + server.socket, *arguments, **keywords)


def alone(server, *arguments, **keywords):
    return server.program.run("run", *SERVER_FLAGS, *arguments, **keywords)


# ---- The same as without a server ----

SAME = {
    "output": ["-c", "import sys; print('a'); print('b', file=sys.stderr); sys.stdout.write('no end')"],
    "value": ["-c", "'text'"],
    "exception": ["-c", "def f():\n    return 1 / 0\nf()"],
    "syntax error": ["-c", "x = = 1"],
    "exit code": ["-c", "raise SystemExit(7)"],
    "exit text": ["-c", "import sys; sys.exit('because')"],
    "hint": ["-c", "import nothere_at_all"],
    "bytes": ["-c", "import sys; sys.stdout.buffer.write(bytes(range(256)) * 9); sys.stderr.buffer.write(b'\\xe4\\xff')"],
    "cut": ["--max-stdout-bytes", "10", "--max-stderr-bytes", "3", "-c", "import sys; print('é' * 100); print('xyz' * 9, file=sys.stderr)"],
    "value cut": ["--max-value-bytes", "9", "-c", "'x' * 100"],
    "time": ["--timeout", "300ms", "-c", "print('before', flush=True)\nwhile True: pass"],
    "open line": ["-c", "import sys; sys.stderr.write('open'); 5"],
    "json value": ["--value-json", "records", "-c", "{'a': 0.10, 'b': [1e300, None]}"],
    "no json value": ["--value-json", "records", "-c", "object"],
    "inputs": ["--input", "n=0.1", "--input", "t=\"é\"", "-c", "print(n, t)"],
    "environment": ["--env", "A=b=c", "-c", "import os; print(os.environ['A'])"],
    "folder": ["--working-dir", "a/b", "-c", "import os; print(os.getcwd()[-3:])"],
    "no value": ["--no-print-last-expression", "-c", "7"],
    "bad code": ["-c", "print('\\ud800')"],
    "display": ["-c", "class A:\n    def _repr_html_(self): return '<b>'\nA"],
}


@pytest.mark.parametrize("arguments", SAME.values(), ids=SAME)
def test_output_and_exit_status_are_the_same(server, arguments):
    ours, theirs = through(server, *arguments), alone(server, *arguments)
    assert (ours.stdout, ours.stderr, ours.returncode) == (theirs.stdout, theirs.stderr, theirs.returncode)


def test_the_json_is_the_same(server):
    for code in ("print(1); [0.10]", "1 / 0", "raise SystemExit(3)"):
        ours, theirs = (json.loads(run(server, "--json", "-c", code).stdout) for run in (through, alone))
        ours.pop("usage"), theirs.pop("usage")
        assert ours == theirs


def test_code_from_a_file_and_from_standard_input(server, open_folder):
    path = open_folder / "script.py"
    path.write_text("print('from a file')")
    assert through(server, str(path)).stdout == b"from a file\n"
    assert through(server, "-", input="print('typed'); input()").stdout == b"typed\n"


def test_files_go_in_and_come_out(server, open_folder):
    given, results = open_folder / "given", []
    given.write_bytes(b"\x00\xff text")
    code = "import os\ndata = open('in/given', 'rb').read()\nos.mkdir('d')\nopen('d/out', 'wb').write(data * 2)"
    for number, run in enumerate((through, alone)):
        folder = open_folder / str(number)
        folder.mkdir()
        os.chmod(folder, 0o777)
        done = run(server, "--file", "%s:in/given" % given, "--output", str(folder), "-c", code)
        assert done.returncode == 0, done
        results.append({str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()})
    assert results[0] == results[1] and results[0]["d/out"] == b"\x00\xff text" * 2


def test_displays_are_saved_in_the_same_form(server, open_folder):
    code = ("class Rich:\n    def _repr_mimebundle_(self, include=None, exclude=None):\n"
            "        return {'text/plain': 'plain', 'application/json': {'a': 0.10, 'b': [1]}, 'image/png': 'iVBORw0KGgo=', 'text/html': '<b>é'}\n"
            "display(Rich())")
    results = []
    for number, run in enumerate((through, alone)):
        folder = open_folder / str(number)
        folder.mkdir()
        os.chmod(folder, 0o777)
        done = run(server, "--save-display", str(folder), "-c", code)
        results.append((done.stdout, done.returncode, {path.name: path.read_bytes() for path in folder.iterdir()}))
    assert results[0] == results[1] and len(results[0][2]) == 3, results


# ---- Streams ----

def test_output_comes_while_the_script_runs_and_input_goes_to_it(server):
    code = "print('ready', flush=True)\nwhile (line := input()) != 'end': print(line.upper(), flush=True)"
    with start(server, "-c", code) as run:
        assert run.stdout.readline() == b"ready\n"
        for word in (b"one", b"two"):
            run.stdin.write(word + b"\n")
            run.stdin.flush()
            assert run.stdout.readline() == word.upper() + b"\n"
        run.stdin.write(b"end\n")
        run.stdin.flush()
        assert run.wait(60) == 0
        run.stdin.close()


def test_an_input_that_never_ends_holds_up_nothing(server):
    with start(server, "-c", "print('done')") as run:
        assert run.stdout.read() == b"done\n" and run.wait(60) == 0
        with contextlib.suppress(BrokenPipeError):
            run.stdin.close()


@pytest.mark.parametrize("data", [b"", b"text \xc3\xa9\0", b"\xff\xfe", os.urandom(1 << 20)], ids=["none", "text", "bytes", "long"])
def test_all_bytes_of_the_input_arrive(server, data):
    done = through(server, "-c", "import sys; n = sys.stdout.buffer.write(sys.stdin.buffer.read()[::-1])", input=data)
    assert done.stdout == data[::-1] and done.returncode == 0


def test_a_script_that_reads_slowly_gets_everything(server):
    code = ("import sys, time\nfirst = sys.stdin.buffer.read(1)\ntime.sleep(1)\nrest = sys.stdin.buffer.read()\nprint(len(first + rest))")
    assert through(server, "-c", code, input=bytes(900_000)).stdout == b"900000\n"


# ---- Signals ----

CATCHES = "try:\n    print('ready', flush=True)\n    while True: pass\nexcept KeyboardInterrupt:\n    print('interrupted', flush=True)\n"


def test_ctrl_c_interrupts_the_script(server):
    with start(server, "-c", CATCHES, stdin=subprocess.DEVNULL) as run:
        assert run.stdout.readline() == b"ready\n"
        run.send_signal(signal.SIGINT)
        assert run.stdout.read() == b"interrupted\n" and run.wait(60) == 0


def test_a_second_ctrl_c_ends_the_run(server):
    with start(server, "-c", CATCHES + "    while True: pass", stdin=subprocess.DEVNULL) as run:
        run.stdout.readline()
        run.send_signal(signal.SIGINT)
        assert run.stdout.readline() == b"interrupted\n"
        run.send_signal(signal.SIGINT)
        assert run.wait(60) == 130


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_ends_the_run_on_the_server(server, number):
    with start(server, "-c", CATCHES, stdin=subprocess.DEVNULL) as run:
        run.stdout.readline()
        run.send_signal(number)
        assert run.wait(60) == 128 + number
    wait_until(lambda: server.metric("pyexec_running") == 0, "the run goes on")


def test_a_reader_that_has_gone_ends_the_run(server):
    with start(server, "-c", "while True: print('x' * 1000)", stdin=subprocess.DEVNULL) as run:
        run.stdout.read(10)
        run.stdout.close()
        assert run.wait(60) == 141
        assert run.stderr.read() == b""


def test_a_client_that_is_killed_ends_its_run(server):
    with start(server, "-c", CATCHES, stdin=subprocess.DEVNULL) as run:
        run.stdout.readline()
        run.kill()
    wait_until(lambda: server.metric("pyexec_running") == 0, "the run goes on")


# ---- What it is made of ----

def test_the_client_is_one_thread_that_loads_neither_python_nor_an_http_library(server):
    with start(server, "-c", "print('ready', flush=True); input()") as run:
        run.stdout.readline()
        with open("/proc/%d/maps" % run.pid) as maps:
            text = maps.read()
        tasks = os.listdir("/proc/%d/task" % run.pid)
        children = [path for task in tasks for path in open("/proc/%d/task/%s/children" % (run.pid, task)).read().split()]
        run.stdin.close()
        assert run.wait(60) != 125
    for name in ("python", "curl", "ssl", "crypto", "microhttpd", "pyexec_serve", "libnss"):
        assert name not in text.replace(server.program.folder, ""), name
    assert len(tasks) == 1 and not children


# ---- Policy and principals ----

def token_file(server, token):
    path = os.path.join(server.folder, "token-" + token)
    with open(path, "w") as file:
        file.write(token + "\n")
    os.chmod(path, 0o644)
    return path


def over_tcp(server, *arguments, **keywords):
    return server.program.run("run", "--server", "http://" + server.tcp, *arguments, **keywords)


def test_tcp_with_a_token(server):
    assert over_tcp(server, "--token-file", token_file(server, "secret"), "-c", "6 * 7").stdout == b"42\n"
    for arguments in ([], ["--token-file", token_file(server, "wrong")]):
        done = over_tcp(server, *arguments, "-c", "6 * 7")
        assert done.returncode == 125 and b"token" in done.stderr and b"--token-file" in done.stderr and not done.stdout, done


def test_a_flag_above_the_ceiling_is_refused_with_the_servers_hint(server):
    done = over_tcp(server, "--token-file", token_file(server, "other"), "--timeout", "30s", "-c", "6 * 7")
    assert done.returncode == 125 and b"timeout" in done.stderr and b"hint: " in done.stderr, done
    answer = json.loads(over_tcp(server, "--json", "--token-file", token_file(server, "other"), "--timeout", "30s", "-c", "1").stdout)
    assert answer["code"] == "invalid_policy"


def test_the_clients_configuration_is_lowered_to_the_ceiling(server):
    environment = dict(os.environ, PYEXEC_POLICY_TIMEOUT="30s", PYEXEC_POLICY_MAX_STDOUT_BYTES="5")
    done = over_tcp(server, "--token-file", token_file(server, "other"), "-c", "print('123456789')", env=environment)
    assert done.returncode == 0 and done.stdout.startswith(b"12345") and b"was cut" in done.stderr, done


def test_the_section_cli_of_the_configuration(server, open_folder):
    path = open_folder / "conf"
    path.write_text("[cli]\nserver = http://%s\ntoken_file = %s\n" % (server.tcp, token_file(server, "secret")))
    def requests():
        return server.metric('pyexec_executions_total{status="ok"}')
    before = requests()
    assert server.program.run("run", "--config", str(path), "-c", "print(1)").stdout == b"1\n"
    wait_until(lambda: requests() == before + 1, "the run did not go through the server")
    assert server.program.run("run", "--config", str(path), "--server", "none", "-c", "print(1)").stdout == b"1\n"
    assert requests() == before + 1


@pytest.mark.parametrize("arguments", [["--workspace", "/tmp"], ["--allow-missing", "landlock"], ["--server", "https://localhost:1"],
                                       ["--server", "localhost"], ["--token-file", "relative"]], ids=lambda value: value[0] + " " + value[1])
def test_what_a_server_cannot_do_is_refused_with_a_hint(server, arguments):
    done = through(server, *arguments, "-c", "1")
    assert done.returncode == 125 and arguments[0].encode() in done.stderr and b"hint: " in done.stderr, done


# ---- A server that is not there, or not right ----

def test_without_a_server_nothing_runs(server):
    for address in ("unix:/nowhere/socket", "http://127.0.0.1:1"):
        done = server.program.run("run", "--server", address, "-c", "print('ran')")
        assert done.returncode == 125 and not done.stdout, done
        assert address.encode() in done.stderr and b"hint: " in done.stderr and b"pyexec serve" in done.stderr


def test_with_fallback_the_script_runs_without_the_server(server):
    environment = dict(os.environ, PYEXEC_CLI_FALLBACK="true", PYEXEC_CLI_SERVER="unix:/nowhere/socket")
    done = server.program.run("run", "-c", "print('ran', input())", env=environment, input="alone")
    assert done.stdout == b"ran alone\n" and done.returncode == 0 and not done.stderr


@contextlib.contextmanager
def impostor(*parts):
    """A server that sends these bytes to each client and closes the connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        def serve():
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listening.accept()
                    with client:
                        client.recv(65536)
                        for part in parts:
                            client.sendall(part)
        threading.Thread(target=serve, daemon=True).start()
        yield "http://127.0.0.1:%d" % listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)


def problem(**members):
    body = json.dumps(members).encode()
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (members["status"], len(body), body)


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


HEADERS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BEGUN = chunk(b'event: control\ndata: {"run_id":"r-1"}\n\n') + chunk(b'event: stdout\ndata: {"text":"part"}\n\n')
IMPOSTORS = {
    "older": ([problem(status=400, code="invalid_request", title="request has no key 'control'")], b"older version"),
    "no API": ([problem(status=404, code="not_found", title="no such path")], b"not a pyexec server"),
    "not HTTP": ([b"220 mail.example SMTP\r\n\r\n"], b"not HTTP"),
    "nothing": ([], b"ended the connection"),
    "lost before": ([HEADERS], b"has not begun"),
    "lost in the middle": ([HEADERS, BEGUN], b"has begun"),
    "lost after output": ([HEADERS, chunk(b'event: stdout\ndata: {"text":"part"}\n\n')], b"has begun"),
    "cut in an event": ([HEADERS, BEGUN, b"20\r\nevent: result\ndata: {"], b"has begun"),
    "bad result": ([HEADERS, BEGUN, chunk(b"event: result\ndata: nonsense\n\n"), b"0\r\n\r\n"], b"not JSON"),
    **{"exit code " + code: ([HEADERS, chunk(b'event: result\ndata: {"status":"ok","exit_code":%s}\n\n' % code.encode()), b"0\r\n\r\n"], b"exit code")
       for code in ("null", '"0"', "256", "-1", "1e99")},
    "full": ([problem(status=503, code="overloaded", title="the queue is full", hint="Later.")], b"the queue is full"),
    "page": ([b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\n\r\n<html>"], b"a proxy answered with status 502"),
    "bad chunk": ([HEADERS, b"zz\r\n"], b"not HTTP"),
}


@pytest.mark.parametrize("parts, says", IMPOSTORS.values(), ids=IMPOSTORS)
def test_a_wrong_answer_is_an_error_that_says_what_happened(server, parts, says):
    with impostor(*parts) as address:
        environment = dict(os.environ, PYEXEC_CLI_FALLBACK="true")
        done = server.program.run("run", "--server", address, "-c", "print('ran')", env=environment)
    assert done.returncode == 125 and says in done.stderr and b"ran" not in done.stdout, done
    assert done.stdout == (b"part" if says == b"has begun" else b"") or says == b"not JSON", done


def test_a_server_that_is_killed_in_the_middle(pyexec):
    with serving(pyexec, *SERVER_FLAGS) as server:
        with start(server, "-c", CATCHES, stdin=subprocess.DEVNULL) as run:
            run.stdout.readline()
            server.process.kill()
            assert run.wait(60) == 125 and b"before the result" in run.stderr.read()


def test_a_server_that_is_stopped_keeps_nobody_waiting_for_ever(own):
    with serving(own, *SERVER_FLAGS) as server:
        with start(server, "-c", CATCHES, stdin=subprocess.DEVNULL) as run:
            run.stdout.readline()
            server.process.send_signal(signal.SIGSTOP)
            try:
                assert run.wait(120) == 125
            finally:
                server.process.send_signal(signal.SIGCONT)
            said = run.stderr.read()
            assert b"does not answer" in said and b"has begun" in said, said


def test_the_default_socket_of_an_ordinary_user(server, open_folder):
    if server.program.uid == 0:
        pytest.skip("root's default socket is a fixed path of the machine")
    os.chown(open_folder, server.program.uid, server.program.uid)
    environment = dict(os.environ, XDG_RUNTIME_DIR=str(open_folder))
    done = server.program.run("run", "--server", "default", "-c", "1", env=environment)
    assert done.returncode == 125 and b"pyexec serve" in done.stderr, done
    with serving(server.program, listen=False, env=environment):
        assert server.program.run("run", "--server", "default", "-c", "6 * 7", env=environment).stdout == b"42\n"
    os.chmod(open_folder, 0o777)  # others may replace the socket: it is not used
    environment["TMPDIR"] = "/nowhere"
    done = server.program.run("run", "--server", "default", "-c", "1", env=environment)
    assert done.returncode == 125 and not done.stdout, done


@pytest.mark.parametrize("first, ours", [
    (refusal(503, "overloaded"), True), (refusal(429, "overloaded"), True), ((503, "text/html", b"<h1>503 Service Unavailable</h1>"), False),
    ((429, "application/json", b'{"error": "rate limit", "status": 429}'), False), ((502, "text/plain", b""), False)])
def test_only_an_answer_of_pyexec_says_that_nothing_was_started(own, first, ours):
    with answering(first) as server:
        done = own.run("run", "--server", server.url, "--json", "-c", "1")
    error = json.loads(done.stdout)
    assert done.returncode == 125 and server.runs == 1
    assert (error.get("retry_after_ms"), error["code"]) == ((1000, "overloaded") if ours else (None, "internal")), error
    assert ours or ("a proxy answered with status %d" % first[0] in error["message"] and "may have run" in error["hint"]), error

"""Bad lines of an RPC client: each gets the right answer with its id, and other requests are not affected, whatever the number of
bad lines."""
import contextlib
import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import termios
import threading
import time

import pytest

from test_rpc import Client
from waiting import wait_until

# With a sanitizer, memory can't be measured.
SANITIZED = bool(os.environ.get("SANITIZE"))
OPEN = {"use_import_whitelist": False, "banned_imports": [], "disable_open": False}


@pytest.fixture(scope="module")
def client(own):
    with Client(own, policy=OPEN) as made:
        yield made


def call_line(client, line):
    """Sends a line unchanged, except that ID becomes a new id, and returns the answer."""
    client.next += 1
    client.line(line.replace(b"ID", b"%d" % client.next))
    return client.wait(client.next)


def execute(params):
    return b'{"jsonrpc":"2.0","id":ID,"method":"execute_once","params":' + params + b"}"


@pytest.mark.parametrize("line, name, what", [
    (execute(br'{"code":"\ud800"}'), "code", "surrogate"),
    (execute(br'{"code":"1","stdin":"a\udfffb"}'), "stdin", "surrogate"),
    (execute(br'{"code":"1","env":{"A":"\ud83d"}}'), "env.A", "surrogate"),
    (execute(br'{"code":"1","env":{"\ud83d":"A"}}'), r"env.\ud83d", "surrogate"),
    (execute(br'{"code":"1","return_files":["a","\udc00"]}'), "return_files", "surrogate"),
    (execute(b'{"code":"1","stdin":"\xff"}'), "stdin", "UTF-8"),
    (execute(b'{"code":"\xed\xa0\x80"}'), "code", "UTF-8"),
    (execute(b'{"code":"1","policy":{"timeout_ms":1e999}}'), "policy.timeout_ms", "too large"),
    (execute(b'{"code":"1","timeout_ms":123456789012345678901234567890}'), "timeout_ms", "too large"),
    (execute(b'{"code":"1","timeout_ms":-9223372036854775809}'), "timeout_ms", "too large"),
    (execute(br'{"code":"1","env":{"A\u0000":"x"}}'), r"env.A\u0000", "NUL"),
    (execute(b'{"code":"1","code":"2"}'), "code", "twice"),
    (execute(b'{"code":"1","policy":{"disable_open":true,"disable_open":false}}'), "policy.disable_open", "twice"),
    (execute(b'{"policy":{"preload_imports":[{"a":1},1e999]},"code":"1"}'), "policy.preload_imports[1]: ", "too large"),
    (execute(b'{"code":"1","env":{"A":"b"},"files":[1,[2],{"x":{"y":1},"z":1e999}]}'), "files[2].z: ", "too large"),
    (execute(b'{"code":"1","inputs":[[],{"a":[1]},[0,1,1e999]]}'), "inputs[2][2]: ", "too large"),
    (execute(b'{"code":"1","stdin":' + b"[" * 3000 + b"]" * 3000 + b"}"), "stdin", "nesting"),
    (execute(b'{"code":"1","' + b"k" * 50000 + b'":1e999}'), "kkkk", "too large"),
    (b'{"params":{"code":"\\ud800"},"method":"execute_once" , "id" : ID ,"jsonrpc":"2.0"}', "code", "surrogate"),
    (b'{"jsonrpc":"2.0","id":ID,"method":"\\udead"}', "method", "surrogate"),
], ids=lambda v: repr(v)[:40])
def test_json_that_the_parser_refuses_is_answered_under_its_id(client, line, name, what):
    error = call_line(client, line)["error"]
    assert error["code"] == -32000 and error["data"]["code"] == "invalid_request", error
    assert name in error["message"] and what in error["message"] and error["data"]["hint"], error
    assert "params" not in error["message"], error


@pytest.mark.parametrize("given", [b'"a\\u00e9\\"b"', b"1.5", b"-7", b"null", b"12345678901234567890123", br'"\ud800"'])
def test_an_id_comes_back_as_it_was_sent(own, given):
    line = b'{"jsonrpc":"2.0","id":%s,"method":"ping","params":{"\\ud800":1}}\n' % given
    out = own.run("rpc", input=line).stdout
    assert out.startswith(b'{"jsonrpc":"2.0","id":%s,"error":{"code":-32000,' % given), out


@pytest.mark.parametrize("line, code", [
    (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"\\ud800"}', -32700),     # not closed
    (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":"\\ud800"}}}', -32700),
    (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":{"a":01,"b":1e999}}', -32700),
    (b'{"jsonrpc":"2.0","id":1,"params":{"a":"\\ud800\\x"}}', -32700),
    (b'{"jsonrpc":"2.0","id":1,}', -32700), (b"[1e999,]", -32700), (b'{"a" 1e999}', -32700), (b'"\x01\\ud800"', -32700),
    (b"[" * 5000, -32700), (b"[" * 5000 + b"}", -32700), (b"tru", -32700), (b"1e999 x", -32700), (b"\xff", -32700),
    (b"[1e999]", -32600), (b'"\\ud800"', -32600), (b"[" * 5000 + b"]" * 5000, -32600), (b'{"id":1,"id":2}', -32600),
    (b'{"id":{"id":1},"a":1e999}', -32600), (b'{"id":true,"a":1e999}', -32600), (b'{"id":"\xff"}', -32600), (b'{"a":{"id":1e999}}', -32600),
    (b'{"jsonrpc":"2.0","id":[],"method":"ping"}', -32600),
], ids=lambda v: repr(v)[:40])
def test_what_has_no_id_to_answer_is_answered_to_null(own, line, code):
    answer, = map(json.loads, own.run("rpc", input=line + b"\n").stdout.splitlines())
    assert answer["id"] is None and answer["error"]["code"] == code, answer


@pytest.mark.parametrize("text", ["a" + "é" * 100, "aa" + "€" * 100, "\0" * 10, "x\ny\x1b", "\uffff" * 200], ids=ascii)
def test_no_name_is_too_strange_to_be_answered(client, text):
    for method, params in [("execute", {"session_id": text, "code": "1"}), ("ping", {text: 1}), ("close_session", {"session_id": text}),
                           ("execute_once", {"code": "1", "working_dir": "/" + text}), ("execute_once", {"code": "1", "env": {"=" + text.strip("\0"): "x"}}),
                           ("execute_once", {"code": "1", "policy": {text.strip("\0"): 1}}), ("read_file", {"session_id": "s", "path": "../" + text}),
                           (text, {})]:
        assert client.call(method, **params)["error"]["message"], (method, params)


@pytest.mark.parametrize("method, params, word", [
    ("execute", {"session_id": "s\0x", "code": "1"}, "session_id"), ("execute", {"session_id": 5, "code": "1"}, "session_id"),
    ("close_session", {"session_id": "s\0x"}, "session_id"), ("read_file", {"session_id": "s", "path": "a\0b"}, "path"),
    ("list_files", {"session_id": None}, "session_id"), ("execute_once", {"code": "1", "stream": 1}, "stream"),
    ("execute_once", {"code": "1", "return_files": ["a\0b"]}, "return_files"), ("cancel", {}, "request"), ("interrupt", {"request": [1]}, "request"),
    ("write_file", {"session_id": "s", "path": "a"}, "content"), ("write_file", {"session_id": "s", "path": "a", "content_base64": "!"}, "content"),
    ("execute", {"code": "1"}, "session_id"), ("initialize", {"protocol": 1}, "initialize"), ("initialize", {"protocol": "1"}, "initialize"),
    ("execute_once", {"code": "1", "env": {"A=B": "c"}}, "A=B"), ("execute_once", {"code": "1", "env": {"": "c"}}, "env"),
    ("execute_once", {"code": "1", "env": {"A": "c\0"}}, "env"), ("execute_once", {"code": "1", "env": {"=A": "c"}}, "=A"),
])
def test_bad_parameters_say_which_and_what_to_do(client, method, params, word):
    data = client.call(method, **params)["error"]["data"]
    assert data["code"] == "invalid_request" and word in data["message"] and data["hint"], data


def test_a_notification_is_never_answered(own):
    lines = [b'{"jsonrpc":"2.0","method":"nosuch"}', b'{"jsonrpc":"2.0","method":"ping"}', b'{"jsonrpc":"2.0","method":"ping","params":{"a":1}}',
             b'{"jsonrpc":"2.0","method":"execute_once","params":{"code":"1"}}', b'{"jsonrpc":"2.0","id":5,"method":"ping"}']
    answers = own.run("rpc", input=b"\n".join(lines) + b"\n").stdout.splitlines()
    assert [json.loads(answer)["id"] for answer in answers] == [5]


# ---- Many bad lines ----

VALID = [
    b'{"jsonrpc":"2.0","id":"bad","method":"execute_once","params":{"code":"1 + 1","policy":{"timeout_ms":500},"env":{"A":"b"}}}',
    b'{"jsonrpc":"2.0","id":"bad","method":"execute","params":{"session_id":"s","code":"x = 5","stdin":"\\u00e9","return_files":["*"]}}',
    b'{"jsonrpc":"2.0","id":"bad","method":"initialize","params":{"protocol":1,"policy":{"allowed_imports":["json"]},"host":{"zygotes":2}}}',
    b'{"jsonrpc":"2.0","id":"bad","method":"write_file","params":{"session_id":"s","path":"a/b","content_base64":"AP8="}}',
    b'{"jsonrpc":"2.0","id":"bad","method":"interrupt","params":{"request":12.5}}',
    b'{"jsonrpc":"2.0","id":"bad","method":"list_files","params":{"session_id":"s"}}',
]
PIECES = [b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b"\0", b"\xff", b"\xed\xa0\x80", b"\\ud800", b"\\u0000", b"1e999", b"9" * 40, b"null",
          b'"id":', b'"code":', b"[" * 2100, b"true", b"-", b"../", b"=", b" "]


def mutate(random_, line):
    line = bytearray(line)
    for _ in range(random_.choice([1, 1, 2, 5, 20])):
        at = random_.randrange(len(line) + 1)
        how = random_.randrange(5)
        if how == 0:
            line[at:at] = random_.choice(PIECES)
        elif how == 1:
            del line[at:at + random_.randrange(1, 20)]
        elif how == 2:
            line[at:at + 1] = bytes([random_.randrange(256)])
        elif how == 3:
            line[at:at + random_.randrange(8)] = random_.choice(PIECES)
        else:
            other = random_.choice(VALID)
            line[at:] = other[random_.randrange(len(other)):]
    # None of these lines may end the program.
    return bytes(line).replace(b"\n", b" ").replace(b"shutdown", b"shutdowm")


def memory_kib(pid, key="VmRSS"):
    with open("/proc/%d/status" % pid) as file:
        return next(int(line.split()[1]) for line in file if line.startswith(key + ":"))


@pytest.mark.parametrize("seed", range(3))
def test_thousands_of_mutated_lines_disturb_nothing(own, nothing_left, open_folder, seed):
    random_ = random.Random(seed)
    root = open_folder / "root"
    root.mkdir()
    with Client(own, policy=OPEN, session={"workspace_root": str(root)}) as client:
        client.call("execute", session_id="kept", code="x = 0")
        sizes, answered = [], 0
        for i in range(1, 31):
            for _ in range(100):
                client.line(mutate(random_, random_.choice(VALID)))
            result = client.call("execute", session_id="kept", code="x += 1\nx")["result"]
            assert result["last_value_repr"] == str(i), result
            assert client.call("execute_once", code="6 * 7")["result"]["last_value_repr"] == "42"
            answered += len(client.held)
            for answer in client.held:
                error = answer.get("error")
                assert answer["jsonrpc"] == "2.0" and ("result" in answer) != bool(error), answer
                if error and error["code"] == -32000:
                    assert error["data"]["message"] and (error["data"]["hint"] or error["data"]["code"] != "invalid_request"), answer
            client.held.clear()
            sizes.append(memory_kib(client.process.pid))
        assert answered > 2500
        assert SANITIZED or sizes[-1] < sizes[9] + 20000, sizes
        client.call("close_all")
        assert client.call("list_sessions")["result"]["sessions"] == []
    assert os.listdir(root) == []


def test_requests_whose_answers_nobody_reads_wait(own, nothing_left):
    """Neither memory nor threads grow with the number of lines, and after the client has read, each line has its answer."""
    count, size = 10000, 20000
    client = Client(own, policy=OPEN)
    line = json.dumps({"jsonrpc": "2.0", "id": "many", "method": "execute_once", "params": {"code": "print('x' * %d)" % size}}).encode()
    sender = threading.Thread(target=lambda: client.line(b"\n".join([line] * count)))
    sender.start()
    peak, quiet = 0, 0
    while quiet < 10:               # until the program accepts no more lines
        before = memory_kib(client.process.pid)
        time.sleep(0.1)
        quiet = quiet + 1 if memory_kib(client.process.pid) == before else 0
        peak = max(peak, memory_kib(client.process.pid, "VmHWM"))
    assert sender.is_alive(), "a client that does not read was read to its end"
    assert SANITIZED or peak < 300 << 10, peak
    assert memory_kib(client.process.pid, "Threads") <= 1100
    answers = [client.read() for _ in range(count)]
    sender.join()
    assert all(answer["id"] == "many" for answer in answers)
    assert {answer["error"]["data"]["code"] for answer in answers if "error" in answer} <= {"overloaded"}
    assert {len(answer["result"]["stdout"]) for answer in answers if "result" in answer} == {size + 1}
    assert client.call("ping")["result"] == {}
    client.__exit__()


def test_limits_hold_while_a_client_does_not_read_the_stream(own, nothing_left):
    """The run ends at its time limit, not when the client reads again; and then no output is missing."""
    with Client(own, policy=dict(OPEN, cpu_time_seconds=None)) as client:
        number = client.send("execute_once", code="print('é' * 300000)\nwhile True: pass", stream=True, timeout_ms=300)
        time.sleep(3)
        result = client.wait(number)["result"]
        assert result["status"] == "timeout" and result["usage"]["wall_ms"] < 2500, result["usage"]
        assert "".join(note["text"] for note in client.notes() if note["stream"] == "stdout") == result["stdout"]


def test_output_comes_though_the_script_goes_on(own, nothing_left):
    """Output that did not fit into the pipe is sent when the client reads, not with the next output."""
    with Client(own, policy=OPEN) as client:
        number = client.send("execute_once", code="print('x' * 500000, end='')\nimport time\ntime.sleep(60)", stream=True, timeout_ms=60000)
        time.sleep(0.5)
        seen = 0
        while seen < 500000:
            seen += len(client.read()["params"]["text"])
        client.call("cancel", request=number)
        assert client.wait(number)["result"]["status"] == "cancelled"


# Signals

def unread(stream):
    """Returns how many bytes wait in its pipe."""
    return int.from_bytes(fcntl.ioctl(stream, termios.FIONREAD, bytes(4)), sys.byteorder)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda n: n.name)
@pytest.mark.parametrize("reads", [True, False], ids=["reads", "does not read"])
def test_a_signal_ends_it_as_the_end_of_input_does(own, nothing_left, open_folder, number, reads):
    client = Client(own, policy=OPEN, session={"workspace_root": str(open_folder)})
    for name in "ab":
        client.call("execute", session_id=name, code="open('f', 'w').write('x')")
    assert sorted(os.listdir(open_folder)) == ["a", "b"]
    running = client.begin("execute", "import time\ntime.sleep(60)", session_id="a", timeout_ms=60000)
    client.begin("execute_once", "while True: pass", timeout_ms=60000)
    if not reads:
        for _ in range(5):
            client.send("execute_once", code="print('x' * 200000)")
        # Fills the pipe: nobody reads it any more.
        wait_until(lambda: unread(client.process.stdout) > 60000, "output")
    client.process.send_signal(number)
    if reads:
        assert client.wait(running)["result"]["status"] == "cancelled"
    assert client.process.wait(60) == (0 if reads else 1)
    assert os.listdir(open_folder) == []
    client.process.stdin.close()
    client.process.stdout.close()


def test_a_signal_that_was_ignored_at_the_start_stays_ignored(own, nothing_left):
    process = own.popen("rpc", stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    process.stdin.write(b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n')
    process.stdin.flush()
    process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    out, _ = process.communicate(b'{"jsonrpc":"2.0","id":2,"method":"ping"}\n', 10)
    assert json.loads(out)["id"] == 2 and process.returncode == 0


def processes_of(process):
    """Returns the PIDs of the process and of those below it."""
    found, below = [], [process.pid]
    while below:
        pid = below.pop()
        found.append(pid)
        for task in os.listdir("/proc/%d/task" % pid):
            # A thread may end after listdir(). Its children then belong to another thread of the process.
            with contextlib.suppress(FileNotFoundError), open("/proc/%d/task/%s/children" % (pid, task)) as file:
                below += map(int, file.read().split())
    assert all(pid > 1 for pid in found), found
    return found


def test_a_client_s_rpc_ignores_signals_to_its_group_and_service(pyexec, nothing_left):
    """A terminal sends signals to the process group. systemd sends SIGTERM and SIGHUP to every process of the service."""
    client = Client(pyexec, options=["--ignore-signals"], start_new_session=True, policy={**OPEN, "timeout_ms": 60000})
    code = "import os, time\nwhile not os.path.exists('go'): time.sleep(0.02)\n'done'"
    running = client.send("execute", session_id="s", code="import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, [])")
    assert client.wait(running)["result"]["last_value_repr"] == "set()"
    running = client.send("execute", session_id="s", code=code)
    while client.call("stats")["result"]["running"] != 1:
        pass
    below = processes_of(client.process)
    assert len(below) >= 5, "rpc, outer process, supervisor, zygote and session: %s" % below
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.killpg(client.process.pid, number)
    for number in (signal.SIGTERM, signal.SIGHUP):
        for pid in below:
            os.kill(pid, number)
    client.call("write_file", session_id="s", path="go", content="")
    assert client.wait(running)["result"]["last_value_repr"] == "'done'"
    assert processes_of(client.process)[:len(below)] == below
    assert client.call("execute_once", code="'new'")["result"]["last_value_repr"] == "'new'"
    client.process.stdin.close()
    assert client.process.wait(60) == 0
    client.process.stdout.close()


# ---- --drain ----

def test_drain_finishes_the_requests_in_progress_at_the_end_of_input(pyexec, nothing_left):
    """This includes queued calls of a session, and runs that have not started when the input ends."""
    requests = [{"id": 0, "method": "initialize", "params": {"protocol": 1}}]
    requests += [{"id": 1 + i, "method": "execute_once", "params": {"code": "import time\ntime.sleep(0.1)\n%d" % i}}
                 for i in range(12)]
    requests += [{"id": 13 + i, "method": "execute", "params": {"session_id": "s", "code": "n = globals().get('n', 0) + 1\nn"}}
                 for i in range(4)]
    text = "".join(json.dumps({"jsonrpc": "2.0", **request}) + "\n" for request in requests)
    done = pyexec.run("rpc", "--drain", input=text)
    answers = {answer["id"]: answer["result"] for answer in map(json.loads, done.stdout.splitlines())}
    assert done.returncode == 0 and sorted(answers) == list(range(17)), done
    assert [answers[1 + i]["last_value_repr"] for i in range(12)] == [str(i) for i in range(12)]
    assert [answers[13 + i]["last_value_repr"] for i in range(4)] == ["1", "2", "3", "4"]


def test_a_drain_ends_by_a_signal_by_shutdown_and_without_a_reader(pyexec, nothing_left):
    """Then all runs are cancelled: nothing_left checks that no process stays."""
    def begin():
        client = Client(pyexec, options=["--drain"], policy={**OPEN, "timeout_ms": 600000})
        return client, client.begin("execute_once", "import time\ntime.sleep(500)")
    for end in ("signal", "shutdown", "no reader"):
        client, number = begin()
        if end == "shutdown":
            client.send("shutdown")
        client.process.stdin.close()
        if end == "no reader":
            client.process.stdout.close()
        else:
            if end == "signal":
                client.process.terminate()
            assert client.wait(number)["result"]["status"] == "cancelled"
            client.process.stdout.close()
        assert client.process.wait(60) in (0, 1), end

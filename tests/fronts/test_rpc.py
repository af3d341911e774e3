"""JSON-RPC on stdio: concurrency, streams, bad lines, ends."""
import json
import os
import random
import socket
import subprocess
import tempfile
import time

import pytest

from conftest import PYTHON
from json_lines import JsonLines


class Client(JsonLines):
    def __init__(self, program, options=(), start_new_session=False, **initialize):
        super().__init__(program, "rpc", *options, start_new_session=start_new_session)
        policy = {"python_bin": PYTHON, **initialize.pop("policy", {})}
        self.info = self.call("initialize", protocol=1, policy=policy, **initialize)["result"]

    call = JsonLines.ask

    def notes(self):
        found = [message["params"] for message in self.held if message.get("method") == "output"]
        self.held = [message for message in self.held if message.get("method") != "output"]
        return found


@pytest.fixture
def client(own, nothing_left):
    with Client(own, policy={"use_import_whitelist": False, "banned_imports": [], "disable_open": False}) as made:
        yield made


def test_initialize_and_both_kinds_of_runs(client):
    assert client.info["protocol"] == 1 and client.info["python"].startswith("3.") and client.info["missing_layers"] == []
    assert "seccomp" in client.info["layers"]
    assert client.call("execute_once", code="6 * 7")["result"]["last_value_repr"] == "42"
    client.call("execute", session_id="s", code="x = 5")
    assert client.call("execute", session_id="s", code="x")["result"]["session"]["execution_count"] == 2
    assert [item["id"] for item in client.call("list_sessions")["result"]["sessions"]] == ["s"]
    assert client.call("stats")["result"]["executions"]["ok"] == 3
    assert client.call("doctor")["result"]["ok"] is True
    client.call("close_session", session_id="s")
    assert client.call("list_sessions")["result"]["sessions"] == []
    assert client.call("ping")["result"] == {} and client.call("close_all")["result"] == {}


def test_answers_move_to_a_socket(own, nothing_left):
    """The answer to the request is the last line on standard output. Everything after it comes through the socket."""
    with tempfile.TemporaryDirectory(prefix="pyexec-") as folder, socket.socket(socket.AF_UNIX) as listener:
        path = os.path.join(folder, "answers")
        listener.bind(path)
        listener.listen(1)
        for public in (folder, path):
            os.chmod(public, 0o777)
        with JsonLines(own, "rpc") as client:
            for bad in ("", os.path.join(folder, "nobody"), "x" * 200):
                assert client.ask("move_answers", path=bad)["error"]["data"]["code"] == "invalid_request"
            assert client.ask("move_answers", path=path)["result"] == {}
            connection = listener.accept()[0]
            with connection, connection.makefile("r") as lines:
                initialize = client.send("initialize", protocol=1, policy={"python_bin": PYTHON})
                assert json.loads(lines.readline())["id"] == initialize
                number = client.send("execute_once", code="print('x' * 300000)", stream=True)
                found = [json.loads(lines.readline())]
                while found[-1].get("id") != number:
                    found.append(json.loads(lines.readline()))
                assert len(found) > 1 and found[-1]["result"]["stdout_bytes"] == 300001
                client.process.stdin.close()
                assert client.process.stdout.read() == b"" and lines.read() == ""


def test_requests_run_concurrently_and_answer_out_of_order(client):
    slow = client.send("execute_once", code="import time\ntime.sleep(1)\n'slow'")
    quick = client.send("execute_once", code="'quick'")
    assert client.wait(quick)["result"]["last_value_repr"] == "'quick'"
    assert not any(message.get("id") == slow for message in client.held)
    assert client.wait(slow)["result"]["last_value_repr"] == "'slow'"
    numbers = [client.send("execute_once", code=str(i)) for i in range(100)]
    assert [client.wait(number)["result"]["last_value_repr"] for number in numbers] == [str(i) for i in range(100)]


def test_output_is_streamed_on_request(client):
    code = "import sys\nprint('é' * 3)\nprint('err', file=sys.stderr)\nimport os\nos.write(1, b'\\xc3')\nos.write(1, b'\\xa9')\nNone"
    result = client.call("execute_once", code=code, stream=True)["result"]
    notes = client.notes()
    assert "".join(note["text"] for note in notes if note["stream"] == "stdout") == result["stdout"] == "ééé\né"
    assert "".join(note["text"] for note in notes if note["stream"] == "stderr") == "err\n"
    assert [note["seq"] for note in notes] == sorted(note["seq"] for note in notes)
    client.call("execute_once", code="print(1)")
    assert client.notes() == []


def test_a_silent_call_is_not_counted(client):
    """Silent calls, such as completion for a front end, do not change the numbers of the user's cells."""
    assert client.call("execute", session_id="s", code="", silent=True)["result"]["session"]["created"]
    assert client.call("execute", session_id="s", code="1/0")["result"]["error"]["traceback"].count('"<cell 1>"') == 1
    assert client.call("execute", session_id="s", code="2", silent=True)["result"]["last_value_repr"] == "2"
    assert client.call("execute", session_id="s", code="3")["result"]["session"]["execution_count"] == 2
    for bad in ({"session_id": "s", "silent": 1}, {"silent": True}):
        method = "execute" if "session_id" in bad else "execute_once"
        assert client.call(method, code="1", **bad)["error"]["data"]["code"] == "invalid_request"


def test_interrupt_and_cancel(client):
    client.call("execute", session_id="s", code="x = 1")
    running = client.begin("execute", "import time\ntime.sleep(60)", session_id="s", timeout_ms=60000)
    assert client.call("interrupt", session_id="s")["result"] == {}
    assert client.wait(running)["result"]["error_repr"] == "KeyboardInterrupt"
    assert client.call("execute", session_id="s", code="x")["result"]["last_value_repr"] == "1"
    for method, status in (("interrupt", "error"), ("cancel", "cancelled")):
        running = client.begin("execute_once", "import time\ntime.sleep(60)", timeout_ms=60000)
        assert client.call(method, request=running)["result"] == {}
        assert client.wait(running)["result"]["status"] == status
    assert client.call("cancel", request=99999)["error"]["data"]["code"] == "invalid_request"


def test_an_interrupt_that_comes_late_does_not_reach_the_next_call(client):
    interrupted = 0
    for _ in range(300):
        first = client.send("execute", session_id="s", code="for i in range(2000): pass")
        second = client.send("execute", session_id="s", code="1 + 1")
        time.sleep(random.random() * 0.0005)
        client.send("interrupt", request=first)
        assert client.wait(second)["result"]["last_value_repr"] == "2"
        interrupted += client.wait(first)["result"]["status"] == "error"
    # An interrupt of a later call still works: the late interrupts before it did not use it up.
    running = client.send("execute", session_id="s", code="import time\ntime.sleep(60)")
    time.sleep(0.05)
    client.send("interrupt", request=running)
    assert client.wait(running)["result"]["error_repr"] == "KeyboardInterrupt"
    assert interrupted


def test_files(client):
    client.call("execute", session_id="s", code="1")
    client.call("write_file", session_id="s", path="a/b", content_base64="AP8=")
    client.call("write_file", session_id="s", path="t", content="text")
    assert client.call("execute", session_id="s", code="open('a/b', 'rb').read()")["result"]["last_value_repr"] == "b'\\x00\\xff'"
    assert client.call("read_file", session_id="s", path="a/b")["result"] == {"content_base64": "AP8=", "bytes": 2}
    assert [f["path"] for f in client.call("list_files", session_id="s")["result"]["files"]] == ["a/b", "t"]
    client.call("delete_file", session_id="s", path="t")
    assert client.call("read_file", session_id="s", path="t")["error"]["code"] == -32000
    assert client.call("read_file", session_id="s", path="../x")["error"]["data"]["code"] == "invalid_request"
    assert client.call("read_file", session_id="no", path="x")["error"]["data"]["code"] == "session_not_found"


@pytest.mark.parametrize("method, params, code", [
    ("nosuch", {}, -32601), ("ping", {"a": 1}, -32602), ("ping", {"": 1}, -32602), ("cancel", {"": 1}, -32602),
    ("cancel", {"request ": 1}, -32602), ("cancel", {" request": 1}, -32602), ("cancel", {"req": 1}, -32602), ("execute_once", {"code": "1", "nosuch": 1}, -32000),
    ("execute_once", {}, -32000), ("execute", {"code": "1"}, -32000), ("execute", {"code": "1", "session_id": "a/b"}, -32000),
    ("execute_once", {"code": "1", "policy": {"timeuot": 1}}, -32000), ("initialize", {"protocol": 1}, -32000),
    ("close_session", {"session_id": "no"}, -32000),
])
def test_bad_requests_get_errors(client, method, params, code):
    error = client.call(method, **params)["error"]
    assert error["code"] == code and error["message"]
    if code == -32000:
        assert set(error["data"]) >= {"code", "message", "hint"}


def test_bad_lines_disturb_nothing(client):
    running = client.send("execute_once", code="import time\ntime.sleep(0.5)\n'fine'")
    random.seed(1)
    good = json.dumps({"jsonrpc": "2.0", "id": 7000, "method": "ping", "params": {}}).encode()
    lines = [b"", b"garbage", b"[]", b"1", b"null", b'{"jsonrpc":"1.0","id":1,"method":"ping"}', b'{"jsonrpc":"2.0","id":{},"method":"ping"}',
             b'{"jsonrpc":"2.0","id":1,"method":5}', b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}', b"\xff\xfe", b"[" * 100000,
             b'{"jsonrpc":"2.0","method":"execute_once","params":{"code":"1"}}', b"\0"]
    lines += [bytes(random.choice(good) if random.random() < .9 else random.randrange(256) for _ in range(len(good))).replace(b"\n", b" ")
              for _ in range(200)]
    for line in lines:
        client.line(line)
    client.line(b"x" * (33 << 20))
    assert client.wait(running)["result"]["last_value_repr"] == "'fine'"
    assert client.call("ping")["result"] == {}


def test_before_initialize(own):
    process = own.popen("rpc", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    out, _ = process.communicate(b'{"jsonrpc":"2.0","id":1,"method":"execute_once","params":{"code":"1"}}\n'
                                 b'{"jsonrpc":"2.0","id":2,"method":"initialize","params":{"protocol":9}}\n'
                                 b'{"jsonrpc":"2.0","id":3,"method":"initialize","params":{"protocol":1,"policy":{"python_bin":"/no/such"}}}\n'
                                 b'{"jsonrpc":"2.0","id":4,"method":"initialize","params":{"protocol":1,"policy":'
                                 b'{"python_bin":"/usr/bin/python3\\u0000x"}}}\n'
                                 b'{"jsonrpc":"2.0","id":5,"method":"shutdown"}\n', 20)
    answers = [json.loads(line) for line in out.splitlines()]
    assert [answer["error"]["data"]["code"] for answer in answers[:4]] == ["invalid_request", "invalid_request", "python_not_found",
                                                                         "invalid_policy"]
    assert answers[4]["result"] == {} and process.returncode == 0


@pytest.mark.parametrize("end", ["eof", "kill", "closed output"])
def test_the_end_leaves_nothing(own, nothing_left, end):
    client = Client(own)
    client.call("execute", session_id="s", code="x = 1")
    client.send("execute_once", code="while True: pass")
    client.send("execute", session_id="s", code="import time\ntime.sleep(60)")
    time.sleep(0.2)
    if end == "kill":
        client.process.kill()
    elif end == "closed output":
        client.process.stdout.close()
        client.send("ping")
        client.send("ping")
        client.process.stdin.close()
    else:
        client.process.stdin.close()
    client.process.wait(60)


def test_calls_of_a_session_run_in_the_order_of_their_lines(client):
    """Each request has its own thread, and the kernel may run the thread of the first request last."""
    client.call("execute", session_id="s", code="seen = []")
    for _ in range(10):
        client.call("execute", session_id="s", code="seen.clear()")
        for request in [client.send("execute", session_id="s", code="seen.append(%d)" % i) for i in range(20)]:
            client.wait(request)
        assert client.call("execute", session_id="s", code="seen")["result"]["last_value_repr"] == str(list(range(20)))


def test_a_policy_value_that_a_short_one_hides_is_checked_too(client):
    for key, good in (("print_last_expression", False), ("timeout_ms", 1000)):
        for order in (("policy", key), (key, "policy")):
            values = {"policy": {key: []}, key: good}
            error = client.call("execute_once", code="1", **{name: values[name] for name in order})["error"]
            assert error["data"]["code"] == "invalid_policy" and key in error["message"]

"""Other servers' dialects, with the clients that they have: E2B's code interpreter SDK, sandbox-fusion, and the requests
that Dify makes. The scripts in tests/dialects print what these clients get; this file checks it."""
import base64
import contextlib
import json
import os
import re
import socket
import struct
import time

import pytest

from conftest import ROOT
from dialect_clients import dialect_client  # noqa: F401
from serving import dial, serving, token_line
from waiting import wait_until

ALL = ["--e2b", "--dify-sandbox", "--sandbox-fusion"]
LIMITS = ["--files", "full", "--allow-import", "os", "--timeout", "2s", "--cpu-time-seconds", "1"]
ROUTES = [("POST", "/execute"), ("POST", "/contexts"), ("GET", "/contexts"), ("DELETE", "/contexts/e2b-default"),
          ("POST", "/contexts/e2b-default/restart"), ("POST", "/v2/sandboxes"), ("POST", "/v2/sandboxes/mine/connect"),
          ("DELETE", "/sandboxes/mine"), ("POST", "/sandboxes/mine/timeout"), ("GET", "/files?path=x"), ("POST", "/files?path=x"), ("POST", "/filesystem.Filesystem/Stat"),
          ("POST", "/process.Process/Start"), ("POST", "/process.Process/List"), ("POST", "/v1/sandbox/run"), ("GET", "/v1/sandbox/dependencies"),
          ("GET", "/v1/sandbox/dependencies/refresh"), ("POST", "/v1/sandbox/dependencies/update"), ("POST", "/run_code"), ("POST", "/submit")]
# The statuses of routes that do not answer 200 to an empty body.
ANSWERS = {("POST", "/v2/sandboxes"): (201,), ("DELETE", "/sandboxes/mine"): (204, 404), ("POST", "/sandboxes/mine/timeout"): (400,), ("GET", "/files?path=x"): (404,),
           ("POST", "/files?path=x"): (400,), ("POST", "/filesystem.Filesystem/Stat"): (400,), ("POST", "/process.Process/List"): (501,)}
OPEN = [("GET", "/health"), ("GET", "/v1/ping")]
BODIES = {"/execute": {"code": "6 * 7"}, "/v1/sandbox/run": {"language": "python3", "code": "print(42)"},
          "/v1/sandbox/dependencies/update": {"language": "python3"}, "/run_code": {"language": "python", "code": "print(42)"},
          "/submit": {"dataset": "d", "id": 1, "completion": "```python\nprint(42)\n```", "config": {"language": "python", "provided_data": {
              "test": [{"input": {"stdin": ""}, "output": {"stdout": "42"}}]}}}}


def route_of(path):
    """Returns the name of a route as in the log."""
    for part, name in (("e2b-default", "{id}"), ("/mine", "/{id}"), ("m/Stat", "m/{call}"), ("s/List", "s/{call}")):
        path = path.replace(part, name)
    return path.partition("?")[0]


@pytest.fixture(scope="module")
def server(own):
    with serving(own, *ALL, *LIMITS, tcp=True) as running:
        yield running


@pytest.fixture(scope="module")
def guarded(own):
    tokens = [token_line("alice", "alice"), token_line("bob", "bob", "timeout_ms=300", "address_space_bytes=128M"),
              token_line("carol", "carol", "rate=1")]
    with serving(own, *ALL, *LIMITS, "--audit-log", "FOLDER/audit", tcp=True, tokens=tokens) as running:
        yield running


def seen_by(client, script, server, capsys, **more):
    report = client(script, {"url": "http://" + server.tcp, **more})
    with capsys.disabled():
        print("\n" + report.pop("sdk" if "sdk" in report else "client"))
    return report


# ---- E2B ----

def good(told, text, stdout=""):
    return told["error"] is None and told["text"] == text and told["stdout"] == stdout and told["stderr"] == ""


def test_the_e2b_sdk(server, dialect_client, capsys):  # noqa: F811
    seen = seen_by(dialect_client, "e2b_client.py", server, capsys)
    assert good(seen["value"], "21", "hej 20\n") and seen["value"]["count"] == 1
    assert good(seen["kept"], "40") and seen["kept"]["count"] == 2
    assert good(seen["string"], "text") and good(seen["none"], None)
    name, value, traceback = seen["error"]["error"]
    assert (name, value) == ("ZeroDivisionError", "division by zero") and "return 1 / 0" in traceback and "line 3" in traceback
    assert seen["syntax"]["error"][0] == "SyntaxError" and "x ==== 1" in seen["syntax"]["error"][2]
    assert seen["error"]["stderr"] == seen["syntax"]["stderr"] == seen["timeout"]["stderr"] == ""     # the traceback is not on stderr too
    assert seen["caught"]["stderr"].startswith("before\nTraceback (most") and seen["caught"]["stderr"].endswith("division by zero\nafter\n")
    assert seen["caught"]["error"] is None and good(seen["caught"] | {"stderr": ""}, "3")
    assert seen["both"]["stderr"].count("ZeroDivisionError") == 1 and seen["both"]["error"][0] == "KeyError"
    assert "KeyError" not in seen["both"]["stderr"]
    assert seen["refused"]["error"][1].startswith("import 'subprocess' not allowed")
    assert good(seen["environment"], "värde") and good(seen["environment_after"], None)
    assert seen["timeout"]["error"][:2][0] == "TimeoutError" and "timeout_ms=2000" in seen["timeout"]["error"][1]
    assert good(seen["after_timeout"], "20")
    assert seen["cpu"]["error"][0] == "TimeoutError" and good(seen["after_cpu"], "20")
    assert seen["killed"]["error"][0] and "timeout" in seen["killed"]["error"][1] and seen["killed"]["error"][2] == "" and good({**seen["after_killed"], "stderr": ""}, "fresh")
    assert "the earlier state of the context is lost" in seen["after_killed"]["stderr"]
    assert seen["big"] == [500000, "[pyexec: stdout is cut: the script wrote 6000001 bytes]\n"]
    assert seen["javascript"][0] == "SandboxException" and "'javascript' is not supported" in seen["javascript"][1]
    assert seen["async"] == [["0", "2", "4", "6", "8"], ["0", "1", "2", "3", "4"]]


def test_the_e2b_sdk_sees_rich_results(server, dialect_client, capsys):  # noqa: F811
    shown, value = seen_by(dialect_client, "e2b_client.py", server, capsys, only="rich")["rich"]
    assert shown.pop("is_main_result") is False and value.pop("is_main_result") is True
    assert shown == value == {"text": "plain", "html": "<b>html</b>", "markdown": "*md*", "svg": "<svg/>", "png": "iVBORw==",
                              "pdf": "JVBERg==", "latex": "$x$", "json": {"a": 1}, "javascript": "f()"}


def test_the_e2b_sdk_hears_it_as_it_comes(server, dialect_client, capsys):  # noqa: F811
    seen = seen_by(dialect_client, "e2b_client.py", server, capsys, only="streamed")["streamed"]
    first, second = [entry for entry in seen if entry[0] == "stdout"]
    assert first[1] == "one\n" and second[1] == "två 🐍\n" and second[2] - first[2] > 0.4
    kinds = [kind for kind, *_ in seen]
    assert kinds.index("stderr") < kinds.index("result") < kinds.index("error") and ["result", "shown"] in [entry[:2] for entry in seen]


def test_a_run_of_the_e2b_sdk_that_it_gives_up_ends(server, dialect_client, capsys):  # noqa: F811
    gave_up, after, seconds = seen_by(dialect_client, "e2b_client.py", server, capsys, only="cancelled")["cancelled"]
    assert gave_up == "TimeoutException" and after == "2" and seconds < 1
    assert server.wait_for_line(route="/execute", status=499, outcome="cancelled")


def test_contexts_of_the_e2b_sdk(server, dialect_client, capsys):  # noqa: F811
    seen = seen_by(dialect_client, "e2b_client.py", server, capsys, only="contexts")["contexts"]
    assert seen["made"] == [["e2b-", "python", "/home/user"], ["e2b-", "python", "/home/user/work"]]
    assert good(seen["own"], "first") and seen["other"]["error"][0] == "NameError"
    assert seen["file"]["error"][0] == "FileNotFoundError" and good(seen["there"], "('/home/user/work', ['here'])")
    assert seen["listed"] == [[False, False, "/home/user"], [False, True, "/home/user/work"], [True, False, "/home/user"]]
    assert seen["restarted"][0][0] == "Cancelled" and seen["restarted"][1][0] == "NameError"
    for refused in ("javascript", "outside", "above"):
        assert seen[refused][0] == "SandboxException" and "400" in seen[refused][1], refused
    for absent in ("removed", "removed_again", "restart_unknown"):
        assert seen[absent][0] == "NotFoundException" and seen[absent][1].endswith(" not found"), absent
    assert seen["after"] == 2


def separate(seen):
    assert seen["ids"][0] != seen["ids"][1]
    assert good(seen["first"], "('first', 'first')") and good(seen["connected"], "('first', 'first')")
    assert good(seen["second"], "('second', 'second')") and good(seen["second_after"], "('second', 'second')")
    assert sorted(seen["contexts"][0]) == [False, True] and seen["contexts"][1] == [False]
    assert seen["foreign"][0] == "NotFoundException" and seen["killed"] == [True, False, False] and seen["second_killed"]
    assert all(kind in ("NotFoundException", "SandboxNotFoundException") for kind, _ in seen["after"]), seen["after"]
    assert "environment variables" in seen["envs"][1]


def test_sandboxes_of_the_e2b_sdk_are_separate(server, dialect_client, capsys):  # noqa: F811
    separate(seen_by(dialect_client, "e2b_client.py", server, capsys, only="sandboxes", api_key="e2b_0")["sandboxes"])
    assert not [s for s in server.ask("GET", "/v1/sessions").json()["sessions"] if s["id"].startswith("sandbox-")]


def test_the_e2b_sdk_has_its_api_key_as_token(guarded, dialect_client, capsys):  # noqa: F811
    separate(seen_by(dialect_client, "e2b_client.py", guarded, capsys, only="sandboxes", api_key="alice")["sandboxes"])


@pytest.mark.parametrize("sandbox", ["a:b", "../x", "a b", "x" * 65, "ö", "a/b", "."])
def test_ids_of_e2b_sandboxes_are_checked(server, sandbox):
    for method, path in (("POST", "/execute"), ("GET", "/contexts"), ("POST", "/contexts"), ("DELETE", "/contexts/e2b-default")):
        answer = server.ask(method, path, {"code": "1"} if method == "POST" else None, headers={"E2b-Sandbox-Id": sandbox.encode()})
        assert answer.status == 400 and "E2b-Sandbox-Id" in answer.body.decode(), (method, path)


def test_a_sandbox_of_e2b_is_not_reached_by_a_context_s_id(server):
    def ask(path, body, sandbox):
        return server.ask("POST", path, body, headers={"E2b-Sandbox-Id": sandbox})
    context = ask("/contexts", {}, "mine").json()["id"]
    assert ask("/execute", {"code": "1", "context_id": context}, "mine").status == 200
    for sandbox, named in (("", "mine:" + context), ("other", context), ("other", "mine:" + context), ("", context), ("", "mine:e2b-default")):
        assert ask("/execute", {"code": "1", "context_id": named}, sandbox).status == 404, (sandbox, named)
    assert server.ask("DELETE", "/sandboxes/mine").status == 204 and server.ask("DELETE", "/sandboxes/mine").status == 404
    assert ask("/execute", {"code": "1", "context_id": context}, "mine").status == 404


HOME = "/home/user/"


def test_files_of_the_e2b_sdk(server, dialect_client, capsys):  # noqa: F811
    seen = seen_by(dialect_client, "e2b_client.py", server, capsys, only="files", api_key="e2b_0")["files"]
    assert not seen["unborn"] and seen["written"] == ["ö 1.txt", "file", HOME + "in/ö 1.txt", None]
    assert seen["read"] == "hej 🐍" and good(seen["by_code"], "hej 🐍") and seen["of_code"] == [None, "x"]
    assert seen["bytes"] == [1 << 20, True] and seen["stream"] == 1 << 20 and seen["octets_read"] == "of a file" and seen["empty"][1] == ""
    assert [entry[2] for entry in seen["many"]] == [HOME + "m/1", HOME + "m/2"] and seen["many_read"] == ["one", "two"]
    assert {seen[name][0] for name in ("missing", "missing_info", "missing_list", "rename_missing")} == {"FileNotFoundException"}
    assert seen["exists"] == [True, True, True, False, False] and seen["info"] == ["1", "file", HOME + "m/1", 3] and seen["permissions"] == "d"
    assert seen["made"] == [True, False, False] and seen["listed"] == [["e", "dir", HOME + "d/e"]]
    assert seen["deep"] == [HOME + "d/e", HOME + "d/e/f"]
    assert seen["renamed"] == ["moved", "file", HOME + "d/moved", 3] and seen["moved"] == [False, "one"]
    assert seen["folder_renamed"][:3] == ["n", "dir", HOME + "n"] and seen["in_it"] == "two"
    assert seen["removed"] == [None, False, None, None, False]


def test_files_of_the_e2b_sdk_stay_inside_and_are_bounded(server, dialect_client, capsys):  # noqa: F811
    seen = seen_by(dialect_client, "e2b_client.py", server, capsys, only="files", api_key="e2b_0")["files"]
    assert {kind for kind, _ in (*seen["outside"], *seen["write_outside"], *seen["through"], seen["home"])} == {"InvalidArgumentException"}
    assert seen["links"] == [["file_link", "symlink"], ["link", "symlink"]] and seen["tree"] == [False, True]
    assert seen["full"][0] == "nothing" and seen["full"][-1] == "NotEnoughSpaceException" and set(seen["full"]) == {"nothing", "NotEnoughSpaceException"}
    assert seen["too_large"][0] != "nothing" and "32 MiB" in seen["too_large"][1]


def test_a_client_that_sends_a_file_that_is_too_large_can_read_why(server):
    """The SDK sends the whole file before it reads. If the server closed the connection after its answer, sending would fail."""
    head = b"POST /files?path=large HTTP/1.1\r\nHost: %s\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n"
    with dial(server.tcp) as sock:
        sock.sendall(head % (server.tcp.encode(), 33 << 20))
        for _ in range(33):
            time.sleep(0.01)        # gives the server time to close the connection
            sock.sendall(bytes(1 << 20))
        got = sock.recv(65536)
    assert b" 413 " in got.split(b"\r\n")[0] and b"32 MiB" in got, got


def test_commands_of_the_e2b_sdk(server, dialect_client, capsys):  # noqa: F811
    seen = seen_by(dialect_client, "e2b_client.py", server, capsys, only="commands", api_key="e2b_0")["commands"]
    assert seen["file"] == [0, "__main__ %swork/a b.py /home/user värde ö 🐍\n" % HOME, ""]
    assert seen["absolute"] == seen["cwd"] == [0, "__main__ %swork/a b.py %swork None ö 🐍\n" % (HOME, HOME), ""]
    assert seen["code"][:2] == [0, "its $x \\n 42\n"] and seen["double"] == [0, "a 1\n", ""] and seen["lines"] == [0, "1\n2\n", ""]
    assert seen["fails"][:2] == [1, "before\n"] and "cell" not in seen["fails"][2] and 'fails.py", line 2, in f' in seen["fails"][2]
    assert seen["exit"] == [3, "", ""] and seen["missing"][0] == 2 and "can't open file '/home/user/none.py'" in seen["missing"][2]
    assert seen["syntax"][0] == 1 and "SyntaxError: invalid syntax" in seen["syntax"][2] and seen["timeout"][0] == 124
    assert seen["names"] == [0, "False\n", ""] and good(seen["kept"], "1") and seen["callback"][1] == ["7\n"] and seen["background"] == "8\n"
    assert {seen[name][0] for name in ("outside", "above", "cwd_outside")} == {"InvalidArgumentException"} and "no processes" in seen["list"][1]
    for command, (kind, says) in seen["refused"].items():
        assert kind == "InvalidArgumentException" and says.startswith("can't run '%s'" % command) and "python -c CODE" in says, command


def test_the_e2b_sdk_hears_commands_as_they_run(server, dialect_client, capsys):  # noqa: F811
    seen = seen_by(dialect_client, "e2b_client.py", server, capsys, only="commands_streamed", api_key="e2b_0")["commands_streamed"]
    status, stdout, stderr = seen["failed"]
    heard = seen["heard"]
    assert (status, stdout) == (1, "one å\n🐍") and stderr.startswith("badTraceback") and stderr.count("KeyError") == 1
    assert "cell" not in stderr and 'parts.py", line 8' in stderr
    assert heard[:3] == [["stdout", "one å\n"], ["stderr", "bad"], ["stdout", "🐍"]] and heard[-1] == ["kill", True]
    assert "".join(text for kind, text in heard if kind == "stderr") == stderr
    assert seen["caught"][:2] == [0, "after\n"] and seen["caught"][2].count("ZeroDivisionError") == 1 and "cell" not in seen["caught"][2]
    assert seen["parts"] == [["1\n", None]]
    assert seen["cut"] == [0, 1000000, "[pyexec: stdout is cut: the script wrote 3000001 bytes]\n"]
    assert seen["gave_up"][0] == "TimeoutException"
    assert seen["killed"][0] != 124 and seen["killed"][1] == "1\n"      # 124: it would have run until its limit


def test_sandboxes_of_the_e2b_sdk_end_when_their_time_is_over(server, dialect_client, capsys):  # noqa: F811
    seen = seen_by(dialect_client, "e2b_client.py", server, capsys, only="timeouts", api_key="e2b_0")["timeouts"]
    assert seen["first"] == "nothing" and "its timeout is over" in seen["ended"][1], seen["ended"]
    assert all(good(one, "1") for one in seen["live"])
    assert seen["at_once"] and seen["at_once"][0] != "nothing"
    assert seen["unknown"][0] == "SandboxNotFoundException" and "timeout is not a whole number" in seen["bad"][1]


def test_the_end_of_an_e2b_sandbox_ends_all_its_sessions_and_cancels_what_runs(server):
    def count():
        return len([one for one in server.ask("GET", "/v1/sessions").json()["sessions"] if one["id"].startswith(("sandbox-", "own:"))])
    sandbox = server.ask("POST", "/v2/sandboxes", {"timeout": 600}).json()["sandboxID"]
    context = server.ask("POST", "/contexts", {}, {"E2b-Sandbox-Id": sandbox}).json()["id"]
    for name, more in ((sandbox, {}), (sandbox, {"context_id": context}), ("own", {})):
        assert server.ask("POST", "/execute", {"code": "1", **more}, {"E2b-Sandbox-Id": name}).status == 200
    assert count() == 3
    with contextlib.closing(server.connection()) as connection:
        connection.request("POST", "/execute", json.dumps({"code": "import time\nprint('runs')\ntime.sleep(1.9)"}), {"E2b-Sandbox-Id": sandbox})
        response = connection.getresponse()
        assert b"runs" in response.readline()
        for name in (sandbox, "own"):
            assert server.ask("POST", "/sandboxes/%s/timeout" % name, {"timeout": 0}).status == 204
        wait_until(lambda: count() == 0, "a session is left")
        assert b"cancelled" in response.read()
    assert server.ask("POST", "/execute", {"code": "1"}, {"E2b-Sandbox-Id": sandbox}).status == 404
    assert server.ask("POST", "/execute", {"code": "1"}, {"E2b-Sandbox-Id": "own"}).status == 200       # it begins again without state
    assert server.ask("DELETE", "/sandboxes/own").status == 204


@pytest.mark.parametrize("timeout", [-1, 86401, 1.5, "5", True, 10 ** 30, [], {}])
def test_a_bad_timeout_of_an_e2b_sandbox_is_refused(server, timeout):
    for path in ("/v2/sandboxes", "/v2/sandboxes/own/connect", "/sandboxes/own/timeout"):
        answer = server.ask("POST", path, {"timeout": timeout})
        assert answer.status == 400 and answer.json()["code"] == 400, (path, answer.body)
    assert server.ask("POST", "/sandboxes/own/timeout", {}).status == 400
    assert server.ask("POST", "/sandboxes/sandbox-none/timeout", {"timeout": 5}).status == 404


def read_frame(response):
    flags, length = struct.unpack(">BI", response.read(5))
    return flags, json.loads(response.read(length))


def test_frames_of_a_command_come_while_it_runs(server):
    message = json.dumps({"process": {"cmd": "/bin/bash", "args": ["-l", "-c", "python3 -c 'import time\ntry:\n    print(1, flush=True)\n"
                                                                   "    while True: time.sleep(0.01)\nexcept KeyboardInterrupt:\n    print(2)'"]}}).encode()
    with contextlib.closing(server.connection()) as connection:
        connection.request("POST", "/process.Process/Start", struct.pack(">BI", 0, len(message)) + message, {"E2b-Sandbox-Id": "frames"})
        response = connection.getresponse()
        assert response.headers["Content-Type"] == "application/connect+json"
        assert read_frame(response) == (0, {"event": {"start": {"pid": 1}}})
        assert read_frame(response) == (0, {"event": {"data": {"stdout": "MQo="}}})
        assert server.ask("POST", "/v1/sessions/frames:e2b-default/interrupt").status == 204
        assert read_frame(response) == (0, {"event": {"data": {"stdout": "Mgo="}}})
        assert read_frame(response) == (0, {"event": {"end": {"exitCode": 0, "exited": True, "status": "exit status 0"}}})
        assert read_frame(response) == (2, {}) and response.read() == b""


@pytest.mark.parametrize("body", [b"", b"\0", b"\0\0\0\0\2", b"\0\0\0\0\3{}", b"\1\0\0\0\2{}", b"\0\xff\xff\xff\xff{}", b"\0\0\0\0\2[]",
                                  b"\0\0\0\0\2{}", b'\0\0\0\0\x0d{"process":1}'])
def test_bad_frames_of_e2b_commands(server, body):
    answer = server.ask("POST", "/process.Process/Start", body)
    assert answer.status == 200 and answer.body[:1] == b"\2" and json.loads(answer.body[5:])["error"]["code"] == "invalid_argument"


def frame(message):
    text = json.dumps(message).encode()
    return b"\0" + len(text).to_bytes(4, "big") + text


def test_a_nul_cuts_no_path_and_no_command_of_e2b(server):
    """C does not read the part after a NUL: "keep\\0.bak" would have been "keep"."""
    headers = {"E2b-Sandbox-Id": "nul"}

    def call(name, **body):
        return server.ask("POST", "/filesystem.Filesystem/" + name, body, headers=headers)
    server.ask("POST", "/execute", {"code": "open('keep', 'w').close()"}, headers=headers)
    for name, body in (("Remove", {"path": "keep\0.bak"}), ("Move", {"source": "keep\0", "destination": "x"}), ("Stat", {"path": "keep\0"}),
                       ("Move", {"source": "keep", "destination": "x\0y"}), ("MakeDir", {"path": "d\0"}), ("ListDir", {"path": "\0"})):
        answer = call(name, **body)
        assert answer.status == 400 and "NUL" in answer.json()["message"], (name, body, answer.body)
    assert [entry["name"] for entry in call("ListDir", path=HOME).json()["entries"]] == ["keep"]
    for process in ({"args": ["-l", "-c", "python -c 'print(1)\0'"]}, {"args": ["-l", "-c", "python keep\0"]},
                    {"args": ["-l", "-c", "python keep"], "cwd": HOME + "\0x"}, {"args": ["-l", "-c", "python keep"], "envs": {"A": "b\0c"}}):
        answer = server.ask("POST", "/process.Process/Start", frame({"process": process}), headers=headers)
        assert b"NUL" in answer.body and b"invalid_argument" in answer.body, (process, answer.body)
    for path, body in (("/contexts", {"cwd": HOME + "\0x"}), ("/execute", {"code": "1", "context_id": "e2b-default\0x"}),
                       ("/execute", {"code": "1", "env_vars": {"A": "b\0c"}}), ("/run_code", {"code": "1", "language": "python\0"})):
        answer = server.ask("POST", path, body)
        assert answer.status in (400, 422) and b"NUL" in answer.body, (path, body, answer.body)
    given = server.ask("POST", "/run_code", {"code": "print(ascii(input()))", "language": "python", "stdin": "a\0b"})
    assert "a\\x00b" in given.json()["run_result"]["stdout"], given.body


@pytest.mark.parametrize("path", ["p%00q", "p%zz", "%", "p%f"])
def test_a_malformed_path_of_e2b_s_query_writes_nothing(server, path):
    """The name in the form was taken instead."""
    headers = {"E2b-Sandbox-Id": "malformed"}
    form = b'--X\r\nContent-Disposition: form-data; name="file"; filename="other"\r\n\r\n1\r\n--X--\r\n'
    answer = server.ask("POST", "/files?path=" + path, form, headers={**headers, "Content-Type": "multipart/form-data; boundary=X"})
    assert answer.status == 400 and "malformed" in answer.json()["message"], answer.body
    assert "malformed" in server.ask("GET", "/files?path=" + path, headers=headers).json()["message"]
    assert server.ask("POST", "/filesystem.Filesystem/ListDir", {"path": HOME}, headers=headers).json()["entries"] == []


def test_a_password_is_compared_to_its_end(guarded):
    for password, status in ((b"alice", 200), (b"alice\0x", 401), (b"alice\0", 401), (b"\0alice", 401)):
        basic = base64.b64encode(b"user:" + password).decode()
        answer = guarded.ask("POST", "/run_code", BODIES["/run_code"], headers={"Authorization": "Basic " + basic}, address=guarded.tcp)
        assert answer.status == status, password


def test_a_list_of_e2b_is_bounded_in_bytes(own):
    """The answer for 20,000 entries below a path of 900 bytes had 125 MB, because JSON writes each byte with six."""
    code = ("import os\nfor i in range(4):\n    os.mkdir(name := '\\x01' * 220 + str(i))\n    os.chdir(name)\n"
            "for i in range(8000): open('%05d' % i, 'w').close()\n")
    with serving(own, "--e2b", "--any-import", "--files", "full", "--timeout", "100s", "--cpu-time-seconds", "60") as running:
        assert b'"type":"error"' not in running.ask("POST", "/execute", {"code": code}, timeout=110).body
        answer = running.ask("POST", "/filesystem.Filesystem/ListDir", {"path": HOME, "depth": 9}, timeout=110)
        paths = [entry["path"] for entry in answer.json()["entries"]]
        assert answer.status == 200 and len(paths) > 4000 and sum(map(len, paths)) < 6 << 20


def test_the_e2b_sdk_in_debug_mode_alone(own, dialect_client):  # noqa: F811
    """The SDK gets only E2B_DEBUG=true, and uses its own ports."""
    for port in (49999, 49983):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                pytest.skip("another program has port %d" % port)
    with serving(own, "--e2b", "--files", "full", "--listen", "127.0.0.1:49999", "--listen", "127.0.0.1:49983"):
        seen = dialect_client("e2b_client.py", {})
    assert good(seen["value"], "42") and seen["command"] == [0, "7\n", ""] and seen["refused"][0] == "InvalidArgumentException"


def test_the_e2b_sdk_with_a_token(guarded, dialect_client, capsys):  # noqa: F811
    seen = seen_by(dialect_client, "e2b_client.py", guarded, capsys, token="alice")
    assert all(kind == "SandboxException" and message.startswith("401") for kind, message in seen["refused"])
    assert good(seen["value"], "42") and good(seen["context"], "1")


def test_home_of_e2b_is_the_workspace(server):
    code = "import os\nopen('/home/user/a.txt', 'w').write('x')\nprint(open('a.txt').read(), os.getcwd(), os.path.expanduser('~'))"
    assert b'"x /home/user /home/user\\n"' in server.ask("POST", "/execute", {"code": code}).body


def test_lines_of_e2b_are_one_object_each(server):
    answer = server.ask("POST", "/execute", {"code": "import time\nprint('ö\\x00')\ntime.sleep(0.1)\n7", "context_id": None})
    lines = [json.loads(line) for line in answer.body.splitlines()]
    assert answer.headers["Content-Type"] == "application/x-ndjson"
    assert [line["type"] for line in lines] == ["stdout", "result", "number_of_executions", "end_of_execution"]
    assert lines[0]["text"] == "ö\0\n" and abs(lines[0]["timestamp"] / 1e9 - time.time()) < 60
    assert lines[1] == {"type": "result", "is_main_result": True, "text": "7"}


def test_e2b_lives_through_silence(own):
    with serving(own, "--e2b", "--timeout", "20s") as patient:
        body = patient.ask("POST", "/execute", {"code": "import time\ntime.sleep(6.5)"}).body
    assert b'{"type":"keepalive"}\n' in body


@pytest.mark.parametrize("body, status, says", [
    (b"{", 400, "JSON"), (b"[]", 400, "JSON"), ({}, 400, "code"), ({"code": 1}, 400, "code"),
    ({"code": "1", "env_vars": ["x"]}, 400, "env_vars"), ({"code": "1", "env_vars": {"x": 1}}, 400, "env_vars"),
    ({"code": "1", "context_id": "e2b-none"}, 404, "Context e2b-none not found"),
    ({"code": "1", "context_id": "../x"}, 404, "not found"), ({"code": "1", "context_id": "s"}, 404, "not found"),
    ({"code": "1", "context_id": "e2b-default", "language": "python"}, 400, "Only one of"),
    ({"code": "1", "language": "R"}, 400, "'R' is not supported")])
def test_bad_requests_of_e2b(server, body, status, says):
    answer = server.ask("POST", "/execute", body)
    assert answer.status == status and says in answer.body.decode() and answer.headers["Content-Type"].startswith("text/plain")


def test_contexts_are_a_principal_s_own(guarded):
    made = guarded.ask("POST", "/contexts", {}, token="alice", address=guarded.tcp).json()
    ids = {who: [c["id"] for c in guarded.ask("GET", "/contexts", token=who, address=guarded.tcp).json()] for who in ("alice", "bob")}
    assert made["id"] in ids["alice"] and made["id"] not in ids["bob"]
    for method, path in (("DELETE", "/contexts/" + made["id"]), ("POST", "/contexts/%s/restart" % made["id"])):
        assert guarded.ask(method, path, token="bob", address=guarded.tcp).status == 404
    assert guarded.ask("POST", "/execute", {"code": "1", "context_id": made["id"]}, token="bob", address=guarded.tcp).status == 404


def test_contexts_are_not_kept_without_end(own, nothing_left):
    with serving(own, "--e2b") as fresh:
        made = [fresh.ask("POST", "/contexts").json()["id"] for _ in range(1010)]
        for context in made[-3:]:
            fresh.ask("POST", "/execute", {"code": "1", "context_id": context})
        listed = [context["id"] for context in fresh.ask("GET", "/contexts").json()]
    assert len(listed) == 1001 and set(made[:10]).isdisjoint(listed) and set(made[10:]) <= set(listed)


# ---- SandboxFusion ----


def test_fields_that_sandbox_fusion_does_not_have_are_named(server):
    body = {"language": "python", "code": "print(open(0).read())", "input": "Hello", "timeout": 3}
    answer = server.ask("POST", "/run_code", body).json()
    assert answer["status"] == "Success" and answer["message"] == "unknown fields are ignored: 'input', 'timeout'; standard input is the field 'stdin'"
    assert server.ask("POST", "/run_code", {"language": "python", "code": "1", "stdin": "x"}).json()["message"] == ""
    ended = server.ask("POST", "/run_code", {"language": "python", "code": "print(7)\nexit()"}).json()
    assert (ended["status"], ended["run_result"]["stdout"], ended["run_result"]["stderr"]) == ("Success", "7\n", "")


@pytest.fixture(scope="module")
def fusion(server, dialect_client):  # noqa: F811
    return dialect_client("fusion_client.py", {"url": "http://" + server.tcp})


def ran(seen, status="Success", run="Finished", code=0, out=None):
    result = seen["run_result"]
    return (seen["status"] == status and result["status"] == run and result["return_code"] == code and seen["compile_result"] is None
            and seen["executor_pod_name"] is None and seen["message"] == "" and (out is None or result["stdout"] == out))


def test_the_sandbox_fusion_client(server, fusion, capsys):
    seen = fusion
    with capsys.disabled():
        print("\n" + seen["client"])
    assert ran(seen["ok"], out="hej 🐍\n") and seen["ok"]["run_result"]["stderr"] == "" and seen["ok"]["files"] == {}
    assert 0 < seen["ok"]["run_result"]["execution_time"] < 1 and seen["ok"]["summary"] == "Success"
    assert ran(seen["failed"], "Failed", code=1) and seen["failed"]["run_result"]["stderr"].endswith("ZeroDivisionError: division by zero\n")
    assert ran(seen["exit"], "Failed", code=3) and seen["exit"]["run_result"]["stderr"] == ""
    assert ran(seen["stdin"], out="cba\n") and ran(seen["async"], out="2\n")
    assert ran(seen["late"], "Failed", "TimeLimitExceeded", None, "before\n") and seen["late"]["summary"] == "late"
    assert 0.4 < seen["late"]["run_result"]["execution_time"] < 1.5
    assert ran(seen["ceiling"], "Failed", "TimeLimitExceeded", None) and 1.9 < seen["ceiling"]["run_result"]["execution_time"] < 3
    assert ran(seen["cpu"], "Failed", "TimeLimitExceeded", None)
    assert ran(seen["refused"], "Failed", code=1) and "import 'subprocess' not allowed" in seen["refused"]["run_result"]["stderr"]
    assert ran(seen["files"], out="hej\n") and seen["files"]["files"] == {"out[1].txt": "skrivet", "in/ö.txt": "hej"}
    assert "Sandbox responded with error: files: 'x' is not base64" in seen["bad_file"]
    assert "Sandbox responded with error: files: outside sandbox" in seen["outside"]
    assert seen["big"] == [500000, "[pyexec: stdout is cut: the script wrote 6000001 bytes]\n"]
    assert seen["concurrent"] == ["%d\n" % n for n in range(8)]
    assert "422" in seen["cpp"] and "Input should be 'python'" in seen["cpp"]
    assert "timed out" in seen["cancelled"][0] and server.wait_for_line(route="/run_code", status=499, outcome="cancelled")


def test_sandbox_fusion_as_verl_calls_it(fusion):
    seen = fusion
    (status, memory), (_, more), (_, tiny) = seen["memory"], seen["memory_more"], seen["memory_tiny"]
    assert status == 200 and ran(memory, "Failed", code=1) and "MemoryError" in memory["run_result"]["stderr"]
    assert ran(more)                                    # a value above the ceiling (512 MiB) becomes the ceiling
    assert tiny["status"] == "SandboxError" and "address_space_bytes" in tiny["message"] and tiny["run_result"] is None
    assert seen["unknown"][0] == 422 and seen["unknown"][1]["detail"][0]["loc"] == ["body", "language"]
    assert seen["missing"]["detail"] == [{"type": "missing", "loc": ["body", "code"], "msg": "Field required"}]
    assert seen["wrong"] == [422] * 6 and seen["no_json"]["detail"][0]["type"] == "json_invalid" and seen["ping"] == "pong"


def test_submissions_to_sandbox_fusion_are_verified(server, dialect_client, capsys):  # noqa: F811
    seen = seen_by(dialect_client, "fusion_client.py", server, capsys, only="submit")
    right, wrong, every = seen["right"], seen["wrong"], seen["all"]
    assert right["accepted"] and right["id"] == 1 and right["extracted_code"] == "n = int(input())\nprint(n * 2)"
    assert [test["passed"] for test in right["tests"]] == [True] * 5 and ran(right["tests"][3]["exec_info"], out="6\n")
    assert right["tests"][3]["test_info"] == {"input": {"stdin": "3"}, "output": {"stdout": "6"}}
    assert not wrong["accepted"] and wrong["id"] == "two" and [test["passed"] for test in wrong["tests"]] == [True, False]    # it stops there
    assert ran(wrong["tests"][1]["exec_info"], out="4\n")
    assert [test["passed"] for test in every["tests"]] == [True, False, False, True, True] and not every["accepted"]
    one, two, three, *_ = [test["exec_info"] for test in every["tests"]]
    assert ran(one, out="1") and one["run_result"]["stderr"] == "NoneType: None\n" and ran(three, "Failed", code=4, out="")
    assert ran(two, "Failed", "TimeLimitExceeded", None) and re.search("timeout_ms|cpu_time_seconds", two["run_result"]["stderr"])
    assert [test["passed"] for test in seen["lines"]["tests"]] == [True, False]
    shown, whole = [test["test_info"]["input"]["stdin"] for test in seen["long"]["tests"]]
    assert shown == "å" * 250 + "..." + "å" * 250 and whole == seen["full"]["tests"][0]["test_info"]["input"]["stdin"] == "å" * 3000
    assert seen["text"]["accepted"] and seen["async"] and not seen["safe"]
    assert not seen["no_code"]["accepted"] and seen["no_code"]["extracted_code"] == ""
    big = seen["big"]["tests"][0]["exec_info"]["run_result"]
    assert len(big["stdout"]) == 32768 and big["stderr"] == "[pyexec: stdout is cut: the script wrote 6000001 bytes]\n"


def test_submissions_to_sandbox_fusion_that_can_not_be_judged(server, dialect_client, capsys):  # noqa: F811
    refused = seen_by(dialect_client, "fusion_client.py", server, capsys, only="submit")["refused"]
    for name, status, says in (("no_rows", 400, "has no datasets"), ("rows", 400, "has no datasets"), ("no_tests", 400, "1 to 10000 tests"),
                               ("other_class", 400, "only CommonOJDataset"), ("logic", 400, "between ``` fences"),
                               ("cpp", 422, "Input should be 'python'"), ("no_language", 400, "language field must exist"),
                               ("files", 400, "test[0] is not"), ("odd", 400, "test[0] is not")):
        assert "code %d" % status in refused[name] and says in refused[name], (name, refused[name])


def test_the_time_of_a_submission_ends_at_the_principal_s_ceiling(guarded):
    config = {**BODIES["/submit"]["config"], "run_timeout": 60}
    body = {**BODIES["/submit"], "completion": "```python\nimport time\ntime.sleep(9)\n```", "config": config}
    answer = guarded.ask("POST", "/submit", body, token="bob", address=guarded.tcp).json()
    assert answer["tests"][0]["exec_info"]["run_result"]["status"] == "TimeLimitExceeded" and not answer["accepted"]
    assert guarded.wait_for_line(route="/submit", principal="bob", status=200, outcome="failed")


def test_sandbox_fusion_with_a_token_in_the_url(guarded, dialect_client):  # noqa: F811
    host = guarded.tcp
    assert "401" in dialect_client("fusion_client.py", {"url": "http://" + host, "once": True})["once"]
    assert "401" in dialect_client("fusion_client.py", {"url": "http://any:wrong@" + host, "once": True})["once"]
    assert "Success" in dialect_client("fusion_client.py", {"url": "http://any:alice@" + host, "once": True})["once"]


def test_limits_of_sandbox_fusion_end_at_the_principal_s_ceiling(guarded):
    answer = guarded.ask("POST", "/run_code", {"language": "python", "code": "import time\ntime.sleep(9)", "memory_limit_MB": 999},
                         token="bob", address=guarded.tcp).json()
    assert answer["run_result"]["status"] == "TimeLimitExceeded" and answer["run_result"]["execution_time"] < 1


# ---- Dify ----

def test_dify(server, dialect_client, capsys):  # noqa: F811
    seen = seen_by(dialect_client, "dify_client.py", server, capsys)
    assert seen["node"] == {"result": "ååå", "n": [1, None, "ö 🐍"]}
    assert seen["failed"].startswith("process exited with code 1\nTraceback") and "return 1 / 0" in seen["failed"]
    status, raw = seen["raw"]
    assert status == 200 and raw["code"] == 0 and raw["data"]["stdout"] == "hej\n" and raw["data"]["exit_code"] == 1
    assert raw["data"]["error"] == "process exited with code 1\n" + raw["data"]["stderr"]
    warned = seen["warned"][1]["data"]
    assert warned["error"] == "" and warned["stderr"] and warned["stdout"] == "fine\n"
    assert seen["preload"] == "loaded\n" and "NameError" in seen["state"]
    assert seen["timeout"].startswith("process exited with code 124\n") and "timeout_ms=2000" in seen["timeout"]
    assert "import 'subprocess' not allowed" in seen["refused"] and "network disabled" in seen["network"]
    assert seen["nodejs"] == [400, {"code": -400, "message": "unsupported language", "data": None}] == seen["of_nodejs"]
    for bad in ("missing", "no_language", "not_code", "nul"):
        assert seen[bad][0] == 200 and seen[bad][1]["code"] == -400 and seen[bad][1]["data"] is None, bad
    assert seen["no_json"]["code"] == -400
    assert seen["big"] == [500000, "[pyexec: stdout is cut: the script wrote 6000001 bytes]\n"]
    listed = [200, {"code": 0, "message": "success", "data": {"dependencies": []}}]
    assert seen["dependencies"] == seen["refreshed"] == listed
    assert seen["updated"] == {"code": 0, "message": "success", "data": {}} and seen["health"] == "ok"
    assert seen["cancelled"] < 2 and server.wait_for_line(route="/v1/sandbox/run", status=499, outcome="cancelled")


def test_dify_with_its_key(guarded, dialect_client):  # noqa: F811
    url = "http://" + guarded.tcp
    assert dialect_client("dify_client.py", {"url": url, "once": True})["once"] == "got status code 401"
    assert dialect_client("dify_client.py", {"url": url, "key": "alice", "once": True})["once"] == "nothing: 1\n"


def test_dify_has_the_network_that_it_asks_for_where_the_policy_gives_it(own):
    code = "import socket\ntry:\n    socket.create_connection(('127.0.0.1', 1))\nexcept OSError as error:\n    print(error)"
    with serving(own, "--dify-sandbox", "--network") as open_:
        for more, granted in (({"enable_network": True}, True), ({"enable_network": False}, False), ({}, False)):
            body = {"language": "python3", "code": code, **more}
            out = open_.ask("POST", "/v1/sandbox/run", body).json()["data"]["stdout"]
            assert ("refused" in out and "disabled" not in out) if granted else "network disabled" in out, more


FOR_VERL = "string,re,datetime,collections,heapq,bisect,copy,math,random,statistics,itertools,functools,operator,io,json,typing,traceback"
VERL = """
from copy import *
from operator import *
from io import *
from sys import *
from builtins import *
from typing import *
import sys, io, json
class Solution:
    def add(self, a, b):
        return a + b
if __name__ == '__main__':
    print(json.dumps(getattr(globals()['Solution'](), 'add')(*map(json.loads, sys.stdin.read().split()))))
"""


def test_the_wrapper_that_verl_puts_around_a_function(own):
    """With the flags of docs/integrations/sandboxfusion.md."""
    with open(os.path.join(ROOT, "docs/integrations/sandboxfusion.md")) as page:
        assert "--preload-imports " + FOR_VERL in page.read()
    with serving(own, "--sandbox-fusion", "--files", "full", "--any-import", "--address-space-bytes", "4G", "--preload-imports", FOR_VERL) as server:
        body = {"language": "python", "code": VERL, "stdin": "1\n2", "memory_limit_MB": 1024, "files": {}, "fetch_files": []}
        assert ran(server.ask("POST", "/run_code", body).json(), out="3\n")


# ---- Malformed requests ----

ODD = [None, True, 0, -1, 1.5, 1e300, "", "\0", "\ud800", "x" * 100000, "../x", "/etc/passwd", [], [[]], [None], {}, {"": ""}, {"a": {"b": []}}, {"=": "x"},
       {"../x": "eA=="}, {"x": "***"}, {"x/": "eA=="}, ["[", "\\", "*" * 5000, "../x", ""]]
MEMBERS = {"/execute": ["code", "context_id", "language", "env_vars"], "/contexts": ["cwd", "language"],
           "/v1/sandbox/run": ["code", "language", "preload", "enable_network"], "/v1/sandbox/dependencies/update": ["language"],
           "/run_code": ["code", "language", "stdin", "files", "fetch_files", "run_timeout", "memory_limit_MB", "compile_timeout"],
           "/submit": ["dataset", "id", "completion", "config"]}


@pytest.mark.parametrize("path", MEMBERS)
def test_odd_values_are_answered(server, path):
    for member in MEMBERS[path]:
        for value in ODD:
            answer = server.ask("POST", path, json.dumps({**BODIES.get(path, {}), member: value}))
            assert answer.status in (200, 400, 404, 422), (member, value, answer.status, answer.body)
            for line in answer.body.splitlines() if "json" in answer.headers["Content-Type"] else ():
                json.loads(line)
    for body in (b"", b"null", b"[" * 100000, b'{"code":' * 1000, b"\xff", b'{"code": "1", "code": "2"}'):
        assert server.ask("POST", path, body).status in (200, 400, 404, 422), body[:20]
    assert server.result("1 + 1")["last_value_repr"] == "2"


# ---- Who may call ----

def call(server, method, path, **more):
    return server.ask(method, path, BODIES.get(path), **more)


def test_they_are_off_unless_asked_for(own):
    with serving(own) as plain:
        assert {(route, call(plain, *route).status) for route in ROUTES + OPEN} == {(route, 404) for route in ROUTES + OPEN}


@pytest.mark.parametrize("flag, there", [("--e2b", "/contexts"), ("--dify-sandbox", "/v1/sandbox/dependencies?language=python3"),
                                         ("--sandbox-fusion", "/v1/ping")])
def test_each_has_a_flag_and_a_key_of_its_own(own, flag, there):
    paths = ["/contexts", "/v1/sandbox/dependencies?language=python3", "/v1/ping"]
    with serving(own, flag) as by_flag:
        assert [path for path in paths if by_flag.ask("GET", path).status == 200] == [there]
    with serving(own, config="[serve]\n%s = true\n" % flag[2:].replace("-", "_")) as by_key:
        assert [path for path in paths if by_key.ask("GET", path).status == 200] == [there]


@pytest.mark.parametrize("method, path", ROUTES)
def test_without_a_token_file_a_loopback_address_asks_for_no_token(server, method, path):
    query = path + "?language=python3" if "dependencies" in path and method == "GET" else path
    for address in (server.tcp, server.socket):
        assert server.ask(method, query, BODIES.get(path), address=address).status in ANSWERS.get((method, path), (200,)), address
    for principal in ("loopback", "local"):
        server.wait_for_line(route=route_of(path), method=method, principal=principal)


def test_without_a_token_file_only_their_routes_are_there_on_tcp(server):
    assert server.execute("1", address=server.tcp).status == 401
    assert server.ask("GET", "/v1/sessions", address=server.tcp).status == 401
    assert server.execute("1").status == 200


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0"])
def test_without_a_token_file_no_other_address_is_taken(own, open_folder, address):
    done = own.run("serve", *ALL, "--listen", address)
    assert done.returncode == 125 and b"token_file" in done.stderr and b"hint" in done.stderr, done.stderr


def test_runs_with_the_network_are_no_callers_without_a_token(own):
    """Scripts with network reach the loopback address too, and could use the contexts of others."""
    done = own.run("serve", "--e2b", "--network", "--listen", "127.0.0.1:0", timeout=20)
    assert done.returncode == 125 and b"token_file" in done.stderr and b"disable_networking" in done.stderr, done.stderr
    with serving(own, "--e2b", "--network", tcp=True, tokens=[token_line("alice", "alice")]) as server:
        assert server.ask("POST", "/execute", {"code": "6 * 7"}, address=server.tcp, token="alice").status == 200


@pytest.mark.parametrize("method, path", ROUTES)
def test_with_a_token_file_every_caller_needs_a_token(guarded, method, path):
    query = path + "?language=python3" if "dependencies" in path and method == "GET" else path
    for headers in ({}, {"X-Api-Key": "no"}, {"Authorization": "Bearer no"}, {"Authorization": "Basic bm86bm8="},
                    {"E2B-Traffic-Access-Token": "no"}, {"Authorization": "Basic %%"}, {"Authorization": "Basic YWxpY2U="}):
        assert guarded.ask(method, query, BODIES.get(path), headers=headers, address=guarded.tcp).status == 401, headers
    assert guarded.ask(method, query, BODIES.get(path), token="alice", address=guarded.tcp).status in ANSWERS.get((method, path), (200,))
    # A second, wrong token is not ignored, and the header of another dialect is not accepted.
    assert guarded.ask(method, query, BODIES.get(path), headers={"X-Api-Key": "alice"}, token="no", address=guarded.tcp).status == 401
    own_header = "X-Api-Key" if "sandbox" in path else "E2B-Traffic-Access-Token"
    expected = (401,) if path in ("/run_code", "/submit") else ANSWERS.get((method, path), (200,))
    assert guarded.ask(method, query, BODIES.get(path), headers={own_header: "alice"}, address=guarded.tcp).status in expected


@pytest.mark.parametrize("method, path", ROUTES + OPEN)
def test_other_sites_pages_are_kept_out(server, method, path):
    assert call(server, method, path, headers={"Host": "evil.example"}, address=server.tcp).status == 421
    for origin in ("http://evil.example", "null"):
        assert call(server, method, path, headers={"Origin": origin}, address=server.tcp).status == 403


def test_rates_hold_and_runs_are_audited(guarded):
    for path, body in BODIES.items():
        if "dependencies" in path:
            continue
        answers = [guarded.ask("POST", path, body, token="carol", address=guarded.tcp) for _ in range(3)]
        refused = [answer for answer in answers if answer.status == 429]
        assert refused and all(answer.headers["Retry-After"] and answer.json()["code"] == "overloaded" for answer in refused), path
    with open(guarded.folder + "/audit") as file:
        runs = [json.loads(line) for line in file]
    assert any(run["principal"] == "carol" and len(run["code_sha256"]) == 64 and run["status"] == "ok" for run in runs)


def test_the_document_is_of_pyexec_s_own_routes(server):
    """The document of pyexec does not describe the routes of dialects."""
    paths = server.ask("GET", "/openapi.json").json()["paths"]
    assert "/v1/execute" in paths and not {path for _, path in ROUTES + OPEN} & set(paths)

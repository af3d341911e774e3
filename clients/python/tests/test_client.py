"""The synchronous client, with each transport."""
import time

import pytest
from conftest import _Program
from serving import serving, token_line

from pyexec import (ConnectionLostError, Display, EnvironmentInfo, InvalidPolicyError, InvalidRequestError, Output, Pyexec, PyexecError, Result,
                    SessionNotFoundError, UnauthorizedError)


def test_a_run_and_its_result(px):
    result = px.execute_once("import sys\nprint('é')\nprint('e', file=sys.stderr)\n6 * 7")
    assert result.ok and result.last_value_repr == "42" and (result.stdout, result.stderr) == ("é\n", "e\n")
    assert result.stdout_bytes == 3 and result.usage.wall_ms > 0 and result.session is None and result.raw["exit_code"] == 0
    failed = px.execute_once("x = 1\n1 / 0")
    assert failed.status == "error" and failed.exit_code == 1 and failed.error.type == "ZeroDivisionError" and failed.error.line == 2


def test_what_a_request_may_have(px):
    result = px.execute_once(
        "import os, sys\nopen('out.bin', 'wb').write(open('in.bin', 'rb').read() * 2)\n"
        "(os.getcwd().endswith('/sub'), os.environ['A'], sys.stdin.read(), open('/workspace/t').read())",
        files={"sub/in.bin": b"\0\xff", "t": "text"}, env={"A": "b"}, stdin="given", working_dir="sub", return_files=["*.bin"])
    assert result.last_value_repr == "(True, 'b', 'given', 'text')", result
    change, = [file for file in result.files if file.path == "sub/out.bin"]
    assert change.content == b"\0\xff\0\xff" and change.change == "created"
    assert px.execute_once("while True: pass", timeout_ms=100).status == "timeout"
    assert px.execute_once("5", print_last_expression=False).last_value_repr is None
    denied = px.execute_once("import json", policy={"use_import_whitelist": True, "allowed_imports": ("math",)})
    assert denied.denials[0].layer == "imports" and denied.denials[0].hint and denied.error.hint


def test_a_session_keeps_its_state(px):
    with px.session() as session:
        assert session.execute("a = 5").session.created
        result = session.execute("a * 2")
        assert result.last_value_repr == "10" and result.session.id == session.id and result.session.execution_count == 2
        assert session.id in [one["id"] for one in px.sessions()]
    assert session.id not in [one["id"] for one in px.sessions()]
    session.close()     # a second close does nothing
    assert session.execute("a").session.restarted == "closed"
    session.close()


def test_a_session_has_its_policy(px):
    with px.session(policy={"use_import_whitelist": True, "allowed_imports": ["math"]}) as session:
        assert session.execute("import math\nmath.pi").ok
        assert "not allowed" in session.execute("import json").error_repr
        assert px.execute_once("import json").ok
        with pytest.raises(InvalidRequestError):
            session.execute("1", policy={"max_threads": 1})


def test_files_of_a_session(px):
    with px.session() as session:
        with pytest.raises(SessionNotFoundError):
            session.files.list()
        session.files.write("a/b ö.bin", b"\0\xff")
        session.files.write("t", "text ü")
        assert [(file.path, file.bytes) for file in session.files.list()] == [("a/b ö.bin", 2), ("t", 7)]
        assert session.files.read("a/b ö.bin") == b"\0\xff"
        assert session.execute("open('t', encoding='utf-8').read()").last_value_repr == "'text ü'"
        session.files.delete("t")
        with pytest.raises(PyexecError) as failure:
            session.files.read("t")
        assert failure.value.code in ("not_found", "invalid_request")
        other = px.session()
        other.execute("1")
        for path in ("../x", "../../%s/files/t" % other.id, "..", ".", "a/../../b", "/etc/passwd", ""):
            for call in (session.files.read, session.files.delete, lambda path: session.files.write(path, "")):
                with pytest.raises(InvalidRequestError):
                    call(path)
        assert other.execute("1").session.execution_count == 2
        other.close()
        big = bytes(range(256)) * 8192
        session.files.write("big", big)
        assert session.files.read("big") == big


def test_files_before_the_first_call_keep_the_sessions_policy(px):
    with px.session(policy={"max_value_bytes": 5}) as session:
        session.files.write("t", "x")
        result = session.execute("'long enough'")
        assert result.last_value_truncated and result.session.execution_count == 1


def test_a_stream_is_live_and_ends_with_the_result(px):
    begun = time.monotonic()
    times, events = [], []
    for event in px.stream("import sys, time\nfor i in range(3):\n print(i, flush=True)\n time.sleep(0.2)\nprint('e', file=sys.stderr)\n7"):
        times.append(time.monotonic() - begun)
        events.append(event)
    assert isinstance(events[-1], Result) and events[-1].last_value_repr == "7"
    assert "".join(event.text for event in events[:-1] if event.stream == "stdout") == "0\n1\n2\n"
    assert "".join(event.text for event in events[:-1] if event.stream == "stderr") == "e\n"
    assert times[0] < times[-1] - 0.4


def test_a_stream_may_be_skipped_or_called_back(px):
    assert px.stream("print(1)\n2").result().last_value_repr == "2"
    got = []
    with px.session() as session:
        result = session.execute("print('x')\n3", on_event=got.append)
        assert result.last_value_repr == "3" and got == [Output("stdout", "x\n", 0)]
        with pytest.raises(InvalidRequestError):
            list(session.stream("\0"))
        with pytest.raises(ZeroDivisionError):      # the error of the callback; the run is cancelled
            session.execute("import time\nprint(1, flush=True)\ntime.sleep(20)", on_event=lambda event: 1 / 0)
        begun = time.monotonic()
        assert session.execute("4").last_value_repr == "4" and time.monotonic() - begun < 3


def test_a_stream_that_is_closed_cancels_its_run(px):
    with px.session() as session:
        session.execute("x = 1")
        with session.stream("import time\nprint(1, flush=True)\ntime.sleep(20)") as stream:
            assert next(stream).text == "1\n"
        begun = time.monotonic()
        assert session.execute("x").last_value_repr == "1" and time.monotonic() - begun < 3
        for event in session.stream("import time\nprint(1, flush=True)\ntime.sleep(20)"):
            break       # no variable refers to it any more
        del event
        begun = time.monotonic()
        assert session.execute("x").last_value_repr == "1" and time.monotonic() - begun < 3


def test_errors_have_their_class_code_and_hint(px):
    with pytest.raises(InvalidPolicyError) as failure:
        px.execute_once("1", policy={"timeuot_ms": 1})
    assert failure.value.code == "invalid_policy" and "timeout_ms" in failure.value.hint and "timeuot_ms" in failure.value.message
    for bad in ("a/b", "..", ".", "", "a b", "ü"):
        with pytest.raises((InvalidRequestError, SessionNotFoundError)):      # no path of the server's
            px.session(bad).execute("1")
    with pytest.raises(InvalidRequestError):
        px.execute_once("\ud800")
    with pytest.raises(SessionNotFoundError):
        px.session("nosuch").interrupt()


def test_what_no_answer_could_name_is_refused_at_once(px):
    loop = []
    loop.append(loop)
    for value in (float("nan"), float("-inf"), loop):
        with pytest.raises(InvalidRequestError, match="JSON can't contain NaN"):
            px.execute_once("x", inputs={"x": value})
    with pytest.raises(InvalidRequestError, match="32 MiB"):
        px.execute_once("x", inputs={"x": "1" * (32 << 20)})
    assert px.execute_once("x", inputs={"x": 1}).last_value_repr == "1"


def test_a_server_that_is_not_there_ran_nothing():
    for url in ("unix:/no/such.sock", "http://127.0.0.1:9"):
        with pytest.raises(ConnectionLostError, match="never started"):
            Pyexec.connect(url).execute_once("1")


def test_displays_come_as_events_and_in_the_result(px):
    events = list(px.stream("class Page:\n def _repr_html_(self): return '<p>'\ndisplay(1)\nPage()"))
    assert [type(event) for event in events] == [Display, Display, Result]
    assert events[0] == Display({"text/plain": "1"}) and events[1].data["text/html"] == "<p>" and events[1].last_value
    assert list(events[2].display) == events[:2] and events[2].display_dropped == 0
    assert px.execute_once("display(1)\ndisplay(2)", policy={"max_displays": 1}).display_dropped == 1


def test_inputs_and_values_as_json(px):
    result = px.execute_once("{'sum': sum(numbers), 'who': who}", inputs={"numbers": [1, 2, 3], "who": "é"}, value_json="records")
    assert result.last_value_json == {"sum": 6, "who": "é"} and result.last_value_json_error is None
    assert px.execute_once("object()", value_json="split").last_value_json_error


def test_http_refuses_without_a_token(server):
    with pytest.raises(UnauthorizedError) as failure:
        Pyexec.connect("http://" + server.tcp, token="wrong").execute_once("1")
    assert failure.value.code == "unauthorized"


@pytest.fixture
def environments(monkeypatch, tmp_path):
    stores = pytest.importorskip("stores")
    store = stores.HandMadeStore(tmp_path / "env")
    store.add("data", {"tally": "def total(*numbers): return sum(numbers)"})
    monkeypatch.setenv("PYEXEC_ENV_ROOT", store.root)


def test_environments_are_listed_and_chosen(environments):
    with Pyexec() as px:
        found, = px.environments()
        assert found["name"] == "data" and found["imports"] == ["tally"] and found["packages"] == [{"name": "tally", "version": "1.0"}]
        result = px.execute_once("import tally; tally.total(2, 3)", policy={"environment": "data"})
        assert result.last_value_repr == "5" and result.environment == EnvironmentInfo("data", found["hash"])
        assert px.execute_once("1").environment is None
        with px.session(policy={"environment": "data"}) as session:
            assert session.execute("import tally; tally.total(1)").last_value_repr == "1"
        with pytest.raises(InvalidPolicyError, match="'dota'") as refused:
            px.execute_once("1", policy={"environment": "dota"})
        assert "data" in refused.value.hint


def test_environments_of_a_server_are_listed_and_chosen(environments):
    with serving(_Program(), "--allowed-environments", "data", tcp=True, tokens=[token_line("test", "secret")]) as server:
        for px in (Pyexec.connect("unix:" + server.socket), Pyexec.connect("http://" + server.tcp, token="secret")):
            with px:
                found, = px.environments()
                result = px.execute_once("import tally; tally.total(2, 3)", policy={"environment": "data"})
                assert result.last_value_repr == "5" and result.environment == EnvironmentInfo("data", found["hash"])

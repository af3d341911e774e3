# SPDX-License-Identifier: Apache-2.0
"""While a script calls its caller, SIGKILL ends the caller, the server or the script's process at each of the POINTS.

The caller is a separate process. It makes a run whose events it reads, and then two detached runs. At one point it stops, and one
process is killed. If the caller is still alive, it continues. Every call gets one answer or one error, and nothing is left.
`make nightly` does this 50 times for each point."""
import contextlib
import json
import os
import signal
import traceback

import pytest

from serving import dial, serving
from test_kills import by_age, children
from test_serve_tools import ANY
from waiting import wait_until

ROUNDS = 50 if os.environ.get("PYEXEC_NIGHTLY") else 1
WHO = ["caller", "server", "child"]
POINTS = ["before the run is sent", "half the run is sent", "the run is sent", "the stream has begun", "output is read",
          "half a call is read", "a call is read", "half an answer is sent", "an answer is sent", "an answer is taken",
          "a large call is read", "half a large answer is sent", "six calls wait", "half of them are answered",
          "half the result is read", "the result is read", "a detached run is sent", "a detached run is taken",
          "its record is waited for", "the list is half read", "its events are half read", "its answer is sent",
          "its cancellation is sent"]

CODE = """
import asyncio, tools
print('begin', flush=True)
small = any_of(1)
large = any_of('x' * 100000)
many = await asyncio.gather(*[tools.aio.any_of(i) for i in range(6)])
[small, len(large), sum(many)]
"""
VALUE = "[1, 100000, 15]"
KILLED = ["killed", "sandbox_unavailable"]      # the second: it was killed before it got the code
DETACHED = "print('begin', flush=True)\nvalue = any_of(2)\nprint('after', flush=True)\nvalue"


def value_of(call):
    """Returns the answer that this caller gives to the call."""
    given = call["arguments"]["value"]
    return given if isinstance(given, int) else "y" * 100000


class Lost(Exception):
    """Raised when the connection has ended before the answer."""


class Exchange:
    """Sends one request on its own connection. The test can send and read it in parts."""

    def __init__(self, address, method, path, body=None, accept="application/json"):
        data = json.dumps(body).encode() if body is not None else b""
        head = "%s %s HTTP/1.0\r\nAccept: %s\r\nContent-Length: %d\r\n\r\n" % (method, path, accept, len(data))
        self.data = head.encode() + data
        try:
            self.socket = dial(address)
        except OSError as error:
            raise Lost from error
        self.file = self.socket.makefile("rb")

    def send(self, part=1.0):
        """Sends the request up to this part of its length."""
        length = int(len(self.data) * part)
        try:
            self.socket.sendall(self.data[:length])
        except OSError as error:
            raise Lost from error
        self.data = self.data[length:]
        return self

    def line(self):
        try:
            line = self.file.readline()
        except OSError as error:
            raise Lost from error
        if not line:
            raise Lost
        return line.decode().rstrip("\r\n")

    def status(self):
        status = int(self.line().split()[1])
        while self.line():
            pass
        return status

    def rest(self, length=-1):
        try:
            return self.file.read(length)
        except OSError as error:
            raise Lost from error

    def json(self):
        """Returns the status and the body. An answer that is cut off counts as no answer."""
        status, body = self.status(), self.rest()
        try:
            return status, json.loads(body) if body else None
        except ValueError as error:
            raise Lost from error

    def close(self):
        self.file.close()
        self.socket.close()


class Caller:
    def __init__(self, address, session, stop, says, go):
        self.address, self.session, self.stop, self.says, self.go = address, session, stop, says, go

    def say(self, **what):
        os.write(self.says, json.dumps(what).encode() + b"\n")

    def at(self, point):
        if point and point == self.stop:
            self.say(at=point)
            os.read(self.go, 1)

    def exchange(self, *arguments, **keywords):
        return contextlib.closing(Exchange(self.address, *arguments, **keywords))

    def ask(self, *arguments):
        with self.exchange(*arguments) as exchange:
            return exchange.send().json()

    def answer(self, call, half=None, sent=None):
        """Answers the call twice. The second answer is always too late, whatever happened to the first."""
        arguments = "POST", "/v1/calls/" + call["call_id"], {"result": value_of(call)}
        with self.exchange(*arguments) as exchange:
            exchange.send(0.5)
            self.at(half)
            exchange.send()
            self.at(sent)
            first = exchange.status()
        self.say(answered=call["call_id"], first=first, second=self.ask(*arguments)[0])

    def event(self, stream, half=None):
        """Returns the next event. `half`: the name of an event in whose middle the caller stops."""
        name = None
        while True:
            line = stream.line()
            if line.startswith("event: "):
                name = line[7:]
                if name == half:
                    self.at({"tool_call": "half a call is read", "result": "half the result is read"}[name])
            elif line.startswith("data: "):
                return name, json.loads(line[6:])

    def call(self, stream, half=None):
        """Returns the next call, or None when the run has ended."""
        while True:
            name, data = self.event(stream, half)
            if name == "tool_call":
                return data
            if name == "stdout":
                self.at("output is read")
            if name in ("result", "error"):
                return self.ended("attached", name, data)

    def ended(self, run, name, data):
        self.say(run=run, end=name, status=data["status"], value=data.get("last_value_repr"), code=data.get("code"))

    def attached(self):
        path = "/v1/sessions/%s/execute" % self.session
        with self.exchange("POST", path, {"code": CODE, "tools": [ANY]}, accept="text/event-stream") as stream:
            self.at("before the run is sent")
            stream.send(0.5)
            self.at("half the run is sent")
            stream.send()
            self.at("the run is sent")
            assert stream.status() == 200
            self.at("the stream has begun")
            self.calls(stream)
            self.at("the result is read")
            assert stream.rest() == b"\n"

    def calls(self, stream):
        call = self.call(stream, "tool_call")
        if call is None:
            return
        self.at("a call is read")
        self.answer(call, "half an answer is sent", "an answer is sent")
        self.at("an answer is taken")
        call = self.call(stream)
        if call is None:
            return
        self.at("a large call is read")
        self.answer(call, "half a large answer is sent")
        waiting = []
        for _ in range(6):
            call = self.call(stream)
            if call is None:
                return
            waiting.append(call)
        self.at("six calls wait")
        for i, call in enumerate(waiting):
            self.answer(call)
            if i == 2:
                self.at("half of them are answered")
        assert self.call(stream, "result") is None

    def begin(self, stops=False):
        with self.exchange("POST", "/v1/execute", {"code": DETACHED, "tools": [ANY], "detach": True}) as exchange:
            exchange.send()
            if stops:
                self.at("a detached run is sent")
            status, body = exchange.json()
            assert status == 202, body
        path = "/v1/executions/" + body["execution_id"]
        self.say(detached=body["execution_id"])
        if stops:
            self.at("a detached run is taken")
        return path

    def waiting(self, path, stops=False):
        """Returns the record of the execution, when a call waits or the execution has ended."""
        while True:
            with self.exchange("GET", path + "?wait_ms=30000") as exchange:
                exchange.send()
                if stops:
                    self.at("its record is waited for")
                status, record = exchange.json()
            assert status == 200, record
            if record["calls"] or record["state"] == "ended":
                return record

    def detached(self):
        path = self.begin(True)
        calls = self.waiting(path, True)["calls"]
        with self.exchange("GET", "/v1/executions") as exchange:
            assert exchange.send().status() == 200
            exchange.rest(30)
            self.at("the list is half read")
            exchange.rest()
        with self.exchange("GET", path, accept="text/event-stream") as stream:
            assert stream.send().status() == 200
            self.at("its events are half read")
            for call in calls:
                self.answer(call, sent="its answer is sent")
            name = None
            while name not in ("result", "error"):
                name, data = self.event(stream)
        self.ended("detached", name, data)
        path = self.begin()
        self.waiting(path)
        with self.exchange("DELETE", path) as exchange:
            exchange.send()
            self.at("its cancellation is sent")
            assert exchange.status() == 204

    def live(self):
        with contextlib.suppress(Lost):
            self.attached()
            self.detached()
            return self.say(done=True)
        self.say(lost=True)


def start_caller(server, session, point):
    """Starts the caller. Returns its process, its output, and the pipe through which it is told to continue."""
    says, saying = os.pipe()
    going, go = os.pipe()
    pid = os.fork()
    if not pid:
        status = 1
        try:
            os.close(says)
            os.close(go)
            Caller(server.socket, session, point, saying, going).live()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(saying)
    os.close(going)
    return pid, os.fdopen(says), go


def scripts(server):
    """Returns the processes of scripts. There is one zygote and no pool."""
    supervisor = [pid for outer in children(server.process.pid) for pid in children(outer)]
    return by_age(pid for parent in supervisor for pid in children(parent))[1:]


def below(pid):
    """Returns all processes below one process with their start times, so that a reused PID counts as another process."""
    found = []
    for child in children(pid):
        with contextlib.suppress(OSError), open("/proc/%d/stat" % child) as file:
            found.append((child, file.read().rsplit(")", 1)[1].split()[19]))
        found += below(child)
    return found


def lives(pid, birth):
    with contextlib.suppress(OSError), open("/proc/%d/stat" % pid) as file:
        state = file.read().rsplit(")", 1)[1].split()
        return state[19] == birth and state[0] not in "ZX"
    return False


def kill(server, who, caller):
    for pid in {"caller": [caller], "server": [server.process.pid], "child": scripts(server)}[who]:
        assert pid > 1
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def go_through(server, session, point, who):
    """Returns everything that the caller printed, and how it ended."""
    pid, says, go = start_caller(server, session, point)
    try:
        with says:
            heard = []
            while not heard or "at" not in heard[-1]:
                line = says.readline()
                assert line, (point, heard)
                heard.append(json.loads(line))
            family = below(server.process.pid)
            kill(server, who, pid)
            if who == "server":
                server.process.wait(60)
                wait_until(lambda: not any(lives(*one) for one in family), "processes outlive the server", 60)
            with contextlib.suppress(BrokenPipeError):
                os.write(go, b"g")
            heard += [json.loads(line) for line in says]
    finally:
        os.close(go)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)        # needed only if something above failed
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return heard, status


def check(heard, status, who):
    """Checks that each run has one end and each call one answer, for the time in which the caller was alive."""
    assert status == (-signal.SIGKILL if who == "caller" else 0), heard
    answers = [one for one in heard if "answered" in one]
    assert len({one["answered"] for one in answers}) == len(answers)
    for one in answers:
        assert one["first"] in ((204, 404) if who == "child" else (204,)) and one["second"] == 404, one
    ends = [one for one in heard if "run" in one]
    assert len({one["run"] for one in ends}) == len(ends), ends
    for one in ends:
        good = one["end"], one["status"], one["value"]
        whole = good == ("result", "ok", VALUE if one["run"] == "attached" else "2")
        assert whole or (who == "child" and (one["code"] or one["status"]) in KILLED), one
    if who == "child":
        assert len(ends) == 2 and sum(one["value"] is None for one in ends) <= 1 and heard[-1] == {"done": True}, heard
    if who == "server":
        assert heard[-1] in ({"lost": True}, {"done": True}), heard


def end_detached(server, execution):
    """Acts as a caller who comes back: answers the calls that wait, until the execution has ended."""
    def ended():
        record = server.ask("GET", "/v1/executions/%s?wait_ms=1000" % execution).json()
        for call in record["calls"]:
            server.ask("POST", "/v1/calls/" + call["call_id"], {"result": value_of(call)})
        return record if record["state"] == "ended" else None
    return wait_until(ended, "a detached execution does not end", 60)


def executions(server):
    return {one["execution_id"] for one in server.ask("GET", "/v1/executions").json()["executions"]}


def check_detached(server, execution, who):
    record = end_detached(server, execution)
    how = record["error"]["code"] if record["error"] else record["result"]["status"]
    assert how in ("ok", "cancelled") or who == "child" and how in KILLED, record
    stream = server.ask("GET", "/v1/executions/" + execution, None, {"Accept": "text/event-stream"}).body
    ends = stream.count(b"event: result\n"), stream.count(b"event: error\n")
    assert ends == ((0, 1) if record["error"] else (1, 0)) and stream.count(b"event: tool_call\n") <= 1


def check_server(server, session, heard, who, older):
    """The server continues, and has no record of calls that are over."""
    checked = set()

    def nothing_runs():     # a run that was sent just before the caller died may begin only now
        for execution in executions(server) - older - checked:
            check_detached(server, execution, who)
            checked.add(execution)
        server.ask("DELETE", "/v1/sessions/" + session)
        return server.metric("pyexec_tool_calls_waiting") == 0 and not scripts(server)
    wait_until(nothing_runs, "a call or the process of a script is left", 60)
    assert {one["detached"] for one in heard if "detached" in one} <= checked
    assert server.result("6 * 7")["last_value_repr"] == "42"


@contextlib.contextmanager
def started(program):
    with serving(program, "--timeout", "120s", "--cpu-time-seconds", "60", "--allow-import", "asyncio", "--preload-imports", "asyncio",
                 config="[host]\npool_size = 0\nzygotes = 1\nmax_executions = 20\n") as server:
        assert server.result("1")["status"] == "ok"
        yield server


@pytest.fixture(scope="module")
def server(own):
    with started(own) as running:
        yield running


def test_the_caller_goes_through_all_of_it_when_nobody_is_killed(server, nothing_left):
    older = executions(server)
    pid, says, go = start_caller(server, "whole", None)
    with says:
        heard = [json.loads(line) for line in says]
    os.close(go)
    check(heard, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), "nobody")
    assert heard[-1] == {"done": True} and sum("run" in one for one in heard) == 2 and sum("answered" in one for one in heard) == 9
    check_server(server, "whole", heard, "nobody", older)


@pytest.mark.parametrize("who", ["caller", "child"])
@pytest.mark.parametrize("point", POINTS)
def test_killed(server, point, who, nothing_left):
    for i in range(ROUNDS):
        session, older = "s%d" % i, executions(server)
        heard, status = go_through(server, session, point, who)
        check(heard, status, who)
        check_server(server, session, heard, who, older)


@pytest.mark.parametrize("point", POINTS)
def test_the_server_killed(own, point, nothing_left):
    for _ in range(ROUNDS):
        with started(own) as server:
            heard, status = go_through(server, "s", point, "server")
            check(heard, status, "server")

# SPDX-License-Identifier: Apache-2.0
"""State of a process that a branch must have anew, or must not have (docs/branches.md, What a branch has): timers, event loops, names of
temporary files, generators, sockets, tool calls, counters. Variables and files: test_branches.py; cgroups: test_cgroup.py."""
import socket
import threading

import pytest

from library import Executor, Failure
from test_branches import FILES, NATIVE, OPEN, X86, started, value
from waiting import wait_until

TIMER_CREATE = 222 if X86 else 107


def test_timers_stay_with_the_source(pyexec, nothing_left):
    with started(pyexec) as executor:
        executor.call("s", NATIVE + "got = []\nfor number in (signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF): signal.signal(number, lambda n, frame: got.append(n))\n"
                      "for kind in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF): signal.setitimer(kind, 1000, 1000)\n"
                      "left = lambda: [signal.getitimer(kind)[0] > 0 for kind in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)]")
        executor.fork("s", "a")
        assert value(executor, "s", "left(), sc(%d, 0, 0, 0)" % TIMER_CREATE) == ([True] * 3, -38)
        assert value(executor, "a", "left(), signal.alarm(0), sc(%d, 0, 0, 0)" % TIMER_CREATE) == ([False] * 3, 0, -38)
        # The handlers are there, and a timer of its own reaches the branch alone.
        assert value(executor, "a", "signal.setitimer(signal.ITIMER_REAL, 0.01)\nwhile not got: time.sleep(0.01)\ngot") == [14]
        assert value(executor, "s", "signal.alarm(0) > 0, got") == (True, [])


def test_the_loop_goes_on_with_its_tasks_and_timers(pyexec, nothing_left):
    """The tasks are copied: each branch finishes its own, and an event or a queue wakes those of its own process alone."""
    with started(pyexec) as executor:
        executor.call("s", "import asyncio\nseen = []\nevent, queue, lock = asyncio.Event(), asyncio.Queue(), asyncio.Lock()\n"
                      "async def wait():\n    await event.wait()\n    seen.append(await queue.get())\n    async with lock: return 'done'\n"
                      "async def later(n):\n    await asyncio.sleep(0.05 * n)\n    return n\n"
                      "task = asyncio.create_task(wait())\nslow = [asyncio.create_task(later(n)) for n in range(3)]\nawait asyncio.sleep(0)")
        executor.fork("s", "a", "b")
        executor.fork("a", "c")
        for name in ("b", "s", "c", "a"):
            assert value(executor, name, "task.done(), seen") == (False, [])
            assert value(executor, name, "event.set()\nawait queue.put(%r)\n(await asyncio.wait_for(task, 20), seen)" % name) == ("done", [name])
            assert value(executor, name, "await asyncio.gather(*slow)") == [0, 1, 2]
            assert value(executor, name, "await asyncio.to_thread(lambda: 5)") == 5
            assert value(executor, name, "loop = asyncio.get_running_loop()\nloop.call_later(0.01, seen.append, 7)\nawait asyncio.sleep(0.1)\nseen[-1]") == 7


def test_a_loop_wakes_for_threads_and_pipes_of_the_branch(pyexec, nothing_left):
    with started(pyexec) as executor:
        executor.call("s", "import asyncio, socket, threading\nawait asyncio.sleep(0)")
        executor.fork("s", "a")
        code = ("loop = asyncio.get_running_loop()\nfuture = loop.create_future()\n"
                "t = threading.Thread(target=lambda: loop.call_soon_threadsafe(future.set_result, 'woken'))\nt.start()\n"
                "left, right = socket.socketpair()\nleft.setblocking(False)\nright.send(b'x')\n"
                "got = (await asyncio.wait_for(future, 20), await asyncio.wait_for(loop.sock_recv(left, 5), 20))\nt.join(); left.close(); right.close()\ngot")
        for name in ("a", "s", "a"):
            assert value(executor, name, code) == ("woken", b"x")


def test_an_own_loop_of_the_script_is_open_and_says_when_its_descriptors_are_gone(pyexec, nothing_left):
    with started(pyexec) as executor:
        executor.call("s", "import asyncio\nlocal = asyncio.new_event_loop()\nlocal.run_until_complete(asyncio.sleep(0))")
        executor.fork("s", "a")
        result = executor.call("a", "local.run_until_complete(asyncio.sleep(0))")
        assert (result["status"], result["error"]["type"]) == ("error", "OSError")
        assert value(executor, "a", "asyncio.run(asyncio.sleep(0, 6))") == 6
        assert value(executor, "s", "local.run_until_complete(asyncio.sleep(0, 7))") == 7


def test_names_of_temporary_files_are_the_branchs_own(pyexec, nothing_left):
    with started(pyexec, FILES) as executor:
        executor.call("s", "import tempfile\nnames = tempfile._get_candidate_names()\nfirst = next(names)\nfile = tempfile.NamedTemporaryFile(dir='.', delete=False)")
        executor.fork("s", "a", "b")
        drawn = [value(executor, name, "[next(tempfile._get_candidate_names()) for _ in range(20)]") for name in ("s", "a", "b")]
        assert len({name for names in drawn for name in names}) == 60
        made = [value(executor, name, "import os\nos.path.basename(tempfile.mkdtemp(dir='.'))") for name in ("s", "a", "b")]
        assert len(set(made)) == 3


GENERATORS = """
import hashlib, os, random, secrets, ssl, uuid
own = random.Random(5)
draw = lambda: (random.random(), random.getrandbits(64), random.gauss(0, 1), secrets.token_hex(8), ssl.RAND_bytes(8), os.urandom(8),
                str(uuid.uuid4()), str(uuid.uuid1()), random.SystemRandom().random())
random.seed(1); random.gauss(0, 1)
"""


def test_generators_of_the_standard_library_differ_in_each(pyexec, nothing_left):
    """Each kind, also in a branch of a branch and again after a fork that comes when the numbers were drawn already."""
    with started(pyexec) as executor:
        executor.call("s", GENERATORS)
        executor.fork("s", "a", "b")
        executor.fork("a", "c")
        drawn = [value(executor, name, "draw()") for name in ("s", "a", "b", "c")]
        executor.fork("s", "d")
        drawn += [value(executor, name, "draw()") for name in ("s", "d")]
        assert all(len(set(column)) == len(drawn) for column in zip(*drawn))
        assert len({value(executor, name, "own.random()") for name in ("s", "a", "b", "c")}) == 1       # documented: a copy


def test_generators_of_numpy_differ_in_each(own, science, nothing_left):
    policy = {**OPEN, "python_bin": science, "isolate_site": False, "address_space_bytes": 2 << 30, "cpu_time_seconds": 60, "timeout_ms": 60_000}
    for preloads in ([], ["numpy"]):
        with Executor({**policy, "preload_imports": preloads}, program=own.path) as executor:
            executor.call("s", "import os\nos.environ['OPENBLAS_NUM_THREADS'] = '1'\nimport numpy as np\nnp.random.seed(3)\nnp.random.normal()\ngenerator = np.random.default_rng(4)")
            executor.fork("s", "a", "b")
            executor.fork("a", "c")
            drawn = [value(executor, name, "(np.random.normal(), int(np.random.randint(1 << 60)), np.random.default_rng().random(), float(np.random.rand()))")
                     for name in ("s", "a", "b", "c")]
            assert all(len(set(column)) == 4 for column in zip(*drawn)), drawn
            assert len({value(executor, name, "float(generator.random())") for name in ("s", "a", "b", "c")}) == 1


def test_sockets_of_a_session_with_network_are_not_the_branchs(pyexec, nothing_left):
    """What the source has connected stays its own: the branch can neither read nor write nor shut it, and makes new ones."""
    with socket.create_server(("127.0.0.1", 0)) as server, started(pyexec, {**OPEN, "disable_networking": False}) as executor:
        server.settimeout(20)
        port = server.getsockname()[1]
        executor.call("s", NATIVE + "import socket, urllib.request\nconnect = lambda: socket.create_connection(('127.0.0.1', %d), 20)\n"
                      "c = connect()\nlistener = socket.create_server(('127.0.0.1', 0))\nport = listener.getsockname()[1]" % port)
        first, _ = server.accept()
        first.settimeout(20)
        executor.fork("s", "a")
        tries = ("answers = []\nfor call in (lambda: c.send(b'x'), lambda: c.recv(1), lambda: c.shutdown(2), lambda: listener.accept(), lambda: c.getpeername(),\n"
                 "    lambda: c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes(8)), lambda: os.sendfile(c.fileno(), 1, 0, 1)):\n"
                 "    try: answers.append(call())\n    except OSError as e: answers.append(-e.errno)\nc.close(); listener.close()\nanswers")
        assert set(value(executor, "a", tries)) == {-9}
        assert value(executor, "s", "c.send(b'from s')") == 6 and first.recv(99) == b"from s"
        first.send(b"to s")
        assert value(executor, "s", "c.recv(99), listener.getsockname()[1] == port") == (b"to s", True)
        executor.call("a", "c = connect()\nc.send(b'from a')")
        second, _ = server.accept()
        second.settimeout(20)
        assert second.recv(99) == b"from a"
        executor.close("s")
        assert first.recv(99) == b""        # nobody else holds it
        assert value(executor, "a", "c.send(b'more')") == 4 and second.recv(99) == b"more"
        first.close(), second.close()


TOOL = {"name": "ask", "parameters": {"type": "object", "properties": {"what": {"type": "string"}}, "required": ["what"]}}


class Answers:
    """Answers tool calls, but those that begin with `wait` only when it is told so."""

    def __init__(self, executor):
        self.calls, self.go = [], threading.Event()
        executor.tool = self

    def __call__(self, params):
        self.calls.append((params["session_id"], params["arguments"]["what"]))
        if params["arguments"]["what"].startswith("wait"):
            assert self.go.wait(50)
        return "for %s: %s" % (params["session_id"], params["arguments"]["what"])


def test_a_call_that_waits_for_a_tool_makes_the_session_busy(pyexec, nothing_left):
    with started(pyexec) as executor:
        answers = Answers(executor)
        executor.create("s", tools=[TOOL])
        results = []
        call = threading.Thread(target=lambda: results.append(executor.call("s", "x = ask('wait')\nx")))
        call.start()
        wait_until(lambda: answers.calls, "the tool is not called")
        with pytest.raises(Failure, match="session_busy"):
            executor.fork("s", "a")
        answers.go.set()
        call.join()
        assert results[0]["last_value_repr"] == "'for s: wait'"
        assert executor.fork("s", "a") == ["a"] and value(executor, "a", "x") == "for s: wait"


def test_tools_of_a_session_are_those_of_its_branches_and_answers_go_to_the_caller(pyexec, nothing_left):
    with started(pyexec) as executor:
        answers = Answers(executor)
        executor.create("s", tools=[TOOL])
        assert value(executor, "s", "ask('1')") == "for s: 1"
        executor.fork("s", "a", "b")
        executor.close("b")
        executor.fork("a", "c")
        for name in ("a", "s", "c"):
            assert value(executor, name, "ask('2')") == "for %s: 2" % name
        # All wait at once, and are answered at once.
        results = {}
        calls = [threading.Thread(target=lambda name=name: results.update({name: executor.call(name, "ask('wait')")})) for name in ("s", "a", "c")]
        for call in calls:
            call.start()
        wait_until(lambda: len(answers.calls) == 7, "not all tools are called")
        answers.go.set()
        for call in calls:
            call.join()
        assert {name: result["last_value_repr"] for name, result in results.items()} == {name: "'for %s: wait'" % name for name in ("s", "a", "c")}
        executor.close("s")
        assert value(executor, "a", "ask('3')") == "for a: 3"
        other = {**TOOL, "name": "more"}
        assert value(executor, "c", "ask('4'), more('5')", tools=[other]) == ("for c: 4", "for c: 5")


def test_a_tool_of_one_call_is_gone_in_the_branch(pyexec, nothing_left):
    """A call's own tools are for that call. A reference that the script has kept fails in the next call, in the branch too."""
    with started(pyexec) as executor:
        answers = Answers(executor)
        assert value(executor, "s", "kept = ask\nask('1')", tools=[TOOL]) == "for s: 1"
        executor.fork("s", "a")
        for name in ("s", "a"):
            result = executor.call(name, "kept('2')")
            assert result["status"] == "error", result
            assert executor.call(name, "ask")["status"] == "error"
        assert answers.calls == [("s", "1")]


def test_counters_go_on_or_begin_anew(pyexec, nothing_left):
    """The number of the call goes on; what a call may show, call and print is counted from its beginning."""
    show = "class C:\n    def _repr_html_(self): return '<b>%d</b>' % n\n"
    with started(pyexec, {**OPEN, "max_displays": 3, "max_stdout_bytes": 100}) as executor:
        executor.call("s", show + "n = 0")
        executor.call("s", "print('x' * 500)\nfor n in range(5): display(C())")
        executor.fork("s", "a")
        for name, first in (("a", 3), ("s", 3)):
            result = executor.call(name, "print('y' * 99)\nfor n in range(3): display(C())\n1 / 0")
            assert result["session"]["execution_count"] == first and not result["stdout_truncated"]
            assert [item["data"]["text/html"] for item in result["display"]] == ["<b>0</b>", "<b>1</b>", "<b>2</b>"]
            assert "<cell %d>" % first in result["error"]["traceback"]
            assert executor.call(name, "_")["session"]["execution_count"] == first + 1
        assert executor.fork("a", "c") == ["c"]
        assert executor.call("c", "1")["session"] == {**executor.call("s", "1")["session"], "id": "c"}

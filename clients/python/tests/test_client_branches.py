"""Forks and undos of a session through both clients, with each transport."""
import asyncio
import contextlib
import threading

import pytest

from conftest import POLICY, _Program
from pyexec import (AsyncPyexec, ConflictError, InvalidRequestError, Pyexec, SessionBusyError, SessionNotFoundError,
                    SessionNotForkableError, Undone)
from serving import serving
from waiting import wait_until

FORKABLE = {"forkable": True, "auto_checkpoint": False}
SPIN = "while True:\n    pass"


@pytest.fixture(scope="module")
def forking():
    with serving(_Program(), "--files", "full", "--any-import", "--forkable", "--auto-checkpoint", "--timeout", "60s", "--cpu-time-seconds", "60") as running:
        yield running


def make(cls, transport, forking):
    if transport == "rpc":
        return cls(policy={**POLICY, "timeout_ms": 60000, "cpu_time_seconds": 60})
    return cls.connect("unix:" + forking.socket)


@pytest.fixture(params=["rpc", "unix"])
def transport(request):
    return request.param


@pytest.fixture
def px(transport, forking):
    with make(Pyexec, transport, forking) as client:
        yield client


@pytest.fixture
def session(px):
    with px.session(policy=FORKABLE, tools={"double": lambda n: 2 * n}) as made:
        made.execute("x = [1]")
        yield made


def test_branches_go_on_from_the_state(session):
    one, two = session.fork(2)
    assert one.id != two.id and one.execute("x.append(2); x").last_value_repr == "[1, 2]"
    assert [branch.execute("x").last_value_repr for branch in (session, two)] == ["[1]", "[1]"]
    assert two.execute("double(x[0])").last_value_repr == "2"       # it offers the tools of its source
    deeper, = one.fork()
    assert deeper.execute("x").last_value_repr == "[1, 2]"
    for branch in (one, two, deeper):
        branch.close()
    with pytest.raises(SessionNotFoundError):
        one.fork()


def test_branches_get_the_ids_that_are_given(px, session):
    ids = [session.id + ".up", session.id + ".down"]
    with contextlib.ExitStack() as stack:
        assert [stack.enter_context(branch).id for branch in session.fork(ids=ids)] == ids
        assert set(ids) < {one["id"] for one in px.sessions()}
        assert px.session(ids[1]).execute("x").last_value_repr == "[1]"
        with pytest.raises((InvalidRequestError, ConflictError)) as failure:
            session.fork(ids=[session.id + ".3", ids[0]])
        assert ids[0] in str(failure.value)
        assert session.id + ".3" not in {one["id"] for one in px.sessions()}


@pytest.mark.parametrize("arguments", [{"count": 0}, {"count": 1001}, {"count": 2, "ids": ["a"]}, {"ids": []}, {"ids": ["a/b"]}, {"ids": ["a", 1]}, {"ids": "ab"}])
def test_bad_arguments(session, arguments):
    with pytest.raises(InvalidRequestError) as failure:
        session.fork(**arguments)
    assert failure.value.hint


def test_a_busy_session_and_one_that_was_made_without_forkable(px, session):
    caller = threading.Thread(target=session.execute, args=(SPIN,))
    caller.start()
    wait_until(lambda: [one["busy"] for one in px.sessions() if one["id"] == session.id] == [True], "the call does not begin")
    with pytest.raises(SessionBusyError):
        session.fork()
    session.interrupt()
    caller.join()
    with px.session(policy={"forkable": False}) as plain:
        plain.execute("1")
        with pytest.raises(SessionNotForkableError) as failure:
            plain.fork(3)
        assert "forkable" in failure.value.hint


def test_branches_of_asyncio(transport, forking):
    async def search():
        async with make(AsyncPyexec, transport, forking) as px, px.session(policy=FORKABLE) as session:
            await session.execute("import math\nn = 10")
            branches = await session.fork(3)
            results = await asyncio.gather(*[branch.execute("n + %d" % i) for i, branch in enumerate(branches)])
            named, = await session.fork(ids=[session.id + "-a"])
            for branch in [*branches, named]:
                await branch.close()
            with pytest.raises(SessionNotFoundError):
                await named.fork(2)
            return named.id == session.id + "-a", [result.last_value_repr for result in results]
    assert asyncio.run(search()) == (True, ["10", "11", "12"])


def test_calls_are_undone(px):
    with px.session(policy={"auto_checkpoint": True, "disable_open": False}) as session:
        for code in ("x = [1]", "x.append(2); open('f', 'w').write('two')", "x.append(3)"):
            assert session.execute(code).ok
        undone = session.undo()
        assert isinstance(undone, Undone) and (undone.to, undone.checkpoints) == (3, (1, 2)) and undone.pause_ms > 0
        assert session.execute("x").last_value_repr == "[1, 2]"
        assert session.undo(to=2).to == 2
        assert session.execute("x, __import__('os').listdir()").last_value_repr == "([1], [])"
        died = session.execute("x.append(9); __import__('os')._exit(3)")
        assert died.session.restored.to == 3 and died.session.restarted is None and "as it was before this call" in died.explain()
        assert session.execute("x").last_value_repr == "[1]"
        assert session.reset().to == 1
        assert session.execute("'x' in globals()").last_value_repr == "False"
        for wrong in (0, -1, 77):
            with pytest.raises(InvalidRequestError):
                session.undo(wrong)
    with pytest.raises(SessionNotFoundError):
        session.undo()


def test_a_call_can_ask_for_a_checkpoint_itself(px):
    with px.session(policy=FORKABLE) as session:
        session.execute("x = 1")
        with pytest.raises(InvalidRequestError) as failure:
            session.undo()
        assert "checkpoint" in failure.value.hint
        session.execute("x = 2", checkpoint=True)
        session.undo()
        assert session.execute("x").last_value_repr == "1"


def test_undo_of_asyncio(transport, forking):
    async def undo():
        async with make(AsyncPyexec, transport, forking) as px, px.session(policy={"auto_checkpoint": True}) as session:
            await session.execute("x = 1")
            await session.execute("x = 2")
            await session.undo()
            kept = (await session.execute("x")).last_value_repr
            await session.reset()
            return kept, (await session.execute("'x' in globals()")).last_value_repr
    assert asyncio.run(undo()) == ("1", "False")

"""`packages` of a run and of a session: over HTTP and NATS the server installs them; `pyexec rpc` says that it does not."""
import asyncio
import os

import pytest
from conftest import PROGRAM, _Program
from env_stores import CommandStore
from nats_fleet import Server, Worker, server_program
from serving import serving

from pyexec import AsyncPyexec, InvalidRequestError, Output, Pyexec

TALLY = "import tally; tally.total(2, 3)"


@pytest.fixture(scope="module")
def environment():
    """The variables of a server that may install two packages, with a quick installer."""
    store = CommandStore(_Program())
    store.write("tally/tally.py", "def total(*numbers): return sum(numbers)\n")
    store.write("words/words.py", "COUNT = 3\n")
    yield {**store.environment, "PYEXEC_ENV_ALLOW_REQUESTS": "tally,words"}
    store.close()


@pytest.fixture(scope="module", params=["unix", "nats"])
def url(request, environment):
    if request.param == "unix":
        with serving(_Program(), "--files", "full", "--forkable", env=environment) as server:
            yield "unix:" + server.socket
        return
    if not os.path.exists(PROGRAM + "-worker"):
        pytest.skip("the build has no pyexec-worker")
    if not server_program():
        pytest.skip("nats-server is not installed")
    with Server() as server, Worker(_Program(), server, "one", "--files", "full", "--forkable", env=environment), \
            Worker(_Program(), server, "two", "--files", "full", "--forkable", env=environment):
        yield server.url


def test_of_a_run_and_of_a_session(url):
    with Pyexec.connect(url) as px:
        result = px.execute_once(TALLY, packages=["tally"])
        assert result.last_value_repr == "5", result.explain()
        assert result.environment is not None and result.environment.name.startswith("cached-")
        assert px.execute_once(TALLY, packages=("tally>=1", "words")).last_value_repr == "5"
        assert px.execute_once(TALLY).error.type == "ImportError"
        first, last = list(px.stream("import words; print(words.COUNT)", packages=["words"]))
        assert isinstance(first, Output) and first.text == "3\n" and last.ok
        with px.session(packages=["tally"], policy={"forkable": True}) as session:
            first = session.execute("import tally; x = tally.total(1)")
            assert first.ok and first.session.created
            assert session.execute("x + tally.total(2)").last_value_repr == "3"
            branch, = session.fork()
            with branch:
                assert branch.execute("x + 1").last_value_repr == "2"
        with px.session(packages=["tally"]) as session:     # the file makes it
            session.files.write("a.txt", "1")
            assert session.execute(TALLY + " + int(open('a.txt').read())").last_value_repr == "6"


def test_what_the_server_refuses(url):
    with Pyexec.connect(url) as px:
        for run in (px.execute_once, px.session().execute, lambda code, packages: px.session(packages=packages).execute(code)):
            with pytest.raises(InvalidRequestError, match="'pandas' is not among those") as refused:
                run("1", packages=["pandas"])
            assert "It may ask for tally, words" in refused.value.hint
        with px.session() as session:
            session.execute("1")
            with pytest.raises(InvalidRequestError, match="was made without them"):
                session.execute("1", packages=["tally"])


def test_with_asyncio(url):
    async def main():
        async with AsyncPyexec.connect(url) as px, px.session(packages=["tally"]) as session:
            return await px.execute_once(TALLY, packages=["tally"]), await session.execute(TALLY)
    assert [result.last_value_repr for result in asyncio.run(main())] == ["5", "5"]


def test_rpc_takes_none():
    with Pyexec() as px:
        for run in (px.execute_once, px.session(packages=["tally"]).execute):
            with pytest.raises(InvalidRequestError, match="packages: only executions and sessions of `pyexec serve`") as refused:
                run("1", packages=["tally"])
            assert "`environment` in the policy" in refused.value.hint

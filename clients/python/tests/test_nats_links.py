"""A client whose link to the NATS server breaks, is silent or is slow: an error says what is known, and a key makes it certain."""
import contextlib
import os
import threading
import time

import pytest
from conftest import PROGRAM, _Program
from forwarder import Forwarder
from nats_fleet import PLAIN, Server, Worker, needs_fleet

from pyexec import AlreadyStartedError, ConnectionLostError, Pyexec

pytestmark = needs_fleet(os.path.dirname(PROGRAM))
PATIENCE = 90


@pytest.fixture(scope="module")
def server():
    with Server() as made, Worker(_Program(), made, "steady", "--files", "full", "--any-import", "--max-stdout-bytes", "64M", "--timeout", "60s",
                                 env=PLAIN):
        yield made


@pytest.fixture
def link(server):
    with Forwarder(server.port) as made:
        yield made


@pytest.fixture
def px(link):
    with Pyexec.connect(link.url, retry_overloaded=60) as made:
        assert made.execute_once("1").ok
        yield made


@contextlib.contextmanager
def background(function):
    """Calls the function meanwhile. Yields a list that gets its result or its failure."""
    ends = []

    def run():
        try:
            ends.append(function())
        except BaseException as failure:    # the test looks at it
            ends.append(failure)
    thread = threading.Thread(target=run)
    thread.start()
    yield ends
    thread.join(PATIENCE)
    assert not thread.is_alive(), "the call waits forever"


def answered(started):
    """Waits until the tool was called and its answer is with the node. An answer that is lost on its way makes the call fail."""
    assert started.wait(PATIENCE)
    time.sleep(0.7)


def is_known(end):
    """The end of a call whose link broke: its result, or an error that says that it is not known whether it ran, or that it never did."""
    if isinstance(end, ConnectionLostError):
        assert "not known" in str(end) or "never started" in str(end), end
        return False
    assert not isinstance(end, BaseException), repr(end)
    return True


def works(px):
    """The same client works again."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return px.execute_once("6 * 7").last_value_repr
        except ConnectionLostError:
            assert time.monotonic() < deadline


def test_a_link_that_is_reset_in_the_middle_of_a_run(px, link):
    started = threading.Event()
    with background(lambda: px.execute_once("import time\nstarted()\ntime.sleep(3)\n7", tools={"started": lambda: started.set()})) as ends:
        answered(started)
        link.reset()
    if is_known(ends[0]):
        assert ends[0].last_value_repr == "7"
    assert works(px) == "42"


@pytest.mark.parametrize("fault", ["cut", "silent"])
def test_a_link_that_is_away_until_the_run_has_ended(px, link, fault):
    started = threading.Event()
    with background(lambda: px.execute_once("import time\nstarted()\ntime.sleep(2)\n7", tools={"started": lambda: started.set()})) as ends:
        answered(started)
        if fault == "cut":
            link.cut()
        else:
            link.silent = True
        time.sleep(4)       # the time of the fault, not a wait
        if fault == "cut":
            link.resume()
        else:
            link.silent = False
    if is_known(ends[0]):
        assert ends[0].last_value_repr == "7"
    assert works(px) == "42"


def test_with_a_key_it_is_certain(px, link):
    """Whatever is lost, the code ran once, and the client knows it."""
    ran, started = [], threading.Event()

    def note():
        ran.append(1)
        started.set()
    with background(lambda: px.execute_once("import time\nnote()\ntime.sleep(2)\n7", key="certain", tools={"note": note})) as ends:
        answered(started)
        link.cut()
        time.sleep(3)       # the time of the fault, not a wait
        link.resume()
    if not isinstance(ends[0], AlreadyStartedError):
        assert is_known(ends[0]) and ends[0].last_value_repr == "7"
    assert works(px) == "42" and len(ran) == 1
    with pytest.raises(AlreadyStartedError):
        px.execute_once("note()", key="certain", tools={"note": note})
    assert len(ran) == 1


def test_a_link_that_is_reset_in_the_middle_of_an_upload(px, link):
    text = "x" * (8 << 20)
    link.delay = 0.05
    with background(lambda: px.execute_once("len(open('in').read())", files={"in": text})) as ends:
        time.sleep(0.5)     # the time of the fault, not a wait
        link.reset()
        link.delay = 0.0
    if is_known(ends[0]):
        assert ends[0].last_value_repr == str(len(text))
    assert works(px) == "42"
    assert px.execute_once("len(open('in').read())", files={"in": text}).last_value_repr == str(len(text))


def test_events_have_no_gap_when_the_link_is_reset(px, link):
    stream = px.stream("import time\nfor n in range(60):\n    print(n, flush=True)\n    time.sleep(0.05)\n'end'")
    texts = ""
    try:
        for number, event in enumerate(stream):
            if number == 10:
                link.reset()
            if hasattr(event, "text"):
                texts += event.text
        assert stream.result().last_value_repr == "'end'"
        assert texts == "".join("%d\n" % number for number in range(60))
    except ConnectionLostError as failure:
        assert not is_known(failure)
        assert "".join("%d\n" % number for number in range(60)).startswith(texts), "a gap"
    assert works(px) == "42"


def test_a_client_that_reads_slowly_gets_everything_and_holds_up_nobody(px, link, server):
    link.rate = 2 << 20
    with Pyexec.connect(server.url) as other:
        with background(lambda: px.execute_once("print('x' * (8 << 20))")) as ends:
            for _ in range(10):
                assert other.execute_once("6 * 7").last_value_repr == "42"
        assert len(ends[0].stdout) == (8 << 20) + 1

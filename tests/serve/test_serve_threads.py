# SPDX-License-Identifier: Apache-2.0
"""A request runs on the thread that has read it. The other connections go on meanwhile."""
import contextlib
import json
import socket
import threading

import pytest

from serving import dial, raw, serving, statuses
from waiting import wait_until

pytestmark = pytest.mark.usefixtures("nothing_left")

ENDLESS = "while True: pass"


def post(path, code, *headers):
    body = json.dumps({"code": code}).encode()
    lines = ["POST %s HTTP/1.1" % path, "Host: localhost", "Content-Length: %d" % len(body), *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@pytest.fixture
def narrow(own):
    """A server with two turns, and one of its connections with an endless run on each of them."""
    with serving(own, "--timeout", "100s", "--cpu-time-seconds", "100", config="[host]\nmax_concurrent = 2\nmax_asleep = 0\n") as server, \
            contextlib.ExitStack() as stack:
        server.busy = [stack.enter_context(contextlib.closing(dial(server.socket))) for _ in range(2)]
        for number, connection in enumerate(server.busy):
            connection.sendall(post("/v1/execute" if number else "/v1/sessions/busy/execute", ENDLESS))
            wait_until(lambda: server.metric("pyexec_running") == number + 1, "the run does not begin")
        yield server


def test_endless_runs_hold_up_no_other_connection(narrow):
    assert narrow.ask("GET", "/healthz").status == 200
    sessions = narrow.ask("GET", "/v1/sessions").json()["sessions"]
    assert [one["id"] for one in sessions] == ["busy"] and sessions[0]["busy"]
    assert narrow.metric("pyexec_running") == 2


def test_what_waits_for_a_turn_gets_it_when_a_client_goes_away(narrow):
    with contextlib.closing(dial(narrow.socket)) as waiting:
        waiting.sendall(post("/v1/execute", "6 * 7", "Connection: close"))
        wait_until(lambda: narrow.metric("pyexec_queue_length") == 1, "the request does not wait")
        narrow.busy[1].close()      # its run is cancelled
        answer = b""
        while chunk := waiting.recv(65536):
            answer += chunk
    assert statuses(answer) == [200] and b'"42"' in answer
    wait_until(lambda: narrow.metric("pyexec_running") == 1, "the cancelled run does not end")


def test_a_session_is_interrupted_over_another_connection_while_its_run_is_on_the_thread_that_read_it(narrow):
    assert narrow.ask("POST", "/v1/sessions/busy/interrupt").status == 204
    answer = b""
    while b"KeyboardInterrupt" not in answer:
        answer += narrow.busy[0].recv(65536)
    assert statuses(answer) == [200]
    assert narrow.result("1 + 1", "busy")["last_value_repr"] == "2"


def test_requests_that_are_sent_at_once_on_one_connection_are_answered_in_order(own):
    with serving(own) as server:
        sent = b"".join(post("/v1/sessions/s/execute", "%d" % number) for number in range(5)) + post("/v1/execute", "7", "Connection: close")
        answers = raw(server.socket, sent, timeout=60)
        assert statuses(answers) == [200] * 6
        values = [json.loads(part.partition(b"\r\n\r\n")[2])["last_value_repr"] for part in answers.split(b"HTTP/1.1 ")[1:]]
    assert values == ["0", "1", "2", "3", "4", "7"]


def test_a_client_that_sends_without_a_pause_does_not_keep_the_answers_of_others(own):
    with serving(own, "--files", "full", "--workspace-bytes", "1G") as server, contextlib.closing(dial(server.socket)) as busy, \
            contextlib.closing(server.connection()) as other:
        server.result("None", "s")
        ended = threading.Event()

        def send():
            busy.sendall(b"PUT /v1/sessions/s/files/large HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (1 << 29))
            with contextlib.suppress(OSError):
                while not ended.is_set():
                    busy.sendall(bytes(1 << 16))
        sender = threading.Thread(target=send)
        sender.start()
        try:
            for number in range(20):
                other.request("POST", "/v1/sessions/t/execute", json.dumps({"code": str(number)}))
                assert json.loads(other.getresponse().read())["last_value_repr"] == str(number)
        finally:
            ended.set()
            busy.shutdown(socket.SHUT_RDWR)
            sender.join()


def test_events_come_while_the_run_is_on_the_thread_that_read_it(own):
    """The events need another thread: this one is busy with the run, which waits until the first event has arrived."""
    code = "\n".join(["import time", "print('first', flush=True)", "while True:", "    try:", "        open('go').close()", "        break",
                      "    except FileNotFoundError:", "        time.sleep(0.01)", "print('second')"])
    with serving(own, "--files", "full", "--timeout", "100s") as server, contextlib.closing(dial(server.socket)) as stream:
        server.result("None", "s")
        stream.sendall(post("/v1/sessions/s/execute", code, "Accept: text/event-stream", "Connection: close"))
        got = b""
        while b"first" not in got:
            got += stream.recv(65536)
        assert b"second" not in got
        assert server.ask("PUT", "/v1/sessions/s/files/go", b"").status in (201, 204)
        while chunk := stream.recv(65536):
            got += chunk
        assert b"second" in got and b'"status":"ok"' in got

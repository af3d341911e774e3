"""How many system calls a call of a session costs when nothing else goes on: counted, not timed."""
import contextlib
import subprocess

from counted import counted
from driver import Driver
from json_lines import JsonLines
from serving import serving

__all__ = ["counted"]  # a fixture


def test_a_call_through_the_c_api_costs_few_system_calls(counted, compile_host, nothing_left):
    with Driver(counted.command(compile_host("capi_driver.c"))) as driver:
        host, script = counted.per_call(lambda: driver.call("s", "6 * 7"))
    # The driver itself reads a line and writes one. When this test was written, the host made 21 system calls and the session's
    # process 6 or 7. One or two more can have a reason; three more mean that each call now has an additional step.
    assert 10 < host - 2 <= 23.5, (host, script)
    assert 4 <= script <= 8.5, script


def test_a_call_through_rpc_costs_few_system_calls(counted, own, nothing_left):
    class Program:
        @staticmethod
        def popen(*arguments, **keywords):
            return subprocess.Popen(counted.command(own.path, *arguments), cwd="/", **keywords)

    with JsonLines(Program, "rpc") as client:
        client.ask("initialize", protocol=1, policy={"python_bin": "/usr/bin/python3"})
        host, script = counted.per_call(lambda: client.ask("execute", session_id="s", code="6 * 7"))
    # When this test was written there were 25: the 21 of a call through the C API, and 4 more that wait for the line, read it, let
    # another thread read the next one, and write the answer. Each thread that takes over a request costs three at least.
    assert 12 < host <= 27.5, host
    assert 4 <= script <= 8.5, script


def test_a_call_over_http_costs_few_system_calls(counted, own, nothing_left):
    class Program:
        uid = own.uid

        @staticmethod
        def popen(*arguments, **keywords):
            return subprocess.Popen(counted.command(own.path, *arguments), **keywords)

    with serving(Program, env={"PYEXEC_POLICY_PYTHON_BIN": "/usr/bin/python3"}) as server, \
            contextlib.closing(server.connection()) as connection:
        def call():
            connection.request("POST", "/v1/sessions/s/execute", '{"code": "6 * 7"}')
            answer = connection.getresponse()
            assert answer.status == 200 and b'"42"' in answer.read()
        host, script = counted.per_call(call)
    # When this test was written there were 30: the 21 of a call through the C API; the others wait for the connection, read the
    # request and let another thread wait meanwhile, send the answer and write the line of the log. Each thread that takes over a request
    # costs three at least; before, there were 38.
    assert 12 < host <= 34.5, host
    assert 4 <= script <= 8.5, script

# SPDX-License-Identifier: Apache-2.0
"""Approvals of tool calls through the C API (capi_approvals.c), as root and as an ordinary user: the name of a tool says what
its approver does with the call."""
import json
import os
import subprocess

import pytest

from conftest import USERS, uid_of


@pytest.fixture(scope="module", params=USERS)
def run(request, compile_host):
    program, uid = compile_host("capi_approvals.c"), uid_of(request.param)

    def call(script, **policy):
        """The result, and what the functions of the host said."""
        configuration = {"policy": {"python_bin": "/usr/bin/python3", "timeout_ms": 30000, "allowed_imports": ["asyncio"], **policy}}
        done = subprocess.run([program, json.dumps(configuration)], text=True, capture_output=True, timeout=120, input=script + "\0",
                              **{} if uid == os.getuid() else {"user": uid, "group": uid, "extra_groups": []})
        assert done.returncode == 0, done.stderr
        *said, result = done.stdout.splitlines()
        return json.loads(result), [line[2:] for line in said]
    return call


def test_an_allowed_call_reaches_its_tool(run, nothing_left):
    result, said = run("allowed([1, {'a': None}])")
    assert result["last_value_repr"] == "'done'"
    # The tool may be called on another thread before its approver has said that it allowed the call.
    assert said[0] == 'asked allowed {"n":[1,{"a":null}]}' and sorted(said[1:]) == ["allow: ok", 'called allowed {"n":[1,{"a":null}]}']


def test_a_denied_call_does_not_reach_its_tool(run):
    result, said = run("denied(1)")
    assert result["error_repr"] == "PermissionError: tool 'denied' denied: not on Sundays"
    assert said == ['asked denied {"n":1}', "deny: ok", "then allow: call_not_found"]


def test_a_call_that_nobody_decides_ends_at_its_time_limit(run):
    result, said = run("try: never(1)\nexcept ToolError as error: print(error)", tool_timeout_ms=100)
    assert (result["status"], result["stdout"]) == ("ok", "timeout: no answer within tool_timeout_ms=100\n")
    assert said == ['asked never {"n":1}', "allowed after the end: call_not_found"]


def test_a_second_decision_finds_no_call(run):
    result, said = run("twice()")
    assert result["last_value_repr"] == "'done'" and said.count("called twice {}") == 1
    assert [line for line in said if line != "called twice {}"] == [
        "asked twice {}", "first: ok", "second: call_not_found", "third: call_not_found", "deny: call_not_found"]


def test_a_call_is_allowed_after_its_run_was_cancelled(run, nothing_left):
    result, said = run("cancels(1)")
    assert result["status"] == "cancelled" and said == ['asked cancels {"n":1}', "allowed after the end: call_not_found"]


def test_a_call_is_allowed_after_the_script_gave_it_up(run):
    result, said = run("import asyncio, tools\ntry: await asyncio.wait_for(tools.aio.until(1), 0.05)\n"
                       "except asyncio.TimeoutError: print('gone')\nallowed(2)")
    assert (result["stdout"], result["last_value_repr"]) == ("gone\n", "'done'")
    assert said.count("allow: call_not_found") == 1 and said.count("allow: ok") == 1
    assert [line for line in said if line.startswith("called")] == ['called allowed {"n":2}']


def test_an_approver_may_answer_itself(run):
    result, said = run("answered()")
    assert (result["last_value_repr"], said) == ("'by the approver'", ["asked answered {}", "answer: ok"])


def test_a_call_that_its_approver_forgets_is_an_error(run):
    result, said = run("forgotten()")
    assert (result["error_repr"], said) == ("tools.ToolError: the host gave no answer", ["asked forgotten {}"])


def test_many_calls_are_allowed_later_and_at_once(run):
    script = "import asyncio, tools\nanswers = await asyncio.gather(*[tools.aio.later(i) for i in range(200)])\nanswers == ['done'] * 200"
    result, said = run(script)
    assert result["last_value_repr"] == "True" and said.pop() == "allowed later: 200"
    assert sorted(said) == sorted('called later {"n":%d}' % i for i in range(200))


def test_other_tools_are_not_held(run):
    result, said = run("free()")
    assert (result["last_value_repr"], said) == ("'done'", ["called free {}"])


def test_a_shared_tool_is_held_for_the_approver_of_the_request(run):
    result, said = run("mail.send()")
    assert result["last_value_repr"] == "'done'" and said[0] == "asked mail.send {}"
    assert sorted(said[1:]) == ["allow: ok", "called mail.send {}"]


def test_without_an_approver_nothing_is_approved(run):
    result, said = run("# no approver\nmail.send()")
    assert said == ["refused: tools: allowed: approval: not false: nobody approves calls here"]
    assert result["error_repr"] == "PermissionError: tool 'mail.send' denied: the tool needs approval, and this execution has nobody who can approve a call"

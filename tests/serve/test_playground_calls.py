# SPDX-License-Identifier: Apache-2.0
"""The playground's list of tool calls that wait: a person sees whole arguments, and allows or denies."""
import contextlib
import json

import pytest

from playground import TOKEN, browser, nothing_left, page, server       # noqa: F401 (fixtures)
from test_serve_tools import Run
from waiting import wait_until

pytestmark = pytest.mark.usefixtures("nothing_left", "no_call_left")
PAY = {"name": "pay", "approval": True, "parameters": {"type": "object", "additionalProperties": True}}
LOOKUP = {"name": "lookup", "parameters": {"type": "object", "additionalProperties": True}}


@pytest.fixture
def no_call_left(server):
    """The next test must not see a call of this one, whose client has gone away just now."""
    yield

    def waiting():
        found = server.ask("GET", "/v1/executions", token=TOKEN).json()
        return [call for one in found["executions"] + found["attached"] for call in one["calls"]]
    wait_until(lambda: not waiting(), "a call still waits", 60)


def calls(page):
    return page.text(".calls .call")


def shown(page, text):
    wait_until(lambda: text in calls(page), "the page does not show " + text, 60)


def gone(page):
    wait_until(lambda: page.value("document.querySelector('.calls').hidden"), "a call is still shown", 60)


@contextlib.contextmanager
def running(server, code, **more):
    with contextlib.closing(Run(server, code, tools=[PAY, LOOKUP], token=TOKEN, **more)) as run:
        yield run


def test_a_call_is_allowed(page, server):
    gone(page)
    with running(server, "pay(to='Ada', amount=9007199254740993, rate=0.10, parts=[1, {'a': None}])", session="till") as run:
        held = run.next("tool_approval", "tool_call")
        shown(page, "pay")
        assert "session till, since" in calls(page)
        arguments = page.text(".calls .arguments")
        assert arguments == '{\n  "to": "Ada",\n  "amount": 9007199254740993,\n  "rate": 0.1,\n  "parts": [\n    1,\n    {\n      "a": null\n    }\n  ]\n}'
        page.click("Allow pay")
        call = run.next("tool_call")
        assert call["call_id"] == held["call_id"]
        shown(page, "Waits for the answer of its client.")
        assert page.driver.find_elements("css selector", ".calls button") == []
        assert run.answer(call, {"result": "paid"}).status == 204
        assert run.result()["last_value_repr"] == "'paid'"
    gone(page)


@pytest.mark.parametrize("reason", ["", "not to Ada"])
def test_a_call_is_denied(page, server, reason):
    with running(server, "try: pay(to='Ada')\nexcept PermissionError as error: print(error)") as run:
        run.next("tool_approval")
        shown(page, "pay a single run, since")
        page.find(".calls input").send_keys(reason)
        page.click("Deny pay")
        assert run.result()["stdout"] == "tool 'pay' denied: %s\n" % (reason or "the user refused it")
    gone(page)


def test_a_reason_that_is_being_typed_stays_while_other_calls_come(page, server):
    with running(server, "pay(n=1)") as first:
        first.next("tool_approval")
        shown(page, '"n": 1')
        page.find(".calls input").send_keys("half a rea")
        with running(server, "pay(n=2)") as second:
            second.next("tool_approval")
            shown(page, '"n": 2')
            assert page.value("document.querySelector('.calls input').value") == "half a rea"
            assert page.value("document.activeElement === document.querySelector('.calls input')")
        wait_until(lambda: '"n": 2' not in calls(page), "a call whose client went away is still shown", 60)


def test_a_call_of_a_detached_run_waits_for_the_page(page, server):
    answer = server.ask("POST", "/v1/execute", {"code": "pay(n=1)", "detach": True, "tools": [PAY]}, token=TOKEN).json()
    shown(page, "pay")
    page.reload()
    shown(page, "pay")
    page.click("Deny pay")
    found = wait_until(lambda: (one := server.ask("GET", "/v1/executions/%s?wait_ms=5000" % answer["execution_id"], token=TOKEN).json())
                       ["state"] == "ended" and one, "it does not end", 60)
    assert found["result"]["error_repr"] == "PermissionError: tool 'pay' denied: the user refused it"
    gone(page)


def test_arguments_can_not_deceive_the_reader(page, server):
    hostile = {"html": "<img src=x onerror='document.title=1'><b>bold</b>", "turned": "\u202egnp.exe", "hidden": "a\u200bb", "line": "1\n2"}
    with running(server, "import json\npay(**json.loads(%r))" % json.dumps(hostile)) as run:
        run.next("tool_approval")
        shown(page, "pay")
        text = page.text(".calls .arguments")
        assert json.dumps(hostile["html"]) in text and '"\\u{202e}gnp.exe"' in text and '"a\\u{200b}b"' in text and '"1\\n2"' in text
        assert page.value("document.querySelector('.calls .arguments').children.length") == 0
        page.click("Deny pay")
        assert run.result()["status"] == "error"


def test_long_arguments_are_shown_whole(page, server):
    with running(server, "pay(text=' '.join(str(i) for i in range(100000)))") as run:
        run.next("tool_approval")
        shown(page, "pay")
        text = page.value("document.querySelector('.calls .arguments').textContent")
        assert json.loads(text) == {"text": " ".join(str(i) for i in range(100000))}
        page.click("Allow pay")
        assert run.answer(run.next("tool_call"), {"result": 1}).status == 204
        assert run.result()["last_value_repr"] == "1"


def test_another_users_calls_are_not_shown(page, server):
    with contextlib.closing(Run(server, "pay(n='of bob')", tools=[PAY], token="another")) as theirs, running(server, "pay(n='of alice')") as mine:
        theirs.next("tool_approval")
        mine.next("tool_approval")
        shown(page, "of alice")
        assert "of bob" not in calls(page)

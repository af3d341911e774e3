"""Tools: functions of this program that scripts call, sync and async, and the schemas that are made from their types and docstrings."""
import asyncio
import contextvars
import dataclasses
import enum
import re
import threading
from typing import Annotated, Any, Dict, List, Literal, Optional, TypedDict, Union

import pytest

from pyexec import AsyncPyexec, InvalidRequestError, Output, Pyexec, ToolDenied, ToolError
from pyexec.tools import Tool

CATCH = "try: value = f(%s)\nexcept Exception as error: value = (type(error).__name__, str(error), getattr(error, 'data', None))\nvalue"


class Unit(enum.Enum):
    CELSIUS = "C"
    FAHRENHEIT = "F"


@dataclasses.dataclass
class Place:
    """A place.

    Attributes:
        city: Its name.
    """
    city: str
    country: Optional[str] = None
    at: List[float] = dataclasses.field(default_factory=list)


class Options(TypedDict, total=False):
    days: int
    unit: Literal["C", "F"]


def lookup(city: str, days: int = 1, unit: Unit = Unit.CELSIUS, *, where: Optional[Place] = None, names: Optional[List[str]] = None,
           rates: Dict[str, float] = {}, mode: Literal["fast", "slow"] = "fast", note: Annotated[str, "Free text."] = "",
           both: Union[int, str] = 0, options: Options = {}, exact: bool = False, anything: Any = None) -> Dict[str, int]:
    """The weather of a city.

    More of it.

    Args:
        city: Its name,
            in English.
        days (int): How many.

    Returns:
        Degrees by day.
    """
    return {"city": len(city), "days": days}


def value(result):
    assert result.ok, (result.error, result.stderr)
    return eval(result.last_value_repr)


# ---- Definitions ----

def test_the_schema_comes_from_type_hints_and_docstring():
    assert Tool("lookup", lookup).definition == {
        "name": "lookup", "description": "The weather of a city.\n\nMore of it.",
        "returns": {"description": "Degrees by day.", "type": "object", "additionalProperties": {"type": "integer"}},
        "parameters": {"type": "object", "required": ["city"], "additionalProperties": False, "properties": {
            "city": {"description": "Its name, in English.", "type": "string"},
            "days": {"description": "How many.", "type": "integer", "default": 1},
            "unit": {"enum": ["C", "F"], "type": "string", "default": "C"},
            "where": {"type": ["object", "null"], "additionalProperties": False, "required": ["city"], "default": None, "properties": {
                "city": {"type": "string", "description": "Its name."}, "country": {"type": ["string", "null"]},
                "at": {"type": "array", "items": {"type": "number"}}}},
            "names": {"type": ["array", "null"], "items": {"type": "string"}, "default": None},
            "rates": {"type": "object", "additionalProperties": {"type": "number"}, "default": {}},
            "mode": {"enum": ["fast", "slow"], "type": "string", "default": "fast"},
            "note": {"type": "string", "description": "Free text.", "default": ""},
            "both": {"anyOf": [{"type": "integer"}, {"type": "string"}], "default": 0},
            "options": {"type": "object", "additionalProperties": False, "default": {}, "properties": {
                "days": {"type": "integer"}, "unit": {"enum": ["C", "F"], "type": "string"}}},
            "exact": {"type": "boolean", "default": False}, "anything": {"default": None}}}}


def test_docstrings_of_restructured_text():
    def f(city: str, days: int = 1) -> str:
        """The weather.

        :param city: Its name,
            in English.
        :type city: str
        :param int days: How many.
        :returns: A sentence.
        """
    definition = Tool("f", f).definition
    assert definition["description"] == "The weather."
    assert [one["description"] for one in definition["parameters"]["properties"].values()] == ["Its name, in English.", "How many."]
    assert definition["returns"] == {"description": "A sentence.", "type": "string"}


def test_functions_without_hints_with_more_arguments_and_positional_only():
    assert Tool("f", lambda a, b=2: a).definition["parameters"] == {
        "type": "object", "properties": {"a": {}, "b": {"default": 2}}, "required": ["a"], "additionalProperties": False}
    assert Tool("f", lambda **more: more).definition["parameters"] == {"type": "object", "properties": {}, "additionalProperties": True}
    namespace = {}
    exec("def f(a, /): pass", namespace)
    with pytest.raises(TypeError, match="positional-only"):
        Tool("f", namespace["f"])
    with pytest.raises(TypeError, match="neither a function"):
        Tool("f", ({}, 5))


# ---- Calls ----

def test_a_script_calls_a_function(px):
    result = px.execute_once("import inspect\nlookup('Paris', days=3), lookup('Oslo'), str(inspect.signature(lookup))[:27], lookup.__doc__.split('.')[0]",
                             tools={"lookup": lookup})
    assert value(result) == ({"city": 5, "days": 3}, {"city": 4, "days": 1}, "(city: str, days: int = 1, ", "The weather of a city")
    assert result.usage.tool_calls.count == 2


def test_arguments_become_what_the_hints_say(px):
    got = []

    def f(where: Place, unit: Unit, many: List[Unit], ratio: float, maybe: Optional[Place] = None, pair: Union[int, str] = 1) -> None:
        got.append((where, unit, many, ratio, maybe, pair))
    assert value(px.execute_once("str(f({'city': 'a', 'at': [1, 2.5]}, 'F', ['C', 'F'], 2, pair='x'))", tools={"f": f})) == "None"
    assert got[-1] == (Place("a", None, [1.0, 2.5]), Unit.FAHRENHEIT, [Unit.CELSIUS, Unit.FAHRENHEIT], 2.0, None, "x")
    assert type(got[-1][3]) is float and type(got[-1][0].at[0]) is float


@pytest.mark.parametrize("arguments, text", [
    ({"city": 5}, "city must be string, not 5"), ({"city": "a", "days": True}, "days must be integer, not True"),
    ({"city": "a", "unit": "K"}, "unit must be one of 'C', 'F', not 'K'"), ({"city": "a", "names": ["x", 1]}, "names[1] must be string, not 1"),
    ({"city": "a", "where": {"town": 1}}, "where lacks 'city'"), ({"city": "a", "where": {"city": "x", "y": 1}}, "where has an unknown key 'y'"),
    ({"city": "a", "options": {"days": "1"}}, "options['days'] must be integer, not '1'"), ({}, "lookup() needs the argument 'city'"),
    ({"city": "a", "self": 1}, "lookup() takes no argument 'self'"), ({"city": "a", "rates": []}, "rates must be object, not []"),
])
def test_arguments_that_a_script_must_not_send_do_not_reach_the_function(arguments, text):
    """The checks in the script only help honest code: native code can bypass them."""
    with pytest.raises(TypeError) as failure:
        Tool("lookup", lookup).call(arguments)
    assert str(failure.value) == text


def test_a_schema_of_ones_own(px):
    got = []
    schema = {"description": "Mails.", "parameters": {"type": "object", "properties": {"from": {"type": "string"}}, "required": ["from"]}}

    def mail(**given):
        got.append(given)
        return [given["from"]]
    assert value(px.execute_once("mail(**{'from': 'me'}), mail.__doc__[:6]", tools={"mail": (schema, mail)})) == (["me"], "Mails.")
    short = {"type": "object", "properties": {"n": {"type": "integer"}}}
    assert value(px.execute_once("f(n=3)", tools={"f": (short, lambda n: n + 1)})) == 4 and got == [{"from": "me"}]


def test_results_are_json(px):
    import datetime
    import decimal
    answers = iter([Place("a"), Unit.CELSIUS, {1: (2, {3})}, b"ab", datetime.date(2020, 1, 2), decimal.Decimal("1.5"), "é\0😀", 1 << 62])
    assert value(px.execute_once("[f() for _ in range(8)]", tools={"f": lambda: next(answers)})) == [
        {"city": "a", "country": None, "at": []}, "C", {"1": [2, [3]]}, "YWI=", "2020-01-02", "1.5", "é\0😀", 1 << 62]


@pytest.mark.parametrize("function, told", [
    (lambda: {}["x"], "'x'"), (lambda: 1 / 0, "division by zero"),
    (lambda: float("nan"), "tool 'f' returned a value that can't be written as JSON: Out of range float values"),
    (lambda: object(), "tool 'f' returned a value that can't be written as JSON: a value of the type object"),
    (lambda: "x" * (9 << 20), "8 MiB"), (lambda: 1 << 70, "too "), (lambda: "\ud800", "surrogate|Unicode"),
], ids=["KeyError", "ZeroDivisionError", "nan", "object", "large", "integer", "surrogate"])
def test_what_goes_wrong_is_told_without_a_traceback(px, function, told):
    kind, text, data = value(px.execute_once(CATCH % "", tools={"f": function}))
    assert (kind, data) == ("ToolError", None) and re.search(told, text) and "Traceback" not in text


def test_errors_with_data_and_denials(px):
    def fails():
        raise ToolError("no such city", {"near": ["Rome"]})

    def denies():
        raise ToolDenied("not on Sundays")
    assert value(px.execute_once(CATCH % "", tools={"f": fails})) == ("ToolError", "no such city", {"near": ["Rome"]})
    result = px.execute_once("f()", tools={"f": denies})
    assert result.error_repr == "PermissionError: tool 'f' denied: not on Sundays"
    assert [(denial.layer, denial.what) for denial in result.denials] == [("tools", "f()")]


def test_calls_of_a_script_run_at_once_on_threads(px):
    together = threading.Barrier(8)
    code = "import asyncio, tools\nawait asyncio.gather(*[tools.aio.f(i) for i in range(8)])"

    def f(i: int) -> int:
        together.wait(60)       # no call returns before all calls have arrived
        return i
    assert value(px.execute_once(code, tools={"f": f})) == list(range(8))


def test_functions_see_the_context_of_the_call(px):
    user = contextvars.ContextVar("user")
    user.set("me")
    assert value(px.execute_once("f()", tools={"f": lambda: user.get()})) == "me"


def test_an_async_function_for_the_client_that_waits(px):
    async def f(n: int) -> int:
        await asyncio.sleep(0)
        return n + 1
    assert value(px.execute_once("f(4)", tools={"f": f})) == 5


def test_a_session_has_tools_and_a_call_its_own(px):
    with px.session(tools={"f": lambda: "session's", "g": lambda: "g"}) as session:
        assert value(session.execute("f(), g()")) == ("session's", "g")
        assert value(session.execute("f(), g()", tools={"f": lambda: "call's"})) == ("call's", "g")
        assert value(session.execute("f(), g()")) == ("session's", "g")


def test_streams_have_tools_too(px):
    events = list(px.stream("print('before')\nprint(f())", tools={"f": lambda: "told"}))
    assert "".join(event.text for event in events if isinstance(event, Output)) == "before\ntold\n"


def test_names_that_no_tool_can_have_are_refused(px):
    for name in ("print", "class", "_x", "a-b"):
        with pytest.raises(InvalidRequestError, match="tools: "):
            px.execute_once("1", tools={name: lambda: 1})


def test_closing_while_a_tool_runs(_no_process_left):
    came, leave = threading.Event(), threading.Event()

    def f():
        came.set()
        leave.wait(60)
    px = Pyexec()
    call = threading.Thread(target=lambda: px.execute_once("f()", tools={"f": f}))
    call.start()
    assert came.wait(60)
    px.close()
    call.join(60)
    leave.set()
    assert not call.is_alive()


# ---- asyncio ----

def test_async_functions_run_in_the_callers_loop_at_once():
    async def main():
        loop, count, all_there = asyncio.get_running_loop(), 0, asyncio.Event()

        async def f(i: int) -> int:
            nonlocal count
            assert asyncio.get_running_loop() is loop
            count += 1
            if count == 10:
                all_there.set()
            await asyncio.wait_for(all_there.wait(), 60)
            return i
        async with AsyncPyexec(policy={"use_import_whitelist": False, "banned_imports": []}) as px:
            code = "import asyncio, tools\nawait asyncio.gather(*[tools.aio.f(i) for i in range(10)])"
            return await px.execute_once(code, tools={"f": f})
    assert value(asyncio.run(main())) == list(range(10))


def test_sync_functions_do_not_hold_the_loop_up():
    async def main():
        released = threading.Event()
        async with AsyncPyexec() as px:
            run = asyncio.create_task(px.execute_once("f()", tools={"f": lambda: released.wait(60)}))
            await asyncio.sleep(0.05)
            released.set()      # the loop runs while the function waits
            return await run
    assert value(asyncio.run(main())) is True


def test_a_cancelled_run_cancels_its_async_tools():
    async def main():
        began, ended = asyncio.Event(), asyncio.Event()

        async def f():
            began.set()
            try:
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                ended.set()
                raise
        async with AsyncPyexec() as px:
            run = asyncio.create_task(px.execute_once("f()", tools={"f": f}))
            await asyncio.wait_for(began.wait(), 60)
            run.cancel()
            await asyncio.wait_for(ended.wait(), 60)
            return (await px.execute_once("6 * 7")).last_value_repr
    assert asyncio.run(main()) == "42"


def test_a_large_answer_of_an_async_function():
    async def main():
        async def f() -> str:
            return "x" * 1000000
        async with AsyncPyexec() as px, px.session(tools={"f": f}) as session:
            return await session.execute("len(f())")
    assert value(asyncio.run(main())) == 1000000

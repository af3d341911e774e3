"""The client for asyncio, over each transport."""
import asyncio
import time

import pytest

from pyexec import InvalidPolicyError, Output, Result


def run(make, scenario):
    async def main():
        async with make() as px:
            return await asyncio.wait_for(scenario(px), 60)
    return asyncio.run(main())


def test_calls_at_once(make_async):
    async def scenario(px):
        begun = time.monotonic()
        slow = ["import time\ntime.sleep(0.5)\n%d" % number for number in range(4)]
        results = await asyncio.gather(*map(px.execute_once, slow))
        assert [result.last_value_repr for result in results] == ["0", "1", "2", "3"]
        assert time.monotonic() - begun < 1.9
    run(make_async, scenario)


def test_a_session_its_files_and_its_stream(make_async):
    async def scenario(px):
        async with px.session(policy={"max_value_bytes": 100}) as session:
            await session.files.write("a", b"1")
            assert [file.path for file in await session.files.list()] == ["a"] and await session.files.read("a") == b"1"
            events = [event async for event in session.stream("print(open('a').read())\n2")]
            assert events[0] == Output("stdout", "1\n", 0) and isinstance(events[1], Result) and len(events) == 2
            got = []
            await session.execute("print(3)", on_event=got.append)
            assert got[0].text == "3\n"
            await session.files.delete("a")
            assert session.id in [one["id"] for one in await px.sessions()]
            with pytest.raises(InvalidPolicyError):
                await px.execute_once("1", policy={"nosuch": 1})
    run(make_async, scenario)


@pytest.mark.parametrize("streamed", [False, True])
def test_cancelling_a_task_cancels_its_run(make_async, streamed):
    async def consume(stream):
        async for _ in stream:
            pass

    async def scenario(px):
        async with px.session() as session:
            await session.execute("x = 1")
            code = "import time\nprint(1, flush=True)\ntime.sleep(20)"
            task = asyncio.create_task(consume(session.stream(code)) if streamed else session.execute(code))
            await asyncio.sleep(0.4)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            begun = time.monotonic()
            assert (await session.execute("x")).last_value_repr == "1" and time.monotonic() - begun < 3
    run(make_async, scenario)


def test_an_interrupt_keeps_the_state(make_async):
    async def scenario(px):
        async with px.session() as session:
            task = asyncio.create_task(session.execute("x = 7\nimport time\ntime.sleep(20)"))
            await asyncio.sleep(0.4)
            await session.interrupt()
            assert (await task).error_repr == "KeyboardInterrupt"
            assert (await session.execute("x")).last_value_repr == "7"
    run(make_async, scenario)


def test_the_loop_goes_on_while_it_starts_and_sends(make_async):
    """The start of the process and a large message do not block other tasks."""
    async def scenario(px):
        ticks, late = 0, 0.0

        async def tick():
            nonlocal ticks, late
            while True:
                before = time.monotonic()
                await asyncio.sleep(0.01)
                ticks, late = ticks + 1, max(late, time.monotonic() - before)
        ticking = asyncio.create_task(tick())
        result = await px.execute_once("len('''%s''')" % ("x" * (8 << 20)))
        ticking.cancel()
        assert result.last_value_repr == str(8 << 20) and ticks > 3 and late < 1, (ticks, late)

    async def main():       # it was not started before
        px = make_async()
        await scenario(px)
        await px.close()
    asyncio.run(main())


def test_the_same_connection_for_both(px):
    px.session("both").execute("x = 3")

    async def scenario():
        return (await px.aio().session("both").execute("x")).last_value_repr
    assert asyncio.run(scenario()) == "3"
    px.session("both").close()

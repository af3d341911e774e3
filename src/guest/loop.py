# SPDX-License-Identifier: Apache-2.0
# The event loop of top-level await: one for a run, and one for all calls of a session. It runs only
# while a call runs; tasks that are left wait for the next call.

kept_loop = None


def script_loop(asyncio):
    """The loop that the script made its own, or None."""
    warnings = load("warnings")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return asyncio.get_event_loop_policy().get_event_loop()
        except RuntimeError:
            return None


def open_loop():
    """The loop, which get_event_loop() returns too."""
    global kept_loop
    asyncio = load("asyncio")
    if kept_loop is None or kept_loop.is_closed():
        kept_loop = script_loop(asyncio)
    if kept_loop is None or kept_loop.is_closed():
        kept_loop = asyncio.new_event_loop()
    asyncio.set_event_loop(kept_loop)
    return kept_loop


def turn(loop):
    """One round of what is ready."""
    loop.call_soon(loop.stop)
    loop.run_forever()


def await_value(coroutine):
    loop = open_loop()
    task = loop.create_task(coroutine)
    try:
        return loop.run_until_complete(task)
    except BaseException:
        # A limit or an interrupt that came between two steps: the cell must not go on in a later call.
        if not task.done():
            task.cancel()
            for _ in range(3):
                turn(loop)
        raise


async def inside(code, names):
    """A part without await of a cell that has one elsewhere: the loop runs for it too."""
    return eval(code, names)


def create_task(coroutine, keywords):
    """asyncio.create_task() where no loop runs: a later cell awaits the task."""
    asyncio, threading = load("asyncio"), load("threading")
    if asyncio._get_running_loop() is None and threading.current_thread() is threading.main_thread():
        return open_loop().create_task(coroutine, **keywords)
    return None


def begin_call():
    """asyncio.run() takes the thread's loop away at its end: a later call has one again."""
    asyncio = load("asyncio")
    if kept_loop is not None and not kept_loop.is_closed():
        asyncio.set_event_loop(kept_loop)
        return
    local = getattr(asyncio.get_event_loop_policy(), "_local", None)
    if getattr(local, "_loop", None) is None and getattr(local, "_set_called", True):
        open_loop()


def end_loop():
    """What asyncio.run() does at its end."""
    if kept_loop is None or kept_loop.is_closed():
        return
    asyncio = load("asyncio")
    tasks = asyncio.all_tasks(kept_loop)
    for task in tasks:
        task.cancel()
    if tasks:
        kept_loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    kept_loop.run_until_complete(kept_loop.shutdown_asyncgens())
    if hasattr(kept_loop, "shutdown_default_executor"):
        kept_loop.run_until_complete(kept_loop.shutdown_default_executor())
    asyncio.set_event_loop(None)
    kept_loop.close()

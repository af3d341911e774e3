# SPDX-License-Identifier: Apache-2.0
# The event loop of top-level await: one loop for a run, and one for all calls of a session. It runs only
# during a call. A task that is not finished when the call ends goes on in the next call.

kept_loop = None


def script_loop(asyncio):
    """Returns the loop that the script itself has set, or None."""
    warnings = load("warnings")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return asyncio.get_event_loop_policy().get_event_loop()
        except RuntimeError:
            return None


def open_loop():
    """Returns the loop, and sets it so that get_event_loop() returns it too."""
    global kept_loop
    asyncio = load("asyncio")
    if kept_loop is None or kept_loop.is_closed():
        kept_loop = script_loop(asyncio)
    if kept_loop is None or kept_loop.is_closed():
        kept_loop = asyncio.new_event_loop()
    asyncio.set_event_loop(kept_loop)
    return kept_loop


def turn(loop):
    """Runs the callbacks that are ready, once."""
    loop.call_soon(loop.stop)
    loop.run_forever()


def await_value(coroutine):
    loop = open_loop()
    task = loop.create_task(coroutine)
    try:
        return loop.run_until_complete(task)
    except BaseException:
        # A limit or an interrupt may come between two steps of the cell. The cell must not continue in a
        # later call, so its task is cancelled.
        if not task.done():
            task.cancel()
            for _ in range(3):
                turn(loop)
        raise


async def inside(code, names):
    """Runs a part of a cell that has no await, when another part of the cell has one: the loop runs for
    both."""
    return eval(code, names)


def create_task(coroutine, keywords):
    """Does what asyncio.create_task() does when no loop runs: a later cell can await the task."""
    asyncio, threading = load("asyncio"), load("threading")
    if asyncio._get_running_loop() is None and threading.current_thread() is threading.main_thread():
        return open_loop().create_task(coroutine, **keywords)
    return None


def begin_call():
    """Sets the thread's loop again. asyncio.run() has removed it at its end, and a later call needs
    one."""
    asyncio = load("asyncio")
    if kept_loop is not None and not kept_loop.is_closed():
        asyncio.set_event_loop(kept_loop)
        return
    local = getattr(asyncio.get_event_loop_policy(), "_local", None)
    if getattr(local, "_loop", None) is None and getattr(local, "_set_called", True):
        open_loop()


def renew_loop():
    """Gives the loop new descriptors in a branch, where it can't use those of its source. Its tasks and timers stay."""
    global kept_loop
    loop = kept_loop
    if loop is None or loop.is_closed():
        return
    try:
        loop._close_self_pipe()
        loop._selector.close()
        loop._selector = load("selectors").DefaultSelector()
        loop._make_self_pipe()
    except Exception:
        # It is a loop of another kind, which the script has set itself.
        kept_loop = None


def end_loop():
    """Ends the loop as asyncio.run() does at its end."""
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

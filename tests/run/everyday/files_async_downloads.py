# Asked: simulate downloading ten files at once with asyncio, at most three at a time, with retries and a time limit.
import asyncio
import random

random.seed(5)
attempts = {}


async def download(name: str, gate: asyncio.Semaphore) -> str:
    async with gate:
        for attempt in range(1, 4):
            attempts[name] = attempt
            await asyncio.sleep(random.uniform(0.001, 0.01))
            if random.random() < 0.3 and attempt < 3:
                continue
            return f"{name} ok"
    raise RuntimeError(name)


async def main():
    gate = asyncio.Semaphore(3)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(download(f"file{i}", gate)) for i in range(10)]
    results = [task.result() for task in tasks]
    try:
        async with asyncio.timeout(0.05):
            await asyncio.sleep(5)
    except TimeoutError:
        results.append("slow one given up")
    queue: asyncio.Queue[int] = asyncio.Queue()
    for i in range(3):
        queue.put_nowait(i)
    return results, queue.qsize()


results, left = asyncio.run(main())
print(len(results), results[-1], left, max(attempts.values()) <= 3)

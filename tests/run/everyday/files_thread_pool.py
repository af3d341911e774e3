# Asked: count words of many texts in parallel with a thread pool, and with a process pool if that works.
# Fails: FileNotFoundError: concurrent.futures.ThreadPoolExecutor
import queue
import threading
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed

texts = {f"text{i}": "the quick brown fox " * (i + 1) for i in range(12)}


def count(item):
    name, text = item
    return name, Counter(text.split())


total = Counter()
with ThreadPoolExecutor(max_workers=4) as pool:
    futures = [pool.submit(count, item) for item in texts.items()]
    for future in as_completed(futures):
        total += future.result()[1]
print(total.most_common(2))

jobs, results, lock = queue.Queue(), [], threading.Lock()


def worker():
    while (item := jobs.get()) is not None:
        with lock:
            results.append(item ** 2)
        jobs.task_done()


threads = [threading.Thread(target=worker, daemon=True) for _ in range(3)]
for t in threads:
    t.start()
for n in range(20):
    jobs.put(n)
jobs.join()
for _ in threads:
    jobs.put(None)
for t in threads:
    t.join(timeout=5)
print(sum(results), threading.active_count())
with ProcessPoolExecutor(max_workers=2) as pool:
    print(sum(pool.map(abs, range(-5, 5))))

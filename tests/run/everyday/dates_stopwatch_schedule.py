# Asked: measure how long a function takes, and build a schedule of tasks with durations.
import time
from datetime import datetime, timedelta
from functools import wraps


def timed(func):
    @wraps(func)
    def wrapper(*args, **kwargs):
        start = time.perf_counter()
        try:
            return func(*args, **kwargs)
        finally:
            elapsed = time.perf_counter() - start
            print(f"{func.__name__} took {'less than a second' if elapsed < 1 else 'long'}")
    return wrapper


@timed
def schedule(begin, tasks, pause=timedelta(minutes=10)):
    """Yields name, begin and end of each task."""
    time.sleep(0.05)
    plan = []
    for name, minutes in tasks:
        end = begin + timedelta(minutes=minutes)
        plan.append((name, begin, end))
        begin = end + pause
    return plan


for name, begin, end in schedule(datetime(2025, 3, 10, 9, 30), [("Stand-up", 15), ("Review", 50), ("Planning", 90)]):
    print(f"{begin:%H:%M}-{end:%H:%M}  {name}")
print(datetime.now() > datetime(2025, 1, 1), time.tzname[0], time.strftime("%Y", time.gmtime(0)))

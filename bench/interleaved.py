# SPDX-License-Identifier: Apache-2.0
"""Calls measured one after another in each round, so that all of them have the same neighbours; and what is shown of them."""
import statistics
import time

WARM_UP = 20        # rounds that are not counted


def spread(values):
    return {"p50": round(statistics.median(values)), "p90": round(statistics.quantiles(values, n=10)[-1])}


def measure(calls, count, check=lambda answer: None):
    """p50 and p90 of each in microseconds, by name. What `check` does with an answer is not part of the call's time."""
    samples = {name: [] for name in calls}
    for i in range(count + WARM_UP):
        for name, call in calls.items():
            began = time.perf_counter()
            answer = call()
            took = (time.perf_counter() - began) * 1e6
            check(answer)
            if i >= WARM_UP:
                samples[name].append(took)
    return {name: spread(values) for name, values in samples.items()}

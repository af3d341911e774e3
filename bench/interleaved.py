# SPDX-License-Identifier: Apache-2.0
"""Measures several kinds of calls. Each round makes one call of each kind, so that other programs of the machine disturb all kinds
alike."""
import statistics
import time

WARM_UP = 20        # rounds that are not counted


def spread(values):
    return {"p50": round(statistics.median(values)), "p90": round(statistics.quantiles(values, n=10)[-1])}


def measure(calls, count, check=lambda answer: None):
    """Returns p50 and p90 of each call in microseconds, by name. The time of `check`, which checks each answer, is not counted."""
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

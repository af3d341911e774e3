# SPDX-License-Identifier: Apache-2.0
"""The code that every peer runs. Each has an answer that the peer must print, so that a wrong answer is not counted as a quick one."""
import gzip
import json

ONE_LINE = "print(6 * 7)", "42\n"

GROUPBY = """
import numpy as np
import pandas as pd
frame = pd.DataFrame({"key": np.arange(10_000) % 10, "value": np.arange(10_000)})
print(frame.groupby("key")["value"].sum().tolist())
""", str([sum(range(key, 10_000, 10)) for key in range(10)]) + "\n"

SESSION_FIRST = "x = 0", ""


def session_step(number):
    """The call number 1, 2, … of a session: its answer is right only if the session keeps its state."""
    return "x = x + 1\nprint(x)", "%d\n" % number


def problems(path):
    """The problems of HumanEval with their canonical solutions and tests. Each prints a number of its own after its tests."""
    found = []
    with (gzip.open if path.endswith(".gz") else open)(path, "rt") as file:
        for number, line in enumerate(file):
            problem = json.loads(line)
            code = "%s%s\n%s\ncheck(%s)\nprint(%d)\n" % (problem["prompt"], problem["canonical_solution"], problem["test"],
                                                       problem["entry_point"], 7000 + number)
            found.append((code, "%d\n" % (7000 + number)))
    return found

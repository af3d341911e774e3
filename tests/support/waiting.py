# SPDX-License-Identifier: Apache-2.0
"""Waiting for something that other processes or threads do."""
import os
import time

# How many times longer the limits are with a sanitizer. They end only a test that fails.
SLOWER = 6 if os.environ.get("SANITIZE") else 1


def wait_until(condition, what="it did not happen", seconds=120):
    """Returns the first true value of the condition. `what`: what is waited for, or what is wrong, for the error."""
    deadline = time.monotonic() + seconds * SLOWER
    while not (found := condition()):
        assert time.monotonic() < deadline, "after %d s: %s" % (seconds * SLOWER, what)
        time.sleep(0.02)
    return found

"""libpyexec in a C program: threads, signals, life cycle."""
import os
import subprocess
import time

import pytest


@pytest.fixture(scope="session")
def program(compile_host):
    return compile_host("capi_threads.c")


@pytest.mark.parametrize("scenario", ["threads", "cycles", "sigchld-ignored", "own-waitpid", "two", "interrupt",
                                      "cancel", "free-while-running"])
def test_scenario(program, scenario, nothing_left):
    done = subprocess.run([program, scenario], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr


def test_host_killed_leaves_nothing(program, nothing_left):
    host = subprocess.Popen([program, "threads"], stdout=subprocess.DEVNULL)
    time.sleep(0.1)
    host.kill()
    host.wait()

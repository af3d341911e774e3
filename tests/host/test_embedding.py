"""libpyexec in a C program: threads, signals, life cycle."""
import os
import subprocess
import time

import pytest


@pytest.fixture(scope="session")
def program(compile_host):
    return compile_host("capi_threads.c")


@pytest.mark.parametrize("scenario", ["threads", "cycles", "sigchld-ignored", "own-waitpid", "two", "interrupt",
                                      "cancel", "free-while-running", "threads-of-tools"])
def test_scenario(program, scenario, nothing_left):
    done = subprocess.run([program, scenario], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr


def test_host_killed_leaves_nothing(program, nothing_left):
    host = subprocess.Popen([program, "threads"], stdout=subprocess.DEVNULL)
    time.sleep(0.1)
    host.kill()
    host.wait()


def test_a_storm_of_signals_loses_nothing(compile_host, nothing_left):
    done = subprocess.run([compile_host("capi_storm.c")], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr


@pytest.fixture(scope="session")
def host(compile_host):
    return compile_host("capi_uses.c")


@pytest.mark.parametrize("scenario", ["from-a-signal-handler", "output-as-it-comes", "input-from-a-descriptor", "request-used-again",
                                      "forked", "executed", "json-refused"])
def test_what_else_a_host_may_do(host, scenario, nothing_left):
    done = subprocess.run([host, scenario], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr


def test_a_killed_host_leaves_nothing_though_a_process_that_it_forked_lives(host, nothing_left):
    """When the host process dies, by SIGKILL too, everything below it dies at once."""
    process = subprocess.Popen([host, "forked-and-killed"], stdout=subprocess.PIPE, text=True)
    copy = int(process.stdout.readline())
    process.wait(60)
    try:
        deadline = time.monotonic() + 20
        while (left := launchers(os.path.dirname(host))) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert left == []
    finally:
        os.kill(copy, 9)
        process.stdout.close()


def launchers(folder):
    found = []
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and os.readlink("/proc/%s/exe" % name) == os.path.join(folder, "pyexec-launch"):
                found.append(int(name))
        except OSError:
            pass
    return found

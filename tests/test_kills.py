"""Anything killed at any moment leaves nothing behind."""
import json
import os
import signal
import subprocess
import time

import pytest

SLEEP = "import time\ntime.sleep(30)"
FLOOD = "while True: print('x' * 1000)"
ROLES = ["cli", "outer", "supervisor", "zygote", "child"]


def children(pid):
    try:
        with open("/proc/%d/task/%d/children" % (pid, pid)) as file:
            found = [int(word) for word in file.read().split()]
    except OSError:
        found = []
    if found:
        return found
    # Threads of the program have children of their own.
    try:
        tasks = os.listdir("/proc/%d/task" % pid)
    except OSError:
        return []
    for task in tasks:
        try:
            with open("/proc/%d/task/%s/children" % (pid, task)) as file:
                found += [int(word) for word in file.read().split()]
        except OSError:
            pass
    return found


def find(role, cli, wait=5):
    """The process of that role below the program, when it has come to be."""
    deadline = time.monotonic() + wait
    while time.monotonic() < deadline:
        outer = children(cli)
        supervisor = children(outer[0]) if outer else []
        below = sorted(children(supervisor[0])) if supervisor else []
        found = {"cli": [cli], "outer": outer, "supervisor": supervisor, "zygote": below[:1], "child": below[1:2]}[role]
        if found:
            return found[0]
        time.sleep(0.002)
    raise AssertionError("no %s" % role)


@pytest.mark.parametrize("code", [SLEEP, FLOOD], ids=["sleep", "flood"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=lambda n: n.name)
@pytest.mark.parametrize("role", ROLES)
def test_killed_while_running(own, role, number, code, nothing_left):
    cli = own.popen("run", "--timeout", "20s", "-c", "import time\n" + code, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL, start_new_session=True)
    find("child", cli.pid)
    time.sleep(0.05)
    os.kill(find(role, cli.pid), number)
    if role == "zygote" or (role != "cli" and number != signal.SIGKILL):
        # They ignore what could be sent by mistake, and a run outlives its zygote.
        time.sleep(0.2)
        cli.send_signal(signal.SIGTERM)
    cli.wait(10)
    assert cli.returncode != 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda n: n.name)
@pytest.mark.parametrize("delay_ms", [0, 2, 4, 6, 8, 10, 13, 16, 20, 30])
def test_program_killed_at_any_moment(own, number, delay_ms, nothing_left):
    cli = own.popen("run", "-c", SLEEP, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(delay_ms / 1000)
    cli.send_signal(number)
    cli.wait(10)


def test_interrupt_reaches_the_script(own):
    code = "import time\ntry:\n    time.sleep(30)\nexcept KeyboardInterrupt:\n    print('interrupted')"
    cli = own.popen("run", "-c", code, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    find("child", cli.pid)
    time.sleep(0.3)
    cli.send_signal(signal.SIGINT)
    out, err = cli.communicate(timeout=10)
    assert (cli.returncode, out) == (0, b"interrupted\n"), err


def test_a_killed_child_is_reported_as_killed(own):
    cli = own.popen("run", "--json", "-c", SLEEP, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    child = find("child", cli.pid)
    time.sleep(0.3)
    os.kill(child, signal.SIGKILL)
    out, _ = cli.communicate(timeout=10)
    assert b'"status":"killed"' in out and b'"exit_code":137' in out


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=lambda n: n.name)
@pytest.mark.parametrize("role", ROLES)
def test_killed_as_soon_as_it_is_there(pyexec, role, number, nothing_left):
    # At once, and with a workspace, an interpreter to find and output in flight.
    cli = pyexec.popen("run", "--timeout", "3s", "--files", "full", "-c", "open('a', 'w').write('x' * 100000)\nwhile True: print('x' * 1000)",
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        os.kill(find(role, cli.pid), number)
    except ProcessLookupError:
        pass
    time.sleep(0.1)
    cli.send_signal(signal.SIGTERM)
    cli.wait(10)
    assert cli.returncode != 0


@pytest.mark.parametrize("number, codes", [(signal.SIGTERM, (143, -15)), (signal.SIGINT, (1, 130, -2)), (signal.SIGKILL, (-9,))],
                         ids=["SIGTERM", "SIGINT", "SIGKILL"])
def test_exit_status_of_a_program_that_was_signalled(pyexec, number, codes, nothing_left):
    cli = pyexec.popen("run", "--timeout", "20s", "-c", SLEEP, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    find("child", cli.pid)
    time.sleep(0.3)
    cli.send_signal(number)
    _, err = cli.communicate(timeout=10)
    assert cli.returncode in codes, (cli.returncode, err)


@pytest.mark.parametrize("role", ["outer", "supervisor", "child"])
def test_a_killed_part_is_told_at_once(own, role, nothing_left):
    cli = own.popen("run", "--json", "--timeout", "20s", "-c", SLEEP, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    find("child", cli.pid)
    time.sleep(0.3)
    start = time.monotonic()
    os.kill(find(role, cli.pid), signal.SIGKILL)
    out, err = cli.communicate(timeout=10)
    answer = json.loads(out)
    assert time.monotonic() - start < 3
    assert answer.get("status") == "killed" or answer.get("code") == "internal", (answer, err)


def test_a_stopped_child_meets_its_limit(own, nothing_left):
    cli = own.popen("run", "--json", "--timeout", "1s", "-c", SLEEP, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    child = find("child", cli.pid)
    time.sleep(0.3)
    os.kill(child, signal.SIGSTOP)
    out, _ = cli.communicate(timeout=10)
    assert json.loads(out)["status"] == "timeout"


@pytest.mark.parametrize("delay_ms", [0, 0.3, 0.6, 1, 1.5, 2, 3, 8])
def test_an_early_interrupt_is_not_lost(own, delay_ms, nothing_left):
    cli = own.popen("run", "--timeout", "20s", "-c", SLEEP, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    find("child", cli.pid)
    time.sleep(delay_ms / 1000)
    cli.send_signal(signal.SIGINT)
    try:
        assert cli.wait(3) != 0
    finally:
        cli.kill()
        cli.wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda n: n.name)
def test_killed_rpc_leaves_nothing(pyexec, number, nothing_left):
    rpc = pyexec.popen("rpc", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    time.sleep(0.2)
    rpc.send_signal(number)
    rpc.wait(10)
    rpc.stdin.close()
    rpc.stdout.close()

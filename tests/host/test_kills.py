"""Anything killed at any moment leaves nothing behind."""
import json
import os
import signal
import subprocess
import threading
import time

import pytest

from library import Executor, Failure

SLEEP = "import time\ntime.sleep(30)"
FLOOD = "while True: print('x' * 1000)"
STUBBORN = "while True:\n    try:\n        i = 0\n        while True: i += 1\n    except BaseException: pass"
WRITER = "n = 0\nwhile True:\n    open('f%d' % (n % 50), 'wb').write(b'x' * 10000)\n    n += 1"
SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGKILL]
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


def by_age(found):
    """Sorts by start time, oldest first, because PIDs are reused. Leaves out processes that have ended."""
    births = []
    for pid in found:
        try:
            with open("/proc/%d/stat" % pid) as file:
                births.append((int(file.read().rsplit(")", 1)[1].split()[19]), pid))
        except OSError:
            continue
    return [pid for _, pid in sorted(births)]


def find(role, cli, wait=30):
    """Waits for the process with this role below the program, and returns it."""
    deadline = time.monotonic() + wait
    while time.monotonic() < deadline:
        outer = children(cli)
        supervisor = children(outer[0]) if outer else []
        below = by_age(children(supervisor[0])) if supervisor else []
        found = {"cli": [cli], "outer": outer, "supervisor": supervisor, "zygote": below[:1], "child": below[1:2]}[role]
        if found:
            return found[0]
        time.sleep(0.002)
    raise AssertionError("no %s" % role)


def begin(program, code, *flags):
    """Starts a run and waits until its script has printed go. If the script does not print it itself, a first line is added that does."""
    if "'go'" not in code:
        code = "print('go', flush=True)\n" + code
    cli = program.popen("run", *flags, "-c", code, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE)
    assert cli.stdout.readline() == b"go\n"
    return cli


def end(cli):
    """The end of the program also ends processes that ignore signals, and runs that could outlast it."""
    try:
        cli.wait(0.5)
    except subprocess.TimeoutExpired:
        cli.terminate()
    cli.wait(60)
    assert cli.returncode != 0 or "--json" in cli.args


@pytest.mark.parametrize("code, flags", [(SLEEP, []), (FLOOD, ["--json"]), (WRITER, ["--files", "full"])], ids=["sleep", "flood", "files"])
@pytest.mark.parametrize("number", SIGNALS, ids=lambda n: n.name)
@pytest.mark.parametrize("role", ROLES)
def test_killed_while_running(pyexec, role, number, code, flags, nothing_left):
    cli = pyexec.popen("run", "--timeout", "20s", "--cpu-time-seconds", "20", *flags, "-c", code, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    find("child", cli.pid)
    time.sleep(0.05)
    os.kill(find(role, cli.pid), number)
    end(cli)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda n: n.name)
@pytest.mark.parametrize("delay_ms", [0, 2, 4, 6, 8, 10, 13, 16, 20, 30])
def test_program_killed_at_any_moment(own, number, delay_ms, nothing_left):
    cli = own.popen("run", "-c", SLEEP, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(delay_ms / 1000)
    cli.send_signal(number)
    cli.wait(60)


def test_interrupt_reaches_the_script(own):
    code = "import time\ntry:\n    print('go', flush=True)\n    time.sleep(30)\nexcept KeyboardInterrupt:\n    print('interrupted')"
    cli = begin(own, code, "--timeout", "60s")
    cli.send_signal(signal.SIGINT)
    out, err = cli.communicate(timeout=60)
    assert (cli.returncode, out) == (0, b"interrupted\n"), err


def test_a_killed_child_is_reported_as_killed(own):
    cli = begin(own, SLEEP, "--timeout", "60s")
    os.kill(find("child", cli.pid), signal.SIGKILL)
    _, err = cli.communicate(timeout=60)
    assert cli.returncode == 137 and b"pyexec: killed: " in err, err


@pytest.mark.parametrize("number", SIGNALS, ids=lambda n: n.name)
@pytest.mark.parametrize("role", ROLES)
def test_killed_as_soon_as_it_is_there(pyexec, role, number, nothing_left):
    # A run that ends at once, a run with a workspace, a search for the interpreter, and output on its way.
    cli = pyexec.popen("run", "--timeout", "3s", "--files", "full", "-c", "open('a', 'w').write('x' * 100000)\nwhile True: print('x' * 1000)",
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        os.kill(find(role, cli.pid), number)
    except ProcessLookupError:
        pass
    time.sleep(0.1)
    cli.send_signal(signal.SIGTERM)
    cli.wait(60)
    assert cli.returncode != 0


@pytest.mark.parametrize("number, codes", [(signal.SIGTERM, (143, -15)), (signal.SIGINT, (1, 130, -2)), (signal.SIGKILL, (-9,))],
                         ids=["SIGTERM", "SIGINT", "SIGKILL"])
def test_exit_status_of_a_program_that_was_signalled(pyexec, number, codes, nothing_left):
    cli = begin(pyexec, SLEEP, "--timeout", "60s")
    cli.send_signal(number)
    _, err = cli.communicate(timeout=60)
    assert cli.returncode in codes, (cli.returncode, err)


@pytest.mark.parametrize("role", ["outer", "supervisor", "child"])
def test_a_killed_part_is_told_at_once(own, role, nothing_left):
    cli = begin(own, "import time\ntime.sleep(600)", "--timeout", "600s")
    os.kill(find(role, cli.pid), signal.SIGKILL)
    _, err = cli.communicate(timeout=60)
    assert cli.returncode == 137 and b"pyexec: killed: " in err or cli.returncode == 125, (cli.returncode, err)


def test_a_stopped_child_meets_its_limit(own, nothing_left):
    cli = begin(own, SLEEP, "--timeout", "2s")
    os.kill(find("child", cli.pid), signal.SIGSTOP)
    cli.communicate(timeout=60)
    assert cli.returncode == 124


@pytest.mark.parametrize("delay_ms", [0, 0.3, 0.6, 1, 1.5, 2, 3, 8])
def test_an_early_interrupt_is_not_lost(own, delay_ms, nothing_left):
    cli = own.popen("run", "--timeout", "20s", "-c", SLEEP, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    find("child", cli.pid)
    time.sleep(delay_ms / 1000)
    cli.send_signal(signal.SIGINT)
    try:
        assert cli.wait(15) != 0        # its time limit is 20 s
    finally:
        cli.kill()
        cli.wait()


def test_an_interrupt_just_before_a_system_call_is_not_lost(own, nothing_left):
    """Python checks for signals only between some instructions. It does not check after this sum, before it calls sleep with it."""
    code = "import time\nprint('go', flush=True)\ntime.sleep(20 + 0 * (b'ab' * (20 << 20))[-1] + 0 * (b'ab' * (20 << 20))[-1])"
    cli = own.popen("run", "--timeout", "20s", "-c", code, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert cli.stdout.readline() == b"go\n"
    time.sleep(0.01)
    cli.send_signal(signal.SIGINT)
    _, err = cli.communicate(timeout=15)
    assert cli.returncode == 1 and err.endswith(b"KeyboardInterrupt\n"), err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda n: n.name)
def test_killed_rpc_leaves_nothing(pyexec, number, nothing_left):
    rpc = pyexec.popen("rpc", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    time.sleep(0.2)
    rpc.send_signal(number)
    rpc.wait(60)
    rpc.stdin.close()
    rpc.stdout.close()


@pytest.mark.parametrize("role", ROLES)
def test_killed_between_the_two_steps_of_a_limit(pyexec, role, nothing_left):
    cli = pyexec.popen("run", "--timeout", "200ms", "-c", STUBBORN, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    victim = find(role, cli.pid)
    find("child", cli.pid)
    time.sleep(0.45)
    os.kill(victim, signal.SIGKILL)
    end(cli)


@pytest.mark.parametrize("number", SIGNALS, ids=lambda n: n.name)
def test_ended_while_it_waits_for_input(pyexec, number, nothing_left):
    read, write = os.pipe()
    cli = pyexec.popen("run", "--timeout", "20s", "-c", "input()", stdin=read, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(read)
    find("child", cli.pid)
    time.sleep(0.2)
    cli.send_signal(number)
    cli.wait(60)
    os.close(write)


def test_a_second_interrupt_ends_a_script_that_ignores_the_first(pyexec, nothing_left):
    code = STUBBORN.replace("i = 0", "print('go', flush=True); i = 0")
    cli = begin(pyexec, code, "--timeout", "60s", "--cpu-time-seconds", "60")
    cli.send_signal(signal.SIGINT)
    assert cli.stdout.readline() == b"go\n"
    cli.send_signal(signal.SIGINT)
    cli.communicate(timeout=50)
    assert cli.returncode != 0


# A host with a pool, sessions and running calls

OPEN = {"use_import_whitelist": False, "banned_imports": [], "disable_open": False}


def victims(role, host):
    outer = children(host)
    supervisor = [pid for parent in outer for pid in children(parent)]
    below = by_age(pid for parent in supervisor for pid in children(parent))
    return {"outer": outer, "supervisor": supervisor, "any below": below}[role]


@pytest.mark.parametrize("role", ["outer", "supervisor", "any below"])
def test_a_host_goes_on_after_any_of_its_processes_is_killed(role, nothing_left):
    with Executor(OPEN, {"max_count": 0}) as executor:
        for i in range(5):
            assert executor.call("s%d" % i, "x = %d" % i)["status"] == "ok"
        outcomes = []

        def run(session):
            try:
                outcomes.append(executor.call(session, "import time\ntime.sleep(2)", timeout_ms=20000)["status"])
            except Failure as failure:
                outcomes.append(failure.code)
        threads = [threading.Thread(target=run, args=(name,)) for name in (None, "s0")]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        for pid in victims(role, executor.pid):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()
        assert set(outcomes) <= {"ok", "killed", "crashed", "internal", "sandbox_unavailable"}, outcomes
        assert executor.call(None, "6 * 7")["last_value_repr"] == "42"
        for i in range(1, 5):
            result = executor.call("s%d" % i, "'x' in globals()")
            assert result["status"] == "ok", result
            if result["session"]["created"]:
                assert result["last_value_repr"] == "False" and result["session"]["restarted"] in ("killed", "crashed"), result
            else:
                assert result["last_value_repr"] == "True" and result["session"]["restarted"] is None, result


def descriptors(pid):
    return len(os.listdir("/proc/%d/fd" % pid))


def test_a_host_whose_processes_are_killed_again_and_again_keeps_nothing_of_them(nothing_left):
    with Executor(OPEN, {"max_count": 0}) as executor:
        counts = []
        for _ in range(8):
            assert executor.call(None, "1")["status"] == "ok" and executor.call("s", "1")["status"] == "ok"
            time.sleep(0.1)
            counts.append((descriptors(executor.pid), len(os.listdir("/proc/%d/task" % executor.pid))))
            for pid in victims("supervisor", executor.pid):
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.1)
        assert max(counts[4:])[0] <= max(counts[:4])[0] + 2 and max(c[1] for c in counts) <= counts[0][1] + 1, counts


@pytest.mark.parametrize("number", SIGNALS, ids=lambda n: n.name)
def test_a_host_with_sessions_that_is_ended_leaves_nothing(number, open_folder, nothing_left):
    executor = Executor(OPEN, {"max_count": 0, "workspace_root": str(open_folder)})
    for i in range(5):
        executor.call("s%d" % i, "open('f', 'w').write('x')")
    thread = threading.Thread(target=lambda: _ignore(executor, "import time\ntime.sleep(60)"), daemon=True)
    thread.start()
    time.sleep(0.3)
    executor.process.send_signal(number)
    executor.process.wait(60)
    executor.process.stdin.close()


def _ignore(executor, code):
    try:
        executor.call("s0", code, timeout_ms=60000)
    except (Failure, AssertionError, OSError):
        pass

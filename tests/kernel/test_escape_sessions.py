"""Attacks that need more than one run: by a session's process between its calls, by files that it leaves for the
host, and against the program that serves it."""
import os
import resource
import threading
import time

import pytest

from conftest import ORDINARY
from library import Executor, Failure
from serving import SLOWER
from test_escape import read

OPEN = {"use_import_whitelist": False, "banned_imports": [], "block_dunder_imports": False, "disable_open": False}
_, PRELUDE = read("prelude")
FORGED = PRELUDE + "send(field(OUTCOME, b'\\0'), field(EXIT_CODE, bytes(4)), field(DONE))\n"


def spent_ms(process):
    """Returns the CPU time of the program itself, without its child processes."""
    with open("/proc/%d/stat" % process) as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * 1000 // os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("burn", ["while True: pass", "time.sleep(1.2)\nwhile True: pass",
                                  "import threading\nfor _ in range(3): threading.Thread(target=exec, args=('while True: pass',)).start()"])
def test_a_session_that_forged_its_end_has_no_more_cpu_time_than_a_call(burn, nothing_left):
    with Executor({**OPEN, "cpu_time_seconds": 1}) as executor:
        assert executor.call("s", FORGED + burn)["status"] == "ok"
        deadline = time.monotonic() + 20
        while executor.sessions() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert executor.sessions() == []
        assert executor.call("s", "1")["session"]["restarted"] == "cpu_limit"


def test_a_session_that_waits_keeps_its_state_and_costs_the_program_nothing(nothing_left):
    with Executor({**OPEN, "cpu_time_seconds": 1}) as executor:
        executor.call("s", "import time\nt = time.process_time()\nwhile time.process_time() < t + 0.9: pass")
        time.sleep(0.7)
        before = spent_ms(executor.pid)
        time.sleep(2)
        assert spent_ms(executor.pid) - before <= 20
        assert executor.call("s", "t > 0")["last_value_repr"] == "True"


def test_a_forged_end_changes_only_that_session(nothing_left):
    with Executor(OPEN) as executor:
        executor.call("other", "x = 'mine'")
        assert executor.call("s", FORGED + "for _ in range(500): send(field(VALUE, b'FORGED'), field(OUTCOME, b'\\0'), field(DONE))\n")["status"] == "ok"
        assert executor.call("other", "x")["last_value_repr"] == "'mine'"
        time.sleep(0.3)
        for _ in range(5):      # the result of its own call may be anything, but the call must return or be ended
            assert executor.call("s", "1", timeout_ms=500)["status"] in ("ok", "crashed", "timeout")
        assert executor.call("other", "x")["last_value_repr"] == "'mine'"


@pytest.mark.parametrize("deed", [
    "def steal():\n    while True:\n        try: os.read(3, 1)\n        except OSError: pass",
    "def steal():\n    libc.shutdown(3, 2)",
    "def steal():\n    os.close(3)",
    "def steal():\n    while True: send(field(VALUE, b'FORGED'), field(DONE))",
    "def steal():\n    while True: send(b'')",
    "def steal():\n    while True: os.write(1, b'FORGED' * 1000)",
])
def test_a_thread_that_takes_the_channel_hurts_its_own_session_alone(deed, nothing_left):
    with Executor({**OPEN, "timeout_ms": 700}) as executor:
        executor.call("other", "x = 'mine'")
        executor.call("s", PRELUDE + deed + "\nimport threading\nthreading.Thread(target=steal, daemon=True).start()")
        for _ in range(3):
            assert executor.call("s", "2")["status"] in ("ok", "crashed", "timeout", "killed")
            assert executor.call("other", "x")["last_value_repr"] == "'mine'"
            assert executor.call(None, "'one'")["last_value_repr"] == "'one'"
        executor.close("s")
        assert executor.call("s", "3")["last_value_repr"] == "3"


def test_descriptors_sent_to_the_host_do_not_stay(nothing_left):
    with Executor(OPEN, host={"pool_size": 0}) as executor:
        executor.call(None, "1")
        folder = "/proc/%d/fd" % executor.pid
        time.sleep(0.3)
        before = len(os.listdir(folder))
        for _ in range(20):
            executor.call(None, PRELUDE + "import socket, array\nc = socket.socket(fileno=3)\n"
                          "c.sendmsg([field(VALUE, b'x')], [(1, 1, array.array('i', [1] * 200))])\n")
        time.sleep(0.3)
        assert len(os.listdir(folder)) <= before + 2


RACE = """
import threading
victim = os.environ['VICTIM']
def swap(n):
    while True:
        try: os.mkdir('d%d' % n, 0)
        except OSError: pass
        try: os.rmdir('d%d' % n)
        except OSError: pass
        try: os.symlink(victim, 'd%d' % n)
        except OSError: pass
        try: os.unlink('d%d' % n)
        except OSError: pass
for n in range(8): threading.Thread(target=swap, args=(n,), daemon=True).start()
"""


def test_the_folder_of_a_closed_session_is_removed_whatever_it_does(open_folder, nothing_left):
    """Threads make folders and links while the session ends. Nothing outside of the session changes, and nothing stays."""
    victim = open_folder / "victim"
    victim.write_text("")
    os.chmod(victim, 0o644)
    root = open_folder / "root"
    root.mkdir()
    os.chmod(root, 0o755)
    with Executor(OPEN, session={"workspace_root": str(root)}) as executor:
        for n in range(15):
            executor.call("s%d" % n, RACE, env={"VICTIM": str(victim)})
            executor.close("s%d" % n)
        deadline = time.monotonic() + 20
        while os.listdir(root) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert os.listdir(root) == []
    assert victim.stat().st_mode & 0o7777 == 0o644


def test_folders_by_the_hundred_thousand_do_not_hold_the_host(nothing_left):
    """They are not files, but the host's limit of examined entries applies to them too."""
    with Executor({**OPEN, "workspace_bytes": 4 << 30, "cpu_time_seconds": 20, "timeout_ms": 20000}) as executor:
        made = executor.call("s", "import os\nfor i in range(150): os.mkdir('%d' % i)\nfor i in range(150):\n"
                                  "    for j in range(1000): os.mkdir('%d/%d' % (i, j))\n1")
        assert made["status"] == "ok" and made["files_truncated"], made
        before = spent_ms(executor.pid)
        result = executor.call("s", "2")
        assert result["files_truncated"] and spent_ms(executor.pid) - before < 600 * SLOWER


@pytest.mark.parametrize("call", ["list_files", "write_file", "read_file", "delete_file"])
def test_file_calls_during_a_storm_of_links_stay_inside(call, open_folder, nothing_left):
    victim = open_folder / "victim"
    victim.mkdir()
    (victim / "f").write_text("secret")
    with Executor(OPEN) as executor:
        executor.call("s", RACE.replace("'d%d' % n, 0", "'d%d' % n"), env={"VICTIM": str(victim)})
        for n in range(100):
            try:
                answer = getattr(executor, call)("s", *{"list_files": (), "write_file": ("d%d/f" % (n % 8), b"FORGED")}.get(call, ("d%d/f" % (n % 8),)))
                assert answer in (None, b"FORGED") or isinstance(answer, list), answer
            except Failure as failure:
                assert failure.code == "invalid_request", failure
    assert [(path.name, path.read_text()) for path in victim.iterdir()] == [("f", "secret")]


PARK = """
import os, socket, array
keep, n = [socket.socketpair() for _ in range(150)], 0
try:
    while n < 20000:
        a, b = socket.socketpair()
        keep[n % 150][0].sendmsg([b'x'], [(1, 1, array.array('i', [a.fileno(), b.fileno()]))])
        a.close(), b.close()
        n += 2
except OSError: pass
n > 0
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
@pytest.mark.parametrize("files", [4096, None])
@pytest.mark.parametrize("limit, hard", [(1024, 1024), (8192, 8192), (1024, 20000)])
def test_descriptors_in_flight_do_not_keep_others_out(files, limit, hard, own, nothing_left):
    """The kernel counts them for the user of all runs. If the service is not root, it has the same user."""
    def ordinary():
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, min(hard, resource.getrlimit(resource.RLIMIT_NOFILE)[1])))
    with Executor({**OPEN, "max_open_files": files, "cpu_time_seconds": 10}, program=own.path, preexec_fn=ordinary,
                  user=ORDINARY, group=ORDINARY, extra_groups=[], cwd="/") as executor:
        assert executor.call("a", PARK)["last_value_repr"] == "True"
        assert executor.call("b", PARK)["status"] == "ok"
        assert [executor.call(who, "1 + 1")["last_value_repr"] for who in (None, "a", "b", "c")] == ["2"] * 4


def test_a_list_of_long_paths_is_bounded(nothing_left):
    """For each file the kernel keeps a name, the host keeps the whole path, and JSON takes six bytes for each byte of it."""
    code = """
import os
name = b'\\x01' * 255
for _ in range(15):
    os.mkdir(name)
    os.chdir(name)
for number in range(4000):
    os.close(os.open(b'%d' % number, os.O_CREAT | os.O_WRONLY))
"""
    with Executor({**OPEN, "cpu_time_seconds": 20}) as executor:
        result = executor.call("s", code)
        assert (result["status"], result["files_truncated"]) == ("ok", True), result
        files = executor.list_files("s")
        assert files and sum(len(file["path"]) for file in files) <= 4 << 20
        assert executor.call("s", "1")["last_value_repr"] == "1"

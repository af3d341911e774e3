"""Scripts that take the permissions of their folders from the user who runs pyexec: nothing is lost, and
nothing is left behind. Root opens every folder; an ordinary user must get the permissions again."""
import json
import os
import stat
import subprocess
import threading

import pytest

from serving import serving
from waiting import wait_until

pytestmark = pytest.mark.usefixtures("nothing_left")
ANY = ["--files", "full", "--any-import"]
TREE = """
import os
os.makedirs('a/b/c')
for path in ('top', 'a/one', 'a/b/two', 'a/b/c/three'):
    open(path, 'w').write('x')
"""
FILES = ["a/b/c/three", "a/b/two", "a/one", "top"]
# Folders without read permission, without search permission, without both, and read-only. The inner folders come first, while they can be reached.
MODES = ["os.chmod('.', 0)", "os.chmod('.', 0o400)", "os.chmod('.', 0o500)", "os.chmod('.', 0o200)",
         "for path in ('a/b/c', 'a/b', 'a', '.'): os.chmod(path, 0)",
         "for path in ('a/b/c', 'a/b', 'a'): os.chmod(path, 0o400)",
         "for path in ('a/b/c', 'a/b', 'a'): os.chmod(path, 0o500)",
         "for path in ('a/b/c', 'a/b', 'a'): os.chmod(path, 0o100)"]
# Deeper than a walk goes at once, and with the name taken that it would move deep folders to.
DEEP = """
import os
for number in range(40):
    os.makedirs('.pyexec-%d/x' % number)
for _ in range(200):
    os.mkdir('d')
    os.chdir('d')
for _ in range(200):
    os.chdir('..')
    os.chmod('d', MODE)
"""


def listed(result):
    return [file["path"] for file in result["files"]]


@pytest.fixture
def host_root(pyexec, open_folder):
    os.chown(open_folder, pyexec.uid, pyexec.uid)
    return open_folder


@pytest.fixture
def server(pyexec, host_root):
    with serving(pyexec, *ANY, "--timeout", "60s", "--audit-log", "FOLDER/audit", config="[session]\nworkspace_root = %s\n" % host_root) as running:
        yield running


def limit_descriptors(server, soft):
    """The program runs as its own user, because root in a container does not have this permission."""
    subprocess.run(["prlimit", "--pid", str(server.process.pid), "--nofile=%d:" % soft], check=True,
                   **{"user": server.program.uid, "group": server.program.uid} if os.getuid() == 0 else {})


def audited(server):
    with open(os.path.join(server.folder, "audit")) as file:
        return [json.loads(line) for line in file]


def test_a_run_is_listed_whole(pyexec):
    for modes in MODES:
        result = pyexec.result(TREE + modes, *ANY)
        assert result["status"] == "ok" and listed(result) == FILES and not result["files_truncated"], (modes, result)


def test_a_session_goes_on_and_leaves_nothing(server, host_root):
    for number, modes in enumerate(MODES):
        name = "s%d" % number
        assert listed(server.result(TREE + modes, name)) == FILES, modes
        after = server.result("open('after', 'w').write('y') if os.access('.', os.W_OK) else None\n'goes on'", name)
        assert after["status"] == "ok" and after["last_value_repr"] == "'goes on'", (modes, after)
        assert server.ask("GET", "/v1/sessions/%s/files" % name).status == 200
        assert server.ask("DELETE", "/v1/sessions/" + name).status == 204
    assert [entry["status"] for entry in audited(server)] == ["ok"] * 2 * len(MODES)
    wait_until(lambda: not os.listdir(host_root), "a session's folder is left behind")


def test_a_listing_leaves_inner_modes_as_the_script_set_them(server):
    server.result(TREE + "os.chmod('a/b', 0o100)\nos.chmod('a', 0)", "s")
    result = server.result("mode = os.stat('a').st_mode\nos.chmod('a', 0o700)\n[oct(mode & 0o777), oct(os.stat('a/b').st_mode & 0o777)]", "s")
    assert result["last_value_repr"] == "['0o0', '0o100']", result


def test_a_deep_tree_is_removed(server, host_root):
    for mode in ("0", "0o500", "0o400"):
        server.result(DEEP.replace("MODE", mode), "deep")
        server.ask("DELETE", "/v1/sessions/deep")
        wait_until(lambda: not os.listdir(host_root), "the session's folder is left behind")


def test_a_folder_of_the_caller_is_given_back(pyexec, host_root):
    folder = host_root / "own"
    folder.mkdir()
    os.chown(folder, pyexec.uid, pyexec.uid)
    result = pyexec.result(TREE + MODES[4], *ANY, "--workspace", str(folder))
    assert result["status"] == "ok" and listed(result) == FILES, result
    assert stat.S_IMODE(folder.stat().st_mode) & 0o500 == 0o500


def test_a_run_after_which_the_host_fails_is_audited(server, host_root):
    """The code ran, but then the server can't open any file, not even the folder that it must list."""
    code = "import os, time\nopen('started', 'w').close()\nwhile not os.path.exists('go'): time.sleep(0.01)"
    answers = []
    caller = threading.Thread(target=lambda: answers.append(server.execute(code, "s")))
    caller.start()
    started = host_root / "local" / "s" / "started"
    wait_until(started.exists, "the script does not start")
    limit_descriptors(server, 3)
    (host_root / "local" / "s" / "go").touch()
    caller.join(60)
    limit_descriptors(server, 1024)
    entry, = audited(server)
    assert answers[0].status in (500, 503), answers[0].body
    assert entry["error"] == answers[0].json()["code"] and len(entry["code_sha256"]) == 64, entry

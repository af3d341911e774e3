# SPDX-License-Identifier: Apache-2.0
"""A new interpreter for each run, as subprocess starts it. It isolates nothing but the state of the interpreter."""
import subprocess

from . import driver

WHAT = {"name": "python3", "mode": "`python3 -I -S` for each run",
        "isolates": {"processes": "no", "network": "no", "files": "no", "memory": "no", "cpu": "no", "kernel": "no"}}


def run(arguments, **keywords):
    done = subprocess.run(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **keywords)
    if done.returncode:
        raise driver.Cannot((done.stderr.strip().splitlines() or ["exit status %d" % done.returncode])[-1])
    return done.stdout


class Peer(driver.Peer):
    def __init__(self, python, science):
        self.python, self.science = python, science

    def run(self, code):
        return run([self.python, "-I", "-S", "-c", code])

    def run_packages(self, code):
        if not self.science:
            raise driver.Cannot("numpy and pandas are not installed")
        return run([self.science, "-I", "-c", code])

    def open(self, name):
        raise driver.Cannot("a process ends with its run")


def install(place):
    return place.driver("python_per_call", place.python, place.science()), place.version(place.python, "--version")

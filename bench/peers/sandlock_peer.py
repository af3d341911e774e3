# SPDX-License-Identifier: Apache-2.0
"""sandlock: Landlock, seccomp and a supervisor, without namespaces. Each run is a new Python in a new sandbox."""
from . import driver, install as installing

PACKAGES = ["sandlock==0.9.0"]
WHAT = {"name": "sandlock", "mode": "`Sandbox.run` of python3 for each run, with `max_memory` and `max_processes`",
        "isolates": {"processes": "by Landlock: it can't signal others; it sees them in /proc",
                     "network": "by Landlock and seccomp: nothing unless allowed", "files": "what Landlock allows, here /usr read-only",
                     "memory": "limited by its supervisor", "cpu": "a share of a core, if set",
                     "kernel": "a list of refused system calls; Landlock"}}
READABLE = ["/usr", "/lib", "/lib64", "/bin", "/etc", "/proc", "/dev"]


class Peer(driver.Peer):
    def __init__(self, python, science):
        self.python, self.science = python, science

    def sandbox(self, arguments, readable=()):
        from sandlock import Sandbox
        done = Sandbox(fs_readable=[*READABLE, *readable], max_memory="1G", max_processes=32, clean_env=True).run(arguments, timeout=60)
        if not done.success:
            raise driver.Cannot((done.stderr.decode(errors="replace").strip().splitlines() or [str(done.error)])[-1])
        return done.stdout.decode()

    def run(self, code):
        return self.sandbox([self.python, "-I", "-S", "-c", code])

    def run_packages(self, code):
        return self.sandbox([self.science, "-I", "-c", code], [self.science.rpartition("/bin/")[0]])

    def open(self, name):
        raise driver.Cannot("a process ends with its run; its forks run a function that is fixed at the start")


def install(place):
    python = place.venv("sandlock", PACKAGES + installing.SCIENCE)
    return place.driver("sandlock_peer", place.python, python, python=python), ", ".join(PACKAGES)

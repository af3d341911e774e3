# SPDX-License-Identifier: Apache-2.0
"""bubblewrap with a new Python for each run: all namespaces new, the system's folders read-only."""
import os

from . import driver, install as installing
from .python_per_call import run

WHAT = {"name": "bubblewrap", "mode": "`bwrap --unshare-all` and python3 for each run",
        "isolates": {"processes": "its own PID namespace", "network": "none, by namespace",
                     "files": "what the command line binds, here /usr read-only", "memory": "no", "cpu": "no",
                     "kernel": "all system calls, unless the caller brings a filter"}}
WALL = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--ro-bind", "/usr", "/usr", "--symlink", "usr/lib",
        "/lib", "--symlink", "usr/lib64", "/lib64", "--symlink", "usr/bin", "/bin", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]


class Peer(driver.Peer):
    def __init__(self, python, science):
        self.python, self.science = python, science

    @staticmethod
    def wall(python):
        """Binds the folder of the interpreter too, if it is not in /usr."""
        folder = os.path.dirname(os.path.dirname(os.path.abspath(python)))
        real = os.path.dirname(os.path.dirname(os.path.realpath(python)))
        return WALL + [word for path in sorted({folder, real} - {"/usr"}) for word in ("--ro-bind", path, path)]

    def run(self, code):
        return run([*self.wall(self.python), self.python, "-I", "-S", "-c", code])

    def run_packages(self, code):
        if not self.science:
            raise driver.Cannot("numpy and pandas are not installed")
        return run([*self.wall(self.science), self.science, "-I", "-c", code])

    def open(self, name):
        raise driver.Cannot("it starts programs; a session would be a program of the caller")


def install(place):
    installing.needs("bwrap")
    return place.driver("bubblewrap", place.python, place.science()), place.version("bwrap", "--version")

# SPDX-License-Identifier: Apache-2.0
"""The packages of tests from PyPI and npm, with the versions that are pinned in requirements.txt or package.json."""
import fcntl
import hashlib
import os
import shutil
import subprocess

import pytest

from conftest import BUILD, ROOT


def _run(*command, **keywords):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=600, **keywords)
    if done.returncode:
        pytest.skip("what the test needs can't be installed: %s: %s" % (command[0], done.stderr.strip()[-300:]))


SCIENCE = [os.path.join(ROOT, where, "requirements.txt") for where in ("examples/analysis", "tests/display")]
PACKAGES = [*SCIENCE, os.path.join(ROOT, "tests/run/requirements.txt")]


def install(folder, *pins):
    """Makes a virtual environment in this folder and returns its Python. Skips the test if the packages can't be installed."""
    python = os.path.join(folder, "bin", "python3")
    if not os.path.exists(python):
        _run("/usr/bin/python3", "-m", "venv", folder)
    _run(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *("-r" + path for path in pins))
    return python


def copy(python, folder):
    """Copies the environment of this Python into a new folder, and returns the Python of the copy."""
    _run("cp", "-a", os.path.dirname(os.path.dirname(python)), folder)
    return os.path.join(folder, "bin", "python3")


def _install_modules(folder, package):
    if not shutil.which("npm"):
        pytest.skip("there is no npm")
    os.makedirs(folder)
    shutil.copy(package, folder)
    _run("npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", cwd=folder)


def versions(python):
    return subprocess.run([python, "-m", "pip", "list", "--disable-pip-version-check", "--format=freeze"],
                          capture_output=True, text=True).stdout.split()


def _keep(name, make, *pins):
    folder = os.path.join(os.path.abspath(BUILD), name)
    stamp = os.path.join(folder, "stamp")
    wanted = hashlib.sha256(b"".join(open(path, "rb").read() for path in pins)).hexdigest()
    with open(folder + ".lock", "w") as lock:       # the tests of another lane may use it at the same time
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(stamp) or open(stamp).read() != wanted:
            shutil.rmtree(folder, ignore_errors=True)
            make(folder, *pins)
            with open(stamp, "w") as file:
                file.write(wanted)
    return folder


def kept(name, *pins):
    """Returns the Python of an environment that stays in the build folder until the pins change."""
    return os.path.join(_keep(name, install, *pins), "bin", "python3")


def science():
    """Returns the Python of the environment for data analysis and displays."""
    return kept("science", *SCIENCE)


def packages():
    """Returns the Python of an environment that also has the packages of tests/run: a copy of the first one, with more packages."""
    def make(folder, *pins):
        copy(base, folder)
        return install(folder, *pins)
    base = science()
    return os.path.join(_keep("packages", make, *PACKAGES), "bin", "python3")


def kept_modules(name, package):
    """Returns a folder with node_modules, which stays in the same way."""
    return _keep(name, _install_modules, package)

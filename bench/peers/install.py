# SPDX-License-Identifier: Apache-2.0
"""Installs peers by the names of their packages into one private folder. What is there already is used again."""
import os
import shutil
import subprocess

from .driver import Cannot

# numpy and pandas for every peer that runs CPython.
SCIENCE = ["numpy==2.4.6", "pandas==3.1.1"]

POM = """<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>peers</groupId><artifactId>peer</artifactId><version>1</version><dependencies>%s</dependencies></project>
"""
DEPENDENCY = "<dependency><groupId>%s</groupId><artifactId>%s</artifactId><version>%s</version><type>%s</type></dependency>"


def last_line(text):
    lines = [line for line in text.decode(errors="replace").strip().splitlines() if line.strip()]
    return lines[-1].strip()[:300] if lines else "no reason given"


def command(arguments, **keywords):
    """Runs a program that installs something. Raises Cannot with its last line."""
    done = subprocess.run(arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **keywords)
    if done.returncode:
        raise Cannot("%s: %s" % (" ".join(map(os.path.basename, arguments[:3])), last_line(done.stdout)))
    return done.stdout.decode(errors="replace")


def needs(*programs):
    for program in programs:
        if not shutil.which(program):
            raise Cannot("%s is not installed" % program)


class Place:
    """The folder in which peers are installed, and what they are compared with."""

    def __init__(self, folder, program, python, packages=True):
        self.folder, self.program, self.python, self.packages = folder, program, python, packages
        self.bench = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

    def made(self, name, make):
        """Returns the folder of this name. `make(folder)` fills it if it does not exist."""
        folder = os.path.join(self.folder, name)
        if not os.path.exists(os.path.join(folder, "complete")):
            shutil.rmtree(folder, ignore_errors=True)
            os.makedirs(folder)
            make(folder)
            open(os.path.join(folder, "complete"), "w").close()
        return folder

    def venv(self, name, packages):
        """Returns the Python of a virtual environment with these packages."""
        def make(folder):
            command([self.python, "-m", "venv", folder])
            command([os.path.join(folder, "bin/python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages])
        return os.path.join(self.made(name, make), "bin/python")

    def science(self):
        """Returns the Python of an environment with numpy and pandas, or "" if they can't be installed or shall not be."""
        try:
            return self.venv("science", SCIENCE) if self.packages else ""
        except Cannot:
            return ""

    def npm(self, name, packages):
        needs("node", "npm")
        return self.made(name, lambda folder: command(["npm", "install", "--no-audit", "--no-fund", "--prefix", folder, *packages]))

    def maven(self, name, artifacts):
        """Returns a folder with the jars of these artifacts: (group, name, version, type)."""
        needs("java", "javac", "mvn")

        def make(folder):
            with open(os.path.join(folder, "pom.xml"), "w") as file:
                file.write(POM % "".join(DEPENDENCY % artifact for artifact in artifacts))
            command(["mvn", "-q", "-B", "-f", os.path.join(folder, "pom.xml"), "dependency:copy-dependencies", "-DincludeTypes=jar",
                     "-DoutputDirectory=" + os.path.join(folder, "jars")])
        return os.path.join(self.made(name, make), "jars")

    def driver(self, module, *arguments, python=None):
        """Returns the command of a driver in Python."""
        return [python or self.python, "-m", "peers.driver", module, *arguments]

    def version(self, *arguments):
        return last_line(command(list(arguments)).encode())

# SPDX-License-Identifier: Apache-2.0
"""A store of environments for a test, with packages made by hand."""
import fcntl
import json
import os
import re
import shutil
import struct
import tempfile

# Puts a package without modules, or those of $DEMO in the home folder, into the environment: quick, and without a network.
FAST = r"""#!/bin/sh
set -e
[ "$1" = --version ] && { echo 'uv 0.0.1 (by hand)'; exit 0; }
pwd > "$HOME/ran-in"
while [ $# -gt 0 ]; do
    case $1 in --python) python=$2 ;; -r) file=$2 ;; esac
    shift
done
[ ! -e "$HOME/broken" ] || { cat "$HOME/broken" >&2; exit 2; }
[ ! -e "$HOME/wait" ] || { : > "$HOME/waiting"; while [ -e "$HOME/wait" ]; do sleep 0.05; done; }
site=$(echo "$(dirname "$python")"/../lib/python3.*/site-packages)
while read -r name; do
    case $name in -*) continue ;; esac
    name=${name%%[!A-Za-z0-9._-]*}
    version=1; [ ! -e "$HOME/version" ] || read -r version < "$HOME/version"
    mkdir "$site/$name-$version.dist-info"
    printf 'Metadata-Version: 2.1\nName: %s\nVersion: %s\n' "$name" "$version" > "$site/$name-$version.dist-info/METADATA"
    : > "$site/$name-$version.dist-info/RECORD"
    for module in "$HOME"/"$name"/*.py; do
        [ -e "$module" ] || continue
        cp "$module" "$site/"
        echo "$(basename "$module"),sha256=$(sha256sum < "$module" | cut -c1-64),1" >> "$site/$name-$version.dist-info/RECORD"
    done
done < "$file"
"""


def lock(file, exclusive=False):
    """Takes an open file description lock, as pyexec does. Returns False if somebody else holds it."""
    whole = struct.pack("hhxxxxqqixxxx", fcntl.F_WRLCK if exclusive else fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
    try:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, whole)
        return True
    except BlockingIOError:
        return False


class CommandStore:
    """`pyexec env` of one user with its own root, home and index."""

    def __init__(self, program, fast=True, uv=None):
        """fast: with a stand-in for an installer. Otherwise with this uv, or with pip."""
        self.program = program
        self.home = tempfile.mkdtemp(prefix="pyexec-test-env-")
        os.chmod(self.home, 0o755)
        self.root = os.path.join(self.home, "root")
        self.wheels = os.path.join(self.home, "wheels")
        os.mkdir(self.wheels)
        self.uv = os.path.join(self.home, "fast-uv")
        with open(self.uv, "w") as file:
            file.write(FAST)
        os.chmod(self.uv, 0o755)
        self.environment = {"HOME": self.home, "PATH": "/usr/bin:/bin", "PYEXEC_ENV_ROOT": self.root,
                            "PYEXEC_ENV_UV": self.uv if fast else uv or "/nowhere/uv", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": self.wheels,
                            "UV_NO_INDEX": "1", "UV_FIND_LINKS": self.wheels, "PYEXEC_POLICY_PYTHON_BIN": "/usr/bin/python3"}
        os.chown(self.home, program.uid, -1)

    def close(self):
        shutil.rmtree(self.home, ignore_errors=True)

    def run(self, *arguments, **keywords):
        keywords.setdefault("timeout", 300)
        keywords.setdefault("env", self.environment)
        return self.program.run("env", *arguments, **keywords)

    def ok(self, *arguments, **keywords):
        done = self.run(*arguments, **keywords)
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        return done.stdout.decode()

    def json(self, *arguments, **keywords):
        return json.loads(self.ok(*arguments, "--json", **keywords))

    def fails(self, *arguments, **keywords):
        """Returns the message and hint, and checks that nothing partial is left."""
        done = self.run(*arguments, **keywords)
        assert done.returncode == 125 and done.stdout == b"", (arguments, done.stdout, done.stderr)
        return done.stderr.decode()

    def write(self, name, text):
        path = os.path.join(self.home, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)
        return path

    def parts(self, part):
        path = os.path.join(self.root, part)
        return sorted(os.listdir(path)) if os.path.isdir(path) else []

    def folder(self, name):
        return os.path.realpath(os.path.join(self.root, "names", name))

    def check(self):
        """Every visible name leads to a whole environment."""
        for name in self.parts("names"):
            assert re.fullmatch(r"\.\./store/[0-9a-f]{32}", os.readlink(os.path.join(self.root, "names", name))), name
            with open(os.path.join(self.folder(name), "environment.json")) as file:
                document = json.load(file)
            assert document["hash"] == os.path.basename(self.folder(name))
            assert os.access(os.path.join(self.folder(name), "venv/bin/python"), os.X_OK)
            assert os.path.exists(os.path.join(self.folder(name), "lock"))

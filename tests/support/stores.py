# SPDX-License-Identifier: Apache-2.0
"""A store of environments as `pyexec env` writes it, made by hand: quick, without a network, and with any limits."""
import hashlib
import json
import os
import shutil
import subprocess
import tempfile

INTERPRETER = "/usr/bin/python3"


class HandMadeStore:
    """The store below `root`. It belongs to the user who runs the tests; all users can read it."""

    def __init__(self, root):
        self.root = str(root)
        for name in ("", "names", "store"):
            os.makedirs(os.path.join(self.root, name), exist_ok=True)
            os.chmod(os.path.join(self.root, name), 0o755)

    def add(self, name, modules, limits=None, preload=(), packages=None):
        """Makes an environment whose modules have these sources, or gives the name a new one. Returns its folder."""
        document = {"format": 1, "name": name, "created": "2026-11-30T12:00:00Z", "tool": "by hand",
                    "requirements": sorted(modules), "python": {"path": "venv/bin/python", "version": _version()},
                    "packages": packages or [{"name": module, "version": "1.0"} for module in sorted(modules)],
                    "imports": sorted(modules), "limits": limits or {}, "preload": list(preload), "measured": []}
        document["hash"] = hashlib.sha256(json.dumps([document, modules], sort_keys=True).encode()).hexdigest()[:32]
        folder = os.path.join(self.root, "store", document["hash"])
        if not os.path.exists(folder):
            venv = os.path.join(folder, "venv")
            shutil.copytree(_empty_venv(), venv, symlinks=True)
            site, = [os.path.join(venv, "lib", found, "site-packages") for found in os.listdir(os.path.join(venv, "lib"))]
            for module, source in modules.items():
                with open(os.path.join(site, module + ".py"), "w") as file:
                    file.write(source)
            with open(os.path.join(folder, "environment.json"), "w") as file:
                json.dump(document, file)
            open(os.path.join(folder, "lock"), "w").close()
            subprocess.run(["chmod", "-R", "u=rwX,go=rX", folder], check=True)
        link = os.path.join(self.root, "names", name)
        os.symlink(os.path.join("..", "store", document["hash"]), link + ".new")
        os.rename(link + ".new", link)
        return folder

    def settings(self):
        """Returns the variables with which a program uses this store."""
        return {"PYEXEC_ENV_ROOT": self.root}


def _version():
    code = "import platform; print(platform.python_version())"
    return subprocess.run([INTERPRETER, "-c", code], stdout=subprocess.PIPE, check=True).stdout.decode().strip()


_made = {}


def _empty_venv():
    """Returns a virtual environment without packages, which is made once."""
    if "venv" not in _made:
        folder = os.path.join(tempfile.mkdtemp(prefix="pyexec-venv-"), "venv")
        subprocess.run([INTERPRETER, "-m", "venv", "--without-pip", folder], check=True)
        _made["venv"] = folder
    return _made["venv"]

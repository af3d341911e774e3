"""What tests use from npm (the official MCP clients, a linter), at the versions that tests/mcp/ pins, in the build folder."""
import glob
import hashlib
import os
import shutil
import subprocess

import pytest

from conftest import BUILD, ROOT

PINS = os.path.join(ROOT, "tests", "mcp")
FOLDER = os.path.join(os.path.abspath(BUILD), "mcp-clients")


def _install():
    shutil.rmtree(FOLDER, ignore_errors=True)
    os.makedirs(FOLDER)
    shutil.copy(os.path.join(PINS, "package.json"), FOLDER)
    steps = [["/usr/bin/python3", "-m", "venv", FOLDER + "/venv"],
             [FOLDER + "/venv/bin/pip", "install", "-q", "-r", PINS + "/requirements.txt"],
             ["npm", "install", "--prefix", FOLDER, "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]]
    for step in steps:
        done = subprocess.run(step, cwd=FOLDER, capture_output=True, text=True, timeout=300)
        if done.returncode:
            pytest.skip("the MCP clients can't be installed: %s: %s" % (step[0], done.stderr[-300:]))


class Clients:
    def __init__(self):
        self.python = FOLDER + "/venv/bin/python"
        self.modules = FOLDER
        nodes = glob.glob(FOLDER + "/node_modules/node-linux-*/bin/node")
        self.node = nodes[0] if nodes else "node"

    def script(self, package, path):
        return "%s/node_modules/%s/%s" % (FOLDER, package, path)

    def environment(self, **more):
        return {**os.environ, "MCP_MODULES": FOLDER, "NO_COLOR": "1", "PYEXEC_POLICY_PYTHON_BIN": "/usr/bin/python3", **more}


@pytest.fixture(scope="session")
def clients():
    """Made once for each set of pins; skips where there is no npm or no network."""
    if not shutil.which("npm"):
        pytest.skip("there is no npm to install the MCP clients with")
    pins = b"".join(open(os.path.join(PINS, name), "rb").read() for name in ("requirements.txt", "package.json"))
    stamp, wanted = os.path.join(FOLDER, "stamp"), hashlib.sha256(pins).hexdigest()
    if not os.path.exists(stamp) or open(stamp).read() != wanted:
        _install()
        with open(stamp, "w") as file:
            file.write(wanted)
    return Clients()

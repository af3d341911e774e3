# SPDX-License-Identifier: Apache-2.0
"""The packages that tests use from npm (the official MCP clients, a linter) and the Python MCP client, with the versions that tests/mcp/ pins."""
import glob
import os

import pytest

from conftest import ROOT
from environments import kept, kept_modules

PINS = os.path.join(ROOT, "tests", "mcp")


class Clients:
    def __init__(self):
        self.modules = kept_modules("mcp-modules", os.path.join(PINS, "package.json"))
        self.python = kept("mcp-clients", os.path.join(PINS, "requirements.txt"))
        nodes = glob.glob(self.modules + "/node_modules/node-linux-*/bin/node")
        self.node = nodes[0] if nodes else "node"

    def script(self, package, path):
        return "%s/node_modules/%s/%s" % (self.modules, package, path)

    def environment(self, **more):
        return {**os.environ, "MCP_MODULES": self.modules, "NO_COLOR": "1", "PYEXEC_POLICY_PYTHON_BIN": "/usr/bin/python3", **more}


@pytest.fixture(scope="session")
def clients():
    return Clients()

# SPDX-License-Identifier: Apache-2.0
"""The clients of other servers' dialects (E2B, SandboxFusion, what Dify's uses), at the versions that
tests/dialects/requirements.txt pins, in an environment of their own in the build folder."""
import json
import os
import subprocess

import pytest

from conftest import ROOT
from environments import kept

CLIENTS = os.path.join(ROOT, "tests", "dialects")


@pytest.fixture(scope="session")
def dialect_client():
    """Runs a script of tests/dialects with an argument (as JSON) and returns its output (JSON)."""
    python = kept("dialect-clients", os.path.join(CLIENTS, "requirements.txt"))

    def run(script, argument, **environment):
        done = subprocess.run([python, "-B", os.path.join(CLIENTS, script), json.dumps(argument)],
                              capture_output=True, text=True, timeout=120, env={**os.environ, **environment})
        assert done.returncode == 0, done.stderr[-4000:]
        return json.loads(done.stdout)
    run.python = python
    return run

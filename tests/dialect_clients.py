"""The clients of other servers' dialects (E2B, SandboxFusion, what Dify's uses), at the versions that
tests/dialects/requirements.txt pins, in an environment of their own in the build folder."""
import hashlib
import json
import os
import shutil
import subprocess

import pytest

from conftest import BUILD, ROOT

CLIENTS = os.path.join(ROOT, "tests", "dialects")
FOLDER = os.path.join(os.path.abspath(BUILD), "dialect-clients")


def _install(pins):
    shutil.rmtree(FOLDER, ignore_errors=True)
    steps = [["/usr/bin/python3", "-m", "venv", FOLDER], [FOLDER + "/bin/pip", "install", "-q", "-r", pins]]
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, timeout=300)
        if done.returncode:
            pytest.skip("the dialects' clients can't be installed: %s: %s" % (step[0], done.stderr[-300:]))


@pytest.fixture(scope="session")
def dialect_client():
    """Runs a script of tests/dialects with an argument (as JSON) and gives what it prints (JSON)."""
    pins = os.path.join(CLIENTS, "requirements.txt")
    with open(pins, "rb") as file:
        wanted = hashlib.sha256(file.read()).hexdigest()
    stamp = os.path.join(FOLDER, "stamp")
    if not os.path.exists(stamp) or open(stamp).read() != wanted:
        _install(pins)
        with open(stamp, "w") as file:
            file.write(wanted)

    def run(script, argument, **environment):
        done = subprocess.run([FOLDER + "/bin/python", "-B", os.path.join(CLIENTS, script), json.dumps(argument)],
                              capture_output=True, text=True, timeout=120, env={**os.environ, **environment})
        assert done.returncode == 0, done.stderr[-4000:]
        return json.loads(done.stdout)
    run.python = FOLDER + "/bin/python"
    return run

# SPDX-License-Identifier: Apache-2.0
"""nats-py, the NATS project's client for Python, finds a worker as a micro service and calls it."""
import json
import os
import subprocess


import environments
from conftest import BUILD, ROOT
from nats_fleet import Server, Worker, needs_fleet

pytestmark = needs_fleet(BUILD)


def test_nats_py_finds_and_calls_a_worker(pyexec, session_folder):
    python = environments.install(os.path.join(session_folder, "nats-py"), os.path.join(ROOT, "tests/fleet/requirements.txt"))
    with Server() as own, Worker(pyexec, own, "micro", "--labels", "zone=a"):
        done = subprocess.run([python, os.path.join(ROOT, "tests/fleet/micro_client.py"), own.url], capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr
        seen = json.loads(done.stdout)
    assert seen.pop("requests") >= 1 and seen.pop("version")
    assert seen == {"value": "42", "names": ["pyexec"] * 3, "ids": ["micro"] * 3, "subjects": ["pyexec.v1.run", "pyexec.v1.open"], "zone": "a"}

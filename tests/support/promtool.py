"""Debian's program that checks metrics and alerts."""
import subprocess

import pytest

from conftest import BUILD, ROOT


@pytest.fixture(scope="session")
def promtool():
    """Returns its path. Without Debian's archive the tests that use it are skipped."""
    done = subprocess.run([ROOT + "/tools/promtool.sh", BUILD], capture_output=True, text=True, timeout=200)
    if done.returncode != 0:
        pytest.skip("no promtool from Debian's archive: " + done.stderr[-200:])
    return BUILD + "/promtool/promtool"

# SPDX-License-Identifier: Apache-2.0
"""The artifacts that users install, each built once for all test files of a run."""
import atexit
import functools
import glob
import os
import shutil
import subprocess

import pytest

from conftest import BUILD, ROOT, TEMPORARY


def _made_by(tool, *arguments, seconds=900, **environment):
    if os.environ.get("SANITIZE"):
        pytest.skip("artifacts are not built with sanitizers; the plain build makes them")
    done = subprocess.run([os.path.join(ROOT, "tools", tool), *arguments], capture_output=True, text=True, timeout=seconds,
                          env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@functools.cache
def debs():
    """Returns name → path of the Debian packages."""
    if not shutil.which("dh") or not shutil.which("dpkg-buildpackage"):
        pytest.skip("needs debhelper and dpkg-dev")
    folder = BUILD + "/deb"
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    _made_by("deb.sh", folder, DEB_BUILD_OPTIONS="noddebs nocheck")
    return {os.path.basename(path).split("_")[0]: path for path in glob.glob(folder + "/*.deb")}


@functools.cache
def tarball():
    """Returns the path of the tarball of the static program, without the server: tests/kernel/test_musl.py has one with it."""
    return _made_by("tarball.sh", "--without-server", os.path.join(TEMPORARY, "pyexec-test-tarball")).strip()

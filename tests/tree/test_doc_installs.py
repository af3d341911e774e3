# SPDX-License-Identifier: Apache-2.0
"""The lines of the documents that install artifacts name one file of each package, and each is for the reader's machine.

The files are empty. Stand-ins of the tools make them, with the names that the real tools give; tools/artifacts.sh is the real one."""
import fnmatch
import glob
import os
import platform
import re
import shutil
import subprocess

import pytest

from conftest import ROOT

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="the lines are for x86-64")
LINES = [(os.path.relpath(path, ROOT), line) for pattern in ("*.md", "docs/**/*.md", "clients/*/*.md")
         for path in sorted(glob.glob(os.path.join(ROOT, pattern), recursive=True)) for line in open(path) if " install " in line]
NAMED = [(page, name) for page, line in LINES for name in re.findall(r"[\w./*-]*pyexec[\w.*-]*\.(?:whl|deb|tgz)", line)]
TOOL = r"""#!/bin/sh
set -e
machine=${PYEXEC_MACHINE:-$(uname -m)} libc=manylinux_2_31
case $machine in x86_64) debian=amd64 node=x64 ;; aarch64) debian=arm64 node=arm64 ;; esac
case ${1:-} in --musl) libc=musllinux_1_2; shift ;; esac
case ${0##*/} in
source-date.sh) echo 0; exit ;;
sbom.py) echo "of $1"; exit ;;
deb.sh) files=; for name in pyexec pyexec-server pyexec-worker pyexec-runtime libpyexec0 libpyexec-dev; do files="$files ${name}_0.1.0_$debian.deb"; done ;;
tarball.sh) files=pyexec-0.1.0-linux-$machine.tar.gz ;;
wheels.sh) files="pyexec_client-0.1.0-py3-none-any.whl pyexec_runtime-0.1.0-py3-none-${libc}_$machine.whl" ;;
npm-package.sh) files="pyexec-client-0.1.0.tgz pyexec-runtime-linux-$node-gnu-0.1.0.tgz pyexec-runtime-linux-$node-musl-0.1.0.tgz" ;;
image.sh) files=pyexec-0.1.0-$machine.oci.tar ;;
esac
mkdir -p "$1"
cd "$1"
touch $files
"""
TOOLS = ["source-date.sh", "sbom.py", "deb.sh", "tarball.sh", "wheels.sh", "npm-package.sh", "image.sh"]


@pytest.fixture(scope="module")
def tools(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source") / "tools"
    folder.mkdir()
    for name in TOOLS:
        (folder / name).write_text(TOOL)
        (folder / name).chmod(0o755)
    shutil.copy(ROOT + "/tools/artifacts.sh", folder)
    return folder


@pytest.fixture(scope="module")
def made(tools, tmp_path_factory):
    """What `make artifacts` leaves."""
    folder = tmp_path_factory.mktemp("made")
    done = subprocess.run([tools / "artifacts.sh", folder / "artifacts", folder / "build"], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "WITHOUT": "jar image-arm64", "CHECK": ""})
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "artifacts"


@pytest.fixture(scope="module", params=["make artifacts", "each tool"])
def folder(request, tools, made, tmp_path_factory):
    if request.param == "make artifacts":
        return made
    flat = tmp_path_factory.mktemp("flat")
    for name in ("deb.sh", "wheels.sh", "npm-package.sh"):
        subprocess.run([tools / name, flat], check=True, timeout=60)
    return flat


def package(name):
    return re.split(r"[-_]0\.1\.0", name)[0]


def test_the_lines_are_found():
    assert len(NAMED) > 20 and {page for page, _ in NAMED} >= {"README.md", "docs/deploy.md", "docs/integrations/typescript.md", "clients/python/README.md"}


@pytest.mark.parametrize("page, named", sorted(set(NAMED)))
def test_a_line_takes_one_file_of_each_package_for_this_machine(folder, page, named):
    found = fnmatch.filter(os.listdir(folder), os.path.basename(named))
    assert found and not [name for name in found if re.search("musl|aarch64|arm64", name)], found
    # npm refuses a package for another C library, so the line must not take what has several.
    assert len({package(name) for name in found}) == len(found), found


def test_each_other_platform_has_a_folder_with_all_that_it_needs(made):
    def names(of):
        return {name for name in os.listdir(made / of) if (made / of / name).is_file() and not name.endswith((".spdx.json", "SUMS"))}

    for of, machine, libc, node in [("musl", "x86_64", "musllinux_1_2", "x64-musl"), ("arm64", "aarch64", "manylinux_2_31", "arm64-gnu"),
                                    ("arm64-musl", "aarch64", "musllinux_1_2", "arm64-musl")]:
        wanted = {"pyexec_client-0.1.0-py3-none-any.whl", "pyexec_runtime-0.1.0-py3-none-%s_%s.whl" % (libc, machine),
                  "pyexec-client-0.1.0.tgz", "pyexec-runtime-linux-%s-0.1.0.tgz" % node}
        assert {name for name in names(of) if name.endswith((".whl", ".tgz"))} == wanted
        assert all((made / of / (name + ".spdx.json")).read_text() for name in wanted)
    assert {name for name in names("arm64") if name.endswith((".deb", ".gz"))} == {
        "pyexec-0.1.0-linux-aarch64.tar.gz", *("%s_0.1.0_arm64.deb" % name for name in (
            "pyexec", "pyexec-server", "pyexec-worker", "pyexec-runtime", "libpyexec0", "libpyexec-dev"))}
    assert subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=made).returncode == 0
    listed = {line.split("  ", 1)[1] for line in (made / "SHA256SUMS").read_text().splitlines()}
    assert listed == {os.path.relpath(os.path.join(folder, name), made) for folder, _, files in os.walk(made) for name in files} - {"SHA256SUMS"}

"""The bills of materials (tools/sbom.py) of each kind of artifact: valid, and with what others made in it. The tarball's is in test_tarball.py."""
import io
import json
import os
import subprocess
import tarfile
import zipfile

import pytest

from conftest import ROOT
from environments import kept

LIBS = "pyexec_runtime.libs/"
TEXTS = "pyexec_runtime-0.1.0.dist-info/licenses/libraries/libraries.txt"
VERSIONS = "libjansson4 2.13.1-1.1 (Debian's package)\nopenssl 3.0.20-1 (built from Debian's source package)\n"
STATUS = "Package: python3\nStatus: install ok installed\nArchitecture: amd64\nVersion: 3.11.2-1\n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n"


def zipped(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)


def tarred(path, files):
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text if isinstance(text, bytes) else text.encode()))


def packed(path, files):
    """A Debian package."""
    tree = path.parent / "tree"
    for name, text in {"DEBIAN/control": "Package: x\nVersion: 1\nArchitecture: all\nMaintainer: m <m@localhost>\nDescription: d\n", **files}.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", tree, path], check=True, capture_output=True)


def layered(path, files):
    """An image with one layer."""
    tarred(path.parent / "layer", files)
    tarred(path, {"blobs/sha256/1": (path.parent / "layer").read_bytes(), "index.json": "{}"})


def playground():
    """The text that the playground has of one npm package."""
    with open(ROOT + "/web/package-lock.json") as file:
        return "crelt %s\n\n" % json.load(file)["packages"]["node_modules/crelt"]["version"]


JAVA = {"META-INF/maven/org.x/y/pom.properties": "groupId=org.x\nartifactId=y\nversion=2\n",
        "META-INF/maven/com.alibaba/p/pom.properties": "groupId=com.alibaba\nartifactId=ali-langengine-pyexecutor\nversion=1\n"}
ARTIFACTS = [
    ("x.whl", zipped, {LIBS + "libjansson-1a2b.so.4": "x", LIBS + "libssl-9f.so.3": "x", LIBS + "libcrypto-9f.so.3": "x", TEXTS: VERSIONS,
                       "pyexec_runtime/program/pyexec_serve.so": playground()}, ["crelt", "libjansson4", "openssl"]),
    ("x.jar", zipped, JAVA, ["org.x:y"]),
    ("x.tgz", tarred, {"package/index.js": "x"}, []),
    ("x.deb", packed, {"usr/lib/pyexec/pyexec_serve.so": playground()}, ["crelt"]),
    ("x.oci.tar", layered, {"var/lib/dpkg/status": STATUS, "usr/bin/x": "x"}, ["python3"]),
]


def sbom(path):
    return subprocess.run([ROOT + "/tools/sbom.py", path], capture_output=True, text=True, timeout=100)


@pytest.mark.parametrize("name, write, files, parts", ARTIFACTS, ids=[row[0] for row in ARTIFACTS])
def test_it_is_valid_and_lists_each_file_and_what_others_made(tmp_path, name, write, files, parts):
    write(tmp_path / name, files)
    done = sbom(tmp_path / name)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert sorted(part["name"] for part in facts["packages"][1:]) == parts
    assert {row["fileName"] for row in facts["files"]} == {"./" + file for file in files}
    (tmp_path / "sbom.spdx.json").write_text(done.stdout)
    tool = os.path.join(os.path.dirname(kept("sbom-tools", ROOT + "/tests/support/sbom-requirements.txt")), "pyspdxtools")
    checked = subprocess.run([tool, "-i", str(tmp_path / "sbom.spdx.json")], capture_output=True, text=True, timeout=100)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("library", ["libunknown-1a2b.so.1", "libedit-1a2b.so.2"])
def test_a_library_in_a_wheel_of_which_no_package_is_known_is_an_error(tmp_path, library):
    zipped(tmp_path / "x.whl", {LIBS + library: "x", TEXTS: VERSIONS})
    done = sbom(tmp_path / "x.whl")
    assert done.returncode == 1 and library in done.stderr and "tools/sbom.py" in done.stderr and not done.stdout

# SPDX-License-Identifier: Apache-2.0
"""Wheels and source distributions made by hand, so that tests of environments need no package index."""
import base64
import hashlib
import io
import os
import tarfile
import zipfile


def _line(path, data):
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
    return "%s,sha256=%s,%d\n" % (path, digest, len(data))


def wheel(folder, name, version, files=None, requires=(), scripts=()):
    """Writes a wheel with these files (path: text; default: a module with the package's name) and returns its path."""
    plain = name.replace("-", "_")
    info = "%s-%s.dist-info" % (plain, version)
    files = {"%s.py" % plain: "version = %r\n" % version} if files is None else files
    metadata = "Metadata-Version: 2.1\nName: %s\nVersion: %s\n" % (name, version)
    metadata += "".join("Requires-Dist: %s\n" % text for text in requires)
    members = {path: text.encode() for path, text in files.items()}
    members[info + "/METADATA"] = metadata.encode()
    members[info + "/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: by-hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    if scripts:
        members[info + "/entry_points.txt"] = ("[console_scripts]\n" + "\n".join(scripts) + "\n").encode()
    record = "".join(_line(path, data) for path, data in members.items()) + info + "/RECORD,,\n"
    path = os.path.join(str(folder), "%s-%s-py3-none-any.whl" % (plain, version))
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in [*members.items(), (info + "/RECORD", record.encode())]:
            archive.writestr(zipfile.ZipInfo(member, (2020, 1, 1, 0, 0, 0)), data)
    os.chmod(path, 0o644)
    return path


def source(folder, name, version, proof):
    """Writes a source distribution whose setup.py makes the file `proof` when it runs."""
    path = os.path.join(str(folder), "%s-%s.tar.gz" % (name, version))
    files = {"PKG-INFO": "Metadata-Version: 2.1\nName: %s\nVersion: %s\n" % (name, version),
             "%s.py" % name: "version = %r\n" % version,
             "setup.py": "open(%r, 'w').close()\nfrom setuptools import setup\nsetup(name=%r, version=%r, py_modules=[%r])\n"
                         % (str(proof), name, version, name)}
    with tarfile.open(path, "w:gz") as archive:
        for member, text in files.items():
            entry = tarfile.TarInfo("%s-%s/%s" % (name, version, member))
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    os.chmod(path, 0o644)
    return path

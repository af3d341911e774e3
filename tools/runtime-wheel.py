#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a wheel of pyexec-runtime: tools/runtime-wheel.py OUT TAG PROGRAM [LICENCES]

PROGRAM is a folder with the program's files, LICENCES one with the licences of the libraries that will be put beside them. TAG is
the wheel's platform, for example linux_x86_64. The time of all files is SOURCE_DATE_EPOCH. The same files make the same wheel."""
import base64
import hashlib
import os
import re
import stat
import sys
import time
import zipfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
NAME = "pyexec_runtime"


def version():
    with open(os.path.join(ROOT, "meson.build")) as file:
        return re.search(r"^  version: '([^']+)'", file.read(), re.M).group(1)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def folder(path, into):
    """Returns {name in the wheel: (bytes, mode)} of all files below a folder."""
    found = {}
    for above, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(names):
            file = os.path.join(above, name)
            executable = bool(os.stat(file).st_mode & stat.S_IXUSR)
            found[os.path.join(into, os.path.relpath(file, path))] = (read(file), 0o755 if executable else 0o644)
    return found


def metadata(number, tag, files):
    text = {
        "METADATA": "Metadata-Version: 2.1\nName: pyexec-runtime\nVersion: %s\n"
                    "Summary: The program pyexec, which runs unreviewed Python behind kernel walls, for Linux\n"
                    "License: Apache-2.0\nRequires-Python: >=3.9\nClassifier: Operating System :: POSIX :: Linux\n"
                    "Description-Content-Type: text/plain\n\n"
                    "The program `pyexec` for one kind of Linux machine, without anything to build. pyexec-client uses it.\n" % number,
        "WHEEL": "Wheel-Version: 1.0\nGenerator: pyexec tools/runtime-wheel.py\nRoot-Is-Purelib: false\nTag: py3-none-%s\n" % tag,
        "entry_points.txt": "[console_scripts]\npyexec = pyexec_runtime:main\n",
    }
    info = "%s-%s.dist-info/" % (NAME, number)
    files.update((info + name, (body.encode(), 0o644)) for name, body in text.items())
    files[info + "licenses/LICENSE"] = (read(os.path.join(ROOT, "LICENSE")), 0o644)
    lines = []
    for name, (body, _) in sorted(files.items()):
        digest = base64.urlsafe_b64encode(hashlib.sha256(body).digest()).rstrip(b"=").decode()
        lines.append("%s,sha256=%s,%d\n" % (name, digest, len(body)))
    record = "".join(lines) + info + "RECORD,,\n"
    return {info + "RECORD": (record.encode(), 0o644)}


def main(out, tag, program, licences=None):
    number = version()
    files = folder(os.path.join(ROOT, "clients", "python", "runtime"), "")
    files.update(folder(program, NAME + "/program"))
    if licences:
        files.update(folder(licences, "%s-%s.dist-info/licenses/libraries" % (NAME, number)))
    files.update(metadata(number, tag, files))
    when = time.gmtime(max(int(os.environ["SOURCE_DATE_EPOCH"]), 315532800))[:6]     # a zip file has no time before 1980
    path = os.path.join(out, "%s-%s-py3-none-%s.whl" % (NAME, number, tag))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as wheel:
        for name in sorted(files, key=lambda name: (".dist-info/" in name, name)):
            body, mode = files[name]
            entry = zipfile.ZipInfo(name, when)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3
            entry.external_attr = (stat.S_IFREG | mode) << 16
            wheel.writestr(entry, body)
    print(path)


if __name__ == "__main__":
    if len(sys.argv) not in (4, 5):
        sys.exit(__doc__)
    main(*sys.argv[1:])

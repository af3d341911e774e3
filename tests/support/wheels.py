# SPDX-License-Identifier: Apache-2.0
"""Wheels and source distributions made by hand, so that tests of environments need no package index."""
import base64
import contextlib
import hashlib
import http.server
import io
import os
import tarfile
import threading
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


def _archive(folder, name, version, files):
    path = os.path.join(str(folder), "%s-%s.tar.gz" % (name, version))
    files = {"PKG-INFO": "Metadata-Version: 2.1\nName: %s\nVersion: %s\n" % (name, version), **files}
    with tarfile.open(path, "w:gz") as archive:
        for member, text in files.items():
            entry = tarfile.TarInfo("%s-%s/%s" % (name, version, member))
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    os.chmod(path, 0o644)
    return path


def source(folder, name, version, proof):
    """Writes a source distribution whose setup.py makes the file `proof` when it runs."""
    return _archive(folder, name, version, {
        "%s.py" % name: "version = %r\n" % version,
        "setup.py": "open(%r, 'w').close()\nfrom setuptools import setup\nsetup(name=%r, version=%r, py_modules=[%r])\n"
                    % (str(proof), name, version, name)})


BACKEND = """
import os, sys, subprocess, zipfile

def build_wheel(folder, config_settings=None, metadata_directory=None):
    info, wheel = "{name}-{version}.dist-info", "{name}-{version}-py3-none-any.whl"
    subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-o", "lib{name}.so", "{name}.c"], check=True)
    files = {{"{name}.py": "version = {version!r}\\nshared = __file__.replace('{name}.py', 'lib{name}.so')\\n", "lib{name}.so": open("lib{name}.so", "rb").read(),
             info + "/METADATA": "Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n",
             info + "/WHEEL": "Wheel-Version: 1.0\\nGenerator: own\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"}}
    with zipfile.ZipFile(os.path.join(folder, wheel), "w") as archive:
        for path, data in files.items():
            archive.writestr(path, data)
        archive.writestr(info + "/RECORD", "".join(path + ",,\\n" for path in [*files, info + "/RECORD"]))
    return wheel
"""


def buildable(folder, name, version):
    """Writes a source distribution that needs a C compiler and no other packages: it has its own build backend (PEP 517)."""
    return _archive(folder, name, version, {
        "%s.c" % name: "int answer(void) { return 42; }\n", "backend.py": BACKEND.format(name=name, version=version),
        "pyproject.toml": "[build-system]\nrequires = []\nbuild-backend = 'backend'\nbackend-path = ['.']\n"
                          "[project]\nname = %r\nversion = %r\n" % (name, version)})


@contextlib.contextmanager
def index(folder):
    """Serves the files of the folder as a package index (PEP 503) on a loopback address. Yields its URL and the paths that were asked for."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            parts = self.path.strip("/").split("/")
            names = [name for name in sorted(os.listdir(folder)) if name.lower().replace("_", "-").startswith(parts[-1] + "-")]
            if parts[0] == "files":
                with open(os.path.join(str(folder), os.path.basename(parts[-1])), "rb") as file:
                    self.answer(200, file.read(), "application/octet-stream")
            elif names:
                self.answer(200, "".join('<a href="/files/%s">%s</a>\n' % (name, name) for name in names).encode(), "text/html")
            else:
                self.answer(404, b"", "text/plain")

        def answer(self, status, body, kind):
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield "http://127.0.0.1:%d/simple" % server.server_port, asked
        finally:
            server.shutdown()
            thread.join()

# SPDX-License-Identifier: Apache-2.0
"""kern (kern-sandbox): a container from an image for each run, prepared ahead (`prewarm`); a session is its `kernel()`.

It takes images from a registry. Where none can be reached, an image is made here from this machine's own Python, and loaded with
`kern load`: for the figures that makes no difference."""
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile

from . import driver, install as installing

PACKAGES = ["kern-sandbox==0.2.49"]
IMAGE = "pyexec-peers/python:local"
FILES = ["/bin/sh"]         # beside the interpreter
WHAT = {"name": "kern-sandbox", "mode": "a container for each run, `prewarm` 4; a session is a `kernel()`",
        "isolates": {"processes": "its own PID namespace", "network": "none, by namespace", "files": "an image, and a workspace",
                     "memory": "limited where cgroup v2 is delegated", "cpu": "limited where cgroup v2 is delegated",
                     "kernel": "Docker's list of allowed system calls"}}


class Peer(driver.Peer):
    def start(self):
        import kern_sandbox
        self.kern, self.sessions, self.warm = kern_sandbox, {}, None

    def run(self, code):
        if self.warm is None:
            self.warm = self.kern.Sandbox(image=IMAGE, prewarm=4).__enter__()
        return self.text(self.warm.run_code(code))

    def run_packages(self, code):
        return self.run(code)

    @staticmethod
    def text(result):
        if result.exit_code:
            lines = result.stderr.strip().splitlines()
            raise driver.Cannot(str(result.fault or (lines or ["exit status %d" % result.exit_code])[-1]))
        return result.stdout + "\n" if result.stdout and not result.stdout.endswith("\n") else result.stdout

    def open(self, name):
        sandbox = self.kern.Sandbox(image=IMAGE).__enter__()
        kernel = sandbox.kernel()
        self.sessions[name] = sandbox, kernel, kernel.__enter__()

    def call(self, name, code):
        return self.text(self.sessions[name][2].run_code(code))

    def close(self, name):
        sandbox, kernel, _ = self.sessions.pop(name)
        kernel.__exit__(None, None, None)
        sandbox.__exit__(None, None, None)

    def stop(self):
        for name in list(self.sessions):
            self.close(name)
        if self.warm:
            self.warm.__exit__(None, None, None)


def make_root(python, packages, root):
    """Copies the interpreter, its library with the packages, and the shared libraries that they need."""
    ask = "import sys, sysconfig; print(sys.executable, sysconfig.get_path('stdlib'))"
    executable, library = subprocess.run([python, "-I", "-c", ask], capture_output=True, text=True, check=True).stdout.split()
    shutil.copytree(library, root + library, symlinks=True, ignore=shutil.ignore_patterns("test", "idlelib", "ensurepip", "__pycache__"))
    shutil.copytree(packages, root + library, symlinks=True, dirs_exist_ok=True, ignore=shutil.ignore_patterns("tests", "__pycache__"))
    programs = [os.path.realpath(executable), *FILES]
    modules = [os.path.join(folder, name) for folder, _, names in os.walk(root + library) for name in names if ".so" in name]
    needed = {match for path in programs + modules for match in
              re.findall(r"(/\S+) \(0x", subprocess.run(["ldd", path], capture_output=True, text=True).stdout)}
    for path in {*needed, *programs} - {path for path in needed if path.startswith(root)}:
        os.makedirs(os.path.dirname(root + path), exist_ok=True)
        shutil.copy2(os.path.realpath(path), root + path)
    os.makedirs(root + "/usr/bin", exist_ok=True)
    os.symlink(os.path.realpath(executable), root + "/usr/bin/python3")
    for name in ("tmp", "proc", "dev", "sys", "etc", "root", "workspace"):
        os.makedirs(os.path.join(root, name), exist_ok=True)


def pack(root, path):
    """Writes the image in the format of `docker save`, with one layer."""
    layer = path + ".layer"

    def as_root(entry):
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        return entry
    with tarfile.open(layer, "w") as archive:
        archive.add(root, ".", filter=as_root)
    digest = hashlib.sha256()
    with open(layer, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/usr/bin:/bin"], "Cmd": ["python3"]},
                         "rootfs": {"type": "layers", "diff_ids": ["sha256:" + digest.hexdigest()]}}).encode()
    manifest = json.dumps([{"Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(path, "w") as archive:
        for name, content in (("config.json", config), ("manifest.json", manifest)):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        archive.add(layer, "layer.tar")
    os.unlink(layer)


def folders(place):
    """kern keeps its images and boxes in these folders, and not in those of the user."""
    return {name: os.path.join(place.folder, "kern-home", name.lower())
            for name in ("XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR")}


def install(place):
    python = place.venv("kern", PACKAGES)
    environment = folders(place)
    for path in environment.values():
        os.makedirs(path, mode=0o700, exist_ok=True)

    def make(folder):
        packages, root, image = (os.path.join(folder, name) for name in ("packages", "root", "image.tar"))
        installing.command([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--target", packages, *installing.SCIENCE])
        make_root(place.python, packages, root)
        pack(root, image)
        installing.command([os.path.join(os.path.dirname(python), "kern"), "load", "-i", image], env={**os.environ, **environment})
        for path in (packages, root, image):
            (shutil.rmtree if os.path.isdir(path) else os.unlink)(path)
    place.made("kern-image", make)
    return place.driver("kern_peer", python=python), ", ".join(PACKAGES), environment

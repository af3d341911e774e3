# SPDX-License-Identifier: Apache-2.0
"""Boots Debian's kernel in QEMU, by emulation, with this build, Python and the tests in its initrd.

No disk and no network: what the machine prints on its serial line is all that comes out."""
import glob
import io
import os
import re
import shutil
import stat
import subprocess

from conftest import BUILD, PARTS, ROOT

PACKAGES = ["pytest", "_pytest", "pluggy", "iniconfig", "packaging", "attr", "attrs", "py.py"]
LEFT_OUT = ("/test", "/idlelib", "/tkinter", "/lib2to3", "/ensurepip", "/pydoc_data", "/config-3", "/__pycache__", "/turtledemo", "/distutils")
INIT = """#!/bin/busybox sh
export PATH=/usr/bin:/bin
/bin/busybox mkdir -p /proc /sys /dev /tmp /run /new /root /var/tmp /etc
/bin/busybox mount --bind / /new
# pivot_root(2) can't leave the first root of an initrd.
cd /new && /bin/busybox mount --move . / && exec /bin/busybox chroot . /second
"""
SECOND = """#!/bin/busybox sh
export PATH=/usr/bin:/bin HOME=/root PYTHONDONTWRITEBYTECODE=1 PYEXEC_BUILD=/build
/bin/busybox --install -s /bin
mount -t proc none /proc; mount -t sysfs none /sys; mount -t devtmpfs none /dev
mkdir -p /dev/shm /dev/pts; mount -t tmpfs none /dev/shm; mount -t tmpfs -o mode=1777 none /tmp
mount -t cgroup2 none /sys/fs/cgroup
ln -s /proc/self/fd /dev/fd; ip link set lo up; hostname vm
echo 'root:x:0:0::/root:/bin/sh' > /etc/passwd
cd /tests
%s
echo "VM-END $?"
reboot -f
"""


def libraries(path):
    """Returns the libraries with which a program or library is linked."""
    out = subprocess.run(["ldd", path], capture_output=True, text=True).stdout
    return re.findall(r"(/[^\s()]+) \(0x", out)


class Archive:
    """Returns a cpio archive in the format of the kernel (newc)."""

    def __init__(self):
        self.out, self.names = io.BytesIO(), set()

    def _entry(self, name, mode, data):
        name = name.lstrip("/")
        if name in self.names:
            return
        parent = os.path.dirname(name)
        if parent and parent not in self.names:
            self._entry(parent, stat.S_IFDIR | 0o755, b"")
        self.names.add(name)
        encoded = name.encode() + b"\0"
        fields = [len(self.names), mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(encoded), 0]
        self.out.write(b"070701" + b"".join(b"%08x" % field for field in fields) + encoded)
        self.out.write(b"\0" * (-self.out.tell() % 4) + data)
        self.out.write(b"\0" * (-self.out.tell() % 4))

    def text(self, name, text):
        self._entry(name, stat.S_IFREG | 0o755, text.encode())

    def file(self, source, name=None):
        with open(source, "rb") as file:
            self._entry(name or source, stat.S_IFREG | (os.stat(source).st_mode & 0o777), file.read())

    def program(self, source, name=None):
        self.file(source, name)
        for library in libraries(source):
            self.file(library)

    def tree(self, folder, name=None):
        for path, _, files in os.walk(folder):
            if any(part in path[len(folder):] for part in LEFT_OUT):
                continue
            for file in files:
                source = os.path.join(path, file)
                self.program(source, (name or folder) + source[len(folder):])

    def link(self, target, name):
        self._entry(name, stat.S_IFLNK | 0o777, target.encode())

    def bytes(self):
        self._entry("TRAILER!!!", 0, b"")
        return self.out.getvalue()


def make_initrd(path, command):
    archive = Archive()
    # In Debian these folders are links into /usr.
    for name in ("bin", "lib", "lib64", "sbin"):
        if os.path.islink("/" + name):
            archive._entry("usr/" + name, stat.S_IFDIR | 0o755, b"")
            archive.link("usr/" + name, name)
    archive.text("init", INIT)
    archive.text("second", SECOND % command)
    archive.file(shutil.which("busybox"), "/usr/bin/busybox")
    archive.program(os.path.realpath("/usr/bin/python3"), "/usr/bin/python3")
    for tool in ("unshare", "setpriv"):
        archive.program(shutil.which(tool), "/usr/bin/" + tool)
    archive.tree("/usr/lib/python3.%d" % int(os.path.realpath("/usr/bin/python3").rsplit(".", 1)[1]))
    for package in PACKAGES:
        source = "/usr/lib/python3/dist-packages/" + package
        (archive.tree if os.path.isdir(source) else archive.file)(source)
    for part in PARTS:
        archive.program(os.path.join(BUILD, part), "/build/" + part)
    for source in glob.glob(ROOT + "/tests/*.py") + glob.glob(ROOT + "/tests/*/*.py"):
        archive.file(source, "/tests/" + os.path.basename(source))
    with open(path, "wb") as file:
        file.write(archive.bytes())


def boot(kernel, initrd, timeout):
    """Returns the output of the machine."""
    command = ["qemu-system-x86_64", "-M", "pc", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "2",
               "-m", "1500M", "-no-reboot", "-nodefaults", "-display", "none", "-serial", "stdio", "-kernel", kernel, "-initrd", initrd,
               "-append", "console=ttyS0 loglevel=0 panic=-1 rdinit=/init random.trust_cpu=on"]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout).stdout.decode(errors="replace").replace("\r", "")

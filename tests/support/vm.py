# SPDX-License-Identifier: Apache-2.0
"""Boots Debian's kernel in QEMU, by emulation, with a build, Python and the tests in its initrd.

The machine is an x86-64 one, with this machine's Python, or an arm64 one, with the tree and the build of tools/arm64.sh.
It has no disk and no network. All that comes out is the text that it prints on its serial line."""
import glob
import io
import os
import re
import stat
import subprocess

from conftest import BUILD, PARTS, ROOT
from syscalls_needed import HEADERS

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


class Machine:
    """What a machine is made of: its architecture, the tree with its Python, and the folder with its build of pyexec."""

    def __init__(self, architecture, tree, build, qemu, console):
        self.tree, self.build, self.qemu, self.console = tree, build, qemu, console
        self.architecture, self.folder = architecture, "/usr/lib/%s-linux-gnu/" % architecture

    def path(self, name):
        """Returns where a path of the machine is on this one. A link leads into the tree."""
        for _ in range(10):
            if not os.path.islink(self.tree + name):
                break
            name = os.path.join(os.path.dirname(name), os.readlink(self.tree + name))
        return self.tree + name


X86_64 = Machine("x86_64", "", BUILD, ["qemu-system-x86_64", "-M", "pc", "-cpu", "max"], "ttyS0")
# Pointer authentication with the architecture's own cipher makes emulation several times slower.
ARM64 = Machine("aarch64", BUILD + "/arm64/tree", BUILD + "/arm64/build",
                ["qemu-system-aarch64", "-M", "virt", "-cpu", "max,pauth-impdef=on"], "ttyAMA0")


def arm64_kernel():
    return glob.glob(ARM64.tree + "/boot/vmlinuz-*")[0]


def needs(path):
    """Returns the names of the libraries, and the path of the loader, with which a program or library is linked."""
    out = subprocess.run(["readelf", "-ldW", path], capture_output=True, text=True).stdout
    return re.findall(r"\(NEEDED\)[^[]*\[([^]]+)\]", out), re.findall(r"program interpreter: ([^]]+)\]", out)


class Archive:
    """Returns a cpio archive in the format of the kernel (newc)."""

    def __init__(self, machine):
        self.machine, self.out, self.names = machine, io.BytesIO(), set()

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

    def file(self, source, name):
        with open(source, "rb") as file:
            self._entry(name, stat.S_IFREG | (os.stat(source).st_mode & 0o777), file.read())

    def program(self, source, name):
        """Adds a program or a library, and the libraries of the machine that it needs."""
        if name.lstrip("/") in self.names:
            return
        self.file(source, name)
        with open(source, "rb") as file:
            if file.read(4) != b"\x7fELF":
                return
        libraries, loader = needs(source)
        for needed in [self.machine.folder + library for library in libraries] + loader:
            if os.path.exists(self.machine.path(needed)):       # the others are parts of the build
                self.program(self.machine.path(needed), needed)

    def tree(self, folder):
        """Adds a folder of the machine's tree."""
        source = self.machine.path(folder)
        for path, _, files in os.walk(source):
            if any(part in path[len(source):] for part in LEFT_OUT):
                continue
            for file in files:
                if os.path.exists(os.path.join(path, file)):
                    self.program(os.path.join(path, file), folder + path[len(source):] + "/" + file)

    def link(self, target, name):
        self._entry(name, stat.S_IFLNK | 0o777, target.encode())

    def bytes(self):
        self._entry("TRAILER!!!", 0, b"")
        return self.out.getvalue()


def make_initrd(machine, path, command, more=()):
    """`more`: pairs of a file and its path in the machine."""
    archive = Archive(machine)
    # In Debian these folders are links into /usr.
    for name in ("bin", "lib", "lib64", "sbin"):
        archive._entry("usr/" + name, stat.S_IFDIR | 0o755, b"")
        archive.link("usr/" + name, name)
    archive.text("init", INIT)
    archive.text("second", SECOND % command)
    archive.file(machine.path("/usr/bin/busybox"), "/usr/bin/busybox")
    python = machine.path("/usr/bin/python3")
    archive.program(python, "/usr/bin/python3")
    for tool in ("unshare", "setpriv"):
        archive.program(machine.path("/usr/bin/" + tool), "/usr/bin/" + tool)
    archive.tree("/usr/lib/" + os.path.basename(python))
    for package in PACKAGES:
        name = "/usr/lib/python3/dist-packages/" + package
        if os.path.isdir(machine.path(name)):
            archive.tree(name)
        else:
            archive.file(machine.path(name), name)
    for part in [*PARTS, "seccomp_gen"]:
        archive.program(os.path.join(machine.build, part), "/build/" + part)
    header = HEADERS[machine.architecture]          # the numbers of system calls
    archive.file(machine.path(header), header)
    for source in glob.glob(ROOT + "/tests/*.py") + glob.glob(ROOT + "/tests/*/*.py"):
        archive.file(source, "/tests/" + os.path.basename(source))
    for source in glob.glob(ROOT + "/tests/escape/*"):
        archive.file(source, "/tests/escape/" + os.path.basename(source))
    for source, name in more:
        archive.file(source, name)
    with open(path, "wb") as file:
        file.write(archive.bytes())


def boot(machine, kernel, initrd, timeout):
    """Returns the output of the machine."""
    command = [*machine.qemu, "-accel", "tcg,thread=multi", "-smp", "2", "-m", "1500M", "-no-reboot", "-nodefaults", "-display", "none",
               "-serial", "stdio", "-kernel", kernel, "-initrd", initrd,
               "-append", "console=%s loglevel=0 panic=-1 rdinit=/init random.trust_cpu=on" % machine.console]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout).stdout.decode(errors="replace").replace("\r", "")

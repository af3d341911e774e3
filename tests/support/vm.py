# SPDX-License-Identifier: Apache-2.0
"""Boots Debian's kernel in QEMU, by emulation, with a build, Python and the tests in its initrd, and runs commands there.

The machine is an x86-64 one, with this machine's Python, or an arm64 one, with the tree and the build of tools/arm64.sh.
It has no disk and no network. Files go in with the initrd; commands, and all that they print, go over its serial line.

    vm.make_initrd(vm.ARM64, initrd, [("dist/pyexec.whl", "/files/pyexec.whl")])
    with vm.Guest(vm.ARM64, vm.arm64_kernel(), initrd) as guest:
        done = guest.run("pyexec doctor", user="ordinary")       # done.returncode, done.stdout

`make_initrd(…, whole=True)` takes each file of the machine's tree. With a tree of your own (with dpkg or Java, for example), make a
Machine like ARM64."""
import base64
import glob
import importlib.util
import io
import marshal
import os
import re
import secrets
import select
import shutil
import stat
import struct
import subprocess
import sys
import time

import pytest

from conftest import BUILD, PARTS, ROOT
from syscalls_needed import HEADERS

PACKAGES = ["pytest", "_pytest", "pluggy", "iniconfig", "packaging", "attr", "attrs", "py.py"]
LEFT_OUT = ("/test", "/idlelib", "/tkinter", "/lib2to3", "/ensurepip", "/pydoc_data", "/config-3", "/turtledemo", "/distutils")
INIT = """#!/bin/busybox sh
export PATH=/usr/bin:/bin
/bin/busybox mkdir -p /proc /sys /dev /tmp /run /new /root /var/tmp /etc /home/ordinary
/bin/busybox mount --bind / /new
# pivot_root(2) can't leave the first root of an initrd.
cd /new && /bin/busybox mount --move . / && exec /bin/busybox chroot . /second
"""
# Reads commands: a word that ends its output, the user, and the command in base64. The shell of a command is not process 1: some
# scripts of the tests send signals to the parent of their host.
SECOND = """#!/bin/busybox sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root PYTHONDONTWRITEBYTECODE=1 PYEXEC_BUILD=/build
/bin/busybox --install -s /bin
mount -t proc none /proc; mount -t sysfs none /sys; mount -t devtmpfs none /dev
mkdir -p /dev/shm /dev/pts; mount -t tmpfs none /dev/shm; mount -t tmpfs -o mode=1777 none /tmp; mount -t devpts none /dev/pts
mount -t cgroup2 none /sys/fs/cgroup
ln -s /proc/self/fd /dev/fd; ip link set lo up; hostname vm
grep -qs ^root: /etc/passwd || echo 'root:x:0:0::/root:/bin/sh' > /etc/passwd
echo 'ordinary:x:1000:1000::/home/ordinary:/bin/sh' >> /etc/passwd; chown 1000:1000 /home/ordinary; chmod 1777 /var/tmp
stty -echo; echo VM-READY
while read -r word user code; do
    echo "$code" | base64 -d > /command
    case $user in
    root) (cd /tests; /bin/sh /command < /dev/null; exit $?) ;;
    *) chmod 644 /command; (cd "/home/$user"; HOME=/home/$user /usr/bin/setpriv --reuid 1000 --regid 1000 --clear-groups /bin/sh /command < /dev/null; exit $?) ;;
    esac
    echo "$word $?"
done
reboot -f
"""
LONGEST = 2900                  # bytes of a command: a line of a terminal has at most 4095, in base64


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


def build_arm64(targets):
    """Builds targets for arm64. On Debian everything is there, or can be downloaded (tools/bootstrap.sh test): what is missing is a failure."""
    if os.environ.get("SANITIZE"):
        pytest.skip("emulated and sanitized is too slow; the plain build boots")
    if not shutil.which("apt-get"):
        pytest.skip("the machine is made of Debian's packages, by apt")
    if not shutil.which("qemu-system-aarch64"):
        pytest.fail("qemu-system-aarch64 is missing: tools/bootstrap.sh test", pytrace=False)
    built = subprocess.run([ROOT + "/tools/arm64.sh", BUILD, *targets], capture_output=True, text=True)
    if built.returncode != 0:
        pytest.fail("no build for arm64: tools/arm64.sh ended with %d (3: a tool is missing; others: Debian's packages could not be downloaded, or "
                    "the build failed): %s%s" % (built.returncode, built.stdout[-3000:], built.stderr[-3000:]), pytrace=False)


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
            self._entry(name, stat.S_IFREG | (os.stat(source).st_mode & 0o7777), file.read())

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

    def tree(self, folder, source=None, left_out=()):
        """Adds a folder of Python modules, by default of the machine's tree."""
        source = source or self.machine.path(folder)
        for path, _, files in os.walk(source):
            if any(part in path[len(source):] for part in (*left_out, "/__pycache__")):
                continue
            for file in files:
                if os.path.exists(os.path.join(path, file)):
                    self.program(os.path.join(path, file), folder + path[len(source):] + "/" + file)
                    if file.endswith(".py"):
                        self.compiled(os.path.join(path, file), folder + path[len(source):], file[:-3])

    def compiled(self, source, folder, module):
        """Adds the bytecode of a module. Without it each Python of the machine would compile all modules that it imports."""
        if os.path.basename(os.path.realpath(self.machine.path("/usr/bin/python3"))) != "python%d.%d" % sys.version_info[:2]:
            return
        with open(source, "rb") as file:
            text = file.read()
        try:
            code = compile(text, "%s/%s.py" % (folder, module), "exec", dont_inherit=True)
        except (SyntaxError, ValueError):       # a template, or a module for another version
            return
        # Flag 1: bytecode by the hash of its source, which is not compared.
        header = importlib.util.MAGIC_NUMBER + struct.pack("<I", 1) + importlib.util.source_hash(text)
        self._entry("%s/__pycache__/%s.%s.pyc" % (folder, module, sys.implementation.cache_tag), stat.S_IFREG | 0o644, header + marshal.dumps(code))

    def whole(self):
        """Adds each file, folder and link of the machine's tree, but not the kernel."""
        for path, folders, files in os.walk(self.machine.tree):
            inside = path[len(self.machine.tree):]
            if inside == "/boot":
                continue
            for name in folders + files:
                full = os.path.join(path, name)
                status = os.lstat(full)
                if stat.S_ISLNK(status.st_mode):
                    self.link(os.readlink(full), inside + "/" + name)
                elif stat.S_ISDIR(status.st_mode):
                    self._entry(inside + "/" + name, stat.S_IFDIR | status.st_mode & 0o7777, b"")
                elif stat.S_ISREG(status.st_mode):
                    self.file(full, inside + "/" + name)

    def link(self, target, name):
        self._entry(name, stat.S_IFLNK | 0o777, target.encode())

    def bytes(self):
        self._entry("TRAILER!!!", 0, b"")
        return self.out.getvalue()


def make_initrd(machine, path, more=(), whole=False):
    """Writes what the machine has: Python with pytest, the build in /build, the tests in /tests, or instead of these the `whole` tree.
    `more`: pairs of a file, or a folder of Python modules, and its path in the machine."""
    archive = Archive(machine)
    if whole:
        archive.whole()
    # In Debian these folders are links into /usr.
    for name in ("bin", "lib", "lib64", "sbin"):
        archive._entry("usr/" + name, stat.S_IFDIR | 0o755, b"")
        archive.link("usr/" + name, name)
    archive.text("init", INIT)
    archive.text("second", SECOND)
    archive.file(machine.path("/usr/bin/busybox"), "/usr/bin/busybox")
    for tool in ("unshare", "setpriv", "prlimit"):
        archive.program(machine.path("/usr/bin/" + tool), "/usr/bin/" + tool)
    archive._entry("tests", stat.S_IFDIR | 0o755, b"")
    if not whole:
        _add_tests(archive)
    for source, name in more:
        archive.tree(name, str(source), left_out=("/tests",)) if os.path.isdir(source) else archive.program(source, name)
    with open(path, "wb") as file:
        file.write(archive.bytes())


def _add_tests(archive):
    machine = archive.machine
    python = machine.path("/usr/bin/python3")
    archive.program(python, "/usr/bin/python3")
    archive.tree("/usr/lib/" + os.path.basename(python), left_out=LEFT_OUT)
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
    archive.file(ROOT + "/src/base/layers.def", "/src/base/layers.def")     # test_layers.py reads it
    for source in glob.glob(ROOT + "/tests/*.py") + glob.glob(ROOT + "/tests/*/*.py"):
        archive.file(source, "/tests/" + os.path.basename(source))
    for source in glob.glob(ROOT + "/tests/escape/*"):
        archive.file(source, "/tests/escape/" + os.path.basename(source))


class Guest:
    """A virtual machine. It starts here, and ends at the end of the `with` block."""

    def __init__(self, machine, kernel, initrd, memory="1500M", seconds=300):
        self.process = subprocess.Popen(
            [*machine.qemu, "-accel", "tcg,thread=multi", "-smp", "2", "-m", memory, "-no-reboot", "-nodefaults", "-display", "none",
             "-serial", "stdio", "-kernel", kernel, "-initrd", initrd,
             "-append", "console=%s loglevel=0 panic=-1 rdinit=/init random.trust_cpu=on" % machine.console],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            self._until("VM-READY", seconds)
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def _until(self, word, seconds):
        """Returns what the machine prints before this word, and the rest of the word's line."""
        deadline, text = time.monotonic() + seconds, b""
        while not (found := re.search(rb"%s ?(.*)\r?\n" % word.encode(), text)):
            ready = select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))[0]
            part = os.read(self.process.stdout.fileno(), 65536) if ready else b""
            text += part
            if not part:
                raise RuntimeError("the emulated machine %s; its last words: %s" % (
                    "ended" if ready else "was not ready with the command after %d s" % seconds, text[-4000:].decode(errors="replace")))
        return text[:found.start()].decode(errors="replace").replace("\r", ""), found[1].decode().strip()

    def run(self, command, user="root", timeout=600):
        """Runs a command of the shell as root, in /tests, or as the user "ordinary", at home. Its errors are in `stdout` too."""
        assert len(command) < LONGEST, "too long for the serial line: put it into a file"
        word = "VM-END-" + secrets.token_hex(8)
        self.process.stdin.write(("%s %s %s\n" % (word, user, base64.b64encode(command.encode()).decode())).encode())
        self.process.stdin.flush()
        text, status = self._until(word, timeout)
        return subprocess.CompletedProcess(command, int(status), text, "")

    def read(self, path):
        """Returns the bytes of a file of the machine."""
        done = self.run("base64 '%s'" % path)
        assert done.returncode == 0, done.stdout
        return base64.b64decode(done.stdout)


def pytest_command(python, *arguments):
    """Returns the command for one pytest in the machine: what Python runs, and arguments. Emulation is slow, so the default limits of time
    are longer; those that a test sets stay as they are."""
    options = "-q -p no:cacheprovider --color=no --tb=short --durations=15 -rfEs"
    return ("export PYEXEC_POLICY_TIMEOUT=2m PYEXEC_POLICY_CPU_TIME_SECONDS=60 PYEXEC_TEST_SLOWER=10 PYEXEC_ATTACK=/attack\n"
            "python3 %s %s %s" % (python, options, " ".join(arguments)))


def counts(text):
    """Returns word → number of the last line of each pytest."""
    found = {}
    for number, word in re.findall(r"(\d+) (passed|failed|skipped|error)", "\n".join(re.findall(r"^(?:=+ )?\d+ .* in [\d.]+s.*$", text, re.M))):
        found[word] = found.get(word, 0) + int(number)
    return found

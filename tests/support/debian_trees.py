# SPDX-License-Identifier: Apache-2.0
"""Fresh file trees of Debian, in which an artifact is installed and used as on a new machine.

A tree is made once by mmdebstrap, from the mirror that this machine's apt uses, and stays in the build folder. Each test has a
copy-on-write view of it, with its own mounts and processes; the kernel is this one. Needs root."""
import fcntl
import os
import shutil
import subprocess
import tempfile

import pytest

from conftest import BUILD, ORDINARY

RELEASES = {"12": "bookworm", "13": "trixie"}
SUITES = {**RELEASES, "sid": "sid"}
# Debian 13's apparmor_parser reads profiles for user namespaces; Debian 12's does not.
INCLUDE = {"12": "python3", "13": "python3,apparmor", "sid": "python3"}
# The mirror can be a copy of an old day.
OPTIONS = ["--aptopt=Acquire::Check-Valid-Until \"false\"", "--aptopt=Acquire::Check-Date \"false\"", "--dpkgopt=force-unsafe-io",
           "--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/locale/*", "--dpkgopt=path-exclude=/usr/share/man/*"]
PREPARE = """set -e
mount -t tmpfs -o mode=755 none "$0"; cd "$0"; mkdir upper work root
mount -t overlay overlay -o "lowerdir=$1,upperdir=upper,workdir=work" root
for file in resolv.conf hosts; do cat "/etc/$file" > "root/etc/$file" 2>/dev/null || true; done
cd root
mount -t proc proc proc
mount -t tmpfs -o mode=755 none dev
for node in null zero full random urandom tty; do : > dev/$node; mount --bind /dev/$node dev/$node; done
mkdir dev/shm dev/pts; mount -t tmpfs -o mode=1777 none dev/shm; ln -s /proc/self/fd dev/fd
mkdir -p home/alice; chown "$2:$2" home/alice; chmod 1777 tmp
echo "alice:x:$2:$2::/home/alice:/bin/sh" >> etc/passwd; echo "alice:x:$2:" >> etc/group
# Programs of the packages must not be started here.
printf '#!/bin/sh\\nexit 101\\n' > usr/sbin/policy-rc.d; chmod 755 usr/sbin/policy-rc.d
mkdir old; pivot_root . old; umount -l /old; rmdir /old
echo ready
# The first process of a PID namespace gets those whose parents have ended; the shell reaps them while it waits.
sleep infinity & wait
"""


def mirror():
    """Returns the address of the archive from which this machine's apt installs Debian's packages, or an empty text."""
    done = subprocess.run(["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Origin: Debian"],
                          capture_output=True, text=True)
    return done.stdout.split("\n")[0]


def tree(release):
    """Returns the folder of a tree. Makes it if it is not there. Skips the test if that is not possible."""
    if os.getuid() != 0 or not shutil.which("mmdebstrap"):
        pytest.skip("a tree of Debian needs root and mmdebstrap")
    folder = os.path.join(os.path.abspath(BUILD), "trees", "debian-" + release)
    os.makedirs(os.path.dirname(folder), exist_ok=True)
    with open(folder + ".lock", "w") as lock:       # the tests of another lane may use it at the same time
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(folder):
            if not mirror():
                pytest.skip("a tree of Debian needs apt's lists (apt-get update)")
            shutil.rmtree(folder + ".new", ignore_errors=True)
            done = subprocess.run(["unshare", "--mount", "--propagation", "private", "mmdebstrap", "--mode=root", "--variant=minbase",
                                   "--include=" + INCLUDE[release], *OPTIONS, SUITES[release], folder + ".new", mirror()],
                                  capture_output=True, text=True, timeout=1200, env={**os.environ, "TMPDIR": os.path.dirname(folder)})
            if done.returncode:
                shutil.rmtree(folder + ".new", ignore_errors=True)
                pytest.skip("a tree of Debian can't be made: " + done.stderr[-300:])
            os.rename(folder + ".new", folder)
    return folder


class Tree:
    """A view of a tree. What is written to it is gone at the end. Users: root, and alice, an ordinary user."""
    def __init__(self, release):
        self.folder = tempfile.mkdtemp(prefix="pyexec-folder-")
        self.process = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--ipc", "--uts", "sh", "-c", PREPARE,
             self.folder, tree(release), str(ORDINARY)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        ready = self.process.stdout.readline()
        assert ready == "ready\n", "the view of Debian's tree was not made"
        with open("/proc/%d/task/%d/children" % (self.process.pid, self.process.pid)) as file:
            self.pid = int(file.read())
        assert self.pid > 1

    def path(self, inside):
        return "/proc/%d/root%s" % (self.pid, inside)

    def copy(self, file, inside):
        shutil.copy(file, self.path(inside))

    def run(self, script, user="alice", network=False, timeout=120, **keywords):
        """Runs a script of the shell in the tree, without a network if it is not asked for."""
        drop = ["setpriv", "--reuid=%d" % ORDINARY, "--regid=%d" % ORDINARY, "--clear-groups"] if user == "alice" else []
        home = "/home/alice" if user == "alice" else "/root"
        return subprocess.run(["nsenter", "--target", str(self.pid), "--mount", "--pid", "--ipc", "--uts", "--",
                               *([] if network else ["unshare", "--net"]), *drop, "env", "-C", "/", "-i", "HOME=" + home, "LC_ALL=C.UTF-8",
                               "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "sh", "-c", script],
                              capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=timeout, **keywords)

    def close(self):
        self.process.kill()     # and with it all processes of the view
        self.process.wait()
        self.process.stdout.close()
        os.rmdir(self.folder)

# SPDX-License-Identifier: Apache-2.0
"""A separate machine, with systemd as process 1. Its file tree is a copy-on-write view of this machine's files.

It has its own mounts, processes, cgroup (version 2) and network, but the same kernel. Needs root."""
import os
import shutil
import signal
import subprocess
import tempfile
import time

PREPARE = """set -e
mount -t tmpfs -o mode=755 none "$0"; cd "$0"; mkdir upper work root cgroup
mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root
mount -t cgroup2 none cgroup; mkdir "cgroup/$1"; echo $$ > "cgroup/$1/cgroup.procs"; umount cgroup
mkdir root/debs; for file in "${@:2}"; do cp "$file" root/debs/; done
# A container's, that no service be started; and what takes long.
rm -f root/usr/sbin/policy-rc.d root/var/lib/man-db/auto-update
exec unshare --pid --fork --kill-child --uts --ipc --net --cgroup --mount --propagation private bash -c "$SECOND" "$0"
"""
SECOND = """set -e
cd "$0/root"
mount -t proc none proc
mount -t sysfs -o ro none sys
mount -t cgroup2 none sys/fs/cgroup
mount -t tmpfs -o mode=755 none dev
for node in null zero full random urandom tty; do touch dev/$node; mount --bind /dev/$node dev/$node; done
mkdir dev/shm dev/pts old; mount -t tmpfs none dev/shm
mount -t devpts -o newinstance,ptmxmode=666 none dev/pts
ln -s pts/ptmx dev/ptmx; ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=755 none run
: > etc/machine-id
rm -rf etc/systemd/system/*.wants
pivot_root . old; umount -l /old
ip link set lo up 2>/dev/null || true
debs=$(ls /debs/*.deb 2>/dev/null || true)
[ -z "$debs" ] || dpkg --force-unsafe-io -i $debs
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --unit=basic.target --show-status=false
"""


def impossible():
    """Returns why such a machine can't be made here, or an empty text."""
    if os.getuid() != 0 or not os.path.exists("/lib/systemd/systemd"):
        return "needs root and systemd"
    script = """set -e; mount -t tmpfs none /mnt; cd /mnt; mkdir upper work root cgroup
        mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root; mount -t cgroup2 none cgroup"""
    return subprocess.run(["unshare", "--mount", "--pid", "--fork", "--cgroup", "--propagation", "private", "sh", "-c", script],
                          capture_output=True, text=True).stderr


class Machine:
    def __init__(self, files=()):
        self.folder = tempfile.mkdtemp(prefix="pyexec-folder-")
        self.cgroup = os.path.basename(self.folder)
        self.log = open(self.folder + ".log", "w+")
        self.process = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "bash", "-c", PREPARE, self.folder, self.cgroup, *files],
            env=dict(os.environ, SECOND=SECOND), stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.pid = None

    def wait(self, seconds=60):
        """Waits until systemd has started all units, and returns the state that it reports."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            self.pid = self._systemd()
            if self.pid and os.path.exists("/proc/%d/root/run/systemd/private" % self.pid):
                return self.run("systemctl", "is-system-running", "--wait").stdout.strip()
            time.sleep(0.1)
        self.log.seek(0)
        return "not started: " + self.log.read()[-2000:]

    def _systemd(self):
        """Returns the PID that process 1 of the machine has on this machine. It is the child of unshare: a shell that became systemd by
        exec."""
        with open("/proc/%d/task/%d/children" % (self.process.pid, self.process.pid)) as file:
            for pid in map(int, file.read().split()):
                with open("/proc/%d/comm" % pid) as comm:
                    if comm.read().strip() == "systemd":
                        return pid
        return None

    def path(self, inside):
        return "/proc/%d/root%s" % (self.pid, inside)

    def run(self, *command, timeout=60, **keywords):
        return subprocess.run(["nsenter", "--target", str(self.pid), "--all", "--", *command], capture_output=True,
                              text=True, timeout=timeout, stdin=subprocess.DEVNULL, **keywords)

    def close(self):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        self.log.close()
        os.unlink(self.log.name)
        shutil.rmtree(self.folder)
        self._remove_cgroup()

    def _remove_cgroup(self):
        mount = tempfile.mkdtemp(prefix="pyexec-folder-")
        script = """mount -t cgroup2 none "$0"; for i in $(seq 100); do
            find "$0/$1" -depth -type d -exec rmdir {} + 2>/dev/null; [ -d "$0/$1" ] || exit 0; sleep 0.1; done; exit 1"""
        subprocess.run(["unshare", "--mount", "sh", "-c", script, mount, self.cgroup], check=True)
        os.rmdir(mount)

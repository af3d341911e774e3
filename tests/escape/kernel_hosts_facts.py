# goal: the host's name, mounts, boot time and processes
# layer: uts_namespace, mount_namespace, time_namespace
# expect: contained:ok
import socket
tried("name", 0 if os.environ["HOST_NAME"] in (os.uname().nodename, socket.gethostname()) else -1)
for path in ("/proc/mounts", "/proc/self/mountinfo", "/etc/hostname", "/etc/machine-id", "/proc/cmdline", "/proc/uptime", "/proc/1/environ", "/sys/class/dmi/id", "/var/lib/dpkg/status"):
    tried(path, libc.open(path.encode(), 0))
tried("uptime", 0 if time.clock_gettime(time.CLOCK_BOOTTIME) > 100000 else -1)

# goal: a process by every call and flag that could make one
# layer: seccomp
# expect: contained:ok
import signal
def clone(name, flags):
    result = sc("clone", flags, 0, 0, 0, 0)
    if result == 0:
        os._exit(0)
    tried(name, result)
for name, flag in (("plain", 0), ("vm", 0x100), ("vfork", 0x4100), ("parent", 0x8000), ("user", 0x10000000), ("pid", 0x20000000), ("net", 0x40000000),
                   ("io", 0x80000000), ("thread without vm", 0x10000), ("untraced", 0x800000), ("cgroup", 0x2000000), ("new mounts", 0x20000)):
    clone(name, flag | signal.SIGCHLD)
    clone(name + " in a thread's clothes", flag | 0x3D0F00 | 1)
tried("fork", sc("fork"))
for size in (0, 63, 64, 80, 88, 4096):
    tried("clone3 %d" % size, sc("clone3", ctypes.create_string_buffer(bytes(8 * 4) + b"\x11" + bytes(size)), size))

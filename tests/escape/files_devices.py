# goal: devices, by making or opening them
# layer: seccomp, mount_namespace
# expect: contained:ok
for mode, device in ((0o020666, 0x101), (0o060666, 0x800), (0o010666, 0), (0o140666, 0)):
    tried("mknod %o" % mode, libc.mknod(b"node", mode, ctypes.c_ulong(device)))
tried("whiteout", sc("renameat2", -100, b"a", -100, b"b", 4) if libc.open(b"a", 0o101, 0o600) >= 0 else -1)
for path in (b"/dev/mem", b"/dev/kmsg", b"/dev/kvm", b"/dev/fuse", b"/dev/net/tun", b"/dev/tty", b"/dev/ptmx", b"/dev/pts/0", b"/dev/zero", b"/dev/vda", b"/dev/sda", b"/dev/console", b"/dev/shm"):
    for flags in (os.O_RDONLY, os.O_RDWR, 0o10000000):
        tried(path, libc.open(path, flags))

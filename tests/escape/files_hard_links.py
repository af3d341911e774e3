# goal: a hard link into the workspace to a file outside
# layer: mount_namespace
# expect: contained:ok
for path in (os.__file__, sys.executable, "/dev/null", "/dev/urandom"):
    tried(path, libc.link(path.encode(), b"hard"))
    tried("renamed " + path, libc.rename(path.encode(), b"hard"))
    tried("exchanged", sc("renameat2", -100, path.encode(), -100, b"hard", 2))
fd = libc.open(os.__file__.encode(), os.O_RDONLY)
tried("by descriptor", sc("linkat", fd, b"", -100, b"hard", 0x1000))

# goal: requests to the existing devices
# layer: landlock, seccomp
# expect: contained:ok
for path in (b"/dev/urandom", b"/dev/random", b"/dev/null", b"/dev/full"):
    fd = libc.open(path, os.O_RDONLY)
    for request in (0x5203, 0x5206, 0x5204, 0x40085203, 0x5412, 0x541D, 0x5410, 0xC0045878, 0x8912):
        tried("%s %x" % (path, request), sc("ioctl", fd, request, ctypes.create_string_buffer(64)))
    tried("seed", sc("write", fd, b"x", 1))
    libc.close(fd)

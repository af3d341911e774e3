# goal: more than the quota by holes, unlinked files and unnamed ones
# layer: tmpfs size
# flags: --workspace-bytes 4M
# expect: contained:ok
block, total = b"x" * 65536, 0
def fill(fd):
    global total
    try:
        while total < (8 << 20):
            total += os.write(fd, block)
    except OSError as error:
        print(error)
fds = [os.open("a", os.O_CREAT | os.O_RDWR, 0o600)]
os.unlink("a")
try:
    fds.append(os.open(".", 0o20200000 | os.O_RDWR, 0o600))
except OSError as error:
    print(error)
fds.append(os.open("c", os.O_CREAT | os.O_RDWR, 0o600))
for fd in fds:
    fill(fd)
    tried("reserve", libc.fallocate(fd, 1, ctypes.c_long(0), ctypes.c_long(8 << 20)))
tried("%d bytes" % total, 0 if total > (4 << 20) else -1)

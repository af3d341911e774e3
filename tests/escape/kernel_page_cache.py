# goal: learn which pages of the shared interpreter others use
# layer: seccomp
# expect: contained:ok
libc.mmap.restype = ctypes.c_void_p
fd = libc.open(os.__file__.encode(), os.O_RDONLY)
b = ctypes.create_string_buffer(4096)
vector = ctypes.create_string_buffer(struct.pack("=QQ", ctypes.addressof(b), 4096))
for flag in (0x08, 0x80, 0x01, 0x40):       # RWF_NOWAIT, RWF_DONTCACHE, RWF_HIPRI, RWF_ATOMIC
    answer = sc("preadv2", fd, vector, 1, 0, 0, flag)
    tried("preadv2 with %x: %d" % (flag, answer), -1 if answer == -95 else 0)
tried("plain preadv2 works", -1 if sc("preadv2", fd, vector, 1, 0, 0, 0) > 0 else 0)
tried("cachestat", sc("cachestat", fd, ctypes.create_string_buffer(16), ctypes.create_string_buffer(64), 0))
tried("mincore", sc("mincore", libc.mmap(None, ctypes.c_size_t(4096), 1, 2, fd, ctypes.c_long(0)), 4096, ctypes.create_string_buffer(1)))

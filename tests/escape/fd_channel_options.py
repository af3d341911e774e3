# goal: learn of the host's process by the channel's options, or make it pass more than bytes
# layer: seccomp
# expect: contained:ok
b, n = ctypes.create_string_buffer(64), ctypes.c_uint32(64)
for option in (17, 34, 59, 76, 77, 31, 56, 26, 50):
    tried("getsockopt %d" % option, libc.getsockopt(3, 1, option, b, ctypes.byref(n)))
    tried("setsockopt %d" % option, libc.setsockopt(3, 1, option, b"\1\0\0\0" * 4, 16))

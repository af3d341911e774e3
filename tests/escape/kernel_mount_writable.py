# goal: make the root writable
# layer: seccomp
# expect: contained:crashed
tried("mount_setattr", sc("mount_setattr", -100, b"/", 0x8000, ctypes.create_string_buffer(struct.pack("=QQQQ", 0, 1, 0, 0)), 32))

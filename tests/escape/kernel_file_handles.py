# goal: reach past the root by a file handle
# layer: seccomp
# expect: contained:crashed
tried("open_by_handle_at", sc(304, 3, ctypes.create_string_buffer(struct.pack("=II", 8, 1) + bytes(8)), 0))

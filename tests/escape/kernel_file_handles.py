# goal: reach past the root by a file handle
# layer: seccomp
# expect: contained:crashed
tried("open_by_handle_at", sc("open_by_handle_at", 3, ctypes.create_string_buffer(struct.pack("=II", 8, 1) + bytes(8)), 0))

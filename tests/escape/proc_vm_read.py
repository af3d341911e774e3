# goal: read another process's memory
# layer: seccomp
# expect: contained:crashed
tried("process_vm_readv", sc("process_vm_readv", 2, ctypes.create_string_buffer(16), 1, ctypes.create_string_buffer(16), 1, 0))

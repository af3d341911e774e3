# goal: a program in the kernel
# layer: seccomp
# expect: contained:crashed
tried("bpf", sc("bpf", 0, ctypes.create_string_buffer(128), 128))

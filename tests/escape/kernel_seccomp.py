# goal: let a supervisor of the script handle the script's system calls
# layer: seccomp
# expect: contained:ok
program = ctypes.create_string_buffer(struct.pack("=HBBI", 6, 0, 0, 0x7FC00000))
tried("user notification", sc(317, 1, 8, ctypes.create_string_buffer(struct.pack("=HxxxxxxQ", 1, ctypes.addressof(program)))))
tried("sizes", sc(317, 3, 0, ctypes.create_string_buffer(16)))
tried("strict", sc(157, 22, 1, 0))
for number in (444, 445, 446):
    tried("landlock %d" % number, sc(number, 0, 0, 1))

# goal: let a supervisor of the script handle the script's system calls
# layer: seccomp
# expect: contained:ok
program = ctypes.create_string_buffer(struct.pack("=HBBI", 6, 0, 0, 0x7FC00000))
tried("user notification", sc("seccomp", 1, 8, ctypes.create_string_buffer(struct.pack("=HxxxxxxQ", 1, ctypes.addressof(program)))))
tried("sizes", sc("seccomp", 3, 0, ctypes.create_string_buffer(16)))
tried("strict", sc("prctl", 22, 1, 0))
for name in ("landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"):
    tried(name, sc(name, 0, 0, 1))

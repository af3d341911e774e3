# goal: make the kernel execute a refused call in place of the script
# layer: seccomp
# expect: contained:ok
for name in ("io_uring_setup", "io_uring_enter", "io_uring_register", "io_setup", "io_destroy", "io_getevents", "io_submit", "io_pgetevents"):
    tried("call " + name, sc(name, 8, ctypes.create_string_buffer(256), 0, 0, 0, 0))

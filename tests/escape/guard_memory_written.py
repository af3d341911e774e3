# goal: overwrite the interpreter's own tables, so that no Python-level check is left
# layer: mount_namespace, seccomp
# expect: contained
interpreter = ctypes.pythonapi
address = ctypes.cast(interpreter.PyImport_ImportModule, ctypes.c_void_p).value & ~4095
print(sc("mprotect", address, 4096, 7))
tried("secret", libc.open(os.environ["SECRET_FILE"].encode(), 0))
tried("UDP socket", libc.socket(2, 2, 0))
tried("fork", sc("fork"))

# goal: run machine code of the script, without a library and past the guard
# layer: seccomp, namespaces
# native: attack.bin
# expect: contained:ok
import mmap
code = open("attack.bin", "rb").read()
m = mmap.mmap(-1, 65536, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, 7)
m.write(code)
run = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_char_p, ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(m)))
tried("native attempts that succeeded (bits)", -1 if run(os.environ["SECRET_FILE"].encode(), int(os.environ["HOST_PID"])) == 0 else 1)

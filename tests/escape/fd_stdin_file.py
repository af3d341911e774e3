# goal: grow, change or unseal the memory file that is standard input
# layer: sealed memory file
# flags: --files none
# stdin: some input
# expect: contained:ok
import mmap, fcntl
tried("write", sc("pwrite64", 0, b"x", 1, 0))
tried("truncate", libc.ftruncate(0, ctypes.c_long(1 << 30)))
tried("grow", libc.fallocate(0, 0, ctypes.c_long(0), ctypes.c_long(1 << 30)))
tried("seal", sc("fcntl", 0, 1033, 0))
try:
    mmap.mmap(0, 0, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
    tried("map", 0)
except (OSError, ValueError) as error:
    tried("map %s" % error, -1)

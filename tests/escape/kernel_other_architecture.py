# goal: the numbers of another architecture, past the filter
# layer: seccomp
# expect: contained:crashed,killed
import mmap
m = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, 7)
m.write(b"\xb8\x02\0\0\0\xcd\x80\x85\xc0\xc3")   # mov $2 (fork), %eax; int $0x80
result = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(m)))()
tried("32-bit fork", result)

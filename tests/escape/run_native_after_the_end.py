# goal: a native thread that never takes the GIL continues after the result
# layer: the host kills a process that has sent its result
# expect: contained:ok
import mmap
m = mmap.mmap(-1, 4096, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, 7)
m.write(b"\xeb\xfe")
address = ctypes.addressof(ctypes.c_char.from_buffer(m))
thread = ctypes.c_ulong()
print(libc.pthread_create(ctypes.byref(thread), None, ctypes.c_void_p(address), None))

# goal: a native thread that never takes the GIL continues after the result
# layer: the host kills a process that has sent its result
# expect: contained:ok
libc.mmap.restype = ctypes.c_void_p
# Python does not know this memory, so it does not unmap it below the thread when the script's variables go.
address = libc.mmap(None, ctypes.c_size_t(4096), 7, 0x22, -1, ctypes.c_long(0))
ctypes.memmove(address, FOREVER, len(FOREVER))
thread = ctypes.c_ulong()
print(libc.pthread_create(ctypes.byref(thread), None, ctypes.c_void_p(address), None))

# goal: load a compiled library that the script brings as a file
# layer: noexec workspace
# native: attack.so
# expect: contained:ok
try:
    ctypes.CDLL("./attack.so")
    tried("dlopen", 0)
except OSError as error:
    print("held", error)
fd = os.open("attack.so", os.O_RDONLY)
tried("map as code", sc("mmap", 0, 4096, 5, 2, fd, 0))
address = sc("mmap", 0, 4096, 1, 2, fd, 0)
tried("make it code", sc("mprotect", address, 4096, 5))

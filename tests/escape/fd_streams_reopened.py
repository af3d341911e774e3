# goal: get the host's ends of the pipes by opening them again
# layer: mount_namespace
# expect: contained:ok
for path in ("/proc/self/fd/1", "/dev/fd/1", "/dev/stdout", "/proc/1/fd/1", "/proc/thread-self/fd/3", "/dev/stdin", "/dev/fd/0"):
    for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
        tried(path, libc.open(path.encode(), flags))
tried("read the writing end", sc("read", 1, ctypes.create_string_buffer(9), 9))

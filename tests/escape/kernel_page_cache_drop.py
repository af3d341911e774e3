# goal: throw the shared interpreter's pages out of the host's memory
# layer: seccomp
# expect: ok:same
fd = libc.open(os.__file__.encode(), os.O_RDONLY)
print("same" if sc("fadvise64", fd, 0, 0, 4) == 0 else "refused")
tried("readahead", sc("readahead", fd, 0, 1 << 20))
tried("sync", sc("syncfs", fd))

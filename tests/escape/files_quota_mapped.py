# goal: more than the quota by writing into a map of a hole
# layer: tmpfs size
# flags: --workspace-bytes 1M
# expect: contained:crashed
import mmap
fd = os.open("a", os.O_CREAT | os.O_RDWR, 0o600)
os.ftruncate(fd, 1 << 20)
second = os.open("b", os.O_CREAT | os.O_RDWR, 0o600)
os.ftruncate(second, 1 << 20)
for one in (fd, second):
    m = mmap.mmap(one, 1 << 20)
    for i in range(0, 1 << 20, 4096):
        m[i] = 1
tried("two files of 1 MiB", 0)

# goal: kernel memory by names, links and attributes
# layer: inode quota, seccomp
# flags: --workspace-bytes 1M
# expect: contained:ok
made = 0
open("f", "w").close()
try:
    for made in range(5000):
        os.link("f", "link%d" % made) if made % 2 else os.symlink("x" * 100, "link%d" % made)
except OSError as error:
    print(error)
tried("%d names" % made, 0 if made >= 2000 else -1)
tried("attribute", libc.setxattr(b"f", b"user.x", b"x" * 60000, 60000, 0))

# goal: keep the host listing for ever
# layer: host lists with bounds, inode quota
# flags: --cpu-time-seconds 5 --timeout 6s
# expect: ok:folders
n = 0
try:
    while n < 100000:
        libc.mkdir(b"%d" % n, 0o700) and exec("raise OSError")
        n += 1
except OSError:
    pass
print("folders", n)

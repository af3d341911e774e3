# goal: the x32 numbers, past the filter
# layer: seccomp
# machine: x86_64
# expect: contained:crashed,killed
tried("x32 getpid", sc(0x40000000 | 39))

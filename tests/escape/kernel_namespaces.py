# goal: make a new user namespace
# layer: seccomp
# expect: contained:crashed
tried("unshare", sc(272, 0x10000000))

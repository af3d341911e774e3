# goal: make a new user namespace
# layer: seccomp
# expect: contained:crashed
tried("unshare", sc("unshare", 0x10000000))

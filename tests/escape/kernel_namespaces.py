# goal: a user namespace of one's own
# layer: seccomp
# expect: contained:crashed
tried("unshare", sc(272, 0x10000000))

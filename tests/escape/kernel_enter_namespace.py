# goal: enter another namespace by a descriptor
# layer: seccomp
# expect: contained:crashed
tried("setns", sc(308, 3, 0))

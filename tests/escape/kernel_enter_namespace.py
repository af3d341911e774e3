# goal: enter another namespace by a descriptor
# layer: seccomp
# expect: contained:crashed
tried("setns", sc("setns", 3, 0))

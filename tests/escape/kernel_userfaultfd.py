# goal: stop the kernel in the middle of a copy
# layer: seccomp
# expect: contained:crashed
tried("userfaultfd", sc("userfaultfd", 1))

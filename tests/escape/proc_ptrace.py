# goal: trace another process
# layer: seccomp
# expect: contained:crashed
tried("ptrace", sc(101, 16, 2, 0, 0))

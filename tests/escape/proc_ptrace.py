# goal: trace another process
# layer: seccomp
# expect: contained:crashed
tried("ptrace", sc("ptrace", 16, 2, 0, 0))

# goal: leave a key for another run
# layer: seccomp
# expect: contained:crashed
tried("add_key", sc(248, b"user", b"pyexec-escape", b"x", 1, -3))

# goal: leave a key for another run
# layer: seccomp
# expect: contained:crashed
tried("add_key", sc("add_key", b"user", b"pyexec-escape", b"x", 1, -3))

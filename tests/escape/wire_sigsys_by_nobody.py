# goal: make the host report a refused system call that was never made
# layer: result checks
# expect: contained:crashed
# not: SIGSYS
send(field(CRASH, b"\x1f\0"))
segv()

# goal: make the host say that an operator or the kernel killed the run
# layer: result checks
# expect: contained:crashed
send(field(CRASH, b"\x09\0"))
segv()

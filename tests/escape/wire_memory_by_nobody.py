# goal: report a crash by a signal number that does not exist
# layer: result checks
# expect: contained:crashed
send(field(CRASH, b"\xff\xff"))
segv()

# goal: name a signal beyond all in the note of a crash
# layer: result checks
# expect: contained:crashed
send(field(CRASH, b"\xff\xff"))
segv()

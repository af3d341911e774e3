# goal: move the moment from which time and CPU are counted
# layer: result checks
# expect: contained:crashed,ok
send(field(LOCKED, struct.pack("=QQ", 1 << 62, 1 << 62)), field(OUTCOME, b"\0"), field(DONE))
leave()

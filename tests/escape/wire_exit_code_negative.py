# goal: an exit status below zero
# layer: result checks
# expect: contained:crashed
send(field(OUTCOME, b"\1"), field(EXIT_CODE, struct.pack("=i", -1)), field(ERROR_TYPE, b"E"), field(DONE))
leave()

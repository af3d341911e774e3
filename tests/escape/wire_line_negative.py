# goal: a line number below zero
# layer: result checks
# expect: contained:error
send(field(OUTCOME, b"\1"), field(EXIT_CODE, b"\1\0\0\0"), field(ERROR_TYPE, b"E"), field(ERROR_LINE, b"\0\0\0\x80"), field(DONE))
leave()

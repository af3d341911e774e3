# goal: an error whose exit status becomes 0 when the shell cuts it
# layer: result checks
# expect: contained:crashed
send(field(OUTCOME, b"\1"), field(EXIT_CODE, struct.pack("=i", 256)), field(ERROR_TYPE, b"E"), field(DONE))
leave()

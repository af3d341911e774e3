# goal: a result whose outcome is an error, but without the error
# layer: result checks
# expect: contained:error
send(field(OUTCOME, b"\1"), field(EXIT_CODE, struct.pack("=i", 1)), field(DONE))
leave()

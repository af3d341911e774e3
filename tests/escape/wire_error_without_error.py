# goal: a result that is an error and has none
# layer: result checks
# expect: contained:error
send(field(OUTCOME, b"\1"), field(EXIT_CODE, struct.pack("=i", 1)), field(DONE))
leave()

# goal: an outcome that does not exist
# layer: result checks
# expect: contained:crashed
send(field(OUTCOME, b"\x09"), field(DONE))
leave()

# goal: the last of two outcomes wins
# layer: result checks
# expect: contained:crashed
send(field(OUTCOME, b"\1"), field(OUTCOME, b"\0"), field(DONE))
leave()

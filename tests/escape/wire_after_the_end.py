# goal: a second result after the first, in one packet
# layer: result checks
# expect: contained:crashed
# not: FORGED
send(field(OUTCOME, b"\0"), field(DONE), field(OUTCOME, b"\0"), field(VALUE, b"FORGED"), field(DONE))
leave()

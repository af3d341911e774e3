# goal: a true result, and a second one in the next packet
# layer: one result per run
# expect: contained:ok
# not: FORGED
send(field(OUTCOME, b"\0"), field(EXIT_CODE, bytes(4)), field(DONE))
for _ in range(100):
    send(field(VALUE, b"FORGED"), field(DONE))
leave()

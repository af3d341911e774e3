# goal: a longer value than the policy keeps
# layer: result checks
# flags: --max-value-bytes 1000
# expect: contained:ok
# not: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxENDE
for _ in range(20):
    send(field(VALUE, b"x" * 1000))
send(field(VALUE, b"ENDE"), field(OUTCOME, b"\0"), field(DONE))
leave()

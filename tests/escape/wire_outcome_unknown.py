# goal: an outcome that there is not
# layer: result checks
# expect: contained:crashed
send(field(OUTCOME, b"\x09"), field(DONE))
leave()

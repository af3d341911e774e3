# goal: a count of dropped denials that is negative once it is JSON
# layer: result checks
# expect: contained:crashed
send(field(DENIALS_DROPPED, b"\xff" * 8), field(OUTCOME, b"\0"), field(DONE))
leave()

# goal: only the end of a result
# layer: result checks
# expect: contained:crashed
send(field(DONE))
leave()

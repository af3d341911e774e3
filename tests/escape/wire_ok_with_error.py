# goal: a result that is ok and has an error
# layer: result checks
# expect: contained:crashed
send(field(OUTCOME, b"\0"), field(ERROR_TYPE, b"Error"), field(ERROR_MESSAGE, b"no"), field(DONE))
leave()

# goal: texts with NUL inside, of which readers see different halves
# layer: result checks
# expect: contained:error,crashed
send(field(OUTCOME, b"\1"), field(EXIT_CODE, b"\1\0\0\0"), field(ERROR_TYPE, b"A\0B"), field(ERROR_MESSAGE, b"c\0d"), field(VALUE, b"e\0f"),
     field(TRACEBACK, b"g\0h"), field(SUGGESTION, b"i\0j"), field(DONE))
leave()

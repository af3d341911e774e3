# goal: bytes in the value that JSON can't have
# layer: result checks
# expect: contained:crashed
send(field(VALUE, b"\xed\xa0\x80\xff\xc0\x80"), field(OUTCOME, b"\0"), field(DONE))
leave()

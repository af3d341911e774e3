# goal: a length that makes the offset wrap around
# layer: result checks
# expect: contained:crashed
send(field(VALUE, b"x", length=0xFFFFFFF8))
leave()

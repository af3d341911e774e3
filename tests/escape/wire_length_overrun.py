# goal: a length that goes beyond the packet
# layer: result checks
# expect: contained:crashed
send(field(VALUE, b"x", length=1 << 31))
leave()

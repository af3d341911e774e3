# goal: use the header's reserved bits
# layer: result checks
# expect: contained:crashed
send(field(VALUE, b"x", zero=1))
leave()

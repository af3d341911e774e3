# goal: a packet that ends inside a header
# layer: result checks
# expect: contained:crashed
send(field(VALUE, b"x") + b"\5\0\0")
leave()

# goal: a packet longer than the host's buffer
# layer: result checks
# expect: contained:crashed
send(field(VALUE, b"x" * 100000))
leave()

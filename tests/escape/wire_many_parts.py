# goal: more parts than a value may have
# layer: result checks
# expect: contained:crashed
for _ in range(3000):
    if send(field(VALUE, b"x")) < 0:
        break
leave()

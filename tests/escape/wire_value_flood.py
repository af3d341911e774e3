# goal: a value of more than 16 MiB
# layer: result checks
# expect: contained:crashed
for _ in range(700):
    if send(field(VALUE, b"x" * 32000)) < 0:
        break
leave()

# goal: more denials than a result holds
# layer: result checks
# expect: contained:crashed
for _ in range(101):
    send(field(DENIAL, b"\0" + struct.pack("=iH", 1, 1) + b"wh"))
leave()

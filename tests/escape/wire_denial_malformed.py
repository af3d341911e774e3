# goal: a denial whose inner length goes beyond it
# layer: result checks
# expect: contained:crashed
send(field(DENIAL, b"\0" + struct.pack("=iH", -5, 0xFFFF) + b"wh"))
leave()

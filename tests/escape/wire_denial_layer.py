# goal: a denial of a layer that does not exist
# layer: result checks
# expect: contained:crashed
send(field(DENIAL, b"\x7f" + struct.pack("=iH", 1, 1) + b"wh"))
leave()

# goal: speak to the host as a zygote or the supervisor does
# layer: result checks
# expect: contained:crashed
for message in (struct.pack("=IIIi", 0x50580001, 3, 1, 1), struct.pack("=II", 0x50580001, 1) + bytes(1200)):
    send(message)
leave()

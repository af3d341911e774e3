# goal: make the run an error of the host, with a message from the script
# layer: result checks
# expect: contained:crashed
# not: FORGED
for size in (2056, 1032, 1544, 8):
    send(field(SETUP_ERROR, b"\1\0\0\0\1\0\0\0" + b"FORGED\0" * 300)[:size])
leave()

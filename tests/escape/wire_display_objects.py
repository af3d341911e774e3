# goal: use up the memory of a program that parses the result: small forms whose values take a hundred times as much memory
# layer: result checks
# expect: contained:ok
# not: {},{},{},{}
send(field(DISPLAY, b"\0"))
for n in range(5):
    send(field(DISPLAY_FORM, b"application/x-%d+json" % n), field(DISPLAY_DATA, b"["))
    for _ in range(50):
        send(field(DISPLAY_DATA, b"{}," * 10000))
    send(field(DISPLAY_DATA, b"0]"))
send(field(DISPLAY_END), field(OUTCOME, b"\0"), field(DONE))
leave()

# goal: more displays, and larger ones, than the policy keeps
# layer: result checks
# flags: --max-displays 2 --max-display-bytes 1000
# expect: contained:ok
# not: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxENDE
def show(data):
    send(field(DISPLAY, b"\0"), field(DISPLAY_FORM, b"text/plain"), field(DISPLAY_DATA, data), field(DISPLAY_END))


for _ in range(20):
    show(b"x" * 100)
send(field(DISPLAY, b"\0"), field(DISPLAY_FORM, b"text/plain"))
for _ in range(20):
    send(field(DISPLAY_DATA, b"x" * 1000))
send(field(DISPLAY_DATA, b"ENDE"), field(DISPLAY_END), field(OUTCOME, b"\0"), field(DONE))
leave()

# goal: use up memory of the host by displays of many forms, and by values that take far more memory than their text
# layer: result checks
# expect: contained:ok,crashed
for n in range(999):
    if send(field(DISPLAY, b"\0"), *[field(DISPLAY_FORM, b"text/x-%d" % i) + field(DISPLAY_DATA, b"x" * 500) for i in range(32)],
            field(DISPLAY_END)) < 0:
        break
send(field(DISPLAY, b"\0"), field(DISPLAY_FORM, b"application/json"), field(DISPLAY_DATA, b"["))
for n in range(250):
    if send(field(DISPLAY_DATA, b"0," * 16000)) < 0:
        break
send(field(DISPLAY_DATA, b"0]"), field(DISPLAY_END), field(OUTCOME, b"\0"), field(DONE))
leave()

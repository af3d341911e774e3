# goal: a part of a display that did not begin
# layer: result checks
# expect: contained:crashed
send(field(DISPLAY_DATA, b"x"))
leave()

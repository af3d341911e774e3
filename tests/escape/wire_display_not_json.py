# goal: a display, its metadata and a value that break out of the result's one line of JSON
# layer: result checks
# expect: contained:ok
# not: INJECTED
for mime, data in ((b"application/json", b'1},"status":"INJECTED'), (b"application/json", b'"a\nINJECTED"'),
                   (b'text/"INJECTED', b"a"), (b"text/plain", b"\xff INJECTED"), (b"text/a\nINJECTED", b"a"),
                   (b"application/json", b"[" * 5000 + b"]" * 5000)):
    send(field(DISPLAY, b"\0"), field(DISPLAY_FORM, mime), field(DISPLAY_DATA, data), field(DISPLAY_END))
send(field(DISPLAY, b"\0"), field(DISPLAY_FORM, b"text/plain"), field(DISPLAY_DATA, b"a"),
     field(DISPLAY_METADATA, b'{}, "INJECTED": {}'), field(DISPLAY_END))
send(field(VALUE, b"1"), field(VALUE_JSON, b'null, "INJECTED": 1'), field(OUTCOME, b"\0"), field(DONE))
leave()

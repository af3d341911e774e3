# goal: names that make the host's output invalid
# layer: the host repairs names
# expect: ok:made
for name in (b"new\nline", b"\x1b[2J", b"\xff\xfe", b"\xed\xa0\x80", b'"},{"path":"x', b"\\u0000", b"x" * 255, b"\xff" * 255, b"..x", b"-rf", b" ", b"a\tb\r"):
    os.close(os.open(name, os.O_CREAT | os.O_WRONLY, 0o600))
os.makedirs(b"\xff\n/" * 5)
print("made")

# goal: keep the host busy with empty packets
# layer: result checks
# flags: --timeout 500ms
# expect: contained:crashed,timeout
for _ in range(100000):
    if sc("sendto", 3, b"", 0, 0x40, 0, 0) < 0:
        break
leave()

# goal: the host's loopback, by every family
# layer: seccomp, network_namespace
# expect: contained:ok
port = int(os.environ["HOST_PORT"])
for family, kind in ((2, 1), (2, 2), (10, 1), (10, 2), (2, 3), (16, 3), (17, 3), (40, 1), (38, 5), (1, 1), (1, 2), (44, 2), (21, 5), (15, 3), (29, 3)):
    s = libc.socket(family, kind, 0)
    if s >= 0 and (family, kind) == (2, 1) and "HTTPS_PROXY" in os.environ:     # a run with allowed_hosts: a client of the proxy, and of nothing else
        for host in (b"\x7f\0\0\1", b"\0\0\0\0", b"\x7f\1\2\3"):
            tried("connect", libc.connect(s, struct.pack("=HH4s8x", 2, port >> 8 | (port & 255) << 8, host), 16))
    else:
        tried("socket %d %d" % (family, kind), s)

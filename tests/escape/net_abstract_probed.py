# goal: learn which abstract sockets the host has, with the network allowed
# layer: seccomp
# expect: contained:ok
# flags: --network
f = (ctypes.c_int * 2)()
for kind in (1, 5):
    if libc.socketpair(1, kind, 0, f) < 0:
        print("held socketpair", kind)
        continue
    name = b"\1\0\0" + os.environ["ABSTRACT"].encode()
    tried("bind", libc.bind(f[0], name, len(name)))
    if ctypes.get_errno() == 98:    # EADDRINUSE
        print("ESCAPED: the name is taken")
    tried("autobind", libc.bind(f[0], b"\1\0", 2))

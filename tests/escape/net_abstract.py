# goal: an abstract name that another run finds
# layer: seccomp, network_namespace, landlock
# expect: contained:ok
f = (ctypes.c_int * 2)()
for kind in (1, 2, 3, 5):
    if libc.socketpair(1, kind, 0, f) < 0:
        print("held socketpair", kind)
        continue
    tried("bind", libc.bind(f[0], b"\1\0\0pyexec-escape", 16))
    tried("autobind by credentials", libc.setsockopt(f[0], 1, 16, b"\1\0\0\0", 4))
    tried("connect to the host's", libc.connect(f[0], b"\1\0\0" + os.environ["ABSTRACT"].encode(), 3 + len(os.environ["ABSTRACT"])))

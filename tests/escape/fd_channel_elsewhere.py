# goal: bind, connect or accept on the channel's socket
# layer: seccomp
# expect: contained:ok
address = b"\1\0\0pyexec-escape"
tried("bind", libc.bind(3, address, len(address)))
tried("connect", libc.connect(3, address, len(address)))
tried("listen", libc.listen(3, 1))
tried("accept", libc.accept4(3, None, None, 0))

# goal: park sockets in other sockets until the host's user may send no descriptor any more
# layer: kernel's limit of descriptors in flight, by RLIMIT_NOFILE
# expect: contained:ok
import socket, array
parked = 0
try:
    keep = socket.socketpair()
    while parked < 5000:
        a, b = socket.socketpair()
        keep[0].sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [a.fileno(), b.fileno()]))])
        a.close(), b.close()
        parked += 2
except OSError as error:
    print(error)
tried("%d in flight" % parked, 0 if parked > 500 else -1)

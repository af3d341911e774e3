# goal: receive a message and descriptors that were meant for somebody else
# layer: descriptors
# expect: contained:ok
import socket
channel = socket.socket(fileno=3)
for flags in (socket.MSG_PEEK, socket.MSG_PEEK | socket.MSG_TRUNC, 0):
    try:
        data, more, _, _ = channel.recvmsg(1 << 20, 65536, flags | socket.MSG_DONTWAIT)
        tried("received %r %r" % (data, more), 0)
    except OSError as error:
        tried("receive", -error.errno)
channel.detach()

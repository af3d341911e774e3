# goal: fill the host's table of descriptors through the channel
# layer: host receives without control buffer
# expect: contained:crashed,error
import socket, array
channel = socket.socket(fileno=3)
for _ in range(3):
    try:
        channel.sendmsg([field(VALUE, b"x")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [1] * 200))], socket.MSG_DONTWAIT)
    except OSError as error:
        print(error)
channel.sendmsg([b""], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0]))])
leave()

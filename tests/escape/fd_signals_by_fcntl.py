# goal: make the kernel signal a process of the host because of a descriptor
# layer: seccomp
# expect: contained:ok
for command, argument in ((8, 1), (8, int(os.environ["HOST_PID"])), (8, -1), (15, 0), (10, 9), (1024, 0), (1026, 0), (1031, 1 << 20), (1034, 1 << 30)):
    for fd in range(4):
        tried("fcntl %d" % command, sc("fcntl", fd, command, argument))

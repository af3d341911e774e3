# goal: a handle on a process, and its descriptors
# layer: seccomp
# expect: contained:crashed
for pid in (1, 2, int(os.environ["HOST_PID"])):
    tried("pidfd_open", sc(434, pid, 0))
tried("pidfd_send_signal", sc(424, 3, 0, 0, 0))
tried("pidfd_getfd", sc(438, 3, 0, 0))

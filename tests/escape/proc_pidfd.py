# goal: a handle on a process, and its descriptors
# layer: seccomp
# expect: contained:crashed
for pid in (1, 2, int(os.environ["HOST_PID"])):
    tried("pidfd_open", sc("pidfd_open", pid, 0))
tried("pidfd_send_signal", sc("pidfd_send_signal", 3, 0, 0, 0))
tried("pidfd_getfd", sc("pidfd_getfd", 3, 0, 0))

# goal: collect a child or the host by its number
# layer: pid_namespace
# expect: contained:ok
for kind, pid in ((0, 0), (1, 2), (1, int(os.environ["HOST_PID"])), (2, 0), (3, 3)):
    tried("waitid %d %d" % (kind, pid), sc("waitid", kind, pid, ctypes.create_string_buffer(128), 5, 0))
tried("wait4", sc("wait4", -1, 0, 1, 0))

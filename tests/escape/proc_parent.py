# goal: signal, trace or name the processes above
# layer: pid_namespace
# expect: contained:ok
tried("parent", -1 if os.getppid() == 0 else os.getppid())
for pid in (2, 3, 4, 5, 10, int(os.environ["HOST_PID"])):
    tried("kill %d" % pid, libc.kill(pid, 0))
    tried("clock of %d" % pid, libc.clock_gettime((~pid << 3) | 2, ctypes.create_string_buffer(16)))
    tried("priority", sc("getpriority", 0, pid))
    tried("affinity", sc("sched_getaffinity", pid, 128, ctypes.create_string_buffer(128)))
    tried("session", sc("getsid", pid))
    tried("limits", sc("prlimit64", pid, 0, 0, ctypes.create_string_buffer(16)))
    tried("robust list", sc("get_robust_list", pid, ctypes.create_string_buffer(8), ctypes.create_string_buffer(8)))
for pid in (0, -int(os.environ["HOST_PID"])):
    tried("group %d" % pid, libc.kill(pid, 0))

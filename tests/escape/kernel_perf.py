# goal: watch others by performance counters
# layer: seccomp
# expect: contained:crashed
tried("perf_event_open", sc("perf_event_open", ctypes.create_string_buffer(128), -1, 0, -1, 0))

# goal: fill the kernel with queued signals
# layer: rlimits, seccomp
# expect: contained:ok
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, {50})
tried("queue with data", sc("rt_sigqueueinfo", os.getpid(), 50, ctypes.create_string_buffer(128)))
for _ in range(20000):
    if libc.tgkill(os.getpid(), libc.gettid(), 50) < 0:
        print("full")
        break

# goal: ignore and block every signal that can be ignored or blocked, and keep running
# layer: deadlines
# flags: --timeout 200ms
# expect: contained:timeout
import signal
for n in range(1, 65):
    try:
        signal.signal(n, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
libc.sigprocmask(0, ctypes.create_string_buffer(b"\xff" * 128), None)
while True:
    try:
        time.sleep(1)
    except BaseException:
        pass

# goal: lose the end of the run in a flood of output
# layer: deadlines, drained pipes
# flags: --timeout 700ms
# expect: contained:timeout,cpu_limit
import threading
def flood(fd):
    while True:
        os.write(fd, b"x" * 65536)
threading.Thread(target=flood, args=(2,), daemon=True).start()
flood(1)

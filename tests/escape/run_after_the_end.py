# goal: continue after the end, by every hook that exists
# layer: the host kills a process that has sent its result
# flags: --timeout 3s
# expect: contained:ok,timeout
import atexit, threading, weakref
class Late:
    def __del__(self):
        print("late", flush=True)
def forever():
    while True:
        try:
            time.sleep(0.01)
        except BaseException:
            pass
late = Late()
weakref.finalize(late, print, "finalized")
threading.Thread(target=forever, daemon=True).start()
try:
    value = 1
finally:
    atexit.register(lambda: os.write(1, b"exit\n"))

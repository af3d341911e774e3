# goal: write its own text into the host's kernel log, which prints a process's name when it crashes
# layer: seccomp, pid_namespace
# expect: contained:ok
import threading
name = ctypes.create_string_buffer(16)


def forge():
    libc.prctl(15, b"forged\nOops: 0", 0, 0, 0)
    for path in ("/proc/self/comm", "/proc/thread-self/comm"):
        try:
            with open(path, "w") as file:
                file.write("forged")
        except OSError as error:
            print("held", path, error.errno)
    libc.prctl(16, name, 0, 0, 0)
    print("ESCAPED" if b"forged" in name.value else "held", name.value)


forge()
threading.Thread(target=forge).start()

"""Measures the most memory that a program has."""
import contextlib
import threading
import time


class PeakMemory(threading.Thread):
    """Looks at a process until it has ended. ru_maxrss would count the memory of the tests, from between fork and exec
    (setmax_mm_hiwater_rss() in the kernel's fs/exec.c); VmHWM of proc_pid_status(5) counts only the program's own pages."""

    def __init__(self, process):
        super().__init__(daemon=True)
        self.path, self.kib = "/proc/%d/status" % process.pid, 0
        self.look()
        self.start()

    def look(self):
        with open(self.path) as file:
            found = [int(line.split()[1]) for line in file if line.startswith("VmHWM:")]
        self.kib = max([self.kib, *found])
        return bool(found)

    def run(self):
        with contextlib.suppress(OSError):
            while self.look():
                time.sleep(0.001)

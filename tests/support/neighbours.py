#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Measures how long ordinary sessions wait for an answer while another script tries to use up the machine.

tests/support/neighbours.py [--seconds N] [--sessions N] [--json] [BOMB …]     or `make bench-neighbours`

Prints for each bomb the p50 and p99 of the sessions' calls, before the bomb (quiet) and while it runs, and the
ratio of the p99. Needs an otherwise idle machine. PYEXEC_BUILD names the build folder.
"""
import argparse
import json
import os
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from library import Executor, Failure                           # noqa: E402

OPEN = {"use_import_whitelist": False, "banned_imports": [], "block_dunder_imports": False, "disable_open": False}
AGAIN = "\nwhile True:\n    try:\n        n = 0\n        while True: deed()\n    except (Exception, MemoryError): hold.clear()\n"

# Each script does this again and again until a limit ends it.
BOMBS = {
    "fork": "import ctypes, os\nhold = []\nlibc = ctypes.CDLL(None)\ndef deed(): libc.fork(), libc.vfork(), os.fork()" + AGAIN,
    "thread": "import threading\nhold = []\ndef deed():\n    t = threading.Thread(target=lambda: [None for _ in iter(int, 1)], daemon=True)\n    t.start()" + AGAIN,
    "memory": "hold = []\ndef deed(): hold.append(bytearray(b'x') * (16 << 20))" + AGAIN,
    "descriptor": "import os, socket\nhold = []\ndef deed(): hold.extend([os.dup(0), os.open('/', 0)]), hold.append(socket.socketpair())" + AGAIN,
    "disk": "import os\nhold = []\nf = open('f', 'wb', 0)\ndef deed():\n    if f.write(b'x' * 1048576) < 1048576: f.seek(0), f.truncate()" + AGAIN.replace("hold.clear()", "f.seek(0), f.truncate()"),
    "inode": "import os\nhold = []\ndef deed():\n    hold.append(0)\n    open('f%d' % len(hold), 'w').close(), os.mkdir('d%d' % len(hold))" + AGAIN.replace("hold.clear()", "pass"),
    "output": "import os\nhold = []\nblock = b'x' * 65536\ndef deed(): os.write(1, block)" + AGAIN,
    "log": "import logging\nhold = []\ndef deed():\n    logging.error('x' * 1000)\n    try: __import__('no_such_module_%d' % id(hold))\n    except ImportError: pass" + AGAIN,
    "cpu": "while True: pass",
    "pipe": "import os\nhold = []\ndef deed():\n    r, w = os.pipe()\n    hold.append((r, w))\n    os.set_blocking(w, False)\n    while os.write(w, b'x' * 65536): pass" + AGAIN,
}
TASK = "sum(i * i for i in range(1000))"
ANSWER = "332833500"


def percentile(items, percent):
    items = sorted(items)
    return items[min(len(items) - 1, int(len(items) * percent / 100))]


def explode(executor, name, until):
    """Runs the bomb again and again. Returns how its runs ended."""
    ends = set()
    while not until():
        try:
            ends.add(executor.call(None, BOMBS[name], timeout_ms=3000)["status"])
        except Failure as failure:
            ends.add(failure.code)
    return ends


def serve(executor, sessions, seconds):
    """Returns the milliseconds of every call. Each of the sessions makes a call every 50 ms."""
    times, wrong, stop = [], [], time.monotonic() + seconds

    def one(number):
        while time.monotonic() < stop:
            began = time.perf_counter()
            result = executor.call("good%d" % number, TASK)
            times.append((time.perf_counter() - began) * 1000)
            if result["last_value_repr"] != ANSWER:
                wrong.append(result)
            time.sleep(0.05)
    threads = [threading.Thread(target=one, args=(number,)) for number in range(sessions)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[0]
    return times


def beside(executor, name, sessions, seconds):
    """Returns (times without the bomb, times with the bomb, how its runs ended)."""
    quiet = serve(executor, sessions, seconds)
    done, ends = [], []
    bomb = threading.Thread(target=lambda: ends.append(explode(executor, name, lambda: done)))
    bomb.start()
    time.sleep(0.2)
    times = serve(executor, sessions, seconds)
    done.append(True)
    bomb.join()
    return quiet, times, sorted(ends[0])


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--seconds", type=float, default=5)
    options.add_argument("--sessions", type=int, default=20)
    options.add_argument("--json", action="store_true")
    options.add_argument("bombs", nargs="*", help="of " + " ".join(BOMBS))
    options = options.parse_args()
    rows = {}
    if not options.json:
        print("%-12s %9s %9s %9s %9s %7s  %s" % ("ms", "quiet p50", "p99", "beside p50", "p99", "ratio", "the bomb's runs"))
    with Executor({**OPEN, "timeout_ms": 20000}) as executor:
        serve(executor, options.sessions, 1)
        for name in options.bombs or BOMBS:
            quiet, times, ends = beside(executor, name, options.sessions, options.seconds)
            row = [percentile(quiet, 50), percentile(quiet, 99), percentile(times, 50), percentile(times, 99)]
            rows[name] = dict(zip(("quiet_p50_ms", "quiet_p99_ms", "beside_p50_ms", "beside_p99_ms"), row), ratio=row[3] / row[1], ends=ends)
            if not options.json:
                print("%-12s %9.2f %9.2f %9.2f %9.2f %7.1f  %s" % (name, *row, row[3] / row[1], ", ".join(ends)), flush=True)
    if options.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()

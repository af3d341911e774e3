# SPDX-License-Identifier: Apache-2.0
"""For fleet.py: makes a run for each line of its input, over `http` or `nats`, and prints its microseconds. A number after the name is how many
bytes its input has. Arguments: URL, token, URL."""
import sys
import time

from pyexec import Pyexec

url, token, nats = sys.argv[1:]
clients = {"http": Pyexec.connect(url, token=token), "nats": Pyexec.connect(nats)}
for line in sys.stdin:
    name, *size = line.split()
    more = {"stdin": "x" * int(size[0])} if size else {}
    begun = time.perf_counter()
    result = clients[name].execute_once("1 + 1", **more)
    print((time.perf_counter() - begun) * 1e6, flush=True)
    assert result.last_value_repr == "2", result

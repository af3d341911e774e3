#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Reloads HAProxy with haproxy.cfg, and gives the new process the table of the old one: which node has each session.

    reload.py ADMIN_SOCKET PID      PID: the master process, for example of `systemctl show -p MainPID --value haproxy`

In its first two seconds the new process answers 503 for sessions that it does not know. In this time this program fills its table."""
import os
import re
import signal
import socket
import sys
import time

BATCH = 200     # commands in one line


def ask(path, command):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(path)
        connection.sendall(command.encode() + b"\n")
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode()


def pid_of(path):
    try:
        return re.search(r"^Pid: (\d+)", ask(path, "show info"), re.M).group(1)
    except (OSError, AttributeError):       # it is being replaced
        return None


def main(path, master):
    # A part of each key is what a client sent. Only ids of sessions go back into commands: `;` would end one and begin the next.
    rows = re.findall(r"key=([A-Za-z0-9._:-]{1,164}) .*\bserver_id=(\d+) gpt0=(\d+)", ask(path, "show table owners"))
    old = pid_of(path)
    os.kill(int(master), signal.SIGUSR2)
    end = time.monotonic() + 10
    while pid_of(path) in (None, old):
        if time.monotonic() > end:
            sys.exit("reload.py: there is no new process after 10 seconds: look at the log of HAProxy")
        time.sleep(0.01)
    commands = ["set table owners key %s data.server_id %s data.gpt0 %s" % row for row in rows if row[1] != "0"]
    for start in range(0, len(commands), BATCH):
        ask(path, ";".join(commands[start:start + BATCH]))
    print("reload.py: %d sessions are known to the new process" % len(commands))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])

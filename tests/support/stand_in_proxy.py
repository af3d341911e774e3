#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A stand-in for pyexec-egress, for tests of what libpyexec does with it: it speaks src/protocol/egress.h, allows exactly the entries of
allowed_hosts, and instead of a connection to the host it sends back what a tunnel sends, in capitals. It resolves nothing and reaches
nothing. Requests to x.stop.example end it, as a crash would. It does not serve runs that may reach x.refused.example."""
import json
import os
import socket
import sys
import threading

HOST = socket.socket(fileno=os.dup(0))
LOCK = threading.Lock()
RUNS = {}


def say(**event):
    with LOCK:
        HOST.send(json.dumps(event).encode())


def count(run, name, port, verdict, sent=0, received=0):
    run["rows"].append({"host": name, "port": port, "verdict": verdict, "why": None, "address": None, "connections": 1, "sent": sent, "received": received})


def serve(connection, run):
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return connection.close()
        data += more
    name, _, port = data.split(b" ")[1].decode().partition(":")
    if name == "x.stop.example":
        os._exit(1)
    if "%s:%s" % (name, port) not in [entry if ":" in entry else entry + ":443" for entry in run["allowed_hosts"]]:
        say(event="denied", run=run["run"], host=name, port=int(port), why="host", address=None, text="allowed_hosts has no entry for %s:%s. Add it there." % (name, port))
        count(run, name, int(port), "denied")
        connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 8\r\nConnection: close\r\n\r\nrefused\n")
        return connection.close()
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    while data := connection.recv(65536):
        connection.sendall(data.upper())
        count(run, name, int(port), "allowed", len(data), len(data))
    connection.close()


def accept(run, listener):
    try:
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0], run), daemon=True).start()
    except OSError:
        pass


started = False
while True:
    data, fds, _, _ = socket.recv_fds(HOST, 1 << 17, 4)
    if not data:
        os._exit(0)
    message = json.loads(data)
    if not started and message["op"] != "start":
        print("the first packet was", message["op"], file=sys.stderr)
        os._exit(1)
    started = True
    if message["op"] == "start":
        say(event="ready", missing=[])
        for fd in fds:
            os.close(fd)
    elif message["op"] == "open" and "x.refused.example" in message["allowed_hosts"]:
        say(event="failed", run=message["run"], why="too many runs are open")
        os.close(fds[0])
    elif message["op"] == "open":
        say(event="opened", run=message["run"])
        listener = socket.socket(fileno=fds[0])
        RUNS[message["run"]] = run = {**message, "rows": [], "listener": listener}
        threading.Thread(target=accept, args=(run, listener), daemon=True).start()
    elif message["run"] in RUNS:
        run = RUNS[message["run"]]
        rows, run["rows"] = run["rows"], []
        if message["op"] == "close":
            run["listener"].shutdown(socket.SHUT_RDWR)
            run["listener"].close()
            del RUNS[message["run"]]
        say(event="report", run=message["run"], last=message["op"] == "close", hosts=rows, more=0)

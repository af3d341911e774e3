#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures the time of an MCP tool call, compared with POST /v1/execute: over stdio (`pyexec mcp`) and over HTTP (`pyexec serve` on
a UNIX socket, with one connection that stays open), with an older revision and with 2026-07-28, as single runs and in a session.
Also measures a start of `pyexec mcp` until its first answer. Prints p50 and p90 in microseconds, as JSON.

usage: bench/mcp.py PATH/TO/pyexec [--python /usr/bin/python3] [--calls 300]
"""
import argparse
import http.client
import json
import os
import socket
import subprocess
import sys
import tempfile
import time

from interleaved import measure, spread  # beside this file

META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}
MODERN = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "run_python"}


def tool_call(session, modern):
    arguments = {"code": "1 + 1", **({"session_id": "s"} if session else {})}
    return {"jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": "run_python", "arguments": arguments, **({"_meta": META} if modern else {})}}


def start_stdio(pyexec):
    return subprocess.Popen([pyexec, "mcp"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def over_stdio(process, body):
    line = json.dumps(body).encode() + b"\n"

    def call():
        process.stdin.write(line)
        process.stdin.flush()
        return process.stdout.readline()
    return call


def cold_start(pyexec, body):
    began = time.perf_counter()
    with start_stdio(pyexec) as process:
        assert b'"last_value_repr":"2"' in over_stdio(process, body)()
        took = time.perf_counter() - began
        process.stdin.close()
    return took * 1e6


class Unix(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost")
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


def over_http(connection, path, body, headers):
    data = json.dumps(body).encode()
    headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream", **headers}

    def call():
        connection.request("POST", path, data, headers)
        return connection.getresponse().read()
    return call


def await_socket(path):
    for _ in range(500):
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                return probe.connect(path)
        except OSError:
            time.sleep(0.02)
    sys.exit("the server does not start")


def check(answer):
    assert b'"last_value_repr":"2"' in answer, answer


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("pyexec")
    parser.add_argument("--python", default="/usr/bin/python3")
    parser.add_argument("--calls", type=int, default=300)
    options = parser.parse_args()
    os.environ["PYEXEC_POLICY_PYTHON_BIN"] = options.python
    pyexec = os.path.abspath(options.pyexec)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "socket")
        server = subprocess.Popen([pyexec, "serve", "--listen", "unix:" + path], stderr=subprocess.DEVNULL)
        stdio = start_stdio(pyexec)
        try:
            await_socket(path)
            connection = Unix(path)
            calls = {}
            for session in (False, True):
                kind = "session" if session else "once"
                route = "/v1/sessions/s/execute" if session else "/v1/execute"
                calls["POST execute, " + kind] = over_http(connection, route, {"code": "1 + 1"}, {})
                for modern in (False, True):
                    name = "%s, %s" % ("modern" if modern else "legacy", kind)
                    calls["MCP stdio, " + name] = over_stdio(stdio, tool_call(session, modern))
                    calls["MCP HTTP, " + name] = over_http(connection, "/mcp", tool_call(session, modern), MODERN if modern else {})
            figures = measure(calls, options.calls, check)
            figures["MCP stdio, cold start to first answer"] = spread([cold_start(pyexec, tool_call(False, True)) for _ in range(10)])
        finally:
            stdio.stdin.close()
            stdio.wait(10)
            server.terminate()
            server.wait(30)
    print(json.dumps(figures, indent=2))


main()

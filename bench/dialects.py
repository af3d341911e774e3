#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures the time of calls with the clients of other servers, compared with POST /v1/execute: E2B's SDK (`run_code`) and the
POST /execute that it sends, the sandbox-fusion client and its POST /run_code, and the route of dify-sandbox. There is one server on
a loopback address with tokens. The plain requests use one connection that stays open. Prints p50 and p90 in microseconds, as JSON.

usage: bench/dialects.py PATH/TO/pyexec [--python /usr/bin/python3] [--calls 300]
The clients are in the virtual environment beside the program that the tests make. If it does not exist, it is made here with pip.
"""
import argparse
import hashlib
import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import time

from interleaved import measure  # beside this file

PINS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "dialects", "requirements.txt")
TOKEN = "bench"


def inside_the_clients_environment(pyexec):
    """Returns if this Python is that of the clients' virtual environment. Otherwise makes the environment if it does not exist, and
    starts this program again with its Python."""
    folder = os.path.join(os.path.dirname(pyexec), "dialect-clients")
    if os.path.realpath(sys.prefix) == os.path.realpath(folder):
        return
    if not os.path.exists(folder + "/stamp"):
        subprocess.run(["/usr/bin/python3", "-m", "venv", folder], check=True)
        subprocess.run([folder + "/bin/pip", "install", "-q", "-r", PINS], check=True)
    os.execv(folder + "/bin/python", [folder + "/bin/python", "-B", *sys.argv])


def start(pyexec, folder):
    tokens = os.path.join(folder, "tokens")
    with open(tokens, "w") as file:
        file.write("bench sha256:%s\n" % hashlib.sha256(TOKEN.encode()).hexdigest())
    os.chmod(tokens, 0o600)
    server = subprocess.Popen([pyexec, "serve", "--listen", "127.0.0.1:0", "--token-file", tokens, "--e2b", "--dify-sandbox",
                               "--sandbox-fusion"], stderr=subprocess.PIPE, text=True)
    for line in server.stderr:
        if found := re.search(r"listening detail=(\S+)", line):
            return server, found.group(1)
    sys.exit("the server does not start")


def bare(connection, path, body, expected):
    data = json.dumps(body).encode()
    headers = {"Content-Type": "application/json", "Authorization": "Bearer " + TOKEN}

    def call():
        connection.request("POST", path, data, headers)
        answer = connection.getresponse().read()
        assert expected in answer, answer
    return call


def e2b(address):
    os.environ.update(E2B_DEBUG="true", E2B_SANDBOX_URL="http://" + address)
    from e2b import ConnectionConfig
    from e2b_code_interpreter import Sandbox
    from packaging.version import Version
    sandbox = Sandbox(sandbox_id="bench", sandbox_domain=None, envd_version=Version("0.4.0"), envd_access_token=None,
                      traffic_access_token=TOKEN, connection_config=ConnectionConfig())

    def call():
        assert sandbox.run_code("1 + 1").text == "2"
    return call


def fusion(address):
    from sandbox_fusion import RunCodeRequest, run_code
    request = RunCodeRequest(code="print(1 + 1)", language="python")
    endpoint = "http://any:%s@%s" % (TOKEN, address)

    def call():
        assert run_code(request, endpoint=endpoint, max_attempts=1).run_result.stdout == "2\n"
    return call


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("pyexec")
    parser.add_argument("--python", default="/usr/bin/python3")
    parser.add_argument("--calls", type=int, default=300)
    options = parser.parse_args()
    os.environ["PYEXEC_POLICY_PYTHON_BIN"] = options.python
    pyexec = os.path.abspath(options.pyexec)
    inside_the_clients_environment(pyexec)
    with tempfile.TemporaryDirectory() as folder:
        server, address = start(pyexec, folder)
        server.stderr.close()           # reads the log of the server and drops it
        connection = http.client.HTTPConnection(address)
        try:
            figures = measure({
                "POST /v1/execute": bare(connection, "/v1/execute", {"code": "1 + 1"}, b'"last_value_repr":"2"'),
                "POST /v1/sessions/s/execute": bare(connection, "/v1/sessions/s/execute", {"code": "1 + 1"}, b'"last_value_repr":"2"'),
                "POST /execute (E2B)": bare(connection, "/execute", {"code": "1 + 1"}, b'"text":"2"'),
                "E2B SDK, run_code": e2b(address),
                "POST /run_code (SandboxFusion)": bare(connection, "/run_code", {"code": "print(1 + 1)", "language": "python"}, b'"2\\n"'),
                "sandbox-fusion, run_code": fusion(address),
                "POST /v1/sandbox/run (dify-sandbox)": bare(connection, "/v1/sandbox/run", {"code": "print(1 + 1)", "language": "python3"}, b'"2\\n"'),
            }, options.calls)
        finally:
            server.terminate()
            server.wait(30)
    print(json.dumps(figures, indent=2))


main()

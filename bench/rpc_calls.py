# SPDX-License-Identifier: Apache-2.0
"""`pyexec rpc` for the benches. An error ends the bench."""
import json
import subprocess
import sys


class Rpc:
    """Calls one after another, or several at once: send() and receive(). `initialize` has the parameters of this method: policy,
    session, host."""

    def __init__(self, program, **initialize):
        self.process = subprocess.Popen([program, "rpc"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self("initialize", protocol=1, **initialize)

    def __call__(self, method, **params):
        self.send(method, 1, **params)
        return self.receive(method)

    def send(self, method, number, **params):
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode() + b"\n")
        self.process.stdin.flush()

    def receive(self, method=""):
        """Returns the result of whichever request has ended."""
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            sys.exit("%s: %s" % (method, answer["error"]))
        return answer["result"]

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.end()

    def end(self):
        self.process.stdin.close()
        for _ in self.process.stdout:
            pass
        self.process.wait()

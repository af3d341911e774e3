# SPDX-License-Identifier: Apache-2.0
"""`pyexec rpc` for the benches: one request after another. An error ends the bench."""
import json
import subprocess
import sys


class Rpc:
    """`initialize` has the parameters of this method: policy, session."""

    def __init__(self, program, **initialize):
        self.process = subprocess.Popen([program, "rpc"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self("initialize", protocol=1, **initialize)

    def __call__(self, method, **params):
        self.process.stdin.write(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        if "error" in answer:
            sys.exit("%s: %s" % (method, answer["error"]))
        return answer["result"]

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.process.stdin.close()
        self.process.wait()

# SPDX-License-Identifier: Apache-2.0
"""A client of a program that speaks JSON-RPC on its standard streams, one message on each line."""
import json
import subprocess


class JsonLines:
    def __init__(self, program, *arguments, **keywords):
        self.process = program.popen(*arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **keywords)
        self.next, self.held = 0, []

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.process.stdin.close()
        assert self.process.wait(60) == 0
        self.process.stdout.close()

    def line(self, message):
        self.process.stdin.write((message if isinstance(message, bytes) else json.dumps(message).encode()) + b"\n")
        self.process.stdin.flush()

    def send(self, method, **params):
        self.next += 1
        self.line({"jsonrpc": "2.0", "id": self.next, "method": method, "params": params})
        return self.next

    def read(self):
        return json.loads(self.process.stdout.readline())

    def wait(self, number):
        while True:
            for message in self.held:
                if message.get("id") == number and "method" not in message:
                    self.held.remove(message)
                    return message
            self.held.append(self.read())

    def begin(self, method, code, **params):
        """Sends a call and waits for its first output, so that its script runs. Returns the id of the call."""
        number = self.send(method, code="print('go', flush=True)\n" + code, stream=True, **params)
        while True:
            message = self.read()
            if message.get("method") == "output" and message["params"]["request"] == number:
                return number
            self.held.append(message)

    def ask(self, method, **params):
        return self.wait(self.send(method, **params))

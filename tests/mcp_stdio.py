"""A client of `pyexec mcp` that says what it likes."""
import json
import subprocess

META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}


class Client:
    def __init__(self, program, *flags, version="2025-11-25", **keywords):
        self.process = program.popen("mcp", *flags, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **keywords)
        self.next, self.held = 0, []
        if version:
            self.info = self.ask("initialize", protocolVersion=version, capabilities={}, clientInfo={"name": "t", "version": "1"})["result"]
            self.line({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.process.stdin.close()
        assert self.process.wait(10) == 0
        assert self.process.stdout.read() == b""
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

    def ask(self, method, **params):
        return self.wait(self.send(method, **params))

    def start(self, tool, meta=None, **arguments):
        return self.send("tools/call", name=tool, arguments=arguments, **({"_meta": meta} if meta else {}))

    def call(self, tool, meta=None, **arguments):
        return self.wait(self.start(tool, meta, **arguments))["result"]


def text(result):
    return "".join(block["text"] for block in result["content"] if block["type"] == "text")

# SPDX-License-Identifier: Apache-2.0
"""A client of `pyexec mcp` that can send any message, valid or not."""
from json_lines import JsonLines

META = {"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}


class Client(JsonLines):
    def __init__(self, program, *flags, version="2025-11-25", **keywords):
        super().__init__(program, "mcp", *flags, **keywords)
        if version:
            self.info = self.ask("initialize", protocolVersion=version, capabilities={}, clientInfo={"name": "t", "version": "1"})["result"]
            self.line({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def __exit__(self, *unused):
        self.process.stdin.close()
        assert self.process.wait(60) == 0
        assert self.process.stdout.read() == b""
        self.process.stdout.close()

    def start(self, tool, meta=None, **arguments):
        return self.send("tools/call", name=tool, arguments=arguments, **({"_meta": meta} if meta else {}))

    def call(self, tool, meta=None, **arguments):
        return self.wait(self.start(tool, meta, **arguments))["result"]


def text(result):
    return "".join(block["text"] for block in result["content"] if block["type"] == "text")

# SPDX-License-Identifier: Apache-2.0
"""An MCP server whose tool `tick` appends a line to a file: counting_mcp_server.py FILE. So the calls of scripts are counted outside of
everything that a test kills."""
import json
import os
import sys

TICK = {"name": "tick", "inputSchema": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}}
counted = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)

for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    method, params = message["method"], message.get("params", {})
    if method == "initialize":
        result = {"protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": {"name": "count", "version": "1"}}
    elif method == "tools/list":
        result = {"tools": [TICK]}
    elif method == "tools/call":
        os.write(counted, (params["arguments"]["name"] + "\n").encode())
        result = {"content": [{"type": "text", "text": "counted"}]}
    else:
        result = {}
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)

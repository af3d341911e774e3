"""A server that uses the official Python SDK, in any of its versions. It serves stdio, or HTTP on the given port."""
import inspect
import sys

try:
    from mcp.server.fastmcp import FastMCP as Server
except ImportError:
    from mcp.server import MCPServer as Server

server = Server("stock")
STOCK = {"bolt": 120, "nut": 80, "washer": 300}


@server.tool()
def count(part: str) -> int:
    """How many of a part are in stock."""
    return STOCK[part]


@server.tool()
def parts() -> list[str]:
    """The names of all parts."""
    return sorted(STOCK)


@server.tool()
def order(part: str, number: int = 10) -> dict[str, int]:
    """Orders more of a part."""
    return {part: STOCK[part] + number}


if len(sys.argv) < 2:
    server.run()
elif "port" in inspect.signature(server.run_streamable_http_async).parameters:
    server.run("streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
else:
    server.settings.host, server.settings.port = "127.0.0.1", int(sys.argv[1])
    server.run("streamable-http")

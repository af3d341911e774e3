"""A server written with the official Python SDK, whatever its version."""
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


server.run()

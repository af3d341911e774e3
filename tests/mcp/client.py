"""Runs one scenario through the official Python SDK and prints it as JSON: client.py TARGET.

TARGET is JSON: {"command", "args", "env"} or {"url", "token"}, and "mode": legacy, auto or a revision.
tests/mcp/client.mjs is the same through the TypeScript SDK.
"""
import asyncio
import base64
import contextlib
import json
import sys
import time
from importlib.metadata import version

import httpx2
import jsonschema
import mcp
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\nrest").decode()


def connect(target):
    if "command" in target:
        where = StdioServerParameters(command=target["command"], args=target["args"], env=target["env"])
    else:
        http = httpx2.AsyncClient(headers={"Authorization": "Bearer " + target["token"]}, timeout=60)
        where = streamable_http_client(target["url"], http_client=http)
    return mcp.Client(where, mode=target["mode"])


def text(result):
    return "".join(block.text for block in result.content if block.type == "text")


def told(result):
    return {"text": text(result), "error": bool(result.is_error), "structured": result.structured_content}


async def one(client, seen):
    """Calls every tool."""
    seen["version"] = client.protocol_version
    seen["server"] = client.server_info.name
    tools = (await client.list_tools()).tools
    seen["tools"] = [tool.name for tool in tools]
    seen["description"] = tools[0].description
    for tool in tools:
        for schema in (tool.input_schema, tool.output_schema):
            jsonschema.Draft202012Validator.check_schema(schema)
    call = client.call_tool                 # it checks results by their schemas
    seen["value"] = told(await call("run_python", {"code": "print('hello')\n6 * 7"}))
    seen["failed"] = told(await call("run_python", {"code": "import os"}))
    seen["written"] = told(await call("write_file", {"session_id": "s", "path": "in.txt", "content": "data"}))
    seen["image_written"] = told(await call("write_file", {"session_id": "s", "path": "i.png", "content_base64": PNG}))
    seen["first"] = told(await call("run_python", {"session_id": "s", "code": "a = open('in.txt').read()"}))
    seen["kept"] = told(await call("run_python", {"session_id": "s", "code": "open('out.txt', 'w').write(a * 2)"}))
    seen["given"] = told(await call("run_python", {"code": "open('x').read()", "files": {"x": "given"}}))
    seen["listed"] = told(await call("list_files", {"session_id": "s"}))
    seen["read"] = told(await call("read_file", {"session_id": "s", "path": "out.txt"}))
    image = (await call("read_file", {"session_id": "s", "path": "i.png"})).content[0]
    seen["image"] = [image.type, image.mime_type, image.data]
    seen["reset"] = told(await call("reset_session", {"session_id": "s"}))
    seen["gone"] = told(await call("run_python", {"session_id": "s", "code": "a"}))
    seen["absent"] = told(await call("list_files", {"session_id": "never"}))
    seen["longer"] = told(await call("run_python", {"code": "1", "timeout_ms": 3600000}))
    try:
        seen["unknown_tool"] = told(await call("nothing", {}))
    except mcp.MCPError as error:
        seen["unknown_tool"] = error.error.code


async def progress(client, seen):
    steps = []

    async def on_progress(value, total, message):
        steps.append(value)
    result = await client.call_tool("run_python", {"code": "import time\ntime.sleep(2.3)\n'done'"}, progress_callback=on_progress)
    seen["progress"] = [steps, result.structured_content["last_value_repr"]]


async def interrupted(client, seen):
    endless = asyncio.create_task(client.call_tool("run_python", {"session_id": "i", "code": "x = 1\nwhile True: pass"}))
    await asyncio.sleep(0.7)
    seen["interrupt"] = told(await client.call_tool("interrupt", {"session_id": "i"}))
    seen["interrupted"] = told(await endless)
    seen["after_interrupt"] = told(await client.call_tool("run_python", {"session_id": "i", "code": "x"}))


async def cancelled(client, seen):
    """A session whose call is cancelled is free at once; its loop would run for two seconds of CPU time."""
    await client.call_tool("run_python", {"session_id": "c", "code": "x = 1"})
    endless = asyncio.create_task(client.call_tool("run_python", {"session_id": "c", "code": "while True: pass"}))
    await asyncio.sleep(0.5)
    endless.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await endless
    began = time.monotonic()
    result = await client.call_tool("run_python", {"session_id": "c", "code": "x"})
    seen["after_cancel"] = [result.structured_content["last_value_repr"], time.monotonic() - began]


async def together(target, seen):
    """Two clients at the same time. Over HTTP they share the sessions of their principal."""
    async with connect(target) as first, connect(target) as second:
        await asyncio.gather(*(client.call_tool("run_python", {"session_id": "both", "code": "n = %d" % i})
                               for i, client in enumerate((first, second))))
        await first.call_tool("run_python", {"session_id": "shared", "code": "a = 'of the first'"})
        seen["two_connections"] = told(await second.call_tool("run_python", {"session_id": "shared", "code": "a"}))


async def main(target):
    seen = {"sdk": "mcp " + version("mcp")}
    async with connect(target) as client:
        await one(client, seen)
        await progress(client, seen)
        await interrupted(client, seen)
        await cancelled(client, seen)
    await together(target, seen)
    json.dump(seen, sys.stdout)


asyncio.run(main(json.loads(sys.argv[1])))

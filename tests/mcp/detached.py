"""Runs that continue after their answer, through the official Python SDK: detached.py TARGET.

TARGET is JSON: {"command", "args", "env"} or {"url", "token"}. Prints what the client got, as JSON: as a client that knows no
tasks, and with the extension for tasks of 2026-07-28. This SDK does not take tasks of 2025-11-25: see detached.mjs.
"""
import asyncio
import json
import sys
from typing import Literal

import httpx2
import mcp
from mcp import types
from mcp.client.extension import ClientExtension, ResultClaim
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

CODE = "print('hello')\n6 * 7"
SPIN = "while True:\n    pass"


def connect(target, mode, **more):
    if "command" in target:
        where = StdioServerParameters(command=target["command"], args=target["args"], env=target["env"])
    else:
        http = httpx2.AsyncClient(headers={"Authorization": "Bearer " + target["token"]}, timeout=60)
        where = streamable_http_client(target["url"], http_client=http)
    return mcp.Client(where, mode=mode, **more)


def told(result):
    return {"text": "".join(block.text for block in result.content if block.type == "text"), "error": bool(result.is_error),
            "structured": result.structured_content}


async def tools(target, mode):
    """A model uses the tools; the SDK checks the answers by their schemas."""
    async with connect(target, mode) as client:
        async def call(name, **arguments):
            return told(await client.call_tool(name, arguments))
        made = await call("run_python", code=CODE, detach=True, session_id="s")
        execution = made["structured"]["execution_id"]
        ended = await call("get_execution", execution_id=execution, wait_ms=60000)
        spins = (await call("run_python", code=SPIN, detach=True))["structured"]["execution_id"]
        at_once = await call("get_execution", execution_id=spins)
        await call("cancel_execution", execution_id=spins)
        return {"made": made, "ended": ended, "at_once": at_once, "cancelled": await call("get_execution", execution_id=spins, wait_ms=60000),
                "unknown": await call("get_execution", execution_id="nothing")}


class NewTask(types.Result):
    result_type: Literal["task"] = "task"
    task_id: str


class GetParams(types.RequestParams):
    task_id: str


class GetTask(types.Request[GetParams, Literal["tasks/get"]]):
    name_param = "taskId"
    method: Literal["tasks/get"] = "tasks/get"
    params: GetParams


class State(types.Result):
    status: str
    result: types.CallToolResult | None = None


class Tasks(ClientExtension):
    """Waits for a task in place of its caller, as an agent's host does."""
    identifier = "io.modelcontextprotocol/tasks"

    def __init__(self):
        self.seen = 0

    async def wait(self, made, context):
        self.seen += 1
        while True:
            state = await context.session.send_request(GetTask(params=GetParams(task_id=made.task_id)), State)
            if state.status != "working":
                return state.result
            await asyncio.sleep(0.05)

    def claims(self):
        return [ResultClaim(result_type="task", model=NewTask, resolve=self.wait)]


async def modern_tasks(target):
    extension = Tasks()
    async with connect(target, "2026-07-28", extensions=[extension]) as client:
        results = [told(await client.call_tool("run_python", {"code": code, **more}))
                   for code, more in ((CODE, {"detach": True}), ("1/0", {"detach": True}), (CODE, {}))]
        return {"results": results, "tasks": extension.seen}


async def main(target):
    seen = {"tools": {mode: await tools(target, mode) for mode in ("legacy", "2026-07-28")},
            "modern": await modern_tasks(target)}
    json.dump(seen, sys.stdout)


asyncio.run(asyncio.wait_for(main(json.loads(sys.argv[1])), 300))

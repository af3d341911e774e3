"""Answers the questions of `pyexec mcp` about tool calls through the official Python SDK: approve.py TARGET.

TARGET is JSON: {"command", "args", "env"}. Prints what the user was asked and what each run returned, as JSON.
"""
import asyncio
import json
import sys

import mcp
from mcp import types
from mcp.client.stdio import StdioServerParameters

ACTIONS = ["accept", "decline", "cancel"]


async def main(target):
    asked = []

    async def ask(context, params):
        asked.append(params.message)
        action = ACTIONS[len(asked) - 1]
        return types.ElicitResult(action=action, content={} if action == "accept" else None)

    where = StdioServerParameters(command=target["command"], args=target["args"], env=target["env"])
    runs = []
    async with mcp.Client(where, mode="legacy", elicitation_callback=ask) as client:
        for action in ACTIONS:
            result = await client.call_tool("run_python", {"code": "shop.say(%r)" % action})
            runs.append([result.structured_content["last_value_repr"], result.structured_content["error_repr"]])
    async with mcp.Client(where, mode="legacy") as client:
        result = await client.call_tool("run_python", {"code": "shop.say('nobody is asked')"})
        runs.append([result.structured_content["last_value_repr"], result.structured_content["error_repr"]])
    json.dump({"asked": asked, "runs": runs}, sys.stdout)


asyncio.run(main(json.loads(sys.argv[1])))

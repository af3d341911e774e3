# SPDX-License-Identifier: Apache-2.0
"""An MCP server on standard input and output that behaves as its arguments say: hostile_mcp_server.py BEHAVIOUR..."""
import json
import os
import subprocess
import sys
import time

BEHAVIOUR = set(sys.argv[1:])
MODERN = "modern" in BEHAVIOUR or "deaf" in BEHAVIOUR


def is_(word):
    return word in BEHAVIOUR


def send(message):
    sys.stdout.write(message if isinstance(message, str) else json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def tool(name, description="", returns=None, required=(), **properties):
    made = {"name": name, "description": description,
            "inputSchema": {"type": "object", "properties": properties, "required": list(required)}}
    return {**made, **({"outputSchema": returns} if returns else {})}


TEXT = {"type": "string"}
TOOLS = [
    tool("echo", "Gives back what it is given.", {"type": "object"}, ["text"], text=TEXT, times={"type": "integer", "default": 1}),
    tool("say", "A text.", None, ["text"], text=TEXT), tool("fails", "Always an error."), tool("breaks", "A protocol error."),
    tool("mixed", "Text and an image."), tool("hangs"), tool("dies"), tool("twice"), tool("garbage"), tool("floods"), tool("long-line"),
    tool("large", "A large result.", None, ["bytes"], bytes={"type": "integer"}), tool("environment"), tool("starts-children"),
    tool("create.issue"), tool("create/issue"), tool("create-issue"), tool("import"), tool("1st"), tool("aio"), tool("list"), tool("asks"),
    tool("more-tools"), tool("flaps"), tool("cancelled"), tool("slow", "Half a second.", None, ["n"], n={"type": "integer"}),
]
if is_("lies"):
    TOOLS = [{"name": "no_schema"}, {"name": "list_schema", "inputSchema": []}, {"name": 5}, {}, 7, {"name": "odd", "inputSchema": {"type": "object", "properties": [1]}},
             {"name": "deep", "inputSchema": {"type": "object", "properties": {"a": json.loads("[" * 90 + "]" * 90)}}},
             {"name": "wide", "inputSchema": {"type": "object", "properties": {"p%d" % i: TEXT for i in range(300)}}, "description": '"""\\\n' * 5},
             {"name": "huge", "description": "x" * 300000, "inputSchema": {"type": "object"}}, {"name": "\u202eevil\0", "description": "n"},
             {"name": "says_number", "inputSchema": {"type": "object"}, "outputSchema": {"type": "integer"}}]
if is_("many"):
    TOOLS = [tool("tool_%d" % i, "Tool number %d, which %s." % (i, "paints" if i == 777 else "works"), None, ["a"], a=TEXT) for i in range(3000)]
cancelled = []
metas = []      # of the calls of tools


def list_tools(params):
    if is_("endless-pages"):
        return {"tools": [tool("t%s" % params.get("cursor", ""))], "nextCursor": str(int(params.get("cursor", 0)) + 1)}
    start = int(params.get("cursor", 0))
    result = {"tools": TOOLS[start:start + 10 if is_("pages") else None]}
    if is_("pages") and start + 10 < len(TOOLS):
        result["nextCursor"] = str(start + 10)
    return result


def text(value, **more):
    return {"content": [{"type": "text", "text": value}], **more}


def call(name, arguments, id):
    if name == "echo":
        return text(json.dumps(arguments), structuredContent=arguments)
    if name in ("say", "slow"):
        time.sleep(0.5 if name == "slow" else 0)
        return text(str(arguments.get("text", arguments.get("n"))))
    if name == "fails":
        return text("no such city", isError=True)
    if name == "mixed":
        return {"content": [{"type": "text", "text": "a"}, {"type": "image", "data": "AA==", "mimeType": "image/png"}]}
    if name == "hangs":
        return None
    if name == "dies":
        print("the last words", file=sys.stderr, flush=True)
        os._exit(3)
    if name == "twice":
        send({"id": id, "result": text("first")})
        return text("second")
    if name == "garbage":
        for line in ("garbage\n", "\0\xff{\n", "[1, 2]\n", "5\n", '{"jsonrpc": "2.0"}\n', '{"id": 99999, "result": {}}\n', '{"id": "x", "result": {}}\n',
                     '{"id": null, "error": 5}\n', '{"method": 5}\n', '{"method": "ping", "id": 1}\n', '{"method": "roots/list", "id": "r"}\n'):
            send(line)
        return text("after it")
    if name == "floods":
        line = json.dumps({"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": "x" * 60000}}) + "\n"
        for _ in range(3000):
            sys.stderr.write("y" * 1000 + "\n")
            send(line)
        return text("never seen")
    if name == "long-line":
        send("z" * (20 << 20))
        return text("never seen")
    if name == "large":
        return text("x" * arguments["bytes"])
    if name == "environment":
        return text(json.dumps({"variables": dict(os.environ), "folder": os.getcwd(), "meta": metas[-1]}))
    if name == "starts-children":
        child = subprocess.Popen(["setsid", "sleep", "1000"])
        subprocess.run(["sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 </dev/null & exit 0"])
        return text(json.dumps([os.getpid(), child.pid]))
    if name == "asks":
        return {"resultType": "input_required", "inputRequests": {}}
    if name == "more-tools":
        TOOLS.append(tool("new_one", "It came later."))
        send({"method": "notifications/tools/list_changed"})
        return text("there is one more")
    if name == "flaps":
        for _ in range(500):
            send({"method": "notifications/tools/list_changed"})
        return text("nothing has changed")
    if name == "cancelled":
        return text(json.dumps(cancelled))
    return text(name)


def answer(message):
    method, params, id = message.get("method"), message.get("params") or {}, message.get("id")
    if method == "notifications/cancelled":
        cancelled.append(params.get("requestId"))
    if id is None or method is None:
        return
    if method == "initialize" and is_("deaf"):
        return          # like a server that knows only 2026-07-28, and ignores unknown methods
    if method == "initialize" and is_("slow-start"):
        answer(json.loads(sys.stdin.readline()))        # it answers only after it has got another request
    if method == "initialize" and not MODERN:
        version = "1999-01-01" if is_("unknown-version") else "2024-11-05" if is_("old") else "2025-11-25"
        send({"id": id, "result": {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": {"name": "hostile", "version": "1"}}})
    elif method == "server/discover" and MODERN:
        send({"id": id, "result": {"resultType": "complete", "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}})
    elif MODERN and "io.modelcontextprotocol/protocolVersion" not in params.get("_meta", {}):
        send({"id": id, "error": {"code": -32602, "message": "no _meta"}})
    elif method == "tools/list":
        send({"id": id, "result": list_tools(params)})
    elif method == "tools/call" and params["name"] == "breaks":
        send({"id": id, "error": {"code": -32000, "message": "broken", "data": {"why": 1}}})
    elif method == "tools/call":
        metas.append(params.get("_meta"))
        result = call(params["name"], params.get("arguments") or {}, id)
        if result is not None:
            send({"id": id, "result": result})
    else:
        send({"id": id, "error": {"code": -32601, "message": "Method not found"}})


if is_("dead") and not any(map(os.path.exists, BEHAVIOUR)):      # until a file exists
    print("I can't start", file=sys.stderr, flush=True)
    sys.exit(4)
if is_("silent"):
    time.sleep(1000)
sys.stdout.reconfigure(errors="surrogateescape")
for line in sys.stdin:
    answer(json.loads(line))
if is_("stubborn"):
    import signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(1000)

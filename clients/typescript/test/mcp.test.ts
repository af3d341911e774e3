// SPDX-License-Identifier: Apache-2.0
/** The MCP TypeScript SDK, versions 1 and 2: a server with our tool, and code that calls the tools of other servers. */
import assert from "node:assert/strict";
import { describe, test } from "node:test";

import * as client2 from "@modelcontextprotocol/client";
import { Client as Client1 } from "@modelcontextprotocol/sdk/client/index.js";
import { InMemoryTransport as Transport1 } from "@modelcontextprotocol/sdk/inMemory.js";
import { McpServer as Server1 } from "@modelcontextprotocol/sdk/server/mcp.js";
import * as server2 from "@modelcontextprotocol/server";
import { z } from "zod";

import { Pyexec } from "pyexec-client";
import { mcpTools, registerPython, type McpClient, type McpServer } from "pyexec-client/mcp";
import { POLICY, makeClient } from "./support.js";

interface Pair {
  server: McpServer & { close(): Promise<void> };
  client: McpClient & { close(): Promise<void> };
  connect(): Promise<void>;
}

const VERSIONS: Record<string, () => Pair> = {
  "version 1": () => {
    const [server, client] = [new Server1({ name: "s", version: "1" }), new Client1({ name: "c", version: "1" })];
    return { server, client, connect: async () => {
      const [a, b] = Transport1.createLinkedPair();
      await Promise.all([server.connect(a), client.connect(b)]);
    } };
  },
  "version 2": () => {
    const [server, client] = [new server2.McpServer({ name: "s", version: "1" }), new client2.Client({ name: "c", version: "1" })];
    return { server, client, connect: async () => {
      const [a, b] = server2.InMemoryTransport.createLinkedPair();
      await Promise.all([server.connect(a), client.connect(b as never)]);
    } };
  },
};

interface Answer {
  content: Array<{ type: string; text?: string; data?: string; mimeType?: string }>;
  isError?: boolean;
}

for (const [version, make] of Object.entries(VERSIONS)) {
  describe(version, () => {
    test("a server with our tool: state, errors with hints, images, functions", async () => {
      const { server, client, connect } = make();
      const px = new Pyexec({ policy: POLICY });
      const python = registerPython(server, { client: px, policy: { use_import_whitelist: true }, tools: {
        double: { description: "Doubles.", parameters: z.object({ n: z.number() }), execute: ({ n }: { n: number }) => n * 2 } } });
      await connect();
      const { tools } = await client.listTools();
      assert.match(tools[0]!.description!, /Runs Python code.*\n- double\(n: float\): Doubles\./s);
      assert.deepEqual((tools[0]!.inputSchema as { required: string[] }).required, ["code"]);
      const run = async (code: string): Promise<Answer> => (await client.callTool({ name: "python", arguments: { code } })) as Answer;
      // A scripted model: the second code is made of the first one's hint.
      const first = await run("import numpy");
      assert.ok(first.isError);
      const [, module] = /import 'numpy' not allowed\. Use (\w+)/.exec(first.content[0]!.text!)!;
      const second = await run(`import ${module}\nmean = ${module}.mean([1, 2, 6])\nmean`);
      assert.deepEqual([second.content, second.isError], [[{ type: "text", text: "3" }], false]);
      assert.equal((await run("double(mean)")).content[0]!.text, "6");
      assert.equal((await run("x = 1")).content[0]!.text, "(no output)");
      const shown = await run("class Dot:\n def _repr_png_(self): return b'\\x89PNG'\nDot()");
      assert.deepEqual(shown.content[1], { type: "image", data: "iVBORw==", mimeType: "image/png" });
      await python.close();
      assert.equal((await px.executeOnce("1")).last_value_repr, "1");
      await Promise.all([client.close(), server.close(), px.close()]);
    });

    test("a failure of the host is a result with isError", async () => {
      const { server, client, connect } = make();
      const python = registerPython(server, { policy: { timeuot_ms: 1 } as object, name: "run" });
      await connect();
      const answer = (await client.callTool({ name: "run", arguments: { code: "1" } })) as Answer;
      assert.ok(answer.isError);
      assert.match(answer.content[0]!.text!, /timeuot_ms.*Did you mean timeout_ms/);
      await Promise.all([client.close(), server.close(), python.close()]);
    });

    test("the code calls the tools of MCP servers", async () => {
      const { server, client, connect } = make();
      server.registerTool("get-price", { description: "The price.", inputSchema: z.object({ item: z.string() }), outputSchema: z.object({ euros: z.number() }) },
        ({ item }: { item: string }) => ({ content: [{ type: "text", text: item }], structuredContent: { euros: item === "tea" ? 3.5 : 2 } }));
      server.registerTool("name", { inputSchema: z.object({}) }, () => ({ content: [{ type: "text", text: "Ada" }] }));
      server.registerTool("fails", { inputSchema: z.object({}) }, () => ({ content: [{ type: "text", text: "out of stock" }], isError: true }));
      await connect();
      const px = await makeClient("unix");
      const tools = await mcpTools({ shop: client });
      assert.deepEqual(Object.keys(tools), ["shop_get_price", "shop_name", "shop_fails"]);
      const result = await px.executeOnce(
        "def attempt(f):\n try: return f()\n except ToolError as error: return str(error)\n" +
        "2 * shop_get_price('tea')['euros'] + shop_get_price(item='rice')['euros'], shop_name(), attempt(shop_fails)", { tools });
      assert.equal(result.last_value_repr, "(9.0, 'Ada', 'out of stock')", result.explain());
      assert.deepEqual(Object.keys(await mcpTools(client)), ["get_price", "name", "fails"]);
      await Promise.all([client.close(), server.close(), px.close()]);
    });

    test("a call that is cancelled ends its run", async () => {
      const { server, client, connect } = make();
      const px = new Pyexec({ policy: POLICY });
      const abort = new AbortController();
      registerPython(server, { client: px, sessionId: "s", tools: { stop: () => abort.abort() } });
      await connect();
      const call = version === "version 1" ? client.callTool({ name: "python", arguments: { code: "x = 1\nstop()\nwhile True: pass" } }, undefined, { signal: abort.signal })
        : client.callTool({ name: "python", arguments: { code: "x = 1\nstop()\nwhile True: pass" } }, { signal: abort.signal });
      await assert.rejects(call);
      assert.equal((await px.execute("s", "x")).last_value_repr, "1");
      await Promise.all([client.close(), server.close(), px.close()]);
    });
  });
}

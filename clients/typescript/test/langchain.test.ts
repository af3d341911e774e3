// SPDX-License-Identifier: Apache-2.0
/** The tool for LangChain.js, with the real packages and a scripted chat model. */
import assert from "node:assert/strict";
import { test } from "node:test";

import { AIMessage, ToolMessage, type BaseMessage } from "@langchain/core/messages";
import { fakeModel } from "@langchain/core/testing";
import { tool } from "@langchain/core/tools";
import { createAgent } from "langchain";
import { z } from "zod";

import { Pyexec, Result } from "pyexec-client";
import { PyexecTool, scriptTools } from "pyexec-client/langchain";
import { POLICY, makeClient } from "./support.js";

const call = (code: string): AIMessage => new AIMessage({ content: "", tool_calls: [{ name: "python", args: { code }, id: code.slice(0, 40), type: "tool_call" }] });
const last = (messages: BaseMessage[]): string => messages.at(-1)!.text;
const toolMessages = (messages: BaseMessage[]): ToolMessage[] => messages.filter((one) => ToolMessage.isInstance(one));

test("an agent mends its code by the hint", async () => {
  const python = new PyexecTool();
  const model = fakeModel()
    .respond(call("import numpy\nnumpy.mean([1, 2, 6])"))
    .respond((messages: BaseMessage[]) => {
      const [, module] = /import 'numpy' not allowed\. Use (\w+)/.exec(last(messages))!;
      return call(`import ${module}\n${module}.mean([1, 2, 6])`);
    })
    .respond((messages: BaseMessage[]) => new AIMessage(`The mean is ${last(messages)}.`));
  const { messages } = await createAgent({ model, tools: [python] }).invoke({ messages: "What is the mean of 1, 2 and 6?" });
  assert.equal(last(messages), "The mean is 3.");
  const [first, second] = toolMessages(messages);
  assert.ok(first!.artifact instanceof Result && second!.artifact instanceof Result);
  assert.deepEqual([first!.artifact.status, second!.artifact.status, second!.artifact.session?.execution_count], ["error", "ok", 2]);
  assert.match(python.description, /no others: math, statistics/);
  await python.close();
});

const price = tool(({ item }) => ({ tea: "3.5", rice: "2" })[item]!, {
  name: "price", description: "The price of an item.", schema: z.object({ item: z.enum(["tea", "rice"]).describe("What.") }) });
const fails = tool(() => { throw new Error("out of stock"); }, { name: "fails", description: "Fails.", schema: { type: "object", properties: {} } });

test("the code calls LangChain's tools", async () => {
  const python = new PyexecTool({ tools: [price, fails], policy: POLICY });
  assert.match(python.description, /- price\(item: str\): The price of an item\./);
  const model = fakeModel()
    .respond(call("2 * float(price('tea')) + sum(float(price('rice')) for i in range(3))"))
    .respond((messages: BaseMessage[]) => {
      assert.equal(last(messages), "13.0");
      return call("def attempt(f):\n try: return f()\n except Exception as error: return type(error).__name__, str(error)\nattempt(fails), attempt(lambda: price('coal'))");
    })
    .respond((messages: BaseMessage[]) => new AIMessage(last(messages)));
  const { messages } = await createAgent({ model, tools: [python] }).invoke({ messages: "What do two teas and three bags of rice cost?" });
  assert.match(last(messages), /\('ToolError', 'out of stock'\), \('ValueError', "price\(\): item must be/);
  await python.close();
});

test("each thread has its session, and calls without a thread share one", async () => {
  const px = await makeClient("unix");
  const python = new PyexecTool({ client: px });
  const run = async (code: string, thread?: string): Promise<string> => String(await python.invoke({ code }, { configurable: thread === undefined ? {} : { thread_id: thread } }));
  await run("x = 'of Ö/1'", "Ö/1");
  await run("x = 'of 2'", "2");
  await run("x = 'shared'");
  assert.deepEqual([await run("x", "Ö/1"), await run("x", "2"), await run("x")], ["'of Ö/1'", "'of 2'", "'shared'"]);
  const named = new PyexecTool({ client: px, sessionId: "named" });
  await named.invoke({ code: "y = 1" }, { configurable: { thread_id: "2" } });
  assert.equal((await px.execute("named", "y")).last_value_repr, "1");
  await python.close();
  assert.equal((await px.executeOnce("1")).last_value_repr, "1");
  await px.close();
});

test("failures of the host are texts that the model reads, and an abort ends the run", async () => {
  const broken = new PyexecTool({ policy: { timeuot_ms: 1 } as object });
  assert.match(String(await broken.invoke({ code: "1" })), /timeuot_ms.*Did you mean timeout_ms/);
  await broken.close();
  const px = new Pyexec({ policy: POLICY });
  const abort = new AbortController();
  const stop = tool(() => { abort.abort(); return ""; }, { name: "stop", description: "Stops.", schema: z.object({}) });
  const python = new PyexecTool({ client: px, sessionId: "s", tools: [stop] });
  await assert.rejects(python.invoke({ code: "x = 1\nstop()\nwhile True: pass" }, { signal: abort.signal }));
  assert.equal((await px.execute("s", "x")).last_value_repr, "1");
  await px.close();
});

test("scriptTools makes functions without an agent", async () => {
  const px = new Pyexec();
  const result = await px.executeOnce("price('tea')", { tools: scriptTools([price]) });
  assert.equal(result.last_value_repr, "'3.5'");
  await px.close();
});

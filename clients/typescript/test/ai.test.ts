// SPDX-License-Identifier: Apache-2.0
/** The tool for the Vercel AI SDK, with the real package (6 and 7) and a scripted model. */
import assert from "node:assert/strict";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, describe, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";

import { z } from "zod";

import { POLICY, server } from "./support.js";

const PACKAGE = dirname(dirname(fileURLToPath(import.meta.url)));
const folder = mkdtempSync(join(tmpdir(), "pyexec-test-ai-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/** The folder of the client beside version 7: a copy of the package that finds this version as `ai`. */
function besideVersion7(): string {
  const copy = join(folder, "node_modules", "pyexec-client");
  mkdirSync(copy, { recursive: true });
  for (const name of ["package.json", "dist"]) cpSync(join(PACKAGE, name), join(copy, name), { recursive: true });
  symlinkSync(join(PACKAGE, "node_modules", "ai7"), join(folder, "node_modules", "ai"));
  return pathToFileURL(join(copy, "dist")).href;
}

const copy = besideVersion7();
interface Loaded {
  ai: typeof import("ai");
  mock: typeof import("ai/test");
  own: typeof import("pyexec-client/ai");
  core: typeof import("pyexec-client");
}

const VERSIONS: Record<string, () => Promise<Loaded>> = {
  "ai 6": async () => ({ ai: await import("ai"), mock: await import("ai/test"), own: await import("pyexec-client/ai"), core: await import("pyexec-client") }),
  "ai 7": async () => ({ ai: await import("ai7" as string), mock: await import("ai7/test" as string), own: await import(`${copy}/ai.js`), core: await import(`${copy}/index.js`) }),
};

interface Part {
  type: string;
  output?: { type: string; value: string };
}

type Step = (seen: string) => { code: string } | { text: string };

for (const [version, load] of Object.entries(VERSIONS)) {
  describe(version, () => {
    /** A model that answers with these steps. Each gets the text of the last tool result, as the provider would send it. */
    const scripted = async (...steps: Step[]): Promise<{ model: import("ai/test").MockLanguageModelV3; seen: string[] }> => {
      const { mock } = await load();
      const seen: string[] = [];
      const model = new mock.MockLanguageModelV3({ doGenerate: async ({ prompt }) => {
        const parts = prompt.at(-1)!.content as unknown as Part[];
        const text = Array.isArray(parts) ? parts.filter((part) => part.type === "tool-result").map((part) => part.output!.value).join("\n") : "";
        seen.push(text);
        const step = steps.shift()!(text);
        const usage = { inputTokens: { total: 1, noCache: 1, cacheRead: 0, cacheWrite: 0 }, outputTokens: { total: 1, text: 1, reasoning: 0 } };
        return "code" in step
          ? { content: [{ type: "tool-call", toolCallId: `call-${steps.length}`, toolName: "python", input: JSON.stringify(step) }], finishReason: { unified: "tool-calls", raw: undefined }, usage, warnings: [] }
          : { content: [{ type: "text", text: step.text }], finishReason: { unified: "stop", raw: undefined }, usage, warnings: [] };
      } });
      return { model, seen };
    };

    test("a model mends its code by the hint, and its state stays", async () => {
      const { ai, own } = await load();
      const python = await own.pythonTool();
      const { model, seen } = await scripted(
        () => ({ code: "import numpy\nnumpy.mean([1, 2, 6])" }),
        (text) => {
          const [, module] = /import 'numpy' not allowed\. Use (\w+)/.exec(text)!;        // what our hint says
          return { code: `import ${module}\nmean = ${module}.mean([1, 2, 6])\nmean` };
        },
        (text) => ({ code: `mean + ${text}` }),
        (text) => ({ text: `The sum is ${text}.` }));
      const answer = await ai.generateText({ model, tools: { python }, stopWhen: ai.stepCountIs(5), prompt: "What is twice the mean of 1, 2 and 6?" });
      assert.equal(answer.text, "The sum is 6.");
      assert.match(seen[1]!, /Traceback.*ImportError: import 'numpy' not allowed/s);
      const outputs = answer.steps.flatMap((step) => step.toolResults).map((result) => (result.output as import("pyexec-client/ai").PythonOutput));
      assert.deepEqual(outputs.map((output) => output.status), ["error", "ok", "ok"]);
      assert.deepEqual(outputs.map((output) => output.session?.execution_count), [1, 2, 3]);
      const [described] = model.doGenerateCalls[0]!.tools!;
      assert.match((described as { description: string }).description, /no others: math, statistics/);
      await python.close();
    });

    test("the code calls tools of the SDK: schemas, checks, options, names, errors", async () => {
      const { ai, own, core } = await load();
      const px = new core.Pyexec({ policy: POLICY });
      const seen: Array<{ messages: unknown[]; toolCallId: string }> = [];
      const tools = {
        price: ai.tool({ description: "The price of an item in euros.", inputSchema: z.object({ item: z.string(), count: z.number().int().max(9).default(1) }),
          execute: async ({ item, count }, options) => {
            seen.push(options);
            return { total: ({ tea: 3.5, rice: 2 })[item]! * count };
          } }),
        "get-name": ai.tool({ inputSchema: ai.jsonSchema<object>({ type: "object", properties: {} }), async *execute() {
          yield "preliminary";
          yield "Ada";
        } }),
        fails: ai.tool({ inputSchema: z.object({}), execute: (): string => { throw new Error("out of stock"); } }),
      };
      const python = await own.pythonTool({ client: px, tools });
      assert.match((python as { description: string }).description, /- price\(item: str, count: int = 1\): The price of an item in euros\.\n- get_name\(\): The tool is called 'get-name' elsewhere\./);
      const { model } = await scripted(
        () => ({ code: "2 * price('tea')['total'] + price('rice', count=3)['total'], get_name()" }),
        (text) => {
          assert.equal(text, "(13, 'Ada')".replace("13", "13.0"));
          return { code: "def attempt(f):\n try: return f()\n except Exception as error: return type(error).__name__, str(error)\n" +
            "attempt(lambda: price(item='tea', count=10)), attempt(fails)" };
        },
        (text) => {
          assert.match(text, /ValueError.*at most 9|count.*9/);
          assert.match(text, /\('ToolError', 'out of stock'\)/);
          return { text: "done" };
        });
      const answer = await ai.generateText({ model, tools: { python }, stopWhen: ai.stepCountIs(5), prompt: "Buy." });
      assert.equal(answer.text, "done");
      assert.ok(seen[0]!.messages.length >= 1 && seen[0]!.toolCallId.startsWith("call-2-"));
      await assert.rejects(own.pythonTool({ client: px, tools: { asks: ai.tool({ inputSchema: z.object({}) }) } }), /'asks' has no function `execute`/);
      await python.close();
      assert.equal((await px.executeOnce("1")).last_value_repr, "1");      // it was not the tool's client
      await px.close();
    });

    test("a tool that needs an approval waits for it, or can't be called", async () => {
      const { ai, own, core } = await load();
      const px = core.Pyexec.connect((await server()).unix);
      const mail = ai.tool({ inputSchema: z.object({ to: z.string() }), needsApproval: ({ to }: { to: string }) => to !== "me", execute: ({ to }: { to: string }) => "sent to " + to });
      const code = "def attempt(to):\n try: return mail(to)\n except PermissionError as error: return str(error)\n[attempt(to) for to in ('me', 'you', 'all')]";
      const run = async (options: object): Promise<string> => {
        const python = await own.pythonTool({ client: px, tools: { mail }, ...options });
        const { model } = await scripted(() => ({ code }), (text) => ({ text }));
        const answer = await ai.generateText({ model, tools: { python }, stopWhen: ai.stepCountIs(3), prompt: "Mail." });
        await python.close();
        return answer.text;
      };
      const asked: unknown[] = [];
      const denied = "tool 'mail' denied: ";
      assert.equal(await run({ approve: ({ arguments: args }: { arguments: { to: string } }) => {
        asked.push(args);
        return args.to === "you" || { deny: "too many" };
      } }), `['sent to me', 'sent to you', "${denied}too many"]`);
      assert.deepEqual(asked, [{ to: "you" }, { to: "all" }]);
      assert.match(await run({}), /\['sent to me', "tool 'mail' denied: it needs an approval, which a program can't wait for"/);
      await px.close();
    });

    test("a failure of the host has its hint, and an abort ends the run", async () => {
      const { ai, own, core } = await load();
      const px = core.Pyexec.connect((await server()).unix);
      const broken = await own.pythonTool({ client: px, policy: { timeuot_ms: 1 } as object });
      const { model, seen } = await scripted(() => ({ code: "1" }), () => ({ text: "gave up" }));
      await ai.generateText({ model, tools: { python: broken }, stopWhen: ai.stepCountIs(3), prompt: "1" });
      assert.match(seen[1]!, /timeuot_ms.*Did you mean timeout_ms/);
      const abort = new AbortController();
      const python = await own.pythonTool({ client: px, sessionId: "chat-1", tools: { stop: ai.tool({ inputSchema: z.object({}), execute: () => { abort.abort(); } }) } });
      const endless = await scripted(() => ({ code: "x = 1\nstop()\nwhile True: pass" }));
      await assert.rejects(ai.generateText({ model: endless.model, tools: { python }, stopWhen: ai.stepCountIs(3), prompt: "1", abortSignal: abort.signal }));
      assert.equal((await px.execute("chat-1", "x")).last_value_repr, "1");
      await px.close();
    });
  });
}

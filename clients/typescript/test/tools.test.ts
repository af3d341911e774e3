// SPDX-License-Identifier: Apache-2.0
/** Tools: functions of this program that scripts call, over each transport. */
import assert from "node:assert/strict";
import { once } from "node:events";

import { z } from "zod";

import { InvalidRequestError, Pyexec, ToolDenied, ToolError, tool, type ApprovalCall, type Approve, type Tools } from "pyexec-client";
import { forEach } from "./support.js";

/** Calls f, and returns what the script got: its value, or the error's name, text and data. */
const CALL = (args: string): string =>
  `try: value = f(${args})\nexcept Exception as error: value = [type(error).__name__, str(error), getattr(error, 'data', None)]\nvalue`;

async function called(px: Pyexec, f: Tools[string], args = ""): Promise<unknown> {
  const result = await px.executeOnce(CALL(args), { tools: { f }, value_json: "records" });
  assert.ok(result.ok && result.last_value_json_error === null, result.explain());
  return result.last_value_json;
}

const CITY = { type: "object", required: ["city"], additionalProperties: false, properties: {
  city: { type: "string", description: "Its name." }, days: { type: "integer", default: 1 } } };

forEach("a script calls a function", async (px) => {
  const seen: unknown[] = [];
  const f = { description: "The weather.", parameters: CITY, returns: { type: "object" }, execute: (args: object, { callId, sessionId, signal }: {
    callId: string; sessionId: string | null; signal: AbortSignal }) => {
    seen.push(args, sessionId, typeof callId, signal.aborted);
    return { sun: true, é: "ü🐍", "\u2028": null };
  } };
  assert.deepEqual(await called(px, f, "'Paris', days=3"), { sun: true, é: "ü🐍", "\u2028": null });
  assert.deepEqual(seen, [{ city: "Paris", days: 3 }, null, "string", false]);
  const help = await px.executeOnce("import inspect\nstr(inspect.signature(f)), f.__doc__", { tools: { f } });
  assert.match(help.last_value_repr ?? "", /city: str, days: int = 1.*The weather/);
});

forEach("sync and async functions, and what they return", async (px) => {
  assert.equal(await called(px, () => 5), 5);
  assert.equal(await called(px, async () => "late"), "late");
  assert.equal(await called(px, () => undefined), null);
  assert.deepEqual(await called(px, (args: object) => args, "a=1, b=[None]"), { a: 1, b: [null] });
  assert.deepEqual(await called(px, () => new Set([1, 2])), [1, 2]);
  assert.deepEqual(await called(px, () => new Map([["a", new Date(0)]])), { a: "1970-01-01T00:00:00.000Z" });
  assert.equal(await called(px, () => new Uint8Array([255, 0])), "/wA=");
  assert.equal(await called(px, () => 2n ** 70n), "1180591620717411303424");
  assert.equal((await px.executeOnce("len(f())", { tools: { f: () => "é".repeat(1 << 20) } })).last_value_repr, String(1 << 20));
});

forEach("a tool that fails", async (px) => {
  assert.deepEqual(await called(px, () => { throw new ToolError("no such city", { known: ["Rome"] }); }), ["ToolError", "no such city", { known: ["Rome"] }]);
  assert.deepEqual(await called(px, async () => { throw new Error("broken"); }), ["ToolError", "broken", null]);
  assert.deepEqual(await called(px, () => { throw "a text"; }), ["ToolError", "a text", null]);
  assert.deepEqual(await called(px, () => { throw new ToolDenied("not without the user"); }),
    ["PermissionError", "tool 'f' denied: not without the user", null]);
  const denied = await px.executeOnce("f()", { tools: { f: () => { throw new ToolDenied("no"); } } });
  assert.equal(denied.denials[0]?.layer, "tools");
});

forEach("an answer that can't be sent fails the call, and no script waits for ever", async (px, transport) => {
  const loop: unknown[] = [];
  loop.push(loop);
  for (const value of [NaN, { x: Infinity }, loop, ...(transport === "rpc" ? ["x".repeat(33 << 20)] : [])]) {
    const [kind, message] = (await called(px, () => value)) as [string, string];
    assert.equal(kind, "ToolError");
    assert.match(message, /can't be sent|the answer/);
  }
  const [kind, message] = (await called(px, () => "x".repeat((8 << 20) + 1))) as [string, string];      // the server refuses it
  assert.equal(kind, "ToolError");
  assert.match(message, /8 MiB|8388608/);
});

forEach("schemas of zod: types, checks and defaults", async (px) => {
  const parameters = z.object({ city: z.string().min(2).describe("Its name."), days: z.number().int().default(1) });
  const f = tool({ parameters, execute: ({ city, days }) => {
    const text: string = city;
    const number: number = days;
    // @ts-expect-error city is no number
    const wrong: number = city;
    return `${text} ${number} ${typeof wrong}`;
  } });
  assert.equal(await called(px, f, "'Oslo'"), "Oslo 1 string");
  // The script's own check, which honest code meets, does not know this rule.
  const strict = tool({ parameters: z.object({ city: z.string().refine((name) => name !== "Atlantis", "no such city") }), execute: ({ city }) => city });
  assert.deepEqual(await called(px, strict, "'Atlantis'"), ["ToolError", "city: no such city", null]);
  assert.deepEqual(await called(px, f, "'x'"), ["ValueError", "f(): city must be of length at least 2, not 'x'", null]);
});

forEach("several calls run at once", async (px) => {
  let running = 0;
  let together!: () => void;
  const all = new Promise<void>((resolve) => (together = resolve));
  const f = async ({ n }: { n: number }): Promise<number> => {
    if (++running === 3) together();
    await all;                      // each waits for the others
    return n * 2;
  };
  const code = "import asyncio, tools\nawait asyncio.gather(*(tools.aio.f(n=n) for n in range(3)))";
  assert.equal((await px.executeOnce(code, { tools: { f: { parameters: { type: "object", properties: { n: {} } }, execute: f } } })).last_value_repr, "[0, 2, 4]");
});

forEach("a session offers its tools in each call", async (px) => {
  const session = px.session(undefined, { tools: { f: () => "of the session", g: () => "g" } });
  assert.equal((await session.execute("f() + g()")).last_value_repr, "'of the sessiong'");
  assert.equal((await session.execute("f() + g()", { tools: { f: () => "of the call " } })).last_value_repr, "'of the call g'");
  assert.equal((await session.execute("f()")).last_value_repr, "'of the session'");
  const seen: Array<string | null> = [];
  await session.execute("f()", { tools: { f: (_: unknown, { sessionId }: { sessionId: string | null }) => void seen.push(sessionId) } });
  assert.deepEqual(seen, [session.id]);
  await session.close();
});

forEach("events come before the call that follows them", async (px) => {
  const order: string[] = [];
  await px.executeOnce("print('before')\nf()\nprint('after')", {
    tools: { f: () => void order.push("call") }, onEvent: (event) => { if (event.type === "output") order.push(event.text.trim()); } });
  assert.deepEqual(order, ["before", "call", "after"]);
});

forEach("a function learns that its run has ended", async (px) => {
  const abort = new AbortController();
  let told!: AbortSignal;
  const call = px.executeOnce("f()", { signal: abort.signal, tools: { f: async (_: unknown, { signal }: { signal: AbortSignal }) => {
    told = signal;
    abort.abort();
    await once(signal, "abort");
  } } });
  await assert.rejects(call, { name: "AbortError" });
  if (!told.aborted) await once(told, "abort");
  assert.ok(told.aborted);
});

forEach("approvals", async (px) => {
  const seen: ApprovalCall[] = [];
  const tools = { f: { approval: true, parameters: CITY, execute: ({ city }: { city: string }) => city.toUpperCase() } };
  const run = async (args: string, approve?: Approve) => {
    const result = await px.executeOnce(CALL(args), { tools, value_json: "records", ...(approve ? { approve } : {}) });
    return result.last_value_json;
  };
  const approve = (call: ApprovalCall) => {
    seen.push(call);
    return call.arguments["city"] === "rome" || { deny: "only Rome" };
  };
  assert.equal(await run("'rome'", approve), "ROME");
  assert.deepEqual([seen[0]?.name, seen[0]?.arguments, seen[0]?.sessionId], ["f", { city: "rome", days: 1 }, null]);
  assert.deepEqual(await run("'oslo'", approve), ["PermissionError", "tool 'f' denied: only Rome", null]);
  assert.deepEqual(await run("'rome'", async () => false), ["PermissionError", "tool 'f' denied: it was not approved", null]);
  assert.deepEqual(await run("'rome'", () => { throw new Error("nobody is there"); }), ["PermissionError", "tool 'f' denied: nobody is there", null]);
  assert.match(String(await run("'rome'", (() => ({ allow: "yes" })) as never)), /PermissionError/);
  assert.match(String(await run("'rome'")), /PermissionError,tool 'f' denied: it needs an approval, and this client has no/);
});

forEach("arguments that would change an object's prototype are refused", async (px) => {
  let ran = false;
  const f = (): void => { ran = true; };
  for (const args of ["**{'__proto__': {'admin': True}}", "x=[{'a': {'__proto__': 1}}]"])
    assert.match(String(await called(px, f, args)), /ToolError,.*__proto__/);
  assert.equal(ran, false);
});

forEach("the tool `input` answers input()", async (px) => {
  const result = await px.executeOnce("input('name? ') + '!'", { tools: { input: ({ prompt }: { prompt: string }) => prompt + "Ada" } });
  assert.equal(result.last_value_repr, "'name? Ada!'");
});

forEach("definitions that are not accepted", async (px) => {
  await assert.rejects(px.executeOnce("1", { tools: { class: () => 1 } }), InvalidRequestError);
  await assert.rejects(async () => px.executeOnce("1", { tools: { f: {} as never } }), TypeError);
  const odd = { "~standard": { validate: (value: unknown) => ({ value }) } };
  await assert.rejects(async () => px.executeOnce("1", { tools: { f: { parameters: odd, execute: () => 1 } } }), /zod 4\.2/);
});

forEach("a call that nobody answers ends with the time of its tool", async (px) => {
  const result = await px.executeOnce(CALL(""), { tools: { f: () => new Promise(() => undefined) }, policy: { tool_timeout_ms: 200 } });
  assert.match(result.last_value_repr ?? "", /ToolError', 'timeout/);
});

forEach("a call of a tool that this client does not have fails, and does not wait", async (px, kind) => {
  // A session may have tools of another client. Over HTTP its runs need a client that takes events.
  const isHttp = kind === "unix" || kind === "tcp";
  const session = px.session();
  const definitions = [{ name: "g" }, { name: "h", approval: true }];
  // The client itself sends the tools with each call, so this is said past its types.
  await (px as unknown as { _ask(method: string, params: object): Promise<unknown> })._ask("create_session", { session_id: session.id, tools: definitions });
  const code = "def attempt(f):\n try: return f()\n except Exception as error: return type(error).__name__, str(error)\n[attempt(g), attempt(h)]";
  const expected = /\('ToolError', 'the client has no such tool'\), \('PermissionError', "tool 'h' denied: the client has no such tool"\)/;
  for (const options of [{ onEvent: () => undefined }, { tools: { f: () => 1 } }, ...(isHttp ? [] : [{}])])
    assert.match((await session.execute(code, options)).last_value_repr ?? "", expected);
  if (isHttp) await assert.rejects(session.execute(code), InvalidRequestError);
  await session.close();
});

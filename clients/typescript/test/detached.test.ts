// SPDX-License-Identifier: Apache-2.0
/** Detached executions: runs of a server that continue without the client that started them. */
import assert from "node:assert/strict";
import { createServer, connect as dial, type Server as NetServer, type Socket } from "node:net";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

import { ExecutionNotFoundError, InvalidPolicyError, InvalidRequestError, Pyexec, type RunEvent } from "pyexec-client";
import { POLICY, forEach, makeClient, server, until } from "./support.js";

const SERVERS = ["unix", "nats"] as const;

forEach("an execution goes on without its client, and another one gets the result", async (px, kind) => {
  const [first, second] = [px, await makeClient(kind)];
  const started = await first.detach("print('é')\n6 * 7", { inputs: { a: 1 } });
  await first.close();
  const execution = second.execution(started.id);
  const events: RunEvent[] = [];
  const result = await execution.result({ onEvent: (event) => events.push(event) });
  assert.equal(result.last_value_repr, "42");
  assert.deepEqual(events, [{ type: "output", stream: "stdout", text: "é\n", seq: 0 }]);
  assert.equal((await execution.result()).last_value_repr, "42");         // once more
  const state = await execution.state({ waitMs: 60_000 });
  assert.ok(state.state === "ended" && state.result?.ok && state.error === null && state.calls.length === 0);
  assert.ok((await second.executions()).some((one) => one.execution_id === started.id));
  await second.close();
}, SERVERS);

forEach("a call of a session, and its state", async (px) => {
  const session = px.session("detached");
  const execution = await session.detach("x = 5\nx");
  assert.equal(execution.sessionId, "detached");
  assert.equal((await execution.result()).last_value_repr, "5");
  assert.equal((await session.execute("x")).last_value_repr, "5");
  await session.close();
}, SERVERS);

forEach("events come again from any point", async (px) => {
  const execution = await px.detach("import time\nfor i in range(3):\n print(i, flush=True)\n display(i)");
  const ids: string[] = [];
  const all: RunEvent[] = [];
  await execution.result({ onEvent: (event, id) => { ids.push(id); all.push(event); } });
  assert.ok(all.length >= 4 && new Set(ids).size === ids.length);
  const rest: RunEvent[] = [];
  await execution.result({ after: ids[0]!, onEvent: (event) => rest.push(event) });
  assert.deepEqual(rest, all.slice(1));
}, SERVERS);

forEach("cancelling it, and stopping to wait for it", async (px) => {
  const execution = await px.detach("print('go', flush=True)\nwhile True: pass");
  const abort = new AbortController();
  await assert.rejects(execution.result({ signal: abort.signal, onEvent: () => abort.abort() }), { name: "AbortError" });
  assert.equal((await execution.state()).state, "running");         // it goes on
  await execution.cancel();
  assert.equal((await execution.result()).status, "cancelled");
}, SERVERS);

forEach("tools: another client answers the calls, each once", async (px, kind) => {
  const [first, second] = [px, await makeClient(kind)];
  let asked = 0;
  const tools = { price: { parameters: { type: "object", properties: { item: { type: "string" } } }, execute: ({ item }: { item: string }) => {
    asked++;
    return { tea: 3.5, rice: 2 }[item];
  } } };
  const started = await first.detach("sum(price(item) for item in ('tea', 'rice', 'tea'))", { tools });
  await first.close();
  const execution = second.execution(started.id);
  const waiting = await execution.state({ waitMs: 60_000 });
  assert.deepEqual(waiting.calls.map(({ name, arguments: args }) => [name, args]), [["price", { item: "tea" }]]);
  await execution.answer(waiting.calls[0]!.call_id, { result: 3.5 });
  assert.equal((await execution.result({ tools })).last_value_repr, "9.0");
  assert.equal(asked, 2);         // the first call had its answer; its event comes again
  assert.equal((await execution.result({ tools })).last_value_repr, "9.0");
  assert.equal(asked, 2);
  await assert.rejects(execution.answer(waiting.calls[0]!.call_id, { result: 1 }), { code: "call_not_found" });
  await second.close();
}, SERVERS);

forEach("approvals: the call waits until a client decides", async (px) => {
  const tools = { mail: { approval: true, execute: () => "sent" } };
  const code = "try: value = mail()\nexcept PermissionError as error: value = str(error)\nvalue";
  const first = await px.detach(code, { tools });
  assert.equal((await first.result({ approve: ({ name }) => name === "mail" })).last_value_repr, "'sent'");
  const second = await px.detach(code, { tools });
  const result = second.result();         // without `approve` the decision is left to others
  const { calls } = await until(async () => { const state = await second.state({ waitMs: 1000 }); return state.calls.length ? state : undefined; }, "the call");
  assert.equal(calls[0]!.approval, true);
  await second.answer(calls[0]!.call_id, { deny: "not today" });
  assert.match((await result).last_value_repr ?? "", /denied: not today/);
}, SERVERS);

/** Forwards connections to a socket, and can cut them all. */
async function proxy(to: string, path: string): Promise<{ server: NetServer; cut: () => void; count: () => number }> {
  const open = new Set<Socket>();
  let count = 0;
  const found = createServer((client) => {
    count++;
    const upstream = dial(to);
    for (const one of [client, upstream]) {
      open.add(one);
      one.on("error", () => undefined);
    }
    client.pipe(upstream).pipe(client);
    client.on("close", () => upstream.destroy());
    upstream.on("close", () => client.destroy());
  });
  await new Promise<void>((resolve) => found.listen(path, resolve));
  return { server: found, cut: () => { for (const one of open) one.destroy(); }, count: () => count };
}

test("a lost connection is made again, and no event comes twice or is missing", async () => {
  const folder = mkdtempSync(join(tmpdir(), "pyexec-test-proxy-"));
  const between = await proxy((await server()).unix.slice("unix:".length), join(folder, "socket"));
  const px = Pyexec.connect("unix:" + join(folder, "socket"));
  const session = px.session();
  const execution = await session.detach("import os, time\nfor i in range(4):\n print(i, flush=True)\n while not os.path.exists(f'go{i}'): time.sleep(0.01)");
  let text = "";
  const result = execution.result({ onEvent: (event) => {
    if (event.type !== "output") return;
    text += event.text;
    between.cut();
    const number = text.trim().split("\n").length - 1;
    const go = (): Promise<void> => session.files.write(`go${number}`, "").catch(go);
    void go();
  } });
  assert.ok((await result).ok);
  assert.equal(text, "0\n1\n2\n3\n");
  assert.ok(between.count() > 4);
  await session.close();
  await px.close();
  between.cut();
  between.server.close();
  rmSync(folder, { recursive: true });
});

forEach("what is refused", async (px) => {
  await assert.rejects(px.execution("e-nosuch").result(), ExecutionNotFoundError);
  await assert.rejects(px.execution("e-nosuch").state(), ExecutionNotFoundError);
  const bad = await px.detach("1", { policy: { timeuot_ms: 1 } as object });
  await assert.rejects(bad.result(), InvalidPolicyError);
  assert.ok((await bad.state()).error instanceof InvalidPolicyError);
}, SERVERS);

test("`pyexec rpc` has no detached executions", async () => {
  const rpc = new Pyexec({ policy: POLICY });
  await assert.rejects(rpc.detach("1"), (failure: InvalidRequestError) => failure instanceof InvalidRequestError && /pyexec serve/.test(failure.hint));
  assert.throws(() => rpc.execution("e-1"), InvalidRequestError);
  await rpc.close();
});

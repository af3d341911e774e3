// SPDX-License-Identifier: Apache-2.0
/** Runs, sessions, files, streams and errors: the same tests over each transport. */
import assert from "node:assert/strict";
import { test } from "node:test";

import {
  ConflictError, ConnectionLostError, InvalidPolicyError, InvalidRequestError, Pyexec, PyexecError, Result, SessionBusyError, SessionNotForkableError,
  SessionNotFoundError, UnauthorizedError,
  type Ended, type RunEvent,
} from "pyexec-client";
import { forEach, makeClient, server, until } from "./support.js";

/** Prints a line, and then does not end by itself. */
const ENDLESS = "import time\nprint('go', flush=True)\nwhile True: time.sleep(0.01)";

forEach("a run and its result", async (px) => {
  const result = await px.executeOnce("import sys\nprint('é🐍')\nprint('e', file=sys.stderr)\n6 * 7");
  assert.ok(result instanceof Result && result.ok);
  assert.equal(result.last_value_repr, "42");
  assert.deepEqual([result.stdout, result.stderr, result.stdout_bytes], ["é🐍\n", "e\n", 7]);
  assert.ok(result.usage.wall_ms > 0 && result.session === null && result.exit_code === 0);
  const failed = await px.executeOnce("x = 1\n1 / 0");
  assert.deepEqual([failed.status, failed.exit_code, failed.error?.type, failed.error?.line], ["error", 1, "ZeroDivisionError", 2]);
  assert.equal(JSON.parse(JSON.stringify(failed)).error.type, "ZeroDivisionError");
});

forEach("what a request may have", async (px) => {
  const result = await px.executeOnce(
    "import os, sys\nopen('out.bin', 'wb').write(open('in.bin', 'rb').read() * 2)\n" +
    "(os.getcwd().endswith('/sub'), os.environ['A'], sys.stdin.read(), open('/workspace/t').read())",
    { files: { "sub/in.bin": new Uint8Array([0, 255]), t: "text" }, env: { A: "b" }, stdin: "given", working_dir: "sub", return_files: ["*.bin"] });
  assert.equal(result.last_value_repr, "(True, 'b', 'given', 'text')", result.explain());
  const change = result.files.find((file) => file.path === "sub/out.bin");
  assert.deepEqual(change?.content, new Uint8Array([0, 255, 0, 255]));
  assert.equal(change?.change, "created");
  assert.equal((await px.executeOnce("while True: pass", { timeout_ms: 100 })).status, "timeout");
  assert.equal((await px.executeOnce("5", { print_last_expression: false })).last_value_repr, null);
  const denied = await px.executeOnce("import json", { policy: { use_import_whitelist: true, allowed_imports: ["math"] } });
  assert.equal(denied.denials[0]?.layer, "imports");
  assert.ok(denied.denials[0]?.hint && denied.error?.hint);
});

forEach("a session keeps its state", async (px) => {
  const session = px.session();
  assert.ok((await session.execute("a = 5")).session?.created);
  const result = await session.execute("a * 2");
  assert.deepEqual([result.last_value_repr, result.session?.id, result.session?.execution_count], ["10", session.id, 2]);
  assert.equal((await px.execute(session.id, "a")).last_value_repr, "5");
  assert.ok((await px.sessions()).some((one) => one.id === session.id && one.execution_count === 3));
  await session.close();
  assert.ok(!(await px.sessions()).some((one) => one.id === session.id));
  await session.close();        // a second close does nothing
  assert.equal((await session.execute("1")).session?.restarted, "closed");
  await session.close();
});

forEach("a session can be opened before its first call, with its policy", async (px) => {
  const session = px.session(undefined, { policy: { use_import_whitelist: true, allowed_imports: ["math"] } });
  await session.open();
  await assert.rejects(session.open(), ConflictError);
  assert.ok((await px.sessions()).some((one) => one.id === session.id));
  assert.ok((await session.execute("import math\nmath.pi")).ok);
  assert.match((await session.execute("import json")).error_repr ?? "", /not allowed/);
  assert.ok((await px.executeOnce("import json")).ok);
  await assert.rejects(session.execute("1", { policy: { max_threads: 1 } }), InvalidRequestError);
  await session.close();
});

forEach("calls of one session run in order, and others at once", async (px) => {
  const session = px.session();
  const results = await Promise.all(Array.from({ length: 10 }, (_, n) => session.execute(`n = ${n}\nn`)));
  assert.deepEqual(results.map((one) => one.last_value_repr), [..."0123456789"]);
  assert.deepEqual(results.map((one) => one.session?.execution_count), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  await session.close();
});

forEach("files of a session", async (px) => {
  const session = px.session();
  await assert.rejects(session.files.list(), SessionNotFoundError);
  await session.files.write("a/b ö.bin", new Uint8Array([0, 255]));
  await session.files.write("t", "text ü");
  assert.deepEqual((await session.files.list()).map(({ path, bytes }) => [path, bytes]), [["a/b ö.bin", 2], ["t", 7]]);
  assert.deepEqual(await session.files.read("a/b ö.bin"), new Uint8Array([0, 255]));
  assert.equal(await session.files.readText("t"), "text ü");
  assert.equal((await session.execute("open('t', encoding='utf-8').read()")).last_value_repr, "'text ü'");
  await session.files.delete("t");
  await assert.rejects(session.files.read("t"), (failure: PyexecError) => ["not_found", "invalid_request"].includes(failure.code));
  const other = px.session();
  await other.execute("1");
  for (const path of ["../x", `../../${other.id}/files/t`, "..", ".", "a/../../b", "/etc/passwd", ""]) {
    await assert.rejects(session.files.read(path), InvalidRequestError, path);
    await assert.rejects(session.files.delete(path), InvalidRequestError, path);
    await assert.rejects(session.files.write(path, ""), InvalidRequestError, path);
  }
  assert.equal((await other.execute("1")).session?.execution_count, 2);
  const big = Uint8Array.from({ length: 2 << 20 }, (_, index) => index % 251);
  await session.files.write("big", big);
  assert.deepEqual(await session.files.read("big"), big);
  await session.close();
  await other.close();
});

forEach("files before the first call keep the session's policy", async (px) => {
  await using session = px.session(undefined, { policy: { max_value_bytes: 5 } });
  await session.files.write("t", "x");
  const result = await session.execute("'long enough'");
  assert.ok(result.last_value_truncated && result.session?.execution_count === 1);
});

forEach("a stream is live and ends with the result", async (px) => {
  const session = px.session();
  const events: Array<RunEvent | Ended> = [];
  for await (const event of session.stream("import os, time\nprint('go', flush=True)\nwhile not os.path.exists('end'): time.sleep(0.01)\n7")) {
    events.push(event);
    if (event.type === "output") await session.files.write("end", "");       // it only ends when its output has come
  }
  assert.deepEqual(events[0], { type: "output", stream: "stdout", text: "go\n", seq: 0 });
  const last = events.at(-1);
  assert.ok(last?.type === "result" && last.result.last_value_repr === "7");
  await session.close();
});

forEach("a stream may be skipped or called back", async (px) => {
  assert.equal(await px.stream("print(1)\n2").result().then((result) => result.last_value_repr), "2");
  const stream = px.stream("print(1)\n2");
  await stream.result();
  const seen = [];
  for await (const event of stream) seen.push(event.type);
  assert.deepEqual(seen, ["output", "result"]);
  const got: RunEvent[] = [];
  const session = px.session();
  const result = await session.execute("print('x')\n3", { onEvent: (event) => got.push(event) });
  assert.equal(result.last_value_repr, "3");
  assert.deepEqual(got, [{ type: "output", stream: "stdout", text: "x\n", seq: 0 }]);
  await assert.rejects(session.stream("\0").next(), InvalidRequestError);
  const fault = new Error("of the callback");
  await assert.rejects(session.execute(ENDLESS, { onEvent: () => { throw fault; } }), fault);
  assert.equal((await session.execute("4")).last_value_repr, "4");        // the run before it was cancelled
  await session.close();
});

forEach("a stream that is left cancels its run", async (px) => {
  const session = px.session();
  await session.execute("x = 1");
  for await (const event of session.stream(ENDLESS)) {
    assert.equal(event.type, "output");
    break;
  }
  assert.equal((await session.execute("x")).last_value_repr, "1");
  await session.close();
});

forEach("an abort fails the call at once and cancels its run", async (px) => {
  const session = px.session();
  await session.execute("x = 1");
  const abort = new AbortController();
  const reason = new Error("no longer wanted");
  const call = session.execute(ENDLESS, { signal: abort.signal, onEvent: () => abort.abort(reason) });
  await assert.rejects(call, reason);
  assert.equal((await session.execute("x")).last_value_repr, "1");
  await assert.rejects(px.executeOnce("1", { signal: abort.signal }), reason);
  await assert.rejects(px.executeOnce("1", { signal: AbortSignal.abort() }), { name: "AbortError" });
  await assert.rejects(px.executeOnce(ENDLESS, { signal: AbortSignal.timeout(50) }), { name: "TimeoutError" });
  await session.close();
});

forEach("a call that waits for the session's turn can be aborted", async (px) => {
  const session = px.session();
  const stream = session.stream(ENDLESS);
  await stream.next();
  const abort = new AbortController();
  const waiting = session.execute("never = 1", { signal: abort.signal });
  abort.abort();
  await assert.rejects(waiting, { name: "AbortError" });
  await stream.return();
  assert.equal((await session.execute("'never' in globals()")).last_value_repr, "False");
  await session.close();
});

forEach("an interrupt stops the call and keeps the state", async (px) => {
  const session = px.session();
  const stream = session.stream("x = 1\n" + ENDLESS);
  await stream.next();
  await session.interrupt();
  assert.equal((await stream.result()).error?.type, "KeyboardInterrupt");
  assert.equal((await session.execute("x")).last_value_repr, "1");
  await session.close();
  await assert.rejects(px.session("nosuch").interrupt(), SessionNotFoundError);
});

forEach("errors have their class, code and hint", async (px) => {
  const policy = { timeuot_ms: 1 } as object;
  await assert.rejects(px.executeOnce("1", { policy }), (failure: InvalidPolicyError) => {
    assert.ok(failure instanceof InvalidPolicyError && failure instanceof PyexecError && failure.name === "InvalidPolicyError");
    assert.equal(failure.code, "invalid_policy");
    assert.ok(failure.hint.includes("timeout_ms") && failure.message.includes("timeuot_ms"));
    assert.ok(String(failure).includes(failure.hint));
    assert.match(failure.stack ?? "", /client\.test\.js/);
    return true;
  });
  for (const bad of ["a/b", "..", ".", "", "a b", "ü"])
    await assert.rejects(px.session(bad).execute("1"), (failure) => failure instanceof InvalidRequestError || failure instanceof SessionNotFoundError, bad);
  await assert.rejects(px.executeOnce("\ud800"), InvalidRequestError);
  await assert.rejects(px.executeOnce("1", { nosuch: 1 } as object), InvalidRequestError);
});

forEach("what no answer could name is refused at once", async (px, kind) => {
  const loop: unknown[] = [];
  loop.push(loop);
  for (const x of [NaN, -Infinity, loop]) await assert.rejects(px.executeOnce("x", { inputs: { x } }), InvalidRequestError);
  if (kind !== "tcp") await assert.rejects(px.executeOnce("x", { inputs: { x: "1".repeat(32 << 20) } }), /32 MiB/);
  assert.equal((await px.executeOnce("x", { inputs: { x: 1 } })).last_value_repr, "1");
});

forEach("inputs, and values as JSON", async (px) => {
  const result = await px.executeOnce("{'sum': sum(numbers), 'who': who, 'n': n}", {
    inputs: { numbers: new Set([1, 2, 3]), who: "é", n: 12n }, value_json: "records" });
  assert.deepEqual(result.last_value_json, { sum: 6, who: "é", n: 12 });
  assert.equal(result.last_value_json_error, null);
  assert.ok((await px.executeOnce("object()", { value_json: "split" })).last_value_json_error);
});

forEach("displays come as events and in the result", async (px) => {
  const events = [];
  for await (const event of px.stream("class Page:\n def _repr_html_(self): return '<p>'\ndisplay(1)\nPage()")) events.push(event);
  assert.deepEqual(events.map((event) => event.type), ["display", "display", "result"]);
  const [first, second, last] = events;
  assert.ok(first?.type === "display" && second?.type === "display" && last?.type === "result");
  assert.deepEqual(first.display, { data: { "text/plain": "1" }, metadata: {}, last_value: false });
  assert.ok(second.display.data["text/html"] === "<p>" && second.display.last_value);
  assert.deepEqual(last.result.display, [first.display, second.display]);
  assert.equal((await px.executeOnce("display(1)\ndisplay(2)", { policy: { max_displays: 1 } })).display_dropped, 1);
});

forEach("large outputs come whole", async (px) => {
  const line = "é".repeat(99) + "\n";
  let streamed = "";
  const result = await px.executeOnce(`for i in range(10000): print('é' * 99)`, {
    onEvent: (event) => { if (event.type === "output") streamed += event.text; } });
  assert.ok(result.stdout === line.repeat(10000) && streamed === result.stdout && !result.stdout_truncated);
  const cut = await px.executeOnce("print('x' * 100000)", { policy: { max_stdout_bytes: 1000 } });
  assert.ok(cut.stdout_truncated && cut.stdout.length === 1000 && cut.stdout_bytes === 100001);
  assert.match(cut.explain(), /stdout is cut: the script wrote 100001 bytes/);
});

forEach("many runs at once", async (px) => {
  const results = await Promise.all(Array.from({ length: 40 }, (_, n) => px.executeOnce(`${n} ** 2`)));
  assert.deepEqual(results.map((one) => one.last_value_repr), Array.from({ length: 40 }, (_, n) => String(n ** 2)));
});

forEach("a closed client says so", async (px) => {
  await px.executeOnce("1");
  const endless = px.executeOnce(ENDLESS).then((result) => result.status, (failure: PyexecError) => failure.code);
  await px.close();
  await px.close();
  await assert.rejects(px.executeOnce("1"), { code: "closed" });
  assert.match(await endless, /^(cancelled|closed)$/);
});

test("a run over HTTP whose client goes away ends", async () => {
  const px = await makeClient("unix");
  const abort = new AbortController();
  await assert.rejects(px.execute("gone", ENDLESS, { signal: abort.signal, onEvent: () => abort.abort() }));
  await until(async () => (await px.sessions()).every((one) => !one.busy), "the end of the run");
  await px.close();
});

test("a server that is not there ran nothing", async () => {
  for (const url of ["unix:/no/such.sock", "http://127.0.0.1:9"]) {
    await assert.rejects(Pyexec.connect(url).executeOnce("1"), (failure: ConnectionLostError) => {
      assert.ok(failure instanceof ConnectionLostError);
      assert.match(failure.hint, /never started/);
      return true;
    });
  }
  assert.throws(() => Pyexec.connect("ftp://x"), TypeError);
});

test("HTTP refuses a wrong token, and the error does not have it", async () => {
  await assert.rejects(Pyexec.connect((await server()).tcp, { token: "wrong-token" }).executeOnce("1"), (failure: UnauthorizedError) => {
    assert.ok(failure instanceof UnauthorizedError && !JSON.stringify(failure).includes("wrong-token"));
    return true;
  });
});

forEach("branches go on from the state of a session", async (px, kind) => {
  const session = px.session(undefined, { policy: { forkable: true }, tools: { double: ({ n }: { n: number }) => 2 * n } });
  await session.execute("x = [1]");
  const [one, two] = await session.fork(2);
  assert.notEqual(one!.id, two!.id);
  assert.equal((await one!.execute("x.append(2); x")).last_value_repr, "[1, 2]");
  assert.equal((await two!.execute("x")).last_value_repr, "[1]");
  assert.equal((await two!.execute("double(n=x[0])")).last_value_repr, "2");
  const ids = [session.id + ".up", session.id + ".down"];
  const named = await session.fork(ids);
  assert.deepEqual(named.map((branch) => branch.id), ids);
  assert.equal((await px.execute(ids[1]!, "x")).last_value_repr, "[1]");
  const [single] = await one!.fork();
  assert.equal((await single!.execute("x")).last_value_repr, "[1, 2]");
  await assert.rejects(session.fork([ids[0]!]), (failure: PyexecError) => failure.code === "conflict" || (failure.code === "invalid_request" && failure.message.includes(ids[0]!)));
  await assert.rejects(session.fork(0), InvalidRequestError);
  await assert.rejects(session.fork(["a/b"]), InvalidRequestError);
  const call = session.stream(ENDLESS);
  await call.next();
  if (kind === "nats") {         // there a fork waits for the calls before it
    const [later] = await Promise.all([session.fork(), session.interrupt()]);
    await later[0]!.close();
  } else {
    await assert.rejects(session.fork(), SessionBusyError);
    await session.interrupt();
  }
  await call.result();
  for (const branch of [one!, two!, single!, ...named, session]) await branch.close();
  await assert.rejects(session.fork(), SessionNotFoundError);
  const plain = px.session();
  await plain.execute("1");
  await assert.rejects(plain.fork(), SessionNotForkableError);
  await plain.close();
}, ["rpc", "tcp", "nats"]);

forEach("calls of a session are undone", async (px) => {
  const session = px.session(undefined, { policy: { auto_checkpoint: true } });
  for (const code of ["x = [1]", "x.append(2)", "x.append(3)"]) assert.ok((await session.execute(code)).ok);
  const undone = await session.undo();
  assert.deepEqual([undone.to, undone.checkpoints], [3, [1, 2]]);
  assert.equal((await session.execute("x")).last_value_repr, "[1, 2]");
  assert.equal((await session.undo(2)).to, 2);
  assert.equal((await session.execute("x")).last_value_repr, "[1]");
  const died = await session.execute("x.append(9); __import__('os')._exit(3)");
  assert.equal(died.session?.restored?.to, 3);
  assert.match(died.explain(), /as it was before this call/);
  assert.equal((await session.execute("x")).last_value_repr, "[1]");
  assert.equal((await session.reset()).to, 1);
  assert.equal((await session.execute("'x' in globals()")).last_value_repr, "False");
  await assert.rejects(session.undo(0), InvalidRequestError);
  await assert.rejects(session.undo(77), InvalidRequestError);
  await session.close();
  await assert.rejects(session.undo(), SessionNotFoundError);
}, ["rpc", "tcp", "nats"]);

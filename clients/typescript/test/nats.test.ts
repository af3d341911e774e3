// SPDX-License-Identifier: Apache-2.0
/** A fleet over NATS: what is different from the other transports. What is the same is tested with them (the kind `nats`). */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import { connect, createInbox, headers, type Msg, type MsgHdrs } from "@nats-io/transport-node";
import {
  AlreadyStartedError, ConnectionLostError, ExecutionNotFoundError, InvalidPolicyError, InvalidRequestError, OverloadedError, Pyexec, PyexecError,
  SessionLostError, UnauthorizedError, type ConnectOptions, type Output, type Request,
} from "pyexec-client";
import { Nats, noFleet, startWorker } from "./fleet.js";
import { fleet, makeClient, until } from "./support.js";

const PACKAGE = dirname(dirname(fileURLToPath(import.meta.url)));
const SLEEP = "import time\nprint('on', flush=True)\ntime.sleep(50)";
const MEMORY = ["--address-space-bytes", "2G"];
const skip = noFleet();
const folder = mkdtempSync(join(tmpdir(), "pyexec-test-nats-client-"));
after(() => rmSync(folder, { recursive: true }));

test("a NATS server that is not there ran nothing", async () => {
  await assert.rejects(Pyexec.connect("nats://user:secret@127.0.0.1:9,127.0.0.1:9").executeOnce("1"), (failure: ConnectionLostError) => {
    assert.ok(failure instanceof ConnectionLostError);
    assert.match(failure.message, /^127\.0\.0\.1:9,127\.0\.0\.1:9: /);
    assert.match(failure.hint, /never started/);
    return true;
  });
});

test("settings that do not fit are refused at once", () => {
  assert.throws(() => Pyexec.connect("amqp://x"), /nats:\/\/HOST:PORT/);
  const options: ConnectOptions[] = [{ principal: "a" }, { inboxPrefix: "a" }, { credentials: "a" }, { tls: {} }];
  for (const one of options) assert.throws(() => Pyexec.connect("http://x", one), /only for nats:\/\//);
});

/** Runs a script in a folder of its own, and returns what it printed and how it ended. */
async function node(own: string, script: string): Promise<{ said: string; end: number | null }> {
  writeFileSync(join(own, "run.mjs"), script);
  const child = spawn(process.execPath, ["run.mjs"], { cwd: own, stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data: Buffer) => (said += data));
  const [end] = (await once(child, "close")) as [number | null];
  return { said, end };
}

test("without the package the error names what to install", async () => {
  const own = join(folder, "without", "node_modules", "pyexec-client");
  mkdirSync(own, { recursive: true });
  for (const name of ["package.json", "dist"]) cpSync(join(PACKAGE, name), join(own, name), { recursive: true });
  const done = await node(join(folder, "without"), `import { Pyexec } from "pyexec-client";
    await Pyexec.connect("nats://x").executeOnce("1").catch((failure) => console.log(failure.code, failure.message, failure.hint));`);
  assert.match(done.said, /^package_not_found .*needs? the package @nats-io\/transport-node npm install @nats-io\/transport-node\./);
});

describe("a fleet", { skip }, () => {
  async function withNats(body: (nats: Nats) => Promise<void>, settings?: string): Promise<void> {
    const nats = await new Nats(settings).start();
    try {
      await body(nats);
    } finally {
      await nats.stop();
    }
  }

  test("without a node it is overloaded until one comes", () => withNats(async (nats) => {
    const [px, patient] = [Pyexec.connect(nats.url, { retryOverloadedMs: 0 }), Pyexec.connect(nats.url, { retryOverloadedMs: 120_000 })];
    for (const call of [() => px.executeOnce("1"), () => px.session().execute("1"), () => px.environments(), () => px.detach("1")]) {
      await assert.rejects(call(), (failure: OverloadedError) => {
        assert.ok(failure instanceof OverloadedError && failure.retryAfterMs! > 0 && failure.hint.includes("pyexec worker --nats"));
        return true;
      });
    }
    assert.deepEqual(await px.sessions(), []);
    const waiting = patient.executeOnce("6 * 7");
    const late = await startWorker(nats.url, "late");
    assert.equal((await waiting).last_value_repr, "42");
    await Promise.all([px.close(), patient.close(), late.stop()]);
  }));

  test("large bodies go both ways, and large answers of tools", () => withNats(async (nats) => {
    const worker = await startWorker(nats.url, "large", { flags: ["--files", "full", "--any-import", "--max-stdout-bytes", "64M", ...MEMORY, "--timeout", "100s", "--cpu-time-seconds", "100"] });
    const px = Pyexec.connect(nats.url);
    const text = Buffer.alloc(24 << 20, "0123456789abcdef!").toString();
    assert.equal((await px.executeOnce("t = open('in').read(); print(t)", { files: { in: text } })).stdout === text + "\n", true);
    let streamed = "";
    const result = await px.executeOnce("t = open('in').read(); print(t)", { files: { in: text }, onEvent: (event) => { if (event.type === "output") streamed += event.text; } });
    assert.equal(streamed === text + "\n" && result.stdout === streamed, true);
    const code = "a = f(text='x' * 3000000)\nlen(a), set(a)";
    const f = { parameters: { type: "object", properties: { text: { type: "string" } } }, execute: ({ text: given }: { text: string }) => "y".repeat(given.length) };
    assert.equal((await px.executeOnce(code, { tools: { f } })).last_value_repr, "(3000000, {'y'})");
    const session = px.session();
    const bytes = Uint8Array.from({ length: 20 << 20 }, (_, index) => index % 251);
    await session.files.write("big", bytes);
    assert.ok(Buffer.from(await session.files.read("big")).equals(bytes));
    await px.close();
    await worker.stop();
  }));

  test("a lost node is noticed, and its run is not repeated", () => withNats(async (nats) => {
    const [victim, px] = [await startWorker(nats.url, "victim"), Pyexec.connect(nats.url)];
    const stream = px.stream(SLEEP);
    assert.equal(((await stream.next()).value as Output).text, "on\n");
    const started = await px.detach("1");
    let hasBegun = false;
    const keyed = px.executeOnce(SLEEP, { key: "once", onEvent: () => (hasBegun = true) });
    keyed.catch(() => undefined);
    await until(() => hasBegun, "the second run");
    const other = await startWorker(nats.url, "other");
    const begun = performance.now();
    victim.child.kill("SIGKILL");
    await assert.rejects(stream.result(), (failure: ConnectionLostError) => failure instanceof ConnectionLostError && /not known/.test(failure.hint));
    assert.ok(performance.now() - begun < 30_000);
    await keyed.then((result) => assert.fail(result.status), (failure) => assert.ok(failure instanceof AlreadyStartedError, String(failure)));
    await assert.rejects(started.state(), (failure: ExecutionNotFoundError) => failure instanceof ExecutionNotFoundError && failure.message.includes("victim"));
    assert.ok((await px.executeOnce("1")).ok);
    await px.close();
    await Promise.all([victim.stop(), other.stop()]);
  }));

  test("a lost session is an error once", () => withNats(async (nats) => {
    const [victim, px] = [await startWorker(nats.url, "victim"), Pyexec.connect(nats.url)];
    const session = px.session(undefined, { policy: { max_value_bytes: 5 } });
    await session.execute("x = 1");
    const other = await startWorker(nats.url, "other");
    await victim.stop("SIGKILL");
    await until(() => session.execute("x").then(() => assert.fail("the state can't be there"), (failure: PyexecError) => {
      if (failure instanceof SessionLostError) return failure.message.includes("victim");
      assert.ok(failure instanceof ConnectionLostError, String(failure));       // NATS has not noticed it yet
      return false;
    }), "the loss");
    const result = await session.execute("'long enough'");
    assert.ok(result.session?.execution_count === 1 && result.session.created && result.last_value_truncated);
    await px.close();
    await other.stop();
  }));

  test("asking for a lost session makes no new one", () => withNats(async (nats) => {
    const [gone, px] = [await startWorker(nats.url, "drains"), Pyexec.connect(nats.url)];
    const session = px.session();
    await session.execute("x = 1");
    const stays = await startWorker(nats.url, "stays");
    await gone.stop();          // the fleet forgets its sessions
    await assert.rejects(session.files.list(), (failure) => failure instanceof SessionLostError && failure.message.includes("drains"));
    assert.deepEqual(await px.sessions(), []);
    await px.close();
    await stays.stop();
  }));

  test("two clients share a session wherever it lives", async () => {
    const [one, two] = [await makeClient("nats"), await makeClient("nats")];
    for (let number = 0; number < 6; number++) {
      const session = one.session();
      await session.execute(`x = ${number}`);
      const other = two.session(session.id);
      assert.deepEqual(await other.files.list(), []);         // the first call is not an execution, and may reach the wrong node
      assert.equal((await other.execute("x")).last_value_repr, String(number));
      assert.ok((await two.sessions()).some((row) => row.id === session.id));
      await session.close();
    }
    await Promise.all([one.close(), two.close()]);
  });

  test("a node that does not have the session says where it is", async () => {
    const px = await makeClient("nats");
    const sessions = Array.from({ length: 8 }, () => px.session());
    await Promise.all(sessions.map((session) => session.execute("x = 1")));
    const fresh = await makeClient("nats");     // its first call, which is not an execution, goes to any node
    for (const session of sessions) await fresh.session(session.id).interrupt();
    for (const session of sessions) assert.equal((await fresh.session(session.id).execute("x")).last_value_repr, "1");
    await Promise.all([...sessions.map((session) => session.close()), fresh.close()]);
    await px.close();
  });

  test("environments are chosen by subject", () => withNats(async (nats) => {
    const root = join(folder, "env");
    execFileSync("/usr/bin/python3", ["-B", "-c", "import sys\nsys.path.insert(0, sys.argv[1] + '/tests/support')\nimport stores\n" +
      "stores.HandMadeStore(sys.argv[2]).add('data', {'tally': 'def total(*numbers): return sum(numbers)'})", process.env["PYEXEC_SOURCE"]!, root]);
    const workers = [await startWorker(nats.url, "plain"),
      await startWorker(nats.url, "rich", { flags: ["--any-import", "--allowed-environments", "data"], env: { PYEXEC_ENV_ROOT: root } })];
    const px = Pyexec.connect(nats.url);
    for (let time = 0; time < 8; time++) {
      const result = await px.executeOnce("import tally; tally.total(2, 3)", { policy: { environment: "data" } });
      assert.deepEqual([result.last_value_repr, result.environment?.name], ["5", "data"]);
    }
    await assert.rejects(px.executeOnce("1", { policy: { environment: "dota" } }), (failure) => failure instanceof InvalidPolicyError && failure.message.includes("'dota'"));
    await px.close();
    await Promise.all(workers.map((worker) => worker.stop()));
  }));

  test("a password, a principal and an inbox of its own", async () => {
    const alice = Buffer.from("alice").toString("base64url");
    await withNats(async (nats) => {
      const [workers, own, wrong] = ["worker:w@", "alice:a@", "alice:wrong@"].map((user) => nats.url.replace("//", "//" + user)) as [string, string, string];
      const worker = await startWorker(workers, "guarded", { tokens: "alice -\n" });
      const px = Pyexec.connect(own, { principal: "alice", inboxPrefix: "_INBOX_alice" });
      assert.equal((await px.executeOnce("6 * 7")).last_value_repr, "42");
      assert.equal((await px.executeOnce("len(f())", { tools: { f: () => "x".repeat(2_000_000) } })).last_value_repr, "2000000");
      const session = px.session();
      await session.execute("x = 1");
      assert.equal((await session.execute("x")).last_value_repr, "1");
      assert.deepEqual((await px.sessions()).map((row) => row.id), [session.id]);
      assert.equal((await (await px.detach("5")).result()).last_value_repr, "5");
      await px.close();
      await assert.rejects(Pyexec.connect(wrong).start(), (failure) => failure instanceof ConnectionLostError && /lets this client in.*never started/.test(failure.hint) && !failure.message.includes("wrong"));
      for (const options of [{ inboxPrefix: "_INBOX_alice" }, { principal: "alice" }]) {        // the wrong subject, and the wrong inbox
        const outside = Pyexec.connect(own, options);
        await assert.rejects(outside.executeOnce("1"), (failure) => failure instanceof UnauthorizedError && /principal and inboxPrefix.*never started/.test(failure.hint));
        await outside.close();
      }
      await worker.stop();
    }, `authorization { users: [ { user: worker, password: w },
      { user: alice, password: a, permissions: { publish: ["pyexec.v1.as.${alice}.>", "pyexec.v1.node.*.s.${alice}.>", "pyexec.v1.node.*.p.${alice}",
        "pyexec.v1.node.*.r.>", "$SRV.PING.pyexec"], subscribe: "_INBOX_alice.>" } } ] }`);
  });

  test("a token of NATS, in the URL and as an option", () => withNats(async (nats) => {
    const worker = await startWorker(nats.url.replace("//", "//secret@"), "one");
    for (const px of [Pyexec.connect(nats.url.replace("//", "//secret@")), Pyexec.connect(nats.url, { token: "secret" })]) {
      assert.ok((await px.executeOnce("1")).ok);
      await px.close();
    }
    await assert.rejects(Pyexec.connect(nats.url).executeOnce("1"), ConnectionLostError);
    await worker.stop();
  }, 'authorization { token: "secret" }'));

  test("TLS: the server is verified, and this client shows its certificate", async () => {
    const pem = (name: string): string => join(folder, name);
    const openssl = (...words: string[]): void => void execFileSync("openssl", words, { stdio: "pipe" });
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", pem("ca.key"), "-out", pem("ca.pem"), "-subj", "/CN=test ca", "-days", "2");
    for (const [name, extra] of [["server", "subjectAltName=DNS:localhost"], ["client", "extendedKeyUsage=clientAuth"]] as const) {
      writeFileSync(pem("extra"), extra + "\n");
      openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", pem(name + ".key"), "-out", pem(name + ".csr"), "-subj", "/CN=" + name);
      openssl("x509", "-req", "-in", pem(name + ".csr"), "-CA", pem("ca.pem"), "-CAkey", pem("ca.key"), "-CAcreateserial", "-out", pem(name + ".pem"), "-days", "2", "-extfile", pem("extra"));
    }
    await withNats(async (nats) => {
      const url = `tls://localhost:${nats.port}`;
      const tls = { caFile: pem("ca.pem"), certFile: pem("client.pem"), keyFile: pem("client.key") };
      const px = Pyexec.connect(url, { tls, retryOverloadedMs: 0 });
      await assert.rejects(px.executeOnce("1"), OverloadedError);       // it is connected, and there is no worker
      await px.close();
      await assert.rejects(Pyexec.connect(url, { tls: { ...tls, caFile: pem("client.pem") } }).start(), ConnectionLostError);
      await assert.rejects(Pyexec.connect(url).start(), ConnectionLostError);
    }, `tls { cert_file: "${pem("server.pem")}", key_file: "${pem("server.key")}", ca_file: "${pem("ca.pem")}", verify: true }`);
  });

  test("a restart of the NATS server is survived", () => withNats(async (nats) => {
    const [worker, px] = [await startWorker(nats.url, "patient"), Pyexec.connect(nats.url, { retryOverloadedMs: 120_000 })];
    const session = px.session();
    await session.execute("x = 5");
    await nats.kill();
    await nats.start();
    await until(() => session.execute("x").then((result) => result.last_value_repr === "5", (failure: PyexecError) => {
      assert.ok(failure instanceof ConnectionLostError, String(failure));
      return false;
    }), "the connection");
    await px.close();
    await worker.stop();
  }));

  test("closing ends the runs of the client", () => withNats(async (nats) => {
    const [busy, px, other] = [await startWorker(nats.url, "busy"), Pyexec.connect(nats.url), Pyexec.connect(nats.url)];
    const stream = px.session("s").stream(SLEEP);
    await stream.next();
    const notAccepted = px.executeOnce(SLEEP);
    notAccepted.catch(() => undefined);
    await px.close();
    await assert.rejects(stream.result(), { code: "closed" });
    await assert.rejects(notAccepted, { code: "closed" });
    await until(async () => (await other.sessions()).every((row) => !row.busy), "the end of the run");
    await other.close();
    await busy.stop();
  }));

  test("an abort before the worker has said anything ends the run too", () => withNats(async (nats) => {
    const [worker, px] = [await startWorker(nats.url, "one"), Pyexec.connect(nats.url)];
    await px.start();
    const session = px.session("s");
    await session.execute("x = 1");
    for (let time = 0; time < 5; time++) {
      const abort = new AbortController();
      const call = session.execute("x += 1\nimport time\ntime.sleep(50)", { signal: abort.signal });
      await new Promise((resolve) => setImmediate(resolve));
      abort.abort();
      await assert.rejects(call, { name: "AbortError" });
    }
    assert.ok((await session.execute("x")).ok);
    await px.close();
    await worker.stop();
  }));

  test("of the requests with one key at most one starts", async () => {
    const px = await makeClient("nats");
    const session = px.session();
    await session.execute("x = 0");
    const ends = await Promise.allSettled(Array.from({ length: 5 }, () => session.execute("x += 1", { key: "task-1" })));
    assert.equal(ends.filter((one) => one.status === "fulfilled").length, 1);
    for (const one of ends) if (one.status === "rejected") assert.ok(one.reason instanceof AlreadyStartedError, String(one.reason));
    assert.equal((await session.execute("x", { key: "task-2" })).last_value_repr, "1");
    await assert.rejects(px.executeOnce("1", { key: "task-1" }), AlreadyStartedError);
    for (const key of ["", "é", "a\nb", "x".repeat(129)]) await assert.rejects(px.executeOnce("1", { key }), InvalidRequestError);
    await session.close();
    await px.close();
    for (const kind of ["rpc", "unix"] as const) {
      const plain = await makeClient(kind);
      await assert.rejects(plain.executeOnce("1", { key: "task-3" }), (failure) => failure instanceof InvalidRequestError && /over NATS/.test(failure.message));
      await plain.close();
    }
  });

  test("a NATS server whose messages are too small is named", async () => {
    for (const limit of [1024, 4096]) {
      await withNats(async (nats) => {
        const px = Pyexec.connect(nats.url);
        for (const call of [() => px.executeOnce("1"), () => px.session().execute("1")]) {
          await assert.rejects(call(), (failure: ConnectionLostError) => failure instanceof ConnectionLostError
            && failure.message.includes(`at most ${limit} bytes (max_payload)`) && /set max_payload.*never started/.test(failure.hint));
        }
        await px.close();
      }, `max_payload: ${limit}`);
    }
  });

  type Said = readonly [Record<string, string>, string | Uint8Array];

  /** A node that sends these messages as the answer to a run, and the answer `part` to each part of its body. */
  async function withBadNode(body: (run: (messages: readonly Said[], request?: Request, part?: string) => Promise<PyexecError>) => Promise<void>): Promise<void> {
    await withNats(async (nats) => {
      const [px, node] = [Pyexec.connect(nats.url, { retryOverloadedMs: 0 }), await connect({ servers: `127.0.0.1:${nats.port}` })];
      const requests = node.subscribe("pyexec.v1.run")[Symbol.asyncIterator]();
      node.subscribe("pyexec.v1.node.bad.r.r.>", { callback: () => undefined });
      await node.flush();
      const headersOf = (all: Record<string, string>): MsgHdrs => {
        const made = headers();
        for (const [name, value] of Object.entries(all)) made.set(name, value);
        return made;
      };
      await body(async (messages, request = {}, part) => {
        const call = px.executeOnce("1", { onEvent: () => undefined, tools: { f: () => new Promise(() => undefined) }, ...request });
        call.catch(() => undefined);
        const { reply } = (await requests.next()).value as Msg;
        const subject = createInbox("test");
        const parts = node.subscribe(subject)[Symbol.asyncIterator]();
        for (const [all, data] of messages) node.publish(reply!, data, { headers: headersOf(all), ...(part ? { reply: subject } : {}) });
        if (part) node.publish(((await parts.next()).value as Msg).reply!, "", { headers: headersOf({ "Pyexec-Part": part }) });
        return call.then((result) => assert.fail(`it ended: ${result.status}`), (failure: PyexecError) => failure);
      });
      await Promise.all([px.close(), node.close()]);
    });
  }

  test("malformed answers are errors of the client", () => withBadNode(async (run) => {
    const accepted: Said = [{ "Pyexec-Seq": "0", "Pyexec-Event": "accepted" }, '{"node": "bad", "request": "r"}'];
    const event = (more: Record<string, string>, data = "{}"): Said => [{ "Pyexec-Seq": "1", "Pyexec-Event": "stdout", ...more }, data];
    const json = { "Pyexec-Status": "200", "Content-Type": "application/json" };
    for (const messages of [
      [[{ "Pyexec-Seq": "x", "Pyexec-Event": "accepted" }, "{}"]], [[{ "Pyexec-Event": "accepted" }, "{"]], [[{ "Pyexec-Event": "accepted" }, "{}"]],
      [[{ "Pyexec-Event": "accepted" }, "null"]], [[{ "Pyexec-Event": "accepted" }, '{"node": "a b", "request": "r"}']],
      [accepted, event({}, "no")], [accepted, event({}, "null")], [accepted, event({ "Pyexec-Part": "0" })],
      [accepted, event({ "Pyexec-Part": "1", "Pyexec-Parts": "2" })], [[{ "Pyexec-Status": "ok" }, "{}"]], [[json, "{"]], [[json, "5"]],
    ] as const satisfies Said[][]) {
      const failure = await run(messages);
      assert.ok(failure instanceof ConnectionLostError && /^an answer that can't be read: /.test(failure.message), `${JSON.stringify(messages)}: ${String(failure)}`);
    }
    const problem = await run([[{ "Pyexec-Status": "400" }, "[".repeat(200_000)]]);
    assert.ok(problem instanceof PyexecError && problem.code === "internal", String(problem));
    for (const part of ["x", "99"]) {
      const failure = await run([[{ "Pyexec-Event": "continue" }, ""]], { stdin: "x".repeat(3 << 20) }, part);
      assert.ok(failure instanceof ConnectionLostError && failure.message.includes("can't be read"), String(failure));
    }
  }));

  test("lists name the nodes that are missing, unless no node has one", () => withNats(async (nats) => {
    const px = Pyexec.connect(nats.url);
    const node = await connect({ servers: nats.url });
    const serve = (name: string, status: number, body: object): void => {
      node.subscribe("$SRV.PING.pyexec", { callback: (_, message) => void message.respond(JSON.stringify({ id: name })) });
      node.subscribe(`pyexec.v1.node.${name}.p.*`, { callback: (_, message) => {
        const made = headers();
        made.set("Pyexec-Status", String(status));
        message.respond(JSON.stringify(body), { headers: made });
      } });
    };
    serve("refuses", 401, { status: 401, code: "unauthorized", title: "who is it?", hint: "ask" });
    await node.flush();
    await assert.rejects(px.sessions(), UnauthorizedError);
    serve("busy", 503, { status: 503, code: "overloaded", title: "no room", hint: "later" });
    serve("broken", 200, { sessions: 5, executions: 5 });
    serve("works", 200, { sessions: [{ id: "s" }], executions: [{ execution_id: "e" }] });
    await node.flush();
    const missing = [{ node: "broken", status: 502, title: "the list of node broken is not valid" }, { node: "busy", status: 503, title: "no room" },
      { node: "refuses", status: 401, title: "who is it?" }];
    const [sessions, executions] = [await px.sessions(), await px.executions()];
    assert.deepEqual([sessions, executions], [[{ id: "s" }], [{ execution_id: "e" }]]);
    assert.deepEqual([sessions.missing, executions.missing], [missing, missing]);
    await Promise.all([px.close(), node.close()]);
  }));

  test("a request that is sent on is awaited at the node that accepts it last", () => withBadNode(async (run) => {
    const accepted = (node: string): Said => [{ "Pyexec-Seq": "0", "Pyexec-Event": "accepted" }, `{"node": "${node}", "request": "r"}`];
    const alive = (number: number): Said => [{ "Pyexec-Seq": String(number), "Pyexec-Event": "alive" }, "{}"];
    const failure = await run([accepted("bad"), alive(1), alive(2), accepted("owner"),
      [{ "Pyexec-Seq": "1", "Pyexec-Status": "400" }, '{"code": "invalid_request", "title": "from the owner"}']]);
    assert.ok(failure.message.includes("from the owner"), String(failure));
  }));

  test("what a node sends ahead is bounded, and so are events and calls of tools that wait", () => withBadNode(async (run) => {
    const large = Buffer.alloc(1000 << 10, " ");
    const many = (count: number, data: Uint8Array | string, headers: (number: number) => Record<string, string>): Said[] =>
      Array.from({ length: count }, (_, number) => [headers(number), data]);
    for (const messages of [
      many(110, large, (number) => ({ "Pyexec-Event": "stdout", "Pyexec-Seq": String(number + 1) })),
      many(110, large, (number) => ({ "Pyexec-Event": "stdout", "Pyexec-Seq": String(number), "Pyexec-Part": String(number), "Pyexec-Parts": "1000" })),
    ]) {
      const failure = await run(messages);
      assert.ok(failure instanceof ConnectionLostError && failure.message.includes("more than it may"), String(failure));
    }
    const failure = await run(many(10_001, '{"name": "f", "arguments": {}, "call_id": "c"}', () => ({ "Pyexec-Event": "tool_call" })));
    assert.ok(failure instanceof ConnectionLostError && failure.message.includes("more events"), String(failure));
  }));

  test("a connection that nobody uses is closed and made again, so a program ends without close()", async () => {
    const { url } = await fleet();
    const own = join(folder, "ends");
    mkdirSync(own);
    symlinkSync(join(PACKAGE, "node_modules"), join(own, "node_modules"));
    const done = await node(own, `import { Pyexec } from "pyexec-client";
      const px = Pyexec.connect("${url}", { principal: "test" });
      const isConnected = () => process.getActiveResourcesInfo().includes("TCPSocketWrap");
      await px.session("kept").execute("x = 6");
      console.log(isConnected());
      while (isConnected()) await new Promise((resolve) => setTimeout(resolve, 50));
      console.log((await px.session("kept").execute("x * 7")).last_value_repr, isConnected());`);
    assert.deepEqual([done.said, done.end], ["true\n42 true\n", 0]);
  });
});

// SPDX-License-Identifier: Apache-2.0
/** How the program starts, ends and is lost; no process is left behind. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import { ConnectionLostError, InvalidPolicyError, OverloadedError, ProgramNotFoundError, Pyexec, PyexecError } from "pyexec-client";
import { BUILD, POLICY, children, isThere, startServer, until } from "./support.js";

const PACKAGE = dirname(dirname(fileURLToPath(import.meta.url)));
const folder = mkdtempSync(join(tmpdir(), "pyexec-test-life-"));
after(() => rmSync(folder, { recursive: true, force: true }));
chmodSync(folder, 0o755);

/** Writes a program, and returns its path. */
function program(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text, { mode: 0o755 });
  return path;
}

/** The only `pyexec rpc` that this process has started. */
function rpcProcess(before: ReadonlySet<number>): number {
  const found = [...children(process.pid)].filter((pid) => !before.has(pid));
  return Math.min(...found);
}

test("start says what the program is", async () => {
  await using px = new Pyexec();
  const info = await px.start();
  assert.equal(info.protocol, 1);
  assert.match(info.version ?? "", /^\d+\./);
  assert.match(info.python ?? "", /^3\./);
});

test("close ends the program and everything below it", async () => {
  const before = children(process.pid);
  const px = new Pyexec({ policy: POLICY });
  await px.session("s").execute("x = 1");
  const below = [...children(process.pid)].filter((pid) => !before.has(pid));
  assert.ok(below.length > 1);
  const endless = px.executeOnce("while True: pass").then((result) => result.status, (failure: PyexecError) => failure.code);
  await px.close();
  assert.match(await endless, /^(cancelled|closed)$/);
  await until(() => below.every((pid) => !isThere(pid)), "the end of all processes");
});

test("the program is killed: calls fail, the next call starts it again, and the session says that its state is lost", async () => {
  const before = children(process.pid);
  await using px = new Pyexec({ policy: POLICY });
  const session = px.session("s");
  await session.execute("x = 1");
  const stream = px.stream("print(1, flush=True)\nwhile True: pass");
  await stream.next();
  const waiting = session.execute("while True: pass");
  waiting.catch(() => undefined);
  process.kill(rpcProcess(before), "SIGKILL");
  await assert.rejects(stream.result(), (failure: ConnectionLostError) => {
    assert.ok(failure instanceof ConnectionLostError);
    assert.match(failure.message, /SIGKILL/);
    assert.match(failure.hint, /not known/);
    return true;
  });
  await assert.rejects(waiting, ConnectionLostError);
  const result = await session.execute("'x' in globals()");
  assert.deepEqual([result.last_value_repr, result.session?.restarted], ["False", "host_restart"]);
  assert.equal((await session.execute("1")).session?.restarted, null);
  assert.equal((await px.session("new").execute("1")).session?.restarted, null);
});

test("no program", async () => {
  for (const options of [{ program: "/no/such/pyexec" }, { program: "no-such-pyexec" }, { program: folder }]) {
    await assert.rejects(new Pyexec(options).executeOnce("1"), (failure: ProgramNotFoundError) => {
      assert.ok(failure instanceof ProgramNotFoundError && failure.message.includes(options.program));
      assert.match(failure.hint, /PYEXEC/);
      return true;
    });
  }
  await assert.rejects(new Pyexec({ program: program("no-format", "\u007fELF no") }).executeOnce("1"), (failure: PyexecError) =>
    ["program_not_found", "connection_lost"].includes(failure.code));
});

test("another program, and one that writes a line that is not JSON", async () => {
  const ends = program("ends", "#!/bin/sh\necho 'no such command' >&2\nexit 3\n");
  await assert.rejects(new Pyexec({ program: ends }).executeOnce("1"), (failure: ConnectionLostError) => {
    assert.match(failure.message, /ended with 3: no such command/);
    assert.match(failure.hint, /Check that '.*ends' is the program `pyexec`\. No code ran/);
    return true;
  });
  const talks = program("talks", "#!/bin/sh\necho hello\nexec cat >/dev/null\n");
  await assert.rejects(new Pyexec({ program: talks }).executeOnce("1"), /it wrote a line that is not JSON: hello/);
});

test("a program of another version", async () => {
  const answer = (part: string): string => `#!/bin/sh\nread line\necho '{"jsonrpc":"2.0","id":1,${part}}'\nexec cat >/dev/null\n`;
  const later = program("later", answer('"result":{"protocol":2,"version":"9.0"}'));
  await assert.rejects(new Pyexec({ program: later }).start(), /version 9\.0\) speaks protocol 2, and this client protocol 1/);
  const refuses = program("refuses", answer('"error":{"code":-32000,"message":"m","data":{"code":"invalid_request","message":"protocol must be 2","hint":"h"}}'));
  await assert.rejects(new Pyexec({ program: refuses }).start(), { code: "invalid_request", message: "protocol must be 2", hint: "h" });
});

test("a bad policy fails each call, and a good client works after it", async () => {
  const px = new Pyexec({ policy: { timeout_ms: -1 } });
  await assert.rejects(px.start(), InvalidPolicyError);
  await assert.rejects(px.executeOnce("1"), InvalidPolicyError);
  await px.close();
});

/** Runs a script as a program of its own, and returns what it printed and how it ended. */
async function node(script: string): Promise<{ lines: string[]; end: string; errors: string }> {
  const path = join(PACKAGE, `script-${Math.random().toString(36).slice(2)}.mjs`);
  writeFileSync(path, script);
  try {
    const child = spawn(process.execPath, [path], { stdio: ["ignore", "pipe", "pipe"] });
    let [out, errors] = ["", ""];
    child.stdout.on("data", (data: Buffer) => (out += data));
    child.stderr.on("data", (data: Buffer) => (errors += data));
    const [code, signal] = (await once(child, "close")) as [number | null, string | null];
    return { lines: out.split("\n").filter((line) => line), end: signal ?? String(code), errors };
  } finally {
    rmSync(path);
  }
}

const BEGIN = `
import { readFileSync, readdirSync } from "node:fs";
import { Pyexec } from "pyexec-client";
let px = new Pyexec({ policy: { timeout_ms: 600000, cpu_time_seconds: null } });
await px.session("s").execute("x = 1");
const parents = readdirSync("/proc").filter((name) => /^\\d+$/.test(name)).map((name) => {
  try { const stat = readFileSync("/proc/" + name + "/stat", "utf8"); return [Number(name), Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1])]; } catch { return [0, 0]; }
});
let all = [process.pid];
for (let wanted = all; wanted.length; all = [...all, ...wanted]) wanted = parents.filter(([, parent]) => wanted.includes(parent)).map(([pid]) => pid);
console.log(all.filter((pid) => pid !== process.pid).join(" "));
`;

describe("nothing is left however the program ends", () => {
  const ends: Record<string, [string, string]> = {
    "by itself, without close()": ["", "0"],
    "with close()": ["await px.close();", "0"],
    "process.exit() during a call": ["px.executeOnce('while True: pass'); setTimeout(() => process.exit(3), 50);", "3"],
    "an error that nobody caught": ["px.executeOnce('while True: pass'); setTimeout(() => { throw new Error('x'); }, 50);", "1"],
    "SIGKILL": ["process.kill(process.pid, 'SIGKILL');", "SIGKILL"],
    "SIGTERM": ["process.kill(process.pid, 'SIGTERM'); setInterval(() => 0, 1000);", "SIGTERM"],
    "nothing refers to the client any more": [`px = undefined;
      const { setFlagsFromString } = await import("node:v8");
      const { runInNewContext } = await import("node:vm");
      setFlagsFromString("--expose-gc");
      const collect = runInNewContext("gc");
      while (readdirSync("/proc").includes(String(Math.min(...all.filter((pid) => pid !== process.pid))))) {
        collect();
        await new Promise((resolve) => setTimeout(resolve, 20));
      }`, "0"],
  };
  for (const [name, [code, end]] of Object.entries(ends)) {
    test(name, async () => {
      const done = await node(BEGIN + code);
      assert.equal(done.end, end, done.errors);
      const below = done.lines[0]!.split(" ").map(Number);
      assert.ok(below.length > 1 && below.every((pid) => pid > 1));
      await until(() => below.every((pid) => !isThere(pid)), `the end of ${below}`);
    });
  }
});

test("a program with a call in progress does not end before its answer", async () => {
  const done = await node(`import { Pyexec } from "pyexec-client";
    new Pyexec({ policy: { use_import_whitelist: false, banned_imports: [] } }).executeOnce("import time\\ntime.sleep(0.3)\\n42").then((result) => console.log(result.last_value_repr));`);
  assert.deepEqual([done.lines, done.end], [["42"], "0"], done.errors);
});

test("the server is killed: calls fail with what is known, and work again when it is back", async () => {
  const home = mkdtempSync(join(tmpdir(), "pyexec-folder-"));
  const first = await startServer({ folder: home });
  const px = Pyexec.connect(first.unix);
  const stream = px.session("s").stream("x = 1\nprint(1, flush=True)\nwhile True: pass");
  await stream.next();
  const plain = px.executeOnce("while True: pass");
  plain.catch(() => undefined);
  first.child.kill("SIGKILL");
  await assert.rejects(stream.result(), (failure: ConnectionLostError) => failure instanceof ConnectionLostError && /not known/.test(failure.hint));
  await assert.rejects(plain, ConnectionLostError);
  await first.stop("SIGKILL");
  await assert.rejects(px.executeOnce("1"), (failure: ConnectionLostError) => failure instanceof ConnectionLostError && /never started/.test(failure.hint));
  mkdirSync(home);
  const second = await startServer({ folder: home });
  assert.equal((await px.session("s").execute("'x' in globals()")).last_value_repr, "False");
  await px.close();
  await second.stop();
});

describe("a call that is refused as overloaded is repeated", () => {
  const NARROW = { max_concurrent: 1, max_asleep: 0, queue_length: 0 };
  const UNTIL_TOLD = "import os\nprint('go', flush=True)\nwhile not os.path.exists('end'): pass";
  const config = "[host]\n" + Object.entries(NARROW).map(([key, value]) => `${key} = ${value}\n`).join("");
  const check = async (make: (retryOverloadedMs: number) => Pyexec): Promise<void> => {
    const [patient, atOnce] = [make(120_000), make(0)];
    const busy = patient.session("busy");
    const stream = busy.stream(UNTIL_TOLD);
    await stream.next();
    // Over HTTP both clients have the same server.
    const refused = make === overRpc ? undefined : atOnce;
    if (refused) {
      await assert.rejects(refused.executeOnce("1"), (failure: OverloadedError) => failure instanceof OverloadedError && failure.retryAfterMs! > 0);
    }
    const abort = new AbortController();
    const givenUp = patient.executeOnce("1", { signal: abort.signal });
    const waiting = patient.executeOnce("6 * 7");
    abort.abort();
    await assert.rejects(givenUp, { name: "AbortError" });
    await busy.files.write("end", "");
    assert.equal((await waiting).last_value_repr, "42");
    assert.ok((await stream.result()).ok);
    await Promise.all([patient.close(), atOnce.close()]);
  };
  const overRpc = (retryOverloadedMs: number): Pyexec => new Pyexec({ policy: POLICY, host: NARROW, retryOverloadedMs });
  test("rpc", () => check(overRpc));
  test("unix", async () => {
    const narrow = await startServer({ config });
    await check((retryOverloadedMs) => Pyexec.connect(narrow.unix, { retryOverloadedMs }));
    await narrow.stop();
  });
});

test("as an ordinary user", { skip: process.getuid!() !== 0 && "these tests run as an ordinary user already" }, async () => {
  const own = join(folder, "own");
  mkdirSync(own);
  for (const name of ["pyexec", "pyexec-launch", "pyexec_guest.abi3.so", "libpyexec.so.0"]) cpSync(join(BUILD, name), join(own, name));
  mkdirSync(join(own, "node_modules", "pyexec-client"), { recursive: true });
  for (const name of ["package.json", "dist"]) cpSync(join(PACKAGE, name), join(own, "node_modules", "pyexec-client", name), { recursive: true });
  writeFileSync(join(own, "run.mjs"), 'import { Pyexec } from "pyexec-client";\nconst px = new Pyexec();\nconsole.log((await px.executeOnce("6 * 7")).last_value_repr);\n');
  const child = spawn(process.execPath, ["run.mjs"], { cwd: own, uid: 60123, gid: 60123, env: { PATH: "/usr/bin:/bin", PYEXEC: join(own, "pyexec") } });
  let out = "";
  child.stdout.on("data", (data: Buffer) => (out += data));
  child.stderr.on("data", (data: Buffer) => (out += data));
  await once(child, "close");
  assert.equal(out, "42\n");
});

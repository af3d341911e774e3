// SPDX-License-Identifier: Apache-2.0
/** For the tests: the program in the build folder (PYEXEC_BUILD), a server, and a client for each transport. */
import { createHash } from "node:crypto";
import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, openSync, closeSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { after, describe, test } from "node:test";

import { Pyexec, type Policy } from "pyexec-client";
import { noFleet, startFleet, type Fleet } from "./fleet.js";

export const BUILD = process.env["PYEXEC_BUILD"]!;
export const PROGRAM = join(BUILD, "pyexec");
export const TOKEN = "secret";
/** The limits are high enough for any machine, because the tests themselves end their endless runs. The server has the same limits. */
export const POLICY: Policy = {
  disable_open: false, use_import_whitelist: false, banned_imports: [], timeout_ms: 600_000, cpu_time_seconds: null, max_stdout_bytes: 16 << 20 };
export const FLAGS = ["--files", "full", "--any-import", "--timeout", "600s", "--cpu-time-seconds", "none", "--max-stdout-bytes", "16M"];

/** Where npm and node are. */
export const TOOLS_PATH = process.env["PATH"]!;

process.env["PYEXEC"] = PROGRAM;
process.env["PATH"] = "/usr/bin:/bin";         // `python3` of the sandbox; the environment of these tests is not for scripts

/** Waits until the condition holds, at most 60 s. */
export async function until<T>(condition: () => T | Promise<T>, what: string): Promise<NonNullable<T>> {
  for (const deadline = performance.now() + 60_000; performance.now() < deadline; await sleep(20)) {
    const found = await condition();
    if (found) return found;
  }
  throw new Error(`this did not come: ${what}`);
}

export interface Server {
  readonly unix: string;
  readonly tcp: string;
  readonly child: ChildProcess;
  log(): string;
  stop(signal?: NodeJS.Signals): Promise<void>;
}

/** Starts `pyexec serve` on a socket, and on TCP with TOKEN. */
export async function startServer({ flags = [], config = "", folder = mkdtempSync(join(tmpdir(), "pyexec-folder-")) }:
  { flags?: string[]; config?: string; folder?: string } = {}): Promise<Server> {
  const hash = createHash("sha256").update(TOKEN).digest("hex");
  writeFileSync(join(folder, "tokens"), `test sha256:${hash} rate=100000 forkable=true auto_checkpoint=true\n`, { mode: 0o600 });
  writeFileSync(join(folder, "conf"), config);
  const log = openSync(join(folder, "log"), "w");
  const unix = join(folder, "socket");
  const child = spawn(PROGRAM, ["serve", "--config", join(folder, "conf"), "--listen", "unix:" + unix, "--listen", "127.0.0.1:0", "--token-file",
    join(folder, "tokens"), "--log-format", "json", ...FLAGS, ...flags], { stdio: ["ignore", log, log] });
  closeSync(log);
  const text = (): string => readFileSync(join(folder, "log"), "utf8");
  const exited = new Promise<void>((resolve) => child.on("exit", () => resolve()));
  const stop = async (signal: NodeJS.Signals = "SIGTERM"): Promise<void> => {
    child.kill(signal);
    await exited;
    rmSync(folder, { recursive: true, force: true });
  };
  const port = await until(() => {
    if (child.exitCode !== null) throw new Error(text());
    return /127\.0\.0\.1:(\d+)/.exec(text())?.[1];
  }, "the server's start");
  return { unix: "unix:" + unix, tcp: `http://127.0.0.1:${port}`, child, log: text, stop };
}

export type Kind = "rpc" | "unix" | "tcp" | "nats";

let shared: Promise<Server> | undefined;
let sharedFleet: Promise<Fleet> | undefined;

/** The server of this file's tests. */
export function server(): Promise<Server> {
  return (shared ??= startServer());
}

/** The fleet of this file's tests. */
export function fleet(): Promise<Fleet> {
  return (sharedFleet ??= startFleet());
}

// Registered here, and not by the first test that needs the server: it would end with that test.
after(async () => {
  await (await shared)?.stop();
  await (await sharedFleet)?.stop();
});

export async function makeClient(kind: Kind, policy: Policy = POLICY): Promise<Pyexec> {
  if (kind === "rpc") return new Pyexec({ policy });
  if (kind === "nats") return Pyexec.connect((await fleet()).url, { principal: "test" });
  return kind === "unix" ? Pyexec.connect((await server()).unix) : Pyexec.connect((await server()).tcp, { token: TOKEN });
}

/** Makes one test for each transport. */
export function forEach(name: string, body: (px: Pyexec, kind: Kind) => Promise<void>, kinds: readonly Kind[] = ["rpc", "unix", "tcp", "nats"]): void {
  describe(name, () => {
    for (const kind of kinds) {
      test(kind, { skip: kind === "nats" && noFleet() }, async () => {
        const px = await makeClient(kind);
        try {
          await body(px, kind);
        } finally {
          await px.close();
        }
      });
    }
  });
}

/** The processes below one, with zombies. */
export function children(of: number): Set<number> {
  const parents = new Map<number, number>();
  for (const name of readdirSync("/proc").filter((one) => /^\d+$/.test(one))) {
    try {
      const stat = readFileSync(`/proc/${name}/stat`, "utf8");
      parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]));
    } catch {
      // it has ended meanwhile
    }
  }
  const found = new Set<number>();
  for (let wanted = [of]; wanted.length;) {
    wanted = [...parents].filter(([pid, parent]) => wanted.includes(parent) && !found.has(pid)).map(([pid]) => pid);
    for (const pid of wanted) found.add(pid);
  }
  return found;
}

/** True while the process runs. A zombie has ended, but its parent has not read its status yet. */
export function isThere(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return !/^ [ZX]/.test(stat.slice(stat.lastIndexOf(")") + 1));
  } catch {
    return false;
  }
}

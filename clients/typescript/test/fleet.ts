// SPDX-License-Identifier: Apache-2.0
/** For the tests: a NATS server and workers of a fleet. */
import { spawn, type ChildProcess } from "node:child_process";
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";

import { FLAGS, PROGRAM, TOOLS_PATH, until } from "./support.js";

function serverProgram(): string | undefined {
  return [...TOOLS_PATH.split(delimiter), "/usr/sbin", "/usr/local/bin"].map((folder) => join(folder, "nats-server")).find(existsSync);
}

/** Why there can be no fleet here, or false. */
export function noFleet(): string | false {
  return !existsSync(PROGRAM + "-worker") ? "the build has no pyexec-worker" : !serverProgram() && "nats-server is not installed";
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  child.kill(signal);
  await exited;
}

/** A nats-server with JetStream on a free port. `settings` is text of its configuration. */
export class Nats {
  readonly #folder = mkdtempSync(join(tmpdir(), "pyexec-test-nats-"));
  readonly #settings: string;
  #child: ChildProcess | undefined;
  port = -1;

  constructor(settings = "") {
    this.#settings = settings;
  }

  get url(): string {
    return `nats://127.0.0.1:${this.port}`;
  }

  /** Starts it, or starts it again on the same port. */
  async start(): Promise<this> {
    const ports = (): string | undefined => readdirSync(this.#folder).find((name) => name.endsWith(".ports"));
    if (ports()) rmSync(join(this.#folder, ports()!));
    writeFileSync(join(this.#folder, "conf"), `listen: 127.0.0.1:${this.port}\nports_file_dir: ${this.#folder}\njetstream { store_dir: ${this.#folder}/js }\n${this.#settings}\n`);
    const log = openSync(join(this.#folder, "log"), "a");
    this.#child = spawn(serverProgram()!, ["-c", join(this.#folder, "conf")], { stdio: ["ignore", log, log] });
    closeSync(log);
    const text = await until(() => {
      if (this.#child!.exitCode !== null) throw new Error(readFileSync(join(this.#folder, "log"), "utf8"));
      return ports() && readFileSync(join(this.#folder, ports()!), "utf8");
    }, "the NATS server");
    this.port = Number(/:(\d+)$/.exec((JSON.parse(text) as { nats: string[] }).nats[0]!)![1]);
    return this;
  }

  async kill(): Promise<void> {
    await end(this.#child!, "SIGKILL");
  }

  async stop(): Promise<void> {
    await this.kill();
    rmSync(this.#folder, { recursive: true });
  }
}

export interface Worker {
  readonly child: ChildProcess;
  stop(signal?: NodeJS.Signals): Promise<void>;
}

/** Starts a worker. `tokens` is its token file. */
export async function startWorker(url: string, node: string, { flags = FLAGS, tokens, env = {} }:
  { flags?: readonly string[]; tokens?: string; env?: Record<string, string> } = {}): Promise<Worker> {
  const folder = mkdtempSync(join(tmpdir(), "pyexec-test-worker-"));
  if (tokens) writeFileSync(join(folder, "tokens"), tokens, { mode: 0o600 });
  const log = openSync(join(folder, "log"), "w");
  const child = spawn(PROGRAM, ["worker", "--nats", url, "--node", node, ...(tokens ? ["--token-file", join(folder, "tokens")] : []), ...flags], {
    stdio: ["ignore", log, log], env: { ...process.env, PYEXEC_ENV_ROOT: "/nonexistent", ...env } });
  closeSync(log);
  const text = (): string => readFileSync(join(folder, "log"), "utf8");
  await until(() => {
    if (child.exitCode !== null) throw new Error(text());
    return text().includes(`node ${node} serves`);
  }, "the worker");
  return { child, stop: async (signal = "SIGTERM") => {
    await end(child, signal);
    rmSync(folder, { recursive: true, force: true });
  } };
}

export interface Fleet {
  readonly url: string;
  stop(): Promise<void>;
}

/** Two workers at a NATS server, for the principal `test`. A call of a session must reach the right one. */
export async function startFleet(): Promise<Fleet> {
  const nats = await new Nats().start();
  const workers = await Promise.all(["one", "two"].map((node) => startWorker(nats.url, node, { tokens: "test - rate=100000 forkable=true auto_checkpoint=true\n" })));
  return { url: nats.url, stop: async () => {
    await Promise.all(workers.map((worker) => worker.stop()));
    await nats.stop();
  } };
}

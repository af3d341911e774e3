// SPDX-License-Identifier: Apache-2.0
/** Environments: their list, runs and sessions in them, and what the results say of them; over rpc and over HTTP. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { InvalidPolicyError, Pyexec } from "pyexec-client";
import { startServer, type Server } from "./support.js";

const ROOT = mkdtempSync(join(tmpdir(), "pyexec-environments-"));
/** Makes two environments with the helper of the whole-program tests. */
const MAKE = `
import sys
sys.path.insert(0, sys.argv[1] + "/tests/support")
import stores
store = stores.HandMadeStore(sys.argv[2])
store.add("data", {"tally": "def total(*numbers): return sum(numbers)"}, packages=[{"name": "tally", "version": "2.5"}])
store.add("text", {"words": "COUNT = 3"})
`;

let server: Server;

before(async () => {
  execFileSync("/usr/bin/python3", ["-B", "-c", MAKE, process.env["PYEXEC_SOURCE"]!, ROOT]);
  process.env["PYEXEC_ENV_ROOT"] = ROOT;
  server = await startServer({ flags: ["--allowed-environments", "data"] });
});

after(async () => {
  await server.stop();
  rmSync(ROOT, { recursive: true, force: true });
});

async function inEnvironment(px: Pyexec): Promise<void> {
  const listed = (await px.environments()).find((one) => one.name === "data");
  assert.deepEqual([listed?.imports, listed?.packages], [["tally"], [{ name: "tally", version: "2.5" }]]);
  const policy = { environment: "data", use_import_whitelist: true };
  const result = await px.executeOnce("import tally\ntally.total(1, 2, 3)", { policy });
  assert.equal(result.last_value_repr, "6", result.explain());
  assert.deepEqual(result.environment, { name: "data", hash: listed?.hash });
  const session = px.session(undefined, { policy });
  assert.equal((await session.execute("import tally\nx = tally.total(4, 5)\nx")).last_value_repr, "9");
  assert.equal((await session.execute("x + 1")).environment?.name, "data");
  await session.close();
  const without = await px.executeOnce("import tally");
  assert.deepEqual([without.environment, without.error?.type], [null, "ModuleNotFoundError"]);
}

test("over rpc", async () => {
  const px = new Pyexec({ policy: { use_import_whitelist: false } });
  try {
    assert.deepEqual((await px.environments()).map((one) => one.name), ["data", "text"]);
    await inEnvironment(px);
    await assert.rejects(px.executeOnce("1", { policy: { environment: "dota" } }), (error: unknown) =>
      error instanceof InvalidPolicyError && error.message.includes("'dota'") && (error.hint ?? "").includes("data"));
  } finally {
    await px.close();
  }
});

test("over HTTP, within the caller's ceiling", async () => {
  for (const px of [Pyexec.connect(server.unix), Pyexec.connect(server.tcp, { token: "secret" })]) {
    await inEnvironment(px);
    await px.close();
  }
  const px = Pyexec.connect(server.tcp, { token: "secret" });
  assert.deepEqual((await px.environments()).map((one) => one.name), ["data"]);
  await assert.rejects(px.executeOnce("1", { policy: { environment: "text" } }), InvalidPolicyError);
  await px.close();
});

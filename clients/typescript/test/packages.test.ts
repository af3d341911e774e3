// SPDX-License-Identifier: Apache-2.0
/** `packages` of runs and sessions: a server installs them; `pyexec rpc` says that it does not. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { rmSync } from "node:fs";
import { after, before, test } from "node:test";

import { InvalidRequestError, Pyexec } from "pyexec-client";
import { startServer, type Server } from "./support.js";

/** Makes a store with a quick installer, as the whole-program tests have it, and prints its variables. */
const MAKE = `
import json, os, sys
sys.path.insert(0, sys.argv[1] + "/tests/support")
import env_stores
class Program:
    uid = os.getuid()
store = env_stores.CommandStore(Program)
store.write("tally/tally.py", "def total(*numbers): return sum(numbers)")
print(json.dumps(store.environment))
`;
const CODE = "import tally\ntally.total(2, 3)";

let server: Server;
let home: string;

before(async () => {
  const made = execFileSync("/usr/bin/python3", ["-B", "-c", MAKE, process.env["PYEXEC_SOURCE"]!], { encoding: "utf8" });
  Object.assign(process.env, JSON.parse(made), { PYEXEC_ENV_ALLOW_REQUESTS: "tally" });
  home = process.env["HOME"]!;
  server = await startServer();
});

after(async () => {
  await server.stop();
  rmSync(home, { recursive: true, force: true });
});

test("a server installs them for a run, a session and a detached execution", async () => {
  const px = Pyexec.connect(server.unix);
  const result = await px.executeOnce(CODE, { packages: ["tally"] });
  assert.equal(result.last_value_repr, "5", result.explain());
  assert.match(result.environment?.name ?? "", /^cached-/);
  assert.equal((await px.executeOnce(CODE)).ok, false);

  const session = px.session(undefined, { packages: ["tally"] });
  assert.equal((await session.execute(CODE)).last_value_repr, "5");
  assert.equal((await session.execute("tally.total(1, 1)", { packages: ["tally"] })).last_value_repr, "2");
  assert.equal((await (await session.detach("tally.total(4)")).result()).last_value_repr, "4");
  await session.close();
  const opened = px.session(undefined, { packages: ["tally"] });
  await opened.open();
  assert.equal((await opened.execute(CODE)).last_value_repr, "5");
  await opened.close();

  const detached = await px.detach(CODE, { packages: ["tally"] });
  assert.equal((await detached.result()).last_value_repr, "5");
  await px.close();
});

test("what the server refuses", async () => {
  const px = Pyexec.connect(server.unix);
  for (const run of [px.executeOnce("1", { packages: ["pandas"] }), px.session(undefined, { packages: ["pandas"] }).open()]) {
    await assert.rejects(run, (error: unknown) =>
      error instanceof InvalidRequestError && error.message.includes("'pandas' is not among those") && (error.hint ?? "").includes("tally"));
  }
  await px.close();
});

test("pyexec rpc takes none", async () => {
  const px = new Pyexec();
  for (const run of [px.executeOnce("1", { packages: ["tally"] }), px.session(undefined, { packages: ["tally"] }).execute("1")]) {
    await assert.rejects(run, (error: unknown) => error instanceof InvalidRequestError &&
      error.message.includes("only executions and sessions of `pyexec serve` take packages") && (error.hint ?? "").includes("`environment` in the policy"));
  }
  await px.close();
});

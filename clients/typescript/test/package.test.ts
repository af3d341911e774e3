// SPDX-License-Identifier: Apache-2.0
/** The packages that are published work in an empty folder, without a registry. */
import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { fileURLToPath } from "node:url";

import { BUILD, TOOLS_PATH } from "./support.js";

const PACKAGE = dirname(dirname(fileURLToPath(import.meta.url)));
const SOURCE = process.env["PYEXEC_SOURCE"]!;
const folder = mkdtempSync(join(tmpdir(), "pyexec-test-npm-"));
after(() => rmSync(folder, { recursive: true, force: true }));
chmodSync(folder, 0o755);

const RUN = 'import { Pyexec } from "pyexec-client";\nconst px = new Pyexec();\n' +
  'try { console.log((await px.executeOnce("6 * 7")).last_value_repr); } catch (failure) { console.log(failure.name, failure.message); }\n';

function npm(cwd: string, ...parameters: string[]): void {
  execFileSync("npm", [...parameters, "--offline", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], { cwd, encoding: "utf8", stdio: "pipe", env: {
    PATH: TOOLS_PATH, HOME: folder, npm_config_cache: join(folder, "cache"), npm_config_registry: "http://127.0.0.1:9/", npm_config_update_notifier: "false" } });
}

/** An empty folder with these packages installed. */
function installed(name: string, ...packages: string[]): string {
  const own = join(folder, name);
  mkdirSync(own);
  writeFileSync(join(own, "package.json"), '{"type": "module"}');
  npm(own, "install", ...packages);
  writeFileSync(join(own, "run.js"), RUN);
  return own;
}

/** Runs run.js there, with no PYEXEC and no `pyexec` in PATH. */
function run(cwd: string, user: { uid?: number; gid?: number } = {}): string {
  const done = spawnSync(process.execPath, ["run.js"], { cwd, encoding: "utf8", env: { PATH: "/usr/bin:/bin" }, ...user });
  return done.stdout + done.stderr;
}

describe("the packages", () => {
  let [client, runtime, musl] = ["", "", ""];
  before(() => {
    // The program of the build folder, because that of tools/bundle.sh takes minutes to build.
    const files = join(folder, "files");
    mkdirSync(files);
    for (const name of ["pyexec", "pyexec-launch", "pyexec_guest.abi3.so", "libpyexec.so.0"]) copyFileSync(join(BUILD, name), join(files, name));
    const printed = execFileSync(join(SOURCE, "tools", "npm-package.sh"), [join(folder, "made"), BUILD, files], { encoding: "utf8", env: {
      PATH: TOOLS_PATH, HOME: folder, npm_config_cache: join(folder, "cache") } });
    [runtime, musl, client] = printed.trim().split("\n") as [string, string, string];
  });

  test("both work in an empty folder without a registry, also for an ordinary user", () => {
    const own = installed("both", runtime, client);
    assert.equal(run(own), "42\n");
    if (process.getuid!() === 0) assert.equal(run(own, { uid: 60123, gid: 60123 }), "42\n");
  });

  test("the client can be installed without the program, and says what is missing", () => {
    assert.match(run(installed("alone", client)), /^ProgramNotFoundError there is no program 'pyexec'\n$/);
  });

  test("what is in them", () => {
    const own = join(folder, "both", "node_modules");
    const read = (name: string): Record<string, unknown> => JSON.parse(readFileSync(join(own, name, "package.json"), "utf8"));
    const [made, program] = [read("pyexec-client"), read("pyexec-runtime-linux-x64-gnu")];
    assert.deepEqual([program["os"], program["cpu"], program["libc"]], [["linux"], ["x64"], ["glibc"]]);
    const platforms = ["arm64-gnu", "arm64-musl", "x64-gnu", "x64-musl"].map((one) => [`pyexec-runtime-linux-${one}`, program["version"]]);
    assert.deepEqual(made["optionalDependencies"], Object.fromEntries(platforms));
    const other = JSON.parse(execFileSync("tar", ["-xzOf", musl, "package/package.json"], { encoding: "utf8" }));
    assert.deepEqual([other["name"], other["libc"], other["version"]], ["pyexec-runtime-linux-x64-musl", ["musl"], program["version"]]);
    assert.ok(made["scripts"] === undefined && program["scripts"] === undefined && made["dependencies"] === undefined && made["devDependencies"] === undefined);
    assert.equal(made["version"], program["version"]);
    const version = /version: '([^']+)'/.exec(readFileSync(join(SOURCE, "meson.build"), "utf8"))![1];
    assert.equal(made["version"], version);
    for (const name of ["pyexec-client/LICENSE", "pyexec-client/README.md", "pyexec-runtime-linux-x64-gnu/LICENSE"]) assert.ok(existsSync(join(own, name)), name);
    for (const name of ["src", "test", "node_modules"]) assert.ok(!existsSync(join(own, "pyexec-client", name)), name);
  });

  test("the types need neither those of Node nor the packages of the adapters", () => {
    const own = join(folder, "both");
    writeFileSync(join(own, "use.ts"), 'import { Pyexec, type Result } from "pyexec-client";\nexport const run = (px: Pyexec): Promise<Result> => px.executeOnce("1", { timeout_ms: 5 });\n' +
      'export const bytes = (px: Pyexec): Promise<Uint8Array> => px.session().files.read("x");\n');
    writeFileSync(join(own, "tsconfig.json"), JSON.stringify({ compilerOptions: {
      target: "es2023", lib: ["es2023", "dom", "esnext.disposable"], module: "nodenext", types: [], strict: true, exactOptionalPropertyTypes: true, noEmit: true }, files: ["use.ts"] }));
    const done = spawnSync(process.execPath, [join(PACKAGE, "node_modules", "typescript", "bin", "tsc"), "-p", "."], { cwd: own, encoding: "utf8" });
    assert.equal(done.stdout + done.stderr, "");
  });
});

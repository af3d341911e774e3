// SPDX-License-Identifier: Apache-2.0
// The driver of Pyodide: CPython in WebAssembly, in Node. See driver.py for the lines that it reads and writes.
// usage: node pyodide_driver.mjs FOLDER   (FOLDER has node_modules/pyodide)
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const { loadPyodide } = createRequire(process.argv[2] + "/node_modules/")("pyodide");
const encode = (text) => Buffer.from(text).toString("base64");
const decode = (text) => Buffer.from(text, "base64").toString();
const sessions = new Map();

class Interpreter {
  static async load() {
    const one = new Interpreter();
    one.python = await loadPyodide({ stdout: (line) => (one.printed += line + "\n"), stderr: () => {} });
    return one;
  }

  // `fresh`: with new globals, so that names of earlier code are gone. Modules stay.
  run(code, fresh = false) {
    this.printed = "";
    const globals = fresh ? this.python.toPy({}) : undefined;
    this.python.runPython(code, { globals });
    globals?.destroy();
    return this.printed;
  }
}

const shared = await Interpreter.load();
let packages;

const operations = {
  run: async (code) => (await Interpreter.load()).run(code),
  solve: async (code) => shared.run(code, true),
  run_packages: async (code) => {
    if (!packages) {
      const said = [];
      packages = await Interpreter.load();
      await packages.python.loadPackage(["numpy", "pandas"], { messageCallback: () => {}, errorCallback: (line) => said.push(line) });
      if (said.length) {
        packages = undefined;
        throw new Error("numpy and pandas for WebAssembly come from the network: " + said.at(-1));
      }
    }
    return packages.run(code, true);
  },
  open: async (name) => {
    sessions.set(name, await Interpreter.load());
    return "";
  },
  call: async (name, code) => sessions.get(name).run(code),
  close: async (name) => {
    sessions.delete(name);
    return "";
  },
};

console.log("ok 0 ");
for await (const line of createInterface({ input: process.stdin })) {
  const [operation, ...words] = line.split(" ");
  try {
    const began = process.hrtime.bigint();
    const text = await operations[operation](...words.map(decode));
    console.log(`ok ${Number(process.hrtime.bigint() - began) / 1000} ${encode(text)}`);
  } catch (error) {
    console.log("no " + encode(String(error.message ?? error).trim().split("\n").at(-1).slice(0, 300)));
  }
}
process.exit(0);

// SPDX-License-Identifier: Apache-2.0
/** Parts that need no program: texts, JSON, events, errors, names; and the types beside the program. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { describe, test } from "node:test";

import { DEFAULT_ALLOWED_IMPORTS, DEFAULT_BANNED_IMPORTS, OverloadedError, ProgramNotFoundError, PyexecError, Pyexec, type Policy, type Request, type Result } from "pyexec-client";
// Modules inside the package, which it does not export.
import { addTool, describePolicy, describeTools, freeName } from "../dist/adapters.js";
import { errorFrom } from "../dist/errors.js";
import { toJson } from "../dist/json.js";
import { findProgram, runtimePackage } from "../dist/program.js";
import { problem } from "../dist/remote.js";
import { serverEvents } from "../dist/sse.js";
import { resultFrom } from "../dist/types.js";
import { PROGRAM } from "./support.js";

describe("texts for models", () => {
  for (const letter of ["a", "å", "€", "🐍"]) {
    for (const shift of [0, 1, 2, 3]) {
      test(`bounded between characters: ${letter} ${shift}`, () => {
        const printed = "x".repeat(shift) + letter.repeat(50_000);
        const text = resultFrom({ status: "error", stdout: printed, error_repr: "E: the end" }).explain();
        const [, head, left, tail] = /^(.*)\n\[\.\.\. (\d+) bytes left out \.\.\.\]\n(.*)$/s.exec(text)!;
        const sizes = [printed + "\nE: the end", head!, tail!].map((part) => Buffer.byteLength(part));
        assert.ok(printed.startsWith(head!) && tail!.endsWith(letter + "\nE: the end") && !text.includes("\ufffd"));
        assert.ok(sizes[1]! + Number(left) + sizes[2]! === sizes[0] && sizes[1]! + sizes[2]! > 19_990 && sizes[1]! + sizes[2]! <= 20_000);
      });
    }
  }

  test("what is short is whole, and an error is not said twice", () => {
    assert.equal(resultFrom({ status: "ok", stdout: "a".repeat(20_000) }).explain(), "a".repeat(20_000));
    const traceback = "Traceback …\nE: m\n";
    assert.equal(resultFrom({ status: "error", stderr: traceback, error_repr: "E: m", error: { traceback, hint: "do" } }).explain(), "Traceback …\nE: m\nHint: do");
    assert.equal(resultFrom({ status: "error", error_repr: "E: m" }).explain(), "E: m");
    assert.equal(resultFrom({ status: "timeout", session: { restarted: "killed" } }).explain(),
      "The run ended as timeout.\nThe session had been restarted (killed): names of earlier calls are gone.");
  });

  test("displays", () => {
    const many = resultFrom({ status: "ok", display: Array(60).fill({ data: { "image/png": "AA==" } }), display_dropped: 3 }).explain();
    assert.equal(many.split("[display: image/png]").length - 1, 50);
    assert.ok(many.includes("[10 more displays") && many.includes("[3 displays beyond"));
  });
});

test("members of another version disturb nothing", () => {
  const empty = resultFrom({});
  assert.ok(empty.error === null && empty.display.length === 0 && empty.usage.tool_calls.count === 0 && !empty.ok);
  assert.equal(resultFrom(null).stdout, "");
  const later = resultFrom({ status: "ok", later: 1, error: { type: "E", later: 2 }, files: [{ path: "p", content_base64: "AA==" }, null], session: { id: "s" } });
  assert.deepEqual([later.error?.type, later.error?.hint, later.files[0]?.content, (later as unknown as { later: number }).later], ["E", null, new Uint8Array([0]), 1]);
});

test("only an answer of pyexec says when to try again", () => {
  // The code may run behind a proxy, and retryAfterMs says that it never started.
  const answered = (body: string) =>
    problem({ status: 503, body: Buffer.from(body), header: (name) => (name === "Retry-After" ? "3" : "") } as Parameters<typeof problem>[0]);
  assert.equal(answered('{"status": 503, "code": "overloaded", "title": "full", "hint": ""}').retryAfterMs, 3000);
  for (const body of ["<h1>Service Unavailable</h1>", '{"error": "rate limit"}', '{"code": 503}', "[]", ""]) {
    const error = answered(body);
    assert.deepEqual([error.code, error.retryAfterMs, error.message.startsWith("HTTP 503: ")], ["internal", undefined, true]);
  }
});

test("errors of another version", () => {
  const next = errorFrom({ code: "next_years", message: "m", hint: "h" });
  assert.deepEqual([next.constructor, next.code, String(next)], [PyexecError, "next_years", "PyexecError: m (h)"]);
  const overloaded = errorFrom({ code: "overloaded", retry_after_ms: 1500 });
  assert.ok(overloaded instanceof OverloadedError && overloaded.retryAfterMs === 1500);
  assert.equal(errorFrom({ code: "overloaded" }, 2000).retryAfterMs, 2000);
  assert.equal(errorFrom({ code: 5, message: {} } as never).code, "internal");
});

test("JSON", () => {
  assert.equal(toJson({ a: new Set([1]), b: new Map([["__proto__", 1]]), c: Buffer.from("x"), d: new Date(0), e: [undefined], f: undefined, g: 9007199254740993n, h: new Uint8Array([1]).buffer }),
    '{"a":[1],"b":{"__proto__":1},"c":"eA==","d":"1970-01-01T00:00:00.000Z","e":[null],"g":"9007199254740993","h":"AQ=="}');
  assert.equal(toJson(() => 1), undefined);
  assert.throws(() => toJson({ a: [NaN] }), /JSON.*NaN/);
  let deep: unknown = 1;
  for (let level = 0; level < 100_000; level++) deep = [deep];
  assert.throws(() => toJson(deep), TypeError);
});

test("server-sent events, cut at any byte", async () => {
  const text = ': comment\n\nevent: stdout\nid: 7\ndata: {"text":"é🐍"}\n\nevent: a\r\ndata: 1\r\ndata: 2\r\n\r\ndata:x\n\nevent: cut\ndata: no';
  const bytes = Buffer.from(text);
  for (let size = 1; size < 12; size++) {
    async function* body(): AsyncGenerator<Buffer> {
      for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
    }
    const found = [];
    for await (const event of serverEvents(body())) found.push(event);
    assert.deepEqual(found, [{ name: "stdout", data: '{"text":"é🐍"}', id: "7" }, { name: "a", data: "1\n2", id: "7" }, { name: "", data: "x", id: "7" }]);
  }
});

describe("where the program is", () => {
  test("which package has it", () => {
    assert.equal(runtimePackage("linux", "x64", true), "pyexec-runtime-linux-x64-gnu");
    assert.equal(runtimePackage("linux", "x64", false), "pyexec-runtime-linux-x64-musl");
    assert.equal(runtimePackage("linux", "arm64", true), "pyexec-runtime-linux-arm64-gnu");
    assert.equal(runtimePackage("linux", "arm64", false), "pyexec-runtime-linux-arm64-musl");
    for (const [platform, arch, glibc] of [["linux", "ia32", true], ["linux", "arm", true], ["darwin", "arm64", false], ["win32", "x64", false]] as const)
      assert.equal(runtimePackage(platform, arch, glibc), undefined);
  });

  for (const platform of ["darwin", "win32"]) {
    test(`${platform}: the client says that it is remote only`, async () => {
      const real = Object.getOwnPropertyDescriptor(process, "platform")!;
      Object.defineProperty(process, "platform", { ...real, value: platform });
      try {
        await assert.rejects(new Pyexec({ program: PROGRAM }).executeOnce("1"), (failure: ProgramNotFoundError) =>
          failure instanceof ProgramNotFoundError && failure.message.includes(platform) && /runs on Linux.*only use a server.*Pyexec\.connect/.test(failure.hint));
      } finally {
        Object.defineProperty(process, "platform", real);
      }
    });
  }

  test("the argument, the environment and PATH, in this order", () => {
    const { PYEXEC, PATH } = process.env;
    try {
      assert.equal(findProgram("/bin/sh"), "/bin/sh");
      assert.equal(findProgram("sh"), "/usr/bin/sh");
      assert.equal(findProgram(), PROGRAM);
      process.env["PYEXEC"] = "";
      process.env["PATH"] = `/no/such:${PROGRAM.slice(0, PROGRAM.lastIndexOf("/"))}`;
      assert.equal(findProgram(), PROGRAM);
      process.env["PATH"] = "";
      assert.throws(() => findProgram(), ProgramNotFoundError);
    } finally {
      process.env["PYEXEC"] = PYEXEC;
      process.env["PATH"] = PATH;
    }
  });
});

test("the policy's keys and lists are the program's", () => {
  const effective = JSON.parse(execFileSync(PROGRAM, ["policy", "--config", "/dev/null"], { encoding: "utf8", env: { PATH: "/usr/bin:/bin" } })) as Record<string, unknown>;
  assert.deepEqual([...DEFAULT_ALLOWED_IMPORTS], effective["allowed_imports"]);
  assert.deepEqual([...DEFAULT_BANNED_IMPORTS], effective["banned_imports"]);
});

test("every key of a result is a member, and the request's members are the program's", async () => {
  const px = new Pyexec();
  const result = await px.session().execute("display(1)\n1 / 0");
  const members = resultFrom({ error: {}, usage: {}, session: {}, display: [{}] });
  const keys = (value: unknown): string[] => Object.keys(value as object).sort();
  assert.deepEqual(keys(result), keys(members));
  for (const part of ["error", "usage", "session"] as const) assert.deepEqual(keys(result[part]), keys(members[part]), part);
  assert.deepEqual(keys(result.display[0]), keys(members.display[0]));
  await assert.rejects(px.executeOnce("1", { nosuch: 1 } as object), (failure: PyexecError) => {
    const known = failure.hint.split("has ")[1]!.split(";")[0]!.split(", ");
    // Typed, so that a member that is not in Request does not compile. The client itself sets the others.
    const own: Array<keyof Request> = ["policy", "timeout_ms", "print_last_expression", "working_dir", "workspace", "env", "stdin", "files", "return_files", "inputs", "value_json", "traceparent", "tracestate", "checkpoint"];
    const others = ["code", "session_policy", "policy_defaults", "silent", "tools"];
    assert.deepEqual(known.filter((name) => !others.includes(name)).sort(), own.sort());
    return true;
  });
  await px.close();
});

test("wrong uses do not compile", () => {
  const never = (): void => {
    const px = new Pyexec();
    // @ts-expect-error no such key
    const policy: Policy = { timeuot_ms: 1 };
    // @ts-expect-error no text
    void px.executeOnce("1", { timeout_ms: "1s" });
    // @ts-expect-error no such member
    void px.executeOnce("1").then((result: Result) => result.stduot);
    void policy;
  };
  assert.equal(typeof never, "function");
});

describe("what the adapters share", () => {
  test("names that Python allows", () => {
    const given = ["get-price", "class", "1st", "print", "tools", "ok", "_x", "é"];
    assert.deepEqual(given.map((name) => freeName(name, {})), ["get_price", "class_tool", "tool_1st", "print_tool", "tools_tool", "ok", "tool__x", "tool__"]);
    assert.equal(freeName("a-b", { a_b: 1, a_b_2: 1 }), "a_b_3");
  });

  test("every name that pyexec refuses is changed", () => {
    const refused = execFileSync("/usr/bin/python3", ["-c", "import builtins, keyword\nprint(*keyword.kwlist, *(n for n in dir(builtins) if not n.startswith('_')))"], { encoding: "utf8" });
    for (const name of refused.trim().split(" ")) assert.equal(freeName(name, {}), name + "_tool");
  });

  test("descriptions", () => {
    assert.match(describePolicy({}), /no others: math, .* It has no files\. It has no network, and 5 s/);
    assert.match(describePolicy({ use_import_whitelist: false, banned_imports: [], disable_open: false, allow_readonly_open: true, disable_networking: false, timeout_ms: 1500 }, false),
      /begins anew with each call.*any module.*for reading.*the network, and 1\.5 s/);
    const tools = {};
    addTool(tools, "f", { description: "Does\n it.", execute: () => 1, returns: { type: "object" }, parameters: { type: "object", required: ["b"], properties: {
      a: { type: "integer", default: 3 }, b: { type: "string" }, c: { default: [1] }, d: true, e: { type: "boolean", default: true } } } });
    assert.match(describeTools(tools, {}), /\n- f\(b: str, a: int = 3, c = \.\.\., d = \.\.\., e: bool = True\) -> dict: Does it\.$/);
    assert.ok(!describeTools(tools, {}).includes("gather") && describeTools(tools, { use_import_whitelist: false }).includes("gather"));
    assert.equal(describeTools({}, {}), "");
  });
});

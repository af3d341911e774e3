// SPDX-License-Identifier: Apache-2.0
/** What the adapters share: they make pyexec tools of a framework's tools, and write the descriptions for the model. */
import { ToolDenied, type Approve, type JsonSchema, type Tool, type ToolContext } from "./tools.js";
import { DEFAULT_ALLOWED_IMPORTS, DEFAULT_BANNED_IMPORTS, type Policy } from "./types.js";

/** The JSON Schema of the arguments that a model sends. */
export const CODE_SCHEMA = {
  type: "object", required: ["code"], additionalProperties: false,
  properties: { code: { type: "string", description: "Python code. Its output and the value of its last expression are returned." } },
} as const;

/** Keywords and built-in names of Python, which a tool may not have (src/policy/tools.c). */
const REFUSED = new Set((
  "ArithmeticError AssertionError AttributeError BaseException BaseExceptionGroup BlockingIOError BrokenPipeError " +
  "BufferError BytesWarning ChildProcessError ConnectionAbortedError ConnectionError ConnectionRefusedError " +
  "ConnectionResetError DeprecationWarning EOFError Ellipsis EncodingWarning EnvironmentError Exception ExceptionGroup " +
  "False FileExistsError FileNotFoundError FloatingPointError FutureWarning GeneratorExit IOError ImportError " +
  "ImportWarning IndentationError IndexError InterruptedError IsADirectoryError KeyError KeyboardInterrupt LookupError " +
  "MemoryError ModuleNotFoundError NameError None NotADirectoryError NotImplemented NotImplementedError OSError " +
  "OverflowError PendingDeprecationWarning PermissionError ProcessLookupError PythonFinalizationError RecursionError " +
  "ReferenceError ResourceWarning RuntimeError RuntimeWarning StopAsyncIteration StopIteration SyntaxError SyntaxWarning " +
  "SystemError SystemExit TabError TimeoutError ToolError True TypeError UnboundLocalError UnicodeDecodeError " +
  "UnicodeEncodeError UnicodeError UnicodeTranslateError UnicodeWarning UserWarning ValueError Warning ZeroDivisionError " +
  "abs aio aiter all and anext any as ascii assert async await bin bool break breakpoint bytearray bytes callable chr " +
  "class classmethod compile complex continue copyright credits def del delattr dict dir display divmod elif else " +
  "enumerate eval except exec exit filter finally float for format from frozenset getattr global globals hasattr hash " +
  "help hex id if import in input int is isinstance issubclass iter lambda len license list locals map max memoryview min " +
  "next nonlocal not object oct open or ord pass pow print property quit raise range repr return reversed round set " +
  "setattr slice sorted staticmethod str sum super tools try tuple type vars while with yield zip "
).split(" "));

const TYPES: Readonly<Record<string, string>> = {
  string: "str", integer: "int", number: "float", boolean: "bool", array: "list", object: "dict", null: "None" };

/** A name that Python and pyexec allow, and that no tool has yet. */
export function freeName(name: string, taken: Readonly<Record<string, unknown>>): string {
  let word = name.replace(/[^A-Za-z0-9_]/g, "_");
  if (!/^[A-Za-z]/.test(word)) word = "tool_" + word;
  if (REFUSED.has(word)) word += "_tool";
  let free = word;
  for (let number = 2; Object.hasOwn(taken, free); number++) free = `${word}_${number}`;
  return free;
}

/**
 * Adds a framework's tool to `tools`, under a name that Python allows. If that is another name, the description has the original one.
 */
export function addTool(tools: Record<string, Tool>, name: string, given: Tool): void {
  const free = freeName(name, tools);
  const text = (given.description ?? "").trim();
  const description = free === name ? text : `${text}\n\nThe tool is called '${name}' elsewhere.`.trim();
  tools[free] = { ...given, parameters: given.parameters ?? { type: "object" }, description: description || undefined };
}

/** Asks for the approval of a call that a framework's own rule wants. Throws ToolDenied if it is not given. */
export async function ensureApproved(approve: Approve | undefined, name: string, args: Readonly<Record<string, unknown>>, context: ToolContext): Promise<void> {
  if (!approve) throw new ToolDenied("it needs an approval, which a program can't wait for");
  const said = await approve({ name, arguments: args, callId: context.callId, sessionId: context.sessionId }, { signal: context.signal });
  if (said === true || (typeof said === "object" && "allow" in said && said.allow === true)) return;
  throw new ToolDenied((typeof said === "object" && "deny" in said && said.deny) || "it was not approved");
}

/** A text that tells a model about the limits of this policy, before its first call. */
export function describePolicy(policy: Policy, keepsState = true): string {
  let imports = `It may import these modules and no others: ${(policy.allowed_imports ?? DEFAULT_ALLOWED_IMPORTS).join(", ")}.`;
  if (policy.use_import_whitelist === false) {
    const banned = (policy.banned_imports ?? DEFAULT_BANNED_IMPORTS).join(", ");
    imports = banned ? `It may import modules, but none of: ${banned}.` : "It may import any module that is there.";
  }
  const files = policy.disable_open ?? true ? "It has no files." : `Files: open() with relative paths${policy.allow_readonly_open ? ", for reading" : ""}.`;
  const hosts = (policy.allowed_hosts ?? []).join(", ");
  const network = hosts ? `a network with only these hosts, over a proxy that HTTP clients find by themselves (aiohttp: trust_env=True): ${hosts}`
    : policy.disable_networking ?? true ? "no network" : "the network";
  return `Runs Python code in a sandbox that ${keepsState ? "keeps variables between calls" : "begins anew with each call"}. ` +
    "The value of the last expression is returned, so print() is not needed for it. " +
    `${imports} ${files} It has ${network}, and ${(policy.timeout_ms ?? 5000) / 1000} s for each call. ` +
    "Read the hint of an error: it says what to do instead.";
}

/** A paragraph for the description that a model reads: a line for each tool. Empty without tools. */
export function describeTools(tools: Readonly<Record<string, Tool>>, policy: Policy): string {
  const names = Object.entries(tools);
  if (!names.length) return "";
  const atOnce = mayGather(policy) ? "; several at once: import asyncio, tools, then await asyncio.gather(tools.aio.NAME(...), ...)" : "";
  const lines = names.map(([name, { description, parameters, returns }]) => {
    const text = (description ?? "").split(/\s+/).filter((word) => word).join(" ");
    return `- ${name}${signature(parameters as JsonSchema | undefined, returns as JsonSchema | undefined)}${text ? ": " + text : ""}`;
  });
  return [`\n\nThe code can call these functions, many in one program${atOnce}. One that fails raises ToolError.`, ...lines].join("\n");
}

function mayGather(policy: Policy): boolean {
  if (policy.use_import_whitelist ?? true) return (policy.allowed_imports ?? DEFAULT_ALLOWED_IMPORTS as readonly string[]).includes("asyncio");
  return !(policy.banned_imports ?? DEFAULT_BANNED_IMPORTS as readonly string[]).includes("asyncio");
}

/** The signature in Python's syntax, which needs required parameters first. */
function signature(schema: JsonSchema = {}, returns: JsonSchema = {}): string {
  const properties = Object.entries((schema["properties"] ?? {}) as Record<string, JsonSchema | boolean>);
  const required = (schema["required"] ?? []) as readonly string[];
  const isRequired = ([name]: [string, unknown]): boolean => required.includes(name);
  const ordered = [...properties.filter(isRequired), ...properties.filter((one) => !isRequired(one))];
  const parts = ordered.map((one) => declared(one[0], typeof one[1] === "object" ? one[1] : {}, isRequired(one)));
  const returned = TYPES[String(returns["type"])];
  return `(${parts.join(", ")})${returned ? " -> " + returned : ""}`;
}

function declared(name: string, schema: JsonSchema, required: boolean): string {
  const kind = TYPES[String(schema["type"])];
  const text = kind ? `${name}: ${kind}` : name;
  if (required) return text;
  const shown = python(schema["default"]);
  return `${text} = ${shown.length <= 100 ? shown : "..."}`;
}

/** A simple JSON value in Python's syntax; "..." for all others. */
function python(value: unknown): string {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  return typeof value === "number" || typeof value === "string" ? JSON.stringify(value) : "...";
}

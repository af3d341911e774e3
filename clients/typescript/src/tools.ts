// SPDX-License-Identifier: Apache-2.0
/**
 * Tools: functions of this program that a script calls (docs/tools.md, From TypeScript).
 *
 *     await px.executeOnce("lookup('Paris')", { tools: { lookup: { parameters: schema, execute: ({ city }) => … } } })
 */
import { toJson } from "./json.js";
import { noSuchTool, type Answer, type Call } from "./transport.js";

/** A JSON Schema. */
export type JsonSchema = Readonly<Record<string, unknown>>;

/** What a schema library (zod 4.2 and later, ArkType, Valibot with its JSON Schema package) says about a schema: standardschema.dev. */
export interface StandardSchema<Output = unknown> {
  readonly "~standard": {
    readonly validate: (value: unknown) => Validated<Output> | Promise<Validated<Output>>;
    readonly jsonSchema?: { readonly input: (options: { readonly target: "draft-2020-12" }) => Record<string, unknown> } | undefined;
    readonly types?: { readonly input: unknown; readonly output: Output } | undefined;
  };
}

interface Issue {
  readonly message: string;
  readonly path?: ReadonlyArray<PropertyKey | { readonly key: PropertyKey }> | undefined;
}

type Validated<Output> = { readonly value: Output; readonly issues?: undefined } | { readonly issues: readonly Issue[] };

/** What a tool's function gets besides the arguments. */
export interface ToolContext {
  /** Aborted when the run has ended, because then nobody waits for the answer. */
  readonly signal: AbortSignal;
  readonly callId: string;
  /** The session that calls it, or null. */
  readonly sessionId: string | null;
}

/** A tool's function. It gets the arguments by name, in one object. Its value, or that of its promise, is the answer. */
export type ToolFunction<Arguments = any> = (args: Arguments, context: ToolContext) => unknown;

export interface Tool<Arguments = any> {
  readonly description?: string | undefined;
  /**
   * The schema of the arguments. Without one the script may pass any arguments by name. With a JSON Schema the function gets the script's JSON unchecked: do not trust it. With a schema of
   * zod or another library the function gets the arguments as this schema returns them.
   */
  readonly parameters?: JsonSchema | StandardSchema<Arguments> | undefined;
  /** The JSON Schema of the answer. */
  readonly returns?: JsonSchema | StandardSchema | undefined;
  /** True: each call needs a decision of `approve` first. */
  readonly approval?: boolean | undefined;
  readonly execute: ToolFunction<Arguments>;
}

/** Tools by name: functions, or functions with a description and schemas. */
export type Tools = Readonly<Record<string, Tool | ToolFunction>>;

/** A call of a tool with `approval: true`. */
export interface ApprovalCall {
  readonly name: string;
  readonly arguments: Readonly<Record<string, unknown>>;
  readonly callId: string;
  readonly sessionId: string | null;
}

export type Decision = boolean | { readonly allow: true } | { readonly deny: string };

/** Decides about a call. Anything but true or `{ allow: true }` refuses it, also an error. */
export type Approve = (call: ApprovalCall, context: { readonly signal: AbortSignal }) => Decision | Promise<Decision>;

/** Gives a tool the type of its arguments from its schema. */
export function tool<Arguments>(given: Tool<Arguments> & { readonly parameters: StandardSchema<Arguments> }): Tool<Arguments>;
export function tool<Arguments = any>(given: Tool<Arguments>): Tool<Arguments>;
export function tool(given: Tool): Tool {
  return given;
}

/** A tool throws this to refuse a call. The script gets a PermissionError with this reason. */
export class ToolDenied extends Error {
  override readonly name = "ToolDenied";
}

/**
 * A tool throws this when it fails. The script gets a ToolError with this message and, as `.data`, this JSON value. For any other error
 * the script gets a ToolError that only has the message.
 */
export class ToolError extends Error {
  override readonly name = "ToolError";

  constructor(message: string, readonly data: unknown = undefined, options?: ErrorOptions) {
    super(message, options);
  }
}

/** A tool as it is sent. */
export interface Definition {
  readonly name: string;
  readonly description?: string;
  readonly parameters?: JsonSchema;
  readonly returns?: JsonSchema;
  readonly approval?: true;
}

export interface Offered {
  readonly definition: Definition;
  readonly run: (args: Readonly<Record<string, unknown>>, context: ToolContext) => unknown;
}

function isStandard(schema: JsonSchema | StandardSchema): schema is StandardSchema {
  return typeof (schema as Partial<StandardSchema>)["~standard"] === "object";
}

/** Returns the JSON Schema of a schema. */
export function jsonSchemaOf(schema: JsonSchema | StandardSchema, what: string): JsonSchema {
  if (!isStandard(schema)) return schema;
  const own = (schema as { toJSONSchema?: unknown }).toJSONSchema;
  const found = schema["~standard"].jsonSchema?.input({ target: "draft-2020-12" }) ??
    (typeof own === "function" ? (own.call(schema, { io: "input" }) as Record<string, unknown>) : undefined);
  if (found === undefined) throw new TypeError(`${what}: this schema can't say its JSON Schema; use zod 4.2 or later, or give the JSON Schema`);
  const { $schema: _, ...rest } = found;
  return rest;
}

async function checked(schema: StandardSchema, args: unknown): Promise<unknown> {
  const found = await schema["~standard"].validate(args);
  if (found.issues === undefined) return found.value;
  throw new ToolError(found.issues.map((issue) => `${pathOf(issue) || "the arguments"}: ${issue.message}`).join("; "));
}

function pathOf(issue: Issue): string {
  return (issue.path ?? []).map((part) => String(typeof part === "object" ? part.key : part)).join(".");
}

/** Without a schema a script may pass any arguments by name. */
const ANY: JsonSchema = { type: "object", additionalProperties: true };

function makeTool(name: string, given: Tool | ToolFunction): Offered {
  const one: Tool = typeof given === "function" ? { execute: given } : given;
  if (typeof one?.execute !== "function") throw new TypeError(`tools: '${name}' is neither a function nor an object with the function \`execute\``);
  const schema = one.parameters;
  return {
    definition: {
      name,
      ...(one.description ? { description: one.description } : {}),
      parameters: schema ? jsonSchemaOf(schema, `tools: '${name}'`) : ANY,
      ...(one.returns ? { returns: jsonSchemaOf(one.returns, `tools: '${name}'`) } : {}),
      ...(one.approval ? { approval: true as const } : {}),
    },
    run: schema && isStandard(schema)
      ? async (args, context) => one.execute(await checked(schema, args), context)
      : (args, context) => one.execute(args, context),
  };
}

export function makeTools(...given: ReadonlyArray<Tools | undefined>): ReadonlyMap<string, Offered> {
  return new Map(given.flatMap((tools) => Object.entries(tools ?? {})).map(([name, one]) => [name, makeTool(name, one)]));
}

/** True if a key in the value would change what an object is, when a function copies its members one by one. */
function hasPrototype(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  return Object.hasOwn(value, "__proto__") || Object.values(value).some(hasPrototype);
}

function failure(error: unknown): Answer {
  if (error instanceof ToolDenied) return { deny: error.message || "the caller refused this call" };
  const message = error instanceof Error ? error.message || error.name : String(error);
  if (!(error instanceof ToolError) || error.data === undefined) return { error: { message } };
  try {
    return { error: { message, data: JSON.parse(toJson(error.data) ?? "null") } };
  } catch {
    return { error: { message } };      // its data is not JSON
  }
}

async function decide(approve: Approve | undefined, call: Call, signal: AbortSignal): Promise<Answer> {
  if (!approve) return { deny: "it needs an approval, and this client has no `approve` function" };
  try {
    const said = await approve({ name: call.name, arguments: call.arguments, callId: call.id, sessionId: call.sessionId }, { signal });
    if (said === true || (typeof said === "object" && "allow" in said && said.allow === true)) return { allow: true };
    return { deny: (typeof said === "object" && "deny" in said && said.deny) || "it was not approved" };
  } catch (error) {
    return { deny: error instanceof Error && error.message ? error.message : "it was not approved" };
  }
}

/** The tool calls of one execution. Several run at once. */
export class Calls {
  readonly #tools: ReadonlyMap<string, Offered>;
  readonly #approve: Approve | undefined;
  readonly #ending = new AbortController();

  constructor(tools: ReadonlyMap<string, Offered>, approve?: Approve) {
    this.#tools = tools;
    this.#approve = approve;
  }

  /** Starts the tool's function. It never throws. */
  take(call: Call): void {
    void this.#answerTo(call).then((answer) => {
      if (!this.#ending.signal.aborted) say(call, answer);
    });
  }

  async #answerTo(call: Call): Promise<Answer> {
    const signal = this.#ending.signal;
    const tool = this.#tools.get(call.name);
    if (!tool) return noSuchTool(call.approval);
    if (hasPrototype(call.arguments)) {
      const message = "an object in the arguments has the key '__proto__', which is not accepted";
      return call.approval ? { deny: message } : { error: { message } };
    }
    if (call.approval) return decide(this.#approve, call, signal);
    try {
      const value = await tool.run(call.arguments, { signal, callId: call.id, sessionId: call.sessionId });
      return { result: value ?? null };
    } catch (error) {
      return failure(error);
    }
  }

  /** Called after the execution: nobody waits for the functions that still run. */
  end(): void {
    this.#ending.abort(new Error("the execution has ended"));
  }
}

/** Sends the answer, or if it can't be sent, an error that says why. */
function say(call: Call, answer: Answer): void {
  try {
    call.answer(answer);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    call.answer({ error: { message: `tool '${call.name}' returned a value that can't be sent: ${message}` } });
  }
}

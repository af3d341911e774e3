// SPDX-License-Identifier: Apache-2.0
/** One request of the client: what is sent, and how its answer, its events, its tool calls and its cancellation come together. */
import { PyexecError } from "./errors.js";
import { Calls, makeTools, type Approve, type Offered, type Tools } from "./tools.js";
import type { Handlers, Params, Pending, Transport } from "./transport.js";
import type { Request, RunEvent } from "./types.js";

export interface Operation<T> {
  readonly method: string;
  readonly params: Params;
  readonly tools: ReadonlyMap<string, Offered>;
  readonly decode: (answer: unknown) => T;
}

/** The parts of a request that stay on this side and are not sent. */
export interface Local {
  readonly approve?: Approve | undefined;
  readonly onEvent?: ((event: RunEvent) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Gets the tool calls, in place of the operation's tools. */
  readonly onCall?: Handlers["onCall"];
  readonly onId?: Handlers["onId"];
}

const LOCAL = new Set(["tools", "approve", "onEvent", "signal"]);

/** Makes the params of a run. A field that is undefined is left out. */
export function executionParams(code: string, request: Request, more?: Tools): { params: Params; tools: ReadonlyMap<string, Offered> } {
  const params: Record<string, unknown> = {};
  for (const [key, value] of Object.entries(request)) if (!LOCAL.has(key) && value !== undefined) params[key] = value;
  if (request.files) {
    params["files"] = Object.fromEntries(Object.entries(request.files).map(([path, content]) => [
      path, typeof content === "string" ? content : { base64: content }]));
  }
  const tools = makeTools(more, request.tools);
  if (tools.size) params["tools"] = [...tools.values()].map((tool) => tool.definition);
  params["code"] = code;
  return { params, tools };
}

/** Sends a request. Its tool calls are answered until it ends. */
export function begin<T>(transport: Transport, operation: Operation<T>, local: Local): Pending {
  const calls = operation.tools.size ? new Calls(operation.tools, local.approve) : undefined;
  const pending = transport.call(operation.method, operation.params, {
    onEvent: local.onEvent,
    onCall: local.onCall ?? (calls && ((call) => calls.take(call))),
    onId: local.onId,
  });
  const end = (): void => calls?.end();
  pending.answer.then(end, end);
  return pending;
}

/** Sends a request, and waits for its answer. An abort, and an error of onEvent, cancel the run, and the call fails at once. */
export async function settle<T>(transport: Transport, operation: Operation<T>, local: Local): Promise<T> {
  const { signal, onEvent } = local;
  signal?.throwIfAborted();
  let fail: (reason: unknown) => void = () => undefined;
  const failed = new Promise<never>((_, reject) => (fail = reject));
  failed.catch(() => undefined);
  const pending = begin(transport, operation, { ...local, onEvent: onEvent && ((event) => {
    try {
      onEvent(event);
    } catch (failure) {
      fail(failure);
      pending.cancel();
    }
  }) });
  const abort = (): void => {
    fail(signal!.reason);
    pending.cancel();
  };
  signal?.addEventListener("abort", abort, { once: true });
  try {
    return operation.decode(await Promise.race([failed, pending.answer]));
  } catch (failure) {
    // The error was made where the answer was read. Its stack must name the caller.
    if (failure instanceof PyexecError) Error.captureStackTrace(failure, settle);
    throw failure;
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}

// SPDX-License-Identifier: Apache-2.0
/** Writes messages as JSON. Values that JSON can't have are refused here, where the error can name them. */
import { InvalidRequestError } from "./errors.js";

/** The limit of the protocol for one message. */
export const MESSAGE_BYTES = 32 << 20;

/** For JSON.stringify: `this` is the object that has the value, in which it has not gone through toJSON() yet. */
function replace(this: unknown, key: string, value: unknown): unknown {
  const given = (this as Record<string, unknown>)[key];
  if (given instanceof Uint8Array) return Buffer.from(given.buffer, given.byteOffset, given.byteLength).toString("base64");
  if (given instanceof ArrayBuffer) return Buffer.from(given).toString("base64");
  if (value instanceof Set) return [...value];
  if (value instanceof Map) return Object.fromEntries(value);
  if (typeof value === "bigint") return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER ? Number(value) : value.toString();
  if (typeof value === "number" && !Number.isFinite(value)) throw new TypeError(`JSON can't contain ${value}`);
  return value;
}

/**
 * Returns the value as JSON, or undefined if it has none (a function). A Set becomes a list, a Map an object, bytes become base64, a
 * bigint a number or, beyond 2^53, a text of its digits. NaN, an infinity and a value that has itself inside throw TypeError.
 */
export function toJson(value: unknown): string | undefined {
  try {
    return JSON.stringify(value, replace);
  } catch (failure) {
    if (failure instanceof RangeError) throw new TypeError(`the value has too many levels or is too large: ${failure.message}`);
    throw failure;
  }
}

/**
 * Returns a message as JSON. A message that is not JSON or is too long is refused here: the other side could not read its id, so no
 * answer could name it, and the call would wait for ever. The other side refuses all other errors itself.
 */
export function encode(message: Readonly<Record<string, unknown>>): Buffer {
  let line: Buffer;
  try {
    line = Buffer.from(toJson(message)!, "utf8");
  } catch (failure) {
    throw new InvalidRequestError(`this can't be sent as JSON: ${(failure as Error).message.split("\n")[0]}`, {
      hint: "Send null or a text instead.", cause: failure });
  }
  if (line.length >= MESSAGE_BYTES) {
    throw new InvalidRequestError(`the request has ${line.length} bytes of JSON, more than 32 MiB`, {
      hint: "Send less at once; files of a session can be written one by one." });
  }
  return line;
}

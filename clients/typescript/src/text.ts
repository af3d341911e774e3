// SPDX-License-Identifier: Apache-2.0
/** Text for models. It has at most TEXT_BYTES, so that one result can't fill a model's context. */
import type { Result } from "./types.js";

export const TEXT_BYTES = 20_000;
const HEAD_BYTES = 12_000;
const DISPLAYS_NAMED = 50;

/**
 * Returns the text. If it has more than TEXT_BYTES of UTF-8, its middle is left out, and a line says how much. The end is kept
 * because errors are there. Characters are never cut.
 */
export function bounded(text: string): string {
  const data = Buffer.from(text, "utf8");
  if (data.length <= TEXT_BYTES) return text;
  let head = HEAD_BYTES;
  let tail = data.length - (TEXT_BYTES - HEAD_BYTES);
  while ((data[head]! & 0xc0) === 0x80) head--;
  while ((data[tail]! & 0xc0) === 0x80) tail++;
  return `${data.toString("utf8", 0, head)}\n[... ${tail - head} bytes left out ...]\n${data.toString("utf8", tail)}`;
}

/**
 * True if stderr shows the error: its traceback, or error_repr. (The traceback of a syntax error does not contain error_repr.)
 */
function errorIsShown(result: Result): boolean {
  const traceback = (result.error?.traceback ?? "").replace(/^\n+|\n+$/g, "");
  return (traceback !== "" && result.stderr.includes(traceback)) || (!!result.error_repr && result.stderr.includes(result.error_repr));
}

/** Lines for the displays: the plain text of each, and the names of its other types. The last value's plain text is its repr. */
function displayLines(result: Result): string[] {
  const lines: string[] = [];
  for (const display of result.display.slice(0, DISPLAYS_NAMED)) {
    const plain = display.data["text/plain"];
    const types = Object.keys(display.data).filter((type) => type !== "text/plain");
    if (typeof plain === "string" && !display.last_value) lines.push(plain);
    if (types.length) lines.push(`[display: ${types.join(", ")}]`);
  }
  const more = result.display.length - DISPLAYS_NAMED;
  if (more > 0) lines.push(`[${more} more displays are not named]`);
  if (result.display_dropped) lines.push(`[${result.display_dropped} displays beyond the policy's limits were dropped]`);
  return lines;
}

/** Names the streams that the policy's limits cut. */
function cutLines(result: Result): string[] {
  const streams = [
    ["stdout", result.stdout_truncated, result.stdout_bytes],
    ["stderr", result.stderr_truncated, result.stderr_bytes],
  ] as const;
  return streams.filter(([, cut]) => cut).map(([name, , count]) => `[${name} is cut: the script wrote ${count} bytes]`);
}

export function explain(result: Result): string {
  const parts = [result.stdout.replace(/\n+$/, ""), result.stderr.replace(/\n+$/, "")];
  if (result.last_value_repr !== null) parts.push(result.last_value_repr + (result.last_value_truncated ? " [cut]" : ""));
  parts.push(...displayLines(result));
  if (result.error_repr && !errorIsShown(result)) parts.push(result.error_repr);
  if (result.status !== "ok" && result.status !== "error") parts.push(`The run ended as ${result.status}.`);
  parts.push(...cutLines(result));
  if (result.session?.restored) parts.push("The session is as it was before this call: its variables and files.");
  if (result.session?.restarted)
    parts.push(`The session had been restarted (${result.session.restarted}): names of earlier calls are gone.`);
  const hint = result.error?.hint;
  if (hint && !parts.some((part) => part.includes(hint))) parts.push("Hint: " + hint);
  return bounded(parts.filter((part) => part).join("\n"));
}

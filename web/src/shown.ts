// SPDX-License-Identifier: Apache-2.0
// The output of a run as data. The page shows it, and can keep it over a reload.
import type {Denial, Display, Result} from "./api.js";
import {size} from "./dom.js";

const MOST_FILES = 10;

export type Shown = Display & {last_value?: boolean};

/** How a run ended: the parts of its result that the page shows below the output. */
export interface Ending {
  status: string;
  exit_code: number;
  usage: Result["usage"];
  value: string | null;
  error: Result["error"];
  error_repr: string | null;
  denials: Denial[];
  denials_dropped: number;
  /** Notes for the user, for example about missing output. */
  losses: string[];
  notes: string[];
}

export type Entry =
  | {kind: "stdout" | "stderr"; text: string}
  | {kind: "display"; display: Shown}
  | {kind: "end"; ending: Ending}
  | {kind: "error"; ename: string; evalue: string; traceback: string}      // only from a notebook file
  | {kind: "failure"; message: string; hint: string}
  | {kind: "note"; text: string};

export function ending(result: Result, valueShown: boolean): Ending {
  const {status, exit_code, usage, error, error_repr, denials, denials_dropped} = result;
  const value = valueShown ? null : result.last_value_repr;
  return {status, exit_code, usage, value, error, error_repr, denials, denials_dropped, losses: losses(result), notes: notes(result)};
}

function losses(result: Result): string[] {
  const list: string[] = [];
  if (result.stdout_truncated) list.push(`The cell printed ${size(result.stdout_bytes)}: the rest was dropped (max_stdout_bytes).`);
  if (result.stderr_truncated) list.push(`The cell wrote ${size(result.stderr_bytes)} to standard error: the rest was dropped (max_stderr_bytes).`);
  if (result.last_value_truncated) list.push("The value is cut off (max_value_bytes).");
  if (result.display_dropped) list.push(`Displays that are not shown: ${result.display_dropped} (max_displays, max_display_bytes).`);
  return list;
}

function notes(result: Result): string[] {
  const list: string[] = [], files = result.files.slice(0, MOST_FILES).map(file => `${file.path} (${file.change})`);
  if (result.session?.restarted) list.push(`The session was restarted (${result.session.restarted}): its variables and files are lost.`);
  if (result.missing_layers.length) list.push(`Layers of the sandbox that this run did not have: ${result.missing_layers.join(", ")}.`);
  const more = result.files.length - files.length;
  if (files.length) list.push(`Files: ${files.join(", ")}${more ? `, and ${more} more` : ""}.`);
  return list;
}

// SPDX-License-Identifier: Apache-2.0
// Cells and their outputs as a notebook file of Jupyter: nbformat 4.5.
import type {Display} from "./api.js";
import {isId, newId, type CellContent} from "./ipynb.js";
import type {Ending, Entry} from "./shown.js";

type Json = Record<string, unknown>;

/** Text in Jupyter's form: a list of lines with their ends. */
const lines = (text: string): string[] => text.match(/[^\n]*\n|[^\n]+$/g) ?? [];

const error = (ename: string, evalue: string, traceback: string[]): Json => ({output_type: "error", ename, evalue, traceback});

const stderr = (text: string): Json => ({output_type: "stream", name: "stderr", text: lines(text)});

/** JSON types may have any value, all others have text. */
function bundle(data: Display["data"]): Json {
  const rows = Object.entries(data).map(([type, value]) =>
    [type, /^application\/(.*\+)?json$/.test(type) ? value : lines(typeof value === "string" ? value : JSON.stringify(value))]);
  return Object.fromEntries(rows);
}

function display({data, metadata, last_value}: (Entry & {kind: "display"})["display"], count: number | null): Json {
  const shown = {data: bundle(data), metadata: metadata ?? {}};
  return last_value ? {output_type: "execute_result", execution_count: count, ...shown} : {output_type: "display_data", ...shown};
}

function endingOutputs(end: Ending, count: number | null): Json[] {
  const list: Json[] = [];
  if (end.value !== null)
    list.push({output_type: "execute_result", execution_count: count, data: {"text/plain": lines(end.value)}, metadata: {}});
  if (end.losses.length) list.push(stderr(end.losses.map(text => text + "\n").join("")));
  if (end.error) {
    const {type, message, traceback, hint} = end.error;
    const shown = traceback.trimEnd() || `${type}: ${message}`;
    list.push(error(type, message, [...shown.split("\n"), ...hint && !shown.includes(hint) ? ["", `Hint: ${hint}`] : []]));
  } else if (end.status !== "ok") {
    list.push(error(end.status, end.error_repr ?? "", [end.error_repr ?? `The run ended with the status ${end.status}.`]));
  }
  return list;
}

function outputs(entries: Entry[], count: number | null): Json[] {
  return entries.flatMap(entry => output(entry, count));
}

function output(entry: Entry, count: number | null): Json[] {
  switch (entry.kind) {
    case "stdout":
    case "stderr": return [{output_type: "stream", name: entry.kind, text: lines(entry.text)}];
    case "display": return [display(entry.display, count)];
    case "end": return endingOutputs(entry.ending, count);
    case "error": return [error(entry.ename, entry.evalue, entry.traceback.split("\n"))];
    case "failure": return [error("pyexec", entry.message, [entry.message, entry.hint])];
    case "note": return [stderr(entry.text + "\n")];
  }
}

/** Cells keep the ids of a loaded file. No two ids are the same. */
function ids(cells: CellContent[]): string[] {
  const used = new Set<string>();
  return cells.map(({id}) => {
    let own = id;
    while (!isId(own) || used.has(own)) own = newId();
    used.add(own);
    return own;
  });
}

export function notebookFile(cells: CellContent[]): string {
  const own = ids(cells);
  return JSON.stringify({
    cells: cells.map(({code, count, entries}, i) => ({
      cell_type: "code", execution_count: count, id: own[i], metadata: {}, outputs: outputs(entries, count), source: lines(code),
    })),
    metadata: {
      kernelspec: {display_name: "Python 3", language: "python", name: "python3"},
      language_info: {name: "python"},
    },
    nbformat: 4,
    nbformat_minor: 5,
  }, null, 1) + "\n";
}

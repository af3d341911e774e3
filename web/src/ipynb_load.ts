// SPDX-License-Identifier: Apache-2.0
// Reads a notebook file of Jupyter (nbformat 4). The file may come from anybody. Only text and the types of outputs
// below are taken from it, and the page shows these outputs as it shows those of a script.
import {isId, newId, type CellContent} from "./ipynb.js";
import type {Entry} from "./shown.js";

const MOST_CELLS = 500, MOST_OUTPUTS = 1000, QUOTED = 40;
const TEXT_TYPES = ["text/html", "image/svg+xml", "text/plain"];
const PICTURE_TYPES = ["image/png", "image/jpeg"];

/** Why a file is not loaded. The user who chose it sees this text. */
export class Refused extends Error {}

type Json = Record<string, unknown>;

const isObject = (value: unknown): value is Json => typeof value === "object" && value !== null && !Array.isArray(value);

const quoted = (value: unknown): string => `“${String(typeof value === "object" ? JSON.stringify(value) : value).slice(0, QUOTED)}”`;

/** Text is a string or a list of strings; null: it is neither. */
function text(value: unknown): string | null {
  if (typeof value === "string") return value;
  return Array.isArray(value) && value.every(part => typeof part === "string") ? value.join("") : null;
}

/** Jupyter colors tracebacks with the control sequences of terminals. */
const withoutColors = (line: string) => line.replace(/\x1b\[[0-9;]*m/g, "");

class Reader {
  private outputs = 0;
  private notShown = 0;
  private comments = 0;

  notes(): string[] {
    const list: string[] = [];
    if (this.comments) list.push(`Cells of text, which are comments here: ${this.comments}.`);
    if (this.notShown) list.push(`Outputs of types that this page does not load: ${this.notShown}.`);
    return list;
  }

  cell(value: unknown, number: number): CellContent {
    if (!isObject(value)) throw new Refused(`Its cell ${number} is not an object.`);
    const {cell_type: type, outputs = []} = value, source = text(value["source"]);
    if (type !== "code" && type !== "markdown" && type !== "raw") throw new Refused(`Its cell ${number} has the unknown type ${quoted(type)}.`);
    if (source === null) throw new Refused(`The source of cell ${number} is not text.`);
    const id = isId(value["id"]) ? value["id"] : newId();
    if (type !== "code") {
      this.comments++;
      return {id, code: source.split("\n").map(line => `# ${line}`.trimEnd()).join("\n"), count: null, entries: []};
    }
    if (!Array.isArray(outputs)) throw new Refused(`The outputs of cell ${number} are not a list.`);
    this.outputs += outputs.length;
    if (this.outputs > MOST_OUTPUTS) throw new Refused(`It has more than ${MOST_OUTPUTS} outputs, the most that this page loads.`);
    return {id, code: source, count: null, entries: outputs.flatMap(output => this.output(output, number))};
  }

  private output(value: unknown, cell: number): Entry[] {
    const wrong = (what: string) => new Refused(`An output of cell ${cell} ${what}.`);
    if (!isObject(value)) throw wrong("is not an object");
    const {output_type: type, name, data, traceback} = value;
    if (type === "stream") {
      const content = text(value["text"]);
      if (content === null) throw wrong("has no text");
      return [{kind: name === "stderr" ? "stderr" : "stdout", text: content}];
    }
    if (type === "error") {
      if (!Array.isArray(traceback) || text(traceback) === null) throw wrong("has no traceback");
      const [ename, evalue] = [text(value["ename"]), text(value["evalue"])];
      if (ename === null || evalue === null) throw wrong("has no error");
      return [{kind: "error", ename, evalue, traceback: withoutColors(traceback.join("\n"))}];
    }
    if (type !== "display_data" && type !== "execute_result") throw wrong(`has the unknown type ${quoted(type)}`);
    if (!isObject(data)) throw wrong("has no data");
    const shown = this.bundle(data, wrong);
    if (Object.keys(shown).length) return [{kind: "display", display: {data: shown, last_value: type === "execute_result"}}];
    this.notShown++;
    return [];
  }

  private bundle(data: Json, wrong: (what: string) => Refused): Record<string, string> {
    const shown: Record<string, string> = {};
    for (const type of [...TEXT_TYPES, ...PICTURE_TYPES]) {
      if (!Object.hasOwn(data, type)) continue;
      const content = text(data[type]);
      if (content === null) throw wrong(`has ${type} that is not text`);
      if (PICTURE_TYPES.includes(type) && !/^[A-Za-z0-9+/\s]*={0,2}\s*$/.test(content)) throw wrong(`has ${type} that is not base64`);
      shown[type] = content;
    }
    return shown;
  }
}

function parse(bytes: ArrayBuffer): Json {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", {fatal: true}).decode(bytes));
  } catch (failure) {
    throw new Refused(failure instanceof SyntaxError ? "It is not a notebook: it is not JSON." : "It is not a notebook: it is not UTF-8 text.");
  }
  if (!isObject(value) || !("nbformat" in value)) throw new Refused("It is JSON, but not a notebook: it has no nbformat.");
  return value;
}

/** Returns the language of the notebook if it is not Python. */
function otherLanguage({metadata}: Json): unknown {
  if (!isObject(metadata)) return null;
  const of = (key: string, name: string) => isObject(metadata[key]) ? (metadata[key] as Json)[name] : undefined;
  const language = of("language_info", "name") ?? of("kernelspec", "language") ?? "python";
  return /^i?python\d?$/i.test(String(language)) ? null : language;
}

export function loadNotebook(bytes: ArrayBuffer): {cells: CellContent[]; notes: string[]} {
  const file = parse(bytes), {cells, nbformat} = file;
  if (nbformat !== 4) {
    throw new Refused(`Its format is version ${quoted(nbformat)}; this page reads version 4.`
      + (Number(nbformat) < 4 ? " Jupyter can convert it: jupyter nbconvert --to notebook FILE" : ""));
  }
  if (!Array.isArray(cells)) throw new Refused("It has no list of cells.");
  if (cells.length > MOST_CELLS) throw new Refused(`It has ${cells.length} cells; this page holds at most ${MOST_CELLS}.`);
  const reader = new Reader(), language = otherLanguage(file);
  const contents = cells.map((cell, i) => reader.cell(cell, i + 1));
  const notes = reader.notes();
  if (language !== null) notes.unshift(`It is written in ${quoted(language)}; its cells run as Python here.`);
  return {cells: contents, notes};
}

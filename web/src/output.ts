// SPDX-License-Identifier: Apache-2.0
// The output of one run of a cell so far, and how the run ended.
import {Problem, type Denial, type Result} from "./api.js";
import {show} from "./display.js";
import {duration, el, size} from "./dom.js";
import {ending, type Ending, type Entry, type Shown} from "./shown.js";

const SHOWN_CHARACTERS = 2_000_000;     // limit for the streams of one cell, so that the page stays usable

const STATUSES: Record<string, string> = {
  ok: "done", error: "error", timeout: "time limit", cpu_limit: "CPU limit", memory_limit: "memory limit",
  killed: "killed", crashed: "crashed", cancelled: "cancelled",
};

interface Block {
  entry: Entry & {kind: "stdout" | "stderr"};
  element: HTMLElement;
  node: Text;
}

export class Output {
  readonly element = el("div", {class: "output", role: "log", "aria-label": "Output"});
  /** The same as data, in order of arrival. */
  private entries: Entry[] = [];
  private written: string | null = null;
  /** True for output from before a reload: it is not shown before the session is known. */
  private held = false;
  /** Called for each block whose text has grown. */
  onGrowth: (block: HTMLElement) => void = () => {};
  private last: Block | null = null;
  private stderr: Block | null = null;
  private characters = 0;
  private displays = 0;
  private lastValueShown = false;

  clear(): void {
    this.element.replaceChildren();
    this.entries = [];
    this.written = null;
    this.held = false;
    this.last = this.stderr = null;
    this.characters = this.displays = 0;
    this.lastValueShown = false;
  }

  stream(name: "stdout" | "stderr", text: string): void {
    const room = SHOWN_CHARACTERS - this.characters;
    this.characters += text.length;
    if (room <= 0) return;
    if (this.last?.entry.kind !== name) this.last = this.block(name);
    const shown = text.slice(0, room);
    this.last.entry.text += shown;
    this.last.node.appendData(shown);
    this.onGrowth(this.last.element);
    this.written = null;
    if (text.length > room) this.note("The page shows no more of this output.");
  }

  /** The complete output as text. */
  get text(): string {
    const parts = this.element.querySelectorAll("pre, .headline, .hint, .note");
    return [...parts].map(part => part.textContent!.trimEnd()).join("\n");
  }

  display(display: Shown): void {
    this.displays++;
    this.lastValueShown ||= display.last_value === true;
    this.add({kind: "display", display}, show(display));
  }

  end(result: Result): void {
    for (const display of result.display.slice(this.displays)) this.display(display);
    if (result.error) this.dropTraceback(result.error.traceback);
    const end = ending(result, this.lastValueShown);
    this.add({kind: "end", ending: end}, ...endingElements(end));
  }

  fail({message, hint}: Problem): void {
    this.add({kind: "failure", message, hint}, el("div", {class: "error"},
      el("p", {class: "headline"}, message), hint && el("p", {class: "hint"}, hint)));
  }

  note(text: string): void {
    this.add({kind: "note", text}, note(text));
  }

  // ---- As data ----

  /** Its entries as JSON. */
  get json(): string {
    return this.written ??= JSON.stringify(this.entries);
  }

  /** Takes the output of an earlier page; reveal() shows it, clear() drops it. */
  hold(entries: Entry[]): void {
    this.clear();
    this.entries = entries;
    this.held = true;
  }

  reveal(): void {
    if (!this.held) return;
    const entries = this.entries;
    this.clear();
    try {
      for (const entry of entries) this.again(entry);
    } catch {
      this.clear();     // this page did not write it
    }
  }

  get data(): readonly Entry[] {
    return this.entries;
  }

  get isHeld(): boolean {
    return this.held;
  }

  private again(entry: Entry): void {
    if (entry.kind === "stdout" || entry.kind === "stderr") this.stream(entry.kind, entry.text);
    else if (entry.kind === "display") this.display(entry.display);
    else if (entry.kind === "end") this.add(entry, ...endingElements(entry.ending));
    else if (entry.kind === "error") this.add(entry, loadedError(entry));
    else if (entry.kind === "failure") this.fail(new Problem(0, "", entry.message, entry.hint));
    else if (entry.kind === "note") this.note(entry.text);
  }

  private add(entry: Entry, ...elements: HTMLElement[]): void {
    this.last = null;
    this.written = null;
    this.entries.push(entry);
    this.element.append(...elements);
  }

  private block(name: "stdout" | "stderr"): Block {
    const node = document.createTextNode(""), label = name === "stdout" ? "Printed" : "Standard error";
    const element = el("pre", {class: name, tabindex: 0, role: "group", "aria-label": label}, node);
    const block: Block = {entry: {kind: name, text: ""}, element, node};
    this.add(block.entry, element);
    if (name === "stderr") this.stderr = block;
    return block;
  }

  /** Python prints the traceback on standard error too. It is shown only once, with its hint. */
  private dropTraceback(traceback: string): void {
    const block = this.stderr, text = traceback.trimEnd();
    const shown = block?.entry.text.trimEnd() ?? "";
    if (!block || !text || !shown.endsWith(text)) return;
    block.entry.text = block.node.data = shown.slice(0, -text.length);
    if (block.entry.text) return;
    this.entries.splice(this.entries.indexOf(block.entry), 1);
    block.element.remove();
  }
}

const note = (text: string) => el("p", {class: "note"}, text);

function endingElements(end: Ending): HTMLElement[] {
  const list: HTMLElement[] = [...end.losses, ...end.notes].map(note);
  if (end.value !== null) list.unshift(el("pre", {class: "value", tabindex: 0, role: "group", "aria-label": "Value"}, end.value));
  if (end.error || end.error_repr) list.push(errorBox(end));
  if (end.denials.length) list.push(denials(end.denials, end.denials_dropped, end.error?.hint));
  list.push(el("p", {class: `ending ${end.status === "ok" ? "good" : "bad"}`},
    el("span", {class: "status"}, STATUSES[end.status] ?? end.status),
    ` ${duration(end.usage.wall_ms)} · ${duration(end.usage.cpu_ms)} CPU · ${size(end.usage.peak_memory_bytes)}`,
    end.exit_code ? ` · exit code ${end.exit_code}` : ""));
  return list;
}

function errorBox({error, error_repr}: Ending): HTMLElement {
  const where = error?.line ? el("span", {class: "where"}, ` line ${error.line}`) : null;
  // The message of a refusal ends with its hint, which is already shown below.
  const hint = error?.hint ?? "", repr = error_repr ?? "";
  const headline = hint && repr.endsWith(hint) ? repr.slice(0, -hint.length).trimEnd() : repr;
  return el("div", {class: "error"}, el("p", {class: "headline"}, headline, where),
    hint && el("p", {class: "hint"}, hint), tracebackOf(error?.traceback ?? "", !hint));
}

function tracebackOf(text: string, open: boolean): HTMLElement | null {
  return text.trim() ? el("details", {open}, el("summary", {}, "Traceback"),
    el("pre", {tabindex: 0, role: "group", "aria-label": "Traceback"}, text.trimEnd())) : null;
}

function loadedError({ename, evalue, traceback}: Entry & {kind: "error"}): HTMLElement {
  return el("div", {class: "error"}, el("p", {class: "headline"}, evalue ? `${ename}: ${evalue}` : ename), tracebackOf(traceback, true));
}

function denials(list: Denial[], dropped: number, said: string | null | undefined): HTMLElement {
  const rows = list.map(denial => el("li", {},
    el("span", {class: "layer"}, denial.layer), " ", el("code", {}, denial.what),
    denial.line ? ` line ${denial.line}` : "",
    denial.hint && denial.hint !== said && el("span", {class: "hint"}, denial.hint)));
  if (dropped) rows.push(el("li", {}, `and ${dropped} more`));
  return el("div", {class: "denials"}, el("p", {class: "title"}, "Refused"), el("ul", {}, ...rows));
}

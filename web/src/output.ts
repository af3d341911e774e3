// SPDX-License-Identifier: Apache-2.0
// What one run of a cell has shown so far, and how it ended.
import type {Denial, Display, Problem, Result} from "./api.js";
import {show} from "./display.js";
import {duration, el, size} from "./dom.js";

const SHOWN_CHARACTERS = 2_000_000;     // of one cell's streams: the page must stay usable

const STATUSES: Record<string, string> = {
  ok: "done", error: "error", timeout: "time limit", cpu_limit: "CPU limit", memory_limit: "memory limit",
  killed: "killed", crashed: "crashed", cancelled: "cancelled",
};

export class Output {
  readonly element = el("div", {class: "output", role: "log", "aria-label": "Output"});
  private last: {name: string; node: Text} | null = null;
  private characters = 0;
  private displays = 0;
  private lastValueShown = false;

  clear(): void {
    this.element.replaceChildren();
    this.last = null;
    this.characters = this.displays = 0;
    this.lastValueShown = false;
  }

  stream(name: "stdout" | "stderr", text: string): void {
    const room = SHOWN_CHARACTERS - this.characters;
    this.characters += text.length;
    if (room <= 0) return;
    if (this.last?.name !== name) {
      const node = document.createTextNode("");
      const label = name === "stdout" ? "Printed" : "Standard error";
      this.element.append(el("pre", {class: name, tabindex: 0, role: "group", "aria-label": label}, node));
      this.last = {name, node};
    }
    this.last.node.appendData(text.slice(0, room));
    if (text.length > room) this.note("The page shows no more of this output.");
  }

  /** What is there as text, whole. */
  get text(): string {
    const parts = this.element.querySelectorAll("pre, .headline, .hint, .note");
    return [...parts].map(part => part.textContent!.trimEnd()).join("\n");
  }

  display(display: Display & {last_value?: boolean}): void {
    this.last = null;
    this.displays++;
    this.lastValueShown ||= display.last_value === true;
    this.element.append(show(display));
  }

  end(result: Result): void {
    for (const display of result.display.slice(this.displays)) this.display(display);
    if (result.error) this.dropTraceback(result.error.traceback);
    if (result.last_value_repr !== null && !this.lastValueShown)
      this.element.append(el("pre", {class: "value", tabindex: 0, role: "group", "aria-label": "Value"}, result.last_value_repr));
    this.notes(result);
    if (result.error || result.error_repr) this.element.append(errorBox(result));
    if (result.denials.length) this.element.append(denials(result.denials, result.denials_dropped, result.error?.hint));
    const label = STATUSES[result.status] ?? result.status;
    this.element.append(el("p", {class: `ending ${result.status === "ok" ? "good" : "bad"}`},
      el("span", {class: "status"}, label),
      ` ${duration(result.usage.wall_ms)} · ${duration(result.usage.cpu_ms)} CPU · ${size(result.usage.peak_memory_bytes)}`,
      result.exit_code ? ` · exit code ${result.exit_code}` : ""));
  }

  fail(problem: Problem): void {
    this.element.append(el("div", {class: "error"},
      el("p", {class: "headline"}, problem.message),
      problem.hint && el("p", {class: "hint"}, problem.hint)));
  }

  private note(text: string): void {
    this.last = null;
    this.element.append(el("p", {class: "note"}, text));
  }

  private notes(result: Result): void {
    if (result.session?.restarted)
      this.note(`The session was restarted (${result.session.restarted}): its variables and files are lost.`);
    if (result.stdout_truncated) this.note(`The cell printed ${size(result.stdout_bytes)}: the rest was dropped (max_stdout_bytes).`);
    if (result.stderr_truncated) this.note(`The cell wrote ${size(result.stderr_bytes)} to standard error: the rest was dropped (max_stderr_bytes).`);
    if (result.last_value_truncated) this.note("The value is cut off (max_value_bytes).");
    if (result.display_dropped) this.note(`Displays that are not shown: ${result.display_dropped} (max_displays, max_display_bytes).`);
    if (result.missing_layers.length) this.note(`Layers of the sandbox that this run did not have: ${result.missing_layers.join(", ")}.`);
    const files = result.files.map(file => `${file.path} (${file.change})`);
    if (files.length) this.note(`Files: ${files.slice(0, 10).join(", ")}${files.length > 10 ? `, and ${files.length - 10} more` : ""}.`);
  }

  /** Python prints it on standard error too; it is shown once, with its hint. */
  private dropTraceback(traceback: string): void {
    const block = this.element.querySelector(".stderr:last-of-type");
    const shown = block?.textContent ?? "";
    if (!block || !traceback.trim() || !shown.trimEnd().endsWith(traceback.trimEnd())) return;
    const rest = shown.trimEnd().slice(0, -traceback.trimEnd().length);
    if (rest) block.textContent = rest;
    else block.remove();
  }
}

function errorBox({error, error_repr}: Result): HTMLElement {
  const where = error?.line ? el("span", {class: "where"}, ` line ${error.line}`) : null;
  // The message of what was refused ends with its hint, which stands below.
  const hint = error?.hint ?? "", repr = error_repr ?? "";
  const headline = hint && repr.endsWith(hint) ? repr.slice(0, -hint.length).trimEnd() : repr;
  const box = el("div", {class: "error"}, el("p", {class: "headline"}, headline, where));
  if (hint) box.append(el("p", {class: "hint"}, hint));
  if (error?.traceback.trim()) {
    box.append(el("details", {open: !hint},
      el("summary", {}, "Traceback"),
      el("pre", {tabindex: 0, role: "group", "aria-label": "Traceback"}, error.traceback.trimEnd())));
  }
  return box;
}

function denials(list: Denial[], dropped: number, said: string | null | undefined): HTMLElement {
  const rows = list.map(denial => el("li", {},
    el("span", {class: "layer"}, denial.layer), " ", el("code", {}, denial.what),
    denial.line ? ` line ${denial.line}` : "",
    denial.hint && denial.hint !== said && el("span", {class: "hint"}, denial.hint)));
  if (dropped) rows.push(el("li", {}, `and ${dropped} more`));
  return el("div", {class: "denials"}, el("p", {class: "title"}, "Refused"), el("ul", {}, ...rows));
}

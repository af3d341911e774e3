// SPDX-License-Identifier: Apache-2.0
// One cell: its code, its buttons, and the output of its last run.
import type {EditorView} from "@codemirror/view";
import {button, el} from "./dom.js";
import {editor} from "./editor.js";
import {newId, type CellContent} from "./ipynb.js";
import {EMPTY, type KeptCell, type Keeping, type Life} from "./keep.js";
import {Output} from "./output.js";

export type State = "idle" | "waiting" | "running" | "ok" | "bad";

/** The functions of the notebook that a cell calls. */
export interface Host {
  run(cell: Cell, then: "stay" | "next" | "insert"): void;
  stop(cell: Cell): void;
  move(cell: Cell, by: -1 | 1): void;
  remove(cell: Cell): void;
  copy(cell: Cell): Promise<void>;
  changed(): void;
  commandKey(cell: Cell, event: KeyboardEvent): void;
}

export class Cell {
  readonly element: HTMLElement;
  readonly output = new Output();
  private readonly view: EditorView;
  private readonly gutter = el("span", {class: "count", "aria-hidden": "true"}, "[ ]");
  private readonly runButton: HTMLButtonElement;
  private position = 0;
  private number: number | null = null;
  private current: State = "idle";
  /** The session that its output belongs to. */
  life: Life | null = null;

  constructor(code: string, host: Host, private readonly id = newId()) {
    this.runButton = button("▶", "Run", () => this.running ? host.stop(this) : host.run(this, "stay"), {class: "icon run"});
    const bar = el("div", {class: "bar", role: "toolbar", "aria-label": "Cell"},
      this.runButton, this.gutter, el("span", {class: "space"}),
      button("Copy", "Copy output", () => void host.copy(this), {class: "icon copy"}),
      button("↑", "Move up", () => host.move(this, -1), {class: "icon"}),
      button("↓", "Move down", () => host.move(this, 1), {class: "icon"}),
      button("✕", "Delete cell", () => host.remove(this), {class: "icon"}));
    const code_ = el("div", {class: "editor"});
    this.element = el("section", {class: "cell", role: "group", tabindex: 0}, bar, code_, this.output.element);
    this.element.addEventListener("keydown", event => {
      if (event.target === this.element) host.commandKey(this, event);
    });
    const command = (run: () => void) => () => { run(); return true; };
    this.view = editor(code_, code, {
      changed: () => host.changed(),
      keys: [
        {key: "Shift-Enter", run: command(() => host.run(this, "next"))},
        {key: "Mod-Enter", run: command(() => host.run(this, "stay"))},
        {key: "Alt-Enter", run: command(() => host.run(this, "insert"))},
        {key: "Escape", run: command(() => this.element.focus())},
      ],
    });
    this.state = "idle";
  }

  get code(): string {
    return this.view.state.doc.toString();
  }

  get running(): boolean {
    return this.current === "running" || this.current === "waiting";
  }

  /** Sets its position among the cells, counted from 1. */
  place(number: number): void {
    this.position = number;
    this.label();
  }

  get lastRun(): number | null {
    return this.number;
  }

  /** Sets the number of its last run in this session; null: it has not run in this session. */
  count(count: number | null): void {
    this.number = count;
    this.gutter.textContent = `[${count ?? " "}]`;
  }

  /** Returns what a reload needs. The output is included only if it belongs to this session. */
  keep(life: Life): Keeping {
    const same = this.life === life;
    return {id: this.id, code: this.code, count: this.number, state: same ? this.current : "idle", shown: same ? this.output.json : EMPTY};
  }

  /** Restores the cell after a reload. Its output is shown only when it is known that the session is still the same. */
  restore(kept: KeptCell, life: Life): void {
    this.life = life;
    this.output.hold(kept.shown);
    this.state = kept.state;
    this.count(kept.count);
  }

  get content(): CellContent {
    return {id: this.id, code: this.code, count: this.number, entries: [...this.output.data]};
  }

  /** Removes its output. */
  empty(): void {
    this.output.clear();
    this.state = "idle";
    this.count(null);
  }

  set state(state: State) {
    this.current = state;
    this.element.dataset["state"] = state;
    if (state === "waiting" || state === "running") this.gutter.textContent = "[*]";
    this.runButton.textContent = this.running ? "■" : "▶";
    const label = this.running ? "Interrupt" : "Run";
    this.runButton.setAttribute("aria-label", label);
    this.runButton.title = label;
    this.label();
  }

  edit(): void {
    this.view.focus();
  }

  dispose(): void {
    this.view.destroy();
    this.element.remove();
  }

  private label(): void {
    const state = {idle: "", waiting: ", waiting", running: ", running", ok: ", done", bad: ", failed"}[this.current];
    this.element.setAttribute("aria-label", `Cell ${this.position}${state}`);
  }
}

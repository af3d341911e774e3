// SPDX-License-Identifier: Apache-2.0
// The cells and their order.
import type {Api, Result, Session} from "./api.js";
import {Cell, type Host} from "./cell.js";
import {el} from "./dom.js";
import type {CellContent} from "./ipynb.js";
import {Keeper, read, type Life} from "./keep.js";
import {Queue} from "./queue.js";

const FIRST = `# Shift+Enter runs a cell and goes to the next.
sum(range(101))`;

export interface NotebookEvents {
  /** Called when a cell begins to run, and when no cell runs any more. */
  busy(running: boolean): void;
  /** A run has ended. */
  ended(result: Result | null): void;
  /** A message only for screen readers, because other users see the change. */
  say(text: string): void;
  /** A message for all users. */
  tell(text: string): void;
}

export class Notebook implements Host {
  readonly element = el("div", {class: "cells"});
  private cells: Cell[] = [];
  private removed: string[] = [];
  private pressed = "";
  /** The session in which cells run from now on. */
  life: Life = {session: "", runs: 0};
  private readonly queue: Queue;
  private readonly keeper = new Keeper(() => [this.life, this.cells.map(cell => cell.keep(this.life))], text => this.events.tell(text));

  constructor(api: Api, private readonly events: NotebookEvents) {
    this.queue = new Queue(api, this, events);
    const kept = read();
    if (kept) this.life = kept.life;
    for (const one of kept?.cells ?? []) this.insert(this.cells.length, one.code, one.id).restore(one, this.life);
    if (!kept) this.insert(0, FIRST);
  }

  changed(): void {
    this.keeper.soon();
  }

  /** Cells run in this session from now on. Outputs that were kept over a reload are shown if they belong to this
   * session. */
  enter({id, execution_count}: Session): void {
    const {session, runs} = this.life;
    if (id === session && execution_count >= runs) {
      for (const cell of this.cells) cell.output.reveal();
      return;
    }
    const held = this.cells.filter(cell => cell.output.isHeld);
    this.begin({session: id, runs: execution_count});
    for (const cell of id === session ? this.cells : held) if (!cell.running) cell.empty();
    if (held.some(cell => cell.life)) this.events.tell("The session from before the reload has ended. Its outputs are lost; the code is still here.");
  }

  /** Cells run in a branch of their session from now on. It has the same state, so their outputs and numbers stay. */
  follow(branch: string): void {
    this.life.session = branch;
    this.changed();
  }

  /** The session is as it was before this run: the outputs and numbers of the later runs go. */
  undone(run: number): void {
    this.life.runs = run - 1;
    for (const cell of this.cells) if (cell.life === this.life && (cell.lastRun ?? 0) >= run && !cell.running) cell.empty();
    this.changed();
  }

  /** Begins another session, or another life of the same one. */
  begin(life: Life): void {
    this.life = life;
    // The numbers belong to a session that has ended.
    for (const cell of this.cells) if (!cell.running) cell.count(null);
    this.changed();
  }

  /** Removes all outputs, from the page and from what a reload would restore. A running cell keeps its output,
   * and shows how it ends. */
  dropOutputs(): void {
    this.begin({session: this.life.session, runs: 0});
    for (const cell of this.cells) if (!cell.running) cell.empty();
    this.keeper.replace();
  }

  private insert(index: number, code = "", id?: string): Cell {
    const cell = new Cell(code, this, id);
    this.element.insertBefore(cell.element, this.cells[index]?.element ?? null);
    this.cells.splice(index, 0, cell);
    this.arranged();
    return cell;
  }

  private arranged(): void {
    this.cells.forEach((cell, i) => cell.place(i + 1));
    this.changed();
  }

  // ---- As a file ----

  get isRunning(): boolean {
    return this.cells.some(cell => cell.running);
  }

  get hasWork(): boolean {
    return this.cells.some(cell => cell.code.trim() && cell.code !== FIRST || cell.output.data.length);
  }

  content(): CellContent[] {
    return this.cells.map(cell => cell.content);
  }

  replace(cells: CellContent[]): void {
    for (const cell of this.cells.splice(0)) cell.dispose();
    for (const {id, code, entries} of cells) {
      const cell = this.insert(this.cells.length, code, id);
      cell.restore({id, code, count: null, state: "idle", shown: entries}, this.life);
      cell.output.reveal();
    }
    if (!cells.length) this.insert(0);
    this.changed();
  }

  // ---- Cells ----

  add(): void {
    this.insert(this.cells.length).edit();
  }

  move(cell: Cell, by: -1 | 1): void {
    const from = this.cells.indexOf(cell), to = from + by;
    if (to < 0 || to >= this.cells.length) return;
    const focused = document.activeElement as HTMLElement | null;
    this.cells.splice(from, 1);
    this.cells.splice(to, 0, cell);
    this.element.insertBefore(cell.element, this.cells[to + 1]?.element ?? null);
    this.arranged();
    focused?.focus();
    this.events.say(`Now cell ${to + 1} of ${this.cells.length}`);
  }

  remove(cell: Cell): void {
    if (cell.running) {
      this.events.say("The cell is running: interrupt it first");
      return;
    }
    const at = this.cells.indexOf(cell);
    this.removed.push(cell.code);
    this.cells.splice(at, 1);
    cell.dispose();
    if (!this.cells.length) this.insert(0);
    this.arranged();
    this.cells[Math.min(at, this.cells.length - 1)]!.element.focus();
    this.events.say("Cell deleted; Z brings it back");
  }

  async copy(cell: Cell): Promise<void> {
    try {
      // Browsers give a page no clipboard without TLS, except from this machine.
      await navigator.clipboard.writeText(cell.output.text);
      this.events.say("The output is copied");
    } catch {
      this.events.say("The browser does not let this page copy");
    }
  }

  /** Keys of a cell that has the focus itself, as in Jupyter. */
  commandKey(cell: Cell, event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey) {
      if (event.key === "Enter") this.handled(event, () => this.run(cell, "stay"));
      return;
    }
    const at = this.cells.indexOf(cell), twice = this.pressed === event.key;
    const keys: Record<string, () => void> = {
      "Enter": () => event.shiftKey ? this.run(cell, "next") : cell.edit(),
      "a": () => this.insert(at).element.focus(),
      "b": () => this.insert(at + 1).element.focus(),
      "d": () => { if (twice) this.remove(cell); },
      "i": () => { if (twice) this.interrupt(); },
      "z": () => this.restore(at),
      "ArrowUp": () => event.altKey ? this.move(cell, -1) : this.cells[at - 1]?.element.focus(),
      "ArrowDown": () => event.altKey ? this.move(cell, 1) : this.cells[at + 1]?.element.focus(),
    };
    const action = keys[event.key];
    if (!action) return;
    this.handled(event, action);
    this.pressed = twice ? "" : event.key;
    setTimeout(() => { this.pressed = ""; }, 800);
  }

  private handled(event: Event, action: () => void): void {
    event.preventDefault();
    action();
  }

  private restore(at: number): void {
    const code = this.removed.pop();
    if (code !== undefined) this.insert(at, code).element.focus();
  }

  // ---- Runs ----

  run(cell: Cell, then: "stay" | "next" | "insert"): void {
    this.queue.push(cell);
    const next = this.cells.indexOf(cell) + 1;
    if (then === "insert" || then === "next" && next === this.cells.length) this.insert(next).edit();
    else if (then === "next") this.cells[next]!.edit();
  }

  runAll(): void {
    for (const cell of this.cells) this.run(cell, "stay");
  }

  interrupt(): void {
    this.queue.interrupt();
  }

  stop(cell: Cell): void {
    this.queue.stop(cell);
  }
}

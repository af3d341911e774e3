// SPDX-License-Identifier: Apache-2.0
// The queue in which cells run in the session.
import {Problem, type Api, type Result} from "./api.js";
import type {Cell} from "./cell.js";
import {Follow} from "./follow.js";
import type {Life} from "./keep.js";

/** The functions of the notebook that the queue calls. */
interface Notebook {
  readonly life: Life;
  begin(life: Life): void;
  changed(): void;
}

interface Events {
  busy(running: boolean): void;
  ended(result: Result | null): void;
}

export class Queue {
  private cells: Cell[] = [];
  private readonly follow = new Follow();
  /** The session of the running cell. The user may have opened another one since. */
  private at = "";

  constructor(private readonly api: Api, private readonly notebook: Notebook, private readonly events: Events) {}

  push(cell: Cell): void {
    if (cell.running) return;
    cell.output.clear();
    cell.output.onGrowth = block => this.follow.grew(block);
    cell.state = "waiting";
    this.cells.push(cell);
    if (this.cells.length === 1) void this.work();
  }

  /** Interrupts the running cell as Ctrl-C does; the waiting cells do not begin. */
  interrupt(): void {
    this.dropWaiting();
    if (this.cells.length) this.api.interrupt(this.at).catch(() => {});
  }

  stop(cell: Cell): void {
    const place = this.cells.indexOf(cell);
    if (place === 0) this.interrupt();
    else if (place > 0) this.rest(this.cells.splice(place, 1));
  }

  private dropWaiting(): void {
    this.rest(this.cells.splice(1));
  }

  private rest(cells: Cell[]): void {
    for (const cell of cells) {
      cell.state = "idle";
      cell.count(null);
    }
  }

  private async work(): Promise<void> {
    this.events.busy(true);
    let isFirst = true;
    for (let cell: Cell | undefined; (cell = this.cells[0]); this.cells.shift()) {
      this.follow.begin(cell.element, isFirst);
      isFirst = false;
      const result = await this.execute(cell);
      void this.follow.end(cell.element);
      this.events.ended(result);
      // The waiting cells expect that this one succeeds.
      if (result?.status !== "ok") this.dropWaiting();
    }
    this.events.busy(false);
  }

  private async execute(cell: Cell): Promise<Result | null> {
    let result: Result | null = null;
    cell.state = "running";
    const life = cell.life = this.notebook.life;
    this.at = life.session;
    try {
      for await (const {name, data} of this.api.execute(this.at, cell.code)) {
        if (name === "stdout" || name === "stderr") cell.output.stream(name, data.text);
        else if (name === "display") cell.output.display(data.display ?? data);
        else if (name === "result") cell.output.end(result = data as Result);
        else if (name === "error") cell.output.fail(new Problem(data.status, data.code, data.title, data.hint));
        this.notebook.changed();
      }
    } catch (failure) {
      cell.output.fail(failure instanceof Problem ? failure : new Problem(0, "internal", String(failure), ""));
    }
    this.ran(cell, life, result);
    return result;
  }

  private ran(cell: Cell, life: Life, result: Result | null): void {
    cell.state = result?.status === "ok" ? "ok" : "bad";
    const session = result?.session, runs = session?.execution_count ?? null;
    if (life === this.notebook.life && (session?.created || session?.restarted)) {
      // The session had ended, and this run made a new one.
      this.notebook.begin({session: life.session, runs: 0});
      cell.life = this.notebook.life;
    }
    const same = cell.life === this.notebook.life;
    if (same && runs !== null) this.notebook.life.runs = Math.max(this.notebook.life.runs, runs);
    cell.count(same ? runs : null);
    this.notebook.changed();
  }
}

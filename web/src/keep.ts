// SPDX-License-Identifier: Apache-2.0
// What this tab keeps over a reload, in its session storage: the cells and their outputs.
import type {State} from "./cell.js";
import {isId, newId} from "./ipynb.js";
import type {Entry} from "./shown.js";

const KEY = "cells";
// Browsers give a page about 5 million characters; the code of the cells has to fit too.
const MOST_CHARACTERS = 2_000_000;
const DELAY_MS = 500;
export const EMPTY = "[]";
const TOO_LARGE = "The output of this cell was too large to be kept when the page was loaded again. Run the cell to see it.";
const CUT_OFF = "The page was loaded again while this cell ran. That cancelled the cell.";

/** One session from its beginning to its end. A later session with the same id is another life. */
export interface Life {
  session: string;
  /** The number of its runs, as far as this page knows. */
  runs: number;
}

export interface KeptCell {
  id: string;
  code: string;
  count: number | null;
  state: State;
  shown: Entry[];
}

export interface Kept {
  life: Life;
  cells: KeptCell[];
}

/** A cell that is kept, with its output as JSON; EMPTY when the output is not kept. */
export type Keeping = Omit<KeptCell, "shown"> & {shown: string};

/** Returns what an earlier page of this tab has kept, or null. */
export function read(): Kept | null {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEY) ?? "null");
    // pyexec 0.1 kept only a list of the cells' code.
    const cells: unknown[] = Array.isArray(kept) ? kept : kept.cells;
    if (!cells.length) return null;
    const life = {session: String(kept.session ?? ""), runs: Number(kept.runs) || 0};
    return {life, cells: cells.map(cell => typeof cell === "object" && cell ? keptCell(cell) : keptCell({code: String(cell)}))};
  } catch {
    return null;        // a new tab
  }
}

function keptCell({id, code, count, state, shown}: Partial<KeptCell>): KeptCell {
  const entries: Entry[] = Array.isArray(shown) ? shown : [{kind: "note", text: TOO_LARGE}];
  const ran = state === "running";
  if (ran) entries.push({kind: "note", text: CUT_OFF});
  return {
    id: isId(id) ? id : newId(),
    code: String(code),
    count: typeof count === "number" ? count : null,
    state: ran || state === "bad" ? "bad" : state === "ok" ? "ok" : "idle",
    shown: shown === undefined ? [] : entries,
  };
}

function text({session, runs}: Life, cells: Keeping[], room: number): string {
  const rows = cells.map(({shown, ...rest}) => {
    const fits = shown === EMPTY || shown.length <= room;
    if (fits) room -= shown.length;
    return `{"shown":${fits ? shown : null},${JSON.stringify(rest).slice(1)}`;
  });
  return `{"session":${JSON.stringify(session)},"runs":${runs},"cells":[${rows.join(",")}]}`;
}

/** Returns true if there was room at least for the code. */
function write(life: Life, cells: Keeping[]): boolean {
  for (const room of [MOST_CHARACTERS, 0]) {
    try {
      sessionStorage.setItem(KEY, text(life, cells, room));
      return true;
    } catch {
      // The browser has less room.
    }
  }
  return false;
}

/** Keeps the cells soon after each change, and at once when the page is left. */
export class Keeper {
  private timer = 0;
  private full = false;

  constructor(private readonly cells: () => [Life, Keeping[]], private readonly say: (text: string) => void) {
    addEventListener("pagehide", () => { if (this.timer) this.now(); });
  }

  /** Keeps the present cells, and drops everything that was kept before. */
  replace(): void {
    sessionStorage.removeItem(KEY);
    this.now();
  }

  soon(): void {
    this.timer ||= setTimeout(() => this.now(), DELAY_MS);
  }

  now(): void {
    clearTimeout(this.timer);
    this.timer = 0;
    const full = !write(...this.cells());
    if (full && !this.full) this.say("The cells are too large for the browser to keep: a reload brings back an older state of them.");
    this.full = full;
  }
}

// SPDX-License-Identifier: Apache-2.0
// Saves the cells as a notebook file of Jupyter, and loads such files: the buttons and the questions.
import {confirm} from "./confirm.js";
import {button, download, el, size} from "./dom.js";
import {loadNotebook, Refused} from "./ipynb_load.js";
import {notebookFile} from "./ipynb_save.js";
import type {Entry} from "./shown.js";

const MOST_BYTES = 20 << 20;

export interface CellContent {
  /** The id of the cell in notebook files. */
  id: string;
  code: string;
  count: number | null;
  entries: Entry[];
}

export const isId = (id: unknown): id is string => typeof id === "string" && /^[\w-]{1,64}$/.test(id);
export const newId = () => crypto.getRandomValues(new Uint32Array(1))[0]!.toString(16).padStart(8, "0");

/** The notebook whose cells are saved and replaced. */
interface Notebook {
  readonly isRunning: boolean;
  /** True if the user would lose something. */
  readonly hasWork: boolean;
  content(): CellContent[];
  replace(cells: CellContent[]): void;
}

export class NotebookFiles {
  private readonly picker: HTMLInputElement;
  readonly elements: HTMLElement[];
  private name = "notebook.ipynb";

  constructor(private readonly notebook: Notebook, private readonly tell: (text: string) => void) {
    this.picker = el("input", {type: "file", accept: ".ipynb", hidden: true, id: "notebook-file", "aria-label": "Notebook file to load",
      change: () => void this.load()});
    this.elements = [button("Save", "Save as a notebook file", () => this.save()),
      button("Load", "Load a notebook file", () => this.picker.click()), this.picker];
  }

  private save(): void {
    download(new Blob([notebookFile(this.notebook.content())], {type: "application/x-ipynb+json"}), this.name);
    this.tell(`Saved as ${this.name}, with the outputs.`);
  }

  private async load(): Promise<void> {
    const file = this.picker.files?.[0];
    if (!file) return;
    try {
      await this.loadFile(file);
    } catch (problem) {
      const refused = problem instanceof Refused;
      this.tell(`${file.name} is not loaded. ${refused ? problem.message : "The browser could not read it."}`);
    } finally {
      this.picker.value = "";       // so that the same file can be chosen again
    }
  }

  private async loadFile(file: File): Promise<void> {
    if (file.size > MOST_BYTES) throw new Refused(`It has ${size(file.size)}; this page loads at most ${size(MOST_BYTES)}.`);
    const {cells, notes} = loadNotebook(await file.arrayBuffer());
    this.refuseWhileRunning();
    const question = `The cells of this page and their outputs are replaced by those of ${file.name}.`;
    if (this.notebook.hasWork && !await confirm("Replace the cells?", question, "Replace")) return;
    this.refuseWhileRunning();
    this.notebook.replace(cells);
    if (/\.ipynb$/i.test(file.name)) this.name = file.name;
    this.tell([`${file.name} is loaded. Its cells have not run in this session.`, ...notes].join(" "));
  }

  private refuseWhileRunning(): void {
    if (this.notebook.isRunning) throw new Refused("A cell is running: interrupt it first, or wait for its end.");
  }
}

// SPDX-License-Identifier: Apache-2.0
// The files of the session's workspace: upload, download and delete.
import {Problem, type Api, type File as Listed} from "./api.js";
import {button, download, el, size} from "./dom.js";

export class Files {
  readonly element: HTMLElement;
  private readonly list = el("ul", {class: "list"});
  private readonly message = el("p", {class: "message", role: "status"});
  private readonly picker: HTMLInputElement;
  session = "";

  constructor(private readonly api: Api, private readonly say: (text: string) => void) {
    this.picker = el("input", {type: "file", multiple: true, hidden: true, "aria-label": "Files to send", change: () => this.upload(this.picker.files)});
    this.element = el("section", {class: "panel", "aria-labelledby": "files-title"},
      el("div", {class: "head"}, el("h2", {id: "files-title"}, "Files"),
        button("Upload", "Upload files", () => this.picker.click()), this.picker),
      this.message, this.list);
    this.element.addEventListener("dragover", event => event.preventDefault());
    this.element.addEventListener("drop", event => {
      event.preventDefault();
      void this.upload(event.dataTransfer?.files ?? null);
    });
  }

  async refresh(): Promise<void> {
    try {
      this.show(await this.api.files(this.session));
    } catch (problem) {
      this.list.replaceChildren();
      // A session without file access has no list. This is not an error.
      if (problem instanceof Problem) this.message.textContent = `${problem.message}. ${problem.hint}`;
    }
  }

  private show(files: Listed[]): void {
    this.message.textContent = files.length ? "" : "None yet. Files that cells write are listed here.";
    this.list.replaceChildren(...files.map(file => el("li", {},
      el("bdi", {class: "name", title: file.path}, file.path),
      el("span", {class: "muted"}, size(file.bytes)),
      button("↓", `Download ${file.path}`, () => void this.download(file.path), {class: "icon"}),
      button("✕", `Delete ${file.path}`, () => void this.remove(file.path), {class: "icon"}))));
  }

  private async attempt(action: () => Promise<void>, done: string): Promise<void> {
    try {
      await action();
      await this.refresh();
      this.say(done);
    } catch (problem) {
      if (problem instanceof Problem) this.message.textContent = `${problem.message}. ${problem.hint}`;
    }
  }

  private async upload(files: FileList | null): Promise<void> {
    for (const file of [...files ?? []])
      await this.attempt(() => this.api.writeFile(this.session, file.name, file), `${file.name} is uploaded`);
    this.picker.value = "";
  }

  private async download(path: string): Promise<void> {
    await this.attempt(async () => {
      download(await this.api.readFile(this.session, path), path.split("/").pop()!);
    }, `${path} is downloaded`);
  }

  private async remove(path: string): Promise<void> {
    await this.attempt(() => this.api.deleteFile(this.session, path), `${path} is deleted`);
  }
}

// SPDX-License-Identifier: Apache-2.0
// The environment of the current session, and the others that the caller may choose.
import type {Api, Environment} from "./api.js";
import {el} from "./dom.js";

const MOST_PACKAGES = 20;

export class Environments {
  private readonly select: HTMLSelectElement;
  private readonly packages = el("p", {id: "environment-packages", class: "message"});
  readonly element: HTMLElement;
  private known: Environment[] = [];
  private current = "";

  /** `chosen` is called when the user has chosen another environment. */
  constructor(private readonly api: Api, chosen: () => void) {
    this.select = el("select", {id: "environment", "aria-describedby": "environment-packages", change: chosen});
    this.element = el("div", {class: "environment"}, el("label", {for: "environment"}, "Environment"), this.select, this.packages);
    this.draw();
  }

  /** Asks the server which environments this caller may choose. */
  async refresh(): Promise<void> {
    this.known = await this.api.environments();
    this.draw();
  }

  /** Shows the environment of the current session. */
  show(name: string): void {
    this.current = name;
    this.draw();
  }

  /** What a new session's policy has of it. A server without environments is asked for none. */
  get policy(): {environment?: string} {
    return this.element.hidden ? {} : {environment: this.select.value};
  }

  private draw(): void {
    const names = ["", ...this.known.map(one => one.name)];
    if (!names.includes(this.current)) names.push(this.current);        // it was removed, and the session still has it
    this.element.hidden = names.length === 1;
    this.select.replaceChildren(...names.map(name => {
      const broken = this.known.find(one => one.name === name)?.error !== undefined;
      return el("option", {value: name, disabled: broken}, `${name || "none"}${broken ? " (can't be used)" : ""}`);
    }));
    this.select.value = this.current;
    this.packages.textContent = this.describe();
  }

  private describe(): string {
    const packages = this.known.find(one => one.name === this.current)?.packages ?? [];
    const more = packages.length - MOST_PACKAGES;
    return packages.slice(0, MOST_PACKAGES).map(one => `${one.name} ${one.version}`).join(", ") + (more > 0 ? `, and ${more} more` : "");
  }
}

// SPDX-License-Identifier: Apache-2.0
// Asks for the token, and asks again when the server does not know it.
import {el} from "./dom.js";

export class TokenDialog {
  private readonly input = el("input", {type: "password", id: "token", autocomplete: "off", required: true, "aria-describedby": "token-message"});
  private readonly message = el("p", {id: "token-message", role: "alert"});
  private readonly dialog: HTMLDialogElement;
  private given: ((token: string) => void) | null = null;

  constructor() {
    const form = el("form", {submit: (event: Event) => this.submit(event)},
      el("h2", {id: "token-title"}, "Token"),
      el("p", {}, "This server runs code only with a token. The token is kept in this tab."),
      el("label", {for: "token"}, "Token"), this.input, this.message,
      el("button", {type: "submit", class: "primary"}, "Continue"));
    this.dialog = el("dialog", {"aria-labelledby": "token-title", cancel: (event: Event) => event.preventDefault()}, form);
    document.body.append(this.dialog);
  }

  private submit(event: Event): void {
    event.preventDefault();
    const token = this.input.value.trim();
    if (!token) return;
    this.input.value = "";
    this.dialog.close();
    this.given?.(token);
  }

  ask(message: string): Promise<string> {
    this.message.textContent = message;
    if (!this.dialog.open) this.dialog.showModal();
    this.input.focus();
    return new Promise(resolve => { this.given = resolve; });
  }
}

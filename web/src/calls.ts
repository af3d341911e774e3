// SPDX-License-Identifier: Apache-2.0
// Tool calls that wait, of all runs of the user: those that need approval are allowed or denied here.
import {Problem, type Api, type WaitingCall} from "./api.js";
import {button, el} from "./dom.js";

const POLL_MS = 3000;
const REFUSED = "the user refused it";

export class Calls {
  readonly element: HTMLElement;
  private readonly list = el("ul", {});
  private readonly message = el("p", {class: "message", role: "status"});
  /** Rows stay while their calls wait, so that a reason that is being typed is not lost. */
  private readonly rows = new Map<string, HTMLElement>();

  constructor(private readonly api: Api, private readonly say: (text: string) => void) {
    this.element = el("section", {class: "panel calls", "aria-labelledby": "calls-title", hidden: true},
      el("div", {class: "head"}, el("h2", {id: "calls-title"}, "Tool calls that wait")), this.message, this.list);
  }

  /** Asks the server again and again, while the page can be seen. */
  async watch(): Promise<never> {
    for (;;) {
      if (!document.hidden && this.api.mayAsk) await this.refresh();
      await new Promise(resolve => setTimeout(resolve, POLL_MS));
    }
  }

  async refresh(): Promise<void> {
    let calls: WaitingCall[];
    try {
      calls = await this.api.waitingCalls();
    } catch (problem) {
      if (problem instanceof Problem) return;     // other code reports it
      throw problem;
    }
    // A call that was allowed keeps its id, and then waits for the answer of its client.
    const shown = new Map(calls.map(call => [`${call.approval} ${call.call_id}`, call]));
    for (const [key, row] of this.rows)
      if (!shown.has(key)) this.remove(key, row);
    for (const [key, call] of shown) {
      if (this.rows.has(key)) continue;
      const row = this.row(key, call);
      this.rows.set(key, row);
      this.list.append(row);
      if (call.approval) this.say(`A call of ${call.name} waits for approval`);
    }
    this.element.hidden = !this.rows.size && !this.message.textContent;
  }

  private remove(key: string, row: HTMLElement): void {
    row.remove();
    this.rows.delete(key);
  }

  private row(key: string, call: WaitingCall): HTMLElement {
    const reason = el("input", {type: "text", placeholder: REFUSED, "aria-label": `Why ${call.name} is denied`});
    const whole = call.arguments !== null;
    const row: HTMLElement = el("li", {class: "call", "data-approval": String(call.approval)},
      el("p", {}, el("code", {}, call.name), " ",
        el("span", {class: "muted"}, call.session_id === null ? "a single run" : "session ", call.session_id !== null && el("bdi", {}, call.session_id),
          `, since ${new Date(call.since).toLocaleTimeString()}`)),
      el("pre", {class: "arguments", tabindex: 0, "aria-label": `Arguments of ${call.name}`},
        whole ? visible(JSON.stringify(call.arguments, null, 2)) : "Too many calls wait: these arguments are not in the server's list."),
      call.approval
        ? el("div", {class: "choices"}, reason,
          button("Deny", `Deny ${call.name}`, () => void this.decide(key, row, call, {deny: reason.value.trim() || REFUSED})),
          // Nobody can approve what they can't see.
          button("Allow", `Allow ${call.name}`, () => void this.decide(key, row, call, {allow: true}), {class: "primary", disabled: !whole}))
        : el("p", {class: "muted"}, "Waits for the answer of its client."));
    return row;
  }

  private async decide(key: string, row: HTMLElement, call: WaitingCall, answer: {allow: true} | {deny: string}): Promise<void> {
    this.message.textContent = "";
    try {
      await this.api.answerCall(call.call_id, answer);
      this.say("allow" in answer ? `${call.name} is allowed` : `${call.name} is denied`);
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      this.message.textContent = `${problem.message}. ${problem.hint}`;
      if (problem.code !== "call_not_found") return;
    }
    this.remove(key, row);
    await this.refresh();
  }
}

/** Characters that can't be seen, or change the order of others, as escapes: the reader must not be deceived. */
function visible(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, one => one === "\n" ? one : `\\u{${one.codePointAt(0)!.toString(16)}}`);
}

// SPDX-License-Identifier: Apache-2.0
// The caller's sessions: the one in which the cells run, the others, and new ones.
import {Problem, type Api, type Session} from "./api.js";
import {button, duration, el} from "./dom.js";
import {Environments} from "./environments.js";

export class Sessions {
  readonly element: HTMLElement;
  private readonly list = el("ul", {class: "list"});
  private readonly message = el("p", {class: "message", role: "status"});
  private readonly policy = el("textarea", {id: "new-policy", rows: 3, spellcheck: "false", placeholder: "{\"timeout_ms\": 2000}"});
  private readonly environments: Environments;
  current: Session | null = null;

  constructor(private readonly api: Api, private readonly entered: (session: Session) => void) {
    this.environments = new Environments(api, () => void this.createInEnvironment());
    this.element = el("section", {class: "panel", "aria-labelledby": "sessions-title"},
      el("div", {class: "head"}, el("h2", {id: "sessions-title"}, "Sessions"),
        button("New", "New session", () => void this.create())),
      this.environments.element, this.message, this.list,
      el("details", {}, el("summary", {}, "Policy of a new session"),
        el("label", {for: "new-policy"}, "Options of the policy as JSON, within the limits of the server:"), this.policy));
  }

  /** Opens the session that was used before a reload, or a new one. */
  async start(): Promise<void> {
    await this.environments.refresh();
    const id = sessionStorage.getItem("session");
    const old = id && await this.api.session(id).catch((problem: Problem) => {
      if (problem.status === 404) return null;
      throw problem;
    });
    this.enter(old || await this.api.createSession({}));
  }

  private enter(session: Session): void {
    this.current = session;
    sessionStorage.setItem("session", session.id);
    this.environments.show(String(session.policy?.["environment"] ?? ""));
    this.entered(session);
  }

  /** Ends the current session and makes a new one with its id and policy. */
  async restart(): Promise<void> {
    const {id} = this.current!, {python_bin, ...rest} = this.current!.policy ?? {};
    // An environment has its own interpreter, and may not be named together with another one.
    const policy = rest["environment"] ? rest : this.current!.policy;
    await this.api.closeSession(id).catch((problem: Problem) => {
      if (problem.status !== 404) throw problem;
    });
    this.enter(await this.api.createSession({id, policy}));
    await this.refresh();
  }

  /** Makes a session that goes on from the state of the current one. `made` is called with its id before it is opened. */
  async fork(made: (id: string) => void): Promise<void> {
    const id = await this.api.fork(this.current!.id);
    const branch = await this.api.session(id);
    made(id);
    this.enter(branch);
    await this.refresh();
  }

  /** Undoes the last run of the current session. Returns its number. */
  async undo(): Promise<number> {
    const to = await this.api.undo(this.current!.id);
    await this.refresh();
    return to;
  }

  async refresh(): Promise<void> {
    const sessions = await this.api.sessions();
    this.list.replaceChildren(...sessions.map(session => this.row(session)));
  }

  private row(session: Session): HTMLElement {
    const here = session.id === this.current?.id;
    const state = `${session.busy ? "busy" : "idle"}, ${session.execution_count} ${session.execution_count === 1 ? "run" : "runs"}, ${duration(session.age_ms)} old`;
    return el("li", {class: here && "current", "aria-current": here && "true"},
      el("span", {class: "name"}, el("bdi", {title: session.id}, session.id), el("span", {class: "muted"}, state)),
      !here && button("Open", `Open session ${session.id}`, () => this.attempt(async () => this.enter(await this.api.session(session.id)))),
      !here && button("✕", `Close session ${session.id}`, () => this.attempt(() => this.api.closeSession(session.id)), {class: "icon"}));
  }

  private create(): Promise<void> {
    return this.attempt(async () => {
      let policy: unknown;
      try {
        policy = this.policy.value.trim() ? JSON.parse(this.policy.value) : undefined;
      } catch (failure) {
        throw new Problem(0, "invalid_policy", `The policy is not JSON (${(failure as Error).message})`, "");
      }
      const isObject = typeof policy === "object" && policy !== null && !Array.isArray(policy);
      if (policy === undefined || isObject) policy = {...this.environments.policy, ...policy as object};
      this.enter(await this.api.createSession({policy}));
    });
  }

  /** A session keeps the environment that it began with, so another one needs another session. */
  private async createInEnvironment(): Promise<void> {
    const before = this.current!.id;
    await this.create();
    if (this.current!.id !== before) this.message.textContent = `The cells run in a new session now. ${before} is as it was.`;
  }

  private async attempt(action: () => Promise<void>): Promise<void> {
    this.message.textContent = "";
    try {
      await action();
      await this.refresh();
    } catch (problem) {
      this.environments.show(String(this.current?.policy?.["environment"] ?? ""));
      if (problem instanceof Problem) this.message.textContent = `${problem.message}. ${problem.hint}`;
    }
  }
}

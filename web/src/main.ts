// SPDX-License-Identifier: Apache-2.0
// The page: puts its parts together and keeps them in step with the server.
import {Api, Problem, type Session} from "./api.js";
import {Calls} from "./calls.js";
import {confirm} from "./confirm.js";
import {button, el} from "./dom.js";
import {Files} from "./files.js";
import {helpButton} from "./help.js";
import {Notebook} from "./notebook.js";
import {NotebookFiles} from "./ipynb.js";
import {Limits} from "./policy.js";
import {Sessions} from "./sessions.js";
import {themeToggle} from "./theme.js";
import {TokenDialog} from "./token.js";

const POLL_MS = 2000;

const api = new Api();
const token = new TokenDialog();
const live = el("p", {class: "hidden", role: "status", "aria-live": "polite"});
const banner = el("div", {class: "banner", role: "alert"});
const notice = el("p", {class: "notice", role: "status"});
const say = (text: string) => { live.textContent = text; };
const tell = (text: string) => { notice.textContent = text; };

const limits = new Limits();
const files = new Files(api, say);
const calls = new Calls(api, say);
const sessions = new Sessions(api, entered);
const notebook = new Notebook(api, {
  say,
  tell,
  busy: running => {
    interrupt.disabled = !running;
    if (running) tell("");
  },
  ended: result => {
    say(result ? `Ended: ${result.status}` : "The run failed");
    if (api.hasToken || result) void refresh();
  },
});

const notebookFiles = new NotebookFiles(notebook, tell);

const interrupt = button("Interrupt", "Interrupt the running cell", () => notebook.interrupt(), {disabled: true});
const restart = button("Restart", "Restart the session", () => void restartSession());

const fork = button("Fork", "Fork the session", () => void forkSession(), {hidden: true});
const undo = button("Undo", "Undo the last run", () => void undoRun(), {hidden: true});

function entered(session: Session): void {
  files.session = session.id;
  notebook.enter(session);
  limits.show(session.policy ?? {});
  name.textContent = session.id;
  undo.hidden = session.policy?.["auto_checkpoint"] !== true;
  fork.hidden = session.policy?.["forkable"] !== true;
  void files.refresh();
}

const name = el("bdi", {});
const forget = button("Forget the token", "Forget the token", () => {
  notebook.dropOutputs();
  api.forgetToken();
  location.reload();
}, {hidden: !api.hasToken});

async function refresh(): Promise<void> {
  await Promise.all([files.refresh(), sessions.refresh()]).catch(report);
}

function report(problem: unknown): void {
  if (!(problem instanceof Problem)) throw problem;
  if (problem.code === "unreachable" || problem.status === 401) return;       // other code reports it
  banner.textContent = `${problem.message}. ${problem.hint}`;
}

async function restartSession(): Promise<void> {
  if (!await confirm("Restart the session?", "Its variables and files are deleted, and the outputs of the cells. The code stays.", "Restart")) return;
  try {
    notebook.dropOutputs();
    await sessions.restart();
    say("The session is restarted");
  } catch (problem) {
    report(problem);
  }
}

/** Cells run in a new session from now on, which goes on from this state. The old one stays as it is, and can be opened again. */
async function forkSession(): Promise<void> {
  const before = name.textContent;
  try {
    await sessions.fork(id => notebook.follow(id));
    tell(`The cells run in a new session with the same state now. Open ${before} in the list of sessions to go back to this state.`);
  } catch (problem) {
    refused(problem);
  }
}

async function undoRun(): Promise<void> {
  try {
    const run = await sessions.undo();
    notebook.undone(run);
    tell(`The session is as it was before run ${run}: its variables and files.`);
    await files.refresh();
  } catch (problem) {
    refused(problem);
  }
}

function refused(problem: unknown): void {
  if (!(problem instanceof Problem)) throw problem;
  tell(`${problem.message}. ${problem.hint}`);
}

// ---- The server: not reached, or not with this token ----

let asking = false;
api.onUnauthorized = () => void enter(api.hasToken ? "The server does not know this token." : "");

async function enter(message: string): Promise<void> {
  if (asking) return;
  asking = true;
  api.mayAsk = false;
  // The user of the new token must not see the outputs of the other one.
  if (api.setToken(await token.ask(message))) notebook.dropOutputs();
  asking = false;
  await start();
}

let lost = false;
api.onReachable = reachable => {
  if (reachable || lost) return;
  lost = true;
  api.mayAsk = false;
  banner.textContent = "The server can't be reached. The page connects again as soon as the server answers.";
  const timer = setInterval(async () => {
    if (!await api.isAlive()) return;
    clearInterval(timer);
    lost = false;
    banner.textContent = "";
    say("The server answers again");
    await start();
  }, POLL_MS);
};

async function start(): Promise<void> {
  try {
    await sessions.start();
    await sessions.refresh();
    banner.textContent = "";
    forget.hidden = !api.hasToken;
    document.body.dataset["ready"] = "true";
    api.mayAsk = true;
  } catch (problem) {
    report(problem);
  }
}

document.body.replaceChildren(
  el("header", {},
    el("h1", {}, "pyexec"), el("span", {class: "session"}, "session ", name), el("span", {class: "space"}),
    button("Run all", "Run all cells", () => notebook.runAll()), interrupt, restart, undo, fork,
    ...notebookFiles.elements, themeToggle(), helpButton(),
    banner, el("div", {class: "told"}, notice, button("✕", "Close the message", () => tell(""), {class: "icon"}))),
  el("div", {class: "columns"},
    el("main", {}, calls.element, notebook.element, button("+ Cell", "Add a cell", () => notebook.add(), {class: "add"})),
    el("aside", {"aria-label": "Session"}, files.element, limits.element, sessions.element,
      el("p", {class: "muted"}, el("a", {href: "openapi.json"}, "API"), " · ", el("a", {href: "playground/licenses.txt"}, "Licenses")),
      forget)),
  live, ...document.querySelectorAll("dialog"));
void start();
void calls.watch();

// SPDX-License-Identifier: Apache-2.0
/** A fleet of `pyexec worker` over NATS: which subject a request goes to, and where the sessions are. docs/scale.md has the protocol. */
import { setTimeout as sleep } from "node:timers/promises";

import { ConflictError, ConnectionLostError, ExecutionNotFoundError, InvalidRequestError, OverloadedError, SessionLostError, type PyexecError } from "./errors.js";
import { encode } from "./json.js";
import { converse } from "./nats-exchange.js";
import { Link, nameOf, subjectToken } from "./nats-link.js";
import { NEVER, problem, RemoteTransport, UNKNOWN, type RemoteRequest, type Reply, type Take } from "./remote.js";
import type { NatsOptions, Params } from "./transport.js";
import type { MissingNode } from "./types.js";

const DISCOVER_MS = 300;
const OVERLOADED_WAIT_MS = 200;
const REPEAT_MS = 60_000;           // so long a request with a key is sent again when its answer is lost
const STATE_MS = 10_000;            // so long a worker may wait with an answer without `accepted`
const REMEMBERED_SESSIONS = 100_000;
const EVENTS = { Accept: "text/event-stream" };

function jsonReply(value: object): Reply {
  return { status: 200, header: (name) => (name === "Content-Type" ? "application/json" : ""), body: encode({ ...value }) };
}

function parse<T>(reply: Reply): T {
  return JSON.parse(reply.body.toString("utf8")) as T;
}

export class NatsTransport extends RemoteTransport {
  readonly #link: Link;
  readonly #start: string;                                // of the subjects of runs
  readonly #nodes = new Map<string, string>();            // of sessions
  readonly #opening = new Map<string, Promise<Reply>>();  // sessions that a call makes or finds just now

  constructor(url: string, tokenOfNats: string | undefined, options: NatsOptions) {
    super();
    this.#link = new Link(url, tokenOfNats, options);
    this.#start = options.principal === undefined ? "pyexec.v1." : `pyexec.v1.as.${this.#link.principal}.`;
  }

  protected disconnect(): Promise<void> {
    return this.#link.end();
  }

  // With events the worker says that it has accepted the request. Only then it can be asked about it, or cancel it.
  #ask(subject: string, call: string, content?: Uint8Array, headers: Readonly<Record<string, string>> = EVENTS, take?: Take,
    signal?: AbortSignal): Promise<Reply | undefined> {
    return converse(this.#link, { subject, body: content, headers: call ? { "Pyexec-Call": call, ...headers } : headers }, take, signal);
  }

  /**
   * A request with a key is sent again when its answer is lost: it is executed now, or was started before. A refusal of a repetition does not
   * say that nothing was started, so it is repeated too.
   */
  protected async exchange(request: RemoteRequest, take: Take, signal: AbortSignal): Promise<Reply> {
    const { key } = request;
    if (key === undefined) return this.#exchangeOnce(request, take, signal);
    if (!/^[ -~]{1,128}$/.test(key))
      throw new InvalidRequestError("key: it is not 1 to 128 characters of printable ASCII", { hint: "Give for example the id of a task." });
    let lost: PyexecError | undefined;
    for (const end = performance.now() + REPEAT_MS; ; await sleep(OVERLOADED_WAIT_MS)) {
      try {
        const reply = await this.#exchangeOnce(request, take, signal);
        if (!lost || (reply.status !== 429 && reply.status !== 503)) return reply;
      } catch (failure) {
        if (signal.aborted || !(failure instanceof ConnectionLostError || failure instanceof OverloadedError)) throw failure;
        if (!lost && failure.hint !== UNKNOWN) throw failure;
        lost ??= failure;
      }
      if (performance.now() > end) throw lost;
    }
  }

  async #exchangeOnce(request: RemoteRequest, take: Take, signal: AbortSignal): Promise<Reply> {
    const { method, params } = request;
    if (method === "ping") {
      await this.#link.connected();
      return jsonReply({});
    }
    if (method === "list_sessions") return this.#gather(request, "sessions");
    if (method === "list_executions") return this.#gather(request, "executions");
    if (method === "create_session") return this.#create(request);
    if (params["execution_id"] !== undefined) return this.#ofExecution(request, take, signal);
    if (params["session_id"] !== undefined) return this.#ofSession(request, take, signal);
    const environment = (params["policy"] as Params | undefined)?.["environment"];
    const call = `${request.verb} ${request.path}`;
    if (typeof environment === "string" && /^[A-Za-z0-9_-]+$/.test(environment)) {
      const reply = await this.#ask(`${this.#start}run.${environment}`, call, request.content, headersOf(request), take, signal);
      if (reply) return reply;      // otherwise no node has it: the answer of any node says what is wrong
    }
    return this.#anywhere("run", call, request.content, headersOf(request), take, signal);
  }

  async #anywhere(subject: string, call: string, content?: Uint8Array, headers?: Readonly<Record<string, string>>, take?: Take,
    signal?: AbortSignal): Promise<Reply> {
    const reply = await this.#ask(this.#start + subject, call, content, headers, take, signal);
    if (reply) return reply;
    throw new OverloadedError("no node of the fleet has room, or there is none", {
      hint: `Check that \`pyexec worker --nats URL\` runs somewhere, or try again later. ${NEVER}`, retryAfterMs: OVERLOADED_WAIT_MS });
  }

  async #anyNode(): Promise<string> {
    return nameOf((await this.#anywhere("run", "GET /v1/environments")).header("Pyexec-Node"));
  }

  /** What a node has for the caller besides sessions. */
  #atNode(node: string): string {
    return `pyexec.v1.node.${node}.p.${this.#link.principal}`;
  }

  /** Asks all nodes for a list. `missing` of the answer names those that have refused, or whose answer is lost. */
  async #gather({ verb, path }: RemoteRequest, member: string): Promise<Reply> {
    const nodes = new Set(this.#nodes.values());
    const mailbox = this.#link.open("$SRV.PING.pyexec");
    try {
      await this.#link.connected();
      this.#link.publish(mailbox.subject, undefined, mailbox.reply);
      await sleep(DISCOVER_MS);
      for (let found = await mailbox.take(0); found; found = await mailbox.take(0))
        if (found.data.length) nodes.add(nameOf(found.json<{ id: string }>().id));
    } finally {
      mailbox.close();
    }
    const rows: unknown[] = [];
    const missing: MissingNode[] = [];
    let lists = 0;
    let failure: unknown;
    for (const node of [...nodes].sort()) {
      let status = 502;
      try {
        const reply = await this.#ask(this.#atNode(node), `${verb} ${path}`);
        if (!reply) continue;       // it has just ended, and what it had with it
        if (reply.status >= 400) {
          status = reply.status;
          throw problem(reply);
        }
        const list = parse<Record<string, unknown>>(reply)[member];
        if (!Array.isArray(list)) throw new TypeError(`the list of node ${node} is not valid`);
        for (const row of list) rows.push(row);
        lists++;
      } catch (refused) {
        failure = refused;
        missing.push({ node, status, title: (refused as Error).message });
      }
    }
    if (missing.length && !lists) throw failure;
    return jsonReply({ [member]: rows, missing });
  }

  // ---- Sessions ----

  #remember(session: string, node: string): void {
    this.#nodes.delete(session);
    this.#nodes.set(session, nameOf(node));
    if (this.#nodes.size > REMEMBERED_SESSIONS) this.#nodes.delete(this.#nodes.keys().next().value!);
  }

  async #open(session: string, content: Uint8Array | undefined): Promise<Reply> {
    try {
      const reply = await this.#anywhere("open", "", content);
      if (reply.status < 300) this.#remember(session, reply.header("Pyexec-Node"));
      return reply;
    } finally {
      this.#opening.delete(session);
    }
  }

  async #create({ params, content }: RemoteRequest): Promise<Reply> {
    const reply = await this.#open(String(params["session_id"]), content);
    if (reply.status === 200) throw new ConflictError("there is already a session with this id", { hint: "Choose another id." });
    return reply;
  }

  async #ofSession(request: RemoteRequest, take: Take, signal: AbortSignal): Promise<Reply> {
    const session = String(request.params["session_id"]);
    const { session_policy: policy, packages } = request.params;
    const isKnown = this.#nodes.has(session);
    // All calls wait for the first one's `open`, and then go on in their order.
    let opening = this.#opening.get(session), isMade = false;
    if (!opening && !isKnown && request.method === "execute") {
      opening = this.#open(session, encode({ id: session, ...(policy ? { policy } : {}), ...(packages ? { packages } : {}) }));
      this.#opening.set(session, opening);
      opening.then((reply) => (isMade = reply.status === 201), () => undefined);
    }
    const opened = await opening;
    if (opened && opened.status >= 400) return opened;
    if (!this.#nodes.has(session)) this.#remember(session, await this.#anyNode());      // it knows which node has it, or that none has
    let reply = await this.#atOwner(request, take, signal);
    if (reply.status === 421) {
      this.#remember(session, reply.header("Pyexec-Node"));
      reply = await this.#atOwner(request, take, signal);
    }
    if (reply.status === 410 || reply.status === 421 || (reply.status === 404 && !isKnown)) this.#nodes.delete(session);
    else if (request.method === "fork_session" && reply.status < 300)
      for (const branch of parse<{ sessions: string[] }>(reply).sessions) this.#remember(branch, reply.header("Pyexec-Node"));
    else if (isMade && reply.status === 200) {        // for the caller this call has made it
      const result = parse<{ session: { created: boolean } }>(reply);
      result.session.created = true;
      return { ...reply, body: encode({ ...result }) };
    }
    return reply;
  }

  #sessionAt(node: string, session: string): string {
    return `pyexec.v1.node.${node}.s.${this.#link.principal}.${subjectToken(session)}`;
  }

  async #atOwner(request: RemoteRequest, take: Take, signal: AbortSignal, again = true): Promise<Reply> {
    const session = String(request.params["session_id"]);
    const node = this.#nodes.get(session)!;
    const call = [request.verb, request.path.split("/").slice(4).map((part) => "/" + part).join("")].join(" ").trimEnd();
    const reply = await this.#ask(this.#sessionAt(node, session), call, request.content, headersOf(request), take, signal);
    if (reply) return reply;
    this.#nodes.delete(session);
    // The node is gone, or it only connects to another NATS server. Any node that is asked for the session knows, and makes the fleet forget one
    // that is lost. `open` would make a new one.
    const told = await this.#anyNode().then((other) => this.#ask(this.#sessionAt(other, session), "GET")).catch(() => undefined);
    if (told?.status === 410) return told;
    if ((told?.status === 200 || told?.status === 421) && again) {
      this.#remember(session, told.header("Pyexec-Node"));
      return this.#atOwner(request, take, signal, false);
    }
    throw new SessionLostError(`the session was at node ${node}, which is gone`, {
      hint: "Its state is lost. The next call with its id makes a new session." });
  }

  // ---- Detached executions ----

  async #ofExecution(request: RemoteRequest, take: Take, signal: AbortSignal): Promise<Reply> {
    const id = String(request.params["execution_id"]);
    const node = /^e-([A-Za-z0-9_-]+)-[^-]+$/.exec(id)?.[1] ?? (await this.#anyNode());
    const reply = request.method === "get_execution" ? await this.#state(node, request, signal)
      : await this.#ask(this.#atNode(node), `${request.verb} ${request.path}`, request.content, headersOf(request), take, signal);
    if (reply) return reply;
    throw new ExecutionNotFoundError(`the execution was at node ${node}, which is gone`, { hint: "Its result is lost. Start it again if it may run twice." });
  }

  /** Without events a worker does not say that it has the request, so it is asked again and again, each time for a short while. */
  async #state(node: string, { verb, path, params }: RemoteRequest, signal: AbortSignal): Promise<Reply | undefined> {
    for (let left = Number(params["wait_ms"]); ; left -= STATE_MS) {
      const wait = Math.min(left, STATE_MS);
      const reply = await this.#ask(this.#atNode(node), `${verb} ${path.replace(/\?.*/, "")}?wait_ms=${wait}`, undefined, {}, undefined, signal);
      if (!reply || reply.status >= 400 || left <= STATE_MS) return reply;
      const { state, calls } = parse<{ state: string; calls?: unknown[] }>(reply);
      if (state === "ended" || calls?.length) return reply;
    }
  }
}

/** The headers of HTTP, and the key. Without a type a worker takes a body as JSON. */
function headersOf({ headers, key, content }: RemoteRequest): Readonly<Record<string, string>> {
  return {
    ...EVENTS, ...(content ? { "Content-Type": "application/octet-stream" } : {}), ...headers, ...(key === undefined ? {} : { "Pyexec-Key": key }) };
}

// SPDX-License-Identifier: Apache-2.0
/** One request to a worker, from its first message to the last message of its answer. docs/scale.md has the protocol. */
import type { Msg } from "@nats-io/transport-node";

import { encode } from "./json.js";
import { nameOf, type Link, type Mailbox } from "./nats-link.js";
import { problem, type Post, type Reply, type Take } from "./remote.js";
import { quiet } from "./transport.js";

const ACCEPT_MS = 30_000;       // a worker answers at once when it takes a request
const QUIET_MS = 1_000;         // then the worker is asked whether it still has the request
const SILENT_MS = 30_000;       // without an answer to that, the request is lost
const ASK_MS = 2_000;           // for such an answer; also, after this time parts of a body are sent again
const PARTS_AHEAD = 4;          // parts without an answer
const LAST_MS = 1_000;          // for a last message that is on its way
const EVENT_BYTES = 2 ** 30;    // of all events of one request; its caller may not have read them yet
const CALLS = 10_000;           // of tools, by one request, that wait for their answers

export interface Sent {
  readonly subject: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | undefined;
}

function header(message: Msg | undefined, name: string): string {
  return message?.headers?.get(name) ?? "";
}

function numberOf(message: Msg, name: string): number {
  const text = header(message, name);
  if (!/^\d{1,15}$/.test(text)) throw new TypeError(`${name}: '${text.slice(0, 40)}' is not a number`);
  return Number(text);
}

/** NATS itself answers so if nobody listens on the subject. Then nothing was started. */
function nobodyListens(message: Msg): boolean {
  return message.headers?.code === 503 && !message.data.length;
}

/** Cuts a body into parts that fit into messages. */
function cut(body: Uint8Array, room: number): Uint8Array[] {
  return Array.from({ length: Math.max(1, Math.ceil(body.length / room)) }, (_, part) => body.subarray(part * room, (part + 1) * room));
}

class Exchange {
  readonly #link: Link;
  readonly #take: Take;
  readonly #mailbox: Mailbox;
  readonly #early = new Map<number, Msg>();       // messages that came before their turn
  #parts: Uint8Array[] = [];
  #about = "";                                    // the beginning of subjects about this request
  #number = 0;                                    // of the next message
  #pieces: Msg[] = [];                            // parts of a message that has not come wholly
  #heard = 0;
  #eventBytes = 0;
  #unanswered = 0;                                // calls of tools

  constructor(link: Link, subject: string, take: Take) {
    this.#link = link;
    this.#take = take;
    this.#mailbox = link.open(subject);
  }

  async run({ subject, headers, body = new Uint8Array() }: Sent, signal?: AbortSignal): Promise<Reply | undefined> {
    const abort = (): void => {
      this.#mailbox.fail(signal!.reason);
      this.#cancel();
    };
    let isSent = false, isOver = false;
    try {
      await this.#link.connected();
      signal?.throwIfAborted();
      signal?.addEventListener("abort", abort, { once: true });
      this.#parts = cut(body, this.#link.room);
      const parts: Record<string, string> = this.#parts.length > 1 ? { "Pyexec-Parts": String(this.#parts.length), "Pyexec-Bytes": String(body.length) } : {};
      this.#link.publish(subject, this.#parts[0], this.#mailbox.reply, { ...headers, ...parts });
      isSent = true;
      for (;;) {
        const message = await this.#next();
        if (nobodyListens(message)) {
          isOver = true;
          return undefined;
        }
        for (const one of this.#inOrder(message)) {
          const reply = await this.#message(one);
          if (!reply) continue;
          isOver = true;
          return reply;
        }
      }
    } finally {
      signal?.removeEventListener("abort", abort);
      if (isSent && !isOver) void quiet(this.#cancelLater());
      else this.#mailbox.close();
    }
  }

  async #next(): Promise<Msg> {
    this.#heard = performance.now();
    for (;;) {
      const message = await this.#mailbox.take(this.#about ? QUIET_MS : ACCEPT_MS);
      if (message) return message;
      if (!this.#about) throw this.#link.lost(`no worker has answered for ${ACCEPT_MS / 1000} seconds`);
      if (await this.#goesOn()) continue;
      const last = await this.#mailbox.take(LAST_MS);
      if (last) return last;
      throw this.#link.lost("the node is gone, or a message of the answer was lost");
    }
  }

  async #goesOn(): Promise<boolean> {
    const answer = await this.#link.ask(this.#about + ".ping", ASK_MS);
    if (!answer) return performance.now() - this.#heard < SILENT_MS;
    this.#heard = performance.now();
    return header(answer, "Pyexec-Status") === "204";
  }

  /** The other messages with a reply subject want an answer that is not empty. */
  #acknowledge(message: Msg): void {
    if (message.reply && (header(message, "Pyexec-Part") || !["tool_call", "tool_approval", "continue"].includes(header(message, "Pyexec-Event"))))
      this.#link.publish(message.reply);
  }

  /** Yields the messages whose turn it is. */
  *#inOrder(message: Msg): Generator<Msg> {
    if (!header(message, "Pyexec-Seq")) {
      yield message;
      return;
    }
    const number = numberOf(message, "Pyexec-Seq");
    if (!number && this.#number && header(message, "Pyexec-Event") === "accepted") this.#acceptedAgain(message);
    else if (number < this.#number) this.#acknowledge(message);      // it has come before, but its acknowledgement may be lost
    if (number < this.#number || this.#early.has(number)) this.#mailbox.release(message);
    else this.#early.set(number, message);
    for (let next = this.#early.get(this.#number); next; next = this.#early.get(this.#number)) {
      this.#early.delete(this.#number++);
      yield next;
    }
  }

  /** Takes one message. Returns the answer, if it is the last. */
  async #message(message: Msg): Promise<Reply | undefined> {
    let [first, data, reply] = [message, message.data, message.reply];
    this.#acknowledge(message);
    this.#pieces.push(message);
    if (header(message, "Pyexec-Part")) {
      if (numberOf(message, "Pyexec-Part") !== this.#pieces.length - 1) throw new TypeError(`part ${header(message, "Pyexec-Part")} is not the next one`);
      [first, reply] = [this.#pieces[0]!, undefined];
      if (this.#pieces.length < numberOf(first, "Pyexec-Parts")) return undefined;
      data = Buffer.concat(this.#pieces.map((piece) => piece.data));
    }
    for (const piece of this.#pieces) this.#mailbox.release(piece);
    this.#pieces = [];
    const body = Buffer.from(data.buffer, data.byteOffset, data.length);
    if (header(first, "Pyexec-Status")) return { status: numberOf(first, "Pyexec-Status"), header: (name) => header(first, name), body };
    const name = header(first, "Pyexec-Event");
    if (name === "accepted") this.#accepted(body);
    else if (name === "continue") await this.#upload(reply!);
    else if (name !== "alive") {
      this.#count(name, body.length);
      this.#take(name, body.toString("utf8"), header(first, "Pyexec-Event-Id"), this.#post(reply));
    }
    return undefined;
  }

  #count(name: string, bytes: number): void {
    if (name === "tool_call" || name === "tool_approval") this.#unanswered++;
    else this.#eventBytes += bytes;
    if (this.#eventBytes > EVENT_BYTES || this.#unanswered > CALLS) throw this.#link.lost("the node sends more events than a client takes");
  }

  /** A node has sent `open` on to the session's owner, which accepts it too, and counts from there. */
  #acceptedAgain(message: Msg): void {
    const before = this.#about;
    this.#accepted(Buffer.from(message.data));
    if (this.#about !== before) this.#number = 1;
  }

  #accepted(body: Buffer): void {
    const { node, request } = JSON.parse(body.toString("utf8")) as Record<string, unknown>;
    this.#about = `pyexec.v1.node.${nameOf(node)}.r.${nameOf(request)}`;
  }

  /** Sends the other parts. The worker takes them in their order. If it ends the request, its last message says why. */
  async #upload(subject: string): Promise<void> {
    const answers = this.#link.open(subject);
    let [arrived, sent, moved] = [1, 1, performance.now()];
    try {
      while (arrived < this.#parts.length && this.#mailbox.isEmpty && performance.now() - moved < SILENT_MS) {
        for (; sent < Math.min(this.#parts.length, arrived + PARTS_AHEAD); sent++)
          this.#link.publish(subject, this.#parts[sent], answers.reply, { "Pyexec-Part": String(sent) });
        const answer = await answers.take(ASK_MS);
        if (!answer) {
          sent = arrived;
          continue;
        }
        answers.release(answer);
        if (!header(answer, "Pyexec-Part")) return;         // nobody listens
        const part = numberOf(answer, "Pyexec-Part");
        if (part >= sent) throw new TypeError(`an answer to part ${part}, which was not sent`);
        if (part >= arrived) [arrived, moved] = [part + 1, performance.now()];
      }
    } finally {
      answers.close();
    }
  }

  /** How to answer a tool call. Its reply subject takes no parts, and a call in parts has none, so these answers go to the node. */
  #post(reply: string | undefined): Post {
    return async (callId, answer) => {
      this.#unanswered--;
      const body = encode({ ...answer });
      const node = this.#about.split(".")[3]!;
      const toCall = reply !== undefined && body.length <= this.#link.room;
      const given = await converse(this.#link, {
        subject: toCall ? reply : `pyexec.v1.node.${node}.p.${this.#link.principal}`, body,
        headers: { Accept: "text/event-stream", ...(toCall ? {} : { "Pyexec-Call": `POST /v1/calls/${encodeURIComponent(callId)}` }) } });
      if (given && given.status >= 400) throw problem(given);       // without an answer the run is lost, and its own call says so
    };
  }

  /** Ends the run, if its node is known. */
  #cancel(): void {
    if (this.#about) this.#link.publish(this.#about + ".cancel");
  }

  /** Ends the run when its node is known. If that can't be sent, the worker finds out that nobody listens to the answer. */
  async #cancelLater(): Promise<void> {
    try {
      this.#mailbox.recover();
      while (!this.#about) {
        const message = await this.#mailbox.take(ACCEPT_MS);
        if (header(message, "Pyexec-Event") !== "accepted") return;
        this.#accepted(Buffer.from(message!.data));
      }
      this.#cancel();
    } finally {
      this.#mailbox.close();
    }
  }
}

/** Sends a request to a worker, and returns its answer, or undefined if nobody listens on the subject. */
export function converse(link: Link, sent: Sent, take: Take = () => undefined, signal?: AbortSignal): Promise<Reply | undefined> {
  return new Exchange(link, sent.subject, take).run(sent, signal);
}

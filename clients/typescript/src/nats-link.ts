// SPDX-License-Identifier: Apache-2.0
/** The connection to a NATS server, with the package @nats-io/transport-node, which is loaded only for it. */
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { setImmediate as immediate, setTimeout as sleep } from "node:timers/promises";

import type { ConnectionOptions, Msg, NatsConnection } from "@nats-io/transport-node";

import { ConnectionLostError, PyexecError, UnauthorizedError } from "./errors.js";
import { CONNECT_MS, NEVER, UNKNOWN } from "./remote.js";
import { quiet, type NatsOptions } from "./transport.js";

const IDLE_MS = 5_000;
const FLUSH_MS = 1_000;
const HEADROOM = 4096;          // of a message, for its headers
const HELD_BYTES = 96 << 20;    // of messages of one request that wait here: four of 8 MiB ahead, and the parts of the longest answer
const MESSAGE_BYTES = 512;      // of a message besides its content
const EMPTY = new Uint8Array();

type Library = typeof import("@nats-io/transport-node");

async function library(): Promise<Library> {
  try {
    return await import("@nats-io/transport-node");
  } catch (failure) {
    throw new PyexecError("nats:// and tls:// need the package @nats-io/transport-node", {
      code: "package_not_found", hint: `npm install @nats-io/transport-node. ${NEVER}`, cause: failure });
  }
}

/** A name as a part of a subject. */
export function subjectToken(name: string): string {
  return Buffer.from(name).toString("base64url");
}

/** Checks a name from an answer, for a subject. */
export function nameOf(text: unknown): string {
  if (typeof text !== "string" || !/^[A-Za-z0-9_-]{1,200}$/.test(text)) throw new TypeError(`'${String(text).slice(0, 40)}' is not a name`);
  return text;
}

function cost(message: Msg): number {
  let bytes = MESSAGE_BYTES + message.data.length;
  for (const [name, values] of message.headers ?? []) bytes += name.length + values.join().length;
  return bytes;
}

/** The messages to one reply subject. */
export class Mailbox {
  readonly #messages: Msg[] = [];
  #failure: unknown;
  #wake: () => void = () => undefined;
  #held = 0;

  /** `subject`: where the request goes; `reply`: where its answers come. */
  constructor(readonly subject: string, readonly reply: string, readonly close: () => void) {}

  get isEmpty(): boolean {
    return !this.#messages.length;
  }

  /** Returns false if more messages wait than may. */
  put(message: Msg): boolean {
    if (this.#held > HELD_BYTES) return false;
    this.#held += cost(message);
    this.#messages.push(message);
    this.#wake();
    return this.#held <= HELD_BYTES;
  }

  /** The message does not wait any more. */
  release(message: Msg): void {
    this.#held -= cost(message);
  }

  /** Each take() now throws this, until recover(). */
  fail(failure: unknown): void {
    this.#failure ??= failure;
    this.#wake();
  }

  recover(): void {
    this.#failure = undefined;
  }

  /** Returns the next message, or undefined if none comes in this time. */
  async take(ms: number): Promise<Msg | undefined> {
    if (this.isEmpty && this.#failure === undefined) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    if (this.#failure !== undefined) throw this.#failure;
    return this.#messages.shift();
  }
}

export class Link {
  /** The servers, without passwords. */
  readonly name: string;
  /** The principal, as a part of a subject. */
  readonly principal: string;
  readonly #settings: (nats: Library) => ConnectionOptions;
  readonly #inbox: string;
  readonly #mailboxes = new Map<string, Mailbox>();
  #nats: Library | undefined;
  #connection: NatsConnection | undefined;
  #connecting: Promise<void> | undefined;
  #isUp = false;
  #isEnded = false;
  #idle: NodeJS.Timeout | undefined;
  #number = 0;

  constructor(url: string, tokenOfNats: string | undefined, options: NatsOptions) {
    const { credentials, principal = "local", inboxPrefix = "_INBOX", tls } = options;
    const scheme = url.slice(0, url.indexOf("://") + 3);
    const urls = url.split(",").map((one) => new URL(one.includes("://") ? one : scheme + one));
    const known = urls.find((one) => one.username);
    const [user, password] = [decodeURIComponent(known?.username ?? ""), decodeURIComponent(known?.password ?? "")];
    const secret = password ? "" : user || tokenOfNats;         // NATS reads a name without a password as a token
    const isTls = tls !== undefined || urls.some((one) => one.protocol === "tls:");
    this.name = urls.map((one) => one.host).join(",");
    this.principal = subjectToken(principal);
    this.#inbox = `${inboxPrefix}.${randomBytes(16).toString("hex")}`;
    this.#settings = (nats) => ({
      servers: urls.map((one) => one.host), name: "pyexec-client", timeout: 5000, reconnectTimeWait: 1000, maxReconnectAttempts: -1,
      ...(isTls ? { tls: tls ?? {} } : {}),
      ...(password ? { user, pass: password } : {}),
      ...(secret ? { token: secret } : {}),
      ...(credentials === undefined ? {} : { authenticator: nats.credsAuthenticator(readFileSync(credentials)) }),
    });
  }

  /** The bytes of a body that fit into one message. */
  get room(): number {
    const most = this.#connection?.info?.max_payload ?? 1 << 20;
    if (most > HEADROOM) return most - HEADROOM;
    throw this.lost(`the NATS server takes messages of at most ${most} bytes (max_payload)`,
      `pyexec needs more than ${HEADROOM}: set max_payload of the NATS server. ${NEVER}`);
  }

  /** Waits for the connection, and makes it if there is none. */
  async connected(): Promise<void> {
    if (!this.#connection || this.#connection.isClosed())
      await (this.#connecting ??= this.#connect().finally(() => (this.#connecting = undefined)));
    const connection = this.#connection;
    for (const end = performance.now() + CONNECT_MS; !this.#isUp; await sleep(20)) {       // it is being connected again
      if (this.#connection !== connection || connection?.isClosed() || performance.now() > end)
        throw this.lost("the connection is lost", `Check that a NATS server listens there. ${NEVER}`);
    }
  }

  async #connect(): Promise<void> {
    const nats = (this.#nats ??= await library());
    try {
      const connection = await nats.connect(this.#settings(nats));
      if (this.#isEnded) {
        await connection.close();
        throw new Error("the client is closed");
      }
      connection.subscribe(this.#inbox + ".*", { callback: (failure, message) => {
        if (failure) this.#refused([...this.#mailboxes.values()], failure);
        else this.#put(this.#mailboxes.get(message.subject.slice(this.#inbox.length + 1)), message);
      } });
      this.#connection = connection;
      this.#isUp = true;
      void this.#watch(connection);
      this.#rest();
    } catch (failure) {
      throw new ConnectionLostError(`${this.name}: ${(failure as Error).message}`, {
        hint: `Check that a NATS server listens there and that it lets this client in. ${NEVER}`, cause: failure });
    }
  }

  #put(mailbox: Mailbox | undefined, message: Msg): void {
    if (mailbox && !mailbox.put(message)) mailbox.fail(this.lost("the node sends more than it may without an acknowledgement"));
  }

  async #watch(connection: NatsConnection): Promise<void> {
    for await (const status of connection.status()) {
      if (this.#connection !== connection) return;
      if (status.type === "disconnect" || status.type === "reconnect") this.#isUp = status.type === "reconnect";
      if (status.type !== "error" || !("subject" in status.error)) continue;
      const { subject } = status.error;
      this.#refused([...this.#mailboxes.values()].filter((one) => one.subject === subject), status.error);
    }
  }

  /** The server does not let this client use a subject. */
  #refused(mailboxes: readonly Mailbox[], failure: Error): void {
    for (const mailbox of mailboxes) {
      mailbox.fail(new UnauthorizedError(`${this.name}: ${failure.message}`, {
        hint: `Check the options principal and inboxPrefix, and the permissions of the user. ${NEVER}`, cause: failure }));
    }
  }

  lost(why: string, hint: string = UNKNOWN): ConnectionLostError {
    return new ConnectionLostError(`${this.name}: ${why}`, { hint });
  }

  /** Makes a mailbox for the answers of a request to this subject. It stays until it is closed. */
  open(subject: string): Mailbox {
    const number = String(this.#number++);
    const mailbox = new Mailbox(subject, `${this.#inbox}.${number}`, () => {
      this.#mailboxes.delete(number);
      this.#rest();
    });
    this.#mailboxes.set(number, mailbox);
    clearTimeout(this.#idle);
    return mailbox;
  }

  /** Closes the connection later, if nobody uses it. It would keep Node running. */
  #rest(): void {
    clearTimeout(this.#idle);
    if (this.#connection && !this.#isEnded && !this.#mailboxes.size) this.#idle = setTimeout(() => void quiet(this.#disconnect()), IDLE_MS);
  }

  async #disconnect(): Promise<void> {
    clearTimeout(this.#idle);
    const connection = this.#connection;
    this.#connection = undefined;
    if (this.#isUp) await Promise.race([connection?.flush(), sleep(FLUSH_MS, undefined, { ref: false })]).catch(() => undefined);
    await connection?.close();
  }

  /** Closes the connection. Calls that were aborted just before still send their cancellation. */
  async end(): Promise<void> {
    this.#isEnded = true;
    await immediate();
    for (const mailbox of this.#mailboxes.values()) mailbox.fail(this.lost("the client is closed"));
    await this.#disconnect();
  }

  /** The caller has waited for connected(). */
  publish(subject: string, body: Uint8Array = EMPTY, reply?: string, headers: Readonly<Record<string, string>> = {}): void {
    try {
      const sent = this.#nats!.headers();
      for (const [name, value] of Object.entries(headers)) sent.set(name, value);
      this.#connection!.publish(subject, body, { ...(reply ? { reply } : {}), headers: sent });
    } catch (failure) {
      throw this.lost((failure as Error).message);
    }
  }

  /** Sends a message, and returns its first answer, or undefined if none comes in this time. */
  async ask(subject: string, ms: number, body?: Uint8Array, headers?: Readonly<Record<string, string>>): Promise<Msg | undefined> {
    const mailbox = this.open(subject);
    try {
      await this.connected();
      this.publish(subject, body, mailbox.reply, headers);
      return await mailbox.take(ms);
    } finally {
      mailbox.close();
    }
  }
}

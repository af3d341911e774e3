// SPDX-License-Identifier: Apache-2.0
/** A running `pyexec serve`, over its UNIX socket or TCP. Closing the connection of a call cancels its run. */
import * as http from "node:http";
import * as https from "node:https";

import { ConnectionLostError, PyexecError } from "./errors.js";
import { CONNECT_MS, NEVER, UNKNOWN, RemoteTransport, type Post, type RemoteRequest, type Reply, type Take } from "./remote.js";
import { serverEvents } from "./sse.js";
import { refuseKey } from "./transport.js";

const IDLE_MS = 4_000;      // shorter than any server's, so that no request is sent on a connection that the server is closing

async function bodyOf(response: http.IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of response) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

export class HttpTransport extends RemoteTransport {
  readonly #url: string;
  readonly #base: URL;
  readonly #socketPath: string | undefined;
  readonly #agent: http.Agent;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #post: Post = (id, answer) => this.call("answer", { call_id: id, ...answer }).answer;

  constructor(url: string, token?: string) {
    super();
    this.#url = url;
    this.#socketPath = url.startsWith("unix:") ? url.slice("unix:".length) : undefined;
    this.#base = new URL(this.#socketPath ? "http://localhost" : url);
    const options = { keepAlive: true, maxFreeSockets: 20, timeout: IDLE_MS };
    this.#agent = this.#base.protocol === "https:" ? new https.Agent(options) : new http.Agent(options);
    this.#headers = token ? { Authorization: "Bearer " + token } : {};
  }

  protected async exchange(request: RemoteRequest, take: Take, signal: AbortSignal): Promise<Reply> {
    refuseKey(request.key);
    const response = await this.#send(request, signal);
    try {
      const status = response.statusCode!;
      if (request.events && status < 400) return await this.#events(response, take);
      return { status, header: (name) => String(response.headers[name.toLowerCase()] ?? ""), body: await bodyOf(response) };
    } catch (failure) {
      throw this.#explain(failure, true);
    } finally {
      if (!response.complete) response.destroy();
    }
  }

  #send({ verb, path, content, headers, events }: RemoteRequest, signal: AbortSignal): Promise<http.IncomingMessage> {
    const length: Record<string, string> = content || verb === "POST" || verb === "PUT" ? { "Content-Length": String(content?.length ?? 0) } : {};
    const accept: Record<string, string> = events ? { Accept: "text/event-stream" } : {};
    return new Promise((resolve, reject) => {
      let connected = false;
      const request = (this.#base.protocol === "https:" ? https : http).request({
        method: verb, agent: this.#agent, signal, path: this.#base.pathname.replace(/\/$/, "") + path,
        headers: { ...this.#headers, ...headers, ...accept, ...length },
        ...(this.#socketPath ? { socketPath: this.#socketPath } : { hostname: this.#base.hostname.replace(/^\[|\]$/g, ""), port: this.#base.port }),
      });
      const timer = setTimeout(() => request.destroy(new Error(`no connection after ${CONNECT_MS / 1000} s`)), CONNECT_MS);
      const found = (): void => {
        connected = true;
        clearTimeout(timer);
      };
      request.on("socket", (socket) => {
        if (request.reusedSocket) found();
        else socket.once(this.#base.protocol === "https:" ? "secureConnect" : "connect", found);
      });
      request.on("response", resolve);
      request.on("close", () => clearTimeout(timer));
      request.on("error", (failure) => reject(this.#explain(failure, connected)));
      request.end(content);
    });
  }

  #explain(failure: unknown, connected: boolean): unknown {
    if (failure instanceof PyexecError) return failure;
    const told = failure instanceof Error ? failure.message || (failure as NodeJS.ErrnoException).code || failure.name : String(failure);
    return new ConnectionLostError(`${this.#url}: ${told}`, {
      hint: `Check that \`pyexec serve\` listens there. ${connected ? UNKNOWN : NEVER}`, cause: failure });
  }

  async #events(response: http.IncomingMessage, take: Take): Promise<Reply> {
    for await (const { name, data, id } of serverEvents(response)) {
      if (name === "result" || name === "error") {
        const header = (wanted: string): string => (wanted === "Content-Type" ? "application/json" : "");
        return { status: name === "result" ? 200 : 500, header, body: Buffer.from(data) };
      }
      take(name, data, id, this.#post);
    }
    throw new ConnectionLostError(`${this.#url}: the events ended without a result`, { hint: "Whether the code ran to its end is not known." });
  }

  protected async disconnect(): Promise<void> {
    this.#agent.destroy();
  }
}

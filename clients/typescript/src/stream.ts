// SPDX-License-Identifier: Apache-2.0
/** A run as an async iterator. */
import { settle, type Local, type Operation } from "./operation.js";
import type { Transport } from "./transport.js";
import type { Ended, Result, RunEvent } from "./types.js";

/**
 * Yields the events of a run, and its result last. The run begins with the first call of `next()` or `result()`. Leaving the loop before
 * the result (break, an error, `return()`) cancels the run.
 */
export class Stream implements AsyncIterableIterator<RunEvent | Ended> {
  readonly #transport: Transport;
  readonly #operation: () => Operation<Result>;
  readonly #local: Omit<Local, "onEvent">;
  readonly #ending = new AbortController();
  readonly #events: RunEvent[] = [];
  #wake: () => void = () => undefined;
  #running: Promise<Result> | undefined;
  #settled = false;
  #ended = false;

  /** @internal */
  constructor(transport: Transport, operation: () => Operation<Result>, local: Omit<Local, "onEvent">) {
    this.#transport = transport;
    this.#operation = operation;
    this.#local = local;
  }

  #start(): Promise<Result> {
    if (this.#running) return this.#running;
    const signal = this.#local.signal ? AbortSignal.any([this.#local.signal, this.#ending.signal]) : this.#ending.signal;
    const run = async (): Promise<Result> => settle(this.#transport, this.#operation(), {
      ...this.#local, signal, onEvent: (event) => {
        this.#events.push(event);
        this.#wake();
      } });
    this.#running = run();
    const end = (): void => {
      this.#settled = true;
      this.#wake();
    };
    this.#running.then(end, end);
    return this.#running;
  }

  async next(): Promise<IteratorResult<RunEvent | Ended, undefined>> {
    if (this.#ended) return { done: true, value: undefined };
    const running = this.#start();
    while (!this.#events.length && !this.#settled) await new Promise<void>((resolve) => (this.#wake = resolve));
    const event = this.#events.shift();
    if (event) return { done: false, value: event };
    this.#ended = true;
    return { done: false, value: { type: "result", result: await running } };
  }

  /** Ends the iteration, and cancels the run if it has no result yet. */
  async return(): Promise<IteratorReturnResult<undefined>> {
    this.#ended = true;
    if (this.#running && !this.#settled) this.#ending.abort();
    return { done: true, value: undefined };
  }

  /** Waits for the result. Events that were not read stay for the iteration. */
  result(): Promise<Result> {
    return this.#start();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }
}

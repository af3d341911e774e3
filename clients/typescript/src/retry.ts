// SPDX-License-Identifier: Apache-2.0
/** Repeats calls that were refused as overloaded. This is safe because their code never started. */
import { OverloadedError } from "./errors.js";
import { quiet, type Handlers, type Params, type Pending, type Transport } from "./transport.js";
import type { ProgramInfo } from "./types.js";

const LEAST_MS = 50;        // used if the refusal has no time
const SPREAD = 0.5;         // up to this part of the wait is added at random, so that refused callers do not all repeat at once

/**
 * Adds repetition to another transport. A call that is refused as overloaded is repeated after the time in the error, if that is within
 * `forMs` of the first attempt. Otherwise the call fails with the error.
 */
export class RetryingTransport implements Transport {
  readonly #inner: Transport;
  readonly #forMs: number;

  constructor(inner: Transport, forMs: number) {
    this.#inner = inner;
    this.#forMs = forMs;
  }

  get detaches(): boolean {
    return this.#inner.detaches;
  }

  start(): Promise<ProgramInfo> {
    return this.#inner.start();
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  call(method: string, params: Params, handlers?: Handlers): Pending {
    const until = performance.now() + this.#forMs;
    let cancelled = false;
    let wake: (() => void) | undefined;
    let attempt = this.#inner.call(method, params, handlers);
    const run = async (): Promise<unknown> => {
      for (;;) {
        try {
          return await attempt.answer;
        } catch (failure) {
          if (!(failure instanceof OverloadedError)) throw failure;
          const wait = Math.max(failure.retryAfterMs ?? 0, LEAST_MS) * (1 + SPREAD * Math.random());
          if (cancelled || performance.now() + wait > until) throw failure;
          await new Promise<void>((resolve) => {
            const timer = setTimeout(resolve, wait);
            wake = () => {
              clearTimeout(timer);
              resolve();
            };
          });
          wake = undefined;
          if (cancelled) throw failure;
          attempt = this.#inner.call(method, params, handlers);
        }
      }
    };
    return {
      answer: quiet(run()),
      cancel: () => {
        cancelled = true;
        attempt.cancel();
        wake?.();
      },
    };
  }
}

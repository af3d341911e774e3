// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import java.time.Duration;
import java.util.concurrent.ThreadLocalRandom;

/**
 * Repeats a call that was refused as overloaded. Each attempt waits for the time in the refusal, and for a random part of
 * up to half of it, so that refused callers do not all repeat at once. The code of such a call never started.
 */
final class OverloadRetry {
    private static final long LEAST_NANOS = Duration.ofMillis(50).toNanos();

    private final long endNanos;

    /** @param bound the time in which attempts may begin, from now on; null or zero: no further attempt */
    OverloadRetry(Duration bound) {
        endNanos = System.nanoTime() + (bound == null ? 0 : bound.toNanos());
    }

    /** How long to wait before the next attempt, or -1: there is none. */
    long waitNanos(PyExecutorOverloadedException refusal) {
        long told = Math.max(LEAST_NANOS, refusal.getRetryAfter() == null ? 0 : refusal.getRetryAfter().toNanos());
        long wait = told + ThreadLocalRandom.current().nextLong(told / 2 + 1);
        return System.nanoTime() + wait - endNanos > 0 ? -1 : wait;
    }
}

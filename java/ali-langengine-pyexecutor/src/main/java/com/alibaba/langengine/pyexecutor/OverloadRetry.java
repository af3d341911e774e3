// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import java.time.Duration;
import java.util.concurrent.ThreadLocalRandom;

/**
 * The further attempts of one call that is refused as overloaded: each after the time that the refusal says, and up to half
 * of it more at random, so that callers who were refused together do not come back together. The code never started.
 */
final class OverloadRetry {
    private static final long LEAST_NANOS = Duration.ofMillis(50).toNanos();

    private final long endNanos;

    /** @param bound from now on; null or zero: no further attempt */
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

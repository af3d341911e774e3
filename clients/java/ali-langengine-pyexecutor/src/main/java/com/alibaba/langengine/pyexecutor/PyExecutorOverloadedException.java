// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import java.time.Duration;

/** Too many calls at once. The code never started: the same call can be made again after {@link #getRetryAfter()}. */
public class PyExecutorOverloadedException extends PyExecutorException {
    private static final long serialVersionUID = 1L;

    /** How long to wait. */
    private final Duration retryAfter;

    PyExecutorOverloadedException(String message, String hint, Duration retryAfter) {
        super("overloaded", message, hint);
        this.retryAfter = retryAfter;
    }

    /** @return how long to wait before the next try */
    public Duration getRetryAfter() {
        return retryAfter;
    }
}

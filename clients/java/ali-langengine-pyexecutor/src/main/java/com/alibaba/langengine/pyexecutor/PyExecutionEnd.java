// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import java.time.Duration;

/**
 * The end of an execution: a result or a failure.
 *
 * @param sessionId the session, or null for a single run
 * @param result the result, of a time-out too; null when there is a failure
 * @param failure why there is no result: an exception of {@link PyExecutor#execute}, or a
 *     {@link java.util.concurrent.CancellationException} when the caller cancelled a future; null when there is a result
 * @param elapsed the time from the call to its end
 */
public record PyExecutionEnd(String sessionId, PyExecutionResult result, Throwable failure, Duration elapsed) {
    /**
     * The part of {@link #elapsed()} in which the code did not run: it waited for a free place or for its session's
     * earlier calls, or it was being sent.
     *
     * @return the time; null when there is no result
     */
    public Duration waited() {
        if (result == null) {
            return null;
        }
        Duration waited = elapsed.minusNanos((long) (result.getUsage().wallMillis() * 1_000_000));
        return waited.isNegative() ? Duration.ZERO : waited;
    }

    /**
     * What kind of failure it is, for programs.
     *
     * @return the code of a {@link PyExecutorException}, {@code invalid_request} for an {@link IllegalArgumentException},
     *     {@code cancelled} for an interrupt or a cancelled future, else {@code internal}; null when there is a result
     */
    public String failureCode() {
        if (failure == null) {
            return null;
        }
        if (failure instanceof PyExecutorException) {
            return ((PyExecutorException) failure).getCode();
        }
        if (failure instanceof InterruptedException || failure instanceof java.util.concurrent.CancellationException) {
            return "cancelled";
        }
        return failure instanceof IllegalArgumentException ? "invalid_request" : "internal";
    }
}

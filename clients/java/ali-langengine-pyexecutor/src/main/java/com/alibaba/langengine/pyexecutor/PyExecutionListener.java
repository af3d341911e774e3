// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import java.util.function.Consumer;

/**
 * Gets the start and the end of each execution. An exception that it throws is logged, and affects neither the result nor
 * other listeners.
 */
@FunctionalInterface
public interface PyExecutionListener {
    /**
     * An execution starts. This is called on the caller's thread, before the code is sent.
     *
     * @param sessionId the session, or null for a single run
     * @return is called once when the execution has ended, with a result or with a failure; null: nothing is called.
     *     It is called on the caller's thread, or for futures on one of {@link HostConfig#setAsyncExecutor}
     */
    Consumer<PyExecutionEnd> started(String sessionId);
}

// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import java.util.concurrent.Executor;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.SynchronousQueue;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;

/**
 * Completes the futures of an executor: on the caller's Executor, or on threads of its own. Its own threads are
 * used again, and end after a few seconds without work, so that no thread keeps a class loader in memory for long.
 */
final class AsyncExecutor implements Executor {
    private static final long IDLE_SECONDS = 2;

    private final Executor executor;
    private final ThreadPoolExecutor own;

    AsyncExecutor(Executor configured) {
        own = configured != null ? null : threads("pyexec-async");
        executor = configured != null ? configured : own;
    }

    /** As many threads as there are tasks. They end when they are idle. */
    static ThreadPoolExecutor threads(String name) {
        return new ThreadPoolExecutor(0, Integer.MAX_VALUE, IDLE_SECONDS, TimeUnit.SECONDS, new SynchronousQueue<>(), body -> {
            Thread thread = new Thread(body, name);
            thread.setDaemon(true);
            return thread;
        });
    }

    /** A command that the executor refuses runs on this thread at once. Otherwise its future would never complete. */
    @Override
    public void execute(Runnable command) {
        if (!tryExecute(command)) {
            command.run();
        }
    }

    /** Whether the executor takes the command. It never runs on this thread, unless the configured executor does that itself. */
    boolean tryExecute(Runnable command) {
        try {
            executor.execute(command);
            return true;
        } catch (RejectedExecutionException e) {
            return false;
        }
    }

    void close() {
        if (own != null) {
            own.shutdown();
        }
    }
}

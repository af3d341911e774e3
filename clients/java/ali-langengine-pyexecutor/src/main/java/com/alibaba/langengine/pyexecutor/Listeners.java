// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.Consumer;

/** The listeners of an executor. An exception of a listener is logged and not passed on. */
final class Listeners {
    private static final System.Logger LOG = System.getLogger("com.alibaba.langengine.pyexecutor");

    private final List<PyExecutionListener> all = new CopyOnWriteArrayList<>();

    void add(PyExecutionListener listener) {
        all.add(listener);
    }

    /** An execution whose end the listeners get. */
    static final class Watched {
        private final String sessionId;
        private final List<Consumer<PyExecutionEnd>> ends = new ArrayList<>();
        private final long startedNanos = System.nanoTime();

        private Watched(String sessionId) {
            this.sessionId = sessionId;
        }

        void ended(PyExecutionResult result, Throwable failure) {
            PyExecutionEnd end = new PyExecutionEnd(sessionId, result, failure, Duration.ofNanos(System.nanoTime() - startedNanos));
            ends.forEach(told -> guarded(() -> told.accept(end)));
        }
    }

    Watched start(String sessionId) {
        Watched watched = new Watched(sessionId);
        all.forEach(listener -> guarded(() -> {
            Consumer<PyExecutionEnd> end = listener.started(sessionId);
            if (end != null) {
                watched.ends.add(end);
            }
        }));
        return watched;
    }

    private static void guarded(Runnable listener) {
        try {
            listener.run();
        } catch (Exception | LinkageError | AssertionError e) {
            LOG.log(System.Logger.Level.WARNING, "A listener failed", e);
        }
    }
}

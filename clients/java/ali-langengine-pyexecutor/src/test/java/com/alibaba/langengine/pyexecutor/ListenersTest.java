package com.alibaba.langengine.pyexecutor;

import static com.alibaba.langengine.pyexecutor.LifeTest.until;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.logging.Handler;
import java.util.logging.Level;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import java.util.logging.SimpleFormatter;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The events that listeners and the log get, and on which threads. */
class ListenersTest {
    private final List<PyExecutionEnd> ends = new CopyOnWriteArrayList<>();

    private PyExecutor listenedTo(HostConfig host) {
        PyExecutor executor = new PyExecutor(null, new SessionConfig(), host);
        executor.addListener(sessionId -> {
            throw new IllegalStateException("at the start");
        });
        executor.addListener(sessionId -> end -> {
            throw new AssertionError("at the end");
        });
        executor.addResultListener(result -> {
            throw new IllegalStateException("at a result");
        });
        executor.addListener(sessionId -> ends::add);
        return executor;
    }

    @Test
    void aListenerThatThrowsLosesNothing() throws Exception {
        try (PyExecutor executor = listenedTo(new HostConfig())) {
            assertEquals("2", executor.executeOnce("1 + 1", null).getLastValueRepr());
            assertEquals("3", executor.executeAsync("s", "1 + 2", null).get(60, TimeUnit.SECONDS).getLastValueRepr());
            assertThrows(PyExecutionTimeoutException.class,
                    () -> executor.execute("s", "while True: pass", new PyExecutionOptions().setTimeout(Duration.ofMillis(100))));
        }
        assertEquals(3, ends.size());
        assertNull(ends.get(0).sessionId());
        assertEquals("3", ends.get(1).result().getLastValueRepr());
        assertEquals("s", ends.get(1).sessionId());
        assertEquals(PyExecutionResult.Status.TIMEOUT, ends.get(2).result().getStatus());
        assertNull(ends.get(2).failureCode());
    }

    @Test
    void failuresOfTheHostAreTold() throws Exception {
        try (PyExecutor executor = listenedTo(new HostConfig().setMaxConcurrent(1).setQueueLength(0).setRetryOverloaded(Duration.ZERO))) {
            CompletableFuture<PyExecutionResult> running = executor.executeOnceAsync("while True: pass", null);
            until(() -> ((Number) executor.stats().get("running")).intValue() == 1);
            assertThrows(PyExecutorOverloadedException.class, () -> executor.executeOnce("1", null));
            assertThrows(IllegalArgumentException.class, () -> executor.executeOnce("a\0", null));
            assertTrue(running.cancel(true));
            assertThrows(CancellationException.class, running::join);
            until(() -> ends.size() == 3);
        }
        assertEquals("overloaded", ends.get(0).failureCode());
        assertNull(ends.get(0).waited());
        assertEquals("invalid_request", ends.get(1).failureCode());
        assertEquals(PyExecutionResult.Status.CANCELLED, ends.get(2).result().getStatus());
    }

    @Test
    void theTimeInWhichACallWaitedIsTold() throws Exception {
        try (PyExecutor executor = listenedTo(new HostConfig().setMaxConcurrent(1))) {
            CompletableFuture<PyExecutionResult> first = executor.executeOnceAsync("import time\ntime.sleep(1)", null);
            until(() -> ((Number) executor.stats().get("running")).intValue() == 1);
            executor.executeOnce("1", null);
            first.get(60, TimeUnit.SECONDS);
            until(() -> ends.size() == 2);
        }
        PyExecutionEnd second = ends.stream().filter(end -> "1".equals(end.result().getLastValueRepr())).findFirst().orElseThrow();
        Duration ran = Duration.ofNanos((long) (second.result().getUsage().wallMillis() * 1_000_000));
        assertEquals(second.elapsed(), ran.plus(second.waited()));
        assertFalse(second.waited().isZero());
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void cancellingAFutureInterruptsTheScript(boolean byTimeout) throws Exception {
        PyExecutionPolicy policy = new PyExecutionPolicy();
        policy.setTimeout(Duration.ofMinutes(5));
        policy.setDisableOpen(false);
        try (PyExecutor executor = new PyExecutor(policy, new SessionConfig())) {
            executor.execute("s", "import time", null);
            CompletableFuture<PyExecutionResult> future = executor.executeAsync("s", "try:\n    open('started', 'w').close()\n"
                    + "    while True: time.sleep(0.05)\nexcept KeyboardInterrupt:\n    seen = 'interrupted'", null);
            until(() -> executor.listFiles("s").stream().anyMatch(file -> "started".equals(file.get("path"))));
            if (byTimeout) {
                future.orTimeout(1, TimeUnit.MILLISECONDS);
            } else {
                assertTrue(future.cancel(true));
            }
            assertEquals("'interrupted'", executor.execute("s", "seen", null).getLastValueRepr());
        }
    }

    @Test
    void futuresAreCompletedByTheExecutorThatWasSet() throws Exception {
        ExecutorService mine = Executors.newSingleThreadExecutor(body -> new Thread(body, "mine"));
        try (PyExecutor executor = new PyExecutor(null, null, new HostConfig().setAsyncExecutor(mine))) {
            List<String> threads = new CopyOnWriteArrayList<>();
            executor.addListener(sessionId -> end -> threads.add(Thread.currentThread().getName()));
            executor.executeOnceAsync("1", null).get(60, TimeUnit.SECONDS);
            assertEquals(List.of("mine"), threads);
            mine.shutdown();
            assertEquals("2", executor.executeOnceAsync("2", null).get(60, TimeUnit.SECONDS).getLastValueRepr(),
                    "one that refuses loses no result");
        } finally {
            mine.shutdown();
        }
    }

    @Test
    void theExecutorsOwnThreadsAreUsedAgain() throws Exception {
        try (PyExecutor executor = new PyExecutor(null)) {
            List<Long> threads = new CopyOnWriteArrayList<>();
            executor.addListener(sessionId -> end -> threads.add(Thread.currentThread().getId()));
            for (int i = 0; i < 40; i++) {
                executor.executeOnceAsync("1", null).get(60, TimeUnit.SECONDS);
            }
            assertTrue(threads.stream().distinct().count() < 20, threads.toString());
        }
    }

    @Test
    void theLogTellsStartRestartAndEviction() throws Exception {
        List<String> told = new CopyOnWriteArrayList<>();
        Handler handler = new Handler() {
            @Override
            public void publish(LogRecord record) {
                told.add(record.getLevel() + " " + new SimpleFormatter().formatMessage(record));
            }

            @Override
            public void flush() {
            }

            @Override
            public void close() {
            }
        };
        Logger logger = Logger.getLogger("com.alibaba.langengine.pyexecutor");
        logger.addHandler(handler);
        logger.setLevel(Level.FINE);
        try (PyExecutor executor = new PyExecutor(null, new SessionConfig().setMaxCount(1))) {
            executor.execute("a", "x = 1", null);
            long pid = ((NativeClient) executor.transport()).pid();
            assertTrue(told.get(0).startsWith("FINE Started the native program ") && told.get(0).endsWith(", process " + pid), told.toString());
            executor.execute("b", "1", null);
            executor.execute("a", "1", null);
            assertTrue(told.contains("INFO Session a began anew: its earlier state is gone (evicted)"), told.toString());
            ProcessHandle process = ProcessHandle.of(pid).orElseThrow();
            process.destroyForcibly();
            process.onExit().get(60, TimeUnit.SECONDS);
            executor.executeOnce("1", null);
            assertTrue(told.stream().anyMatch(line -> line.startsWith("WARNING the native program ")
                    && line.endsWith("It is started again; its sessions are gone.")), told.toString());
        } finally {
            logger.setLevel(null);
            logger.removeHandler(handler);
        }
    }
}

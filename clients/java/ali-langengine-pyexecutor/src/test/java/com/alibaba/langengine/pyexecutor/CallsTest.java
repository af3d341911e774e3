package com.alibaba.langengine.pyexecutor;

import static com.alibaba.langengine.pyexecutor.LifeTest.until;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.Test;

/** Threads and futures that wait for calls. */
class CallsTest extends OnHost {
    private static final String FOREVER = "import time\nwhile True: time.sleep(0.05)";

    private PyExecutor executor() throws Exception {
        PyExecutionPolicy policy = new PyExecutionPolicy();
        policy.setTimeout(Duration.ofMinutes(5));
        return host.executor(policy, new SessionConfig());
    }

    @Test
    void interruptingTheCallingThreadCancelsTheRun() throws Exception {
        try (PyExecutor executor = executor()) {
            executor.start();
            AtomicReference<Throwable> thrown = new AtomicReference<>();
            Thread caller = new Thread(() -> {
                try {
                    executor.executeOnce(FOREVER, null);
                } catch (Throwable e) {
                    thrown.set(e);
                }
            });
            caller.start();
            until(() -> host.running(executor) == 1);
            caller.interrupt();
            caller.join(60000);
            assertInstanceOf(InterruptedException.class, thrown.get());
            until(() -> host.running(executor) == 0);
            assertEquals("1", executor.executeOnce("1", null).getLastValueRepr());
        }
    }

    @Test
    void interruptingTheCallingThreadKeepsTheSession() throws Exception {
        try (PyExecutor executor = executor()) {
            executor.execute("s", "x = 42", null);
            Thread caller = new Thread(() -> assertThrows(InterruptedException.class, () -> executor.execute("s", FOREVER, null)));
            caller.start();
            until(() -> host.running(executor) == 1);
            caller.interrupt();
            caller.join(60000);
            assertEquals("42", executor.execute("s", "x", null).getLastValueRepr());
        }
    }

    @Test
    void aFutureGivesTheResultOrTheException() throws Exception {
        try (PyExecutor executor = executor()) {
            assertEquals("2", executor.executeOnceAsync("1 + 1", null).get(60, TimeUnit.SECONDS).getLastValueRepr());
            assertEquals("2", executor.executeAsync("s", "1 + 1", null).get(60, TimeUnit.SECONDS).getLastValueRepr());
            ExecutionException failed = assertThrows(ExecutionException.class, () -> executor.executeOnceAsync("a\0", null)
                    .get(60, TimeUnit.SECONDS));
            assertInstanceOf(IllegalArgumentException.class, failed.getCause());
            PyExecutionOptions brief = new PyExecutionOptions().setTimeout(Duration.ofMillis(100));
            failed = assertThrows(ExecutionException.class, () -> executor.executeOnceAsync(FOREVER, brief).get(60, TimeUnit.SECONDS));
            assertInstanceOf(PyExecutionTimeoutException.class, failed.getCause());
        }
    }

    @Test
    void whatFollowsAFutureMayCallTheExecutor() throws Exception {
        try (PyExecutor executor = executor()) {
            CompletableFuture<String> chained = executor.executeOnceAsync("20 + 1", null).thenApply(first -> {
                try {
                    return executor.executeOnce(first.getLastValueRepr() + " * 2", null).getLastValueRepr();
                } catch (Exception e) {
                    throw new IllegalStateException(e);
                }
            });
            assertEquals("42", chained.get(60, TimeUnit.SECONDS));
        }
    }

    @Test
    void cancellingAFutureCancelsTheRun() throws Exception {
        try (PyExecutor executor = executor()) {
            CompletableFuture<PyExecutionResult> future = executor.executeOnceAsync(FOREVER, null);
            until(() -> host.running(executor) == 1);
            assertTrue(future.cancel(true));
            until(() -> host.running(executor) == 0);
            assertTrue(future.isCancelled());
        }
    }

    @Test
    void manyCallsAtOnceAreAnsweredEachItsOwn() throws Exception {
        try (PyExecutor executor = executor()) {
            List<CompletableFuture<PyExecutionResult>> calls = new ArrayList<>();
            for (int i = 0; i < 200; i++) {
                calls.add(executor.executeOnceAsync("'call " + i + "'", null));
            }
            for (int i = 0; i < 200; i++) {
                assertEquals("'call " + i + "'", calls.get(i).get(120, TimeUnit.SECONDS).getLastValueRepr());
            }
        }
    }
}

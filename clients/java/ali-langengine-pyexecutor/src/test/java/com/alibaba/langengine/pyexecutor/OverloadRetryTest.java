// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import static com.alibaba.langengine.pyexecutor.LifeTest.until;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

/** A call that is refused as overloaded is made again, for a bounded time. */
class OverloadRetryTest {
    private static final String UNTIL_TOLD = "import os\nwhile not os.path.exists('end'): pass";

    private static PyExecutor narrow(Duration retry) {
        PyExecutionPolicy policy = new PyExecutionPolicy();
        policy.setTimeout(Duration.ofMinutes(5));
        policy.setCpuTimeSeconds(300);
        policy.setUseImportWhitelist(false);
        policy.getBannedImports().clear();
        policy.setDisableOpen(false);
        return new PyExecutor(policy, new SessionConfig(),
                new HostConfig().setMaxConcurrent(1).setMaxAsleep(0).setQueueLength(0).setRetryOverloaded(retry));
    }

    private static CompletableFuture<PyExecutionResult> busy(PyExecutor executor) throws Exception {
        CompletableFuture<PyExecutionResult> running = executor.executeAsync("busy", UNTIL_TOLD, null);
        until(() -> hasWorkspace(executor));
        return running;
    }

    /** Returns true if the session's process exists: then the call has its turn. */
    private static boolean hasWorkspace(PyExecutor executor) {
        try {
            executor.listFiles("busy");
            return true;
        } catch (IllegalArgumentException | PyExecutorException notYet) {
            return false;
        }
    }

    private static PyExecutorOverloadedException refusal(long milliseconds) {
        return new PyExecutorOverloadedException("full", null, Duration.ofMillis(milliseconds));
    }

    @Test
    void theWaitIsWhatTheRefusalSaysAndAtMostHalfMore() {
        OverloadRetry retry = new OverloadRetry(Duration.ofHours(1));
        for (int i = 0; i < 100; i++) {
            long wait = retry.waitNanos(refusal(200));
            assertTrue(wait >= 200_000_000L && wait <= 300_000_000L, "" + wait);
        }
        assertTrue(retry.waitNanos(refusal(0)) >= 50_000_000L);
        assertEquals(-1, retry.waitNanos(refusal(2 * 3600_000L)));
    }

    @Test
    void thereIsNoFurtherAttemptBeyondTheBoundOrWithoutOne() {
        assertEquals(-1, new OverloadRetry(Duration.ofMillis(100)).waitNanos(refusal(101)));
        assertEquals(-1, new OverloadRetry(Duration.ZERO).waitNanos(refusal(0)));
        assertEquals(-1, new OverloadRetry(null).waitNanos(refusal(0)));
    }

    @Test
    void callsWaitForTheTurnOfAFullProgram() throws Exception {
        try (PyExecutor executor = narrow(Duration.ofMinutes(5))) {
            CompletableFuture<PyExecutionResult> running = busy(executor);
            CompletableFuture<PyExecutionResult> waiting = executor.executeOnceAsync("6 * 7", null);
            CompletableFuture<PyExecutionResult> blocked = CompletableFuture.supplyAsync(() -> {
                try {
                    return executor.executeOnce("7 * 7", null);
                } catch (Exception e) {
                    throw new IllegalStateException(e);
                }
            });
            CompletableFuture<PyExecutionResult> givenUp = executor.executeOnceAsync("1", null);
            assertTrue(givenUp.cancel(true));
            assertThrows(CancellationException.class, givenUp::join);
            assertFalse(waiting.isDone() || blocked.isDone() || running.isDone());
            executor.writeFile("busy", "end", new byte[0]);
            assertTrue(running.get(60, TimeUnit.SECONDS).isOk());
            assertEquals("42", waiting.get(60, TimeUnit.SECONDS).getLastValueRepr());
            assertEquals("49", blocked.get(60, TimeUnit.SECONDS).getLastValueRepr());
        }
    }

    @Test
    void theErrorIsThrownWhenTheTimeIsOver() throws Exception {
        try (PyExecutor executor = narrow(Duration.ofMillis(300))) {
            CompletableFuture<PyExecutionResult> running = busy(executor);
            long began = System.nanoTime();
            assertThrows(PyExecutorOverloadedException.class, () -> executor.executeOnce("1", null));
            Throwable failure = assertThrows(java.util.concurrent.CompletionException.class, executor.executeOnceAsync("1", null)::join);
            assertEquals(PyExecutorOverloadedException.class, failure.getCause().getClass());
            assertTrue(System.nanoTime() - began >= Duration.ofMillis(100).toNanos());
            executor.writeFile("busy", "end", new byte[0]);
            assertTrue(running.get(60, TimeUnit.SECONDS).isOk());
        }
    }
}

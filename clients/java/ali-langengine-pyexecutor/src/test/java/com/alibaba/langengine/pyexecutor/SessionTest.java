package com.alibaba.langengine.pyexecutor;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Behaviour of the original that its callers rely on: sessions. */
class SessionTest extends OnHost {
    private PyExecutionPolicy policy;
    private PyExecutor executor;

    @BeforeEach
    void open() throws Exception {
        policy = new PyExecutionPolicy();
        executor = host.executor(policy, new SessionConfig());
    }

    @AfterEach
    void close() {
        executor.close();
    }

    private String value(String session, String code) throws Exception {
        return value(executor, session, code);
    }

    private static String value(PyExecutor executor, String session, String code) throws Exception {
        PyExecutionResult result = executor.execute(session, code, null);
        assertEquals(PyExecutionResult.Status.OK, result.getStatus(), () -> String.valueOf(result.getErrorRepr()));
        return result.getLastValueRepr();
    }

    @Test
    void stateLasts() throws Exception {
        value("s", "my_list = [1, 2, 3]");
        value("s", "my_list.append(4)");
        assertEquals("[1, 2, 3, 4]", value("s", "my_list"));
        assertEquals("False", value("t", "'my_list' in globals()"));
        PyExecutionResult.Session session = executor.execute("s", "1", null).getSession();
        assertEquals(new PyExecutionResult.Session("s", false, null, 4), session);
    }

    @Test
    void branchesGoOnFromTheState() throws Exception {
        policy.setForkable(true);
        value("a b", "x = [1]");
        List<String> made = executor.fork("a b", 2);
        assertEquals("[1, 2]", value(made.get(0), "x.append(2); x"));
        assertEquals("[1]", value(made.get(1), "x"));
        assertEquals("[1]", value("a b", "x"));
        assertEquals(List.of("up@x", "down"), executor.fork("a b", List.of("up@x", "down")));
        assertEquals("[1]", value("up@x", "x"));
        assertEquals(new PyExecutionResult.Session("down", false, null, 3), executor.execute("down", "x", null).getSession());
        executor.closeSession("a b");
        assertEquals("[1]", value(executor.fork("down", 1).get(0), "x"));
    }

    @Test
    void whatCanNotBeForkedIsRefused() throws Exception {
        value("plain", "1");
        assertEquals("session_not_forkable", assertThrows(PyExecutorException.class, () -> executor.fork("plain", 1)).getCode());
        policy.setForkable(true);
        value("s", "kept = 1");
        assertEquals("session_not_found", assertThrows(PyExecutorException.class, () -> executor.fork("t", 1)).getCode());
        assertThrows(IllegalArgumentException.class, () -> executor.fork("s", 0));
        assertThrows(IllegalArgumentException.class, () -> executor.fork("s", 1001));
        assertThrows(IllegalArgumentException.class, () -> executor.fork("s", List.of()));
        assertThrows(NullPointerException.class, () -> executor.fork(null, 1));
        assertTrue(assertThrows(IllegalArgumentException.class, () -> executor.fork("s", List.of("u", "s"))).getMessage().contains("'"));
    }

    @Test
    void aBusySessionIsForkedAfterItsCall() throws Exception {
        policy.setForkable(true);
        value("s", "kept = 1");
        CompletableFuture<PyExecutionResult> call = executor.executeAsync("s", "while True: pass", new PyExecutionOptions().setTimeout(Duration.ofMinutes(5)));
        LifeTest.until(() -> host.running(executor) == 1);
        forkBusy(executor);
        executor.interrupt("s");
        call.handle((result, failure) -> null).join();
        assertEquals("1", value(executor.fork("s", 1).get(0), "kept"));
    }

    /** What the session does while a call runs. */
    void forkBusy(PyExecutor busy) throws Exception {
        assertEquals("session_busy", assertThrows(PyExecutorException.class, () -> busy.fork("s", 1)).getCode());
    }

    @Test
    void callsAreUndone() throws Exception {
        policy.setAutoCheckpoint(true);
        value("a b", "x = [1]");
        value("a b", "x.append(2)");
        value("a b", "x.append(3)");
        assertEquals(new Undone(3, List.of(1L, 2L)), executor.undo("a b"));
        assertEquals("[1, 2]", value("a b", "x"));
        assertEquals(2, executor.undo("a b", 2).to());
        assertEquals("[1]", value("a b", "x"));
        assertEquals(1, executor.reset("a b").to());
        assertEquals("False", value("a b", "'x' in globals()"));
        assertThrows(IllegalArgumentException.class, () -> executor.undo("a b", 0));
        assertThrows(IllegalArgumentException.class, () -> executor.undo("a b", 77));
        assertEquals("session_not_found", assertThrows(PyExecutorException.class, () -> executor.undo("c")).getCode());
        assertThrows(NullPointerException.class, () -> executor.undo(null));
        policy.setAutoCheckpoint(false);
        policy.setForkable(true);
        value("s", "y = 1");
        assertThrows(IllegalArgumentException.class, () -> executor.undo("s"));
        executor.execute("s", "y = 2", new PyExecutionOptions().setCheckpoint(true));
        executor.undo("s");
        assertEquals("1", value("s", "y"));
    }

    @Test
    void stateSurvivesAnException() throws Exception {
        value("s", "kept = 42");
        PyExecutionResult failed = executor.execute("s", "1 / 0", null);
        assertEquals(1, failed.getExitCode());
        assertEquals("ZeroDivisionError: division by zero", failed.getErrorRepr());
        assertEquals("42", value("s", "kept"));
    }

    @Test
    void stateSurvivesATimeout() throws Exception {
        value("s", "kept = 42");
        assertThrows(PyExecutionTimeoutException.class, () -> executor.execute("s", "import time\ntime.sleep(60)",
                new PyExecutionOptions().setTimeout(Duration.ofMillis(200))));
        assertEquals("42", value("s", "kept"));
    }

    @Test
    void emptyStreamsOfASessionAreNull() throws Exception {
        PyExecutionResult result = executor.execute("s", "1", null);
        assertNull(result.getStdout());
        assertNull(result.getStderr());
        assertEquals("x\n", executor.execute("s", "print('x')", null).getStdout());
    }

    @Test
    void nullsAreNullPointerExceptions() {
        assertThrows(NullPointerException.class, () -> executor.execute(null, "1", null));
        assertThrows(NullPointerException.class, () -> executor.execute("s", null, null));
        assertThrows(NullPointerException.class, () -> executor.executeAsync(null, "1", null));
        assertThrows(NullPointerException.class, () -> executor.executeAsync("s", null, null));
        assertThrows(NullPointerException.class, () -> executor.closeSession(null));
        assertThrows(NullPointerException.class, () -> executor.interrupt(null));
    }

    /** Two different ids are never the same session, also if one of them looks like an encoded id. */
    @Test
    void anyTextIsASessionId() throws Exception {
        String digest = "sha:" + "0".repeat(64);
        List<String> ids = List.of("alice@example.com", "tenant/42", "\u7528\u6237", "", " ", ".", "..", "a b", "a/b", "\u00e4", "%41", "A",
                "enc:", "enc:A", "enc:alice_40_example.com", "enc:enc:A", "_40_", "@", "\n", "\0", "\ud83d\ude00", "\ud83d", "\ude00", digest,
                "x".repeat(128), "x".repeat(129), "y".repeat(100000), "\u7528".repeat(100), "../../etc");
        executor.close();
        executor = host.executor(policy, new SessionConfig().setMaxCount(0));
        for (int i = 0; i < ids.size(); i++) {
            PyExecutionResult made = executor.execute(ids.get(i), "n = " + i, null);
            assertEquals(new PyExecutionResult.Session(ids.get(i), true, null, 1), made.getSession());
        }
        for (int i = 0; i < ids.size(); i++) {
            assertEquals(Integer.toString(i), value(ids.get(i), "n"), ids.get(i));
        }
        executor.closeSession("alice@example.com");
        assertEquals("closed", executor.execute("alice@example.com", "1", null).getSession().restarted());
        assertEquals("7", value("a b", "n"));
        PyExecutorException unknown = assertThrows(PyExecutorException.class, () -> executor.interrupt("bob@example.com"));
        assertEquals("session_not_found", unknown.getCode());
        assertTrue(unknown.getMessage().contains("bob@example.com"), unknown.getMessage());
    }

    @Test
    void theTimeoutIsReadAtEachCall() throws Exception {
        value("s", "import time");
        policy.setTimeout(Duration.ofMillis(200));
        assertThrows(PyExecutionTimeoutException.class, () -> executor.execute("s", "time.sleep(60)", null));
        policy.setTimeout(Duration.ofMinutes(1));
        assertEquals("1", value("s", "time.sleep(0.3)\n1"));
        policy.setTimeout(new PyExecutionPolicy().getTimeout());
        assertEquals("1", value("s", "time.sleep(0.3)\n1"));
    }

    @Test
    void thatSessionsAreOffIsSaidFirst() throws Exception {
        for (SessionConfig off : new SessionConfig[] {null, new SessionConfig().setEnabled(false)}) {
            try (PyExecutor none = host.executor(policy, off)) {
                assertThrows(IllegalStateException.class, () -> none.execute(null, null, null));
                assertThrows(IllegalStateException.class, () -> none.executeAsync(null, null, null));
                none.closeSession(null);
                none.closeAll();
            }
        }
    }

    @Test
    void valuesBelowZeroAreTakenAsTheOriginalTookThem() throws Exception {
        policy.setMaxStdoutBytes(-1);
        policy.setMaxStderrBytes(-5);
        policy.setCpuTimeSeconds(0);
        assertEquals("5", value("s", "x = 5\nx"));
        assertEquals(5001, executor.execute("s", "print('x' * 5000)", null).getStdout().length());
    }

    @Test
    void aVariableWithoutAValueIsIgnored() throws Exception {
        PyExecutionOptions options = new PyExecutionOptions().putEnv("A", "1").putEnv("B", null).putEnv(null, "x");
        assertEquals("('1', None)", executor.execute("s", "import os\n(os.getenv('A'), os.getenv('B'))", options).getLastValueRepr());
        assertEquals("1", executor.executeOnce("1", new PyExecutionOptions().putEnv("B", null)).getLastValueRepr());
    }

    @Test
    void aSessionMayImportOs() throws Exception {
        assertEquals("True", value("s", "import os\nbool(os.getcwd())"));
        assertTrue(executor.execute("s", "import subprocess", null).getErrorRepr().contains("not allowed"));
        assertFalse(policy.getAllowedImports().contains("os"));
    }

    @Test
    void thePolicyIsReadWhenASessionIsMade() throws Exception {
        value("old", "1");
        policy.getAllowedImports().add("platform");
        policy.setPrintLastExpression(false);
        assertEquals("1", value("old", "1"));
        assertTrue(executor.execute("old", "import platform", null).getErrorRepr().contains("not allowed"));
        assertNull(value("new", "import platform\n1"));
        executor.closeSession("old");
        assertNull(value("old", "import platform\n1"));
    }

    @Test
    void workingDirectoryEnvironmentAndInputHoldForOneCall() throws Exception {
        PyExecutionOptions options = new PyExecutionOptions().setWorkingDirRelative("sub").putEnv("ONCE", "yes").setStdin("in");
        PyExecutionResult result = executor.execute("s", "import os\n[os.getcwd()[-4:], os.environ['ONCE'], input()]", options);
        assertEquals("['/sub', 'yes', 'in']", result.getLastValueRepr(), result.getErrorRepr());
        assertEquals("[False, None]", value("s", "[os.getcwd().endswith('/sub'), os.environ.get('ONCE')]"));
    }

    @Test
    void aWorkingDirectoryThatLeavesIsAnIllegalArgument() throws Exception {
        for (String folder : new String[] {"../x", "/etc", "a/../.."}) {
            String message = assertThrows(IllegalArgumentException.class,
                    () -> executor.execute("s", "1", new PyExecutionOptions().setWorkingDirRelative(folder))).getMessage();
            assertTrue(message.startsWith("outside sandbox: "), message);
        }
        assertEquals("1", value("s", "1"));
    }

    @Test
    void variablesThatWereGivenStay() throws Exception {
        executor.execute("s", "n += 1", new PyExecutionOptions().putInput("n", 41));
        assertEquals(42L, executor.execute("s", "n", new PyExecutionOptions().setValueJson("split")).getLastValueJson());
    }

    @Test
    void aClosedSessionsIdStartsAnew() throws Exception {
        value("s", "x = 1");
        executor.closeSession("s");
        PyExecutionResult result = executor.execute("s", "'x' in globals()", null);
        assertEquals("False", result.getLastValueRepr());
        assertEquals(new PyExecutionResult.Session("s", true, "closed", 1), result.getSession());
        executor.closeSession("never there");
    }

    @Test
    void closeAllEndsAllAndTheExecutorGoesOn() throws Exception {
        value("a", "x = 1");
        value("b", "x = 1");
        executor.closeAll();
        assertEquals(0L, executor.stats().get("sessions"));
        assertEquals("False", value("a", "'x' in globals()"));
        assertEquals("1", executor.executeOnce("1", null).getLastValueRepr());
    }

    @Test
    void closingDuringACallCancelsIt() throws Exception {
        CompletableFuture<PyExecutionResult> running = executor.executeAsync("s", "print('on', flush=True)\nwhile True: pass", null);
        LifeTest.until(() -> host.running(executor) == 1);
        executor.closeSession("s");
        assertEquals(PyExecutionResult.Status.CANCELLED, running.get(20, TimeUnit.SECONDS).getStatus());
    }

    @Test
    void theLeastRecentlyUsedMakesRoom() throws Exception {
        try (PyExecutor two = host.executor(policy, new SessionConfig().setMaxCount(2))) {
            value(two, "a", "x = 1");
            value(two, "b", "x = 2");
            value(two, "a", "x");
            value(two, "c", "x = 3");
            assertEquals("1", value(two, "a", "x"));
            assertEquals("evicted", two.execute("b", "1", null).getSession().restarted());
        }
    }

    @Test
    void busySessionsAreNotEvicted() throws Exception {
        try (PyExecutor one = host.executor(policy, new SessionConfig().setMaxCount(1))) {
            CompletableFuture<PyExecutionResult> busy = one.executeAsync("a", "import time\ntime.sleep(60)", null);
            LifeTest.until(() -> host.running(one) == 1);
            assertEquals("session_limit", assertThrows(PyExecutorException.class, () -> one.execute("b", "1", null)).getCode());
            one.interrupt("a");
            assertEquals("KeyboardInterrupt", busy.get(20, TimeUnit.SECONDS).getError().type());
            assertEquals("1", value(one, "b", "1"));
        }
    }

    @Test
    void idleSessionsEnd() throws Exception {
        try (PyExecutor brief = host.executor(policy, new SessionConfig().setIdleTtl(Duration.ofMillis(200)))) {
            value(brief, "s", "x = 1");
            LifeTest.until(() -> ((Number) brief.stats().get("sessions")).intValue() == 0);
            assertEquals("idle_ttl", brief.execute("s", "1", null).getSession().restarted());
        }
    }

    @Test
    void oldSessionsEnd() throws Exception {
        try (PyExecutor brief = host.executor(policy, new SessionConfig().setHardTtl(Duration.ofMillis(300)))) {
            value(brief, "s", "x = 1");
            LifeTest.until(() -> ((Number) brief.stats().get("sessions")).intValue() == 0);
            assertEquals("hard_ttl", brief.execute("s", "1", null).getSession().restarted());
        }
    }

    @Test
    void sessionsWithoutTtlsStay() throws Exception {
        try (PyExecutor lasting = host.executor(policy, new SessionConfig().setIdleTtl(null).setHardTtl(null).setMaxCount(0))) {
            value(lasting, "s", "x = 1");
            assertEquals("1", value(lasting, "s", "x"));
        }
    }

    @Test
    void interruptKeepsTheState() throws Exception {
        value("s", "x = 1");
        CompletableFuture<PyExecutionResult> running = executor.executeAsync("s", "while True: x += 1", null);
        LifeTest.until(() -> host.running(executor) == 1);
        executor.interrupt("s");
        PyExecutionResult result = running.get(20, TimeUnit.SECONDS);
        assertEquals("KeyboardInterrupt", result.getError().type());
        assertEquals("True", value("s", "x >= 1"));
    }

    @Test
    void theDefaultWorkspaceIsInMemoryAndReachedThroughTheApi() throws Exception {
        policy.setDisableOpen(false);
        value("s", "open('a.txt', 'w').write('hello')");
        assertEquals("hello", new String(executor.readFile("s", "a.txt"), StandardCharsets.UTF_8));
        executor.writeFile("s", "b.bin", new byte[] {0, -1});
        assertEquals("b'\\x00\\xff'", value("s", "open('b.bin', 'rb').read()"));
        assertEquals(List.of(Map.of("path", "a.txt", "bytes", 5L), Map.of("path", "b.bin", "bytes", 2L)), executor.listFiles("s"));
        executor.deleteFile("s", "a.txt");
        assertEquals(1, executor.listFiles("s").size());
        assertFalse(Files.exists(Paths.get(System.getProperty("java.io.tmpdir"), "s")));
    }

    @Test
    void theDefaultsOfTheConfiguration() {
        SessionConfig config = new SessionConfig();
        assertTrue(config.isEnabled());
        assertEquals(50, config.getMaxCount());
        assertEquals(Duration.ofMinutes(10), config.getIdleTtl());
        assertEquals(Duration.ofHours(1), config.getHardTtl());
        assertEquals(System.getProperty("java.io.tmpdir"), config.getWorkspaceRoot());
    }

    @Test
    void tenThreadsOnTenSessions() throws Exception {
        ExecutorService threads = Executors.newFixedThreadPool(10);
        try {
            List<Future<String>> answers = new ArrayList<>();
            for (int i = 0; i < 10; i++) {
                String id = "s" + i;
                int step = i + 1;
                answers.add(threads.submit(() -> {
                    value(id, "n = 0");
                    for (int call = 0; call < 20; call++) {
                        value(id, "n += " + step);
                    }
                    return value(id, "n");
                }));
            }
            for (int i = 0; i < 10; i++) {
                assertEquals(Integer.toString(20 * (i + 1)), answers.get(i).get(60, TimeUnit.SECONDS));
            }
        } finally {
            threads.shutdownNow();
        }
    }

    @Test
    void callsOfOneSessionRunOneAfterAnotherInOrder() throws Exception {
        value("s", "seen = []");
        List<CompletableFuture<PyExecutionResult>> calls = new ArrayList<>();
        for (int i = 0; i < 20; i++) {
            calls.add(executor.executeAsync("s", "seen.append(" + i + ")", null));
        }
        CompletableFuture.allOf(calls.toArray(new CompletableFuture<?>[0])).get(60, TimeUnit.SECONDS);
        assertEquals("[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]", value("s", "seen"));
    }
}

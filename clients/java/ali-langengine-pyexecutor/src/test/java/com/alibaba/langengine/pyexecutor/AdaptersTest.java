package com.alibaba.langengine.pyexecutor;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import org.junit.jupiter.api.Test;

/** Other public classes of the original that code may use directly. */
class AdaptersTest {
    @Test
    void aManagerKeepsSessionsById() throws Exception {
        PyExecutionPolicy policy = new PyExecutionPolicy();
        SessionConfig config = new SessionConfig().setMaxCount(2);
        SessionManager manager = new SessionManager(policy, config);
        try {
            assertSame(policy, manager.getPolicy());
            assertSame(config, manager.getConfig());
            DaemonSession first = manager.getOrCreate("alice@example.com");
            assertTrue(first.isAlive());
            assertTrue(first.getProcess().isAlive());
            assertTrue(first.getCreationEpochMs() > 0 && first.getLastUsedEpochMs() >= first.getCreationEpochMs());
            first.setLastUsedEpochMs(5);
            assertEquals(5, first.getLastUsedEpochMs());
            first.exec("x = 42", null, policy);
            assertTrue(first.getLastUsedEpochMs() > 5);
            assertSame(first, manager.getOrCreate("alice@example.com"));
            assertEquals("42", first.exec("x", null, null).getLastValueRepr());

            manager.getOrCreate("b");
            manager.getOrCreate("c");
            assertFalse(first.isAlive(), "the least recently used one made room");
            DaemonSession anew = manager.getOrCreate("alice@example.com");
            assertNotSame(first, anew);
            assertEquals("False", anew.exec("'x' in globals()", null, null).getLastValueRepr());
            manager.close("alice@example.com");
            assertFalse(anew.isAlive());
            manager.closeAll();
            assertEquals(new SessionConfig().getMaxCount(), new SessionManager(null, null).getConfig().getMaxCount());
        } finally {
            manager.closeAll();
        }
    }

    @Test
    void aCallsOwnTimeoutComesBeforeThePolicys() throws Exception {
        SessionManager manager = new SessionManager(null, null);
        DaemonSession session = manager.getOrCreate("s");
        PyExecutionPolicy hurried = new PyExecutionPolicy();
        hurried.setTimeout(Duration.ofMillis(200));
        assertThrows(PyExecutionTimeoutException.class, () -> session.exec("import time\ntime.sleep(60)", null, hurried));
        PyExecutionOptions patient = new PyExecutionOptions().setTimeout(Duration.ofMinutes(1));
        assertEquals("1", session.exec("import time\ntime.sleep(0.3)\n1", patient, hurried).getLastValueRepr());
        assertEquals(Duration.ofMinutes(1), patient.getTimeout());
        manager.closeAll();
    }

    @Test
    void aSessionStartsInAFolder() throws Exception {
        Path root = Files.createTempDirectory("pyexec-daemon");
        DaemonSession session = new DaemonSession();
        assertFalse(session.isAlive());
        assertNull(session.getProcess());
        assertThrows(IllegalStateException.class, () -> session.exec("1", null, null));
        session.start(new PyExecutionPolicy(), root.resolve("new/folder"));
        Process process = session.getProcess();
        assertEquals("'" + root.resolve("new/folder") + "'", session.exec("import os\nos.getcwd()", null, null).getLastValueRepr());
        assertThrows(IllegalStateException.class, () -> session.start(null, root));
        session.shutdown();
        assertFalse(session.isAlive());
        process.waitFor();
        assertFalse(Files.exists(root.resolve("new/folder")));
        Files.delete(root.resolve("new"));
        Files.delete(root);
    }

    @Test
    void aPreludeIsAPythonProgramThatDoesNothing() throws Exception {
        for (String source : new String[] {PreludeBuilderDaemon.render(new PyExecutionPolicy()), PreludeBuilderOnce.render(new PyExecutionPolicy())}) {
            try (PyExecutor executor = new PyExecutor(null)) {
                PyExecutionResult result = executor.executeOnce(source, null);
                assertTrue(result.isOk() && result.getStdout().isEmpty() && result.getLastValueRepr() == null, result.toString());
            }
            assertTrue(source.contains("\"timeout_ms\":5000"), source);
        }
    }
}

package com.alibaba.langengine.pyexecutor;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import org.junit.jupiter.api.Test;

/** Behaviour that callers of the original rely on, and that only the local mode has: folders and interpreters of this machine. */
class LocalTest {
    private static PyExecutionResult run(PyExecutionPolicy policy, String code, PyExecutionOptions options) throws Exception {
        try (PyExecutor executor = new PyExecutor(policy)) {
            return executor.executeOnce(code, options);
        }
    }

    private static PyExecutionPolicy files() {
        PyExecutionPolicy policy = new PyExecutionPolicy();
        policy.setDisableOpen(false);
        return policy;
    }

    @Test
    void aFolderBelowTmpdirIsTheRunsWorkspace() throws Exception {
        Path folder = Files.createTempDirectory("pyexec-parity");
        try {
            Files.write(folder.resolve("in.txt"), "hello".getBytes());
            PyExecutionOptions options = new PyExecutionOptions().setWorkingDirRelative(folder.getFileName().toString());
            PyExecutionResult result = run(files(), "open('out.txt', 'w').write(open('in.txt').read().upper())", options);
            assertEquals("5", result.getLastValueRepr(), result.getErrorRepr());
            assertEquals("HELLO", new String(Files.readAllBytes(folder.resolve("out.txt"))));
            assertEquals("out.txt", result.getFiles().get(0).path());
            assertEquals("created", result.getFiles().get(0).change());
        } finally {
            Files.deleteIfExists(folder.resolve("out.txt"));
            Files.deleteIfExists(folder.resolve("in.txt"));
            Files.delete(folder);
        }
    }

    @Test
    void aLinkThatLeadsOutOfTmpdirIsOutside() throws Exception {
        Path link = Paths.get(System.getProperty("java.io.tmpdir"), "pyexec-parity-link-" + ProcessHandle.current().pid());
        Files.createSymbolicLink(link, Paths.get("/etc"));
        try {
            PyExecutionOptions options = new PyExecutionOptions().setWorkingDirRelative(link.getFileName().toString());
            assertTrue(assertThrows(IllegalArgumentException.class, () -> run(files(), "1", options)).getMessage()
                    .startsWith("outside sandbox: "));
        } finally {
            Files.delete(link);
        }
    }

    @Test
    void aMissingInterpreterIsNamed() {
        PyExecutionPolicy policy = new PyExecutionPolicy();
        policy.setPythonBin("/nonexistent/python3");
        PyExecutorException thrown = assertThrows(PyExecutorException.class, () -> run(policy, "1", null));
        assertEquals("python_not_found", thrown.getCode());
        assertTrue(thrown.getMessage().contains("/nonexistent/python3"), thrown.getMessage());
    }

    @Test
    void aSetWorkspaceRootIsAFolderOfTheHost() throws Exception {
        Path root = Files.createTempDirectory("pyexec-root");
        try (PyExecutor rooted = new PyExecutor(files(), new SessionConfig().setWorkspaceRootPath(root))) {
            Files.createDirectory(root.resolve("mine"));
            Files.write(root.resolve("mine/in.txt"), "hello".getBytes(StandardCharsets.UTF_8));
            assertEquals("'hello'", value(rooted, "mine", "open('in.txt').read()"));
            value(rooted, "other", "open('out.txt', 'w').write('x')");
            assertTrue(Files.exists(root.resolve("other/out.txt")));
            assertEquals("'" + root.resolve("mine") + "'", value(rooted, "mine", "import os\nos.getcwd()"));
        }
        assertTrue(Files.exists(root.resolve("mine/in.txt")), "a folder that was there before stays");
        assertFalse(Files.exists(root.resolve("other")), "one that pyexec made goes");
        Files.delete(root.resolve("mine/in.txt"));
        Files.delete(root.resolve("mine"));
        Files.delete(root);
    }

    @Test
    void anAddressSpaceOfZeroIsNoLimit() throws Exception {
        PyExecutionPolicy policy = new PyExecutionPolicy();
        policy.setAddressSpaceBytes(0L);
        policy.getAllowedImports().add("resource");
        PyExecutionResult result = run(policy, "import resource\nresource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY", null);
        assertEquals("True", result.getLastValueRepr(), result.getErrorRepr());
    }

    @Test
    void aCountBelowZeroAndATtlOfZeroAreNoLimits() throws Exception {
        SessionConfig config = new SessionConfig().setMaxCount(-1).setIdleTtl(Duration.ZERO).setHardTtl(Duration.ofSeconds(-1));
        try (PyExecutor lenient = new PyExecutor(null, config)) {
            for (int i = 0; i < 3; i++) {
                value(lenient, "s" + i, "x = 5");
            }
            assertEquals("5", value(lenient, "s0", "x"));
        }
        try (PyExecutor longest = new PyExecutor(null, new SessionConfig().setIdleTtl(Duration.ofSeconds(Long.MAX_VALUE)).setHardTtl(Duration.ofNanos(1)))) {
            assertEquals("1", value(longest, "s", "1"));
        }
    }

    /** This is also true without file access, the default. If the root does not exist, it is made, as in the original. */
    @Test
    void aSessionsFolderIsMadeAndSeenAtItsPathUnderEveryFilePolicy() throws Exception {
        Path root = Files.createTempDirectory("pyexec-root");
        for (PyExecutionPolicy policy : new PyExecutionPolicy[] {new PyExecutionPolicy(), files()}) {
            try (PyExecutor rooted = new PyExecutor(policy, new SessionConfig().setWorkspaceRoot(root + "/new/root"))) {
                assertEquals("'" + root + "/new/root/s'", value(rooted, "s", "import os\nos.getcwd()"));
                assertEquals("rwx------", PosixFilePermissions.toString(Files.getPosixFilePermissions(root.resolve("new/root/s"))));
                assertEquals("'" + root + "/new/root/enc:a_40_b'", value(rooted, "a@b", "import os\nos.getcwd()"));
            }
        }
        Files.delete(root.resolve("new/root"));
        Files.delete(root.resolve("new"));
        Files.delete(root);
    }

    private static String value(PyExecutor executor, String session, String code) throws Exception {
        PyExecutionResult result = executor.execute(session, code, null);
        assertTrue(result.isOk(), () -> String.valueOf(result.getErrorRepr()));
        return result.getLastValueRepr();
    }
}

package com.alibaba.langengine.pyexecutor;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.lang.ref.WeakReference;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The native process: its restarts and ends. */
class LifeTest {
    private static final String FOREVER = "import time\nwhile True: time.sleep(0.05)";

    /** Waits until the condition is true, at most a minute. */
    static void until(Callable<Boolean> holds) throws Exception {
        long end = System.nanoTime() + TimeUnit.MINUTES.toNanos(1);
        while (!holds.call()) {
            assertTrue(System.nanoTime() < end, "it does not become so");
            Thread.sleep(10);
        }
    }

    private static PyExecutor executor() {
        PyExecutionPolicy policy = new PyExecutionPolicy();
        policy.setTimeout(Duration.ofMinutes(5));
        return new PyExecutor(policy, new SessionConfig());
    }

    private static long pid(PyExecutor executor) throws Exception {
        return ((NativeClient) executor.transport()).pid();
    }

    private static int running(PyExecutor executor) {
        return ((Number) executor.stats().get("running")).intValue();
    }

    private static List<Long> familyOf(long pid) {
        List<Long> pids = ProcessHandle.of(pid).orElseThrow().descendants().map(ProcessHandle::pid).collect(Collectors.toList());
        pids.add(pid);
        return pids;
    }

    /** Returns true if the process has ended, even if its parent has not waited for it yet. */
    private static boolean isGone(long pid) {
        try {
            String stat = new String(Files.readAllBytes(Paths.get("/proc/" + pid + "/stat")));
            return "ZX".indexOf(stat.charAt(stat.lastIndexOf(')') + 2)) >= 0;
        } catch (IOException e) {
            return true;
        }
    }

    private static void assertAllGone(List<Long> pids) throws Exception {
        assertTrue(pids.size() >= 4, "rpc, outer process, supervisor and zygotes: " + pids);
        until(() -> pids.stream().allMatch(LifeTest::isGone));
    }

    @Test
    void tooManyCallsAreATypedException() throws Exception {
        HostConfig host = new HostConfig().setMaxConcurrent(1).setQueueLength(0).setRetryOverloaded(null);
        try (PyExecutor executor = new PyExecutor(null, null, host)) {
            CompletableFuture<PyExecutionResult> running = executor.executeOnceAsync("import time\nend = time.time() + 4\nwhile time.time() < end: pass", null);
            until(() -> running(executor) == 1);
            PyExecutorOverloadedException refused = assertThrows(PyExecutorOverloadedException.class, () -> executor.executeOnce("1", null));
            assertEquals("overloaded", refused.getCode());
            assertFalse(refused.getRetryAfter().isZero());
            running.get(60, TimeUnit.SECONDS);
            assertEquals("1", executor.executeOnce("1", null).getLastValueRepr());
        }
    }

    @Test
    void aDeadNativeProcessIsReplacedAndItsSessionsSaySo() throws Exception {
        try (PyExecutor executor = executor()) {
            executor.execute("kept", "x = 1", null);
            executor.execute("closed", "x = 1", null);
            CompletableFuture<PyExecutionResult> running = executor.executeAsync("busy", FOREVER, null);
            until(() -> running(executor) == 1);
            long pid = pid(executor);
            List<Long> family = familyOf(pid);
            ProcessHandle.of(pid).orElseThrow().destroyForcibly();
            ExecutionException failed = assertThrows(ExecutionException.class, () -> running.get(60, TimeUnit.SECONDS));
            assertEquals("internal", ((PyExecutorException) failed.getCause()).getCode());
            assertTrue(failed.getCause().getMessage().contains("exit status 137"), failed.getCause().getMessage());
            assertAllGone(family);

            assertEquals("1", executor.executeOnce("1", null).getLastValueRepr());
            assertEquals(new PyExecutionResult.Session("kept", true, "host_restart", 1), executor.execute("kept", "1", null).getSession());
            assertEquals("host_restart", executor.execute("busy", "1", null).getSession().restarted());
            assertNull(executor.execute("kept", "1", null).getSession().restarted());
            assertNull(executor.execute("new", "1", null).getSession().restarted());
        }
    }

    @Test
    void aClosedExecutorLeavesNothingAndRefuses() throws Exception {
        PyExecutor executor = executor();
        executor.execute("s", "1", null);
        CompletableFuture<PyExecutionResult> running = executor.executeAsync("s", FOREVER, null);
        until(() -> running(executor) == 1);
        List<Long> family = familyOf(pid(executor));
        executor.close();
        assertAllGone(family);
        assertEquals(PyExecutionResult.Status.CANCELLED, running.get(60, TimeUnit.SECONDS).getStatus());
        assertEquals("shutting_down", assertThrows(PyExecutorException.class, () -> executor.executeOnce("1", null)).getCode());
        executor.close();
    }

    @Test
    void anExecutorThatNobodyHoldsIsClosed() throws Exception {
        PyExecutor executor = executor();
        executor.executeOnce("1", null);
        List<Long> family = familyOf(pid(executor));
        WeakReference<PyExecutor> forgotten = new WeakReference<>(executor);
        executor = null;
        until(() -> {
            System.gc();
            return forgotten.get() == null;
        });
        assertAllGone(family);
    }

    @ParameterizedTest
    @ValueSource(strings = {"exit", "kill"})
    void theEndOfTheJvmLeavesNoPython(String how) throws Exception {
        Process jvm = new ProcessBuilder(Path.of(System.getProperty("java.home"), "bin", "java").toString(), "-cp",
                System.getProperty("java.class.path"), "-D" + NativeProgram.PROPERTY + "=" + System.getProperty(NativeProgram.PROPERTY, ""),
                Holder.class.getName()).redirectError(ProcessBuilder.Redirect.INHERIT).start();
        try (BufferedReader out = new BufferedReader(new InputStreamReader(jvm.getInputStream()))) {
            List<Long> family = familyOf(Long.parseLong(out.readLine()));
            if (how.equals("exit")) {
                jvm.getOutputStream().write('\n');
                jvm.getOutputStream().flush();
            } else {
                jvm.destroyForcibly();
            }
            assertTrue(jvm.waitFor(60, TimeUnit.SECONDS));
            assertAllGone(family);
        } finally {
            jvm.destroyForcibly();
        }
    }

    /** A JVM with a busy session and a busy run, which calls System.exit when it reads a line. */
    static final class Holder {
        private Holder() {
        }

        public static void main(String[] args) throws Exception {
            PyExecutor executor = executor();
            executor.executeAsync("s", FOREVER, null);
            executor.executeOnceAsync("while True: pass", null);
            until(() -> running(executor) == 2);
            System.out.println(pid(executor));
            System.out.flush();
            System.in.read();
            System.exit(0);
        }
    }

    /** A terminal signals the foreground process group, systemd all processes of a service. */
    @ParameterizedTest
    @ValueSource(strings = {"INT", "TERM", "HUP"})
    void aSignalToTheProcessGroupCancelsNoCall(String signal) throws Exception {
        // If a JVM is started with an ignored signal, for example by nohup, this signal never ends it.
        Process jvm = new ProcessBuilder("setsid", "env", "--default-signal=" + signal,
                Path.of(System.getProperty("java.home"), "bin", "java").toString(), "-cp",
                System.getProperty("java.class.path"), "-D" + NativeProgram.PROPERTY + "=" + System.getProperty(NativeProgram.PROPERTY, ""),
                Finisher.class.getName()).redirectError(ProcessBuilder.Redirect.INHERIT).start();
        try (BufferedReader out = new BufferedReader(new InputStreamReader(jvm.getInputStream()))) {
            long pid = Long.parseLong(out.readLine());
            List<Long> family = familyOf(pid);
            assertTrue(pid > 1 && jvm.pid() > 1);
            assertEquals(0, new ProcessBuilder("sh", "-c", "kill -s " + signal + " -- -" + jvm.pid()).inheritIO().start().waitFor());
            assertEquals("OK 'done'", out.readLine());
            assertTrue(jvm.waitFor(60, TimeUnit.SECONDS));
            assertAllGone(family);
        } finally {
            jvm.destroyForcibly();
        }
    }

    /** A JVM with a running call. When a signal tells the JVM to end, it first finishes the call. */
    static final class Finisher {
        private Finisher() {
        }

        public static void main(String[] args) throws Exception {
            PyExecutionPolicy policy = new PyExecutionPolicy();
            policy.setTimeout(Duration.ofMinutes(5));
            policy.setDisableOpen(false);
            PyExecutor executor = new PyExecutor(policy, new SessionConfig());
            executor.execute("s", "1", null); // a call counts as running before its session has a workspace
            CompletableFuture<PyExecutionResult> running = executor.executeAsync("s",
                    "import os, time\nwhile not os.path.exists('go'):\n    time.sleep(0.02)\n'done'", null);
            until(() -> running(executor) == 1);
            Runtime.getRuntime().addShutdownHook(new Thread(() -> {
                executor.writeFile("s", "go", new byte[0]);
                PyExecutionResult result = running.join();
                System.out.println(result.getStatus() + " " + result.getLastValueRepr());
                System.out.flush();
            }));
            System.out.println(pid(executor));
            System.out.flush();
            Thread.sleep(Long.MAX_VALUE);
        }
    }
}

package com.alibaba.langengine.pyexecutor;

import static com.alibaba.langengine.pyexecutor.LifeTest.until;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.FutureTask;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Who reads the answers: the threads that wait for them, in turn. */
class AnswerReadingTest {
    private static final String FOREVER = "import time\nwhile True: time.sleep(0.05)";
    private static final int CALLS = 200;

    private static PyExecutor executor(HostConfig host) {
        PyExecutionPolicy policy = new PyExecutionPolicy();
        policy.setTimeout(Duration.ofMinutes(5));
        policy.setDisableOpen(false);
        return new PyExecutor(policy, new SessionConfig(), host);
    }

    private static String value(PyExecutor executor, String session, String code) throws Exception {
        return executor.execute(session, code, null).getLastValueRepr();
    }

    /** A thread with one call. */
    private static final class Caller extends Thread {
        private final PyExecutor executor;
        private final String session;
        private final String code;
        private volatile PyExecutionResult result;
        private volatile Throwable thrown;

        Caller(PyExecutor executor, String session, String code) {
            this.executor = executor;
            this.session = session;
            this.code = code;
            start();
        }

        @Override
        public void run() {
            try {
                result = executor.execute(session, code, null);
            } catch (Throwable e) {
                thrown = e;
            }
        }

        Caller ended() throws InterruptedException {
            join(TimeUnit.MINUTES.toMillis(1));
            assertFalse(isAlive(), "the thread still waits");
            return this;
        }
    }

    /** Starts a call in a session that exists, and returns when it runs. */
    private static Caller running(PyExecutor executor, String session, String code) throws Exception {
        value(executor, session, "1");
        int before = count(executor);
        Caller caller = new Caller(executor, session, code);
        until(() -> count(executor) > before);
        return caller;
    }

    private static int count(PyExecutor executor) {
        return ((Number) executor.stats().get("running")).intValue();
    }

    private static long waits(Path status) throws IOException {
        try (Stream<String> lines = Files.lines(status)) {
            return lines.filter(line -> line.startsWith("voluntary_ctxt_switches:")).mapToLong(line -> Long.parseLong(line.substring(24).trim())).sum();
        }
    }

    /** How often the threads waited that read the answers for which no other thread waits. */
    private static long waitsOfAnswerThreads() throws IOException {
        long sum = 0;
        try (Stream<Path> tasks = Files.list(Path.of("/proc/self/task"))) {
            for (Path task : tasks.toList()) {
                try {
                    sum += Files.readString(task.resolve("comm")).startsWith("pyexec-answers") ? waits(task.resolve("status")) : 0;
                } catch (IOException e) {
                    // The thread has ended.
                }
            }
        }
        return sum;
    }

    private static void signal(String which, long pid) throws Exception {
        assertTrue(pid > 1);
        assertEquals(0, new ProcessBuilder("kill", which, Long.toString(pid)).inheritIO().start().waitFor());
    }

    private static long pid(PyExecutor executor) throws Exception {
        return ((NativeClient) executor.transport()).pid();
    }

    @Test
    void aThreadThatWaitsAloneWakesNoOtherThread() throws Exception {
        try (PyExecutor executor = executor(null)) {
            value(executor, "s", "x = 0");
            long own = waits(Path.of("/proc/thread-self/status"));
            long others = waitsOfAnswerThreads();
            for (int i = 1; i <= CALLS; i++) {
                assertEquals(Integer.toString(i), value(executor, "s", "x += 1\nx"));
            }
            // If one thread read for all callers, that thread would wait once for each answer, and the caller would wait once for that thread.
            assertTrue(waitsOfAnswerThreads() - others < CALLS / 10, "answers are read by another thread");
            assertTrue(waits(Path.of("/proc/thread-self/status")) - own < 2 * CALLS, "the caller waits more than once for each answer");
        }
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void anInterruptEndsTheWaitAndAnotherThreadReadsOn(boolean first) throws Exception {
        try (PyExecutor executor = executor(null)) {
            Caller one = running(executor, "one", first ? FOREVER : "import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\n'one'");
            Caller two = running(executor, "two", first ? "import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\n'two'" : FOREVER);
            Caller interrupted = first ? one : two;
            Caller other = first ? two : one;
            long pid = pid(executor);
            signal("-STOP", pid);
            try {
                interrupted.interrupt();
                assertInstanceOf(InterruptedException.class, interrupted.ended().thrown);
            } finally {
                signal("-CONT", pid);
            }
            executor.writeFile(other.session, "go", new byte[0]);
            assertNull(other.ended().thrown);
            assertEquals("'" + other.session + "'", other.result.getLastValueRepr());
            until(() -> count(executor) == 0);
            assertEquals("7", value(executor, interrupted.session, "7"));
        }
    }

    @Test
    void eachOfManyThreadsGetsItsOwnAnswerWhileOthersAreInterrupted() throws Exception {
        try (PyExecutor executor = executor(new HostConfig().setQueueLength(2000))) {
            executor.start();
            List<Caller> callers = new ArrayList<>();
            for (int i = 0; i < 600; i++) {
                callers.add(new Caller(executor, "s" + i % 6, "'call " + i + "'"));
                if (i % 3 == 2) {
                    callers.get(i - 1).interrupt();
                }
            }
            for (int i = 0; i < callers.size(); i++) {
                Caller caller = callers.get(i).ended();
                if (i % 3 != 1 || caller.result != null) {
                    assertNull(caller.thrown);
                    assertEquals("'call " + i + "'", caller.result.getLastValueRepr());
                } else {
                    assertInstanceOf(InterruptedException.class, caller.thrown);
                }
            }
        }
    }

    @Test
    void futuresAndThreadsGetTheirAnswersFromEachOther() throws Exception {
        try (PyExecutor executor = executor(null)) {
            value(executor, "slow", "1");
            var slow = executor.executeAsync("slow", "import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\n'slow'", null);
            until(() -> count(executor) == 1);
            Caller thread = running(executor, "thread", "import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)\n'thread'");
            for (int i = 0; i < 20; i++) {
                assertEquals(Integer.toString(i), value(executor, "s", Integer.toString(i)));
                assertEquals(Integer.toString(i), executor.executeAsync("s", Integer.toString(i), null).get(1, TimeUnit.MINUTES).getLastValueRepr());
            }
            executor.writeFile("slow", "go", new byte[0]);
            assertEquals("'slow'", slow.get(1, TimeUnit.MINUTES).getLastValueRepr());
            executor.writeFile("thread", "go", new byte[0]);
            assertEquals("'thread'", thread.ended().result.getLastValueRepr());
        }
    }

    @Test
    void aToolThatRunsOnTheReadingThreadMayMakeCalls() throws Exception {
        try (PyExecutor executor = executor(new HostConfig().setAsyncExecutor(Runnable::run))) {
            PyExecutionOptions options = new PyExecutionOptions().putTool("ask", Map.of(), arguments -> {
                try {
                    return executor.execute("other", "6 * 7", null).getLastValueRepr();
                } catch (Exception e) {
                    throw new IllegalStateException(e);
                }
            });
            assertEquals("'42'", executor.execute("s", "ask()", options).getLastValueRepr());
        }
    }

    @Test
    void closingEndsTheCallsOfThreadsThatWait() throws Exception {
        PyExecutor executor = executor(null);
        Caller one = running(executor, "one", FOREVER);
        Caller two = running(executor, "two", FOREVER);
        executor.close();
        assertEquals(PyExecutionResult.Status.CANCELLED, one.ended().result.getStatus());
        assertEquals(PyExecutionResult.Status.CANCELLED, two.ended().result.getStatus());
    }

    @Test
    void theEndOfTheProcessFailsTheCallsOfThreadsThatWait() throws Exception {
        try (PyExecutor executor = executor(null)) {
            Caller one = running(executor, "one", FOREVER);
            Caller two = running(executor, "two", FOREVER);
            signal("-KILL", pid(executor));
            for (Caller caller : List.of(one, two)) {
                assertInstanceOf(PyExecutorException.class, caller.ended().thrown);
                assertTrue(caller.thrown.getMessage().contains("exit status 137"), caller.thrown.getMessage());
            }
            assertEquals("host_restart", executor.execute("one", "1", null).getSession().restarted());
        }
    }

    @Test
    void aProcessThatEndsWhileNobodyWaitsIsNoticed() throws Exception {
        try (PyExecutor executor = executor(null)) {
            value(executor, "s", "x = 1");
            long pid = pid(executor);
            signal("-KILL", pid);
            until(() -> pid(executor) != pid);
            assertEquals("1", value(executor, "s", "1"));
        }
    }

    /** A program of an earlier version does not know the request by which answers come through a socket. */
    @Test
    void anEarlierProgramAnswersThroughItsPipe() throws Exception {
        Path script = Files.createTempFile("pyexec-earlier", ".sh");
        try {
            Files.setPosixFilePermissions(script, PosixFilePermissions.fromString("rwx------"));
            Files.writeString(script, "#!/bin/sh\nsed -u s/move_answers/no_such_request/ | '" + NativeProgram.find(null).path + "' \"$@\"\n");
            // The system property of this JVM goes before the configuration, so the calls are made by another JVM.
            expect("21 42 2 cancelled", script);
        } finally {
            Files.delete(script);
        }
    }

    @Test
    void withoutATemporaryFolderTheAnswersComeThroughThePipe() throws Exception {
        expect("21 42 2 cancelled", NativeProgram.find(null).path, "-Djava.io.tmpdir=/nonexistent");
    }

    /** Compares the output of another JVM, which uses this program. */
    /** Lines that the test sends, and how often a thread began to wait for one. */
    private static final class SentLines extends AnswerLines {
        private final BlockingQueue<String> sent = new LinkedBlockingQueue<>();
        private final AtomicInteger waits = new AtomicInteger();

        @Override
        boolean isInterruptible() {
            return true;
        }

        @Override
        int read(byte[] into) throws InterruptedException {
            waits.incrementAndGet();
            byte[] line = sent.take().getBytes(StandardCharsets.UTF_8);
            System.arraycopy(line, 0, into, 0, line.length);
            return line.length == 0 ? -1 : line.length;
        }

        @Override
        public void close() {
            sent.add("");
        }
    }

    @Test
    void whileTheAnswersMoveToTheirSocketOnlyOneThreadReads() throws Exception {
        SentLines pipe = new SentLines();
        SentLines socket = new SentLines();
        Map<String, AnswerReading.Turn<String>> turns = Map.of("moved", new AnswerReading.Turn<>(), "1", new AnswerReading.Turn<>());
        AnswerReading[] self = new AnswerReading[1];
        AnswerReading reading = new AnswerReading(pipe, line -> self[0].arrived(turns.get(line), line));
        self[0] = reading;
        pipe.sent.add("moved\n");
        reading.readUntil(turns.get("moved"));
        reading.continueWith(socket);

        FutureTask<String> answer = new FutureTask<>(() -> reading.await(turns.get("1")));
        Thread waiter = new Thread(answer);
        waiter.start();
        until(() -> waiter.getState() == Thread.State.WAITING);
        assertEquals(0, socket.waits.get());

        FutureTask<Boolean> server = new FutureTask<>(reading::serve);
        new Thread(server).start();
        until(() -> socket.waits.get() == 1);
        socket.sent.add("1\n");
        assertEquals("1", answer.get(60, TimeUnit.SECONDS));
        reading.lookForEnd();
        socket.close();
        assertTrue(server.get(60, TimeUnit.SECONDS));
    }

    private static void expect(String wanted, Path program, String... options) throws Exception {
        List<String> command = new ArrayList<>(List.of(Path.of(System.getProperty("java.home"), "bin", "java").toString(), "-cp",
                System.getProperty("java.class.path"), "-D" + NativeProgram.PROPERTY + "=" + program));
        command.addAll(List.of(options));
        command.add(SomeCalls.class.getName());
        ProcessBuilder builder = new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT);
        // The program of the jar finds its other files by a variable.
        builder.environment().putAll(NativeProgram.find(null).command().environment());
        Process jvm = builder.start();
        try {
            assertEquals(wanted + "\n", new String(jvm.getInputStream().readAllBytes()));
            assertTrue(jvm.waitFor(1, TimeUnit.MINUTES));
        } finally {
            jvm.destroyForcibly();
        }
    }

    /** A JVM that makes calls of all kinds. */
    static final class SomeCalls {
        private SomeCalls() {
        }

        public static void main(String[] args) throws Exception {
            try (PyExecutor executor = executor(null)) {
                String first = value(executor, "s", "x = 21\nx");
                String second = executor.executeAsync("s", "x * 2", null).get(1, TimeUnit.MINUTES).getLastValueRepr();
                PyExecutionOptions options = new PyExecutionOptions().putTool("one", Map.of(), arguments -> 1);
                String third = executor.execute("s", "one() + 1", options).getLastValueRepr();
                Caller caller = running(executor, "t", FOREVER);
                caller.interrupt();
                boolean interrupted = caller.ended().thrown instanceof InterruptedException;
                until(() -> count(executor) == 0);
                System.out.println(first + " " + second + " " + third + (interrupted ? " cancelled" : " " + caller.thrown));
            }
        }
    }
}

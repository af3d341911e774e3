package com.alibaba.langengine.pyexecutor;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import jdk.jfr.Recording;
import jdk.jfr.consumer.RecordedEvent;
import jdk.jfr.consumer.RecordingFile;

/**
 * A program for a JVM of Java 21 or later with one carrier thread. Virtual threads make calls, also while the native process
 * is stopped and the pipe to it is full. The program fails if a waiting thread was pinned, or kept others from running.
 */
final class VirtualThreads {
    private static final int CALLERS = 40;

    private VirtualThreads() {
    }

    /** The argument is the URL of a server; without it scripts run on this machine. */
    public static void main(String[] args) throws Exception {
        HostConfig host = args.length == 0 ? null : new HostConfig().setUrl(args[0]).setToken(Serve.TOKEN);
        PyExecutionPolicy policy = new PyExecutionPolicy();
        policy.setTimeout(Duration.ofMinutes(2));
        try (Recording recording = new Recording(); PyExecutor executor = new PyExecutor(policy, new SessionConfig().setMaxCount(0), host)) {
            // These calls load the classes. Threads that wait for each other in the class loader are pinned by the JVM, not by a call.
            expect("7", executor.executeOnce("7", null).getLastValueRepr());
            expect("7", executor.execute("first", "7", null).getLastValueRepr());
            recording.enable("jdk.VirtualThreadPinned").withoutThreshold().withStackTrace();
            recording.start();
            ExecutorService threads = (ExecutorService) Executors.class.getMethod("newVirtualThreadPerTaskExecutor").invoke(null);
            callsOfMany(threads, executor);
            if (host == null) {
                callsToAStoppedProcess(threads, executor);
            }
            threads.shutdown();
            recording.stop();
            System.out.println("pinned: " + pinned(recording));
        }
    }

    private static void callsOfMany(ExecutorService threads, PyExecutor executor) throws Exception {
        List<Future<String>> answers = new ArrayList<>();
        for (int i = 0; i < CALLERS; i++) {
            String code = "import time\ntime.sleep(0.05)\n" + i;
            String session = i % 2 == 0 ? "s" + i : null;
            answers.add(threads.submit(() -> (session == null ? executor.executeOnce(code, null) : executor.execute(session, code, null))
                    .getLastValueRepr()));
        }
        for (int i = 0; i < CALLERS; i++) {
            expect(Integer.toString(i), answers.get(i).get(60, TimeUnit.SECONDS));
        }
    }

    /** Each line is longer than the pipe. The first thread waits inside the write, and the others wait for the first. */
    private static void callsToAStoppedProcess(ExecutorService threads, PyExecutor executor) throws Exception {
        String pid = Long.toString(((NativeClient) executor.transport()).pid());
        String code = "#" + "x".repeat(1 << 20) + "\n7";
        signal("-STOP", pid);
        List<Future<String>> answers = new ArrayList<>();
        try {
            for (int i = 0; i < CALLERS; i++) {
                answers.add(threads.submit(() -> executor.executeOnce(code, null).getLastValueRepr()));
            }
            Callable<Integer> other = () -> {
                int turns = 0;
                while (turns < 200) {
                    Thread.sleep(1);
                    turns++;
                }
                return turns;
            };
            for (int i = 0; i < 3; i++) {
                threads.submit(other).get(20, TimeUnit.SECONDS);
            }
            expect("false", Boolean.toString(answers.stream().anyMatch(Future::isDone)));
            Future<?> interrupted = answers.remove(CALLERS - 1);
            interrupted.cancel(true);
        } finally {
            signal("-CONT", pid);
        }
        for (Future<String> answer : answers) {
            expect("7", answer.get(60, TimeUnit.SECONDS));
        }
    }

    private static void signal(String which, String pid) throws Exception {
        expect("0", Integer.toString(new ProcessBuilder("kill", which, pid).inheritIO().start().waitFor()));
    }

    private static void expect(String wanted, String got) {
        if (!wanted.equals(got)) {
            throw new AssertionError(got + " instead of " + wanted);
        }
    }

    private static int pinned(Recording recording) throws Exception {
        Path file = Files.createTempFile("pyexec", ".jfr");
        try {
            recording.dump(file);
            List<RecordedEvent> events = RecordingFile.readAllEvents(file);
            events.forEach(System.out::println);
            return events.size();
        } finally {
            Files.delete(file);
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor.benchmarks;

import com.alibaba.langengine.pyexecutor.PyExecutor;
import com.alibaba.langengine.pyexecutor.SessionConfig;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.graalvm.polyglot.Context;
import org.graalvm.polyglot.Engine;

/** Measures the memory of the JVM and all processes below it (Pss, which counts shared memory once). Each row has its own JVM. */
public final class Memory {
    private static final int RUNS = 100;
    private static final int SESSIONS = 10;

    private Memory() {
    }

    /**
     * Prints a table's rows.
     *
     * @param args pyexec or graalpy
     */
    public static void main(String[] args) throws Exception {
        print("empty JVM");
        if (args[0].equals("pyexec")) {
            pyexec();
        } else {
            graalPy();
        }
    }

    private static void pyexec() throws Exception {
        try (PyExecutor executor = new PyExecutor(null, new SessionConfig())) {
            for (int i = 0; i < RUNS; i++) {
                executor.executeOnce("1+1", null);
            }
            print("pyexec, after " + RUNS + " runs");
            for (int i = 0; i < SESSIONS; i++) {
                executor.execute("s" + i, "x = 1", null);
            }
            print("pyexec, with " + SESSIONS + " sessions");
        }
    }

    private static void graalPy() throws Exception {
        try (Engine engine = Engine.newBuilder("python").option("engine.WarnInterpreterOnly", "false").build()) {
            for (int i = 0; i < SESSIONS; i++) {
                try (Context context = Context.newBuilder("python").engine(engine).build()) {
                    context.eval("python", "1+1");
                }
            }
            print("GraalPy, after " + SESSIONS + " contexts");
            List<Context> kept = new ArrayList<>();
            for (int i = 0; i < SESSIONS; i++) {
                kept.add(Context.newBuilder("python").engine(engine).build());
                kept.get(i).eval("python", "x = 1");
            }
            print("GraalPy, with " + kept.size() + " contexts");
        }
    }

    private static void print(String when) throws InterruptedException {
        for (int i = 0; i < 3; i++) {
            System.gc();
            Thread.sleep(200);
        }
        ProcessHandle self = ProcessHandle.current();
        long below = self.descendants().mapToLong(process -> pss(process.pid())).sum();
        System.out.printf("%-32s JVM %4d MiB, below it %4d MiB%n", when, pss(self.pid()) >> 10, below >> 10);
    }

    /** In KiB; 0 for a process that is gone. */
    private static long pss(long pid) {
        try (Stream<String> lines = Files.lines(Path.of("/proc/" + pid + "/smaps_rollup"))) {
            return lines.filter(line -> line.startsWith("Pss:")).mapToLong(line -> Long.parseLong(line.replaceAll("[^0-9]", ""))).findFirst()
                    .orElse(0);
        } catch (IOException | UncheckedIOException e) {
            return 0;
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor.benchmarks;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Threads;
import org.openjdk.jmh.annotations.Warmup;

/** Starts a Python for each call, without limits and without a sandbox: the lowest possible cost of such an executor. */
@BenchmarkMode({Mode.SampleTime, Mode.Throughput})
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Fork(1)
@Warmup(iterations = 2, time = 3)
@Measurement(iterations = 3, time = 5)
public class PythonPerCall {
    /** This path is used because the first python3 in PATH may be the shim of a launcher, which needs more time than Python itself. */
    private static final String PYTHON = Files.isExecutable(Path.of("/usr/bin/python3")) ? "/usr/bin/python3" : "python3";

    /** @return what it printed */
    @Benchmark
    public String start() throws IOException, InterruptedException {
        Process process = new ProcessBuilder(PYTHON, "-I", "-S", "-").redirectErrorStream(true).start();
        process.getOutputStream().write("print(repr(1+1))".getBytes(StandardCharsets.UTF_8));
        process.getOutputStream().close();
        String printed = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        if (process.waitFor() != 0 || !printed.equals("2\n")) {
            throw new IOException(printed);
        }
        return printed;
    }

    /** @return what it printed, seven others being started at the same time */
    @Benchmark
    @Threads(8)
    public String startFromEightThreads() throws IOException, InterruptedException {
        return start();
    }
}

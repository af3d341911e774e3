// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor.benchmarks;

import java.util.concurrent.TimeUnit;
import org.graalvm.polyglot.Context;
import org.graalvm.polyglot.Engine;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Threads;
import org.openjdk.jmh.annotations.Warmup;

/**
 * Python inside the JVM. A new context for each call is compared with executeOnce; one context for all calls is compared with a
 * session. Only the JVM isolates the code, and the community edition has no limits of memory or CPU.
 */
@State(Scope.Benchmark)
@BenchmarkMode({Mode.SampleTime, Mode.Throughput})
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Fork(1)
@Warmup(iterations = 2, time = 3)
@Measurement(iterations = 3, time = 5)
public class GraalPy {
    private Engine engine;
    private Context kept;

    /** Starts the engine, which contexts share. */
    @Setup(Level.Trial)
    public void open() {
        engine = Engine.newBuilder("python").option("engine.WarnInterpreterOnly", "false").build();
        kept = Context.newBuilder("python").engine(engine).build();
        kept.eval("python", "1+1");
    }

    /** Ends it. */
    @TearDown(Level.Trial)
    public void close() {
        engine.close(true);
    }

    /** @return the value, of a context of its own */
    @Benchmark
    public String newContext() {
        try (Context context = Context.newBuilder("python").engine(engine).build()) {
            return context.eval("python", "1+1").toString();
        }
    }

    /** @return the value; seven other threads compute at the same time */
    @Benchmark
    @Threads(8)
    public String newContextFromEightThreads() {
        return newContext();
    }

    /** @return the value, of a context that stays */
    @Benchmark
    public String keptContext() {
        return kept.eval("python", "1+1").toString();
    }
}

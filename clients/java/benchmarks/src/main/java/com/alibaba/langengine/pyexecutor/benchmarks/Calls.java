// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor.benchmarks;

import com.alibaba.langengine.pyexecutor.PyExecutionResult;
import com.alibaba.langengine.pyexecutor.PyExecutor;
import com.alibaba.langengine.pyexecutor.SessionConfig;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Threads;
import org.openjdk.jmh.annotations.Warmup;

/** Measures the time of a call: SampleTime gives p50 and p99, Throughput the rate. */
@State(Scope.Benchmark)
@BenchmarkMode({Mode.SampleTime, Mode.Throughput})
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Fork(1)
@Warmup(iterations = 2, time = 3)
@Measurement(iterations = 3, time = 5)
public class Calls {
    private PyExecutor executor;

    /** Starts the native process. */
    @Setup
    public void open() {
        executor = new PyExecutor(null, new SessionConfig());
        executor.start();
    }

    /** Ends it. */
    @TearDown
    public void close() {
        executor.close();
    }

    /** @return a single run's result */
    @Benchmark
    public PyExecutionResult executeOnce() throws Exception {
        return executor.executeOnce("1+1", null);
    }

    /** @return a single run's result, seven others being made at the same time */
    @Benchmark
    @Threads(8)
    public PyExecutionResult executeOnceFromEightThreads() throws Exception {
        return executor.executeOnce("1+1", null);
    }

    /** @return a session call's result */
    @Benchmark
    public PyExecutionResult sessionCall() throws Exception {
        return executor.execute("s", "1+1", null);
    }
}

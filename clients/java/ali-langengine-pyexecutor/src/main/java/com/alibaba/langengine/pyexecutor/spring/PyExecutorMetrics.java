// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor.spring;

import com.alibaba.langengine.pyexecutor.PyExecutionEnd;
import com.alibaba.langengine.pyexecutor.PyExecutionResult;
import com.alibaba.langengine.pyexecutor.PyExecutor;
import com.alibaba.langengine.pyexecutor.PyExecutorException;
import io.micrometer.core.instrument.Counter;
import io.micrometer.core.instrument.Gauge;
import io.micrometer.core.instrument.MeterRegistry;
import io.micrometer.core.instrument.Timer;
import io.micrometer.core.instrument.binder.MeterBinder;
import java.time.Duration;
import java.util.Locale;
import java.util.concurrent.TimeUnit;
import java.util.stream.LongStream;

/**
 * {@code pyexec.execution.duration} (a timer with a histogram, by {@code status}), {@code pyexec.queue.duration} (the same, of
 * the time in which a call's code did not run), {@code pyexec.failures} (executions without a result, by {@code code}),
 * {@code pyexec.denials} (by {@code layer}), {@code pyexec.sessions}, {@code pyexec.running} and {@code pyexec.queued}.
 */
public class PyExecutorMetrics implements MeterBinder {
    /** The bounds of the histograms. They are fixed so that their number does not depend on the registry. */
    private static final Duration[] BUCKETS = LongStream.of(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 30000, 60000)
            .mapToObj(Duration::ofMillis).toArray(Duration[]::new);

    private final PyExecutor executor;

    /** @param executor that is measured */
    public PyExecutorMetrics(PyExecutor executor) {
        this.executor = executor;
    }

    @Override
    public void bindTo(MeterRegistry registry) {
        executor.addListener(sessionId -> end -> record(registry, end));
        for (String name : new String[] {"sessions", "running", "queued"}) {
            Gauge.builder("pyexec." + name, executor, it -> now(it, name)).description("The counter of pyexec with this name").register(registry);
        }
    }

    private static void record(MeterRegistry registry, PyExecutionEnd end) {
        PyExecutionResult result = end.result();
        if (result == null) {
            Counter.builder("pyexec.failures").description("Executions without a result").tag("code", end.failureCode())
                    .register(registry).increment();
            return;
        }
        timer("pyexec.execution.duration", "Wall-clock time of executions").tag("status", result.getStatus().name().toLowerCase(Locale.ROOT))
                .register(registry).record((long) (result.getUsage().wallMillis() * 1000), TimeUnit.MICROSECONDS);
        timer("pyexec.queue.duration", "How long a call took in addition to the run of its code").register(registry).record(end.waited());
        for (PyExecutionResult.Denial denial : result.getDenials()) {
            Counter.builder("pyexec.denials").description("Actions of scripts that were refused").tag("layer", denial.layer()).register(registry)
                    .increment();
        }
    }

    private static Timer.Builder timer(String name, String description) {
        return Timer.builder(name).description(description).serviceLevelObjectives(BUCKETS);
    }

    private static double now(PyExecutor executor, String name) {
        try {
            Object value = executor.isStarted() ? executor.stats().get(name) : Integer.valueOf(0);
            // A server does not tell how many of its waiting calls belong to this executor.
            return value instanceof Number number ? number.doubleValue() : Double.NaN;
        } catch (PyExecutorException e) {
            return Double.NaN;
        }
    }
}

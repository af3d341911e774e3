package com.alibaba.langengine.pyexecutor.spring;

import com.alibaba.langengine.pyexecutor.PyExecutionResult;
import com.alibaba.langengine.pyexecutor.PyExecutor;
import com.alibaba.langengine.pyexecutor.PyExecutorException;
import io.micrometer.core.instrument.Counter;
import io.micrometer.core.instrument.Gauge;
import io.micrometer.core.instrument.MeterRegistry;
import io.micrometer.core.instrument.Timer;
import io.micrometer.core.instrument.binder.MeterBinder;
import java.util.Locale;
import java.util.concurrent.TimeUnit;

/**
 * {@code pyexec.execution.duration} (a timer, and so also how many executions, by {@code status}),
 * {@code pyexec.denials} (by {@code layer}), {@code pyexec.sessions}, {@code pyexec.running} and {@code pyexec.queued}.
 */
public class PyExecutorMetrics implements MeterBinder {
    private final PyExecutor executor;

    /** @param executor that is measured */
    public PyExecutorMetrics(PyExecutor executor) {
        this.executor = executor;
    }

    @Override
    public void bindTo(MeterRegistry registry) {
        executor.addResultListener(result -> record(registry, result));
        for (String name : new String[] {"sessions", "running", "queued"}) {
            Gauge.builder("pyexec." + name, executor, it -> now(it, name)).description("As pyexec counts them").register(registry);
        }
    }

    private static void record(MeterRegistry registry, PyExecutionResult result) {
        Timer.builder("pyexec.execution.duration").description("Wall-clock time of executions")
                .tag("status", result.getStatus().name().toLowerCase(Locale.ROOT)).register(registry)
                .record((long) (result.getUsage().wallMillis() * 1000), TimeUnit.MICROSECONDS);
        for (PyExecutionResult.Denial denial : result.getDenials()) {
            Counter.builder("pyexec.denials").description("What scripts were refused").tag("layer", denial.layer()).register(registry)
                    .increment();
        }
    }

    private static double now(PyExecutor executor, String name) {
        try {
            Object value = executor.isStarted() ? executor.stats().get(name) : Integer.valueOf(0);
            // A server does not tell how many of its waiting calls are this executor's.
            return value instanceof Number number ? number.doubleValue() : Double.NaN;
        } catch (PyExecutorException e) {
            return Double.NaN;
        }
    }
}

package com.alibaba.langengine.pyexecutor.spring;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.alibaba.langengine.pyexecutor.PyExecutor;
import io.micrometer.core.instrument.Timer;
import io.micrometer.core.instrument.simple.SimpleMeterRegistry;
import io.micrometer.observation.Observation;
import io.micrometer.observation.ObservationHandler;
import io.micrometer.observation.ObservationRegistry;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.springframework.context.annotation.AnnotationConfigApplicationContext;

/** Meters and observations. */
class MetersTest {
    @Test
    void metersSeeResultsFailuresAndQueueTime() throws Exception {
        SimpleMeterRegistry registry = new SimpleMeterRegistry();
        try (PyExecutor executor = new PyExecutor(null)) {
            new PyExecutorMetrics(executor).bindTo(registry);
            executor.executeOnce("1", null);
            executor.executeOnceAsync("import os", null).get(60, TimeUnit.SECONDS);
            assertThrows(IllegalArgumentException.class, () -> executor.executeOnce("a\0", null));
        }
        Timer ok = registry.get("pyexec.execution.duration").tag("status", "ok").timer();
        assertEquals(1, ok.count());
        assertEquals(15, ok.takeSnapshot().histogramCounts().length);
        assertEquals(1, registry.get("pyexec.execution.duration").tag("status", "error").timer().count());
        Timer queue = registry.get("pyexec.queue.duration").timer();
        assertEquals(2, queue.count());
        assertTrue(queue.totalTime(TimeUnit.NANOSECONDS) > 0);
        assertEquals(15, queue.takeSnapshot().histogramCounts().length);
        assertEquals(1, registry.get("pyexec.failures").tag("code", "invalid_request").counter().count());
        assertEquals(1, registry.get("pyexec.denials").tag("layer", "imports").counter().count());
    }

    @Test
    void anObservationIsBelowTheCallersAndHasItsEnd() throws Exception {
        List<Observation.Context> stopped = new CopyOnWriteArrayList<>();
        ObservationRegistry registry = ObservationRegistry.create();
        registry.observationConfig().observationHandler(new ObservationHandler<Observation.Context>() {
            @Override
            public boolean supportsContext(Observation.Context context) {
                return true;
            }

            @Override
            public void onStop(Observation.Context context) {
                stopped.add(context);
            }
        });
        try (AnnotationConfigApplicationContext context = new AnnotationConfigApplicationContext()) {
            context.registerBean(ObservationRegistry.class, () -> registry);
            context.register(PyExecutorAutoConfiguration.class, PyExecutorObservationAutoConfiguration.class);
            context.refresh();
            PyExecutor executor = context.getBean(PyExecutor.class);
            Observation.createNotStarted("request", registry).observeChecked(() -> executor.execute("s", "1", null));
            assertThrows(IllegalArgumentException.class, () -> executor.executeOnce("a\0", null));
        }
        assertEquals("pyexec.execution", stopped.get(0).getName());
        assertEquals("request", stopped.get(0).getParentObservation().getContextView().getName());
        assertEquals("ok", stopped.get(0).getLowCardinalityKeyValue("status").getValue());
        assertEquals("session", stopped.get(0).getLowCardinalityKeyValue("mode").getValue());
        assertEquals("s", stopped.get(0).getHighCardinalityKeyValue("session").getValue());
        assertEquals("invalid_request", stopped.get(2).getLowCardinalityKeyValue("status").getValue());
        assertEquals(IllegalArgumentException.class, stopped.get(2).getError().getClass());
    }
}

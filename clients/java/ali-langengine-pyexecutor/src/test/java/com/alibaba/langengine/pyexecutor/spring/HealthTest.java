package com.alibaba.langengine.pyexecutor.spring;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.alibaba.langengine.pyexecutor.PyExecutor;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.springframework.boot.actuate.health.AbstractHealthIndicator;
import org.springframework.boot.actuate.health.Status;
import org.springframework.core.env.MapPropertySource;
import org.springframework.core.env.StandardEnvironment;

/** How often the health indicator calls doctor. */
class HealthTest {
    private static int asked(String maxAge) {
        AtomicInteger asked = new AtomicInteger();
        try (PyExecutor executor = new PyExecutor(null) {
            @Override
            public Map<String, Object> doctor() {
                return Map.of("ok", asked.incrementAndGet() > 0);
            }
        }) {
            StandardEnvironment environment = new StandardEnvironment();
            environment.getPropertySources().addFirst(new MapPropertySource("test", Map.of(Doctor.MAX_AGE_PROPERTY, maxAge)));
            AbstractHealthIndicator indicator = new PyExecutorHealth3AutoConfiguration().pyexecutorHealthIndicator(executor, environment);
            assertEquals(Status.UP, indicator.health().getStatus());
            assertEquals(Status.UP, indicator.health().getStatus());
        }
        return asked.get();
    }

    @Test
    void anAnswerIsUsedUntilItIsTooOld() {
        assertEquals(1, asked("1h"));
        assertEquals(2, asked("0"));
    }
}

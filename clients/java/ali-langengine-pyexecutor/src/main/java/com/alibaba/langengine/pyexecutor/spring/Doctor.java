// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor.spring;

import com.alibaba.langengine.pyexecutor.PyExecutor;
import com.alibaba.langengine.pyexecutor.PyExecutorException;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.locks.ReentrantLock;
import org.springframework.boot.context.properties.bind.Binder;
import org.springframework.core.env.Environment;

/** The answer of doctor, for the health indicators of Spring Boot 3 and 4. */
final class Doctor {
    static final String MAX_AGE_PROPERTY = "ali.langengine.pyexecutor.health-max-age";
    private static final Duration MAX_AGE = Duration.ofSeconds(10);

    final boolean ok;
    final Map<String, Object> details = new LinkedHashMap<>();

    private Doctor(boolean ok) {
        this.ok = ok;
    }

    /** Keeps the last answer of doctor for a limited time. Calls that come at the same time share one answer. */
    static final class Cache {
        private final PyExecutor executor;
        private final long maxAgeNanos;
        private final ReentrantLock asking = new ReentrantLock();
        private Doctor last;
        private long askedAtNanos;

        Cache(PyExecutor executor, Environment environment) {
            this.executor = executor;
            this.maxAgeNanos = Binder.get(environment).bind(MAX_AGE_PROPERTY, Duration.class).orElse(MAX_AGE).toNanos();
        }

        Doctor get() {
            asking.lock();
            try {
                if (last == null || System.nanoTime() - askedAtNanos >= maxAgeNanos) {
                    last = ask(executor);
                    askedAtNanos = System.nanoTime();
                }
                return last;
            } finally {
                asking.unlock();
            }
        }
    }

    static Doctor ask(PyExecutor executor) {
        try {
            return read(executor.doctor());
        } catch (PyExecutorException e) {
            Doctor doctor = new Doctor(false);
            doctor.details.put("code", e.getCode());
            doctor.details.put("error", e.getMessage());
            return doctor;
        }
    }

    private static Doctor read(Map<String, Object> answer) {
        Doctor doctor = new Doctor(Boolean.TRUE.equals(answer.get("ok")));
        for (String key : new String[] {"url", "code", "error", "version"}) {
            doctor.details.computeIfAbsent(key, answer::get);
        }
        if (answer.get("python") instanceof Map<?, ?> python) {
            doctor.details.put("python", python.get("error") == null ? python.get("version") : python.get("error"));
        }
        if (answer.get("layers") instanceof List<?> layers) {
            doctor.details.put("missingLayers", missing(layers));
        }
        return doctor;
    }

    private static Map<String, Object> missing(List<?> layers) {
        Map<String, Object> missing = new LinkedHashMap<>();
        for (Object item : layers) {
            if (item instanceof Map<?, ?> layer && !Boolean.TRUE.equals(layer.get("present"))) {
                missing.put(String.valueOf(layer.get("name")), String.valueOf(layer.get("remedy")));
            }
        }
        return missing;
    }
}

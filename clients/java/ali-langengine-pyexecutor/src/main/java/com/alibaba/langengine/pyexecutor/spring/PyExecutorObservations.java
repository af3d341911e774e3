// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor.spring;

import com.alibaba.langengine.pyexecutor.PyExecutionEnd;
import com.alibaba.langengine.pyexecutor.PyExecutionListener;
import io.micrometer.observation.Observation;
import io.micrometer.observation.ObservationRegistry;
import java.util.Locale;
import java.util.Objects;
import java.util.function.Consumer;

/**
 * An {@link Observation} {@code pyexec.execution} of each execution, so that a trace has a span for it: below the caller's
 * current one, from the call to its end. Low cardinality: {@code mode} (single or session) and {@code status} (of the
 * result, or the failure's code). High cardinality: {@code session}.
 */
public class PyExecutorObservations implements PyExecutionListener {
    private final ObservationRegistry registry;

    /** @param registry where the observations are made */
    public PyExecutorObservations(ObservationRegistry registry) {
        this.registry = Objects.requireNonNull(registry, "registry");
    }

    @Override
    public Consumer<PyExecutionEnd> started(String sessionId) {
        Observation observation = Observation.createNotStarted("pyexec.execution", registry).contextualName("pyexec execute")
                .lowCardinalityKeyValue("mode", sessionId == null ? "single" : "session");
        if (sessionId != null) {
            observation.highCardinalityKeyValue("session", sessionId);
        }
        observation.start();
        return end -> {
            observation.lowCardinalityKeyValue("status",
                    end.result() == null ? end.failureCode() : end.result().getStatus().name().toLowerCase(Locale.ROOT));
            if (end.failure() != null) {
                observation.error(end.failure());
            }
            observation.stop();
        };
    }
}

// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor.spring;

import com.alibaba.langengine.pyexecutor.PyExecutor;
import io.micrometer.observation.ObservationRegistry;
import org.springframework.boot.autoconfigure.AutoConfiguration;
import org.springframework.boot.autoconfigure.condition.ConditionalOnBean;
import org.springframework.boot.autoconfigure.condition.ConditionalOnClass;
import org.springframework.boot.autoconfigure.condition.ConditionalOnMissingBean;
import org.springframework.context.annotation.Bean;

/** Observations of executions, if there is a registry for them. */
@AutoConfiguration(after = PyExecutorAutoConfiguration.class,
        afterName = {"org.springframework.boot.actuate.autoconfigure.observation.ObservationAutoConfiguration",
            "org.springframework.boot.micrometer.observation.autoconfigure.ObservationAutoConfiguration"})
@ConditionalOnClass(ObservationRegistry.class)
public class PyExecutorObservationAutoConfiguration {

    /** Made by Spring. */
    public PyExecutorObservationAutoConfiguration() {
    }

    /**
     * The executor's observations.
     *
     * @param executor that is observed
     * @param registry where the observations are made
     * @return a new one
     */
    @Bean
    @ConditionalOnBean({PyExecutor.class, ObservationRegistry.class})
    @ConditionalOnMissingBean
    public PyExecutorObservations pyExecutorObservations(PyExecutor executor, ObservationRegistry registry) {
        PyExecutorObservations observations = new PyExecutorObservations(registry);
        executor.addListener(observations);
        return observations;
    }
}

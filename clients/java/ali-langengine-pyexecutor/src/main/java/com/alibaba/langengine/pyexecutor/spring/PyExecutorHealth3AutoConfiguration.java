// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor.spring;

import com.alibaba.langengine.pyexecutor.PyExecutor;
import org.springframework.boot.autoconfigure.AutoConfiguration;
import org.springframework.boot.autoconfigure.condition.ConditionalOnBean;
import org.springframework.boot.autoconfigure.condition.ConditionalOnClass;
import org.springframework.boot.autoconfigure.condition.ConditionalOnMissingBean;
import org.springframework.context.annotation.Bean;
import org.springframework.core.env.Environment;
import org.springframework.boot.actuate.autoconfigure.health.ConditionalOnEnabledHealthIndicator;
import org.springframework.boot.actuate.health.AbstractHealthIndicator;
import org.springframework.boot.actuate.health.Health;

/** Health from doctor, under Spring Boot 3. */
@AutoConfiguration(after = PyExecutorAutoConfiguration.class)
@ConditionalOnClass({AbstractHealthIndicator.class, ConditionalOnEnabledHealthIndicator.class})
@ConditionalOnEnabledHealthIndicator("pyexecutor")
public class PyExecutorHealth3AutoConfiguration {

    /** Made by Spring. */
    public PyExecutorHealth3AutoConfiguration() {
    }

    /**
     * Up when this machine can run scripts; details name what is missing, and how to get it.
     *
     * @param executor that is asked
     * @param environment where the property health-max-age is: how old an answer may be
     * @return a new one
     */
    @Bean
    @ConditionalOnBean(PyExecutor.class)
    @ConditionalOnMissingBean(name = "pyexecutorHealthIndicator")
    public AbstractHealthIndicator pyexecutorHealthIndicator(PyExecutor executor, Environment environment) {
        Doctor.Cache doctors = new Doctor.Cache(executor, environment);
        return new AbstractHealthIndicator("pyexec doctor failed") {
            @Override
            protected void doHealthCheck(Health.Builder builder) {
                Doctor doctor = doctors.get();
                (doctor.ok ? builder.up() : builder.down()).withDetails(doctor.details);
            }
        };
    }
}

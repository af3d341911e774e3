// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor.spring;

import com.alibaba.langengine.pyexecutor.PyExecutor;
import io.micrometer.core.instrument.binder.MeterBinder;
import org.springframework.boot.autoconfigure.AutoConfiguration;
import org.springframework.boot.autoconfigure.condition.ConditionalOnBean;
import org.springframework.boot.autoconfigure.condition.ConditionalOnClass;
import org.springframework.boot.autoconfigure.condition.ConditionalOnMissingBean;
import org.springframework.context.annotation.Bean;

/** Meters of the executor, if Micrometer is on the class path. */
@AutoConfiguration(after = PyExecutorAutoConfiguration.class)
@ConditionalOnClass(MeterBinder.class)
public class PyExecutorMetricsAutoConfiguration {

    /** Made by Spring. */
    public PyExecutorMetricsAutoConfiguration() {
    }

    /**
     * The executor's meters.
     *
     * @param executor that is measured
     * @return a new one
     */
    @Bean
    @ConditionalOnBean(PyExecutor.class)
    @ConditionalOnMissingBean
    public PyExecutorMetrics pyExecutorMetrics(PyExecutor executor) {
        return new PyExecutorMetrics(executor);
    }
}

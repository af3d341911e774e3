package com.alibaba.langengine.pyexecutor.spring;

import com.alibaba.langengine.pyexecutor.PyExecutor;
import org.springframework.boot.autoconfigure.AutoConfiguration;
import org.springframework.boot.autoconfigure.condition.ConditionalOnMissingBean;
import org.springframework.boot.context.properties.EnableConfigurationProperties;
import org.springframework.context.annotation.Bean;

/** A {@link PyExecutor} from {@link PyExecutorProperties}, closed with the context. */
@AutoConfiguration
@EnableConfigurationProperties(PyExecutorProperties.class)
public class PyExecutorAutoConfiguration {

    /** Made by Spring. */
    public PyExecutorAutoConfiguration() {
    }

    /**
     * The executor. Unless {@code verify-at-startup} is false, what this machine lacks shows now.
     *
     * @param properties the application's
     * @return a new one
     */
    @Bean(destroyMethod = "close")
    @ConditionalOnMissingBean
    public PyExecutor pyExecutor(PyExecutorProperties properties) {
        PyExecutor executor = new PyExecutor(properties.toPolicy(), properties.toSessionConfig(), properties.toHostConfig());
        try {
            if (properties.isVerifyAtStartup()) {
                executor.start();
            }
            return executor;
        } catch (RuntimeException e) {
            executor.close();
            throw e;
        }
    }
}

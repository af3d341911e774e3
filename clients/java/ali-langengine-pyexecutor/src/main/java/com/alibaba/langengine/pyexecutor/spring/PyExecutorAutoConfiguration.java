// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor.spring;

import com.alibaba.langengine.pyexecutor.PyExecutor;
import com.alibaba.langengine.pyexecutor.PyExecutorException;
import com.alibaba.langengine.pyexecutor.PyExecutorUnsupportedException;
import org.springframework.boot.autoconfigure.AutoConfiguration;
import org.springframework.boot.autoconfigure.condition.ConditionalOnMissingBean;
import org.springframework.boot.autoconfigure.condition.ConditionalOnProperty;
import org.springframework.boot.context.properties.ConfigurationPropertiesBinding;
import org.springframework.boot.context.properties.EnableConfigurationProperties;
import org.springframework.context.annotation.Bean;
import org.springframework.core.convert.converter.ConditionalGenericConverter;

/**
 * A {@link PyExecutor} from {@link PyExecutorProperties}, closed with the context. The property
 * {@code ali.langengine.pyexecutor.enabled=false} switches it off.
 */
@AutoConfiguration
@ConditionalOnProperty(name = "ali.langengine.pyexecutor.enabled", matchIfMissing = true)
@EnableConfigurationProperties(PyExecutorProperties.class)
public class PyExecutorAutoConfiguration {
    private static final System.Logger LOG = System.getLogger("com.alibaba.langengine.pyexecutor");

    /** Made by Spring. */
    public PyExecutorAutoConfiguration() {
    }

    /** @return reads sizes, numbers, durations and {@code none} of {@link PyExecutorProperties}, and of no other class */
    @Bean
    @ConfigurationPropertiesBinding
    static ConditionalGenericConverter pyExecutorPropertyConverter() {
        return new PropertyTextConverter();
    }

    /**
     * Makes the executor. Unless {@code verify-at-startup} is false, the application does not start if this machine can't run scripts.
     * If there is no native program for this kind of system, the application starts: each call and the health say why scripts
     * can't run.
     *
     * @param properties the application's
     * @return a new one
     */
    @Bean(destroyMethod = "close")
    @ConditionalOnMissingBean
    public PyExecutor pyExecutor(PyExecutorProperties properties) {
        PyExecutor executor = made(properties);
        try {
            if (properties.isVerifyAtStartup()) {
                executor.start();
            }
            return executor;
        } catch (PyExecutorUnsupportedException e) {
            LOG.log(System.Logger.Level.WARNING, "Scripts can''t run on this machine: {0}", e.getMessage());
            return executor;
        } catch (RuntimeException e) {
            executor.close();
            throw e;
        }
    }

    /** A value that a setting refuses is reported like a value of the policy: by {@link PyExecutorFailureAnalyzer}. */
    private static PyExecutor made(PyExecutorProperties properties) {
        try {
            return new PyExecutor(properties.toPolicy(), properties.toSessionConfig(), properties.toHostConfig());
        } catch (IllegalArgumentException e) {
            PyExecutorException failure = new PyExecutorException("invalid_policy", named(properties, e.getMessage()), null);
            failure.addSuppressed(e);
            throw failure;
        }
    }

    private static String named(PyExecutorProperties properties, String message) {
        String[] values = {"url", properties.getUrl(), "session-prefix", properties.getSessionPrefix()};
        for (int i = 0; i < values.length; i += 2) {
            if (values[i + 1] != null && message.contains("'" + values[i + 1] + "'")) {
                return "ali.langengine.pyexecutor." + values[i] + ": " + message;
            }
        }
        return message;
    }
}

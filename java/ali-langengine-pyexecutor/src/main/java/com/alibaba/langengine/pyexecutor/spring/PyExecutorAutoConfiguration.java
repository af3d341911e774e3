package com.alibaba.langengine.pyexecutor.spring;

import com.alibaba.langengine.pyexecutor.PyExecutor;
import com.alibaba.langengine.pyexecutor.PyExecutorUnsupportedException;
import org.springframework.boot.autoconfigure.AutoConfiguration;
import org.springframework.boot.autoconfigure.condition.ConditionalOnMissingBean;
import org.springframework.boot.autoconfigure.condition.ConditionalOnProperty;
import org.springframework.boot.context.properties.EnableConfigurationProperties;
import org.springframework.context.annotation.Bean;

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

    /**
     * The executor. Unless {@code verify-at-startup} is false, what this machine lacks shows now. Where there is no native
     * program for the system at all, the application starts: each call and the health say why scripts can't run.
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
        } catch (PyExecutorUnsupportedException e) {
            LOG.log(System.Logger.Level.WARNING, "Scripts can''t run on this machine: {0}", e.getMessage());
            return executor;
        } catch (RuntimeException e) {
            executor.close();
            throw e;
        }
    }
}

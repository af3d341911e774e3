// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor.springaialibaba;

import com.alibaba.cloud.ai.graph.node.code.CodeExecutor;
import com.alibaba.langengine.pyexecutor.PyExecutor;
import com.alibaba.langengine.pyexecutor.spring.PyExecutorAutoConfiguration;
import org.springframework.boot.autoconfigure.AutoConfiguration;
import org.springframework.boot.autoconfigure.condition.ConditionalOnBean;
import org.springframework.boot.autoconfigure.condition.ConditionalOnClass;
import org.springframework.boot.autoconfigure.condition.ConditionalOnMissingBean;
import org.springframework.context.annotation.Bean;

/** Makes the executor of code nodes, if there is a {@link PyExecutor}. */
@AutoConfiguration(after = PyExecutorAutoConfiguration.class)
@ConditionalOnClass(CodeExecutor.class)
public class PyExecutorSpringAiAlibabaAutoConfiguration {

    /** Made by Spring. */
    public PyExecutorSpringAiAlibabaAutoConfiguration() {
    }

    /**
     * The executor of code nodes.
     *
     * @param executor runs the code
     * @return a new one
     */
    @Bean
    @ConditionalOnBean(PyExecutor.class)
    @ConditionalOnMissingBean
    public PyExecutorCodeExecutor pyExecutorCodeExecutor(PyExecutor executor) {
        return new PyExecutorCodeExecutor(executor);
    }
}

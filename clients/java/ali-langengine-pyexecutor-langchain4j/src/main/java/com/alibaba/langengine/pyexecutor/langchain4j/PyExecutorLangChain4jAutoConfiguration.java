// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor.langchain4j;

import com.alibaba.langengine.pyexecutor.PyExecutor;
import com.alibaba.langengine.pyexecutor.spring.PyExecutorAutoConfiguration;
import dev.langchain4j.code.CodeExecutionEngine;
import org.springframework.boot.autoconfigure.AutoConfiguration;
import org.springframework.boot.autoconfigure.condition.ConditionalOnBean;
import org.springframework.boot.autoconfigure.condition.ConditionalOnClass;
import org.springframework.boot.autoconfigure.condition.ConditionalOnMissingBean;
import org.springframework.context.annotation.Bean;
import org.springframework.core.env.Environment;

/** Makes the tool and the engine, if there is a {@link PyExecutor}. */
@AutoConfiguration(after = PyExecutorAutoConfiguration.class)
@ConditionalOnClass(CodeExecutionEngine.class)
public class PyExecutorLangChain4jAutoConfiguration {

    /** Made by Spring. */
    public PyExecutorLangChain4jAutoConfiguration() {
    }

    /**
     * The tool.
     *
     * @param executor runs the code
     * @param environment where the property tool.session-per-conversation is: whether each conversation keeps its variables
     * @return a new one
     */
    @Bean
    @ConditionalOnBean(PyExecutor.class)
    @ConditionalOnMissingBean
    public PyExecutorCodeExecutionEngine pyExecutorCodeExecutionEngine(PyExecutor executor, Environment environment) {
        return environment.getProperty("ali.langengine.pyexecutor.tool.session-per-conversation", Boolean.class, false) ? PyExecutorCodeExecutionEngine.perConversation(executor)
                : new PyExecutorCodeExecutionEngine(executor);
    }
}

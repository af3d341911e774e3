// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor.springaialibaba;

import com.alibaba.cloud.ai.graph.node.code.CodeExecutor;
import com.alibaba.cloud.ai.graph.node.code.entity.CodeBlock;
import com.alibaba.cloud.ai.graph.node.code.entity.CodeExecutionConfig;
import com.alibaba.cloud.ai.graph.node.code.entity.CodeExecutionResult;
import com.alibaba.langengine.pyexecutor.PyExecutionOptions;
import com.alibaba.langengine.pyexecutor.PyExecutionResult;
import com.alibaba.langengine.pyexecutor.PyExecutionTimeoutException;
import com.alibaba.langengine.pyexecutor.PyExecutor;
import java.time.Duration;
import java.util.List;
import java.util.Locale;
import java.util.Objects;

/**
 * Spring AI Alibaba's executor of code nodes, for {@code CodeExecutorNodeAction.builder().codeExecutor(...)}. Blocks run
 * one after another until one fails. Of the configuration only the time-out, in seconds, is used.
 */
public class PyExecutorCodeExecutor implements CodeExecutor {
    private final PyExecutor executor;

    /** @param executor runs the code; the caller closes it */
    public PyExecutorCodeExecutor(PyExecutor executor) {
        this.executor = Objects.requireNonNull(executor, "executor");
    }

    @Override
    public CodeExecutionResult executeCodeBlocks(List<CodeBlock> blocks, CodeExecutionConfig config) throws Exception {
        StringBuilder logs = new StringBuilder();
        for (CodeBlock block : blocks) {
            if (!block.language().toLowerCase(Locale.ROOT).startsWith("python")) {
                return new CodeExecutionResult(1, "unsupported language: " + block.language());
            }
            PyExecutionResult result = run(block.code(), config);
            // The output of the script is returned unchanged, because the caller searches it for its own marks.
            logs.append(result.getExitCode() == 0 ? result.getStdout() : result.toText());
            if (result.getExitCode() != 0) {
                return new CodeExecutionResult(result.getExitCode(), logs.toString());
            }
        }
        return new CodeExecutionResult(0, logs.toString());
    }

    private PyExecutionResult run(String code, CodeExecutionConfig config) throws Exception {
        PyExecutionOptions options = new PyExecutionOptions();
        if (config != null && config.getTimeout() > 0) {
            options.setTimeout(Duration.ofSeconds(config.getTimeout()));
        }
        try {
            return executor.executeOnce(code, options);
        } catch (PyExecutionTimeoutException e) {
            return e.getResult();
        }
    }

    /** Does nothing, because each block runs in its own process. */
    @Override
    public void restart() {
    }
}

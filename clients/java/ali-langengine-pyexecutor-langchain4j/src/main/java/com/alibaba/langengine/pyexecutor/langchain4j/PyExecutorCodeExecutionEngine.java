// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor.langchain4j;

import com.alibaba.langengine.pyexecutor.PyExecutionOptions;
import com.alibaba.langengine.pyexecutor.PyExecutionResult;
import com.alibaba.langengine.pyexecutor.PyExecutionTimeoutException;
import com.alibaba.langengine.pyexecutor.PyExecutor;
import com.alibaba.langengine.pyexecutor.PyExecutorException;
import dev.langchain4j.agent.tool.P;
import dev.langchain4j.agent.tool.Tool;
import dev.langchain4j.agent.tool.ToolMemoryId;
import dev.langchain4j.code.CodeExecutionEngine;
import java.util.Objects;

/**
 * LangChain4j's engine, and at the same time a tool for {@code AiServices.builder(...).tools(engine)}. The model gets a
 * text: output, traceback with hint, last value. With {@link PyExecutorImageTool} it also gets images.
 */
public class PyExecutorCodeExecutionEngine implements CodeExecutionEngine {
    private final PyExecutor executor;
    private final String sessionId;
    private final boolean perConversation;

    /**
     * An engine that keeps nothing between calls.
     *
     * @param executor runs the code; the caller closes it
     */
    public PyExecutorCodeExecutionEngine(PyExecutor executor) {
        this(executor, null);
    }

    /**
     * An engine that keeps the variables of a session.
     *
     * @param executor runs the code; sessions must be on; the caller closes it
     * @param sessionId the session; null: none
     */
    public PyExecutorCodeExecutionEngine(PyExecutor executor, String sessionId) {
        this(executor, sessionId, false);
    }

    private PyExecutorCodeExecutionEngine(PyExecutor executor, String sessionId, boolean perConversation) {
        this.executor = Objects.requireNonNull(executor, "executor");
        this.sessionId = sessionId;
        this.perConversation = perConversation;
    }

    /**
     * A tool that keeps the variables of each conversation in a session of its own: the conversation's memory id is the
     * session's id. An AI service without {@code @MemoryId} has one conversation, whose id is {@code default}.
     *
     * @param executor runs the code; sessions must be on; the caller closes it
     * @return a new one, which as an engine keeps nothing
     */
    public static PyExecutorCodeExecutionEngine perConversation(PyExecutor executor) {
        return new PyExecutorCodeExecutionEngine(executor, null, true);
    }

    @Override
    public String execute(String code) {
        return run(null, code, null).toText();
    }

    /**
     * The tool.
     *
     * @param code Python
     * @param memoryId the conversation; LangChain4j gives it, the model does not see it
     * @return what the model reads
     */
    @Tool(name = "python_execute", value = "Runs Python code in a sandbox and returns its output, and the value of the last expression")
    public String pythonExecute(@P("Python code; the last expression's value is returned") String code, @ToolMemoryId Object memoryId) {
        return run(memoryId, code, null).toText();
    }

    /**
     * The tool outside a conversation.
     *
     * @param code Python
     * @return what the model reads
     */
    public String pythonExecute(String code) {
        return execute(code);
    }

    PyExecutionResult run(Object memoryId, String code, PyExecutionOptions options) {
        String session = perConversation && memoryId != null ? memoryId.toString() : sessionId;
        try {
            return session == null ? executor.executeOnce(code, options) : executor.execute(session, code, options);
        } catch (PyExecutionTimeoutException e) {
            return e.getResult();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new PyExecutorException("internal", "interrupted; the run was cancelled", null);
        } catch (RuntimeException e) {
            throw e;
        } catch (Exception e) {
            throw new IllegalStateException(e);
        }
    }
}

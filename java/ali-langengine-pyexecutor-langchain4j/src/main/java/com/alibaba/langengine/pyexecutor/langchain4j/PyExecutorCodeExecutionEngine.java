package com.alibaba.langengine.pyexecutor.langchain4j;

import com.alibaba.langengine.pyexecutor.PyExecutionTimeoutException;
import com.alibaba.langengine.pyexecutor.PyExecutor;
import com.alibaba.langengine.pyexecutor.PyExecutorException;
import dev.langchain4j.agent.tool.P;
import dev.langchain4j.agent.tool.Tool;
import dev.langchain4j.code.CodeExecutionEngine;
import java.util.Objects;

/**
 * LangChain4j's engine, and at the same time a tool for {@code AiServices.builder(...).tools(engine)}. What the model
 * gets is text: output, traceback with hint, last value.
 */
public class PyExecutorCodeExecutionEngine implements CodeExecutionEngine {
    private final PyExecutor executor;
    private final String sessionId;

    /**
     * An engine that keeps nothing between calls.
     *
     * @param executor that runs the code; it stays the caller's to close
     */
    public PyExecutorCodeExecutionEngine(PyExecutor executor) {
        this(executor, null);
    }

    /**
     * An engine that keeps the variables of a session.
     *
     * @param executor that runs the code, with sessions on; it stays the caller's to close
     * @param sessionId the session; null: none
     */
    public PyExecutorCodeExecutionEngine(PyExecutor executor, String sessionId) {
        this.executor = Objects.requireNonNull(executor, "executor");
        this.sessionId = sessionId;
    }

    @Override
    public String execute(String code) {
        try {
            return (sessionId == null ? executor.executeOnce(code, null) : executor.execute(sessionId, code, null)).toText();
        } catch (PyExecutionTimeoutException e) {
            return e.getResult().toText();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new PyExecutorException("internal", "interrupted; the run was cancelled", null);
        } catch (RuntimeException e) {
            throw e;
        } catch (Exception e) {
            throw new IllegalStateException(e);
        }
    }

    /**
     * The tool.
     *
     * @param code Python
     * @return what the model reads
     */
    @Tool(name = "python_execute", value = "Runs Python code in a sandbox and returns its output, and the value of the last expression")
    public String pythonExecute(@P("Python code; the last expression's value is returned") String code) {
        return execute(code);
    }
}

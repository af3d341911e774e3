package com.alibaba.langengine.pyexecutor.springai;

import com.alibaba.langengine.pyexecutor.PyExecutionTimeoutException;
import com.alibaba.langengine.pyexecutor.PyExecutor;
import java.lang.reflect.Type;
import java.util.Objects;
import org.springframework.ai.tool.ToolCallback;
import org.springframework.ai.tool.ToolCallbackProvider;
import org.springframework.ai.tool.annotation.Tool;
import org.springframework.ai.tool.annotation.ToolParam;
import org.springframework.ai.tool.execution.ToolCallResultConverter;
import org.springframework.ai.tool.method.MethodToolCallbackProvider;

/** Spring AI's tool {@code python_execute}. What the model gets is text: output, traceback with hint, last value. */
public class PyExecutorToolCallbackProvider implements ToolCallbackProvider {
    private final PyExecutor executor;
    private final String sessionId;

    /**
     * A tool that keeps nothing between calls.
     *
     * @param executor that runs the code; it stays the caller's to close
     */
    public PyExecutorToolCallbackProvider(PyExecutor executor) {
        this(executor, null);
    }

    /**
     * A tool that keeps the variables of a session.
     *
     * @param executor that runs the code, with sessions on; it stays the caller's to close
     * @param sessionId the session; null: none
     */
    public PyExecutorToolCallbackProvider(PyExecutor executor, String sessionId) {
        this.executor = Objects.requireNonNull(executor, "executor");
        this.sessionId = sessionId;
    }

    @Override
    public ToolCallback[] getToolCallbacks() {
        return MethodToolCallbackProvider.builder().toolObjects(new PythonExecute()).build().getToolCallbacks();
    }

    /** The text as it is: the default one makes a JSON string of it unless it is JSON by chance. */
    public static final class PlainText implements ToolCallResultConverter {
        /** Made by Spring AI. */
        public PlainText() {
        }

        @Override
        public String convert(Object result, Type returnType) {
            return (String) result;
        }
    }

    /** The tool's object, as Spring AI wants one. */
    private final class PythonExecute {
        @Tool(name = "python_execute", resultConverter = PlainText.class,
                description = "Runs Python code in a sandbox and returns its output, and the value of the last expression")
        public String run(@ToolParam(description = "Python code; the last expression's value is returned") String code) throws Exception {
            try {
                return (sessionId == null ? executor.executeOnce(code, null) : executor.execute(sessionId, code, null)).toText();
            } catch (PyExecutionTimeoutException e) {
                return e.getResult().toText();
            }
        }
    }
}

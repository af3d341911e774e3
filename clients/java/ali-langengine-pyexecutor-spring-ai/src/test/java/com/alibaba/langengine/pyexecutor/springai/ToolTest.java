package com.alibaba.langengine.pyexecutor.springai;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.alibaba.langengine.pyexecutor.PyExecutionPolicy;
import com.alibaba.langengine.pyexecutor.PyExecutor;
import com.alibaba.langengine.pyexecutor.SessionConfig;
import java.time.Duration;
import org.junit.jupiter.api.Test;
import org.springframework.ai.tool.ToolCallback;

/** Tests with the real library. Runs with Spring AI 1.1 and 2.0. */
class ToolTest {
    private static ToolCallback tool(PyExecutor executor, String sessionId) {
        ToolCallback[] tools = new PyExecutorToolCallbackProvider(executor, sessionId).getToolCallbacks();
        assertEquals(1, tools.length);
        return tools[0];
    }

    @Test
    void theToolReturnsWhatTheModelReads() {
        PyExecutionPolicy policy = new PyExecutionPolicy();
        policy.setTimeout(Duration.ofMillis(500));
        try (PyExecutor executor = new PyExecutor(policy)) {
            ToolCallback tool = tool(executor, null);
            assertEquals("python_execute", tool.getToolDefinition().name());
            assertTrue(tool.getToolDefinition().inputSchema().contains("\"code\""), tool.getToolDefinition().inputSchema());
            assertEquals("50", tool.call("{\"code\": \"a = 5\\nb = 10\\na * b\"}"));
            assertTrue(tool.call("{\"code\": \"1 / 0\"}").contains("ZeroDivisionError: division by zero"));
            assertTrue(tool.call("{\"code\": \"import time\\ntime.sleep(9)\"}").contains("TimeoutError: timeout"));
        }
    }

    @Test
    void aSessionKeepsItsVariables() {
        try (PyExecutor executor = new PyExecutor(null, new SessionConfig())) {
            ToolCallback tool = tool(executor, "s");
            tool.call("{\"code\": \"x = 41\"}");
            assertEquals("42", tool.call("{\"code\": \"x + 1\"}"));
        }
    }
}

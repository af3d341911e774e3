package com.alibaba.langengine.pyexecutor.langchain4j;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.alibaba.langengine.pyexecutor.PyExecutionPolicy;
import com.alibaba.langengine.pyexecutor.PyExecutor;
import com.alibaba.langengine.pyexecutor.SessionConfig;
import dev.langchain4j.agent.tool.ToolSpecification;
import dev.langchain4j.agent.tool.ToolSpecifications;
import dev.langchain4j.code.CodeExecutionEngine;
import java.time.Duration;
import org.junit.jupiter.api.Test;

/** Tests with the real library. */
class EngineTest {
    @Test
    void theEngineReturnsWhatTheModelReads() {
        PyExecutionPolicy policy = new PyExecutionPolicy();
        policy.setTimeout(Duration.ofMillis(500));
        try (PyExecutor executor = new PyExecutor(policy)) {
            CodeExecutionEngine engine = new PyExecutorCodeExecutionEngine(executor);
            assertEquals("50", engine.execute("a = 5\nb = 10\na * b"));
            assertTrue(engine.execute("1 / 0").contains("ZeroDivisionError: division by zero"));
            assertTrue(engine.execute("import time\ntime.sleep(9)").contains("TimeoutError: timeout"));
            assertThrows(IllegalArgumentException.class, () -> engine.execute("a\0"));
        }
    }

    @Test
    void aSessionKeepsItsVariables() {
        try (PyExecutor executor = new PyExecutor(null, new SessionConfig())) {
            PyExecutorCodeExecutionEngine engine = new PyExecutorCodeExecutionEngine(executor, "s");
            engine.pythonExecute("x = 41");
            assertEquals("42", engine.pythonExecute("x + 1"));
        }
    }

    @Test
    void langChainSeesTheTool() {
        ToolSpecification tool = ToolSpecifications.toolSpecificationsFrom(PyExecutorCodeExecutionEngine.class).get(0);
        assertEquals("python_execute", tool.name());
        assertEquals(1, tool.parameters().properties().size());
        assertTrue(tool.parameters().properties().containsKey("code"), tool.toString());
    }
}

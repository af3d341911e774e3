package com.alibaba.langengine.pyexecutor.springaialibaba;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.alibaba.cloud.ai.graph.OverAllState;
import com.alibaba.cloud.ai.graph.node.code.CodeExecutor;
import com.alibaba.cloud.ai.graph.node.code.CodeExecutorNodeAction;
import com.alibaba.cloud.ai.graph.node.code.entity.CodeBlock;
import com.alibaba.cloud.ai.graph.node.code.entity.CodeExecutionConfig;
import com.alibaba.cloud.ai.graph.node.code.entity.CodeExecutionResult;
import com.alibaba.cloud.ai.graph.node.code.entity.CodeParam;
import com.alibaba.cloud.ai.graph.node.code.entity.CodeStyle;
import com.alibaba.langengine.pyexecutor.PyExecutor;
import com.alibaba.langengine.pyexecutor.spring.PyExecutorAutoConfiguration;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.springframework.context.annotation.AnnotationConfigApplicationContext;

/** Tests with the real library. */
class CodeNodeTest {
    private final PyExecutor python = new PyExecutor(null);
    private final PyExecutorCodeExecutor executor = new PyExecutorCodeExecutor(python);

    @AfterEach
    void close() {
        python.close();
    }

    private CodeExecutionResult run(CodeExecutionConfig config, CodeBlock... blocks) throws Exception {
        return executor.executeCodeBlocks(List.of(blocks), config);
    }

    @Test
    void blocksRunOneAfterAnotherUntilOneFails() throws Exception {
        assertEquals(new CodeExecutionResult(0, "1\n2\n"), run(null, new CodeBlock("python3", "print(1)"), new CodeBlock("Python", "print(2)")));
        CodeExecutionResult failed = run(null, new CodeBlock("python", "1 / 0"), new CodeBlock("python", "print(2)"));
        assertEquals(1, failed.exitCode());
        assertTrue(failed.logs().contains("ZeroDivisionError") && !failed.logs().contains("2\n"), failed.logs());
        assertEquals(1, run(null, new CodeBlock("java", "x")).exitCode());
    }

    @Test
    void theConfigurationsTimeoutHolds() throws Exception {
        CodeExecutionResult result = run(new CodeExecutionConfig().setTimeout(1), new CodeBlock("python", "import time\ntime.sleep(60)"));
        assertEquals(124, result.exitCode());
        assertTrue(result.logs().contains("TimeoutError: timeout"), result.logs());
    }

    @Test
    void aCodeNodeOfAGraphRunsInIt() throws Exception {
        CodeExecutorNodeAction node = CodeExecutorNodeAction.builder().codeExecutor(executor).codeLanguage("python3")
                .codeStyle(CodeStyle.EXPLICIT_PARAMETERS).code("def main(a, b):\n    return {'product': a * b}")
                .params(List.of(CodeParam.withKey("a", "x"), CodeParam.withKey("b", "y"))).config(new CodeExecutionConfig().setTimeout(5))
                .outputKey("out").build();
        Map<String, Object> out = node.apply(new OverAllState(Map.of("x", 5, "y", 10)));
        assertTrue(out.toString().contains("50"), out.toString());
        CodeExecutorNodeAction bad = CodeExecutorNodeAction.builder().codeExecutor(executor).codeLanguage("python3")
                .code("import subprocess").config(new CodeExecutionConfig().setTimeout(5)).outputKey("out").build();
        assertThrows(Exception.class, () -> bad.apply(new OverAllState(Map.of())));
    }

    @Test
    void springMakesTheExecutor() throws Exception {
        try (AnnotationConfigApplicationContext context = new AnnotationConfigApplicationContext()) {
            context.register(PyExecutorAutoConfiguration.class, PyExecutorSpringAiAlibabaAutoConfiguration.class);
            context.refresh();
            assertEquals(new CodeExecutionResult(0, "1\n"), context.getBean(CodeExecutor.class)
                    .executeCodeBlocks(List.of(new CodeBlock("python", "print(1)")), null));
        }
    }
}

package com.alibaba.langengine.pyexecutor.spring;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.alibaba.langengine.pyexecutor.PyExecutorException;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.springframework.boot.diagnostics.FailureAnalysis;
import org.springframework.context.annotation.AnnotationConfigApplicationContext;
import org.springframework.core.env.MapPropertySource;

/** The messages when the application can't start. */
class FailureAnalysisTest {
    private static FailureAnalysis failure(String property, String value) {
        AnnotationConfigApplicationContext context = new AnnotationConfigApplicationContext();
        context.getEnvironment().getPropertySources()
                .addFirst(new MapPropertySource("test", Map.of("ali.langengine.pyexecutor." + property, value)));
        context.register(PyExecutorAutoConfiguration.class);
        Throwable failed = assertThrows(RuntimeException.class, context::refresh);
        while (!(failed instanceof PyExecutorException) && failed.getCause() != null) {
            failed = failed.getCause();
        }
        PyExecutorException cause = assertInstanceOf(PyExecutorException.class, failed);
        return new PyExecutorFailureAnalyzer().analyze(failed, cause);
    }

    @ParameterizedTest
    @CsvSource({"max-threads,9999,max_threads", "cpu-time-seconds,99999999,cpu_time_seconds", "session-max-count,99999999,max_count",
        "timeout,25h,timeout_ms", "preload-imports,no_such_module,preload_imports", "url,ftp://h,ftp_url"})
    void aBadValueNamesItsPropertyAndNotTheMachine(String property, String value, String key) {
        FailureAnalysis analysis = failure(property, value);
        String said = analysis.getDescription() + " " + analysis.getAction();
        assertTrue(analysis.getDescription().startsWith("A property of PyExecutor has a value that can't be used: "), said);
        assertTrue(said.contains("ali.langengine.pyexecutor." + property) && said.contains("Change the value"), said);
        assertFalse(said.contains(key) || said.contains("machine") || said.contains("verify-at-startup"), said);
    }

    @Test
    void aMissingInterpreterNamesItsProperty() {
        FailureAnalysis analysis = failure("python-bin", "/nonexistent/python_bin");
        String said = analysis.getDescription() + " " + analysis.getAction();
        assertTrue(said.contains("can't use ali.langengine.pyexecutor.python-bin (python_not_found)"), said);
        assertTrue(said.contains("'/nonexistent/python_bin'") && said.contains("verify-at-startup=false"), said);
    }

    @Test
    void aMachineThatLacksALayerIsSaidToLackIt() {
        PyExecutorException cause = new PyExecutorException("sandbox_unavailable", "no user namespaces", "Set the sysctl.");
        FailureAnalysis analysis = new PyExecutorFailureAnalyzer().analyze(cause, cause);
        assertEquals("Python can't be run in a sandbox on this machine (sandbox_unavailable): no user namespaces", analysis.getDescription());
        assertTrue(analysis.getAction().startsWith("Set the sysctl.\n"), analysis.getAction());
    }
}

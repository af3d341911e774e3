package com.alibaba.langengine.pyexecutor.spring;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.alibaba.langengine.pyexecutor.PyExecutor;
import com.alibaba.langengine.pyexecutor.PyExecutorException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.springframework.boot.actuate.health.AbstractHealthIndicator;
import org.springframework.boot.actuate.health.Health;
import org.springframework.context.annotation.AnnotationConfigApplicationContext;
import org.springframework.core.env.MapPropertySource;

/** A Spring application without a native program: a system property makes the JVM believe that it runs on another system. */
class OtherSystemTest {
    private static AnnotationConfigApplicationContext context(Map<String, Object> properties) {
        AnnotationConfigApplicationContext context = new AnnotationConfigApplicationContext();
        context.getEnvironment().getPropertySources().addFirst(new MapPropertySource("test", properties));
        context.register(PyExecutorAutoConfiguration.class, PyExecutorHealth3AutoConfiguration.class,
                PyExecutorMetricsAutoConfiguration.class);
        context.refresh();
        return context;
    }

    /** The application. */
    static final class Application {
        private Application() {
        }

        public static void main(String[] args) throws Exception {
            try (AnnotationConfigApplicationContext context = context(Map.of())) {
                Health health = context.getBean(AbstractHealthIndicator.class).health();
                System.out.println(health.getStatus() + " " + health.getDetails().get("error"));
                context.getBean(PyExecutor.class).executeOnce("1", null);
            } catch (PyExecutorException e) {
                System.out.println("call: " + e.getCode());
            }
        }
    }

    @ParameterizedTest
    @CsvSource({"Mac OS X,aarch64,mac-os-x-aarch64", "Windows 11,amd64,windows-11-x86_64", "Linux,riscv64,linux-riscv64"})
    void theApplicationStartsAndHealthNamesRemoteModeFirst(String os, String architecture, String platform) throws Exception {
        ProcessBuilder builder = new ProcessBuilder(Path.of(System.getProperty("java.home"), "bin", "java").toString(), "-cp",
                System.getProperty("java.class.path"), "-Dos.name=" + os, "-Dos.arch=" + architecture, Application.class.getName());
        builder.environment().remove("PYEXEC_EXECUTABLE");
        builder.environment().put("PATH", "/nonexistent");
        Process process = builder.redirectError(ProcessBuilder.Redirect.DISCARD).start();
        String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertTrue(process.waitFor(60, TimeUnit.SECONDS));
        assertTrue(out.startsWith("DOWN this jar has no native program for " + platform + " (Use remote mode: set "
                + "ali.langengine.pyexecutor.url"), out);
        assertTrue(out.endsWith("call: sandbox_unavailable\n"), out);
    }

    @Test
    void aPropertySwitchesEverythingOff() {
        try (AnnotationConfigApplicationContext context = context(Map.of("ali.langengine.pyexecutor.enabled", "false"))) {
            assertEquals(0, context.getBeanNamesForType(PyExecutor.class).length);
            assertEquals(0, context.getBeanNamesForType(AbstractHealthIndicator.class).length);
            assertEquals(0, context.getBeanNamesForType(PyExecutorMetrics.class).length);
        }
    }
}

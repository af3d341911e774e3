package com.alibaba.langengine.pyexecutor.spring;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.alibaba.langengine.pyexecutor.Fleet;
import com.alibaba.langengine.pyexecutor.PyExecutor;
import com.alibaba.langengine.pyexecutor.PyExecutorException;
import com.alibaba.langengine.pyexecutor.Serve;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.springframework.boot.actuate.health.AbstractHealthIndicator;
import org.springframework.boot.actuate.health.Health;
import org.springframework.boot.actuate.health.Status;
import org.springframework.context.annotation.AnnotationConfigApplicationContext;
import org.springframework.core.env.MapPropertySource;

/** The bean and its health with a URL: scripts run on a server. */
class RemoteBeanTest {
    private static AnnotationConfigApplicationContext context(String url, String token, String verify) {
        AnnotationConfigApplicationContext context = new AnnotationConfigApplicationContext();
        context.getEnvironment().getPropertySources().addFirst(new MapPropertySource("test", Map.of("ali.langengine.pyexecutor.url", url,
                "ali.langengine.pyexecutor.token", token, "ali.langengine.pyexecutor.verify-at-startup", verify,
                "ali.langengine.pyexecutor.health-max-age", "0")));
        context.register(PyExecutorAutoConfiguration.class, PyExecutorHealth3AutoConfiguration.class);
        context.refresh();
        return context;
    }

    private static Health health(AnnotationConfigApplicationContext context) {
        return context.getBean("pyexecutorHealthIndicator", AbstractHealthIndicator.class).health();
    }

    @Test
    void theBeanRunsAtTheServerAndIsClosedWithTheContext() throws Exception {
        Serve serve = new Serve(Map.of());
        try (AnnotationConfigApplicationContext context = context(serve.url, Serve.TOKEN, "true")) {
            try (serve) {
                PyExecutor executor = context.getBean(PyExecutor.class);
                assertEquals("2", executor.execute("s", "1 + 1", null).getLastValueRepr());
                assertEquals(1, serve.metric("pyexec_sessions"));
                assertEquals(Health.up().withDetail("url", serve.url).build(), health(context));
            }
            assertEquals(Status.DOWN, health(context).getStatus());
            assertEquals("unreachable", health(context).getDetails().get("code"));
        }
    }

    @Test
    void theBeanRunsOnAFleetAndIsClosedWithTheContext() throws Exception {
        try (Fleet fleet = new Fleet()) {
            Serve worker = fleet.worker("solo");
            try (AnnotationConfigApplicationContext context = context(fleet.url(), "", "true")) {
                PyExecutor executor = context.getBean(PyExecutor.class);
                assertEquals("2", executor.execute("s", "1 + 1", null).getLastValueRepr());
                assertEquals(1, worker.metric("pyexec_sessions"));
                assertEquals(Health.up().withDetail("url", fleet.url()).build(), health(context));
            }
            assertEquals(0, worker.metric("pyexec_sessions"));
        }
    }

    @Test
    void aFleetWithoutAWorkerFailsTheStartUnlessItIsNotVerified() throws Exception {
        try (Fleet fleet = new Fleet()) {
            assertThrows(RuntimeException.class, () -> context(fleet.url(), "", "true"));
            try (AnnotationConfigApplicationContext context = context(fleet.url(), "", "false")) {
                assertEquals("overloaded", health(context).getDetails().get("code"));
                fleet.worker("solo");
                assertEquals(Status.UP, health(context).getStatus());
            }
        }
    }

    @Test
    void aServerThatRefusesTheTokenFailsTheStartUnlessItIsNotVerified() throws Exception {
        try (Serve serve = new Serve(Map.of())) {
            Throwable failed = assertThrows(RuntimeException.class, () -> context(serve.url, "wrong", "true"));
            while (failed.getCause() != null) {
                failed = failed.getCause();
            }
            PyExecutorException cause = assertInstanceOf(PyExecutorException.class, failed);
            assertEquals("unauthorized", cause.getCode());
            String text = new PyExecutorFailureAnalyzer().analyze(failed, cause).getDescription();
            assertTrue(text.contains("unauthorized"), text);
            try (AnnotationConfigApplicationContext context = context(serve.url, "wrong", "false")) {
                assertEquals("unauthorized", health(context).getDetails().get("code"));
            }
        }
    }
}

package com.alibaba.langengine.pyexecutor.spring;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.alibaba.langengine.pyexecutor.EnvironmentStore;
import com.alibaba.langengine.pyexecutor.PyExecutionPolicy;
import com.alibaba.langengine.pyexecutor.PyExecutionResult;
import com.alibaba.langengine.pyexecutor.PyExecutor;
import com.alibaba.langengine.pyexecutor.PyExecutorException;
import com.alibaba.langengine.pyexecutor.Serve;
import com.alibaba.langengine.pyexecutor.SessionConfig;
import java.util.HashMap;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.springframework.context.annotation.AnnotationConfigApplicationContext;
import org.springframework.core.env.MapPropertySource;

/** Runs in environments that {@code pyexec env create} has made: chosen by the policy, by Spring's property, and at a server. */
class EnvironmentTest {
    private static final String TOTAL = "import tally\ntally.total(1, 2, 3)";
    private static EnvironmentStore store;

    @BeforeAll
    static void make() throws Exception {
        store = new EnvironmentStore();
        store.put("create", "data", "tally", "1.0", "def total(*numbers): return sum(numbers)\n");
        // It maps more than the default limit of address space, so it needs the limit of its environment.
        store.put("create", "large", "hungry", "1.0", "held = bytearray(600 << 20)\n");
    }

    @AfterAll
    static void remove() throws Exception {
        store.close();
    }

    private static PyExecutionPolicy policy(String environment) {
        PyExecutionPolicy policy = new PyExecutionPolicy();
        policy.setEnvironment(environment);
        return policy;
    }

    private static AnnotationConfigApplicationContext context(Map<String, Object> properties) {
        Map<String, Object> all = new HashMap<>();
        properties.forEach((name, value) -> all.put("ali.langengine.pyexecutor." + name, value));
        AnnotationConfigApplicationContext context = new AnnotationConfigApplicationContext();
        context.getEnvironment().getPropertySources().addFirst(new MapPropertySource("test", all));
        context.register(PyExecutorAutoConfiguration.class);
        context.refresh();
        return context;
    }

    @Test
    void thePolicyChoosesAnEnvironmentAndTheResultNamesIt() throws Exception {
        try (PyExecutor executor = new PyExecutor(policy("data"), new SessionConfig())) {
            PyExecutionResult result = executor.executeOnce(TOTAL, null);
            assertEquals("6", result.getLastValueRepr(), result.getErrorRepr());
            assertEquals("data", result.getEnvironment().name());
            assertEquals(32, result.getEnvironment().hash().length());
            assertTrue(executor.executeOnce("import os", null).getErrorRepr().contains("import 'os' not allowed"));
        }
        try (PyExecutor executor = new PyExecutor(new PyExecutionPolicy())) {
            PyExecutionResult result = executor.executeOnce(TOTAL, null);
            assertTrue(result.getErrorRepr().startsWith("ImportError"), result.getErrorRepr());
            assertNull(result.getEnvironment());
        }
    }

    @Test
    void aSessionKeepsItsVersionAndTheNextOneHasTheUpdate() throws Exception {
        store.put("create", "moving", "words", "1.0", "COUNT = 1\n");
        try (PyExecutor executor = new PyExecutor(policy("moving"), new SessionConfig())) {
            PyExecutionResult first = executor.execute("s", "import words\nwords.COUNT", null);
            assertEquals("1", first.getLastValueRepr(), first.getErrorRepr());
            store.put("update", "moving", "words", "2.0", "COUNT = 2\n");
            assertEquals(first.getEnvironment(), executor.execute("s", "words.COUNT", null).getEnvironment());
            PyExecutionResult next = executor.execute("t", "import words\nwords.COUNT", null);
            assertEquals("2", next.getLastValueRepr(), next.getErrorRepr());
            assertNotEquals(first.getEnvironment(), next.getEnvironment());
        }
    }

    @Test
    void theLimitsOfAnEnvironmentHoldWhereThePolicyHasItsDefaults() throws Exception {
        String code = "import hungry\nlen(hungry.held) >> 20";
        try (PyExecutor executor = new PyExecutor(policy("large"))) {
            assertEquals("600", executor.executeOnce(code, null).getLastValueRepr());
        }
        PyExecutionPolicy small = policy("large");
        small.setAddressSpaceBytes(500L << 20);
        try (PyExecutor executor = new PyExecutor(small)) {
            PyExecutionResult result = executor.executeOnce(code, null);
            assertTrue(!result.isOk() && result.getError().hint().contains("'large' need address_space_bytes"), String.valueOf(result.getError()));
        }
    }

    @Test
    void anUnknownEnvironmentListsThoseThatAreThere() {
        PyExecutorException thrown = assertThrows(PyExecutorException.class, () -> {
            try (PyExecutor executor = new PyExecutor(policy("dota"))) {
                executor.executeOnce("1", null);
            }
        });
        assertEquals("invalid_policy", thrown.getCode());
        assertTrue(thrown.getMessage().contains("'dota'") && thrown.toString().contains("data"), thrown.toString());
    }

    @Test
    void springsPropertyChoosesAnEnvironment() throws Exception {
        try (AnnotationConfigApplicationContext context = context(Map.of("environment", "data"))) {
            PyExecutionResult result = context.getBean(PyExecutor.class).executeOnce(TOTAL, null);
            assertEquals("6", result.getLastValueRepr(), result.getErrorRepr());
            assertEquals("data", result.getEnvironment().name());
        }
        try (AnnotationConfigApplicationContext context = context(Map.of("environment", "large"))) {
            assertEquals("600", context.getBean(PyExecutor.class).executeOnce("import hungry\nlen(hungry.held) >> 20", null).getLastValueRepr());
        }
    }

    @Test
    void aServersEnvironmentIsChosenByPolicyAndProperty() throws Exception {
        try (Serve serve = new Serve(store.variables(), "--allowed-environments", "data,large")) {
            try (AnnotationConfigApplicationContext context = context(Map.of("environment", "data", "url", serve.url, "token", Serve.TOKEN))) {
                PyExecutionResult result = context.getBean(PyExecutor.class).executeOnce(TOTAL, null);
                assertEquals("6", result.getLastValueRepr(), result.getErrorRepr());
                assertEquals("data", result.getEnvironment().name());
            }
            try (AnnotationConfigApplicationContext context = context(Map.of("environment", "large", "url", serve.url, "token", Serve.TOKEN))) {
                assertEquals("600", context.getBean(PyExecutor.class).execute("s", "import hungry\nlen(hungry.held) >> 20", null).getLastValueRepr());
            }
        }
    }
}

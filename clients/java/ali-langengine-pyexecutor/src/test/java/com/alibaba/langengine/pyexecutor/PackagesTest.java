package com.alibaba.langengine.pyexecutor;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** Packages of an execution: a server installs them, with pip from wheels of the test; the native program says that it does not. */
class PackagesTest {
    private static final String TOTAL = "import tally\ntally.total(1, 2, 3)";

    private static PyExecutionOptions packages(String... packages) {
        return new PyExecutionOptions().setPackages(packages);
    }

    @Test
    void aServerInstallsThemForARunAndForASession() throws Exception {
        try (EnvironmentStore store = new EnvironmentStore()) {
            store.wheel("tally", "1.0", "def total(*numbers): return sum(numbers)\n");
            // It maps more than the default limit of address space, so it needs the limit of its environment.
            store.wheel("hungry", "1.0", "held = bytearray(600 << 20)\n");
            Map<String, String> variables = new HashMap<>(store.variables());
            variables.put("PYEXEC_ENV_UV", "/nowhere/uv");
            variables.put("PYEXEC_ENV_ALLOW_REQUESTS", "tally,hungry");
            try (Serve server = new Serve(variables);
                    PyExecutor executor = new PyExecutor(new PyExecutionPolicy(), new SessionConfig(), server.host())) {
                PyExecutionResult result = executor.executeOnce(TOTAL, packages("tally"));
                assertEquals("6", result.getLastValueRepr(), result.getErrorRepr());
                assertTrue(result.getEnvironment().name().startsWith("cached-"), result.getEnvironment().name());
                assertEquals("6", executor.execute("s", TOTAL, packages("tally")).getLastValueRepr());
                assertEquals("2", executor.execute("s", "tally.total(2)", null).getLastValueRepr());
                assertEquals("3", executor.execute("s", "tally.total(3)", packages("tally")).getLastValueRepr());
                result = executor.executeOnce("import hungry\nlen(hungry.held) >> 20", packages("hungry"));
                assertEquals("600", result.getLastValueRepr(), result.getErrorRepr());
                IllegalArgumentException refused = assertThrows(IllegalArgumentException.class,
                        () -> executor.executeOnce("1", packages("pandas")));
                assertTrue(refused.getMessage().contains("'pandas' is not among those"), refused.getMessage());
            }
        }
    }

    @Test
    void theNativeProgramTakesNone() throws Exception {
        try (PyExecutor executor = new PyExecutor(new PyExecutionPolicy())) {
            IllegalArgumentException refused = assertThrows(IllegalArgumentException.class,
                    () -> executor.executeOnce("1", packages("tally")));
            assertTrue(refused.getMessage().contains("only executions and sessions of `pyexec serve` take packages"), refused.getMessage());
        }
    }
}

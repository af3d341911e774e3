package com.alibaba.langengine.pyexecutor;

import static com.alibaba.langengine.pyexecutor.LifeTest.until;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.time.LocalDate;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Function;
import org.junit.jupiter.api.Test;

/** Functions of this program that scripts call. */
class ToolsTest extends OnHost {
    private static final String WEATHER = """
            {"description": "The weather of a city.",
             "parameters": {"type": "object", "required": ["city"],
                            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "default": 1}}}}""";

    private PyExecutor executor() throws Exception {
        return host.executor(new PyExecutionPolicy(), new SessionConfig());
    }

    private static PyExecutionOptions with(String name, Function<Map<String, Object>, ?> function) {
        return new PyExecutionOptions().putTool(name, Map.of(), function);
    }

    /** Runs the code with one tool, x. */
    private PyExecutionResult called(Function<Map<String, Object>, ?> function, String code) throws Exception {
        try (PyExecutor executor = executor()) {
            return executor.executeOnce(code, with("x", function));
        }
    }

    @Test
    void aScriptCallsAFunctionOfThisProgramWithArgumentsByItsSignature() throws Exception {
        try (PyExecutor executor = executor()) {
            AtomicReference<Map<String, Object>> seen = new AtomicReference<>();
            PyExecutionResult result = executor.executeOnce("lookup('Rome', days=3)['sun']",
                    new PyExecutionOptions().putTool("lookup", WEATHER, arguments -> {
                        seen.set(arguments);
                        return Map.of("sun", true);
                    }));
            assertEquals("True", result.getLastValueRepr(), result::toText);
            assertEquals(Map.of("city", "Rome", "days", 3L), seen.get());
            result = executor.executeOnce("lookup()", new PyExecutionOptions().putTool("lookup", WEATHER, arguments -> 1));
            assertTrue(result.getErrorRepr().contains("city"), result::toText);
        }
    }

    @Test
    void callsOfOneScriptRunAtOnce() throws Exception {
        CountDownLatch all = new CountDownLatch(3);
        PyExecutionPolicy policy = new PyExecutionPolicy();
        policy.setUseImportWhitelist(false);
        try (PyExecutor executor = host.executor(policy, null)) {
            PyExecutionResult result = executor.executeOnce("import asyncio, tools\nawait asyncio.gather(tools.aio.x(), tools.aio.x(), tools.aio.x())",
                    with("x", arguments -> {
                        all.countDown();
                        try {
                            return all.await(60, TimeUnit.SECONDS);
                        } catch (InterruptedException e) {
                            throw new IllegalStateException(e);
                        }
                    }));
            assertEquals("[True, True, True]", result.getLastValueRepr(), result::toText);
        }
    }

    @Test
    void aStageIsWaitedFor() throws Exception {
        PyExecutionResult result = called(arguments -> CompletableFuture.supplyAsync(() -> "later"), "x()");
        assertEquals("'later'", result.getLastValueRepr(), result::toText);
        result = called(arguments -> CompletableFuture.failedFuture(new PyToolDeniedException("not today")), "x()");
        assertTrue(result.getErrorRepr().contains("tool 'x' denied: not today"), result::toText);
        result = called(arguments -> CompletableFuture.supplyAsync(() -> {
            throw new IllegalStateException("broke later");
        }), "x()");
        assertTrue(result.getErrorRepr().contains("broke later"), result::toText);
    }

    @Test
    void valuesBecomeJsonAsInputsDo() throws Exception {
        record Point(int x, int y) {
        }
        assertEquals("'2026-11-29'", called(arguments -> LocalDate.of(2026, 11, 29), "x()").getLastValueRepr());
        assertEquals("[{'x': 1, 'y': 2}]", called(arguments -> List.of(new Point(1, 2)), "x()").getLastValueRepr());
        assertEquals("'a\\nü\"'", called(arguments -> "a\nü\"", "x()").getLastValueRepr());
        assertEquals("True", called(arguments -> null, "x() is None").getLastValueRepr());
    }

    @Test
    void whatAToolThrowsIsAnErrorOfTheScriptsCall() throws Exception {
        String code = "try:\n    x()\nexcept RuntimeError as e:\n    pass\n    r = (type(e).__name__, str(e), e.tool, e.data)\nr";
        assertEquals("('ToolError', 'no such city', 'x', {'near': ['Rom']})", called(arguments -> {
            throw new PyToolException("no such city", Map.of("near", List.of("Rom")));
        }, code).getLastValueRepr());
        assertEquals("('ToolError', 'broke', 'x', None)", called(arguments -> {
            throw new IllegalStateException("broke");
        }, code).getLastValueRepr());
        assertEquals("('ToolError', 'NullPointerException', 'x', None)", called(arguments -> {
            throw new NullPointerException();
        }, code).getLastValueRepr());
        assertTrue(called(arguments -> Double.NaN, code).getLastValueRepr().contains("JSON can't contain NaN"));
        assertTrue(called(arguments -> new Object(), code).getLastValueRepr().contains("java.lang.Object"));
        assertTrue(called(arguments -> "x".repeat(9 << 20), code).getLastValueRepr().contains("longer than 8 MiB"));
    }

    @Test
    void aRefusalIsAPermissionErrorAndOneOfTheDenials() throws Exception {
        PyExecutionResult result = called(arguments -> {
            throw new PyToolDeniedException("only on weekdays");
        }, "x()");
        assertEquals("PermissionError: tool 'x' denied: only on weekdays", result.getErrorRepr());
        assertEquals("tools", result.getDenials().get(0).layer());
    }

    @Test
    void theClockOfTheTimeoutStandsStillWhileAToolIsWaitedFor() throws Exception {
        PyExecutionPolicy policy = new PyExecutionPolicy();
        policy.setTimeout(Duration.ofSeconds(2));
        try (PyExecutor executor = host.executor(policy, null)) {
            PyExecutionResult result = executor.executeOnce("x()", with("x", arguments -> {
                try {
                    Thread.sleep(4000);
                } catch (InterruptedException e) {
                    throw new IllegalStateException(e);
                }
                return "there";
            }));
            assertEquals("'there'", result.getLastValueRepr(), result::toText);
        }
    }

    @Test
    void aCallOfASessionHasItsOwnTools() throws Exception {
        try (PyExecutor executor = executor()) {
            executor.execute("s", "a = x()", with("x", arguments -> 5));
            assertEquals("5", executor.execute("s", "a", null).getLastValueRepr());
            PyExecutionResult without = executor.execute("s", "x()", null);
            assertTrue(without.getErrorRepr() != null, without::toText);
            assertEquals("6", executor.execute("s", "a + x()", with("x", arguments -> 1)).getLastValueRepr());
        }
    }

    @Test
    void anAnswerThatComesAfterTheEndOfItsRunHarmsNothing() throws Exception {
        try (PyExecutor executor = executor()) {
            CompletableFuture<Object> never = new CompletableFuture<>();
            CountDownLatch asked = new CountDownLatch(1);
            CompletableFuture<PyExecutionResult> run = executor.executeOnceAsync("x()", with("x", arguments -> {
                asked.countDown();
                return never;
            }));
            assertTrue(asked.await(60, TimeUnit.SECONDS));
            run.cancel(true);
            until(() -> host.running(executor) == 0);
            never.complete("too late");
            assertEquals("2", executor.executeOnce("1 + 1", null).getLastValueRepr());
        }
    }

    @Test
    void aDefinitionThatCannotBeNamesItsTool() throws Exception {
        assertThrows(IllegalArgumentException.class, () -> new PyExecutionOptions().putTool("x", "[", arguments -> 1));
        try (PyExecutor executor = executor()) {
            String message = assertThrows(IllegalArgumentException.class,
                    () -> executor.executeOnce("1", with("print", arguments -> 1))).getMessage();
            assertTrue(message.contains("print"), message);
            PyExecutionOptions options = new PyExecutionOptions().putTool("x", Map.of("parameters", Map.of("type", "string")), arguments -> 1);
            message = assertThrows(IllegalArgumentException.class, () -> executor.executeOnce("1", options)).getMessage();
            assertTrue(message.contains("tools: x: parameters"), message);
            assertNull(executor.executeOnce("pass", with("x", arguments -> 1)).getErrorRepr());
        }
    }
}

package com.alibaba.langengine.pyexecutor;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.beans.Introspector;
import java.beans.PropertyDescriptor;
import java.lang.reflect.Method;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.file.Paths;
import java.time.Duration;
import java.time.Instant;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.ZoneId;
import java.time.ZonedDateTime;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Date;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** Java values as a script's variables; equality of results; copies of policies. */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class InputsTest {
    private final PyExecutor executor = new PyExecutor(null);

    @AfterAll
    void close() {
        executor.close();
    }

    private enum Colour {
        RED
    }

    private record Point(int x, Colour colour, List<LocalDate> days) {
    }

    private static Stream<Arguments> values() {
        Instant instant = Instant.parse("2026-02-03T04:05:06Z");
        return Stream.of(Arguments.of(new int[] {1, 2}, "x == [1, 2]"),
                Arguments.of(new double[][] {{0.5}, {}}, "x == [[0.5], []]"),
                Arguments.of(new String[] {"a", null}, "x == ['a', None]"),
                Arguments.of(new Point(7, Colour.RED, List.of(LocalDate.of(2026, 2, 3))), "x == {'x': 7, 'colour': 'RED', 'days': ['2026-02-03']}"),
                Arguments.of(Colour.RED, "x == 'RED'"),
                Arguments.of(LocalDate.of(2026, 2, 3), "datetime.date.fromisoformat(x) == datetime.date(2026, 2, 3)"),
                Arguments.of(LocalDateTime.of(2026, 2, 3, 4, 5), "datetime.datetime.fromisoformat(x) == datetime.datetime(2026, 2, 3, 4, 5)"),
                Arguments.of(instant, "datetime.datetime.fromisoformat(x).timestamp() == 1770091506"),
                Arguments.of(Date.from(instant), "datetime.datetime.fromisoformat(x).timestamp() == 1770091506"),
                Arguments.of(ZonedDateTime.ofInstant(instant, ZoneId.of("Europe/Paris")),
                        "datetime.datetime.fromisoformat(x).timestamp() == 1770091506 and '+01:00' in x"),
                Arguments.of(Duration.ofMillis(1500), "x == 1.5"),
                Arguments.of(new BigDecimal("0.1000000000000000055511151231257827"), "str(decimal.Decimal(x)) == '0.1000000000000000055511151231257827'"),
                Arguments.of(new BigDecimal("1E+400"), "decimal.Decimal(x) == 10 ** 400"),
                Arguments.of(BigInteger.TEN, "x == 10"),
                Arguments.of(BigInteger.ONE.shiftLeft(64), "int(x) == 2 ** 64"),
                Arguments.of(new byte[] {0, (byte) 255}, "base64.b64decode(x) == bytes([0, 255])"),
                Arguments.of(Map.of(Colour.RED, Set.of('c'), 'k', Optional.empty()), "x == {'RED': ['c'], 'k': None}"),
                Arguments.of(UUID.fromString("00000000-0000-0000-0000-000000000001"), "uuid.UUID(x).int == 1"),
                Arguments.of(Paths.get("/a/b"), "x == '/a/b'"));
    }

    @ParameterizedTest
    @MethodSource("values")
    void aValueIsWhatPythonCanRead(Object value, String holds) throws Exception {
        PyExecutionResult result = executor.executeOnce("import base64, datetime, decimal, uuid\n" + holds, new PyExecutionOptions().putInput("x", value));
        assertEquals("True", result.getLastValueRepr(), result.toText());
    }

    @Test
    void whatHasNoJsonIsRefusedByItsClass() {
        assertTrue(refused(new Object()).contains("java.lang.Object"));
        assertTrue(refused(List.of(Thread.currentThread())).contains("java.lang.Thread"));
        assertTrue(refused(Double.NaN).contains("NaN"));
        List<Object> endless = new ArrayList<>();
        endless.add(endless);
        assertTrue(refused(endless).contains("contains itself"));
        assertTrue(refused(new HashMap<>(Collections.singletonMap(null, 1))).contains("a key of a Map is not a String"));
    }

    private String refused(Object value) {
        return assertThrows(IllegalArgumentException.class, () -> executor.executeOnce("1", new PyExecutionOptions().putInput("x", value)))
                .getMessage();
    }

    @Test
    void resultsWithTheSameFieldsAreEqual() {
        PyExecutionResult result = new PyExecutionResult(0, "a", false, "", false, 3, "1", null);
        PyExecutionResult same = new PyExecutionResult(0, "a", false, "", false, 3, "1", null);
        assertEquals(result, same);
        assertEquals(result.hashCode(), same.hashCode());
        assertNotEquals(result, new PyExecutionResult(0, "b", false, "", false, 3, "1", null));
        assertNotEquals(result, new PyExecutionResult(0, "a", false, "", false, 4, "1", null));
        assertEquals(new PyExecutionResult.FileChange("f", 1, "created", new byte[] {1}),
                new PyExecutionResult.FileChange("f", 1, "created", new byte[] {1}));
        assertNotEquals(new PyExecutionResult.FileChange("f", 1, "created", new byte[] {1}),
                new PyExecutionResult.FileChange("f", 1, "created", new byte[] {2}));
    }

    @Test
    void aPolicysCopyHasEveryValueAndIsApart() throws Exception {
        PyExecutionPolicy policy = new PyExecutionPolicy();
        policy.getAllowedImports().add("numpy");
        policy.getBannedImports().clear();
        policy.setPreloadImports(List.of("json"));
        policy.setAllowedEnvironments(List.of("data"));
        policy.getAllowedHosts().add("example.com:443");
        List<PropertyDescriptor> properties = List.of(Introspector.getBeanInfo(PyExecutionPolicy.class, Object.class).getPropertyDescriptors());
        for (PropertyDescriptor property : properties) {
            if (property.getWriteMethod() != null) {
                property.getWriteMethod().invoke(policy, other(property.getReadMethod(), policy));
            }
        }
        PyExecutionPolicy copy = policy.copy();
        PyExecutionPolicy defaults = new PyExecutionPolicy();
        for (PropertyDescriptor property : properties) {
            Object value = property.getReadMethod().invoke(policy);
            assertEquals(value, property.getReadMethod().invoke(copy), property.getName());
            assertNotEquals(property.getReadMethod().invoke(defaults), value, property.getName());
        }
        copy.getAllowedImports().clear();
        copy.setMaxThreads(1);
        assertTrue(policy.getAllowedImports().contains("numpy") && policy.getMaxThreads() != 1);
    }

    /** Returns a value of the property's type that is not the default. */
    private static Object other(Method getter, Object policy) throws Exception {
        Object value = getter.invoke(policy);
        if (value instanceof Boolean is) {
            return !is;
        }
        if (value instanceof Integer number) {
            return number + 1;
        }
        if (value instanceof Long number) {
            return number + 1;
        }
        if (getter.getReturnType() == Duration.class) {
            return value == null ? Duration.ofSeconds(1) : ((Duration) value).plusSeconds(1);
        }
        return "other";
    }
}

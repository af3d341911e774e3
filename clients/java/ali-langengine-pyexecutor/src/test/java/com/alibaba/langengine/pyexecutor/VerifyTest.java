// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

class VerifyTest {
    private static final String SOLUTION = "def f(n):\n    while n < 0: pass\n    return [n, n + 1]";

    @Test
    void eachTestGetsItsVerdict() {
        try (PyExecutor executor = new PyExecutor(null)) {
            Map<String, Object> answer = executor.verify(SOLUTION, List.of(
                    Map.of("call", "f", "args", List.of(1), "expect", List.of(1, 2)),
                    Map.of("call", "f", "args", List.of(1), "expect", List.of(2)),
                    Map.of("call", "f", "args", List.of(-1), "expect", 0),
                    Map.of("code", "assert f(1)")), Map.of("each", Map.of("timeout_ms", 300)), null);
            assertEquals(List.of("pass", "wrong", "timeout", "pass"), ((List<?>) answer.get("tests")).stream()
                    .map(test -> ((Map<?, ?>) test).get("verdict")).collect(Collectors.toList()));
            assertEquals(false, answer.get("passed"));
            assertThrows(IllegalArgumentException.class, () -> executor.verify(SOLUTION, List.of(), null, null));
        }
    }
}

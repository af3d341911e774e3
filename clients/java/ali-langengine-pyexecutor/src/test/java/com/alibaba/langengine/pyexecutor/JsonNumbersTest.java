package com.alibaba.langengine.pyexecutor;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.junit.jupiter.api.Test;

class JsonNumbersTest {

    @Test
    void integersOf64BitsAreLong() {
        for (long number : new long[] {0, -1, 7, 999_999_999_999_999_999L, -999_999_999_999_999_999L, Long.MAX_VALUE, Long.MIN_VALUE}) {
            assertEquals(number, Json.parse(Long.toString(number)));
        }
    }

    @Test
    void otherNumbersAreDouble() {
        assertEquals(0.5, Json.parse("0.5"));
        assertEquals(-2e3, Json.parse("-2e3"));
        assertEquals(9.223372036854775807e18, Json.parse("9223372036854775808"));
        assertEquals(1e30, Json.parse("1000000000000000000000000000000"));
    }

    @Test
    void whatIsNoNumberIsRefused() {
        for (String text : new String[] {"-", "1-2", "+", "--1", "1e", "."}) {
            assertThrows(IllegalArgumentException.class, () -> Json.parse(text), text);
        }
    }
}

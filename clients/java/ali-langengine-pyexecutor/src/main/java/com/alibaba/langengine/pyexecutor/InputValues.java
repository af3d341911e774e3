// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import java.lang.reflect.Array;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.RecordComponent;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.net.URI;
import java.net.URL;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.time.ZonedDateTime;
import java.time.temporal.Temporal;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Date;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;

/**
 * Makes JSON of variables for a script. A Java value becomes the same JSON as the similar Python value in a result (docs/results.md,
 * Values as JSON). So a value can be sent to a script and returned from it.
 */
final class InputValues {
    private static final int MAX_DEPTH = 100;

    private InputValues() {
    }

    /** The JSON value: null, a Boolean, Number, String, List or Map of these. */
    static Object of(Object value) {
        return of(value, 0);
    }

    private static Object of(Object value, int depth) {
        if (depth > MAX_DEPTH) {
            throw new IllegalArgumentException("inputs: a value is nested more than " + MAX_DEPTH + " deep, or contains itself");
        }
        if (value instanceof Map<?, ?> map) {
            Map<String, Object> object = new LinkedHashMap<>();
            map.forEach((key, item) -> object.put(key(key), of(item, depth + 1)));
            return object;
        }
        if (value instanceof Iterable<?> items && !(value instanceof Path)) {
            List<Object> list = new ArrayList<>();
            items.forEach(item -> list.add(of(item, depth + 1)));
            return list;
        }
        if (value instanceof byte[] bytes) {
            return Base64.getEncoder().encodeToString(bytes);
        }
        if (value != null && value.getClass().isArray()) {
            List<Object> list = new ArrayList<>();
            for (int i = 0; i < Array.getLength(value); i++) {
                list.add(of(Array.get(value, i), depth + 1));
            }
            return list;
        }
        if (value instanceof Record) {
            return fields((Record) value, depth);
        }
        return value instanceof Optional<?> optional ? of(optional.orElse(null), depth) : scalar(value);
    }

    private static Object scalar(Object value) {
        if (value instanceof BigDecimal || value instanceof BigInteger && ((BigInteger) value).bitLength() >= Long.SIZE) {
            return value.toString();
        }
        if (value instanceof Duration duration) {
            return duration.getSeconds() + duration.getNano() / 1e9;
        }
        return isJson(value) ? value : text(value);
    }

    private static boolean isJson(Object value) {
        return value == null || value instanceof Boolean || value instanceof Number || value instanceof CharSequence;
    }

    /** Returns the text of a value that has only one form. A value of an unknown type is refused. */
    private static String text(Object value) {
        if (value instanceof Enum<?> constant) {
            return constant.name();
        }
        if (value instanceof Date date) {
            return text(Instant.ofEpochMilli(date.getTime()));
        }
        if (value instanceof Temporal) {
            // Python before 3.11 reads neither the Z nor the name of a zone.
            String iso = (value instanceof ZonedDateTime zoned ? zoned.toOffsetDateTime() : value).toString();
            return iso.endsWith("Z") ? iso.substring(0, iso.length() - 1) + "+00:00" : iso;
        }
        if (value instanceof Character || value instanceof UUID || value instanceof Path || value instanceof URI
                || value instanceof URL) {
            return value.toString();
        }
        throw new IllegalArgumentException("inputs: a " + value.getClass().getName() + " can't be the value of a variable; use a type of"
                + " JSON, an array, a record, a date, an enum, a BigDecimal or byte[]");
    }

    private static String key(Object key) {
        Object simple = scalar(key);
        if (simple instanceof CharSequence) {
            return simple.toString();
        }
        throw new IllegalArgumentException("inputs: a key of a Map is not a String, and can't be converted to one: " + key);
    }

    private static Map<String, Object> fields(Record value, int depth) {
        Map<String, Object> object = new LinkedHashMap<>();
        for (RecordComponent component : value.getClass().getRecordComponents()) {
            try {
                component.getAccessor().setAccessible(true);
                object.put(component.getName(), of(component.getAccessor().invoke(value), depth + 1));
            } catch (IllegalAccessException | RuntimeException e) {
                throw e instanceof IllegalArgumentException bad ? bad
                        : new IllegalArgumentException("inputs: can't read " + component.getName() + " of the record " + value.getClass().getName()
                                + "; its module must open its package to this library", e);
            } catch (InvocationTargetException e) {
                throw new IllegalArgumentException("inputs: " + component.getName() + " of the record " + value.getClass().getName()
                        + " threw " + e.getCause(), e.getCause());
            }
        }
        return object;
    }
}

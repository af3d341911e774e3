// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * A function of this program that a script may call: the arguments of {@link PyExecutionOptions#putTool}.
 *
 * @param name as the script calls it
 * @param definition its {@code description}, {@code parameters} (a JSON Schema of an object), {@code returns} and
 *     {@code approval}, as far as they are given
 * @param function that is called with the arguments
 */
public record PyTool(String name, Map<String, Object> definition, Function<Map<String, Object>, ?> function) {
    private static final Map<String, String> TYPES = Map.of("string", "str", "integer", "int", "number", "float", "boolean", "bool",
            "array", "list", "object", "dict", "null", "None");

    /**
     * Checks that name and function are not null, and copies the definition.
     *
     * @param name as the script calls it
     * @param definition its members; null: none
     * @param function that is called with the arguments
     */
    public PyTool {
        Objects.requireNonNull(name, "name");
        Objects.requireNonNull(function, "function");
        definition = definition == null ? Map.of() : new LinkedHashMap<>(definition);
    }

    /**
     * Returns its signature, for the description that a model reads.
     *
     * @return for example {@code lookup(city: str, days: int = 1)}, with the required parameters first
     */
    public String signature() {
        Map<?, ?> schema = object(definition.get("parameters"));
        Map<?, ?> properties = object(schema.get("properties"));
        List<?> required = schema.get("required") instanceof List<?> names ? names : List.of();
        Stream<String> first = properties.keySet().stream().filter(required::contains).map(key -> parameter(key, properties.get(key), true));
        Stream<String> rest = properties.keySet().stream().filter(key -> !required.contains(key))
                .map(key -> parameter(key, properties.get(key), false));
        return name + Stream.concat(first, rest).collect(Collectors.joining(", ", "(", ")"));
    }

    private static String parameter(Object name, Object schema, boolean required) {
        String type = TYPES.get(String.valueOf(object(schema).get("type")));
        String declared = type == null ? String.valueOf(name) : name + ": " + type;
        return required ? declared : declared + " = " + literal(object(schema));
    }

    private static String literal(Map<?, ?> schema) {
        Object value = schema.get("default");
        if (value instanceof Boolean truth) {
            return truth ? "True" : "False";
        }
        return value instanceof Number ? value.toString() : value instanceof String ? Json.write(value) : "...";
    }

    private static Map<?, ?> object(Object value) {
        return value instanceof Map<?, ?> map ? map : Map.of();
    }

    /** Makes a Python name from the name of a tool. The result is different from every name in {@code taken}. */
    static String freeName(String name, Set<String> taken) {
        String word = name.replaceAll("[^A-Za-z0-9_]", "_");
        String plain = word.isEmpty() || !Character.isLetter(word.charAt(0)) ? "tool_" + word : word;
        String free = plain;
        for (int i = 2; taken.contains(free); i++) {
            free = plain + "_" + i;
        }
        return free;
    }

    /** The value of a text that is JSON, or the text. */
    static Object valueOf(String text) {
        try {
            return text == null ? null : Json.parse(text);
        } catch (IllegalArgumentException e) {
            return text;
        }
    }

    /** Returns it in the form of a request. */
    Map<String, Object> toMap() {
        Map<String, Object> map = new LinkedHashMap<>();
        map.put("name", name);
        definition.forEach(map::putIfAbsent);
        return map;
    }
}

// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import java.math.BigInteger;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * JSON (RFC 8259) as far as the protocol needs it: objects are maps, arrays lists, integers {@code Long},
 * other numbers {@code Double}. The depth is limited here; the reader of a text limits its length.
 */
final class Json {
    private static final int MAX_DEPTH = 512;
    private static final char[] HEX = "0123456789abcdef".toCharArray();

    private final String text;
    private int at;
    /** The first backslash at or after `at`, or the length of the text. */
    private int backslash = -1;

    private Json(String text) {
        this.text = text;
    }

    static Object parse(String text) {
        Json reader = new Json(text);
        Object value = reader.value(0);
        if (reader.peek() != '\0' || reader.at < text.length()) {
            throw reader.bad("there is text after the value");
        }
        return value;
    }

    @SuppressWarnings("unchecked")
    static Map<String, Object> parseObject(String text) {
        Object value = parse(text);
        if (value instanceof Map) {
            return (Map<String, Object>) value;
        }
        throw new IllegalArgumentException("JSON: not an object");
    }

    static String write(Object value) {
        StringBuilder out = new StringBuilder(256);
        write(out, value);
        return out.toString();
    }

    static void write(StringBuilder out, Object value) {
        write(out, value, 0);
    }

    private static void write(StringBuilder out, Object value, int depth) {
        if (depth > MAX_DEPTH) {
            throw new IllegalArgumentException("JSON: a value is nested too deeply, or contains itself");
        }
        if (value instanceof CharSequence) {
            writeString(out, (CharSequence) value);
        } else if (value instanceof Map) {
            writeMap(out, (Map<?, ?>) value, depth);
        } else if (value instanceof Collection) {
            char separator = '[';
            for (Object item : (Collection<?>) value) {
                write(out.append(separator), item, depth + 1);
                separator = ',';
            }
            out.append(separator == '[' ? "[]" : "]");
        } else if (value == null || value instanceof Boolean || value instanceof Number && isFinite((Number) value)) {
            out.append(value);
        } else {
            throw new IllegalArgumentException("JSON can't contain " + (value instanceof Number ? value : value.getClass().getName()));
        }
    }

    private static boolean isFinite(Number number) {
        return !(number instanceof Double || number instanceof Float) || Double.isFinite(number.doubleValue());
    }

    private static void writeMap(StringBuilder out, Map<?, ?> map, int depth) {
        char separator = '{';
        for (Map.Entry<?, ?> entry : map.entrySet()) {
            if (!(entry.getKey() instanceof String)) {
                throw new IllegalArgumentException("JSON: the name '" + entry.getKey() + "' is not a String");
            }
            writeString(out.append(separator), (String) entry.getKey());
            write(out.append(':'), entry.getValue(), depth + 1);
            separator = ',';
        }
        out.append(separator == '{' ? "{}" : "}");
    }

    /** A half of a surrogate pair without the other half is escaped. The program that reads it decides whether to refuse it. */
    private static void writeString(StringBuilder out, CharSequence string) {
        out.append('"');
        for (int i = 0; i < string.length(); i++) {
            char c = string.charAt(i);
            if (c == '"' || c == '\\') {
                out.append('\\').append(c);
            } else if (c == '\n') {
                out.append("\\n");
            } else if (c < ' ' || Character.isSurrogate(c) && !isPair(string, i)) {
                out.append("\\u").append(HEX[c >> 12]).append(HEX[c >> 8 & 15]).append(HEX[c >> 4 & 15]).append(HEX[c & 15]);
            } else {
                out.append(c);
                if (Character.isSurrogate(c)) {
                    out.append(string.charAt(++i));
                }
            }
        }
        out.append('"');
    }

    private static boolean isPair(CharSequence string, int i) {
        return i + 1 < string.length() && Character.isSurrogatePair(string.charAt(i), string.charAt(i + 1));
    }

    private IllegalArgumentException bad(String what) {
        return new IllegalArgumentException("JSON: " + what + " at character " + at);
    }

    private char peek() {
        for (; at < text.length(); at++) {
            char c = text.charAt(at);
            if (c != ' ' && c != '\n' && c != '\r' && c != '\t') {
                return c;
            }
        }
        return '\0';
    }

    private void take(char wanted) {
        if (peek() != wanted) {
            throw bad("no '" + wanted + "'");
        }
        at++;
    }

    private Object value(int depth) {
        if (depth > MAX_DEPTH) {
            throw bad("nested too deeply");
        }
        switch (peek()) {
            case '{':
                return object(depth);
            case '[':
                return array(depth);
            case '"':
                return string();
            case 't':
                return word("true", Boolean.TRUE);
            case 'f':
                return word("false", Boolean.FALSE);
            case 'n':
                return word("null", null);
            default:
                return number();
        }
    }

    private Object word(String word, Object value) {
        if (!text.startsWith(word, at)) {
            throw bad("no value");
        }
        at += word.length();
        return value;
    }

    private Map<String, Object> object(int depth) {
        Map<String, Object> map = new LinkedHashMap<>();
        take('{');
        if (peek() == '}') {
            at++;
            return map;
        }
        while (true) {
            peek();
            String key = string();
            take(':');
            map.put(key, value(depth + 1));
            if (peek() == '}') {
                at++;
                return map;
            }
            take(',');
        }
    }

    private List<Object> array(int depth) {
        List<Object> list = new ArrayList<>();
        take('[');
        if (peek() == ']') {
            at++;
            return list;
        }
        while (true) {
            list.add(value(depth + 1));
            if (peek() == ']') {
                at++;
                return list;
            }
            take(',');
        }
    }

    private Number number() {
        int start = at;
        boolean plain = true;
        long value = 0;
        for (; at < text.length(); at++) {
            char c = text.charAt(at);
            if (c >= '0' && c <= '9') {
                value = value * 10 + c - '0';
            } else if (c == '+' || c == '-' || c == '.' || c == 'e' || c == 'E') {
                plain = false;
            } else {
                break;
            }
        }
        if (plain && at > start && at - start <= 18) {
            return value;
        }
        String digits = text.substring(start, at);
        try {
            return isInteger(digits, 18) ? Long.valueOf(digits) : large(digits);
        } catch (NumberFormatException e) {
            throw bad("no value");
        }
    }

    /** Whether the text is an integer of at most so many digits. A result has about thirty numbers, and a regular expression would be
     * compiled for each of them. */
    private static boolean isInteger(String text, int most) {
        int begin = text.startsWith("-") ? 1 : 0;
        int end = begin;
        while (end < text.length() && text.charAt(end) >= '0' && text.charAt(end) <= '9') {
            end++;
        }
        return end == text.length() && end > begin && end - begin <= most;
    }

    private static Number large(String digits) {
        if (isInteger(digits, 19)) {
            BigInteger number = new BigInteger(digits);
            if (number.bitLength() < Long.SIZE) {
                return number.longValue();
            }
        }
        return Double.valueOf(digits);
    }

    private String string() {
        take('"');
        int start = at;
        int quote = text.indexOf('"', start);
        if (backslash < start) {
            int found = text.indexOf('\\', start);
            backslash = found < 0 ? text.length() : found;
        }
        if (quote >= 0 && quote < backslash) {
            at = quote + 1;
            return text.substring(start, quote);
        }
        at = quote < 0 ? text.length() : backslash;
        StringBuilder out = new StringBuilder(text.length() - start < 256 ? 64 : 256).append(text, start, at);
        while (at < text.length()) {
            char c = text.charAt(at++);
            if (c == '"') {
                return out.toString();
            }
            out.append(c == '\\' ? escape() : c);
        }
        throw bad("no end of a string");
    }

    private char escape() {
        char c = at < text.length() ? text.charAt(at++) : '\0';
        switch (c) {
            case 'n':
                return '\n';
            case 't':
                return '\t';
            case 'r':
                return '\r';
            case 'b':
                return '\b';
            case 'f':
                return '\f';
            case 'u':
                return unicode();
            default:
                if (c == '"' || c == '\\' || c == '/') {
                    return c;
                }
                throw bad("a bad escape");
        }
    }

    private char unicode() {
        int code = 0;
        for (int i = 0; i < 4; i++) {
            int digit = at < text.length() ? Character.digit(text.charAt(at++), 16) : -1;
            if (digit < 0) {
                throw bad("a bad escape");
            }
            code = code << 4 | digit;
        }
        return (char) code;
    }
}

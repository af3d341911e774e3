package com.alibaba.langengine.pyexecutor.spring;

import java.time.Duration;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.springframework.boot.convert.DurationStyle;

/** Values as the native program's own configuration has them. */
final class Texts {
    private static final Pattern SIZE = Pattern.compile("([0-9]{1,18}) *(?:([KMG])I?B?|B)?", Pattern.CASE_INSENSITIVE);

    private Texts() {
    }

    private static boolean isNone(String text) {
        return text == null || text.trim().isEmpty() || text.trim().equalsIgnoreCase("none");
    }

    private static IllegalArgumentException bad(String key, String value, String accepted) {
        return new IllegalArgumentException("ali.langengine.pyexecutor." + key + " can't be '" + value + "'; accepted is " + accepted);
    }

    static Long size(String key, String text, boolean nullable) {
        if (nullable && isNone(text)) {
            return null;
        }
        Matcher match = SIZE.matcher(text == null ? "" : text.trim());
        if (!match.matches()) {
            throw bad(key, text, "an integer, or one with K, M or G" + (nullable ? ", or none" : ""));
        }
        String unit = match.group(2) == null ? "" : match.group(2).toUpperCase(Locale.ROOT);
        return Math.multiplyExact(Long.parseLong(match.group(1)), unit.isEmpty() ? 1L : 1L << 10 * ("KMG".indexOf(unit) + 1));
    }

    static Duration duration(String key, String text) {
        if (isNone(text)) {
            return null;
        }
        try {
            return DurationStyle.detectAndParse(text.trim());
        } catch (IllegalArgumentException e) {
            throw bad(key, text, "an integer with ms, s, m or h, or none");
        }
    }
}

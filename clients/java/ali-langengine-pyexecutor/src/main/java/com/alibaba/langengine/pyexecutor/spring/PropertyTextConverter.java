// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor.spring;

import java.time.Duration;
import java.util.Locale;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.springframework.boot.convert.DurationStyle;
import org.springframework.core.convert.TypeDescriptor;
import org.springframework.core.convert.converter.ConditionalGenericConverter;

/**
 * Reads the numbers, sizes and durations of {@link PyExecutorProperties} as the native program's configuration has them:
 * {@code 1M}, {@code 10m}, {@code none}. It converts fields with {@link PropertyText} only, so the properties of the
 * application are read as before.
 *
 * <p>Spring does not set a property whose converted value is null. So {@code none} becomes one of the objects here, which
 * the setters recognise by identity. Each object has a value that no limit can have, so it is refused if it is copied.
 */
final class PropertyTextConverter implements ConditionalGenericConverter {
    private static final Pattern SIZE = Pattern.compile("(-?[0-9]{1,18}) *(?:([KMG])I?B?|B)?", Pattern.CASE_INSENSITIVE);
    private static final Integer NO_INTEGER = Integer.MIN_VALUE;
    private static final Long NO_LONG = Long.MIN_VALUE;
    private static final Duration NO_DURATION = Duration.ofSeconds(Long.MIN_VALUE);

    /** The value that a setter was given; null for `none`. */
    static Integer value(Integer given) {
        return given == NO_INTEGER ? null : given;
    }

    static Long value(Long given) {
        return given == NO_LONG ? null : given;
    }

    static Duration value(Duration given) {
        return given == NO_DURATION ? null : given;
    }

    @Override
    public Set<ConvertiblePair> getConvertibleTypes() {
        return Set.of(new ConvertiblePair(String.class, Integer.class), new ConvertiblePair(String.class, Long.class),
                new ConvertiblePair(String.class, Duration.class));
    }

    @Override
    public boolean matches(TypeDescriptor source, TypeDescriptor target) {
        return target.hasAnnotation(PropertyText.class);
    }

    @Override
    public Object convert(Object source, TypeDescriptor sourceType, TypeDescriptor target) {
        PropertyText property = target.getAnnotation(PropertyText.class);
        String text = String.valueOf(source).trim();
        boolean none = property.nullable() && (text.isEmpty() || text.equalsIgnoreCase("none"));
        Class<?> type = target.getObjectType();
        if (type == Duration.class) {
            return none ? NO_DURATION : duration(property, text);
        }
        if (type == Integer.class) {
            return none ? NO_INTEGER : (Integer) toInt(property, text);
        }
        return none ? NO_LONG : (Long) size(property, text);
    }

    private static IllegalArgumentException bad(PropertyText property, String text, String accepted) {
        return new IllegalArgumentException("ali.langengine.pyexecutor." + property.value() + " can't be '" + text + "'; accepted is "
                + accepted + (property.nullable() ? ", or none" : ""));
    }

    private static long size(PropertyText property, String text) {
        Matcher match = SIZE.matcher(text);
        if (!match.matches()) {
            throw bad(property, text, "an integer, or one with K, M or G");
        }
        String unit = match.group(2) == null ? "" : match.group(2).toUpperCase(Locale.ROOT);
        return Math.multiplyExact(Long.parseLong(match.group(1)), unit.isEmpty() ? 1L : 1L << 10 * ("KMG".indexOf(unit) + 1));
    }

    private static int toInt(PropertyText property, String text) {
        long number = size(property, text);
        if (number != (int) number) {
            throw bad(property, text, "an integer of 32 bits");
        }
        return (int) number;
    }

    private static Duration duration(PropertyText property, String text) {
        try {
            return DurationStyle.detectAndParse(text);
        } catch (IllegalArgumentException e) {
            throw bad(property, text, "an integer with ms, s, m or h");
        }
    }
}

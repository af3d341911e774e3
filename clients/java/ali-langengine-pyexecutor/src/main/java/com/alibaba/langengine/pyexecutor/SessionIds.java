// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Makes session ids of the protocol from those of Java, which can be any string. An id that the protocol allows is sent
 * unchanged. Any other id is sent as {@code enc:} and its characters, in which {@code _HEX_} is a code point that the protocol
 * does not allow: {@code alice@example.com} becomes {@code enc:alice_40_example.com}. If this is too long, {@code sha:} and the
 * SHA-256 of the id are sent. Two different ids are never the same session: an id that begins like an encoded one is encoded too.
 */
final class SessionIds {
    /** The longest id of the protocol. */
    static final int LENGTH_MAX = 128;
    private static final String ENCODED = "enc:";
    private static final String DIGEST = "sha:";
    private static final Pattern PLAIN = Pattern.compile("(?!\\.{1,2}$)(?!enc:|sha:)[A-Za-z0-9._:-]+");
    private static final Pattern SENT = Pattern.compile("enc:((?:[A-Za-z0-9.:-]|_[0-9a-f]{1,6}_)*)");
    private static final Pattern ESCAPE = Pattern.compile("_([0-9a-f]{1,6})_");

    private SessionIds() {
    }

    /** Returns the id as it is sent, in at most `most` characters where `most` is 68 or more. */
    static String encode(String id, int most) {
        String sent = PLAIN.matcher(id).matches() ? id : escape(id);
        return sent.length() <= most ? sent : DIGEST + digest(id);
    }

    private static String escape(String id) {
        StringBuilder out = new StringBuilder(ENCODED);
        id.codePoints().forEach(c -> {
            boolean plain = c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == ':' || c == '-';
            if (plain) {
                out.append((char) c);
            } else {
                out.append('_').append(Integer.toHexString(c)).append('_');
            }
        });
        return out.toString();
    }

    /** Returns the SHA-256 of the UTF-16 code units, because the id may have half of a surrogate pair. */
    private static String digest(String id) {
        try {
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(id.getBytes(StandardCharsets.UTF_16BE)));
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }

    /** Returns a message in which each encoded id is decoded. */
    static String decodeIn(String text) {
        return text == null ? null : SENT.matcher(text).replaceAll(match -> Matcher.quoteReplacement(decode(match.group(1))));
    }

    private static String decode(String escaped) {
        return ESCAPE.matcher(escaped).replaceAll(match -> {
            int point = Integer.parseInt(match.group(1), 16);
            return Matcher.quoteReplacement(Character.isValidCodePoint(point) ? Character.toString(point) : match.group());
        });
    }
}

// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;

/** Makes a text for a model from a result. Its length is limited, so that one result can't fill the model's context. */
final class ModelText {
    private static final int HEAD_BYTES = 12_000;
    private static final int TAIL_BYTES = 8_000;
    private static final int DISPLAYS_NAMED = 50;

    private ModelText() {
    }

    static String of(PyExecutionResult result) {
        StringBuilder text = new StringBuilder();
        add(text, result.getStdout());
        add(text, result.getStderr());
        if (!showsError(result)) {
            add(text, result.getErrorRepr());
        }
        if (result.getLastValueRepr() != null) {
            add(text, result.getLastValueRepr() + (result.isLastValueTruncated() ? " [cut]" : ""));
        }
        displays(result).forEach(line -> add(text, line));
        addCut(text, "stdout", result.isStdoutTruncated(), result.getStdoutBytes());
        addCut(text, "stderr", result.isStderrTruncated(), result.getStderrBytes());
        String hint = result.getError() == null ? null : result.getError().hint();
        if (hint != null && text.indexOf(hint) < 0) {
            add(text, "Hint: " + hint);
        }
        return text.length() == 0 ? "(" + result.getStatus().name().toLowerCase(Locale.ROOT) + ", no output)" : bounded(text.toString());
    }

    private static void add(StringBuilder text, String part) {
        if (part != null && !part.isEmpty()) {
            text.append(text.length() == 0 || text.charAt(text.length() - 1) == '\n' ? "" : "\n").append(part);
        }
    }

    private static void addCut(StringBuilder text, String stream, boolean cut, long bytes) {
        if (cut) {
            add(text, "[" + stream + " is cut" + (bytes > 0 ? ": the script wrote " + bytes + " bytes]" : "]"));
        }
    }

    /** Returns true if standard error has the traceback or the text of the error, or if there is no error. */
    private static boolean showsError(PyExecutionResult result) {
        String stderr = result.getStderr() == null ? "" : result.getStderr();
        String traceback = result.getError() == null || result.getError().traceback() == null ? "" : result.getError().traceback().strip();
        return result.getErrorRepr() == null || stderr.contains(result.getErrorRepr()) || !traceback.isEmpty() && stderr.contains(traceback);
    }

    /** The plain text of a display, and its other types by name. The plain text of the last value is its repr. */
    private static List<String> displays(PyExecutionResult result) {
        List<String> lines = new ArrayList<>();
        List<PyExecutionResult.Display> displays = result.getDisplays();
        for (PyExecutionResult.Display display : displays.subList(0, Math.min(DISPLAYS_NAMED, displays.size()))) {
            if (!display.lastValue() && display.data().get("text/plain") instanceof String plain) {
                lines.add(plain);
            }
            List<String> types = display.data().keySet().stream().filter(type -> !type.equals("text/plain")).toList();
            if (!types.isEmpty()) {
                lines.add("[display: " + String.join(", ", types) + "]");
            }
        }
        if (displays.size() > DISPLAYS_NAMED) {
            lines.add("[" + (displays.size() - DISPLAYS_NAMED) + " more displays are not named]");
        }
        if (result.getDisplayDropped() > 0) {
            lines.add("[" + result.getDisplayDropped() + " displays beyond the policy's limits were dropped]");
        }
        return lines;
    }

    /** Cuts the middle out, between characters. The end is kept because errors are there. */
    private static String bounded(String text) {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        if (bytes.length <= HEAD_BYTES + TAIL_BYTES) {
            return text;
        }
        int head = HEAD_BYTES;
        int tail = bytes.length - TAIL_BYTES;
        while ((bytes[head] & 0xC0) == 0x80) {
            head--;
        }
        while ((bytes[tail] & 0xC0) == 0x80) {
            tail++;
        }
        return new String(bytes, 0, head, StandardCharsets.UTF_8) + "\n[... " + (tail - head) + " bytes left out ...]\n"
                + new String(bytes, tail, bytes.length - tail, StandardCharsets.UTF_8);
    }
}

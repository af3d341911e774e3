// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor.spring;

import com.alibaba.langengine.pyexecutor.PyExecutorException;
import java.lang.reflect.Method;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.springframework.boot.diagnostics.AbstractFailureAnalyzer;
import org.springframework.boot.diagnostics.FailureAnalysis;

/**
 * Explains, instead of a stack trace, why no script can run. It names the property whose value can't be used, or the
 * layer or interpreter that this machine lacks, and how to get it.
 */
public class PyExecutorFailureAnalyzer extends AbstractFailureAnalyzer<PyExecutorException> {
    private static final String PREFIX = "ali.langengine.pyexecutor.";
    private static final String UNVERIFIED = "To start without this check, set " + PREFIX + "verify-at-startup=false. Then each call will fail.";
    /** The property that a failure is about, if its message does not name a key. */
    private static final Map<String, String> PROPERTIES = Map.of("python_not_found", "python-bin", "python_unsupported", "python-bin",
            "unreachable", "url", "unauthorized", "token");
    private static final Map<String, String> KEYS = keys();

    /** Made by Spring. */
    public PyExecutorFailureAnalyzer() {
    }

    @Override
    protected FailureAnalysis analyze(Throwable rootFailure, PyExecutorException cause) {
        String code = cause.getCode();
        String hint = cause.getHint() == null ? "" : cause.getHint();
        String message = withoutHint(cause.getMessage(), hint);
        if ("invalid_policy".equals(code)) {
            return new FailureAnalysis("A property of PyExecutor has a value that can't be used: " + named(message),
                    "Change the value in the application's properties.", cause);
        }
        String property = PROPERTIES.get(code);
        String what = property == null ? "Python can't be run in a sandbox on this machine" : "PyExecutor can't use " + PREFIX + property;
        return new FailureAnalysis(what + " (" + code + "): " + named(message), (hint.isEmpty() ? "" : named(hint) + "\n") + UNVERIFIED, cause);
    }

    /** The hint is shown as the action: {@link PyExecutorException} adds it to its message too. */
    private static String withoutHint(String message, String hint) {
        return hint.isEmpty() ? message : message.replace(" (" + hint + ")", "");
    }

    /** Replaces the keys of the policy in a text of the native program by the names of Spring's properties. */
    private static String named(String text) {
        StringBuilder out = new StringBuilder();
        Matcher word = Pattern.compile("(?<![A-Za-z0-9_/.-])[a-z]+(?:_[a-z]+)+(?![A-Za-z0-9_/])").matcher(text);
        while (word.find()) {
            String property = KEYS.get(word.group());
            word.appendReplacement(out, Matcher.quoteReplacement(property == null ? word.group() : property));
        }
        return word.appendTail(out).toString();
    }

    /** The properties by the native program's keys: `max_threads` is max-threads. */
    private static Map<String, String> keys() {
        Map<String, String> keys = new TreeMap<>();
        for (Method method : PyExecutorProperties.class.getMethods()) {
            if (method.getName().startsWith("set")) {
                String dashed = method.getName().substring(3).replaceAll("(?<=[a-z])(?=[A-Z])", "-").toLowerCase(Locale.ROOT);
                keys.put(dashed.replace('-', '_'), PREFIX + dashed);
            }
        }
        keys.put("timeout_ms", PREFIX + "timeout");
        keys.put("tool_timeout_ms", PREFIX + "tool-timeout");
        keys.put("max_count", PREFIX + "session-max-count");
        keys.put("idle_ttl_ms", PREFIX + "session-idle-ttl");
        keys.put("hard_ttl_ms", PREFIX + "session-hard-ttl");
        return keys;
    }
}

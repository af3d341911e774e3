// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.Base64;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;

/** Makes the requests of the protocol from code and options. */
final class Requests {
    /** The key of the execution, which a transport takes out of the request. */
    static final String KEY = "key";

    private Requests() {
    }

    static Map<String, Object> of(String code, PyExecutionOptions options) {
        Map<String, Object> request = new LinkedHashMap<>();
        request.put("code", code);
        if (options == null) {
            return request;
        }
        if (!isBlank(options.getWorkingDirRelative())) {
            request.put("working_dir", options.getWorkingDirRelative());
        }
        Map<String, String> env = new LinkedHashMap<>(options.getExtraEnv());
        env.remove(null);
        env.values().removeIf(Objects::isNull);
        if (!env.isEmpty()) {
            request.put("env", env);
        }
        if (options.getPrintLastExpression() != null) {
            request.put("print_last_expression", options.getPrintLastExpression());
        }
        if (options.getTimeout() != null) {
            request.put("timeout_ms", options.getTimeout().toMillis());
        }
        if (options.getCheckpoint() != null) {
            request.put("checkpoint", options.getCheckpoint());
        }
        if (options.getKey() != null) {
            request.put(KEY, options.getKey());
        }
        if (options.getStdin() != null) {
            request.put("stdin", options.getStdin());
        }
        if (!options.getFiles().isEmpty()) {
            Map<String, Object> files = new LinkedHashMap<>();
            options.getFiles().forEach((path, content) -> files.put(path,
                    Collections.singletonMap("base64", Base64.getEncoder().encodeToString(content))));
            request.put("files", files);
        }
        if (!options.getReturnFiles().isEmpty()) {
            request.put("return_files", options.getReturnFiles());
        }
        if (!options.getPackages().isEmpty()) {
            request.put("packages", options.getPackages());
        }
        if (!options.getInputs().isEmpty()) {
            request.put("inputs", InputValues.of(options.getInputs()));
        }
        if (options.getValueJson() != null) {
            request.put("value_json", options.getValueJson());
        }
        ToolCalls.put(request, options.getTools());
        return request;
    }

    /** The same, with the trace of the caller. */
    static Map<String, Object> of(String code, PyExecutionOptions options, Map<String, String> trace) {
        Map<String, Object> request = of(code, options);
        for (String name : new String[] {"traceparent", "tracestate"}) {
            if (trace != null && trace.get(name) != null) {
                request.put(name, trace.get(name));
            }
        }
        return request;
    }

    /** Returns the text that {@link PreludeBuilderOnce} and {@link PreludeBuilderDaemon} render. */
    static String preludeComment(PyExecutionPolicy policy) {
        return "# The native program pyexec prepares the interpreter, and runs no prelude.\n# policy: " + Json.write(policy.toMap(null)) + "\n";
    }

    /** If the working directory names a folder below java.io.tmpdir, makes this folder the workspace of the single run. */
    static void useFolder(Map<String, Object> request) {
        Path folder = existingFolder((String) request.get("working_dir"));
        if (folder != null) {
            request.put("workspace", folder.toString());
            request.remove("working_dir");
        }
    }

    private static boolean isBlank(String text) {
        return text == null || text.trim().isEmpty();
    }

    /** Returns the folder below java.io.tmpdir that a working directory names, or null. java.io.tmpdir itself does
     * not count. */
    private static Path existingFolder(String relative) {
        if (isBlank(relative) || Paths.get(relative).isAbsolute() || Paths.get(relative).normalize().toString().isEmpty()) {
            return null;
        }
        Path temporary = Paths.get(System.getProperty("java.io.tmpdir"));
        Path folder = temporary.resolve(relative);
        if (relative.matches("(.*/)?\\.\\.(/.*)?") || !Files.isDirectory(folder)) {
            return null;
        }
        try {
            Path real = folder.toRealPath();
            if (!real.startsWith(temporary.toRealPath())) {
                throw new IllegalArgumentException("outside sandbox: '" + relative + "' is not inside " + temporary);
            }
            return real;
        } catch (IOException e) {
            throw new IllegalArgumentException("working directory '" + relative + "': " + e, e);
        }
    }
}

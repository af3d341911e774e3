// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import java.io.File;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.Map;
import java.util.regex.Pattern;

/**
 * The native program: where it is, and which environment it needs. It is searched in the system property
 * {@value #PROPERTY}, the environment variable {@value #VARIABLE}, the configuration, PATH, and the jar.
 */
final class NativeProgram {
    static final String PROPERTY = "ali.langengine.pyexecutor.executable";
    static final String VARIABLE = "PYEXEC_EXECUTABLE";

    final Path path;
    /** True if it is the program of the jar, with its launcher and guest extension beside it. */
    final boolean bundled;

    NativeProgram(Path path, boolean bundled) {
        this.path = path;
        this.bundled = bundled;
    }

    static NativeProgram find(String configured) {
        return find(System.getProperty(PROPERTY), System.getenv(), configured);
    }

    static NativeProgram find(String property, Map<String, String> environment, String configured) {
        if (isSet(property)) {
            return named(property, "the system property " + PROPERTY);
        }
        if (isSet(environment.get(VARIABLE))) {
            return named(environment.get(VARIABLE), "the environment variable " + VARIABLE);
        }
        if (isSet(configured)) {
            return named(configured, "the configuration (executable)");
        }
        for (String folder : environment.getOrDefault("PATH", "").split(Pattern.quote(File.pathSeparator))) {
            Path candidate = candidate(folder);
            if (candidate != null && isProgram(candidate)) {
                return new NativeProgram(candidate.toAbsolutePath(), false);
            }
        }
        return new NativeProgram(BundledProgram.unpack(environment), true);
    }

    /** The program in a folder of PATH. Null if there is none. PATH may have parts that are not folders, on Windows for example a name in quotes. */
    private static Path candidate(String folder) {
        try {
            return folder.isEmpty() ? null : Paths.get(folder, "pyexec");
        } catch (InvalidPathException e) {
            return null;
        }
    }

    private static boolean isSet(String text) {
        return text != null && !text.isEmpty();
    }

    private static boolean isProgram(Path path) {
        return Files.isRegularFile(path) && Files.isExecutable(path);
    }

    private static NativeProgram named(String path, String by) {
        if (!isProgram(Paths.get(path))) {
            throw new PyExecutorException("sandbox_unavailable", "'" + path + "' is not a program; it was set by " + by,
                    "Set it to the path of the program pyexec, or remove the setting: then the program in PATH or in the jar is used.");
        }
        return new NativeProgram(Paths.get(path).toAbsolutePath(), false);
    }

    ProcessBuilder command(String... arguments) {
        ProcessBuilder builder = new ProcessBuilder();
        builder.command().add(path.toString());
        for (String argument : arguments) {
            builder.command().add(argument);
        }
        if (bundled) {
            builder.environment().put("PYEXEC_LIBEXECDIR", path.getParent().toString());
        }
        return builder;
    }

    /** Returns the reason why it does not start. */
    PyExecutorException unusable(String why, Throwable cause) {
        String hint = "Run it by hand: " + path + " doctor";
        if (bundled && why.contains("error=13")) {
            hint = "The folder is on a file system mounted noexec, or this user may not use it: set another folder in the"
                    + " system property " + BundledProgram.CACHE_PROPERTY + ", or install pyexec.";
        }
        return new PyExecutorException("sandbox_unavailable", "can't run the native program " + path + ": " + why, hint, cause);
    }
}

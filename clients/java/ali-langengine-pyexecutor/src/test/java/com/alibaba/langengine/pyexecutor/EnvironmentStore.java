package com.alibaba.langengine.pyexecutor;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;

/**
 * Environments that {@code pyexec env create} makes from wheels of the test. While it is open, executors of this process start a program
 * that finds them. Tests of other packages use it too.
 */
public final class EnvironmentStore implements AutoCloseable {
    private final Path folder = Files.createTempDirectory("pyexec-environments");
    private final String before = System.getProperty(NativeProgram.PROPERTY);
    private final Map<String, String> variables = new LinkedHashMap<>();
    private final NativeProgram program = NativeProgram.find(null);

    public EnvironmentStore() throws IOException {
        Files.createDirectory(folder.resolve("wheels"));
        variables.put("PYEXEC_ENV_ROOT", folder.resolve("root").toString());
        variables.put("PIP_NO_INDEX", "1");
        variables.put("PIP_FIND_LINKS", folder.resolve("wheels").toString());
        // The JVM can't change its own variables, so a script sets them for the program.
        StringBuilder script = new StringBuilder("#!/bin/sh\n");
        Map<String, String> all = new LinkedHashMap<>(variables);
        if (program.bundled) {
            all.put("PYEXEC_LIBEXECDIR", program.path.getParent().toString());
        }
        all.forEach((name, value) -> script.append("export ").append(name).append("='").append(value).append("'\n"));
        Path wrapper = folder.resolve("pyexec");
        Files.write(wrapper, script.append("exec '").append(program.path).append("' \"$@\"\n").toString().getBytes(StandardCharsets.UTF_8));
        Files.setPosixFilePermissions(wrapper, PosixFilePermissions.fromString("rwxr-xr-x"));
        System.setProperty(NativeProgram.PROPERTY, wrapper.toString());
    }

    /** Returns the environment variables with which a server finds the environments. */
    public Map<String, String> variables() {
        return variables;
    }

    /** Makes an environment, or updates it, with one package that has one module with this source. */
    public void put(String command, String name, String module, String version, String source) throws Exception {
        wheel(module, version, source);
        ProcessBuilder builder = program.command("env", command, name, module);
        builder.environment().putAll(variables);
        builder.environment().put("PYEXEC_ENV_UV", "/nowhere/uv");
        Process process = builder.redirectErrorStream(true).start();
        process.getOutputStream().close();
        String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        if (process.waitFor() != 0) {
            throw new AssertionError("pyexec env " + command + ": " + said);
        }
    }

    /** Makes a wheel with one module, without installing it. */
    void wheel(String name, String version, String source) throws IOException {
        String info = name + "-" + version + ".dist-info/";
        Map<String, String> files = new LinkedHashMap<>();
        files.put(name + ".py", source);
        files.put(info + "METADATA", "Metadata-Version: 2.1\nName: " + name + "\nVersion: " + version + "\n");
        files.put(info + "WHEEL", "Wheel-Version: 1.0\nGenerator: by-hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n");
        files.put(info + "RECORD", String.join(",,\n", files.keySet()) + ",,\n" + info + "RECORD,,\n");
        Path path = folder.resolve("wheels").resolve(name + "-" + version + "-py3-none-any.whl");
        try (OutputStream out = Files.newOutputStream(path); ZipOutputStream zip = new ZipOutputStream(out)) {
            for (Map.Entry<String, String> file : files.entrySet()) {
                zip.putNextEntry(new ZipEntry(file.getKey()));
                zip.write(file.getValue().getBytes(StandardCharsets.UTF_8));
            }
        }
    }

    @Override
    public void close() throws IOException {
        if (before == null) {
            System.clearProperty(NativeProgram.PROPERTY);
        } else {
            System.setProperty(NativeProgram.PROPERTY, before);
        }
        List<Path> all = new ArrayList<>();
        try (Stream<Path> paths = Files.walk(folder)) {
            paths.forEach(all::add);
        }
        for (Path path : all) {     // folders of an environment have no right to write
            if (Files.isDirectory(path) && !Files.isSymbolicLink(path)) {
                Files.setPosixFilePermissions(path, PosixFilePermissions.fromString("rwxr-xr-x"));
            }
        }
        all.sort(Comparator.reverseOrder());
        for (Path path : all) {
            Files.delete(path);
        }
    }
}

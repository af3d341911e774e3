package com.alibaba.langengine.pyexecutor;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** How the native program is found, the program in the jar, and the errors if no program can run. */
class NativeProgramTest {
    private static final String HERE = BundledProgram.platform(System.getProperty("os.name"), System.getProperty("os.arch"));

    @TempDir
    Path temporary;

    private Path script(String name, String... lines) throws IOException {
        Path file = temporary.resolve(name);
        Files.createDirectories(file.getParent());
        Files.write(file, ("#!/bin/sh\n" + String.join("\n", lines) + "\n").getBytes(StandardCharsets.UTF_8));
        Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rwxr-xr-x"));
        return file;
    }

    private static String output(List<String> command) throws Exception {
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
        process.getOutputStream().close();
        String text = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertTrue(process.waitFor(60, TimeUnit.SECONDS));
        return text;
    }

    private static PyExecutorException refused(org.junit.jupiter.api.function.Executable what) {
        PyExecutorException thrown = assertThrows(PyExecutorException.class, what);
        assertEquals("sandbox_unavailable", thrown.getCode());
        return thrown;
    }

    @Test
    void theOrderIsPropertyEnvironmentConfigurationPathJar() throws Exception {
        String property = script("property").toString();
        String variable = script("variable").toString();
        String configured = script("configured").toString();
        Path inPath = script("bin/pyexec");
        Map<String, String> both = Map.of(NativeProgram.VARIABLE, variable, "PATH", "/nonexistent:" + inPath.getParent());
        Map<String, String> path = Map.of("PATH", "/nonexistent:" + inPath.getParent());
        Map<String, String> none = Map.of("PATH", "/nonexistent", "XDG_CACHE_HOME", temporary.resolve("cache").toString());
        assertEquals(property, NativeProgram.find(property, both, configured).path.toString());
        assertEquals(variable, NativeProgram.find(null, both, configured).path.toString());
        assertEquals(configured, NativeProgram.find("", path, configured).path.toString());
        assertEquals(inPath, NativeProgram.find(null, path, null).path);
        NativeProgram own = NativeProgram.find(null, none, "");
        assertTrue(own.bundled && own.path.startsWith(temporary.resolve("cache")), own.path.toString());
    }

    @Test
    void aProgramThatIsNamedAndNotThereIsNamed() {
        assertTrue(refused(() -> NativeProgram.find("/nonexistent/p", Map.of(), null)).getMessage()
                .contains("'/nonexistent/p' is not a program; it was set by the system property " + NativeProgram.PROPERTY));
        assertTrue(refused(() -> NativeProgram.find(null, Map.of(NativeProgram.VARIABLE, "/etc/nothing"), null)).getMessage()
                .contains("the environment variable " + NativeProgram.VARIABLE));
        assertTrue(refused(() -> NativeProgram.find(null, Map.of(), "/etc")).getMessage().contains("configuration"));
    }

    @Test
    void theJarsProgramIsUnpackedOnceAndRuns() throws Exception {
        Path program = BundledProgram.unpack(temporary.resolve("cache"), HERE);
        Object before = Files.getLastModifiedTime(program);
        assertEquals(program, BundledProgram.unpack(temporary.resolve("cache"), HERE));
        assertEquals(before, Files.getLastModifiedTime(program));
        assertEquals("rwxr-xr-x", PosixFilePermissions.toString(Files.getPosixFilePermissions(program.getParent())));
        assertEquals("42\n", output(List.of(program.toString(), "run", "-c", "6 * 7")));
    }

    @Test
    void theJarsProgramNeedsNothingButACLibraryAndAPython() throws Exception {
        Path program = BundledProgram.unpack(temporary.resolve("cache"), HERE);
        String python = output(List.of("/usr/bin/python3", "-c",
                "import os, sys; print(os.path.realpath(sys.executable), os.path.dirname(os.__file__), sep='\\n', end='')"));
        List<String> command = new ArrayList<>(Arrays.asList("bwrap", "--unshare-user", "--proc", "/proc", "--dev", "/dev",
                "--tmpfs", "/tmp", "--ro-bind", program.getParent().toString(), "/bundle"));
        for (String path : python.split("\n")) {
            command.addAll(List.of("--ro-bind", path, path));
        }
        command.addAll(List.of("--symlink", python.split("\n")[0], "/usr/bin/python3"));
        for (String word : output(List.of("ldd", python.split("\n")[0])).split("\\s+")) {
            if (word.startsWith("/")) {
                command.addAll(List.of("--ro-bind", Paths.get(word).toRealPath().toString(), word));
            }
        }
        command.addAll(List.of("--setenv", "PATH", "/usr/bin", "/bundle/pyexec", "run", "-c", "import math\nmath.factorial(5)"));
        assertEquals("120\n", output(command));
    }

    @Test
    void theJarsProgramHasTheProxyForTheNetworkByName() throws Exception {
        Path program = BundledProgram.unpack(temporary.resolve("cache"), HERE);
        String result = output(List.of(program.toString(), "run", "--json", "--any-import", "--timeout", "60s", "--cpu-time-seconds", "50", "--allow-host",
                "a.example", "-c", "import urllib.request\nurllib.request.urlopen('https://evil.example/')"));
        Map<?, ?> denial = (Map<?, ?>) ((List<?>) Json.parseObject(result).get("denials")).get(0);
        assertEquals("request to evil.example:443", denial.get("what"), result);
    }

    @Test
    void whatWasChangedInTheCacheIsNotRun() throws Exception {
        Path program = BundledProgram.unpack(temporary, HERE);
        Files.setPosixFilePermissions(program, PosixFilePermissions.fromString("rwx------"));
        Files.write(program, "#!/bin/sh\n".getBytes(StandardCharsets.UTF_8));
        assertTrue(refused(() -> BundledProgram.unpack(temporary, HERE)).getMessage().contains("differs from the file in the jar"));
        Files.delete(program);
        Files.createSymbolicLink(program, Paths.get("/bin/sh"));
        assertTrue(refused(() -> BundledProgram.unpack(temporary, HERE)).getMessage().contains("is missing"));
    }

    @Test
    void aCacheThatOthersCanWriteToIsNotUsed() throws Exception {
        Files.setPosixFilePermissions(temporary, PosixFilePermissions.fromString("rwxrwxrwx"));
        assertTrue(refused(() -> BundledProgram.unpack(temporary, HERE)).getMessage()
                .contains("is not a folder that only this user (or root) can write to"));
    }

    @Test
    void anotherSystemIsNamed() {
        assertTrue(refused(() -> BundledProgram.unpack(temporary, BundledProgram.platform("Linux", "riscv64"))).getMessage()
                .contains("this jar has no native program for linux-riscv64"));
        assertTrue(refused(() -> BundledProgram.unpack(temporary, BundledProgram.platform("Mac OS X", "arm64"))).getMessage()
                .contains("mac-os-x-aarch64"));
    }

    @Test
    void anUnpackedCacheOnAReadOnlyFileSystemIsCheckedAndRuns() throws Exception {
        Path cache = temporary.resolve("cache");
        Path program = BundledProgram.unpack(cache, HERE);
        String java = Path.of(System.getProperty("java.home"), "bin", "java").toString();
        List<String> command = List.of("bwrap", "--unshare-user", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--unsetenv",
                NativeProgram.VARIABLE, "--setenv", "PATH", "/usr/bin:/bin", java, "-cp", System.getProperty("java.class.path"),
                "-D" + BundledProgram.CACHE_PROPERTY + "=" + cache, Starter.class.getName());
        assertEquals("started\n", output(command));
        Path other = program.resolveSibling("pyexec-launch");
        Files.setPosixFilePermissions(other, PosixFilePermissions.fromString("rwxr-xr-x"));
        Files.write(other, new byte[] {'x'}, StandardOpenOption.APPEND);
        String said = output(command);
        assertTrue(said.startsWith("sandbox_unavailable") && said.contains(other + " differs from the file in the jar"), said);
        Files.delete(other);
        assertTrue(output(command).contains(other + " is missing"));
        Files.move(program.getParent(), temporary.resolve("elsewhere"));
        said = output(command);
        assertTrue(said.contains("can't unpack") && said.contains("read-only file system it must be a folder into which"), said);
    }

    @Test
    void graalVmIsToldOfTheJarsProgram() throws Exception {
        String name = "META-INF/native-image/com.alibaba/ali-langengine-pyexecutor/resource-config.json";
        Map<String, Object> config;
        try (InputStream in = getClass().getClassLoader().getResourceAsStream(name)) {
            config = Json.parseObject(new String(in.readAllBytes(), StandardCharsets.UTF_8));
        }
        List<?> includes = (List<?>) ((Map<?, ?>) config.get("resources")).get("includes");
        String folder = "com/alibaba/langengine/pyexecutor/native/" + HERE + "/";
        for (String file : List.of("SHA256SUMS", "pyexec", "pyexec-launch", "pyexec-egress", "pyexec_guest.abi3.so", "pyexec_guest_musl.abi3.so", "LICENSES.txt")) {
            assertNotNull(getClass().getClassLoader().getResource(folder + file), file);
            assertTrue(includes.stream().anyMatch(item -> (folder + file).matches((String) ((Map<?, ?>) item).get("pattern"))), file);
        }
    }

    @Test
    void theNamesOfSystemsAndArchitecturesThatJavaHas() {
        assertEquals("linux-x86_64", BundledProgram.platform("Linux", "amd64"));
        assertEquals("linux-x86_64", BundledProgram.platform("Linux", "x86_64"));
        assertEquals("linux-aarch64", BundledProgram.platform("Linux", "aarch64"));
        assertEquals("linux-aarch64", BundledProgram.platform("Linux", "arm64"));
        assertEquals("windows-11-x86_64", BundledProgram.platform("Windows 11", "amd64"));
        assertEquals("mac-os-x-aarch64", BundledProgram.platform("Mac OS X", "aarch64"));
    }

    @Test
    void aCacheMountedNoexecIsNamed() throws Exception {
        String java = Path.of(System.getProperty("java.home"), "bin", "java").toString();
        Path cache = Files.createDirectory(temporary.resolve("noexec"));
        String said = output(List.of("unshare", "-rm", "sh", "-c",
                "mount -t tmpfs -o noexec,mode=700 tmpfs " + cache + " && exec env -u " + NativeProgram.VARIABLE
                + " PATH=/usr/bin:/bin \"$0\" \"$@\"",
                java, "-cp", System.getProperty("java.class.path"), "-D" + BundledProgram.CACHE_PROPERTY + "=" + cache,
                Starter.class.getName()));
        assertTrue(said.contains("sandbox_unavailable: can't run the native program " + cache) && said.contains("noexec"), said);
    }

    /** A JVM that starts an executor and prints what is wrong. */
    static final class Starter {
        private Starter() {
        }

        public static void main(String[] args) {
            try (PyExecutor executor = new PyExecutor(null)) {
                executor.start();
                System.out.println("started");
            } catch (PyExecutorException e) {
                System.out.println(e.getCode() + ": " + e.getMessage());
            }
        }
    }

    @Test
    void withoutASandboxDoctorSpeaks() throws Exception {
        Path program = BundledProgram.unpack(temporary.resolve("cache"), HERE);
        Path limited = script("limited",
                "exec unshare -r sh -c 'echo 0 >/proc/sys/user/max_user_namespaces; exec \"$0\" \"$@\"' " + program + " \"$@\"");
        PyExecutorException thrown = refused(() -> startWith(limited));
        assertTrue(thrown.getMessage().contains("pyexec doctor:") && thrown.getMessage().contains("user_namespace"), thrown.getMessage());
    }

    /** Starts an executor with a configured program. The system property is removed meanwhile, because it would be used first. */
    private static void startWith(Path program) {
        String property = System.clearProperty(NativeProgram.PROPERTY);
        try (PyExecutor executor = new PyExecutor(null, null, new HostConfig().setExecutable(program.toString()))) {
            executor.start();
        } finally {
            System.setProperty(NativeProgram.PROPERTY, property == null ? "" : property);
        }
    }

    @Test
    void aProgramThatIsNotPyexecIsToldWithItsLastWords() throws Exception {
        Path other = script("other", "echo 'no such command: rpc' >&2", "exit 2");
        PyExecutorException thrown = assertThrows(PyExecutorException.class, () -> startWith(other));
        assertTrue(thrown.getMessage().contains("exit status 2") && thrown.getMessage().contains("no such command: rpc"),
                thrown.getMessage());
        assertFalse(Files.exists(temporary.resolve("cache")));
    }
}

package com.alibaba.langengine.pyexecutor;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;

/** Runs {@link VirtualThreads} with each Java that has virtual threads. Up to Java 23 a monitor pins its carrier thread. */
class VirtualThreadsTest {

    /** The JVM of these tests, those in the usual folder, and that of the property pyexec.java21. */
    private static List<Path> javas() throws IOException {
        List<Path> homes = new ArrayList<>(List.of(Path.of(System.getProperty("java.home")), Path.of(System.getProperty("pyexec.java21", ""))));
        if (Files.isDirectory(Path.of("/usr/lib/jvm"))) {
            try (Stream<Path> found = Files.list(Path.of("/usr/lib/jvm"))) {
                found.forEach(homes::add);
            }
        }
        return homes.stream().filter(home -> feature(home) >= 21).map(home -> home.resolve("bin/java")).distinct().collect(Collectors.toList());
    }

    private static int feature(Path home) {
        try {
            String release = Files.readString(home.resolve("release"));
            return Runtime.Version.parse(release.replaceAll("(?s).*JAVA_VERSION=\"([^\"]*)\".*", "$1")).feature();
        } catch (IOException | IllegalArgumentException e) {
            return 0;
        }
    }

    private static void run(String... arguments) throws Exception {
        List<Path> javas = javas();
        Assumptions.assumeFalse(javas.isEmpty(), "no Java 21 or later here; name one in pyexec.java21");
        for (Path java : javas) {
            List<String> command = new ArrayList<>(List.of(java.toString(), "-Djdk.virtualThreadScheduler.parallelism=1",
                    "-D" + NativeProgram.PROPERTY + "=" + System.getProperty(NativeProgram.PROPERTY, ""), "-cp",
                    System.getProperty("java.class.path"), VirtualThreads.class.getName()));
            command.addAll(List.of(arguments));
            Process jvm = new ProcessBuilder(command).redirectErrorStream(true).start();
            try {
                String said = new String(jvm.getInputStream().readAllBytes());
                assertTrue(jvm.waitFor(60, TimeUnit.SECONDS));
                assertEquals("pinned: 0\n", said, java.toString());
            } finally {
                jvm.destroyForcibly();
            }
            System.out.println("virtual threads under " + java);
        }
    }

    @Test
    void callsPinNothingThoughThePipeIsFull() throws Exception {
        run();
    }

    @Test
    void callsOfAServerPinNothing() throws Exception {
        try (Serve serve = Serve.wide(Map.of())) {
            run(serve.url);
        }
    }
}

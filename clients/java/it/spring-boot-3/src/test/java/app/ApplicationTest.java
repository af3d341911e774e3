package app;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;

/** The jar, started from the command line and called over HTTP. */
class ApplicationTest {
    private static final HttpClient CLIENT = HttpClient.newHttpClient();

    private static Process start(String... properties) throws Exception {
        return start(List.of("-Dali.langengine.pyexecutor.executable=" + System.getProperty("ali.langengine.pyexecutor.executable", "")),
                properties);
    }

    private static Process start(List<String> options, String... properties) throws Exception {
        return builder(options, properties).start();
    }

    private static ProcessBuilder builder(List<String> options, String... properties) {
        // In a separate process group, so that a test can send a signal to the whole group.
        List<String> command = new ArrayList<>(List.of("setsid", Path.of(System.getProperty("java.home"), "bin", "java").toString()));
        command.addAll(options);
        command.addAll(List.of("-jar", System.getProperty("app.jar"), "--server.port=0", "--server.address=127.0.0.1"));
        command.addAll(List.of(properties));
        ProcessBuilder builder = new ProcessBuilder(command).redirectErrorStream(true);
        builder.environment().remove("PYEXEC_EXECUTABLE");
        return builder;
    }

    private static String send(HttpRequest.Builder request) throws Exception {
        HttpResponse<String> response = CLIENT.send(request.build(), HttpResponse.BodyHandlers.ofString());
        return response.statusCode() + " " + response.body();
    }

    @Test
    void theGuidesApplicationAnswersAndLeavesNothing() throws Exception {
        Process application = start();
        try (BufferedReader out = new BufferedReader(new InputStreamReader(application.getInputStream()))) {
            String base = base(out);

            assertEquals("200 {\"exitCode\":0,\"lastValue\":\"50\",\"error\":null}", run(base, "/run", "a = 5\nb = 10\na * b"));
            assertEquals("200 {\"exitCode\":1,\"lastValue\":null,\"error\":\"ZeroDivisionError: division by zero\"}",
                    run(base, "/run", "result = 1 / 0"));
            run(base, "/run?session=s", "my_list = [1, 2, 3]");
            assertEquals("200 {\"exitCode\":0,\"lastValue\":\"3\",\"error\":null}", run(base, "/run?session=s", "len(my_list)"));
            assertTrue(run(base, "/run", "import subprocess").contains("not allowed"));
            int length = run(base, "/run", "'x' * 5000").length();
            assertTrue(2048 < length && length < 3000, "max-value-bytes=2K: " + length);

            String health = send(HttpRequest.newBuilder(URI.create(base + "/actuator/health")));
            assertTrue(health.startsWith("200 ") && health.contains("\"pyexecutor\"") && health.contains("\"missingLayers\""), health);
            String metric = send(HttpRequest.newBuilder(URI.create(base + "/actuator/metrics/pyexec.execution.duration?tag=status:ok")));
            assertTrue(metric.contains("\"statistic\":\"COUNT\",\"value\":4.0"), metric);
            assertTrue(send(HttpRequest.newBuilder(URI.create(base + "/actuator/metrics/pyexec.sessions"))).contains("\"value\":1.0"));
            assertTrue(send(HttpRequest.newBuilder(URI.create(base + "/actuator/metrics/pyexec.denials?tag=layer:imports")))
                    .contains("\"value\":1.0"));

            List<ProcessHandle> family = application.descendants().collect(Collectors.toList());
            assertTrue(family.size() >= 3, family.toString());
            application.destroy();
            assertTrue(application.waitFor(60, TimeUnit.SECONDS));
            for (ProcessHandle process : family) {
                process.onExit().get(60, TimeUnit.SECONDS);
            }
        } finally {
            application.destroyForcibly();
        }
    }

    private static String run(String base, String path, String code) throws Exception {
        return send(request(base, path, code));
    }

    private static HttpRequest.Builder request(String base, String path, String code) {
        return HttpRequest.newBuilder(URI.create(base + path)).header("Content-Type", "text/plain")
                .POST(HttpRequest.BodyPublishers.ofString(code));
    }

    /** Reads the log until a line matches the pattern, and returns the match. */
    private static Matcher await(BufferedReader out, String pattern) throws Exception {
        StringBuilder log = new StringBuilder();
        for (String line = out.readLine(); line != null; line = out.readLine()) {
            log.append(line).append('\n');
            Matcher match = Pattern.compile(pattern).matcher(line);
            if (match.find()) {
                return match;
            }
        }
        throw new AssertionError(log.toString());
    }

    /** Waits until the application has started, and returns its address. */
    private static String base(BufferedReader out) throws Exception {
        return "http://127.0.0.1:" + await(out, "Tomcat started on port (?:\\(s\\): )?(\\d+)").group(1);
    }

    /** systemd signals all processes of a service, and a terminal its foreground process group. */
    @Test
    void aGracefulShutdownFinishesItsRequests() throws Exception {
        Path root = Files.createTempDirectory("pyexec-graceful");
        Process application = start("--server.shutdown=graceful", "--ali.langengine.pyexecutor.disable-open=false",
                "--ali.langengine.pyexecutor.timeout=5m", "--ali.langengine.pyexecutor.workspace-root=" + root);
        try (BufferedReader out = new BufferedReader(new InputStreamReader(application.getInputStream()))) {
            String base = base(out);
            CompletableFuture<HttpResponse<String>> answer = CLIENT.sendAsync(request(base, "/run-and-send?session=s",
                    "import os, time\nopen('up', 'w').close()\nwhile not os.path.exists('go'):\n    time.sleep(0.02)\n'done'").build(),
                    HttpResponse.BodyHandlers.ofString());
            while (!Files.exists(root.resolve("s/up"))) {
                assertFalse(answer.isDone(), "it ended too early");
                Thread.sleep(10);
            }
            assertTrue(application.pid() > 1);
            assertEquals(0, new ProcessBuilder("sh", "-c", "kill -s TERM -- -" + application.pid()).inheritIO().start().waitFor());
            await(out, "Commencing graceful shutdown");
            Files.createFile(root.resolve("s/go"));
            assertEquals("'done'", answer.get(60, TimeUnit.SECONDS).body());
            while (out.readLine() != null) {
                // Reads until the application has ended.
            }
            assertTrue(application.waitFor(60, TimeUnit.SECONDS));
            assertFalse(Files.exists(root.resolve("s")));
            Files.delete(root);
        } finally {
            application.destroyForcibly();
        }
    }

    @Test
    void whereThereIsNoNativeProgramItStartsAndHealthSaysWhy() throws Exception {
        ProcessBuilder builder = builder(List.of("-Dos.arch=riscv64"));
        // The application must not find an installed pyexec, or the build of a developer.
        builder.environment().put("PATH", "/nonexistent");
        Process application = builder.start();
        try (BufferedReader out = new BufferedReader(new InputStreamReader(application.getInputStream()))) {
            String health = send(HttpRequest.newBuilder(URI.create(base(out) + "/actuator/health")));
            assertTrue(health.startsWith("503 ") && health.contains("no native program for linux-riscv64 (Use remote mode: set "
                    + "ali.langengine.pyexecutor.url"), health);
        } finally {
            application.destroyForcibly();
        }
    }

    @Test
    void thePropertyEnabledSwitchesTheBeanOff() throws Exception {
        Process application = start("--ali.langengine.pyexecutor.enabled=false");
        String log = new String(application.getInputStream().readAllBytes());
        assertEquals(1, application.waitFor());
        assertTrue(log.contains("required a bean of type 'com.alibaba.langengine.pyexecutor.PyExecutor' that could not be found"), log);
    }

    @Test
    void aMissingInterpreterIsSaidInPlaceOfAStackTrace() throws Exception {
        Process application = start("--ali.langengine.pyexecutor.python-bin=/nonexistent/python3");
        String log = new String(application.getInputStream().readAllBytes());
        assertEquals(1, application.waitFor());
        assertTrue(log.contains("APPLICATION FAILED TO START") && log.contains("python_not_found")
                && log.contains("/nonexistent/python3") && log.contains("verify-at-startup=false"), log);
    }
}

package com.alibaba.langengine.pyexecutor;

import static com.alibaba.langengine.pyexecutor.LifeTest.until;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import com.sun.net.httpserver.HttpsConfigurator;
import com.sun.net.httpserver.HttpsServer;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Collectors;
import javax.net.ssl.SSLContext;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Features of the remote mode: the token, the ceiling, the principal's sessions, the connection. */
class RemoteTest {
    private static final String FOREVER = "import time\nwhile True: time.sleep(0.05)";
    private static final PyExecutionOptions LONG = new PyExecutionOptions().setTimeout(Duration.ofMinutes(5));

    private static PyExecutor executor(HostConfig host) {
        return new PyExecutor(null, new SessionConfig(), host);
    }

    private static String refused(PyExecutionPolicy policy, Serve serve) {
        try (PyExecutor executor = new PyExecutor(policy, new SessionConfig(), serve.host())) {
            for (String session : new String[] {null, "s"}) {
                PyExecutorException thrown = assertThrows(PyExecutorException.class, () -> run(executor, session, "1"));
                assertEquals("invalid_policy", thrown.getCode());
            }
            return assertThrows(PyExecutorException.class, () -> run(executor, null, "1")).getMessage();
        }
    }

    static PyExecutionResult run(PyExecutor executor, String session, String code) throws Exception {
        return session == null ? executor.executeOnce(code, null) : executor.execute(session, code, null);
    }

    @Test
    void whatWasNotChangedIsLoweredToTheCeilingAndWhatWasIsRefusedBeyondIt() throws Exception {
        try (Serve serve = new Serve(0, "timeout_ms=300 allowed_imports=math,time", Map.of())) {
            for (String session : new String[] {null, "s"}) {
                try (PyExecutor executor = executor(serve.host())) {
                    assertEquals("2", run(executor, session, "import math\nmath.isqrt(4)").getLastValueRepr());
                    assertTrue(run(executor, session, "import re").getErrorRepr().contains("not allowed"));
                    assertThrows(PyExecutionTimeoutException.class, () -> run(executor, session, FOREVER));
                }
            }
            PyExecutionPolicy policy = new PyExecutionPolicy();
            policy.setTimeout(Duration.ofMillis(301));
            assertTrue(refused(policy, serve).startsWith("timeout_ms: 301 is beyond this caller's ceiling"), refused(policy, serve));
            policy.setTimeout(Duration.ofMillis(300));
            policy.setDisableNetworking(false);
            assertTrue(refused(policy, serve).startsWith("disable_networking: false"), refused(policy, serve));
        }
    }

    @Test
    void theCallersPolicyHoldsBelowAWiderCeiling() throws Exception {
        try (Serve serve = Serve.wide(Map.of()); PyExecutor executor = executor(serve.host())) {
            for (String session : new String[] {null, "s"}) {
                assertTrue(run(executor, session, "import platform").getErrorRepr().contains("not allowed"));
                assertTrue(run(executor, session, "open('x', 'w')").getErrorRepr().contains("open() disabled"));
                assertTrue(run(executor, session, "import __main__").getErrorRepr().startsWith("ImportError"));
            }
            // LONG gives enough time for its seconds of CPU on a busy machine.
            assertEquals(PyExecutionResult.Status.CPU_LIMIT, executor.executeOnce("while True: pass", LONG).getStatus());
        }
    }

    @Test
    void sessionsAreTheExecutorsOwnUnlessAPrefixIsShared() throws Exception {
        try (Serve serve = new Serve(Map.of())) {
            HostConfig shared = serve.host().setSessionPrefix("app.");
            PyExecutor one = executor(serve.host());
            PyExecutor other = executor(serve.host());
            PyExecutor app = executor(shared);
            PyExecutor sameApp = executor(shared);
            one.execute("s", "x = 1", null);
            app.execute("s", "x = 2", null);
            assertEquals("False", other.execute("s", "'x' in globals()", null).getLastValueRepr());
            PyExecutionResult seen = sameApp.execute("s", "x", null);
            assertEquals("2", seen.getLastValueRepr());
            assertEquals(new PyExecutionResult.Session("s", false, null, 2), seen.getSession());
            assertEquals(1L, one.stats().get("sessions"));
            assertEquals(3, serve.metric("pyexec_sessions"));
            one.closeAll();
            assertEquals(2, serve.metric("pyexec_sessions"));
            one.close();
            other.close();
            app.close();
            assertEquals(1, serve.metric("pyexec_sessions"));
            assertEquals("2", sameApp.execute("s", "x", null).getLastValueRepr());
            sameApp.closeAll();
            assertEquals(0, serve.metric("pyexec_sessions"));
            assertEquals("closed", sameApp.execute("s", "1", null).getSession().restarted());
            sameApp.close();
        }
    }

    @Test
    void anIdHasRoomForThePrefix() throws Exception {
        try (Serve serve = new Serve(Map.of()); PyExecutor plain = executor(serve.host().setSessionPrefix(""));
                PyExecutor own = executor(serve.host())) {
            String longest = "x".repeat(128);
            assertEquals(longest, plain.execute(longest, "1", null).getSession().id());
            assertEquals(128 - 9, own.execute("x".repeat(128 - 9), "1", null).getSession().id().length());
            assertEquals(longest, own.execute(longest, "x = 1", null).getSession().id());
            assertEquals("1", own.execute(longest, "x", null).getLastValueRepr());
        }
        assertThrows(IllegalArgumentException.class, () -> executor(new HostConfig().setUrl("http://h").setSessionPrefix("a/b")));
    }

    @Test
    void anotherServerHasNoneOfTheSessionsAndSaysSo() throws Exception {
        Serve first = new Serve(Map.of());
        try (PyExecutor executor = executor(first.host())) {
            executor.execute("kept", "x = 1", null);
            executor.execute("closed", "x = 1", null);
            executor.closeSession("closed");
            first.close();
            assertEquals("unreachable", assertThrows(PyExecutorException.class, () -> executor.execute("kept", "x", null)).getCode());
            try (Serve second = new Serve(first.port(), "", Map.of())) {
                assertEquals("host_restart", executor.execute("kept", "1", null).getSession().restarted());
                assertNull(executor.execute("kept", "1", null).getSession().restarted());
                assertNull(executor.execute("closed", "1", null).getSession().restarted());
                executor.closeAll();
                assertEquals(0, second.metric("pyexec_sessions"));
            }
        }
    }

    @Test
    void aClosedExecutorLeavesNothingAndRefuses() throws Exception {
        try (Serve serve = Serve.wide(Map.of())) {
            PyExecutor executor = executor(serve.host());
            CompletableFuture<PyExecutionResult> session = executor.executeAsync("s", FOREVER, LONG);
            CompletableFuture<PyExecutionResult> waiting = executor.executeAsync("s", "1", LONG);
            CompletableFuture<PyExecutionResult> single = executor.executeOnceAsync(FOREVER, LONG);
            until(() -> serve.metric("pyexec_running") == 2);
            executor.close();
            assertEquals(PyExecutionResult.Status.CANCELLED, session.get(60, TimeUnit.SECONDS).getStatus());
            for (CompletableFuture<PyExecutionResult> lost : List.of(waiting, single)) {
                ExecutionException thrown = assertThrows(ExecutionException.class, () -> lost.get(60, TimeUnit.SECONDS));
                assertEquals("shutting_down", ((PyExecutorException) thrown.getCause()).getCode());
            }
            until(() -> serve.metric("pyexec_running") == 0 && serve.metric("pyexec_sessions") == 0);
            assertEquals("shutting_down", assertThrows(PyExecutorException.class, () -> executor.executeOnce("1", null)).getCode());
            assertEquals("shutting_down", assertThrows(PyExecutorException.class, () -> executor.execute("s", "1", null)).getCode());
            assertThrows(PyExecutorException.class, executor::closeAll);
            executor.close();
        }
    }

    @Test
    void whatWaitsForAClosedSessionIsNotRun() throws Exception {
        try (Serve serve = Serve.wide(Map.of()); PyExecutor executor = executor(serve.host())) {
            CompletableFuture<PyExecutionResult> running = executor.executeAsync("s", FOREVER, LONG);
            CompletableFuture<PyExecutionResult> waiting = executor.executeAsync("s", "1", LONG);
            CompletableFuture<PyExecutionResult> cancelled = executor.executeAsync("s", "1", LONG);
            cancelled.cancel(true);
            until(() -> serve.metric("pyexec_running") == 1);
            executor.closeSession("s");
            assertEquals(PyExecutionResult.Status.CANCELLED, running.get(60, TimeUnit.SECONDS).getStatus());
            ExecutionException thrown = assertThrows(ExecutionException.class, () -> waiting.get(60, TimeUnit.SECONDS));
            assertEquals("session_not_found", ((PyExecutorException) thrown.getCause()).getCode());
            assertEquals(new PyExecutionResult.Session("s", true, "closed", 1), executor.execute("s", "1", null).getSession());
        }
    }

    @Test
    void tooManyCallsAreATypedException() throws Exception {
        Map<String, String> narrow = Map.of("PYEXEC_HOST_MAX_CONCURRENT", "1", "PYEXEC_HOST_QUEUE_LENGTH", "0");
        try (Serve serve = new Serve(0, "", narrow, "--timeout", "1m"); PyExecutor executor = executor(serve.host().setRetryOverloaded(null))) {
            CompletableFuture<PyExecutionResult> running = executor.executeOnceAsync("import time\nend = time.time() + 2\nwhile time.time() < end: pass", null);
            until(() -> serve.metric("pyexec_running") == 1);
            PyExecutorOverloadedException refused = assertThrows(PyExecutorOverloadedException.class, () -> executor.executeOnce("1", null));
            assertEquals("overloaded", refused.getCode());
            assertTrue(refused.getRetryAfter().toMillis() >= 1000, refused.getRetryAfter().toString());
            assertTrue(running.get(60, TimeUnit.SECONDS).isOk());
            assertEquals("1", executor.executeOnce("1", null).getLastValueRepr());
        }
        try (Serve serve = new Serve(0, "rate=1", Map.of()); PyExecutor executor = executor(serve.host().setRetryOverloaded(null))) {
            PyExecutorOverloadedException refused = assertThrows(PyExecutorOverloadedException.class, () -> {
                for (int i = 0; i < 20; i++) {
                    executor.executeOnce("1", null);
                }
            });
            assertFalse(refused.getRetryAfter().isZero());
        }
    }

    @Test
    void aWrongTokenIsSaidAtOnce() throws Exception {
        try (Serve serve = new Serve(Map.of())) {
            for (String token : new String[] {null, "", "wrong"}) {
                try (PyExecutor executor = executor(serve.host().setToken(token))) {
                    assertEquals("unauthorized", assertThrows(PyExecutorException.class, executor::start).getCode());
                    PyExecutorException thrown = assertThrows(PyExecutorException.class, () -> executor.executeOnce("1", null));
                    assertEquals("unauthorized", thrown.getCode());
                    assertFalse(thrown.toString().contains("wrong"), thrown.toString());
                    assertEquals(false, executor.doctor().get("ok"));
                    assertEquals("unauthorized", executor.doctor().get("code"));
                }
            }
            try (PyExecutor executor = executor(serve.host())) {
                executor.start();
                assertEquals(Map.of("ok", true, "url", serve.url), executor.doctor());
                executor.executeOnce("1", null);
                assertEquals(Map.of("executions", Map.of("ok", 1L), "sessions", 0L, "running", 0L), executor.stats());
            }
        }
    }

    @Test
    void filesThatAreNotThereAndNamesThatNeedEncoding() throws Exception {
        PyExecutionPolicy policy = new PyExecutionPolicy();
        policy.setDisableOpen(false);
        try (Serve serve = Serve.wide(Map.of()); PyExecutor executor = new PyExecutor(policy, new SessionConfig(), serve.host())) {
            assertEquals("session_not_found", assertThrows(PyExecutorException.class, () -> executor.listFiles("s")).getCode());
            assertEquals("session_not_found", assertThrows(PyExecutorException.class, () -> executor.interrupt("s")).getCode());
            executor.execute("s", "1", null);
            assertThrows(IllegalArgumentException.class, () -> executor.readFile("s", "none"));
            assertThrows(IllegalArgumentException.class, () -> executor.readFile("s", "../none"));
            assertThrows(IllegalArgumentException.class, () -> executor.readFile("s", ""));
            for (String name : new String[] {"a b?c#d%2e.txt", "ünï/cöde", "a+b&c=d"}) {
                executor.writeFile("s", name, name.getBytes(StandardCharsets.UTF_8));
                assertEquals(name, new String(executor.readFile("s", name), StandardCharsets.UTF_8));
                assertEquals(name, executor.listFiles("s").get(0).get("path"));
                executor.deleteFile("s", name);
            }
            assertTrue(executor.listFiles("s").isEmpty());
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"unix:/run/pyexec.sock", "ftp://h", "h:8000", "http://", "http://u:p@h", "http://h?q", "http://h/#f", "http://h /"})
    void whatIsNoUrlIsRefusedWhenTheExecutorIsMade(String url) {
        String message = assertThrows(IllegalArgumentException.class, () -> executor(new HostConfig().setUrl(url))).getMessage();
        assertTrue(message.contains(url), message);
    }

    @Test
    void aWorkspaceRootIsNotOfThisMachine() {
        assertThrows(IllegalArgumentException.class, () -> new PyExecutor(null, new SessionConfig().setWorkspaceRootPath(Paths.get("/srv")),
                new HostConfig().setUrl("http://127.0.0.1:1")));
    }

    @Test
    void systemPropertiesComeBeforeTheConfiguration() throws Exception {
        try (Serve serve = new Serve(Map.of())) {
            System.setProperty(RemoteServer.URL_PROPERTY, serve.url);
            System.setProperty(RemoteServer.TOKEN_PROPERTY, Serve.TOKEN);
            try (PyExecutor unchanged = new PyExecutor(new PyExecutionPolicy(), new SessionConfig());
                    PyExecutor configured = executor(new HostConfig().setUrl("http://127.0.0.1:1").setToken("x"))) {
                assertEquals("2", unchanged.execute("s", "1 + 1", null).getLastValueRepr());
                assertEquals("2", configured.execute("s", "1 + 1", null).getLastValueRepr());
                assertEquals(2, serve.metric("pyexec_sessions"));
            } finally {
                System.clearProperty(RemoteServer.URL_PROPERTY);
                System.clearProperty(RemoteServer.TOKEN_PROPERTY);
            }
        }
    }

    @Test
    void aServerThatSaysNothingIsGivenUp() throws Exception {
        try (ServerSocket silent = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            HostConfig host = new HostConfig().setUrl("http://127.0.0.1:" + silent.getLocalPort()).setAnswerTimeout(Duration.ofMillis(200));
            try (PyExecutor executor = executor(host)) {
                PyExecutorException thrown = assertThrows(PyExecutorException.class,
                        () -> executor.executeOnce("1", new PyExecutionOptions().setTimeout(Duration.ofMillis(100))));
                assertEquals("internal", thrown.getCode());
                assertTrue(thrown.getMessage().contains("timed out") && thrown.getMessage().contains("not known"), thrown.getMessage());
            }
        }
    }

    private interface Handling {
        void handle(HttpExchange exchange) throws IOException;
    }

    private static HttpServer answering(HttpServer server, Handling handling) {
        server.createContext("/", exchange -> {
            try (exchange) {
                exchange.getRequestBody().readAllBytes();
                handling.handle(exchange);
            }
        });
        server.start();
        return server;
    }

    private static HttpServer answering(Handling handling) throws IOException {
        return answering(HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0), handling);
    }

    private static void answer(HttpExchange exchange, int status, byte[] body) throws IOException {
        exchange.sendResponseHeaders(status, body.length == 0 ? -1 : body.length);
        exchange.getResponseBody().write(body);
    }

    @Test
    void aRequestHasTheTraceOfTheThreadThatMakesIt() throws Exception {
        List<Map<String, Object>> bodies = new CopyOnWriteArrayList<>();
        HttpServer server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
        server.createContext("/", exchange -> {
            try (exchange) {
                bodies.add(RemoteServer.object(exchange.getRequestBody().readAllBytes()));
                answer(exchange, 500, "{\"code\": \"internal\", \"title\": \"the end\"}".getBytes());
            }
        });
        server.start();
        ThreadLocal<Map<String, String>> current = ThreadLocal.withInitial(Map::of);
        try (PyExecutor executor = executor(new HostConfig().setUrl("http://127.0.0.1:" + server.getAddress().getPort()).setTraceContext(current::get))) {
            current.set(Map.of("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "code", "2"));
            assertThrows(ExecutionException.class, () -> executor.executeOnceAsync("1", null).get(20, TimeUnit.SECONDS));
            assertThrows(PyExecutorException.class, () -> executor.verify("1", List.of(Map.of("code", "1")), null, null));
            current.remove();
            assertThrows(PyExecutorException.class, () -> executor.executeOnce("1", null));
            assertThrows(PyExecutorException.class, () -> executor.execute("s", "1", null));
        } finally {
            server.stop(0);
        }
        String own = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        List<Object> traces = bodies.stream().filter(body -> body.containsKey("code") || body.containsKey("solution"))
                .map(body -> String.valueOf(body.get("traceparent"))).collect(Collectors.toList());
        assertEquals(List.of(own, own, "null", "null"), traces);
        assertEquals("1", bodies.get(0).get("code"));
    }

    @ParameterizedTest
    @ValueSource(strings = {"<html>Bad gateway</html>", "", "[]", "{\"error\": 1}"})
    void whatIsInFrontOfTheServerIsNamed(String page) throws Exception {
        HttpServer proxy = answering(exchange -> answer(exchange, 502, page.getBytes()));
        try (PyExecutor executor = executor(new HostConfig().setUrl("http://127.0.0.1:" + proxy.getAddress().getPort()))) {
            PyExecutorException thrown = assertThrows(PyExecutorException.class, () -> executor.executeOnce("1", null));
            assertEquals("internal", thrown.getCode());
            assertTrue(thrown.getMessage().contains("HTTP status 502"), thrown.getMessage());
        } finally {
            proxy.stop(0);
        }
    }

    @Test
    void theTokenDoesNotFollowARedirect() throws Exception {
        AtomicInteger strayed = new AtomicInteger();
        HttpServer elsewhere = answering(exchange -> {
            strayed.incrementAndGet();
            answer(exchange, 200, "{}".getBytes());
        });
        HttpServer proxy = answering(exchange -> {
            exchange.getResponseHeaders().set("Location", "http://127.0.0.1:" + elsewhere.getAddress().getPort() + "/");
            answer(exchange, 307, new byte[0]);
        });
        try (PyExecutor executor = executor(new HostConfig().setUrl("http://127.0.0.1:" + proxy.getAddress().getPort()).setToken("t"))) {
            assertTrue(assertThrows(PyExecutorException.class, () -> executor.executeOnce("1", null)).getMessage().contains("307"));
            assertEquals(0, strayed.get());
        } finally {
            proxy.stop(0);
            elsewhere.stop(0);
        }
    }

    /** A proxy with TLS that serves below a path, like the proxy in docs/http.md. Only this test trusts its certificate. */
    @Test
    void overTlsAtAPathOfAProxy() throws Exception {
        HttpClient behind = HttpClient.newHttpClient();
        try (LocalhostKeys keys = new LocalhostKeys(); Serve serve = new Serve(Map.of())) {
            SSLContext tls = keys.context();
            HttpsServer proxy = HttpsServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
            proxy.setHttpsConfigurator(new HttpsConfigurator(tls));
            proxy.createContext("/py/", exchange -> pass(exchange, behind, serve.url));
            proxy.start();
            HostConfig host = serve.host().setUrl("https://localhost:" + proxy.getAddress().getPort() + "/py/");
            try (PyExecutor stranger = executor(host)) {
                assertTrue(assertThrows(PyExecutorException.class, () -> stranger.executeOnce("1", null)).getMessage().contains("PKIX"));
            }
            try (PyExecutor executor = executor(host.setHttpClient(HttpClient.newBuilder().sslContext(tls).build()))) {
                assertEquals("2", executor.execute("s", "1 + 1", null).getLastValueRepr());
                assertEquals(true, executor.doctor().get("ok"));
            } finally {
                proxy.stop(0);
            }
        }
    }

    private static void pass(HttpExchange exchange, HttpClient behind, String url) throws IOException {
        try (exchange; InputStream body = exchange.getRequestBody()) {
            HttpRequest request = HttpRequest.newBuilder(URI.create(url + exchange.getRequestURI().getRawPath().substring("/py".length())))
                    .header("Authorization", exchange.getRequestHeaders().getFirst("Authorization"))
                    .method(exchange.getRequestMethod(), HttpRequest.BodyPublishers.ofByteArray(body.readAllBytes())).build();
            HttpResponse<byte[]> response = behind.send(request, HttpResponse.BodyHandlers.ofByteArray());
            answer(exchange, response.statusCode(), response.body());
        } catch (InterruptedException e) {
            throw new IOException(e);
        }
    }

    @Test
    void theEndOfTheJvmCancelsItsRuns() throws Exception {
        try (Serve serve = Serve.wide(Map.of())) {
            Process jvm = new ProcessBuilder(Path.of(System.getProperty("java.home"), "bin", "java").toString(), "-cp",
                    System.getProperty("java.class.path"), Holder.class.getName(), serve.url).inheritIO().start();
            try {
                until(() -> serve.metric("pyexec_running") == 2);
                jvm.destroyForcibly();
                until(() -> serve.metric("pyexec_running") == 0);
            } finally {
                jvm.destroyForcibly();
            }
        }
    }

    /** A JVM with a busy session and a busy run. */
    static final class Holder {
        private Holder() {
        }

        public static void main(String[] args) throws Exception {
            try (PyExecutor executor = executor(new HostConfig().setUrl(args[0]).setToken(Serve.TOKEN))) {
                executor.executeAsync("s", FOREVER, LONG);
                executor.executeOnce(FOREVER, LONG);
            }
        }
    }

    @Test
    void anExecutorThatNobodyHoldsEndsItsSessions() throws Exception {
        try (Serve serve = new Serve(Map.of())) {
            executor(serve.host()).execute("s", "1", null);
            until(() -> {
                System.gc();
                return serve.metric("pyexec_sessions") == 0;
            });
        }
    }
}

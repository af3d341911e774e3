package com.alibaba.langengine.pyexecutor;

import static com.alibaba.langengine.pyexecutor.LifeTest.until;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import io.nats.client.Connection;
import io.nats.client.Dispatcher;
import io.nats.client.Message;
import io.nats.client.NKey;
import io.nats.client.Nats;
import io.nats.client.Subscription;
import io.nats.client.impl.Headers;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.net.http.HttpClient;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** A fleet over NATS: what is different from a server. What is the same is tested in the subclasses of the other tests. */
class FleetTest {
    private static final String FOREVER = "import time\nwhile True: time.sleep(0.05)";
    private static final String[] LARGE = {"--files", "full", "--any-import", "--max-stdout-bytes", "64M", "--address-space-bytes", "2G", "--timeout",
        "60s", "--cpu-time-seconds", "60"};
    private static final String TEXT = "{\"parameters\": {\"type\": \"object\", \"properties\": {\"text\": {\"type\": \"string\"}}}}";
    private static final PyExecutionOptions LONG = new PyExecutionOptions().setTimeout(Duration.ofMinutes(5));

    private static PyExecutor executor(HostConfig host) {
        return new PyExecutor(null, new SessionConfig(), host);
    }

    private static PyExecutionPolicy wide() {
        PyExecutionPolicy policy = new PyExecutionPolicy();
        policy.setDisableOpen(false);
        policy.setMaxStdoutBytes(64 << 20);
        policy.setAddressSpaceBytes(2L << 30);
        policy.setTimeout(Duration.ofSeconds(60));
        policy.setCpuTimeSeconds(60);
        return policy;
    }

    private static String random(int length) {
        byte[] letters = new byte[length];
        Random random = new Random(21);
        for (int i = 0; i < length; i++) {
            letters[i] = (byte) ('a' + random.nextInt(26));
        }
        return new String(letters, StandardCharsets.US_ASCII);
    }

    private static boolean hasThreads() {
        return Thread.getAllStackTraces().keySet().stream().anyMatch(thread -> thread.getName().startsWith("pyexec-nats"));
    }

    @Test
    void aNatsServerThatIsNotThereRanNothing() {
        try (PyExecutor executor = executor(new HostConfig().setUrl("nats://user:secret@127.0.0.1:9,127.0.0.1:9"))) {
            for (int i = 0; i < 2; i++) {
                PyExecutorException thrown = assertThrows(PyExecutorException.class, () -> executor.executeOnce("1", null));
                assertEquals("unreachable", thrown.getCode());
                assertTrue(thrown.getMessage().contains("127.0.0.1:9") && thrown.getMessage().contains("never started"), thrown.getMessage());
                assertFalse(thrown.getMessage().contains("secret"), thrown.getMessage());
            }
            assertEquals("nats://127.0.0.1:9,nats://127.0.0.1:9", executor.doctor().get("url"));
            assertEquals("unreachable", executor.doctor().get("code"));
        }
    }

    @Test
    void aFleetWithoutANodeIsOverloadedUntilOneComes() throws Exception {
        try (Fleet fleet = new Fleet(); PyExecutor executor = executor(fleet.host().setRetryOverloaded(null));
                PyExecutor patient = executor(fleet.host().setRetryOverloaded(Duration.ofMinutes(2)))) {
            for (String session : new String[] {null, "s"}) {
                PyExecutorOverloadedException refused = assertThrows(PyExecutorOverloadedException.class,
                        () -> RemoteTest.run(executor, session, "1"));
                assertTrue(refused.getMessage().contains("pyexec worker --nats"), refused.getMessage());
            }
            assertEquals("overloaded", executor.doctor().get("code"));
            CompletableFuture<PyExecutionResult> late = patient.executeOnceAsync("6 * 7", null);
            CompletableFuture<PyExecutionResult> session = patient.executeAsync("s", "6 * 7", null);
            fleet.worker("late");
            assertEquals("42", late.get(60, TimeUnit.SECONDS).getLastValueRepr());
            assertEquals("42", session.get(60, TimeUnit.SECONDS).getLastValueRepr());
            assertEquals(true, executor.doctor().get("ok"));
        }
    }

    @Test
    void largeBodiesBothWaysAndLargeAnswersOfTools() throws Exception {
        try (Fleet fleet = new Fleet(); PyExecutor executor = new PyExecutor(wide(), new SessionConfig(), fleet.host())) {
            fleet.worker("large", LARGE);
            String text = random(20 << 20);
            PyExecutionOptions files = new PyExecutionOptions().putFile("in", text.getBytes(StandardCharsets.US_ASCII));
            assertEquals(text + "\n", executor.executeOnce("print(open('in').read())", files).getStdout());
            executor.execute("s", "1", null);
            byte[] content = random(31 << 20).getBytes(StandardCharsets.US_ASCII);
            executor.writeFile("s", "big", content);
            assertTrue(Arrays.equals(content, executor.readFile("s", "big")));
            PyExecutionOptions tool = new PyExecutionOptions().putTool("f", TEXT,
                    arguments -> "y".repeat(((String) arguments.get("text")).length()));
            PyExecutionResult called = executor.executeOnce("a = f(text='x' * 3000000)\nlen(a), set(a)", tool);
            assertEquals("(3000000, {'y'})", called.getLastValueRepr(), called.getErrorRepr());
        }
    }

    @Test
    void aKilledNodeIsNoticedAndItsRunIsNotRepeated() throws Exception {
        try (Fleet fleet = new Fleet(); PyExecutor executor = executor(fleet.host())) {
            fleet.wide("victim");
            CompletableFuture<PyExecutionResult> run = executor.executeOnceAsync(FOREVER, LONG);
            until(() -> fleet.metric("pyexec_running") == 1);
            fleet.wide("other");
            fleet.kill("victim");
            ExecutionException lost = assertThrows(ExecutionException.class, () -> run.get(60, TimeUnit.SECONDS));
            assertEquals("internal", ((PyExecutorException) lost.getCause()).getCode());
            assertTrue(lost.getCause().getMessage().contains("not known"), lost.getCause().getMessage());
            assertEquals("1", executor.executeOnce("1", null).getLastValueRepr());
            assertEquals(0, fleet.metric("pyexec_running"));
        }
    }

    @Test
    void aLostSessionIsAnErrorOnce() throws Exception {
        PyExecutionPolicy policy = new PyExecutionPolicy();
        policy.setMaxValueBytes(5);
        try (Fleet fleet = new Fleet(); PyExecutor executor = new PyExecutor(policy, new SessionConfig(), fleet.host())) {
            fleet.worker("victim");
            executor.execute("s", "x = 1", null);
            executor.execute("closed", "x = 1", null);
            fleet.worker("other");
            fleet.kill("victim");
            long end = System.nanoTime() + TimeUnit.MINUTES.toNanos(1);
            String code = "";
            while (!code.equals("session_lost")) {
                PyExecutorException thrown = assertThrows(PyExecutorException.class, () -> executor.execute("s", "x", null));
                code = thrown.getCode();
                assertTrue(code.equals("session_lost") && thrown.getMessage().contains("victim") || System.nanoTime() < end, thrown.getMessage());
            }
            PyExecutionResult made = executor.execute("s", "'long enough'", null);
            assertEquals(new PyExecutionResult.Session("s", true, "host_restart", 1), made.getSession());
            assertEquals("'long", made.getLastValueRepr());
            executor.closeSession("closed");        // it is gone already
            assertEquals(1, executor.execute("closed", "1", null).getSession().executionCount());
        }
    }

    @Test
    void twoExecutorsShareASessionWhereverItLives() throws Exception {
        PyExecutionPolicy files = new PyExecutionPolicy();
        files.setDisableOpen(false);
        try (Fleet fleet = new Fleet(); PyExecutor one = new PyExecutor(files, new SessionConfig(), fleet.host().setSessionPrefix("app."));
                PyExecutor two = new PyExecutor(files, new SessionConfig(), fleet.host().setSessionPrefix("app."))) {
            fleet.wide("one");
            fleet.wide("two");
            for (int i = 0; i < 6; i++) {
                String session = "s" + i;
                one.execute(session, "x = " + i, null);
                assertEquals(List.of(), two.listFiles(session));    // the first call is not an execution, and may reach the wrong node
                assertEquals(String.valueOf(i), two.execute(session, "x", null).getLastValueRepr());
            }
            assertEquals(6, fleet.metric("pyexec_sessions"));
            assertEquals(6L, two.stats().get("sessions"));
            two.closeAll();
            assertEquals(0, fleet.metric("pyexec_sessions"));
        }
    }

    @Test
    void manyExecutorsThatMakeOneSessionAtOnceShareIt() throws Exception {
        try (Fleet fleet = new Fleet()) {
            fleet.wide("one");
            fleet.wide("two");
            List<PyExecutor> executors = new ArrayList<>();
            List<CompletableFuture<PyExecutionResult>> results = new ArrayList<>();
            for (int i = 0; i < 12; i++) {
                executors.add(executor(fleet.host().setSessionPrefix("app.")));
            }
            for (PyExecutor executor : executors) {
                results.add(executor.executeAsync("s", "n = globals().get('n', 0) + 1\nn", null));
            }
            List<String> counts = new ArrayList<>();
            for (CompletableFuture<PyExecutionResult> result : results) {
                counts.add(result.get(60, TimeUnit.SECONDS).getLastValueRepr());
            }
            assertEquals(12, counts.stream().distinct().count(), counts.toString());
            assertTrue(counts.contains("12"), counts.toString());
            executors.get(0).closeAll();
            executors.forEach(PyExecutor::close);
        }
    }

    @Test
    void branchesAndEarlierStatesOfASession() throws Exception {
        PyExecutionPolicy policy = new PyExecutionPolicy();
        policy.setForkable(true);
        policy.setAutoCheckpoint(true);
        try (Fleet fleet = new Fleet(); PyExecutor executor = new PyExecutor(policy, new SessionConfig(), fleet.host())) {
            fleet.wide("one");
            fleet.wide("two");
            executor.execute("s", "x = 1", null);
            List<String> branches = executor.fork("s", 3);
            for (String branch : branches) {
                assertEquals("1", executor.execute(branch, "x", null).getLastValueRepr());
            }
            assertThrows(IllegalArgumentException.class, () -> executor.fork("s", List.of(branches.get(0))));
            executor.execute("s", "x = 2", null);
            executor.undo("s");
            assertEquals("1", executor.execute("s", "x", null).getLastValueRepr());
            executor.reset("s");
            assertEquals("False", executor.execute("s", "'x' in globals()", null).getLastValueRepr());
            assertEquals(true, executor.verify("def f(n): return n + 1", List.of(Map.of("call", "f", "args", List.of(1), "expect", 2)), null, null)
                    .get("passed"));
        }
    }

    @Test
    void environmentsAreChosenBySubject() throws Exception {
        try (Fleet fleet = new Fleet(); EnvironmentStore store = new EnvironmentStore()) {
            store.put("create", "data", "tally", "1.0", "def total(*numbers): return sum(numbers)");
            fleet.worker("plain");
            fleet.worker("rich", "", "", store.variables(), "--allowed-environments", "data");
            PyExecutionPolicy policy = new PyExecutionPolicy();
            policy.setEnvironment("data");
            try (PyExecutor executor = new PyExecutor(policy, new SessionConfig(), fleet.host())) {
                for (int i = 0; i < 6; i++) {
                    assertEquals("5", executor.executeOnce("import tally\ntally.total(2, 3)", null).getLastValueRepr());
                    assertEquals("5", executor.execute("s" + i, "import tally\ntally.total(2, 3)", null).getLastValueRepr());
                }
            }
            policy.setEnvironment("dota");
            try (PyExecutor executor = new PyExecutor(policy, new SessionConfig(), fleet.host())) {
                PyExecutorException thrown = assertThrows(PyExecutorException.class, () -> executor.executeOnce("1", null));
                assertTrue(thrown.getMessage().contains("dota"), thrown.getMessage());
            }
        }
    }

    @Test
    void aPasswordAPrincipalAndAnInboxOfItsOwn() throws Exception {
        String alice = "YWxpY2U";
        try (Fleet fleet = new Fleet("authorization { users: [ { user: worker, password: w }, { user: alice, password: a, permissions: {\n"
                + "publish: [\"pyexec.v1.as." + alice + ".>\", \"pyexec.v1.node.*.s." + alice + ".>\", \"pyexec.v1.node.*.p." + alice
                + "\", \"pyexec.v1.node.*.r.>\", \"$SRV.PING.pyexec\"], subscribe: \"_INBOX_alice.>\" } } ] }")) {
            fleet.worker("guarded", "worker:w@", "alice -\n", Map.of(), LARGE);
            HostConfig host = new HostConfig().setUrl(fleet.url("alice:a@")).setPrincipal("alice").setInboxPrefix("_INBOX_alice");
            try (PyExecutor executor = executor(host)) {
                assertEquals("42", executor.executeOnce("6 * 7", null).getLastValueRepr());
                PyExecutionOptions tool = new PyExecutionOptions().putTool("f", Map.of(), arguments -> "x".repeat(2000000));
                assertEquals("2000000", executor.executeOnce("len(f())", tool).getLastValueRepr());
                executor.execute("s", "x = 1", null);
                assertEquals("1", executor.execute("s", "x", null).getLastValueRepr());
                assertEquals(1L, executor.stats().get("sessions"));
            }
            try (PyExecutor executor = executor(host.setUrl(fleet.url("alice:wrong@")))) {
                PyExecutorException thrown = assertThrows(PyExecutorException.class, executor::start);
                assertEquals("unreachable", thrown.getCode());
                assertTrue(thrown.getMessage().contains("lets this client in"), thrown.getMessage());
                assertFalse(thrown.getMessage().contains("wrong"), thrown.getMessage());
            }
        }
    }

    @Test
    void theSeedOfAnNkeyAndATokenOfNats() throws Exception {
        NKey key = NKey.createUser(null);
        Path seed = Files.createTempFile("pyexec-seed", "");
        Files.writeString(seed, new String(key.getSeed()) + "\n");
        try (Fleet fleet = new Fleet("authorization { users: [ { user: worker, password: w }, { nkey: " + new String(key.getPublicKey()) + " } ] }")) {
            fleet.worker("guarded", "worker:w@", "", Map.of());
            try (PyExecutor executor = executor(fleet.host().setCredentials(seed.toString()))) {
                assertEquals("42", executor.executeOnce("6 * 7", null).getLastValueRepr());
            }
        } finally {
            Files.delete(seed);
        }
        assertThrows(IllegalArgumentException.class, () -> executor(new HostConfig().setUrl("nats://h").setCredentials(seed.toString())));
        try (Fleet fleet = new Fleet("authorization { token: t }")) {
            fleet.worker("guarded", "t@", "", Map.of());
            try (PyExecutor executor = executor(fleet.host().setToken("t")); PyExecutor stranger = executor(fleet.host().setToken("u"))) {
                assertEquals("42", executor.executeOnce("6 * 7", null).getLastValueRepr());
                PyExecutorException thrown = assertThrows(PyExecutorException.class, stranger::start);
                assertEquals("unreachable", thrown.getCode(), thrown.getMessage());
            }
        }
    }

    /** A server with a certificate for localhost. Only this test trusts it. */
    @Test
    void tlsChecksTheCertificateAndItsName() throws Exception {
        try (LocalhostKeys keys = new LocalhostKeys(); Fleet fleet = tlsFleet(keys)) {
            HttpClient client = HttpClient.newBuilder().sslContext(keys.context()).build();
            String port = fleet.url().substring(fleet.url().lastIndexOf(':'));
            HostConfig host = new HostConfig().setRetryOverloaded(null).setUrl("tls://localhost" + port);
            String stranger = startFailure(host);
            assertTrue(stranger.contains("unreachable"), stranger);
            assertEquals("overloaded", startFailure(host.setHttpClient(client)));       // there is no worker, but a connection
            String other = startFailure(host.setUrl("tls://127.0.0.1" + port));
            assertTrue(other.contains("unreachable"), other);
        }
    }

    private static Fleet tlsFleet(LocalhostKeys keys) throws Exception {
        keys.writePem();
        return new Fleet("tls { cert_file: " + keys.folder + "/cert, key_file: " + keys.folder + "/key }");
    }

    private static String startFailure(HostConfig host) {
        try (PyExecutor executor = executor(host)) {
            return assertThrows(PyExecutorException.class, executor::start).getCode();
        }
    }

    @Test
    void aRestartOfTheNatsServerIsSurvived() throws Exception {
        try (Fleet fleet = new Fleet(); PyExecutor executor = executor(fleet.host().setRetryOverloaded(Duration.ofMinutes(2)))) {
            fleet.wide("patient");
            executor.execute("s", "x = 1", null);
            CompletableFuture<PyExecutionResult> running = executor.executeOnceAsync("import time\ntime.sleep(3)\n'slept'", LONG);
            until(() -> fleet.metric("pyexec_running") == 1);
            fleet.kill();
            fleet.start();
            try {
                assertEquals("'slept'", running.get(2, TimeUnit.MINUTES).getLastValueRepr());
            } catch (ExecutionException e) {    // its answer was lost with the server
                assertTrue(e.getCause().getMessage().contains("not known"), e.getCause().getMessage());
            }
            long end = System.nanoTime() + TimeUnit.MINUTES.toNanos(1);
            while (true) {
                try {
                    assertEquals("1", executor.execute("s", "x", null).getLastValueRepr());
                    break;
                } catch (PyExecutorException e) {
                    assertTrue(System.nanoTime() < end && !e.getCode().equals("session_lost"), e.toString());
                }
            }
        }
    }

    @Test
    void aClosedExecutorLeavesNothingAndRefuses() throws Exception {
        try (Fleet fleet = new Fleet()) {
            fleet.wide("busy");
            PyExecutor executor = executor(fleet.host());
            CompletableFuture<PyExecutionResult> session = executor.executeAsync("s", FOREVER, LONG);
            CompletableFuture<PyExecutionResult> single = executor.executeOnceAsync(FOREVER, LONG);
            until(() -> fleet.metric("pyexec_running") == 2);
            assertTrue(hasThreads());
            executor.close();
            assertEquals(PyExecutionResult.Status.CANCELLED, session.get(60, TimeUnit.SECONDS).getStatus());
            ExecutionException thrown = assertThrows(ExecutionException.class, () -> single.get(60, TimeUnit.SECONDS));
            assertEquals("shutting_down", ((PyExecutorException) thrown.getCause()).getCode());
            until(() -> fleet.metric("pyexec_running") == 0 && fleet.metric("pyexec_sessions") == 0 && !hasThreads());
            assertEquals("shutting_down", assertThrows(PyExecutorException.class, () -> executor.executeOnce("1", null)).getCode());
        }
    }

    @Test
    void anExecutorThatNobodyHoldsEndsItsSessions() throws Exception {
        try (Fleet fleet = new Fleet()) {
            fleet.worker("solo");
            executor(fleet.host()).execute("s", "1", null);
            until(() -> {
                System.gc();
                return fleet.metric("pyexec_sessions") == 0 && !hasThreads();
            });
        }
    }

    @Test
    void anAnswerThatTakesTooLongIsGivenUpAndItsRunCancelled() throws Exception {
        try (Fleet fleet = new Fleet(); PyExecutor executor = executor(fleet.host().setAnswerTimeout(Duration.ofSeconds(1)));
                PyExecutor first = executor(fleet.host())) {
            fleet.worker("busy", "", "", Map.of("PYEXEC_HOST_MAX_CONCURRENT", "1", "PYEXEC_HOST_MAX_ASLEEP", "0"), Serve.WIDE);
            CompletableFuture<PyExecutionResult> running = first.executeOnceAsync(FOREVER, LONG);
            until(() -> fleet.metric("pyexec_running") == 1);
            PyExecutorException thrown = assertThrows(PyExecutorException.class,
                    () -> executor.executeOnce("1", new PyExecutionOptions().setTimeout(Duration.ofMillis(100))));
            assertTrue(thrown.getMessage().contains("timed out") && thrown.getMessage().contains("not known"), thrown.getMessage());
            running.cancel(true);
            until(() -> fleet.metric("pyexec_running") == 0);
            assertEquals("1", executor.executeOnce("1", null).getLastValueRepr());
        }
    }

    @Test
    void aJvmThatDoesNotCloseItsExecutorEnds() throws Exception {
        try (Fleet fleet = new Fleet()) {
            fleet.worker("solo");
            assertEquals("42", jvm(System.getProperty("java.class.path"), fleet.url()));
        }
    }

    @Test
    void withoutJnatsTheErrorNamesWhatToAdd() throws Exception {
        String without = Arrays.stream(System.getProperty("java.class.path").split(File.pathSeparator)).filter(path -> !path.contains("jnats"))
                .collect(Collectors.joining(File.pathSeparator));
        assertNotEquals(without, System.getProperty("java.class.path"));
        String said = jvm(without, "nats://127.0.0.1:9");
        assertTrue(said.startsWith("java.lang.IllegalArgumentException") && said.contains("io.nats:jnats"), said);
    }

    private static String jvm(String classPath, String url) throws Exception {
        Process jvm = new ProcessBuilder(Path.of(System.getProperty("java.home"), "bin", "java").toString(), "-cp", classPath,
                Once.class.getName(), url).redirectErrorStream(true).start();
        try {
            if (!jvm.waitFor(2, TimeUnit.MINUTES)) {
                fail("the JVM does not end");
            }
            return new String(jvm.getInputStream().readAllBytes()).trim();
        } finally {
            jvm.destroyForcibly();
        }
    }

    /** A JVM that runs a script, and does not close its executor. */
    static final class Once {
        private Once() {
        }

        public static void main(String[] args) throws Exception {
            try {
                System.out.println(executor(new HostConfig().setUrl(args[0])).executeOnce("6 * 7", null).getLastValueRepr());
            } catch (IllegalArgumentException e) {
                System.out.println(e);
            }
        }
    }

    @Test
    void ofExecutionsWithOneKeyAtMostOneStarts() throws Exception {
        AtomicInteger started = new AtomicInteger();
        PyExecutionOptions keyed = new PyExecutionOptions().setKey("task 17").putTool("note", Map.of(), arguments -> started.incrementAndGet());
        try (Fleet fleet = new Fleet(); PyExecutor one = executor(fleet.host()); PyExecutor two = executor(fleet.host())) {
            fleet.wide("one");
            assertEquals("1", one.executeOnce("note()", keyed).getLastValueRepr());
            assertEquals("already_started", assertThrows(PyExecutorException.class, () -> two.executeOnce("note()", keyed)).getCode());
            assertEquals("already_started", assertThrows(PyExecutorException.class, () -> two.execute("s", "note()", keyed)).getCode());
            keyed.setKey("task 18");
            assertEquals("2", two.execute("s", "note()", keyed).getLastValueRepr());
            keyed.setKey("task 19");
            CompletableFuture<PyExecutionResult> lost = two.executeOnceAsync("note()\nwhile True: pass", keyed.setTimeout(Duration.ofMinutes(5)));
            until(() -> started.get() == 3);
            fleet.wide("two");
            fleet.kill("one");
            ExecutionException thrown = assertThrows(ExecutionException.class, () -> lost.get(2, TimeUnit.MINUTES));
            assertEquals("already_started", ((PyExecutorException) thrown.getCause()).getCode());
            assertEquals(3, started.get());
            assertThrows(IllegalArgumentException.class, () -> two.executeOnce("1", new PyExecutionOptions().setKey("")));
            assertThrows(IllegalArgumentException.class, () -> two.executeOnce("1", new PyExecutionOptions().setKey("a\r\nb: c")));
        }
        try (PyExecutor local = new PyExecutor(null); PyExecutor http = executor(new HostConfig().setUrl("http://127.0.0.1:9"))) {
            for (PyExecutor without : new PyExecutor[] {local, http}) {
                String message = assertThrows(IllegalArgumentException.class, () -> without.executeOnce("1", keyed)).getMessage();
                assertTrue(message.contains("only a fleet"), message);
                assertThrows(IllegalArgumentException.class, () -> without.verify("", List.of(), null, keyed));
            }
        }
    }

    /** A node that takes one request and is gone at once. */
    @Test
    void anExecutionWithAKeyThatNeverStartedIsSentAgain() throws Exception {
        for (String key : new String[] {null, "task"}) {
            try (Fleet fleet = new Fleet(); PyExecutor executor = executor(fleet.host())) {
                Connection gone = Nats.connect(fleet.url());
                CompletableFuture<Void> taken = new CompletableFuture<>();
                Dispatcher dispatcher = gone.createDispatcher();
                dispatcher.subscribe("pyexec.v1.run", "pyexec", message -> {
                    gone.publish(message.getReplyTo(), new Headers().add("Pyexec-Seq", "0").add("Pyexec-Event", "accepted"),
                            "{\"node\": \"gone\", \"request\": \"r\"}".getBytes(StandardCharsets.UTF_8));
                    taken.complete(null);
                });
                gone.flush(Duration.ofSeconds(60));
                CompletableFuture<PyExecutionResult> run = executor.executeOnceAsync("6 * 7", new PyExecutionOptions().setKey(key));
                taken.get(60, TimeUnit.SECONDS);
                gone.close();
                fleet.worker("real");
                if (key != null) {
                    assertEquals("42", run.get(2, TimeUnit.MINUTES).getLastValueRepr());
                } else {
                    ExecutionException thrown = assertThrows(ExecutionException.class, () -> run.get(2, TimeUnit.MINUTES));
                    assertTrue(thrown.getCause().getMessage().contains("not known"), thrown.getCause().getMessage());
                }
            }
        }
    }

    /** A node that answers parts late. */
    @Test
    void atMostFourPartsAreWithoutAnAnswerAndLateOnesAreSentAgain() throws Exception {
        String text = random(9 << 20);
        try (Fleet fleet = new Fleet(); PyExecutor executor = executor(fleet.host())) {
            Connection node = Nats.connect(fleet.url());
            Subscription runs = node.subscribe("pyexec.v1.run", "pyexec");
            Subscription parts = node.subscribe("test.parts");
            node.flush(Duration.ofSeconds(60));
            CompletableFuture<PyExecutionResult> run = executor.executeOnceAsync("1", new PyExecutionOptions().setStdin(text));
            Message first = runs.nextMessage(Duration.ofSeconds(60));
            int count = Integer.parseInt(first.getHeaders().getFirst("Pyexec-Parts"));
            byte[][] all = new byte[count][];
            all[0] = first.getData();
            node.publish(first.getReplyTo(), "test.parts", new Headers().add("Pyexec-Seq", "0").add("Pyexec-Event", "continue"), null);
            for (int round = 0; round < 2; round++) {
                for (int number = 1; number <= 4; number++) {
                    assertEquals(String.valueOf(number), parts.nextMessage(Duration.ofSeconds(60)).getHeaders().getFirst("Pyexec-Part"));
                }
            }
            int arrived = 0;
            while (arrived < count - 1) {
                Message part = parts.nextMessage(Duration.ofSeconds(60));       // the first four come once more
                int number = Integer.parseInt(part.getHeaders().getFirst("Pyexec-Part"));
                assertTrue(number <= arrived + 4, number + " after " + arrived);
                all[number] = part.getData();
                if (number == arrived + 1) {
                    arrived++;
                }
                node.publish(part.getReplyTo(), new Headers().add("Pyexec-Part", String.valueOf(arrived)), null);
            }
            ByteArrayOutputStream body = new ByteArrayOutputStream();
            for (byte[] part : all) {
                body.write(part);
            }
            assertEquals(Integer.parseInt(first.getHeaders().getFirst("Pyexec-Bytes")), body.size());
            assertEquals(text, Json.parseObject(body.toString(StandardCharsets.UTF_8)).get("stdin"));
            node.publish(first.getReplyTo(), new Headers().add("Pyexec-Seq", "1").add("Pyexec-Status", "500"),
                    "{\"code\": \"internal\", \"title\": \"the end\"}".getBytes(StandardCharsets.UTF_8));
            ExecutionException thrown = assertThrows(ExecutionException.class, () -> run.get(60, TimeUnit.SECONDS));
            assertEquals("the end", thrown.getCause().getMessage());
            node.close();
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"nats://", "nats://h:x", "nats://h /", "tls://:4222"})
    void whatIsNoUrlIsRefusedWhenTheExecutorIsMade(String url) {
        String message = assertThrows(IllegalArgumentException.class, () -> executor(new HostConfig().setUrl(url))).getMessage();
        assertTrue(message.contains(url), message);
    }

    @Test
    void settingsOfNatsAreOnlyForItsUrls() {
        Map<String, HostConfig> hosts = new HashMap<>();
        hosts.put("credentials", new HostConfig().setCredentials("/x"));
        hosts.put("principal", new HostConfig().setPrincipal("alice"));
        hosts.put("inbox", new HostConfig().setInboxPrefix("_INBOX_alice"));
        hosts.forEach((name, host) -> {
            for (String url : new String[] {null, "http://h"}) {
                String message = assertThrows(IllegalArgumentException.class, () -> executor(host.setUrl(url))).getMessage();
                assertTrue(message.contains(name) && message.contains("nats://"), message);
            }
        });
        assertNull(new HostConfig().getPrincipal());
    }
}

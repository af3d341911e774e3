// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nats.client.Connection;
import io.nats.client.Message;
import io.nats.client.Nats;
import io.nats.client.Subscription;
import io.nats.client.impl.Headers;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Nodes of a fleet that do not keep to the protocol, and a NATS server whose messages are too small. */
class FleetMalformedTest {
    private static final String ACCEPTED = "Pyexec-Seq: 0, Pyexec-Event: accepted|{\"node\": \"bad\", \"request\": \"r\"}";

    private static Fleet fleet;
    private static PyExecutor executor;
    private static Connection node;
    private static Subscription requests;

    @BeforeAll
    static void begin() throws Exception {
        fleet = new Fleet();
        executor = new PyExecutor(null, new SessionConfig(), fleet.host().setRetryOverloaded(null));
        node = Nats.connect(fleet.url());
        requests = node.subscribe("pyexec.v1.run");
        node.subscribe("pyexec.v1.node.bad.r.r.>");
        node.flush(Duration.ofSeconds(60));
    }

    @AfterAll
    static void end() throws Exception {
        executor.close();
        node.close();
        fleet.close();
    }

    private static Headers headers(String text) {
        Headers headers = new Headers();
        for (String row : text.split(", ")) {
            headers.add(row.split(": ")[0], row.split(": ")[1]);
        }
        return headers;
    }

    /** Begins a run, and returns the subject for its answer. */
    private static Message asked() throws Exception {
        return requests.nextMessage(Duration.ofSeconds(60));
    }

    private static PyExecutorException failure(CompletableFuture<PyExecutionResult> run) {
        ExecutionException thrown = assertThrows(ExecutionException.class, () -> run.get(20, TimeUnit.SECONDS));
        assertTrue(thrown.getCause() instanceof PyExecutorException, thrown.toString());
        return (PyExecutorException) thrown.getCause();
    }

    @ParameterizedTest
    @ValueSource(ints = {1024, 4096})
    void aNatsServerWhoseMessagesAreTooSmallIsNamed(int limit) throws Exception {
        try (Fleet small = new Fleet("max_payload: " + limit); PyExecutor at = new PyExecutor(null, new SessionConfig(), small.host())) {
            for (String session : new String[] {null, "s"}) {
                String message = assertThrows(PyExecutorException.class, () -> RemoteTest.run(at, session, "1")).getMessage();
                assertTrue(message.contains("at most " + limit + " bytes (max_payload)") && message.contains("never started"), message);
            }
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"Pyexec-Seq: x, Pyexec-Event: accepted|{}", "Pyexec-Event: accepted|{", "Pyexec-Event: accepted|{}",
        "Pyexec-Event: accepted|[]", "Pyexec-Event: accepted|{\"node\": \"a b\", \"request\": \"r\"}", "Pyexec-Event: accepted|{\"node\": 5, \"request\": \"r\"}",
        ACCEPTED + "\nPyexec-Seq: 1, Pyexec-Event: tool_call|no", ACCEPTED + "\nPyexec-Seq: 1, Pyexec-Event: tool_call|{}",
        ACCEPTED + "\nPyexec-Seq: 1, Pyexec-Part: 0, Pyexec-Event: stdout|{}\nPyexec-Seq: 2, Pyexec-Part: 1, Pyexec-Event: stdout|{}",
        ACCEPTED + "\nPyexec-Seq: 1, Pyexec-Part: 1, Pyexec-Parts: 2, Pyexec-Event: stdout|{}", "Pyexec-Status: ok|{}",
        "Pyexec-Status: 200|{", "Pyexec-Status: 200|5", "Pyexec-Status: 200|{\"status\": []}", "Pyexec-Status: 200|{\"status\": \"odd\"}", "Pyexec-Status: 200|{}",
        "Pyexec-Status: 200, Pyexec-Node: a b|{\"status\": \"ok\"}", "Pyexec-Status: 400|{\"code\": \"x\", \"hint\": 5}"})
    void malformedAnswersAreFailuresOfTheExecutor(String messages) throws Exception {
        CompletableFuture<PyExecutionResult> run = executor.executeOnceAsync("1", new PyExecutionOptions().putTool("f", Map.of(), arguments -> 1));
        String reply = asked().getReplyTo();
        for (String message : messages.split("\n")) {
            node.publish(reply, headers(message.split("\\|")[0]), message.split("\\|")[1].getBytes(StandardCharsets.UTF_8));
        }
        PyExecutorException failure = failure(run);
        assertTrue(failure.getMessage().contains("can't be read") || failure.getCode().equals("x"), failure.toString());
    }

    @ParameterizedTest
    @ValueSource(strings = {"x", "99"})
    void aMalformedAnswerToAPartIsAFailureToo(String number) throws Exception {
        Subscription parts = node.subscribe("test.malformed");
        CompletableFuture<PyExecutionResult> run = executor.executeOnceAsync("1", new PyExecutionOptions().setStdin("x".repeat(3 << 20)));
        node.publish(asked().getReplyTo(), "test.malformed", headers("Pyexec-Event: continue"), null);
        node.publish(parts.nextMessage(Duration.ofSeconds(60)).getReplyTo(), headers("Pyexec-Part: " + number), null);
        assertTrue(failure(run).getMessage().contains("can't be read"));
        parts.unsubscribe();
    }

    private static void serveList(Connection node, String name, int status, String body) {
        node.createDispatcher(message -> node.publish(message.getReplyTo(), ("{\"id\": \"" + name + "\"}").getBytes(StandardCharsets.UTF_8)))
                .subscribe("$SRV.PING.pyexec");
        node.createDispatcher(message -> node.publish(message.getReplyTo(), headers("Pyexec-Status: " + status), body.getBytes(StandardCharsets.UTF_8)))
                .subscribe("pyexec.v1.node." + name + ".p.*");
    }

    @Test
    void listsNameTheNodesThatAreMissingUnlessNoNodeHasOne() throws Exception {
        try (Fleet own = new Fleet(); PyExecutor px = new PyExecutor(null, new SessionConfig(), own.host().setSessionPrefix("p:").setRetryOverloaded(null))) {
            Connection at = Nats.connect(own.url());
            serveList(at, "busy", 503, "{\"status\": 503, \"code\": \"overloaded\", \"title\": \"no room\", \"hint\": \"later\"}");
            at.flush(Duration.ofSeconds(60));
            assertThrows(PyExecutorOverloadedException.class, px::stats);
            serveList(at, "broken", 200, "{\"sessions\": 5}");
            serveList(at, "works", 200, "{\"sessions\": [{\"id\": \"p:s\"}, {\"id\": \"other\"}]}");
            at.flush(Duration.ofSeconds(60));
            Map<String, Object> stats = px.stats();
            assertEquals(1L, stats.get("sessions"));
            List<?> missing = (List<?>) stats.get("missing");
            assertEquals(List.of("broken", "busy"), missing.stream().map(one -> ((Map<?, ?>) one).get("node")).toList());
            assertTrue(missing.toString().contains("no room") && missing.toString().contains("503") && missing.toString().contains("502"), missing.toString());
            at.createDispatcher(message -> at.publish(message.getReplyTo(), headers("Pyexec-Status: 204"), new byte[0]))
                    .subscribe("pyexec.v1.node.works.s.*.*");
            at.flush(Duration.ofSeconds(60));
            String told = assertThrows(PyExecutorException.class, px::closeAll).getMessage();
            assertTrue(told.contains("busy") && told.contains("broken") && told.contains("other sessions are closed"), told);
            at.close();
        }
    }

    @Test
    void aRunOverNatsHasTheTraceOfItsCaller() throws Exception {
        try (PyExecutor traced = new PyExecutor(null, new SessionConfig(), fleet.host().setRetryOverloaded(null).setTraceContext(
                () -> Map.of("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate", "a=b")))) {
            CompletableFuture<PyExecutionResult> run = traced.executeOnceAsync("1", null);
            Message message = asked();
            Map<String, Object> request = RemoteServer.object(message.getData());
            assertEquals("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", request.get("traceparent"));
            assertEquals("a=b", request.get("tracestate"));
            node.publish(message.getReplyTo(), headers("Pyexec-Status: 400"), "{\"code\": \"internal\", \"title\": \"the end\"}".getBytes(StandardCharsets.UTF_8));
            assertTrue(failure(run).getMessage().contains("the end"));
        }
    }

    @Test
    void whatANodeSendsAheadIsBounded() throws Exception {
        byte[] data = new byte[1000 << 10];
        for (boolean parts : List.of(false, true)) {
            CompletableFuture<PyExecutionResult> run = executor.executeOnceAsync("1", null);
            String reply = asked().getReplyTo();
            for (int i = 0; i < 110; i++) {
                node.publish(reply, headers(parts ? "Pyexec-Event: stdout, Pyexec-Parts: 1000, Pyexec-Part: " + i + ", Pyexec-Seq: " + i
                        : "Pyexec-Event: stdout, Pyexec-Seq: " + (i + 1)), data);
            }
            assertTrue(failure(run).getMessage().contains("more than it may"));
        }
    }

    @Test
    void callsOfToolsThatWaitAreBounded() throws Exception {
        CompletableFuture<PyExecutionResult> run = executor.executeOnceAsync("1", new PyExecutionOptions().putTool("f", Map.of(),
                arguments -> new CompletableFuture<>()));
        String reply = asked().getReplyTo();
        byte[] call = "{\"name\": \"f\", \"arguments\": {}, \"call_id\": \"c\"}".getBytes(StandardCharsets.UTF_8);
        for (int i = 0; i < 10001; i++) {
            node.publish(reply, headers("Pyexec-Event: tool_call"), call);
        }
        PyExecutorException failure = failure(run);
        assertTrue(failure.getMessage().contains("more calls of tools"), failure.toString());
        assertEquals("internal", failure.getCode());
    }
}

// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Supplier;
import java.util.stream.Collectors;

/**
 * A fleet of {@code pyexec worker} over NATS ({@code docs/scale.md}): to which subject each request goes. A session lives at one node.
 * It is made by its first execution, at a node that has room and the session's environment; every other node says where it is.
 */
final class NatsRemote extends RemoteServer {
    private static final int REMEMBERED = 100000;
    private static final Duration OVERLOADED_WAIT = Duration.ofMillis(200);
    private static final Duration REPEAT = Duration.ofSeconds(60);

    private final NatsLink link;
    private final String runs;
    /** The nodes of sessions. */
    private final Map<String, String> nodes = new LinkedHashMap<>() {
        private static final long serialVersionUID = 1L;

        @Override
        protected boolean removeEldestEntry(Map.Entry<String, String> eldest) {
            return size() > REMEMBERED;
        }
    };

    NatsRemote(String url, String token, HostConfig host) {
        super(name(url));
        String principal = token(host.getPrincipal() == null ? "local" : host.getPrincipal());
        this.link = new NatsLink(this.url, principal, servers(url), token, host);
        this.runs = "pyexec.v1." + (host.getPrincipal() == null ? "" : "as." + principal + ".");
    }

    /** The servers of the URL. A server without a scheme has that of the first one. */
    private static String[] servers(String url) {
        String scheme = scheme(url) + "://";
        return Arrays.stream(url.split(",")).map(String::trim).map(one -> one.contains("://") ? one : scheme + one).toArray(String[]::new);
    }

    /** The URL without users and passwords. */
    private static String name(String url) {
        return Arrays.stream(servers(url)).map(one -> scheme(one) + "://" + one.substring(Math.max(one.indexOf("://") + 3, one.lastIndexOf('@') + 1)))
                .collect(Collectors.joining(","));
    }

    /** A name as a part of a subject. */
    private static String token(String text) {
        return Base64.getUrlEncoder().withoutPadding().encodeToString(text.getBytes(StandardCharsets.UTF_8));
    }

    @Override
    CompletableFuture<Answer> send(Request request, ToolCalls tools) {
        NatsCall call = new NatsCall(link, tools);
        link.connected().thenCompose(connected -> {
            if (request.timeout() != null) {
                call.orTimeout(request.timeout().toMillis(), TimeUnit.MILLISECONDS);
            }
            return request.key() == null ? route(request, call) : keyed(request, call);
        }).whenComplete((answer, failure) -> {
            if (failure == null) {
                call.complete(answer);
            } else {
                call.completeExceptionally(cause(failure));
            }
        });
        return call;
    }

    /** A request with a key is sent again when its answer is lost: it is executed now, or the answer says that it was started before. */
    private CompletionStage<Answer> keyed(Request request, NatsCall call) {
        long end = System.nanoTime() + REPEAT.toNanos();
        return route(request, call).exceptionallyCompose(failure -> isUnknown(cause(failure)) ? again(request, call, cause(failure), end)
                : CompletableFuture.failedStage(cause(failure)));
    }

    private static boolean isUnknown(Throwable failure) {
        return failure instanceof PyExecutorException known && UNKNOWN.equals(known.getHint());
    }

    /** A refusal now does not say that nothing was started before. So it is repeated too, and at last the first failure is reported. */
    private CompletionStage<Answer> again(Request request, NatsCall call, Throwable first, long end) {
        if (call.isDone() || System.nanoTime() - end > 0) {
            return CompletableFuture.failedStage(first);
        }
        return link.sleep(OVERLOADED_WAIT).thenCompose(waited -> link.connected()).thenCompose(connected -> route(request, call))
                .handle((answer, failure) -> failure == null && answer.status() != 429 && answer.status() != 503 ? CompletableFuture.completedStage(answer)
                        : again(request, call, first, end))
                .thenCompose(stage -> stage);
    }

    private CompletionStage<Answer> route(Request request, NatsCall call) {
        if (request.path().equals("/v1/sessions")) {
            return listSessions(call);
        }
        if (request.path().startsWith("/v1/sessions/")) {
            return ofSession(request, call);
        }
        return anywhere(environment(request), request.method() + " " + request.path(), request, call);
    }

    /** Sends to a node that has the environment. If there is none, the answer of any node says what is wrong. */
    private CompletionStage<Answer> anywhere(String environment, String what, Request request, NatsCall call) {
        Supplier<CompletionStage<Answer>> anyNode = () -> call.ask(runs + "run", what, request);
        CompletionStage<Answer> first = environment == null ? anyNode.get()
                : orElse(call.ask(runs + "run." + environment, what, request), anyNode);
        return orElse(first, () -> CompletableFuture.failedFuture(noRoom()));
    }

    /** Asks a node that has room for this environment. The caller wants to know which one answers. */
    private CompletionStage<Answer> anyNode(String environment, NatsCall call) {
        return anywhere(environment, "GET /v1/environments", null, call);
    }

    private static PyExecutorOverloadedException noRoom() {
        return new PyExecutorOverloadedException("no node of the fleet has room, or there is none",
                "Check that `pyexec worker --nats URL` runs somewhere, or try again later. The code never started.", OVERLOADED_WAIT);
    }

    private static String environment(Request request) {
        for (String key : new String[] {"policy", "session_policy", "policy_defaults"}) {
            Object policy = request.object() == null ? null : request.object().get(key);
            Object name = policy instanceof Map<?, ?> map ? map.get("environment") : null;
            if (name instanceof String text && text.matches("[A-Za-z0-9_-]+")) {
                return text;
            }
        }
        return null;
    }

    /** Calls the other when nobody listened to the subject, so that nothing was started. */
    private static CompletionStage<Answer> orElse(CompletionStage<Answer> first, Supplier<CompletionStage<Answer>> other) {
        return first.exceptionallyCompose(failure -> cause(failure) instanceof NatsLink.NoResponders ? other.get()
                : CompletableFuture.failedFuture(cause(failure)));
    }

    static Throwable cause(Throwable failure) {
        return failure instanceof CompletionException && failure.getCause() != null ? failure.getCause() : failure;
    }

    // ---- Sessions ----

    private String nodeOf(String session) {
        synchronized (nodes) {
            return nodes.get(session);
        }
    }

    private void remember(String session, String node) {
        synchronized (nodes) {
            nodes.remove(session);
            if (node != null) {
                nodes.put(session, node);
            }
        }
    }

    private CompletionStage<Answer> ofSession(Request request, NatsCall call) {
        String session = request.path().split("/")[3];
        String known = nodeOf(session);
        CompletionStage<Answer> first = known != null ? atNode(request, session, known, call)
                : anyNode(environment(request), call).thenCompose(any -> any.status() >= 400 ? CompletableFuture.completedStage(any)
                        : atNode(request, session, any.node(), call));
        return first.thenCompose(answer -> answer.status() == 421 && answer.node() != null ? atNode(request, session, answer.node(), call)
                : CompletableFuture.completedStage(answer)).thenApply(answer -> noted(request, session, answer, known != null));
    }

    private Answer noted(Request request, String session, Answer answer, boolean known) {
        boolean gone = answer.status() == 410 || answer.status() == 421 || answer.status() == 404 && !known;
        remember(session, gone ? null : answer.node());
        if (request.path().endsWith("/fork") && answer.status() < 300) {
            ((List<?>) request.object().get("ids")).forEach(id -> remember((String) id, answer.node()));
        }
        return answer;
    }

    private CompletionStage<Answer> atNode(Request request, String session, String node, NatsCall call) {
        return atNode(request, session, node, call, true);
    }

    private CompletionStage<Answer> atNode(Request request, String session, String node, NatsCall call, boolean again) {
        String[] parts = request.path().split("/", 5);
        String what = request.method() + (parts.length > 4 ? " /" + parts[4] : "");
        return orElse(call.ask(subject(node, session), what, request), () -> findAgain(request, session, node, call, again));
    }

    private String subject(String node, String session) {
        return "pyexec.v1.node." + node + ".s." + link.principal + "." + token(session);
    }

    /** The node is gone, or it only connects to another NATS server. Any other node knows, and makes the fleet forget a session that is lost. */
    private CompletionStage<Answer> findAgain(Request request, String session, String node, NatsCall call, boolean again) {
        boolean had = node.equals(nodeOf(session));
        remember(session, null);
        PyExecutorException failure = had ? new PyExecutorException("session_lost", "the session was at node " + node + ", which is gone",
                "Its state is lost. The next call with its id makes a new session.") : noRoom();
        return anyNode(null, call)
                .thenCompose(any -> any.status() >= 400 ? CompletableFuture.completedStage(any) : call.ask(subject(any.node(), session), "GET", null))
                .handle((answer, other) -> answer)
                .thenCompose(answer -> {
                    if (answer != null && answer.status() == 410) {
                        return CompletableFuture.completedStage(answer);
                    }
                    boolean found = answer != null && again && (answer.status() == 200 || answer.status() == 421) && answer.node() != null;
                    return found ? atNode(request, session, answer.node(), call, false) : CompletableFuture.failedStage(failure);
                });
    }

    /** Asks all nodes. */
    private CompletionStage<Answer> listSessions(NatsCall call) {
        Set<String> known;
        synchronized (nodes) {
            known = new TreeSet<>(nodes.values());
        }
        return link.discover(known).thenCompose(all -> {
            List<CompletableFuture<Part>> asked = new ArrayList<>();
            for (String node : all) {
                asked.add(orElse(call.ask("pyexec.v1.node." + node + ".p." + link.principal, "GET /v1/sessions", null),
                        () -> CompletableFuture.completedStage(new Answer(204, null, "", node)))
                        .handle((answer, failure) -> new Part(node, answer, failure)).toCompletableFuture());
            }
            return CompletableFuture.allOf(asked.toArray(CompletableFuture<?>[]::new))
                    .thenApply(done -> joined(asked.stream().map(CompletableFuture::join).collect(Collectors.toList())));
        });
    }

    /** What a node has answered. Status 204: it has just ended, and its sessions with it. */
    private record Part(String node, Answer answer, Throwable failure) {
    }

    /** Joins the lists. "missing" names the nodes without one; if all are, their problem is thrown. */
    private Answer joined(List<Part> parts) {
        List<Object> sessions = new ArrayList<>();
        List<Object> missing = new ArrayList<>();
        PyExecutorException refusal = null;
        boolean found = false;
        for (Part part : parts) {
            try {
                found |= addTo(sessions, part);
            } catch (RuntimeException e) {
                refusal = e instanceof PyExecutorException known ? known : unreadable(e);
                boolean refused = part.answer != null && part.answer.status() >= 400;
                missing.add(Map.of("node", part.node, "status", refused ? part.answer.status() : 502, "title", refusal.getMessage()));
            }
        }
        if (refusal != null && !found) {
            throw refusal;
        }
        return new Answer(200, Json.write(Map.of("sessions", sessions, "missing", missing)).getBytes(StandardCharsets.UTF_8), "", null);
    }

    /** Returns whether the node has a list. */
    private boolean addTo(List<Object> sessions, Part part) {
        if (part.failure != null) {
            throw failure(cause(part.failure));
        }
        byte[] body = content(part.answer);
        if (part.answer.status() == 204) {
            return false;
        }
        if (!(answered(body).get("sessions") instanceof List<?> rows)) {
            throw unreadable(new IllegalArgumentException("it has no list of sessions"));
        }
        for (Object row : rows) {
            remember((String) ((Map<?, ?>) row).get("id"), part.node);
        }
        sessions.addAll(rows);
        return true;
    }

    // ---- The rest ----

    @Override
    boolean takesKeys() {
        return true;
    }

    @Override
    void check() throws InterruptedException {
        ask(new Request("GET", "/v1/environments", AT_ONCE));
    }

    @Override
    void close() {
        link.close();
    }

    @Override
    PyExecutorException failure(Throwable cause) {
        return cause instanceof TimeoutException ? new PyExecutorException("internal", url + ": request timed out", UNKNOWN, cause)
                : super.failure(cause);
    }
}

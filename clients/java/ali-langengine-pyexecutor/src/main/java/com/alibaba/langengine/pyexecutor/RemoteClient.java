// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import com.alibaba.langengine.pyexecutor.RemoteServer.Answer;
import com.alibaba.langengine.pyexecutor.RemoteServer.Request;
import java.nio.charset.StandardCharsets;
import java.nio.file.Paths;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Deque;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.locks.ReentrantLock;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * Runs scripts on a {@code pyexec serve}, or on a fleet. All executors with the same token share the sessions of one principal,
 * so each session id gets a prefix. It is random for this executor, or the same for several executors. Values of the policy that are defaults are
 * sent as {@code policy_defaults}, and the server lowers them to its ceiling. Changed values are sent as {@code policy}, and the
 * server refuses them above its ceiling.
 */
final class RemoteClient implements Transport {
    private static final Pattern PREFIX = Pattern.compile("[A-Za-z0-9._:-]+");
    private static final Duration SOON = Duration.ofSeconds(60);

    private final PyExecutionPolicy policy;
    private final RemoteServer server;
    private final Duration answerTimeout;
    private final String prefix;
    private final boolean ownsSessions;
    private final Set<Run> running = ConcurrentHashMap.newKeySet();
    private final ReentrantLock ordering = new ReentrantLock();
    /** The runs of each session, in order; the first one was sent. */
    private final Map<String, Deque<Run>> lines = new HashMap<>();
    private final Map<String, Long> ended = new ConcurrentHashMap<>();
    /** True after the policy had another timeout than the default. From then on each call of a session sends its
     * timeout. */
    private volatile boolean asksTimeout;
    private volatile boolean started;
    private volatile boolean hadSessions;
    private volatile boolean closed;

    RemoteClient(PyExecutionPolicy policy, SessionConfig sessions, RemoteServer server, HostConfig host) {
        if (sessions != null && sessions.hostRoot() != null
                && !sessions.hostRoot().equals(Paths.get(System.getProperty("java.io.tmpdir")).toAbsolutePath())) {
            throw new IllegalArgumentException("a workspace root is a folder of the machine that runs the scripts: set it on the server"
                    + " ([session] workspace_root), and read and write files by the methods of PyExecutor");
        }
        this.policy = policy;
        this.server = server;
        this.answerTimeout = host.getAnswerTimeout();
        this.ownsSessions = host.getSessionPrefix() == null;
        this.prefix = ownsSessions ? UUID.randomUUID().toString().substring(0, 8) + ":" : host.getSessionPrefix();
        if (!prefix.isEmpty() && !PREFIX.matcher(prefix).matches()) {
            throw new IllegalArgumentException("session prefix '" + prefix + "': use A-Z a-z 0-9 . _ : -");
        }
    }

    /** A run that waits for its answer. A run of a session is sent when the runs before it have their answers, which keeps the order. */
    private final class Run implements Pending<Answer> {
        private final String sessionId;
        private final Request request;
        private final ToolCalls tools;
        private final CompletableFuture<Answer> answer = new CompletableFuture<>();
        private volatile CompletableFuture<Answer> sent;

        Run(String sessionId, Request request, ToolCalls tools) {
            this.sessionId = sessionId;
            this.request = request;
            this.tools = tools;
            running.add(this);
            answer.whenComplete((response, failure) -> {
                running.remove(this);
                if (sessionId != null) {
                    leave(this);
                }
            });
        }

        void send() {
            if (closed) {
                answer.cancel(true);
            }
            if (answer.isDone()) {
                return;
            }
            sent = server.send(request, tools);
            sent.whenComplete((response, failure) -> {
                if (failure == null) {
                    answer.complete(response);
                } else {
                    answer.completeExceptionally(failure instanceof CompletionException ? failure.getCause() : failure);
                }
            });
            if (answer.isDone()) {
                sent.cancel(true);
            }
        }

        @Override
        public CompletableFuture<Answer> answer() {
            return answer;
        }

        @Override
        public Map<String, Object> decode(Answer response) {
            Map<String, Object> result = server.answered(server.content(response));
            if (result.get("status") instanceof Long) {     // an event "error": the HTTP status was sent before the error happened
                throw RemoteServer.failure(result, response);
            }
            ended.merge(String.valueOf(result.get("status")), 1L, Long::sum);
            return result;
        }

        @Override
        public RuntimeException failure(Throwable cause) {
            return server.failure(cause);
        }

        @Override
        public void cancel() {
            answer.cancel(true);
            CompletableFuture<Answer> going = sent;
            if (going != null) {
                going.cancel(true);
            }
        }
    }

    private void enter(Run run) {
        boolean first;
        ordering.lock();
        try {
            Deque<Run> line = lines.computeIfAbsent(run.sessionId, id -> new ArrayDeque<>());
            line.add(run);
            first = line.peek() == run;
        } finally {
            ordering.unlock();
        }
        if (first) {
            run.send();
        }
    }

    private void leave(Run run) {
        Run next;
        ordering.lock();
        try {
            Deque<Run> line = lines.get(run.sessionId);
            boolean first = line != null && line.peek() == run;
            if (line != null && line.remove(run) && line.isEmpty()) {
                lines.remove(run.sessionId);
            }
            next = first ? line.peek() : null;
        } finally {
            ordering.unlock();
        }
        if (next != null) {
            next.send();
        }
    }

    /** A run that waits for its session's turn is not executed when the session is closed. */
    private void dropWaiting(String sessionId) {
        List<Run> waiting;
        ordering.lock();
        try {
            waiting = new ArrayList<>(lines.getOrDefault(sessionId, new ArrayDeque<>()));
        } finally {
            ordering.unlock();
        }
        waiting.stream().filter(run -> run.sent == null).forEach(run -> run.answer.completeExceptionally(notFound(sessionId)));
    }

    /** Whether it says that there is no such session: it has ended, or its node of the fleet is gone. */
    static boolean isGone(PyExecutorException failure) {
        return "session_not_found".equals(failure.getCode()) || "session_lost".equals(failure.getCode());
    }

    private static PyExecutorException notFound(String sessionId) {
        return new PyExecutorException("session_not_found", "there is no session '" + sessionId + "'", "The first execute makes it.");
    }

    /** Without an environment, the server's own stays. With one, its limits stay where nobody sets others; packages have one too. */
    private static Map<String, Object> defaultsOf(Map<String, Object> map, boolean packages) {
        map.remove("allowed_environments");
        boolean none = map.remove("environment", "");
        return none && !packages ? map : PyExecutionPolicy.withoutDefaults(map);
    }

    @Override
    public Pending<?> run(String sessionId, Map<String, Object> request, boolean allowsOs, ToolCalls tools) {
        requireOpen();
        requireText((String) request.get("code"));
        String once = key((String) request.remove(Requests.KEY));
        Map<String, Object> defaults = new PyExecutionPolicy().toMap(null);
        Map<String, Object> now = policy.toMap(null);
        Map<String, Object> asked = new LinkedHashMap<>();
        now.forEach((key, value) -> {
            if (!Objects.equals(defaults.get(key), value)) {
                asked.put(key, value);
            }
        });
        if (sessionId != null && (asksTimeout || asked.containsKey("timeout_ms"))) {
            asksTimeout = true;
            request.putIfAbsent("timeout_ms", now.get("timeout_ms"));
        }
        boolean packages = request.containsKey("packages");
        request.put("policy_defaults", defaultsOf(policy.toMap(allowsOs ? "os" : null), packages));
        if (!asked.isEmpty()) {
            request.put(sessionId == null ? "policy" : "session_policy", asked);
        }
        Object limit = request.getOrDefault("timeout_ms", now.get("timeout_ms"));
        // While a run waits for a tool or its packages, its clock stands still. So it is not known how long its answer takes.
        Duration timeout = answerTimeout != null && tools == null && !packages && limit instanceof Long
                ? answerTimeout.plusMillis(Math.max(0, (Long) limit)) : null;
        String path = sessionId == null ? "/v1/execute" : path(sessionId) + "/execute";
        Run run = new Run(sessionId, Request.of(path, request, timeout, once), tools);
        started = true;
        if (sessionId == null) {
            run.send();
        } else {
            hadSessions = true;
            enter(run);
        }
        if (closed) {
            run.cancel();
        }
        return run;
    }

    @Override
    public boolean sharesFolders() {
        return false;
    }

    @Override
    public boolean isStarted() {
        return started;
    }

    @Override
    public void start() throws InterruptedException {
        requireOpen();
        server.check();
        started = true;
    }

    @Override
    public void interrupt(String sessionId) throws InterruptedException {
        ask(new Request("POST", path(sessionId) + "/interrupt", SOON));
    }

    @Override
    public void fork(String sessionId, List<String> ids) throws InterruptedException {
        try {
            ask(Request.of(path(sessionId) + "/fork", Map.of("ids", ids.stream().map(this::idOf).collect(Collectors.toList())), SOON));
        } catch (PyExecutorException e) {
            throw "conflict".equals(e.getCode()) ? new IllegalArgumentException(e.getMessage(), e) : e;
        }
    }

    @Override
    public Map<String, Object> undo(String sessionId, long to) throws InterruptedException {
        return server.answered(ask(Request.of(path(sessionId) + "/undo", to == 0 ? Map.of() : Map.of("to", to), SOON)));
    }

    @Override
    public Map<String, Object> reset(String sessionId) throws InterruptedException {
        return server.answered(ask(new Request("POST", path(sessionId) + "/reset", SOON)));
    }

    @Override
    public Map<String, Object> verify(Map<String, Object> request) throws InterruptedException {
        requireOpen();
        request.put("policy_defaults", defaultsOf(policy.toMap(null), false));
        String key = key((String) request.remove(Requests.KEY));
        return server.answered(server.ask(Request.of("/v1/verify", request, null, key)));
    }

    @Override
    public void closeSession(String sessionId) throws InterruptedException {
        dropWaiting(sessionId);
        ask(new Request("DELETE", path(sessionId), SOON));
    }

    @Override
    public void closeAll() throws InterruptedException {
        requireOpen();
        running.stream().map(run -> run.sessionId).filter(Objects::nonNull).distinct().forEach(this::dropWaiting);
        List<?> missing = closeSessions();
        if (!missing.isEmpty()) {
            throw new PyExecutorException("internal", "sessions of these nodes may still be there: " + Json.write(missing),
                    "All other sessions are closed. Call closeAll again when the nodes answer.");
        }
    }

    /** Returns the nodes that have not said which sessions they have. */
    private List<?> closeSessions() throws InterruptedException {
        Listed there = sessions();
        for (String id : there.ids) {
            try {
                server.ask(new Request("DELETE", "/v1/sessions/" + id, SOON));
            } catch (PyExecutorException e) {
                if (!isGone(e)) {
                    throw e;
                }
            }
        }
        return there.missing;
    }

    /**
     * @param ids as the server has them
     * @param missing the nodes of a fleet that have refused to list theirs, or did not answer
     */
    private record Listed(List<String> ids, List<?> missing) {
    }

    /** The sessions with this executor's prefix. */
    private Listed sessions() throws InterruptedException {
        byte[] answer = server.ask(new Request("GET", "/v1/sessions", RemoteServer.AT_ONCE));
        started = true;
        List<String> ids = new ArrayList<>();
        Map<String, Object> list = server.answered(answer);
        for (Object item : (List<?>) list.get("sessions")) {
            String id = (String) ((Map<?, ?>) item).get("id");
            if (id.startsWith(prefix)) {
                ids.add(id);
            }
        }
        return new Listed(ids, list.get("missing") instanceof List<?> missing ? missing : List.of());
    }

    @Override
    public Set<String> live(Collection<String> sessionIds) throws InterruptedException {
        Listed listed = sessions();
        Set<String> there = new HashSet<>(listed.ids);
        Set<String> live = sessionIds.stream().filter(id -> there.contains(idOf(id))).collect(Collectors.toSet());
        if (live.size() < Set.copyOf(sessionIds).size() && !listed.missing.isEmpty()) {
            throw new PyExecutorException("internal", "nodes have not said which sessions they have: " + Json.write(listed.missing), "Ask again.");
        }
        return live;
    }

    @Override
    public Process process() {
        return null;
    }

    @Override
    @SuppressWarnings("unchecked")
    public List<Map<String, Object>> listFiles(String sessionId) throws InterruptedException {
        return (List<Map<String, Object>>) server.answered(ask(new Request("GET", path(sessionId) + "/files", SOON))).get("files");
    }

    @Override
    public byte[] readFile(String sessionId, String path) throws InterruptedException {
        return askFile(new Request("GET", file(sessionId, path), SOON));
    }

    @Override
    public void writeFile(String sessionId, String path, byte[] content) throws InterruptedException {
        askFile(new Request("PUT", file(sessionId, path), null, content, SOON, null));
    }

    @Override
    public void deleteFile(String sessionId, String path) throws InterruptedException {
        askFile(new Request("DELETE", file(sessionId, path), SOON));
    }

    @Override
    public Map<String, Object> doctor() throws InterruptedException {
        requireOpen();
        Map<String, Object> found = new LinkedHashMap<>();
        found.put("ok", true);
        found.put("url", server.url);
        try {
            start();
        } catch (PyExecutorException e) {
            found.put("ok", false);
            found.put("code", e.getCode());
            found.put("error", e.getMessage());
        }
        return found;
    }

    @Override
    public Map<String, Object> stats() throws InterruptedException {
        requireOpen();
        Map<String, Object> stats = new LinkedHashMap<>();
        stats.put("executions", new LinkedHashMap<>(ended));
        Listed there = sessions();
        stats.put("sessions", (long) there.ids.size());
        if (!there.missing.isEmpty()) {
            stats.put("missing", there.missing);
        }
        stats.put("running", (long) running.size());
        return stats;
    }

    /** Ends the sessions that belong only to this executor; their runs are cancelled. For other runs the connection is closed. */
    @Override
    public void close() {
        if (closed) {
            return;
        }
        closed = true;
        running.stream().filter(run -> run.sessionId == null || run.sent == null || !ownsSessions).forEach(Run::cancel);
        try {
            if (ownsSessions && hadSessions) {
                closeSessions();
                CompletableFuture.allOf(running.stream().map(Run::answer).toArray(CompletableFuture<?>[]::new))
                        .get(RemoteServer.AT_ONCE.toSeconds(), TimeUnit.SECONDS);
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        } catch (ExecutionException | TimeoutException | RuntimeException e) {
            // The server does not answer, or not in time. Its sessions end by their TTL.
        }
        running.forEach(Run::cancel);
        server.close();
    }

    private String key(String key) {
        if (key != null && !server.takesKeys()) {
            throw Failures.noKeys();
        }
        if (key != null && !key.matches("[ -~]{1,128}")) {
            throw new IllegalArgumentException("key: it is not 1 to 128 characters of printable ASCII");
        }
        return key;
    }

    /** The server would refuse such JSON as a whole, without naming the bad value. */
    private static void requireText(String code) {
        int at = 0;
        for (int c; at < code.length(); at += Character.charCount(c)) {
            c = code.codePointAt(at);
            if (Character.MIN_SURROGATE <= c && c <= Character.MAX_SURROGATE) {
                throw new IllegalArgumentException("code: half of a surrogate pair at character " + at);
            }
        }
    }

    private void requireOpen() {
        if (closed) {
            throw Failures.closed();
        }
    }

    private byte[] ask(Request request) throws InterruptedException {
        requireOpen();
        byte[] content = server.ask(request);
        started = true;
        return content;
    }

    private byte[] askFile(Request request) throws InterruptedException {
        try {
            return ask(request);
        } catch (PyExecutorException e) {
            throw "not_found".equals(e.getCode()) ? new IllegalArgumentException(e.getMessage(), e) : e;
        }
    }

    private String path(String sessionId) {
        return "/v1/sessions/" + idOf(sessionId);
    }

    /** Returns the session's id on the server. */
    private String idOf(String sessionId) {
        String id = prefix + SessionIds.encode(sessionId, SessionIds.LENGTH_MAX - prefix.length());
        if (id.length() > SessionIds.LENGTH_MAX) {
            throw new IllegalArgumentException("session id '" + sessionId + "': with the prefix '" + prefix + "' it is longer than 128");
        }
        return id;
    }

    private String file(String sessionId, String path) {
        if (path.isEmpty()) {
            throw new IllegalArgumentException("path: empty");
        }
        StringBuilder out = new StringBuilder(path(sessionId)).append("/files/");
        for (byte b : path.getBytes(StandardCharsets.UTF_8)) {
            boolean plain = b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || "-_.~/".indexOf(b) >= 0;
            out.append(plain ? String.valueOf((char) b) : String.format("%%%02X", b & 0xff));
        }
        return out.toString();
    }
}

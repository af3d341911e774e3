// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.time.Duration;
import java.util.Base64;
import java.util.Collection;
import java.util.Collections;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Function;
import java.util.stream.Collectors;

/** The native process of an executor: started at the first call, and again when it has died. */
final class NativeClient implements Transport {
    private static final System.Logger LOG = System.getLogger("com.alibaba.langengine.pyexecutor");

    private final PyExecutionPolicy policy;
    private final Map<String, Object> sessionConfig;
    private final HostConfig host;
    private final ReentrantLock starting = new ReentrantLock();
    private volatile Connection current;
    private boolean closed;

    NativeClient(PyExecutionPolicy policy, SessionConfig sessionConfig, HostConfig host) {
        this.policy = policy;
        this.sessionConfig = sessionConfig == null ? Collections.singletonMap("enabled", false) : sessionConfig.toMap();
        this.host = host;
    }

    /** A process that has been initialised, and the policy that it got. */
    private static final class Connection {
        final NativeProcess process;
        final Map<String, Object> policy;

        Connection(NativeProcess process, Map<String, Object> policy) {
            this.process = process;
            this.policy = policy;
        }
    }

    /** A call that was sent. */
    private static final class Sent implements Pending<Map<String, Object>> {
        private final NativeProcess process;
        private final NativeProcess.Call call;

        Sent(NativeProcess process, NativeProcess.Call call) {
            this.process = process;
            this.call = call;
        }

        @Override
        public CompletableFuture<Map<String, Object>> answer() {
            return process.answer(call);
        }

        @Override
        public Map<String, Object> message() throws InterruptedException, ExecutionException {
            return process.await(call);
        }

        @Override
        public Map<String, Object> decode(Map<String, Object> message) {
            return resultOf(message);
        }

        @Override
        public RuntimeException failure(Throwable cause) {
            return new PyExecutorException("internal", cause.getMessage(),
                    "Whether this code was executed is not known. The next call starts a new process; its sessions begin anew.", cause);
        }

        @Override
        public boolean losesSession(Throwable cause) {
            return cause instanceof NativeProcess.ProcessEnded;
        }

        @Override
        public void cancel() {
            process.cancel(call);
        }
    }

    @Override
    public Pending<?> run(String sessionId, Map<String, Object> request, boolean allowsOs, ToolCalls tools) throws InterruptedException {
        refuseKey(request);
        return send(sessionId == null ? "execute_once" : "execute", base -> {
            Map<String, Object> changed = difference(base, policy.toMap(allowsOs ? "os" : null));
            if (sessionId != null) {
                request.put("session_id", sent(sessionId));
                request.put("session_policy", changed);
                request.putIfAbsent("timeout_ms", changed.getOrDefault("timeout_ms", base.get("timeout_ms")));
            } else if (!changed.isEmpty()) {
                request.put("policy", changed);
            }
            return request;
        }, tools);
    }

    @Override
    public boolean sharesFolders() {
        return true;
    }

    @Override
    public boolean isStarted() {
        return current != null;
    }

    @Override
    public void start() throws InterruptedException {
        call("ping", Collections.emptyMap());
    }

    @Override
    public void interrupt(String sessionId) throws InterruptedException {
        call("interrupt", Collections.singletonMap("session_id", sent(sessionId)));
    }

    @Override
    public void fork(String sessionId, List<String> ids) throws InterruptedException {
        call("fork_session", Map.of("session_id", sent(sessionId), "ids", ids.stream().map(NativeClient::sent).collect(Collectors.toList())));
    }

    @Override
    public Map<String, Object> undo(String sessionId, long to) throws InterruptedException {
        return call("undo", to == 0 ? Map.of("session_id", sent(sessionId)) : Map.of("session_id", sent(sessionId), "to", to));
    }

    @Override
    public Map<String, Object> reset(String sessionId) throws InterruptedException {
        return call("reset_session", Map.of("session_id", sent(sessionId)));
    }

    @Override
    public Map<String, Object> verify(Map<String, Object> request) throws InterruptedException {
        refuseKey(request);
        return send("verify", base -> {
            Map<String, Object> changed = difference(base, policy.toMap(null));
            if (!changed.isEmpty()) {
                request.put("policy", changed);
            }
            return request;
        }, null).await();
    }

    @Override
    public void closeSession(String sessionId) throws InterruptedException {
        call("close_session", Collections.singletonMap("session_id", sent(sessionId)));
    }

    @Override
    public void closeAll() throws InterruptedException {
        call("close_all", Collections.emptyMap());
    }

    @Override
    public Set<String> live(Collection<String> sessionIds) throws InterruptedException {
        Set<Object> there = new HashSet<>();
        ((List<?>) call("list_sessions", Collections.emptyMap()).get("sessions")).forEach(one -> there.add(((Map<?, ?>) one).get("id")));
        return sessionIds.stream().filter(id -> there.contains(sent(id))).collect(Collectors.toSet());
    }

    @Override
    public Process process() {
        Connection connection = current;
        return connection == null ? null : connection.process.process();
    }

    @Override
    @SuppressWarnings("unchecked")
    public List<Map<String, Object>> listFiles(String sessionId) throws InterruptedException {
        return (List<Map<String, Object>>) call("list_files", Collections.singletonMap("session_id", sent(sessionId))).get("files");
    }

    @Override
    public byte[] readFile(String sessionId, String path) throws InterruptedException {
        return Base64.getDecoder().decode((String) call("read_file", file(sessionId, path)).get("content_base64"));
    }

    @Override
    public void writeFile(String sessionId, String path, byte[] content) throws InterruptedException {
        Map<String, Object> params = file(sessionId, path);
        params.put("content_base64", Base64.getEncoder().encodeToString(content));
        call("write_file", params);
    }

    @Override
    public void deleteFile(String sessionId, String path) throws InterruptedException {
        call("delete_file", file(sessionId, path));
    }

    @Override
    public Map<String, Object> doctor() throws InterruptedException {
        return call("doctor", Collections.emptyMap());
    }

    @Override
    public Map<String, Object> stats() throws InterruptedException {
        return call("stats", Collections.emptyMap());
    }

    private static void refuseKey(Map<String, Object> request) {
        if (request.containsKey(Requests.KEY)) {
            throw Failures.noKeys();
        }
    }

    private static String sent(String sessionId) {
        return SessionIds.encode(sessionId, SessionIds.LENGTH_MAX);
    }

    private static Map<String, Object> file(String sessionId, String path) {
        Map<String, Object> params = new LinkedHashMap<>();
        params.put("session_id", sent(sessionId));
        params.put("path", path);
        return params;
    }

    private Map<String, Object> call(String method, Map<String, Object> params) throws InterruptedException {
        return send(method, base -> params, null).await();
    }

    /** Sends a request. Its text may depend on the policy that the process got when it was initialised. */
    private Sent send(String method, Function<Map<String, Object>, Map<String, Object>> params, ToolCalls tools) throws InterruptedException {
        Connection connection = connect();
        try {
            return new Sent(connection.process, connection.process.send(method, params.apply(connection.policy), tools));
        } catch (IOException e) {
            discard(connection);
        }
        connection = connect();
        try {
            return new Sent(connection.process, connection.process.send(method, params.apply(connection.policy), tools));
        } catch (IOException e) {
            throw new PyExecutorException("internal", connection.process.ending(), "The code never started.", e);
        }
    }

    /** The native process's id, for tests and messages. */
    long pid() throws InterruptedException {
        return connect().process.pid();
    }

    private Connection connect() throws InterruptedException {
        Connection connection = current;
        if (connection != null && !connection.process.hasEnded()) {
            return connection;
        }
        starting.lockInterruptibly();
        try {
            if (closed) {
                throw Failures.closed();
            }
            if (current == null || current.process.hasEnded()) {
                if (current != null) {
                    noteEnd(current);
                }
                current = null;
                current = open();
            }
            return current;
        } finally {
            starting.unlock();
        }
    }

    private void discard(Connection dead) {
        starting.lock();
        try {
            if (current == dead) {
                noteEnd(dead);
                current = null;
            }
        } finally {
            starting.unlock();
        }
        dead.process.close();
    }

    private static void noteEnd(Connection connection) {
        LOG.log(System.Logger.Level.WARNING, "{0}. It is started again; its sessions are gone.", connection.process.ending());
    }

    private Connection open() throws InterruptedException {
        NativeProgram program = NativeProgram.find(host.getExecutable());
        makeWorkspaceRoot();
        NativeProcess process = new NativeProcess(program);
        Map<String, Object> base = policy.toMap(null);
        Map<String, Object> params = new LinkedHashMap<>();
        params.put("protocol", 1);
        params.put("policy", PyExecutionPolicy.withoutDefaults(new LinkedHashMap<>(base)));
        params.put("session", sessionConfig);
        params.put("host", host.toMap());
        boolean done = false;
        try {
            new Sent(process, process.send("initialize", params, null)).await();
            done = true;
            LOG.log(System.Logger.Level.DEBUG, "Started the native program {0}, process {1}", program.path, String.valueOf(process.pid()));
            return new Connection(process, base);
        } catch (IOException e) {
            throw program.unusable(process.ending(), e);
        } catch (PyExecutorException e) {
            throw "sandbox_unavailable".equals(e.getCode()) ? withDoctor(program, e) : e;
        } finally {
            if (!done) {
                process.close();
            }
        }
    }

    /** Makes the folder and the folders above it, as the original did. */
    private void makeWorkspaceRoot() {
        Object root = sessionConfig.get("workspace_root");
        try {
            if (root != null) {
                Files.createDirectories(Paths.get((String) root));
            }
        } catch (IOException e) {
            throw new IllegalArgumentException("workspace root '" + root + "': " + e, e);
        }
    }

    /** Adds the output of `pyexec doctor`, which names each missing layer and how to get it. */
    private static PyExecutorException withDoctor(NativeProgram program, PyExecutorException failure) throws InterruptedException {
        try {
            Process doctor = program.command("doctor").redirectErrorStream(true).start();
            doctor.getOutputStream().close();
            String words = new String(doctor.getInputStream().readNBytes(16384), StandardCharsets.UTF_8);
            if (!doctor.waitFor(10, TimeUnit.SECONDS)) {
                doctor.destroyForcibly();
            }
            return new PyExecutorException(failure, "pyexec doctor:\n" + words.trim());
        } catch (IOException e) {
            return failure;
        }
    }

    @Override
    public void close() {
        Connection last;
        starting.lock();
        try {
            closed = true;
            last = current;
            current = null;
        } finally {
            starting.unlock();
        }
        if (last != null) {
            last.process.close();
        }
    }

    /** Returns the members of `now` that differ from `base`. Both have the same keys. */
    private static Map<String, Object> difference(Map<String, Object> base, Map<String, Object> now) {
        Map<String, Object> changed = new LinkedHashMap<>();
        now.forEach((key, value) -> {
            if (!Objects.equals(base.get(key), value)) {
                changed.put(key, value);
            }
        });
        return changed;
    }

    @SuppressWarnings("unchecked")
    private static Map<String, Object> resultOf(Map<String, Object> message) {
        Map<String, Object> error = (Map<String, Object>) message.get("error");
        if (error == null) {
            return (Map<String, Object>) message.get("result");
        }
        Map<String, Object> data = (Map<String, Object>) error.get("data");
        if (data == null) {
            throw new PyExecutorException("internal", "pyexec rpc: " + error.get("message"), null);
        }
        Object retry = data.get("retry_after_ms");
        throw Failures.of((String) data.get("code"), (String) data.get("message"), (String) data.get("hint"),
                Duration.ofMillis(retry == null ? 100 : ((Number) retry).longValue()));
    }
}

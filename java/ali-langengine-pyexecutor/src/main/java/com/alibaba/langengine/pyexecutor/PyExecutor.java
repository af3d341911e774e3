package com.alibaba.langengine.pyexecutor;

import java.io.IOException;
import java.lang.ref.Cleaner;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.util.Base64;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.Consumer;

/**
 * Runs Python that nobody has reviewed, each script in a process of its own behind the kernel's walls.
 *
 * <p>It starts one native process, {@code pyexec rpc}, at the first call, and starts another should that one die.
 * All methods may be called from any number of threads; calls of one session run one after another, others at once.
 * Interrupting a thread that waits for an execution cancels the execution. When the JVM ends, in whatever way,
 * everything below it ends too.
 */
public class PyExecutor implements AutoCloseable {
    private static final Cleaner CLEANER = Cleaner.create();

    private final PyExecutionPolicy policy;
    private final boolean sessionsEnabled;
    private final NativeClient client;
    private final Cleaner.Cleanable cleanable;
    private final List<Consumer<PyExecutionResult>> listeners = new CopyOnWriteArrayList<>();

    /**
     * An executor without sessions.
     *
     * @param policy what scripts may do, read at each call; null: the defaults
     */
    public PyExecutor(PyExecutionPolicy policy) {
        this(policy, null);
    }

    /**
     * An executor with sessions.
     *
     * @param policy what scripts may do, read at each single run and at each session's creation; null: the defaults
     * @param sessionConfig how sessions are kept; null: no sessions
     */
    public PyExecutor(PyExecutionPolicy policy, SessionConfig sessionConfig) {
        this(policy, sessionConfig, null);
    }

    /**
     * An executor with all its settings.
     *
     * @param policy what scripts may do, read at each single run and at each session's creation; null: the defaults
     * @param sessionConfig how sessions are kept; null: no sessions
     * @param hostConfig what concerns this machine; null: the defaults
     */
    public PyExecutor(PyExecutionPolicy policy, SessionConfig sessionConfig, HostConfig hostConfig) {
        this.policy = policy == null ? new PyExecutionPolicy() : policy;
        this.sessionsEnabled = sessionConfig != null && sessionConfig.isEnabled();
        Map<String, Object> sessions = sessionConfig == null ? Collections.singletonMap("enabled", false) : sessionConfig.toMap();
        this.client = new NativeClient(this.policy, sessions, hostConfig == null ? new HostConfig() : hostConfig);
        this.cleanable = CLEANER.register(this, client::close);
    }

    /**
     * Runs code in a process of its own, which keeps nothing.
     *
     * @param code Python
     * @param options of this run; null: none
     * @return its result, whatever its status is but timeout
     * @throws PyExecutionTimeoutException when the run reached its wall-clock limit
     * @throws IllegalArgumentException when code or options can't be
     * @throws PyExecutorOverloadedException when too many calls wait; the code never started
     * @throws PyExecutorException when the host can't run it
     * @throws InterruptedException when this thread was interrupted; the run is cancelled
     * @throws Exception one of these
     */
    public PyExecutionResult executeOnce(String code, PyExecutionOptions options) throws Exception {
        Objects.requireNonNull(code, "code");
        return result(client.send("execute_once", base -> single(code, options, base)).await(), null);
    }

    /**
     * Runs code in a session, which keeps its variables. The first call with an id creates its session.
     *
     * @param sessionId 1 to 128 of {@code A-Z a-z 0-9 . _ : -}
     * @param code Python
     * @param options of this call; null: none
     * @return its result, whatever its status is but timeout
     * @throws IllegalStateException when sessions are off
     * @throws PyExecutionTimeoutException when the call reached its wall-clock limit
     * @throws IllegalArgumentException when id, code or options can't be
     * @throws PyExecutorOverloadedException when too many calls wait; the code never started
     * @throws PyExecutorException when the host can't run it
     * @throws InterruptedException when this thread was interrupted; the call is cancelled
     * @throws Exception one of these
     */
    public PyExecutionResult execute(String sessionId, String code, PyExecutionOptions options) throws Exception {
        requireSession(sessionId, code);
        NativeClient.Pending pending = client.send("execute", base -> inSession(sessionId, code, options, base));
        try {
            return result(pending.await(), sessionId);
        } catch (PyExecutorException e) {
            noteLoss(e, sessionId);
            throw e;
        }
    }

    /**
     * {@link #executeOnce(String, PyExecutionOptions)} without waiting. Cancelling the future cancels the run.
     *
     * @param code Python
     * @param options of this run; null: none
     * @return the result, or one of the exceptions of executeOnce
     */
    public CompletableFuture<PyExecutionResult> executeOnceAsync(String code, PyExecutionOptions options) {
        Objects.requireNonNull(code, "code");
        return async(null, () -> client.send("execute_once", base -> single(code, options, base)));
    }

    /**
     * {@link #execute(String, String, PyExecutionOptions)} without waiting. Cancelling the future cancels the call.
     *
     * @param sessionId the session
     * @param code Python
     * @param options of this call; null: none
     * @return the result, or one of the exceptions of execute
     */
    public CompletableFuture<PyExecutionResult> executeAsync(String sessionId, String code, PyExecutionOptions options) {
        requireSession(sessionId, code);
        return async(sessionId, () -> client.send("execute", base -> inSession(sessionId, code, options, base)));
    }

    /**
     * Stops the running call of a session as Ctrl-C would; its state is kept.
     *
     * @param sessionId the session
     */
    public void interrupt(String sessionId) {
        Objects.requireNonNull(sessionId, "sessionId");
        call("interrupt", Collections.singletonMap("session_id", sessionId));
    }

    /**
     * Ends a session and removes what is its own. A running call ends as cancelled. Nothing happens when there is none.
     *
     * @param sessionId the session
     */
    public void closeSession(String sessionId) {
        Objects.requireNonNull(sessionId, "sessionId");
        if (!client.isStarted()) {
            return;
        }
        try {
            call("close_session", Collections.singletonMap("session_id", sessionId));
        } catch (PyExecutorException e) {
            if (!"session_not_found".equals(e.getCode())) {
                throw e;
            }
        }
    }

    /** Ends all sessions. The executor can be used further. */
    public void closeAll() {
        if (client.isStarted()) {
            call("close_all", Collections.emptyMap());
        }
    }

    /**
     * The files of a session's workspace.
     *
     * @param sessionId the session
     * @return for each its {@code path} and {@code bytes}
     */
    @SuppressWarnings("unchecked")
    public List<Map<String, Object>> listFiles(String sessionId) {
        return (List<Map<String, Object>>) call("list_files", Collections.singletonMap("session_id", sessionId)).get("files");
    }

    /**
     * Reads a file of a session's workspace.
     *
     * @param sessionId the session
     * @param path relative to the workspace
     * @return what is in it
     */
    public byte[] readFile(String sessionId, String path) {
        return Base64.getDecoder().decode((String) call("read_file", file(sessionId, path)).get("content_base64"));
    }

    /**
     * Writes a file into a session's workspace.
     *
     * @param sessionId the session, which has had a call
     * @param path relative to the workspace
     * @param content of the file
     */
    public void writeFile(String sessionId, String path, byte[] content) {
        Map<String, Object> params = file(sessionId, path);
        params.put("content_base64", Base64.getEncoder().encodeToString(content));
        call("write_file", params);
    }

    /**
     * Deletes a file of a session's workspace.
     *
     * @param sessionId the session
     * @param path relative to the workspace
     */
    public void deleteFile(String sessionId, String path) {
        call("delete_file", file(sessionId, path));
    }

    /** Starts the native process now, so that what is missing on this machine shows. Else the first call does. */
    public void start() {
        call("ping", Collections.emptyMap());
    }

    /**
     * Which layers hold on this machine, what is missing, and how to get it.
     *
     * @return what {@code pyexec doctor --json} prints: {@code ok}, {@code layers}, {@code python} and more
     */
    public Map<String, Object> doctor() {
        return call("doctor", Collections.emptyMap());
    }

    /**
     * What this executor has done since its process started.
     *
     * @return {@code executions} by status, {@code sessions}, {@code running}, {@code queued} and more
     */
    public Map<String, Object> stats() {
        return call("stats", Collections.emptyMap());
    }

    /** @return whether the native process was started */
    public boolean isStarted() {
        return client.isStarted();
    }

    /**
     * Has each result told, timeouts included, before the caller gets it.
     *
     * @param listener is called on the calling thread, or for futures on that of {@link CompletableFuture}
     */
    public void addResultListener(Consumer<PyExecutionResult> listener) {
        listeners.add(Objects.requireNonNull(listener, "listener"));
    }

    /** Ends the native process with all sessions; what runs is cancelled. Later calls fail. */
    @Override
    public void close() {
        cleanable.clean();
    }

    NativeClient client() {
        return client;
    }

    private interface Sending {
        NativeClient.Pending send() throws InterruptedException;
    }

    private void requireSession(String sessionId, String code) {
        Objects.requireNonNull(sessionId, "sessionId");
        Objects.requireNonNull(code, "code");
        if (!sessionsEnabled) {
            throw new IllegalStateException("session mode not enabled");
        }
    }

    private Map<String, Object> call(String method, Map<String, Object> params) {
        try {
            return client.send(method, base -> params).await();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new PyExecutorException("internal", method + ": interrupted", null, e);
        }
    }

    private static Map<String, Object> file(String sessionId, String path) {
        Map<String, Object> params = new LinkedHashMap<>();
        params.put("session_id", Objects.requireNonNull(sessionId, "sessionId"));
        params.put("path", Objects.requireNonNull(path, "path"));
        return params;
    }

    private CompletableFuture<PyExecutionResult> async(String sessionId, Sending sending) {
        NativeClient.Pending pending;
        try {
            pending = sending.send();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return CompletableFuture.failedFuture(e);
        } catch (PyExecutorException | IllegalArgumentException e) {
            return CompletableFuture.failedFuture(e);
        }
        CompletableFuture<PyExecutionResult> future = new CompletableFuture<>() {
            @Override
            public boolean cancel(boolean mayInterruptIfRunning) {
                boolean cancelled = super.cancel(mayInterruptIfRunning);
                if (cancelled) {
                    pending.cancel();
                }
                return cancelled;
            }
        };
        // Not on the thread that reads the answers: what follows is the caller's.
        pending.call.answer.whenCompleteAsync((message, failure) -> {
            try {
                if (failure != null) {
                    throw NativeClient.failure(failure instanceof CompletionException ? failure.getCause() : failure);
                }
                future.complete(result(NativeClient.resultOf(message), sessionId));
            } catch (PyExecutionTimeoutException | RuntimeException e) {
                if (e instanceof PyExecutorException && sessionId != null) {
                    noteLoss((PyExecutorException) e, sessionId);
                }
                future.completeExceptionally(e);
            }
        });
        return future;
    }

    private PyExecutionResult result(Map<String, Object> map, String sessionId) throws PyExecutionTimeoutException {
        String restarted = sessionId == null ? null : client.sessions().answered(sessionId);
        PyExecutionResult result = new PyExecutionResult(map, restarted);
        listeners.forEach(listener -> listener.accept(result));
        if (result.getStatus() == PyExecutionResult.Status.TIMEOUT) {
            throw new PyExecutionTimeoutException(result);
        }
        return result;
    }

    private void noteLoss(PyExecutorException failure, String sessionId) {
        if (failure.getCause() instanceof NativeProcess.ProcessEnded) {
            client.sessions().loseOne(sessionId);
        }
    }

    private Map<String, Object> single(String code, PyExecutionOptions options, Map<String, Object> base) {
        boolean hasEnv = options != null && !options.getExtraEnv().isEmpty();
        Map<String, Object> params = request(code, options);
        Map<String, Object> changed = NativeClient.difference(base, policy.toMap(hasEnv ? "os" : null));
        if (!changed.isEmpty()) {
            params.put("policy", changed);
        }
        Path folder = options == null || policy.isDisableOpen() ? null : existingFolder(options.getWorkingDirRelative());
        if (folder != null) {
            params.put("workspace", folder.toString());
            params.remove("working_dir");
        }
        return params;
    }

    private Map<String, Object> inSession(String sessionId, String code, PyExecutionOptions options, Map<String, Object> base) {
        Map<String, Object> params = request(code, options);
        params.put("session_id", sessionId);
        params.put("session_policy", NativeClient.difference(base, policy.toMap("os")));
        return params;
    }

    private static Map<String, Object> request(String code, PyExecutionOptions options) {
        Map<String, Object> params = new LinkedHashMap<>();
        params.put("code", code);
        if (options == null) {
            return params;
        }
        if (!isBlank(options.getWorkingDirRelative())) {
            params.put("working_dir", options.getWorkingDirRelative());
        }
        if (!options.getExtraEnv().isEmpty()) {
            params.put("env", options.getExtraEnv());
        }
        if (options.getPrintLastExpression() != null) {
            params.put("print_last_expression", options.getPrintLastExpression());
        }
        if (options.getTimeout() != null) {
            params.put("timeout_ms", options.getTimeout().toMillis());
        }
        if (options.getStdin() != null) {
            params.put("stdin", options.getStdin());
        }
        if (!options.getFiles().isEmpty()) {
            Map<String, Object> files = new LinkedHashMap<>();
            options.getFiles().forEach((path, content) -> files.put(path,
                    Collections.singletonMap("base64", Base64.getEncoder().encodeToString(content))));
            params.put("files", files);
        }
        if (!options.getReturnFiles().isEmpty()) {
            params.put("return_files", options.getReturnFiles());
        }
        return params;
    }

    private static boolean isBlank(String text) {
        return text == null || text.trim().isEmpty();
    }

    /** The folder below java.io.tmpdir that a working directory names, or null. What names the whole of it is not meant. */
    private static Path existingFolder(String relative) {
        if (isBlank(relative) || Paths.get(relative).isAbsolute() || Paths.get(relative).normalize().toString().isEmpty()) {
            return null;
        }
        Path temporary = Paths.get(System.getProperty("java.io.tmpdir"));
        Path folder = temporary.resolve(relative);
        if (relative.matches("(.*/)?\\.\\.(/.*)?") || !Files.isDirectory(folder)) {
            return null;
        }
        try {
            Path real = folder.toRealPath();
            if (!real.startsWith(temporary.toRealPath())) {
                throw new IllegalArgumentException("outside sandbox: '" + relative + "' leads out of " + temporary);
            }
            return real;
        } catch (IOException e) {
            throw new IllegalArgumentException("working directory '" + relative + "': " + e, e);
        }
    }
}

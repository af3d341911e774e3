// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import java.lang.ref.Cleaner;
import java.time.Duration;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * Runs Python that nobody has reviewed, each script in its own process, which the kernel isolates.
 *
 * <p>It starts one native process, {@code pyexec rpc}, at the first call, and another one if that process dies. With a URL
 * ({@link HostConfig#setUrl}) it uses the {@code pyexec serve} there instead. Any number of threads may call all methods. Calls of
 * one session run one after another, other calls at the same time. Interrupting a thread that waits for an execution cancels the
 * execution. When the JVM ends or is killed, all processes below it end too.
 */
public class PyExecutor implements AutoCloseable {
    private static final Cleaner CLEANER = Cleaner.create();
    private static final System.Logger LOG = System.getLogger("com.alibaba.langengine.pyexecutor");

    private static final int FORK_MAX = 1000;

    private final PyExecutionPolicy policy;
    private final boolean sessionsEnabled;
    private final Transport transport;
    private final SessionMemory sessions = new SessionMemory();
    private final Cleaner.Cleanable cleanable;
    private final Listeners listeners = new Listeners();
    private final AsyncExecutor asyncExecutor;
    private final Duration retryOverloaded;
    private final Supplier<Map<String, String>> traceContext;

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
     * @param hostConfig the settings of this machine; null: the defaults
     */
    public PyExecutor(PyExecutionPolicy policy, SessionConfig sessionConfig, HostConfig hostConfig) {
        this.policy = policy == null ? new PyExecutionPolicy() : policy;
        this.sessionsEnabled = sessionConfig != null && sessionConfig.isEnabled();
        HostConfig host = hostConfig == null ? new HostConfig() : hostConfig;
        this.asyncExecutor = new AsyncExecutor(host.getAsyncExecutor());
        this.retryOverloaded = host.getRetryOverloaded();
        this.traceContext = host.getTraceContext() == null ? () -> null : host.getTraceContext();
        RemoteServer server = RemoteServer.find(host, asyncExecutor);
        this.transport = server == null ? new NativeClient(this.policy, sessionConfig, host)
                : new RemoteClient(this.policy, sessionConfig, server, host);
        this.cleanable = CLEANER.register(this, closing(transport, asyncExecutor));
    }

    /** It must not have a reference to the executor, because then the garbage collector would never free the executor. */
    private static Runnable closing(Transport transport, AsyncExecutor asyncExecutor) {
        return () -> {
            transport.close();
            asyncExecutor.close();
        };
    }

    /**
     * Runs code in a new process, which keeps nothing.
     *
     * @param code Python
     * @param options of this run; null: none
     * @return its result, with any status except timeout
     * @throws PyExecutionTimeoutException when the run reached its wall-clock limit
     * @throws IllegalArgumentException when code or options are not valid
     * @throws PyExecutorOverloadedException when too many calls wait; the code never started
     * @throws PyExecutorException when the host can't run it
     * @throws InterruptedException when this thread was interrupted; the run is cancelled
     * @throws Exception one of these
     */
    public PyExecutionResult executeOnce(String code, PyExecutionOptions options) throws Exception {
        Objects.requireNonNull(code, "code");
        Map<String, String> trace = traceContext.get();
        return run(null, () -> single(code, options, trace));
    }

    /**
     * Runs code in a session, which keeps its variables. The first call with an id creates its session.
     *
     * @param sessionId any text. A text that is not 1 to 128 of {@code A-Z a-z 0-9 . _ : -} is encoded: see {@code docs/java.md}
     * @param code Python
     * @param options of this call; null: none
     * @return its result, with any status except timeout
     * @throws IllegalStateException when sessions are off
     * @throws PyExecutionTimeoutException when the call reached its wall-clock limit
     * @throws IllegalArgumentException when id, code or options are not valid
     * @throws PyExecutorOverloadedException when too many calls wait; the code never started
     * @throws PyExecutorException when the host can't run it
     * @throws InterruptedException when this thread was interrupted; the call is cancelled
     * @throws Exception one of these
     */
    public PyExecutionResult execute(String sessionId, String code, PyExecutionOptions options) throws Exception {
        requireSession(sessionId, code);
        Map<String, String> trace = traceContext.get();
        return run(sessionId, () -> inSession(sessionId, code, options, trace));
    }

    /**
     * {@link #executeOnce(String, PyExecutionOptions)} without waiting. Cancelling the future interrupts the
     * script, and kills it if it continues.
     *
     * @param code Python
     * @param options of this run; null: none
     * @return the result, or one of the exceptions of executeOnce
     */
    public CompletableFuture<PyExecutionResult> executeOnceAsync(String code, PyExecutionOptions options) {
        Objects.requireNonNull(code, "code");
        Map<String, String> trace = traceContext.get();
        return async(null, () -> single(code, options, trace));
    }

    /**
     * {@link #execute(String, String, PyExecutionOptions)} without waiting. Cancelling the
     * future interrupts the script, and kills it if it continues.
     *
     * @param sessionId the session
     * @param code Python
     * @param options of this call; null: none
     * @return the result, or one of the exceptions of execute
     */
    public CompletableFuture<PyExecutionResult> executeAsync(String sessionId, String code, PyExecutionOptions options) {
        requireSession(sessionId, code);
        Map<String, String> trace = traceContext.get();
        return async(sessionId, () -> inSession(sessionId, code, options, trace));
    }

    /**
     * Makes new sessions that go on from the state of a session, which stays as it is ({@code docs/branches.md}). It needs the
     * policy {@link PyExecutionPolicy#setForkable forkable}. None of its calls may run or wait. If one session can't be made,
     * none is.
     *
     * @param sessionId the session
     * @param count how many, 1 to 1000
     * @return the ids of the new sessions, which are made up
     * @throws IllegalStateException when sessions are off
     * @throws IllegalArgumentException when the count is not from 1 to 1000
     * @throws PyExecutorException with the code session_busy, session_not_forkable, session_not_found, session_limit or another one
     */
    public List<String> fork(String sessionId, int count) {
        if (count < 1 || count > FORK_MAX) {
            throw new IllegalArgumentException("count " + count + ": make 1 to " + FORK_MAX + " sessions at once");
        }
        Objects.requireNonNull(sessionId, "sessionId");
        return fork(sessionId, Stream.generate(() -> sessionId + "." + UUID.randomUUID().toString().substring(24)).limit(count)
                .collect(Collectors.toList()));
    }

    /**
     * {@link #fork(String, int)} with ids for the new sessions.
     *
     * @param sessionId the session
     * @param ids of the new sessions, any texts
     * @return the same ids
     * @throws IllegalStateException when sessions are off
     * @throws IllegalArgumentException when there are no ids or more than 1000, or when there is a session with one of them
     * @throws PyExecutorException with the code session_busy, session_not_forkable, session_not_found, session_limit or another one
     */
    public List<String> fork(String sessionId, Collection<String> ids) {
        requireSession(sessionId, "");
        List<String> made = List.copyOf(ids);
        OverloadRetry retry = new OverloadRetry(retryOverloaded);
        call(() -> {
            while (true) {
                try {
                    transport.fork(sessionId, made);
                    return null;
                } catch (PyExecutorOverloadedException e) {
                    long wait = retry.waitNanos(e);
                    if (wait < 0) {
                        throw e;
                    }
                    TimeUnit.NANOSECONDS.sleep(wait);
                }
            }
        });
        made.forEach(sessions::note);
        return made;
    }

    /**
     * Returns a session to the state before its last call for which a state is kept: variables and files
     * ({@code docs/branches.md}). Calls keep states with the policy {@link PyExecutionPolicy#setAutoCheckpoint auto_checkpoint}, or
     * with {@link PyExecutionOptions#setCheckpoint}.
     *
     * @param sessionId the session
     * @return the call before which the session is now, and those before which it can still go back
     * @throws IllegalStateException when sessions are off
     * @throws IllegalArgumentException when no state is kept
     * @throws PyExecutorException with the code session_busy, session_not_found or another one
     */
    public Undone undo(String sessionId) {
        return undoTo(sessionId, 0);
    }

    /**
     * {@link #undo(String)} to the state before a call.
     *
     * @param sessionId the session
     * @param to the execution count of the call, from 1 on
     * @return the call before which the session is now, and those before which it can still go back
     * @throws IllegalStateException when sessions are off
     * @throws IllegalArgumentException when the state before this call is not kept
     * @throws PyExecutorException with the code session_busy, session_not_found or another one
     */
    public Undone undo(String sessionId, long to) {
        if (to < 1) {
            throw new IllegalArgumentException("to " + to + ": give the execution count of a call, from 1 on");
        }
        return undoTo(sessionId, to);
    }

    /**
     * Returns a session to the state before its first call, if that call has kept it.
     *
     * @param sessionId the session
     * @return the call before which the session is now, and those before which it can still go back
     * @throws IllegalStateException when sessions are off
     * @throws IllegalArgumentException when this state is not kept
     * @throws PyExecutorException with the code session_busy, session_not_found or another one
     */
    public Undone reset(String sessionId) {
        requireSession(sessionId, "");
        return undone(call(() -> transport.reset(sessionId)));
    }

    private Undone undoTo(String sessionId, long to) {
        requireSession(sessionId, "");
        return undone(call(() -> transport.undo(sessionId, to)));
    }

    private static Undone undone(Map<String, Object> answer) {
        return new Undone(((Number) answer.get("to")).longValue(), ((List<?>) answer.get("checkpoints")).stream()
                .map(count -> ((Number) count).longValue()).collect(Collectors.toList()));
    }

    /**
     * Runs a solution against many tests, each in a fork of it ({@code docs/verify.md}). What a test expects is compared outside the
     * sandbox. Interrupting this thread cancels the tests.
     *
     * @param solution Python
     * @param tests for each {@code stdin} and {@code expect_stdout}; or {@code call}, {@code args}, {@code kwargs} and {@code expect};
     *     or {@code code}
     * @param settings {@code compare}, {@code stop_on_fail}, {@code each} and {@code output_bytes}; null: none
     * @param options of the solution and of each test; null: none
     * @return {@code passed}, {@code summary}, {@code solution} and {@code tests}
     * @throws IllegalArgumentException when the solution, a test or a setting is not valid
     * @throws PyExecutorException when the host can't run it
     */
    public Map<String, Object> verify(String solution, List<? extends Map<String, ?>> tests, Map<String, ?> settings, PyExecutionOptions options) {
        Objects.requireNonNull(solution, "solution");
        Objects.requireNonNull(tests, "tests");
        Map<String, Object> request = Requests.of(solution, options, traceContext.get());
        request.put("solution", request.remove("code"));
        request.put("tests", tests);
        if (settings != null) {
            request.putAll(settings);
        }
        return call(() -> transport.verify(request));
    }

    /**
     * Stops the running call of a session as Ctrl-C would; its state is kept.
     *
     * @param sessionId the session
     */
    public void interrupt(String sessionId) {
        Objects.requireNonNull(sessionId, "sessionId");
        call(() -> {
            transport.interrupt(sessionId);
            return null;
        });
    }

    /**
     * Ends a session and removes its processes and files. A running call ends as cancelled. Nothing happens when there is none.
     *
     * @param sessionId the session
     */
    public void closeSession(String sessionId) {
        if (!sessionsEnabled) {
            return;
        }
        Objects.requireNonNull(sessionId, "sessionId");
        if (!transport.isStarted()) {
            return;
        }
        sessions.forget(sessionId);
        try {
            call(() -> {
                transport.closeSession(sessionId);
                return null;
            });
        } catch (PyExecutorException e) {
            if (!RemoteClient.isGone(e)) {
                throw e;
            }
        }
    }

    /** Ends all sessions. The executor can be used further. */
    public void closeAll() {
        if (transport.isStarted()) {
            sessions.forgetAll();
            call(() -> {
                transport.closeAll();
                return null;
            });
        }
    }

    /**
     * The files of a session's workspace.
     *
     * @param sessionId the session
     * @return for each its {@code path} and {@code bytes}
     */
    public List<Map<String, Object>> listFiles(String sessionId) {
        Objects.requireNonNull(sessionId, "sessionId");
        return call(() -> transport.listFiles(sessionId));
    }

    /**
     * Reads a file of a session's workspace.
     *
     * @param sessionId the session
     * @param path relative to the workspace
     * @return its content
     */
    public byte[] readFile(String sessionId, String path) {
        requireFile(sessionId, path);
        return call(() -> transport.readFile(sessionId, path));
    }

    /**
     * Writes a file into a session's workspace.
     *
     * @param sessionId the session, which has had a call
     * @param path relative to the workspace
     * @param content of the file
     */
    public void writeFile(String sessionId, String path, byte[] content) {
        requireFile(sessionId, path);
        Objects.requireNonNull(content, "content");
        call(() -> {
            transport.writeFile(sessionId, path, content);
            return null;
        });
    }

    /**
     * Deletes a file of a session's workspace.
     *
     * @param sessionId the session
     * @param path relative to the workspace
     */
    public void deleteFile(String sessionId, String path) {
        requireFile(sessionId, path);
        call(() -> {
            transport.deleteFile(sessionId, path);
            return null;
        });
    }

    /** Starts the native process now, or asks the server, so that problems show now and not at the first call. */
    public void start() {
        call(() -> {
            transport.start();
            return null;
        });
    }

    /**
     * Returns the layers that this machine has, the missing ones, and how to get them.
     *
     * @return the output of {@code pyexec doctor --json}: {@code ok}, {@code layers}, {@code python} and more; of a server
     *     {@code ok} (true if it accepts work and this token), {@code url}, and when not ok {@code code} and {@code error}
     */
    public Map<String, Object> doctor() {
        return call(transport::doctor);
    }

    /**
     * Counts what this executor has done since its process started.
     *
     * @return {@code executions} by status, {@code sessions}, {@code running}, {@code queued} and more; with a server the
     *     first three, where {@code running} counts those that wait there too, and {@code missing}: the nodes of a fleet whose
     *     sessions are not counted, because they refused or did not answer
     */
    public Map<String, Object> stats() {
        return call(transport::stats);
    }

    /** @return whether the native process was started, or the server has answered */
    public boolean isStarted() {
        return transport.isStarted();
    }

    /**
     * Calls a listener with each result, also that of a timeout, before the caller gets it.
     *
     * @param listener is called on the calling thread, or for futures on one of {@link HostConfig#setAsyncExecutor}.
     *     Its exceptions are logged
     */
    public void addResultListener(Consumer<PyExecutionResult> listener) {
        Objects.requireNonNull(listener, "listener");
        addListener(sessionId -> end -> {
            if (end.result() != null) {
                listener.accept(end.result());
            }
        });
    }

    /**
     * Calls a listener at the start and the end of each execution, also when the host failed.
     *
     * @param listener is told
     */
    public void addListener(PyExecutionListener listener) {
        listeners.add(Objects.requireNonNull(listener, "listener"));
    }

    /**
     * Ends the native process with all sessions, or on a server all sessions that belong only to this executor. Runs in progress
     * are cancelled. Later calls fail.
     */
    @Override
    public void close() {
        cleanable.clean();
    }

    Transport transport() {
        return transport;
    }

    /** Returns those of the ids whose sessions exist. */
    Set<String> liveSessions(Collection<String> ids) {
        return ids.isEmpty() || !transport.isStarted() ? Set.of() : call(() -> transport.live(ids));
    }

    private interface Call<T> {
        T make() throws InterruptedException;
    }

    private void requireSession(String sessionId, String code) {
        if (!sessionsEnabled) {
            throw new IllegalStateException("session mode not enabled");
        }
        Objects.requireNonNull(sessionId, "sessionId");
        Objects.requireNonNull(code, "code");
    }

    private static void requireFile(String sessionId, String path) {
        Objects.requireNonNull(sessionId, "sessionId");
        Objects.requireNonNull(path, "path");
    }

    private static <T> T call(Call<T> call) {
        try {
            return call.make();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new PyExecutorException("internal", "interrupted", null, e);
        }
    }

    private Transport.Pending<?> single(String code, PyExecutionOptions options, Map<String, String> trace) throws InterruptedException {
        Map<String, Object> request = Requests.of(code, options, trace);
        if (transport.sharesFolders() && !policy.isDisableOpen()) {
            Requests.useFolder(request);
        }
        return transport.run(null, request, request.containsKey("env"), tools(options));
    }

    private Transport.Pending<?> inSession(String sessionId, String code, PyExecutionOptions options, Map<String, String> trace) throws InterruptedException {
        return transport.run(sessionId, Requests.of(code, options, trace), true, tools(options));
    }

    private ToolCalls tools(PyExecutionOptions options) {
        return options == null || options.getTools().isEmpty() ? null : new ToolCalls(Map.copyOf(options.getTools()), asyncExecutor);
    }

    private PyExecutionResult run(String sessionId, Call<Transport.Pending<?>> sending)
            throws InterruptedException, PyExecutionTimeoutException {
        Listeners.Watched watched = listeners.start(sessionId);
        Transport.Pending<?> pending = null;
        Map<String, Object> answer;
        OverloadRetry retry = new OverloadRetry(retryOverloaded);
        try {
            while (true) {
                try {
                    pending = sending.make();
                    answer = pending.await();
                    break;
                } catch (PyExecutorOverloadedException e) {
                    long wait = retry.waitNanos(e);
                    if (wait < 0) {
                        throw e;
                    }
                    TimeUnit.NANOSECONDS.sleep(wait);
                }
            }
        } catch (RuntimeException | InterruptedException e) {
            noteLoss(pending, e, sessionId);
            watched.ended(null, e);
            throw e;
        }
        return result(answer, sessionId, watched);
    }

    private CompletableFuture<PyExecutionResult> async(String sessionId, Call<Transport.Pending<?>> sending) {
        return new AsyncRun(sessionId, sending).begin();
    }

    /** A run that completes a future. It is sent again after a refusal as overloaded. */
    private final class AsyncRun {
        private final String sessionId;
        private final Call<Transport.Pending<?>> sending;
        private final Listeners.Watched watched;
        private final OverloadRetry retry = new OverloadRetry(retryOverloaded);
        private final CompletableFuture<PyExecutionResult> future = new CompletableFuture<>();
        private volatile Transport.Pending<?> pending;

        AsyncRun(String sessionId, Call<Transport.Pending<?>> sending) {
            this.sessionId = sessionId;
            this.sending = sending;
            this.watched = listeners.start(sessionId);
            // If anything completes the future before the answer (cancel, orTimeout, a value of the caller), the script is ended.
            future.whenComplete((result, failure) -> cancel(pending));
        }

        CompletableFuture<PyExecutionResult> begin() {
            try {
                send(sending.make());
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                fail(e);
            } catch (PyExecutorException | IllegalArgumentException e) {
                fail(e);
            }
            return future;
        }

        private <A> void send(Transport.Pending<A> sent) {
            pending = sent;
            if (future.isDone()) {
                cancel(sent);
            }
            // This does not run on the thread that reads the answers, because the caller's code follows.
            sent.answer().whenCompleteAsync((answer, failure) -> answered(sent, answer, failure), asyncExecutor);
        }

        private void cancel(Transport.Pending<?> sent) {
            if (sent != null && !sent.answer().isDone()) {
                sent.cancel();
            }
        }

        private <A> void answered(Transport.Pending<A> sent, A answer, Throwable failure) {
            try {
                future.complete(result(decoded(sent, answer, failure), sessionId, watched));
            } catch (PyExecutionTimeoutException e) {
                future.completeExceptionally(e);
            } catch (PyExecutorOverloadedException e) {
                long wait = future.isDone() ? -1 : retry.waitNanos(e);
                if (wait < 0) {
                    fail(e);
                } else {
                    CompletableFuture.delayedExecutor(wait, TimeUnit.NANOSECONDS, asyncExecutor).execute(this::again);
                }
            } catch (RuntimeException e) {
                noteLoss(sent, e, sessionId);
                fail(e);
            }
        }

        private void again() {
            if (future.isDone()) {
                fail(new CancellationException("the caller completed the future"));
            } else {
                begin();
            }
        }

        private void fail(Exception e) {
            watched.ended(null, future.isCancelled() ? new CancellationException("the caller cancelled the future") : e);
            future.completeExceptionally(e);
        }
    }

    private static <A> Map<String, Object> decoded(Transport.Pending<A> pending, A answer, Throwable failure) {
        if (failure != null) {
            throw pending.failure(failure instanceof CompletionException ? failure.getCause() : failure);
        }
        return pending.decode(answer);
    }

    private PyExecutionResult result(Map<String, Object> map, String sessionId, Listeners.Watched watched)
            throws PyExecutionTimeoutException {
        PyExecutionResult result = read(map, sessionId);
        PyExecutionResult.Session session = result.getSession();
        if (session != null && session.restarted() != null) {
            LOG.log(System.Logger.Level.INFO, "Session {0} began anew: its earlier state is gone ({1})", sessionId, session.restarted());
        }
        watched.ended(result, null);
        if (result.getStatus() == PyExecutionResult.Status.TIMEOUT) {
            throw new PyExecutionTimeoutException(result);
        }
        return result;
    }

    private PyExecutionResult read(Map<String, Object> map, String sessionId) {
        try {
            return new PyExecutionResult(map, sessionId, sessions);
        } catch (ClassCastException | IllegalArgumentException | NullPointerException e) {
            throw new PyExecutorException("internal", "a result that can't be read: " + e.getMessage(),
                    "Check that client and server have the same version.", e);
        }
    }

    private void noteLoss(Transport.Pending<?> pending, Exception failure, String sessionId) {
        if (sessionId != null && pending != null && failure.getCause() != null && pending.losesSession(failure.getCause())) {
            sessions.note(sessionId);
        }
    }
}

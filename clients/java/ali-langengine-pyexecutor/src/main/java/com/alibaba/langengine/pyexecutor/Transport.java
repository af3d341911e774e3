// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;

/**
 * Where an executor's scripts run: below this process ({@link NativeClient}) or on a server ({@link RemoteClient}).
 * Objects are those of the protocol. Failures are the exceptions that {@link PyExecutor} documents.
 */
interface Transport {
    /** The maximum length of a request, for both transports. */
    int REQUEST_MAX = 32 << 20;

    /**
     * Sends a run.
     *
     * @param sessionId its session, or null for a single run
     * @param request code and options
     * @param allowsOs whether the policy allows the import of os too
     * @param tools answers the calls of the script; null: it has none
     */
    Pending<?> run(String sessionId, Map<String, Object> request, boolean allowsOs, ToolCalls tools) throws InterruptedException;

    /** Whether a folder of this machine can be a single run's workspace. */
    boolean sharesFolders();

    /** Whether there has been a call. */
    boolean isStarted();

    void start() throws InterruptedException;

    void interrupt(String sessionId) throws InterruptedException;

    /** Makes sessions with these ids that go on from the state of this one. */
    void fork(String sessionId, List<String> ids) throws InterruptedException;

    /** Returns the session to the state before this call, or with 0 to the last one that is kept. The answer is that of the protocol. */
    Map<String, Object> undo(String sessionId, long to) throws InterruptedException;

    /** Returns the session to the state before its first call. The answer is that of undo. */
    Map<String, Object> reset(String sessionId) throws InterruptedException;

    /** Sends a solution with its tests, and returns the verdicts. */
    Map<String, Object> verify(Map<String, Object> request) throws InterruptedException;

    /** Fails with session_not_found when there is no such session. */
    void closeSession(String sessionId) throws InterruptedException;

    void closeAll() throws InterruptedException;

    /** Returns those of the ids whose sessions exist. */
    Set<String> live(Collection<String> sessionIds) throws InterruptedException;

    /** The native program's process, or null. */
    Process process();

    List<Map<String, Object>> listFiles(String sessionId) throws InterruptedException;

    byte[] readFile(String sessionId, String path) throws InterruptedException;

    void writeFile(String sessionId, String path, byte[] content) throws InterruptedException;

    void deleteFile(String sessionId, String path) throws InterruptedException;

    Map<String, Object> doctor() throws InterruptedException;

    Map<String, Object> stats() throws InterruptedException;

    void close();

    /** A call without an answer yet. The thread that waits for the answer decodes it, or makes the exception. */
    interface Pending<A> {
        CompletableFuture<A> answer();

        /** Waits for the answer. It is used instead of {@link #answer}, and costs less. */
        default A message() throws InterruptedException, ExecutionException {
            return answer().get();
        }

        /** Returns the result object, or throws the exception for this answer. */
        Map<String, Object> decode(A answer);

        /** Returns the reason why there is no answer. */
        RuntimeException failure(Throwable cause);

        /** Whether the state of the session was lost with it. */
        default boolean losesSession(Throwable cause) {
            return false;
        }

        void cancel();

        /** The result object. An interrupt of this thread cancels the call. */
        default Map<String, Object> await() throws InterruptedException {
            try {
                return decode(message());
            } catch (ExecutionException e) {
                throw failure(e.getCause());
            } catch (CancellationException e) {
                throw failure(e);
            } catch (InterruptedException e) {
                cancel();
                throw e;
            }
        }
    }
}

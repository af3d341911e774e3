// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import java.nio.file.Path;
import java.util.List;

/**
 * One session, with the methods that the original's class of this name had. It is here so that code written for the
 * original compiles and works; new code calls {@link PyExecutor#execute}. Two things differ: {@link #getProcess} is not a
 * process that only this session uses, and {@link #setLastUsedEpochMs} does not change when the session ends.
 */
public class DaemonSession {
    private PyExecutor executor;
    private boolean ownsExecutor;
    private String id;
    private long creationEpochMs;
    private volatile long lastUsedEpochMs;
    private volatile boolean ended;

    /** A session that is not started yet: {@link #start} starts it. */
    public DaemonSession() {
    }

    /** A session of an executor that others use too. */
    DaemonSession(PyExecutor executor, String id) {
        this.executor = executor;
        this.id = id;
    }

    /**
     * Starts the session, with a native process of its own.
     *
     * @param policy what scripts may do; null: the defaults
     * @param workingDir the folder of the host that is the session's workspace; it is made if it is missing
     * @throws Exception as {@link PyExecutor#execute}
     */
    public void start(PyExecutionPolicy policy, Path workingDir) throws Exception {
        if (executor != null) {
            throw new IllegalStateException("the session has already been started");
        }
        Path folder = workingDir.toAbsolutePath().normalize();
        if (folder.getFileName() == null) {
            throw new IllegalArgumentException("working directory '" + workingDir + "': give a folder below the root");
        }
        executor = new PyExecutor(policy, new SessionConfig().setMaxCount(0).setIdleTtl(null).setHardTtl(null)
                .setWorkspaceRootPath(folder.getParent()));
        ownsExecutor = true;
        id = folder.getFileName().toString();
        try {
            begin();
        } catch (Exception e) {
            shutdown();
            throw e;
        }
    }

    void begin() throws Exception {
        executor.execute(id, "", null);
        creationEpochMs = System.currentTimeMillis();
        lastUsedEpochMs = creationEpochMs;
    }

    /**
     * Runs code in the session.
     *
     * @param code Python
     * @param options of this call; null: none
     * @param policy its timeout is used for this call, unless the options have one; null: the policy of the session
     * @return its result
     * @throws Exception as {@link PyExecutor#execute}
     */
    public PyExecutionResult exec(String code, PyExecutionOptions options, PyExecutionPolicy policy) throws Exception {
        if (executor == null) {
            throw new IllegalStateException("the session is not started");
        }
        PyExecutionOptions call = options == null ? new PyExecutionOptions() : options.copy();
        if (call.getTimeout() == null && policy != null) {
            call.setTimeout(policy.getTimeout());
        }
        try {
            return executor.execute(id, code, call);
        } finally {
            lastUsedEpochMs = System.currentTimeMillis();
        }
    }

    /** Ends the session. A folder that was made for it is removed. */
    public void shutdown() {
        ended = true;
        if (ownsExecutor) {
            executor.close();
        } else if (executor != null) {
            executor.closeSession(id);
        }
    }

    /** @return whether the session is there, with its variables */
    public boolean isAlive() {
        return executor != null && !ended && !executor.liveSessions(List.of(id)).isEmpty();
    }

    /**
     * The native program that keeps this session. One program keeps all sessions of an executor, so {@code destroy} ends
     * them all.
     *
     * @return its process; null before the start, and where a server runs the scripts
     */
    public Process getProcess() {
        return executor == null ? null : executor.transport().process();
    }

    /** @return when the last call ended, in milliseconds since 1970 */
    public long getLastUsedEpochMs() {
        return lastUsedEpochMs;
    }

    /** @param lastUsedEpochMs the value of {@link #getLastUsedEpochMs} until the next call; the time when the session ends does not
     *     change */
    public void setLastUsedEpochMs(long lastUsedEpochMs) {
        this.lastUsedEpochMs = lastUsedEpochMs;
    }

    /** @return when the session was made, in milliseconds since 1970 */
    public long getCreationEpochMs() {
        return creationEpochMs;
    }
}

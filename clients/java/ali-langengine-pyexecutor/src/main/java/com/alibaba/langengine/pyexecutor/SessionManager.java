// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import java.util.HashMap;
import java.util.Map;

/**
 * Sessions by id, with the methods that the original's class of this name had. It is here so that code written for the
 * original compiles and works; new code uses {@link PyExecutor}, which this class calls. The native program ends sessions
 * by their TTL and count, as {@link SessionConfig} says.
 */
public class SessionManager {
    private final PyExecutionPolicy policy;
    private final SessionConfig config;
    private final PyExecutor executor;
    private final Map<String, DaemonSession> sessions = new HashMap<>();

    /**
     * A manager without sessions.
     *
     * @param policy what scripts may do, read at each session's creation; null: the defaults
     * @param config how sessions are kept; null: the defaults
     */
    public SessionManager(PyExecutionPolicy policy, SessionConfig config) {
        this.policy = policy == null ? new PyExecutionPolicy() : policy;
        this.config = config == null ? new SessionConfig() : config;
        this.executor = new PyExecutor(this.policy, this.config);
    }

    /**
     * Returns the session with this id. Makes it if it does not exist or has ended.
     *
     * @param sessionId any text
     * @return the session, started
     * @throws Exception as {@link PyExecutor#execute}
     */
    public synchronized DaemonSession getOrCreate(String sessionId) throws Exception {
        sessions.keySet().retainAll(executor.liveSessions(sessions.keySet()));
        DaemonSession session = sessions.get(sessionId);
        if (session == null) {
            session = new DaemonSession(executor, sessionId);
            session.begin();
            sessions.put(sessionId, session);
        }
        return session;
    }

    /**
     * Ends a session. Nothing happens when there is none.
     *
     * @param sessionId the session
     */
    public synchronized void close(String sessionId) {
        sessions.remove(sessionId);
        executor.closeSession(sessionId);
    }

    /** Ends all sessions. The manager can be used further. */
    public synchronized void closeAll() {
        sessions.clear();
        executor.closeAll();
    }

    /** @return how sessions are kept */
    public SessionConfig getConfig() {
        return config;
    }

    /** @return what scripts may do */
    public PyExecutionPolicy getPolicy() {
        return policy;
    }
}

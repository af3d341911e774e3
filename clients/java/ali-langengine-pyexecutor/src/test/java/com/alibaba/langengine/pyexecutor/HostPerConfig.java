package com.alibaba.langengine.pyexecutor;

import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** A host of servers: it starts one for each configuration of sessions. `S`: a server, or a fleet. */
abstract class HostPerConfig<S extends AutoCloseable> implements Host {
    private final Map<Map<String, String>, S> servers = new LinkedHashMap<>();
    private final Map<PyExecutor, S> of = new LinkedHashMap<>();

    /** Starts a server with these environment variables, which configure its sessions. */
    abstract S start(Map<String, String> environment) throws Exception;

    abstract HostConfig config(S server);

    abstract int metric(S server, String name) throws Exception;

    @Override
    public final synchronized PyExecutor executor(PyExecutionPolicy policy, SessionConfig sessions) throws Exception {
        SessionConfig config = sessions == null ? new SessionConfig() : sessions;
        Map<String, String> environment = Map.of("PYEXEC_SESSION_MAX_COUNT", Integer.toString(config.getMaxCount()),
                "PYEXEC_SESSION_IDLE_TTL", text(config.getIdleTtl()), "PYEXEC_SESSION_HARD_TTL", text(config.getHardTtl()));
        S server = servers.get(environment);
        if (server == null) {
            server = start(environment);
            servers.put(environment, server);
        }
        PyExecutor executor = new PyExecutor(policy, sessions, config(server));
        of.put(executor, server);
        return executor;
    }

    private static String text(Duration ttl) {
        return ttl == null ? "none" : ttl.toMillis() + "ms";
    }

    @Override
    public final int running(PyExecutor executor) throws Exception {
        return metric(of.get(executor), "pyexec_running");
    }

    @Override
    public final void close() throws Exception {
        for (S server : new ArrayList<>(servers.values())) {
            server.close();
        }
    }
}

package com.alibaba.langengine.pyexecutor;

import java.nio.file.Path;
import java.nio.file.Paths;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;

/** How sessions are kept. It is read when the executor is made. */
public class SessionConfig {
    private boolean enabled = true;
    private int maxCount = 50;
    private Duration idleTtl = Duration.ofMinutes(10);
    private Duration hardTtl = Duration.ofHours(1);
    private Path workspaceRoot;

    /** Sessions on, with the defaults. */
    public SessionConfig() {
    }

    /** @return whether sessions may be made at all */
    public boolean isEnabled() {
        return enabled;
    }

    /**
     * @param enabled whether sessions may be made at all
     * @return this
     */
    public SessionConfig setEnabled(boolean enabled) {
        this.enabled = enabled;
        return this;
    }

    /** @return how many sessions there may be at once; 0 is no limit */
    public int getMaxCount() {
        return maxCount;
    }

    /**
     * @param maxCount how many sessions there may be at once, the least recently used idle one making room; 0: no limit
     * @return this
     */
    public SessionConfig setMaxCount(int maxCount) {
        this.maxCount = maxCount;
        return this;
    }

    /** @return how long after its last call a session ends; null is never */
    public Duration getIdleTtl() {
        return idleTtl;
    }

    /**
     * @param idleTtl how long after the end of its last call a session ends; null: never
     * @return this
     */
    public SessionConfig setIdleTtl(Duration idleTtl) {
        this.idleTtl = idleTtl;
        return this;
    }

    /** @return how old a session may become; null is no limit */
    public Duration getHardTtl() {
        return hardTtl;
    }

    /**
     * @param hardTtl how old a session may become; null: no limit
     * @return this
     */
    public SessionConfig setHardTtl(Duration hardTtl) {
        this.hardTtl = hardTtl;
        return this;
    }

    /** @return the folder in which each session has its workspace; unless it was set, those are in memory only */
    public Path getWorkspaceRoot() {
        return workspaceRoot == null ? Paths.get(System.getProperty("java.io.tmpdir")) : workspaceRoot;
    }

    /**
     * @param workspaceRoot a folder of the host in which each session has its workspace; one that is there already is
     *     used, and left at the end. null: workspaces in memory, with their quota kept by the kernel
     * @return this
     */
    public SessionConfig setWorkspaceRoot(Path workspaceRoot) {
        this.workspaceRoot = workspaceRoot;
        return this;
    }

    boolean hasWorkspaceRoot() {
        return workspaceRoot != null;
    }

    Map<String, Object> toMap() {
        Map<String, Object> map = new LinkedHashMap<>();
        map.put("enabled", enabled);
        map.put("max_count", maxCount);
        map.put("idle_ttl", idleTtl == null ? null : idleTtl.toMillis());
        map.put("hard_ttl", hardTtl == null ? null : hardTtl.toMillis());
        if (workspaceRoot != null) {
            map.put("workspace_root", workspaceRoot.toAbsolutePath().toString());
            map.put("adopt_workspace", true);
        }
        return map;
    }
}

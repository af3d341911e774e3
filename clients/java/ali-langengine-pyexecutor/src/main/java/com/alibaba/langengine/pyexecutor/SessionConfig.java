// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import java.nio.file.Path;
import java.nio.file.Paths;
import java.time.Duration;
import java.util.LinkedHashMap;
import java.util.Map;

/** How sessions are kept. It is read when the executor is made. */
public class SessionConfig {
    /** The longest TTL that the native program accepts. With a longer one a session never ends by it. */
    private static final Duration LONGEST_TTL = Duration.ofDays(365);

    private boolean enabled = true;
    private int maxCount = 50;
    private Duration idleTtl = Duration.ofMinutes(10);
    private Duration hardTtl = Duration.ofHours(1);
    private String workspaceRoot;

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

    /** @return how many sessions there may be at once; 0 and less are no limit */
    public int getMaxCount() {
        return maxCount;
    }

    /**
     * @param maxCount how many sessions may be open at once; one more ends the idle session whose last call is the oldest; 0 and less: no limit
     * @return this
     */
    public SessionConfig setMaxCount(int maxCount) {
        this.maxCount = maxCount;
        return this;
    }

    /** @return how long after its last call a session ends; null and zero are never */
    public Duration getIdleTtl() {
        return idleTtl;
    }

    /**
     * @param idleTtl how long after the end of its last call a session ends; null, zero and less: never
     * @return this
     */
    public SessionConfig setIdleTtl(Duration idleTtl) {
        this.idleTtl = idleTtl;
        return this;
    }

    /** @return how old a session may become; null and zero are no limit */
    public Duration getHardTtl() {
        return hardTtl;
    }

    /**
     * @param hardTtl how old a session may become; null, zero and less: no limit
     * @return this
     */
    public SessionConfig setHardTtl(Duration hardTtl) {
        this.hardTtl = hardTtl;
        return this;
    }

    /** @return the folder of the host in which each session has its workspace; {@code java.io.tmpdir} unless it was set */
    public String getWorkspaceRoot() {
        return workspaceRoot == null ? System.getProperty("java.io.tmpdir") : workspaceRoot;
    }

    /**
     * Sets the folder of the host in which each session has its workspace. The folder ROOT/ID is made for each session,
     * with mode 0700, and the script sees it at that path. A folder that already exists is used, and stays at
     * the end. If the policy gives no file access, it is the script's current directory, but appears empty.
     *
     * @param workspaceRoot the folder; null, the default: the workspaces are in memory, and the kernel keeps their quota
     * @return this
     */
    public SessionConfig setWorkspaceRoot(String workspaceRoot) {
        this.workspaceRoot = workspaceRoot;
        return this;
    }

    /**
     * {@link #setWorkspaceRoot(String)} for a {@link Path}.
     *
     * @param workspaceRoot the folder; null: the workspaces are in memory
     * @return this
     */
    public SessionConfig setWorkspaceRootPath(Path workspaceRoot) {
        return setWorkspaceRoot(workspaceRoot == null ? null : workspaceRoot.toString());
    }

    /** The folder that was set, absolute; null: the workspaces are in memory. */
    Path hostRoot() {
        return workspaceRoot == null || workspaceRoot.isEmpty() ? null : Paths.get(workspaceRoot).toAbsolutePath();
    }

    Map<String, Object> toMap() {
        Map<String, Object> map = new LinkedHashMap<>();
        map.put("enabled", enabled);
        map.put("max_count", Math.max(0, maxCount));
        map.put("idle_ttl", millis(idleTtl));
        map.put("hard_ttl", millis(hardTtl));
        if (hostRoot() != null) {
            map.put("workspace_root", hostRoot().toString());
            map.put("adopt_workspace", true);
        }
        return map;
    }

    /** Returns a TTL in the form of the protocol. Null, zero and less mean that there is no TTL. */
    private static Long millis(Duration ttl) {
        if (ttl == null || ttl.isZero() || ttl.isNegative()) {
            return null;
        }
        return ttl.compareTo(LONGEST_TTL) > 0 ? null : (Long) Math.max(1, ttl.toMillis());
    }
}

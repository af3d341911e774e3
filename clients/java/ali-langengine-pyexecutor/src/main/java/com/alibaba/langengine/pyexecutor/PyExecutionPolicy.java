// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;

/**
 * What scripts may do, and their limits. It is read at each {@link PyExecutor#executeOnce} and when a session is made; the timeout
 * is also read at each call of a session. Values are checked then: a value out of range is a {@link PyExecutorException} with the
 * code {@code invalid_policy}.
 */
public class PyExecutionPolicy {
    private static final List<String> DEFAULT_ALLOWED_IMPORTS = Arrays.asList("math", "statistics", "random", "re", "json",
            "itertools", "functools", "collections", "decimal", "fractions", "string", "textwrap", "heapq", "bisect", "array",
            "base64", "hashlib", "hmac", "uuid", "time", "datetime", "socket", "traceback");
    private static final List<String> DEFAULT_BANNED_IMPORTS = Arrays.asList("os", "sys", "subprocess", "pathlib", "shutil",
            "multiprocessing", "ctypes", "resource", "inspect", "builtins", "pickle");

    private static final long DEFAULT_STDOUT_BYTES = 1000000;
    private static final long DEFAULT_STDERR_BYTES = 256000;

    private volatile String pythonBin = defaultPythonBin();
    private volatile Duration timeout = Duration.ofSeconds(5);
    private volatile Integer cpuTimeSeconds = 2;
    private volatile Long addressSpaceBytes = 512L << 20;
    private volatile long maxStdoutBytes = DEFAULT_STDOUT_BYTES;
    private volatile long maxStderrBytes = DEFAULT_STDERR_BYTES;
    private volatile boolean disableNetworking = true;
    private final Set<String> allowedHosts = Collections.synchronizedSet(new LinkedHashSet<>());
    private volatile boolean disableOpen = true;
    private volatile boolean allowReadonlyOpen;
    private volatile boolean useImportWhitelist = true;
    private final Set<String> allowedImports = Collections.synchronizedSet(new LinkedHashSet<>(DEFAULT_ALLOWED_IMPORTS));
    private final Set<String> bannedImports = Collections.synchronizedSet(new LinkedHashSet<>(DEFAULT_BANNED_IMPORTS));
    private volatile boolean blockDunderImports = true;
    private volatile boolean printLastExpression = true;
    private volatile boolean isolateSite = true;
    private volatile List<String> preloadImports = Collections.emptyList();
    private volatile String environment = "";
    private volatile List<String> allowedEnvironments = Collections.emptyList();

    // made from policy.def: fields
    private volatile Integer maxOpenFiles = 16;
    private volatile long maxValueBytes = 65536;
    private volatile int maxDisplays = 100;
    private volatile long maxDisplayBytes = 8388608;
    private volatile long workspaceBytes = 67108864;
    private volatile int maxThreads = 16;
    private volatile int maxToolCalls = 1000;
    private volatile Duration toolTimeout;
    private volatile boolean forkable = false;
    private volatile boolean autoCheckpoint = false;
    private volatile int maxCheckpoints = 4;
    // end of fields

    /** The defaults. */
    public PyExecutionPolicy() {
    }

    private static String defaultPythonBin() {
        String configured = System.getenv("PYTHON_BIN");
        return configured == null || configured.isEmpty() ? "python3" : configured;
    }

    /** @return the interpreter */
    public String getPythonBin() {
        return pythonBin;
    }

    /**
     * @param pythonBin the interpreter: a path, or a name in PATH. CPython 3.8 or later. If it is not set, the
     *     environment variable {@code PYTHON_BIN}, or else {@code python3}
     */
    public void setPythonBin(String pythonBin) {
        this.pythonBin = pythonBin;
    }

    /** @return the wall-clock limit of one execution */
    public Duration getTimeout() {
        return timeout;
    }

    /** @param timeout the wall-clock limit of one execution, 1 ms to 24 h */
    public void setTimeout(Duration timeout) {
        this.timeout = timeout;
    }

    /** @return the CPU time limit of one execution; null: no limit */
    public Integer getCpuTimeSeconds() {
        return cpuTimeSeconds;
    }

    /** @param cpuTimeSeconds the CPU time limit of one execution; null: no limit; 0: one second, as in the original */
    public void setCpuTimeSeconds(Integer cpuTimeSeconds) {
        this.cpuTimeSeconds = cpuTimeSeconds;
    }

    /** @return the address-space limit of the script's process; null: no limit */
    public Long getAddressSpaceBytes() {
        return addressSpaceBytes;
    }

    /** @param addressSpaceBytes the address-space limit of the script's process, at least 64 MiB; null and 0: no limit */
    public void setAddressSpaceBytes(Long addressSpaceBytes) {
        this.addressSpaceBytes = addressSpaceBytes;
    }

    /** @return how many bytes of standard output are kept */
    public long getMaxStdoutBytes() {
        return maxStdoutBytes;
    }

    /**
     * @param maxStdoutBytes how many bytes of standard output are kept; the rest is dropped, and the result says so. A negative
     *     number means the default
     */
    public void setMaxStdoutBytes(long maxStdoutBytes) {
        this.maxStdoutBytes = maxStdoutBytes;
    }

    /** @return how many bytes of standard error are kept */
    public long getMaxStderrBytes() {
        return maxStderrBytes;
    }

    /**
     * @param maxStderrBytes how many bytes of standard error are kept; the rest is dropped, and the result says so. A negative
     *     number means the default
     */
    public void setMaxStderrBytes(long maxStderrBytes) {
        this.maxStderrBytes = maxStderrBytes;
    }

    /** @return true if the script has no network */
    public boolean isDisableNetworking() {
        return disableNetworking;
    }

    /** @param disableNetworking true: no network; false: the host's network */
    public void setDisableNetworking(boolean disableNetworking) {
        this.disableNetworking = disableNetworking;
    }

    /** @return true if the script has no file access */
    public boolean isDisableOpen() {
        return disableOpen;
    }

    /** @param disableOpen true: no file access, neither with {@code open()} nor in another way */
    public void setDisableOpen(boolean disableOpen) {
        this.disableOpen = disableOpen;
    }

    /** @return true if the script may only read files */
    public boolean isAllowReadonlyOpen() {
        return allowReadonlyOpen;
    }

    /**
     * @param allowReadonlyOpen used when {@code disableOpen} is false. True: the script may read inside the working directory;
     *     false: it may also write there
     */
    public void setAllowReadonlyOpen(boolean allowReadonlyOpen) {
        this.allowReadonlyOpen = allowReadonlyOpen;
    }

    /** @return true if only {@link #getAllowedImports()} may be imported */
    public boolean isUseImportWhitelist() {
        return useImportWhitelist;
    }

    /** @param useImportWhitelist true: only the allowed imports; false: everything except the banned imports */
    public void setUseImportWhitelist(boolean useImportWhitelist) {
        this.useImportWhitelist = useImportWhitelist;
    }

    /** @return the modules that may be imported when the whitelist is on; changes of this set change the policy */
    public Set<String> getAllowedImports() {
        return allowedImports;
    }

    /** @return the modules that may not be imported when the whitelist is off; changes of this set change the policy */
    public Set<String> getBannedImports() {
        return bannedImports;
    }

    /**
     * @return the hosts that the script may reach, as NAME, NAME:PORT or *.NAME, while the network is disabled otherwise; empty by
     *     default; changes of this set change the policy
     */
    public Set<String> getAllowedHosts() {
        return allowedHosts;
    }

    /** @return true if names that begin or end with two underscores can't be imported */
    public boolean isBlockDunderImports() {
        return blockDunderImports;
    }

    /** @param blockDunderImports true: names that begin or end with two underscores can't be imported */
    public void setBlockDunderImports(boolean blockDunderImports) {
        this.blockDunderImports = blockDunderImports;
    }

    /** @return true if the result has the last expression's value */
    public boolean isPrintLastExpression() {
        return printLastExpression;
    }

    /** @param printLastExpression true: the repr of the last expression is {@link PyExecutionResult#getLastValueRepr()} */
    public void setPrintLastExpression(boolean printLastExpression) {
        this.printLastExpression = printLastExpression;
    }

    /** @return true if the interpreter runs without site-packages */
    public boolean isIsolateSite() {
        return isolateSite;
    }

    /** @param isolateSite true: Python's {@code -I -S}, without site-packages and {@code PYTHON*} variables */
    public void setIsolateSite(boolean isolateSite) {
        this.isolateSite = isolateSite;
    }

    /** @return the modules that are imported once, before any script */
    public List<String> getPreloadImports() {
        return preloadImports;
    }

    /** @param preloadImports modules that are imported once, before any script; this does not allow scripts to import them */
    public void setPreloadImports(Collection<String> preloadImports) {
        this.preloadImports = Collections.unmodifiableList(new ArrayList<>(preloadImports));
    }

    /** @return the environment whose packages scripts may import; empty: none */
    public String getEnvironment() {
        return environment;
    }

    /**
     * Chooses an environment that {@code pyexec env create} has made. It brings its interpreter and packages, and limits with which
     * its packages work: the limits of time, CPU time, address space and threads count as not set while they have their
     * defaults.
     *
     * @param environment its name; empty or null: none
     */
    public void setEnvironment(String environment) {
        this.environment = environment == null ? "" : environment;
    }

    /** @return environments that callers of a server may choose in addition to its own */
    public List<String> getAllowedEnvironments() {
        return allowedEnvironments;
    }

    /** @param allowedEnvironments environments that callers of a server may choose; it has no effect on runs of this program */
    public void setAllowedEnvironments(Collection<String> allowedEnvironments) {
        this.allowedEnvironments = Collections.unmodifiableList(new ArrayList<>(allowedEnvironments));
    }

    // made from policy.def: accessors
    /** @return How many files the script itself may have open at the same time. Null: no limit */
    public Integer getMaxOpenFiles() {
        return maxOpenFiles;
    }

    /** @param maxOpenFiles How many files the script itself may have open at the same time. Null: no limit */
    public void setMaxOpenFiles(Integer maxOpenFiles) {
        this.maxOpenFiles = maxOpenFiles;
    }

    /** @return The greatest length of last_value_repr, last_value_json and the error message */
    public long getMaxValueBytes() {
        return maxValueBytes;
    }

    /** @param maxValueBytes The greatest length of last_value_repr, last_value_json and the error message */
    public void setMaxValueBytes(long maxValueBytes) {
        this.maxValueBytes = maxValueBytes;
    }

    /** @return How many displays are kept: display(), figures, a last value with a rich form. Others are counted and dropped */
    public int getMaxDisplays() {
        return maxDisplays;
    }

    /** @param maxDisplays How many displays are kept: display(), figures, a last value with a rich form. Others are counted and dropped */
    public void setMaxDisplays(int maxDisplays) {
        this.maxDisplays = maxDisplays;
    }

    /** @return The size of all displays of one execution together, as the result contains them. A display that does not fit is counted and dropped */
    public long getMaxDisplayBytes() {
        return maxDisplayBytes;
    }

    /** @param maxDisplayBytes The size of all displays of one execution together, as the result contains them. A display that does not fit is counted and dropped */
    public void setMaxDisplayBytes(long maxDisplayBytes) {
        this.maxDisplayBytes = maxDisplayBytes;
    }

    /** @return How many bytes the files of the workspace may have together (docs/security.md: the quota of a host folder) */
    public long getWorkspaceBytes() {
        return workspaceBytes;
    }

    /** @param workspaceBytes How many bytes the files of the workspace may have together (docs/security.md: the quota of a host folder) */
    public void setWorkspaceBytes(long workspaceBytes) {
        this.workspaceBytes = workspaceBytes;
    }

    /** @return How many threads the script may have at the same time. It can never start processes */
    public int getMaxThreads() {
        return maxThreads;
    }

    /** @param maxThreads How many threads the script may have at the same time. It can never start processes */
    public void setMaxThreads(int maxThreads) {
        this.maxThreads = maxThreads;
    }

    /** @return How many calls of the caller's tools one execution may make (docs/tools.md) */
    public int getMaxToolCalls() {
        return maxToolCalls;
    }

    /** @param maxToolCalls How many calls of the caller's tools one execution may make (docs/tools.md) */
    public void setMaxToolCalls(int maxToolCalls) {
        this.maxToolCalls = maxToolCalls;
    }

    /** @return How long one tool call may wait for its answer. After this time the script gets an error. Null: no limit */
    public Duration getToolTimeout() {
        return toolTimeout;
    }

    /** @param toolTimeout How long one tool call may wait for its answer. After this time the script gets an error. Null: no limit */
    public void setToolTimeout(Duration toolTimeout) {
        this.toolTimeout = toolTimeout;
    }

    /** @return true: the session can be forked, and its calls may keep checkpoints (docs/branches.md). It has no meaning for a single run */
    public boolean isForkable() {
        return forkable;
    }

    /** @param forkable true: the session can be forked, and its calls may keep checkpoints (docs/branches.md). It has no meaning for a single run */
    public void setForkable(boolean forkable) {
        this.forkable = forkable;
    }

    /** @return true: each call of the session keeps the state before it, so that it can be undone, and a call that ends its process leaves the session as before the call (docs/branches.md). It has no meaning for a single run */
    public boolean isAutoCheckpoint() {
        return autoCheckpoint;
    }

    /** @param autoCheckpoint true: each call of the session keeps the state before it, so that it can be undone, and a call that ends its process leaves the session as before the call (docs/branches.md). It has no meaning for a single run */
    public void setAutoCheckpoint(boolean autoCheckpoint) {
        this.autoCheckpoint = autoCheckpoint;
    }

    /** @return How many states a session keeps. When there is one more, the oldest is removed. Each may hold as much memory and as many files as the session */
    public int getMaxCheckpoints() {
        return maxCheckpoints;
    }

    /** @param maxCheckpoints How many states a session keeps. When there is one more, the oldest is removed. Each may hold as much memory and as many files as the session */
    public void setMaxCheckpoints(int maxCheckpoints) {
        this.maxCheckpoints = maxCheckpoints;
    }
    // end of accessors

    /**
     * Makes a policy with the same values. Later changes of one policy do not change the other.
     *
     * @return a new policy
     */
    public PyExecutionPolicy copy() {
        PyExecutionPolicy copy = new PyExecutionPolicy();
        copy.pythonBin = pythonBin;
        copy.timeout = timeout;
        copy.cpuTimeSeconds = cpuTimeSeconds;
        copy.addressSpaceBytes = addressSpaceBytes;
        copy.maxStdoutBytes = maxStdoutBytes;
        copy.maxStderrBytes = maxStderrBytes;
        copy.disableNetworking = disableNetworking;
        copy.disableOpen = disableOpen;
        copy.allowReadonlyOpen = allowReadonlyOpen;
        copy.useImportWhitelist = useImportWhitelist;
        copy.blockDunderImports = blockDunderImports;
        copy.printLastExpression = printLastExpression;
        copy.isolateSite = isolateSite;
        copy.preloadImports = preloadImports;
        copy.environment = environment;
        copy.allowedEnvironments = allowedEnvironments;
        // made from policy.def: copy
        copy.maxOpenFiles = maxOpenFiles;
        copy.maxValueBytes = maxValueBytes;
        copy.maxDisplays = maxDisplays;
        copy.maxDisplayBytes = maxDisplayBytes;
        copy.workspaceBytes = workspaceBytes;
        copy.maxThreads = maxThreads;
        copy.maxToolCalls = maxToolCalls;
        copy.toolTimeout = toolTimeout;
        copy.forkable = forkable;
        copy.autoCheckpoint = autoCheckpoint;
        copy.maxCheckpoints = maxCheckpoints;
        // end of copy
        copy.allowedImports.clear();
        copy.allowedImports.addAll(copy(allowedImports));
        copy.bannedImports.clear();
        copy.bannedImports.addAll(copy(bannedImports));
        copy.allowedHosts.addAll(copy(allowedHosts));
        return copy;
    }

    /** Returns the policy in the form of the protocol. `alsoAllowed` is one more allowed import, or null. */
    Map<String, Object> toMap(String alsoAllowed) {
        List<String> allowed = copy(allowedImports);
        if (alsoAllowed != null && useImportWhitelist && !allowed.contains(alsoAllowed)) {
            allowed.add(alsoAllowed);
        }
        Map<String, Object> map = new LinkedHashMap<>();
        map.put("python_bin", pythonBin);
        map.put("timeout_ms", timeout == null ? null : timeout.toMillis());
        map.put("cpu_time_seconds", Objects.equals(cpuTimeSeconds, 0) ? (Integer) 1 : cpuTimeSeconds);
        map.put("address_space_bytes", Objects.equals(addressSpaceBytes, 0L) ? null : addressSpaceBytes);
        map.put("max_stdout_bytes", maxStdoutBytes < 0 ? DEFAULT_STDOUT_BYTES : maxStdoutBytes);
        map.put("max_stderr_bytes", maxStderrBytes < 0 ? DEFAULT_STDERR_BYTES : maxStderrBytes);
        map.put("disable_networking", disableNetworking);
        map.put("allowed_hosts", copy(allowedHosts));
        map.put("disable_open", disableOpen);
        map.put("allow_readonly_open", allowReadonlyOpen);
        map.put("use_import_whitelist", useImportWhitelist);
        map.put("allowed_imports", allowed);
        map.put("banned_imports", copy(bannedImports));
        map.put("block_dunder_imports", blockDunderImports);
        map.put("print_last_expression", printLastExpression);
        map.put("isolate_site", isolateSite);
        map.put("preload_imports", preloadImports);
        map.put("environment", environment);
        map.put("allowed_environments", allowedEnvironments);
        // made from policy.def: map
        map.put("max_open_files", maxOpenFiles);
        map.put("max_value_bytes", maxValueBytes);
        map.put("max_displays", maxDisplays);
        map.put("max_display_bytes", maxDisplayBytes);
        map.put("workspace_bytes", workspaceBytes);
        map.put("max_threads", maxThreads);
        map.put("max_tool_calls", maxToolCalls);
        map.put("tool_timeout_ms", toolTimeout == null ? null : toolTimeout.toMillis());
        map.put("forkable", forkable);
        map.put("auto_checkpoint", autoCheckpoint);
        map.put("max_checkpoints", maxCheckpoints);
        // end of map
        return map;
    }

    /**
     * Removes from a policy in the form of the protocol what an environment decides if nobody sets it. Only then do the limits of an
     * environment have an effect, because a value that is sent is stronger.
     */
    static Map<String, Object> withoutDefaults(Map<String, Object> map) {
        Map<String, Object> defaults = new PyExecutionPolicy().toMap(null);
        for (String key : "timeout_ms cpu_time_seconds address_space_bytes max_threads python_bin".split(" ")) {
            if (!"python_bin".equals(key) || !"".equals(map.get("environment"))) {
                map.remove(key, defaults.get(key));
            }
        }
        return map;
    }

    private static List<String> copy(Set<String> set) {
        return new ArrayList<>(Arrays.asList(set.toArray(new String[0])));
    }
}

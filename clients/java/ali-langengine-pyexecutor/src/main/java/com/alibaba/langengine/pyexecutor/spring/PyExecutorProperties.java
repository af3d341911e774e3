// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor.spring;

import com.alibaba.langengine.pyexecutor.HostConfig;
import com.alibaba.langengine.pyexecutor.PyExecutionPolicy;
import com.alibaba.langengine.pyexecutor.SessionConfig;
import java.time.Duration;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import org.springframework.boot.context.properties.ConfigurationProperties;

/**
 * The keys of the policy, of sessions and of the host. Written as text, a size is a number of bytes or an integer with K, M
 * or G, and a duration has Spring's form or is an integer with ms, s, m or h. {@code none} means no limit, which is null here.
 */
@ConfigurationProperties("ali.langengine.pyexecutor")
public class PyExecutorProperties {
    /**
     * The interpreter: a path, or a name in PATH. CPython 3.8 or later, with the GIL; bin/python of a virtual environment works too. If it is not set, the environment variable PYTHON_BIN, or else python3.
     */
    private String pythonBin = new PyExecutionPolicy().getPythonBin();

    /** Wall-clock limit of one execution. */
    private Duration timeout = Duration.ofSeconds(5);

    /** CPU time limit of one execution, not of the whole life of a session. None: no limit. */
    @PropertyText(value = "cpu-time-seconds", nullable = true)
    private Integer cpuTimeSeconds = 2;

    /** Address-space limit of the process, in bytes or with K, M or G. None: no limit. */
    @PropertyText(value = "address-space-bytes", nullable = true)
    private Long addressSpaceBytes = 536870912L;

    /** How much of standard output is kept. The rest is read, counted and dropped. */
    @PropertyText("max-stdout-bytes")
    private long maxStdoutBytes = 1000000;

    /** How much of standard error is kept. The rest is read, counted and dropped. */
    @PropertyText("max-stderr-bytes")
    private long maxStderrBytes = 256000;

    /** True: there is no network. False: the host's network. */
    private boolean disableNetworking = true;

    /** Hosts that the script may reach, as NAME, NAME:PORT or *.NAME, while disable-networking is true. */
    private Set<String> allowedHosts = new LinkedHashSet<>();

    /** True: the script has no file access, neither with open() nor in another way. */
    private boolean disableOpen = true;

    /**
     * Used when disable-open is false. True: the script may read inside the working directory. False: it may also write there. It never has access to other folders.
     */
    private boolean allowReadonlyOpen = false;

    /** True: the script may import only allowed-imports. False: it may import everything except banned-imports. */
    private boolean useImportWhitelist = true;

    /** Modules that the script may import when the whitelist is on. Replaces the default set. */
    private Set<String> allowedImports = new LinkedHashSet<>();

    /** Modules that the script may not import when the whitelist is off. Replaces the default set. */
    private Set<String> bannedImports = new LinkedHashSet<>();

    /** Whether imports of names that begin or end with two underscores are refused. */
    private boolean blockDunderImports = true;

    /** True: if the last statement is an expression whose value is not None, its repr is the last value. */
    private boolean printLastExpression = true;

    /** Whether the interpreter runs without site-packages and PYTHON* variables. */
    private boolean isolateSite = true;

    /** Modules that the warm parent imports once, so that runs need not. This does not allow the script to import them. */
    private List<String> preloadImports;

    /** The environment whose packages the script may import, as `pyexec env list` names it. Its limits hold where the limits here have their defaults. Empty: none. */
    private String environment = "";

    /** The environments that callers of a server may choose in addition to its own. It has no effect on runs of this application. */
    private List<String> allowedEnvironments;

    // made from policy.def: fields
    /** How many files the script itself may have open at the same time. None: no limit. */
    @PropertyText(value = "max-open-files", nullable = true)
    private Integer maxOpenFiles = 16;

    /** The greatest length of last_value_repr, last_value_json and the error message. */
    @PropertyText("max-value-bytes")
    private long maxValueBytes = 65536;

    /** How many displays are kept: display(), figures, a last value with a rich form. Others are counted and dropped. */
    private int maxDisplays = 100;

    /** The size of all displays of one execution together, as the result contains them. A display that does not fit is counted and dropped. */
    @PropertyText("max-display-bytes")
    private long maxDisplayBytes = 8388608;

    /** How many bytes the files of the workspace may have together (docs/security.md: the quota of a host folder). */
    @PropertyText("workspace-bytes")
    private long workspaceBytes = 67108864;

    /** How many threads the script may have at the same time. It can never start processes. */
    private int maxThreads = 16;

    /** How many calls of the caller's tools one execution may make (docs/tools.md). */
    private int maxToolCalls = 1000;

    /** How long one tool call may wait for its answer. After this time the script gets an error. None: no limit. */
    @PropertyText(value = "tool-timeout", nullable = true)
    private Duration toolTimeout;

    /** true: the session can be forked, and its calls may keep checkpoints (docs/branches.md). It has no meaning for a single run. */
    private boolean forkable = false;

    /** true: each call of the session keeps the state before it, so that it can be undone, and a call that ends its process leaves the session as before the call (docs/branches.md). It has no meaning for a single run. */
    private boolean autoCheckpoint = false;

    /** How many states a session keeps. When there is one more, the oldest is removed. Each may hold as much memory and as many files as the session. */
    private int maxCheckpoints = 4;
    // end of fields

    /** Whether sessions may be made at all. */
    private boolean sessionEnabled = true;

    /** How many sessions may exist at once. If there are more, the least recently used idle session ends. 0: no limit. */
    private int sessionMaxCount = 50;

    /** A session ends this long after the end of its last call. None: never. */
    @PropertyText(value = "session-idle-ttl", nullable = true)
    private Duration sessionIdleTtl = Duration.ofMinutes(10);

    /** A session ends this long after it was made. None: never. */
    @PropertyText(value = "session-hard-ttl", nullable = true)
    private Duration sessionHardTtl = Duration.ofHours(1);

    /**
     * Host folder in which each session has its workspace. If it is not set, workspaces are in memory, and the kernel enforces the quota.
     */
    private String workspaceRoot;

    /** Path of the native program pyexec. If it is not set, the program in PATH is used, or else the program in the jar. */
    private String executable;

    /**
     * Isolation layers that runs may lack when the machine refuses them. Every result names the missing layers.
     */
    private List<String> allowMissing;

    /** How many calls may wait for a turn. Further calls are refused as overloaded. Default: 256. */
    private Integer queueLength;

    /** Executions that may use the CPUs at once. Default: twice the number of CPUs. */
    private Integer maxConcurrent;

    /** How many more executions may be in progress while they sleep. Default: 256. */
    private Integer maxAsleep;

    /**
     * URL of a pyexec serve that runs the scripts, http[s]://HOST[:PORT][/PATH], or nats://HOST[:PORT] or tls://HOST[:PORT] of a NATS server whose fleet runs them. If it is not set, this machine runs them.
     */
    private String url;

    /** Bearer token for the server of url, or the token of NATS. */
    private String token;

    /** The path of a .creds file of NATS, or of a file with the seed of an nkey, for a url with nats:// or tls://. */
    private String credentials;

    /** The principal whose subjects of the fleet are used, for a url with nats:// or tls://. The default is local. */
    private String principal;

    /** The beginning of the subjects to which the fleet answers, for a url with nats:// or tls://. The default is _INBOX. */
    private String inboxPrefix;

    /**
     * Prefix of session ids on the server of url. Executors with the same prefix and the same token share sessions. If it is not set, the prefix is random, so only this application uses its sessions.
     */
    private String sessionPrefix;

    /** How long an answer of the server of url may take beyond a run's own limit; none: no limit. */
    @PropertyText(value = "answer-timeout", nullable = true)
    private Duration answerTimeout = Duration.ofMinutes(5);

    /** How long a call that was refused as overloaded is repeated; its code never started. 0: it is not repeated. */
    private Duration retryOverloaded = Duration.ofSeconds(10);

    /**
     * True: the application fails to start when this machine can't run scripts. False: the first call fails.
     */
    private boolean verifyAtStartup = true;

    /** True if the property was given. Its set of modules then replaces the default set, even if it is empty. */
    private boolean setsAllowedImports;
    private boolean setsBannedImports;

    /** The defaults. */
    public PyExecutorProperties() {
    }

    /**
     * Makes the policy from these properties.
     *
     * @return a new one
     */
    public PyExecutionPolicy toPolicy() {
        PyExecutionPolicy policy = new PyExecutionPolicy();
        if (pythonBin != null && !pythonBin.isEmpty()) {
            policy.setPythonBin(pythonBin);
        }
        policy.setTimeout(timeout);
        policy.setCpuTimeSeconds(cpuTimeSeconds);
        policy.setAddressSpaceBytes(addressSpaceBytes);
        policy.setMaxStdoutBytes(maxStdoutBytes);
        policy.setMaxStderrBytes(maxStderrBytes);
        policy.setDisableNetworking(disableNetworking);
        if (allowedHosts != null) {
            policy.getAllowedHosts().addAll(allowedHosts);
        }
        policy.setDisableOpen(disableOpen);
        policy.setAllowReadonlyOpen(allowReadonlyOpen);
        policy.setUseImportWhitelist(useImportWhitelist);
        replace(policy.getAllowedImports(), allowedImports, setsAllowedImports);
        replace(policy.getBannedImports(), bannedImports, setsBannedImports);
        policy.setBlockDunderImports(blockDunderImports);
        policy.setPrintLastExpression(printLastExpression);
        policy.setIsolateSite(isolateSite);
        if (preloadImports != null) {
            policy.setPreloadImports(preloadImports);
        }
        policy.setEnvironment(environment);
        if (allowedEnvironments != null) {
            policy.setAllowedEnvironments(allowedEnvironments);
        }
        // made from policy.def: policy
        policy.setMaxOpenFiles(maxOpenFiles);
        policy.setMaxValueBytes(maxValueBytes);
        policy.setMaxDisplays(maxDisplays);
        policy.setMaxDisplayBytes(maxDisplayBytes);
        policy.setWorkspaceBytes(workspaceBytes);
        policy.setMaxThreads(maxThreads);
        policy.setMaxToolCalls(maxToolCalls);
        policy.setToolTimeout(toolTimeout);
        policy.setForkable(forkable);
        policy.setAutoCheckpoint(autoCheckpoint);
        policy.setMaxCheckpoints(maxCheckpoints);
        // end of policy
        return policy;
    }

    /**
     * Makes the configuration of sessions from these properties.
     *
     * @return a new one
     */
    public SessionConfig toSessionConfig() {
        SessionConfig config = new SessionConfig().setEnabled(sessionEnabled).setMaxCount(sessionMaxCount)
                .setIdleTtl(sessionIdleTtl)
                .setHardTtl(sessionHardTtl);
        return workspaceRoot == null || workspaceRoot.isEmpty() ? config : config.setWorkspaceRoot(workspaceRoot);
    }

    /**
     * Makes the configuration of this machine from these properties.
     *
     * @return a new one
     */
    public HostConfig toHostConfig() {
        HostConfig config = new HostConfig().setExecutable(executable).setQueueLength(queueLength).setMaxConcurrent(maxConcurrent)
                .setMaxAsleep(maxAsleep).setUrl(url).setToken(token).setCredentials(credentials).setPrincipal(principal)
                .setInboxPrefix(inboxPrefix).setSessionPrefix(sessionPrefix)
                .setAnswerTimeout(answerTimeout).setRetryOverloaded(retryOverloaded);
        return allowMissing == null ? config : config.setAllowMissing(allowMissing.toArray(new String[0]));
    }

    private static void replace(Set<String> set, Set<String> configured, boolean wasSet) {
        if (configured != null && (wasSet || !configured.isEmpty())) {
            set.clear();
            set.addAll(configured);
        }
    }

    /** @return the interpreter: a path, or a name in PATH. CPython 3.8 or later, with the GIL; bin/python of a virtual environment works too */
    public String getPythonBin() {
        return pythonBin;
    }

    /** @param pythonBin the interpreter: a path, or a name in PATH. CPython 3.8 or later, with the GIL; bin/python of a virtual environment works too */
    public void setPythonBin(String pythonBin) {
        this.pythonBin = pythonBin;
    }

    /** @return wall-clock limit of one execution */
    public Duration getTimeout() {
        return timeout;
    }

    /** @param timeout wall-clock limit of one execution */
    public void setTimeout(Duration timeout) {
        this.timeout = timeout;
    }

    /** @return CPU time limit of one execution, not of the whole life of a session; null: no limit */
    public Integer getCpuTimeSeconds() {
        return cpuTimeSeconds;
    }

    /** @param cpuTimeSeconds CPU time limit of one execution, not of the whole life of a session; null: no limit */
    public void setCpuTimeSeconds(Integer cpuTimeSeconds) {
        this.cpuTimeSeconds = PropertyTextConverter.value(cpuTimeSeconds);
    }

    /** @return address-space limit of the process in bytes; null: no limit */
    public Long getAddressSpaceBytes() {
        return addressSpaceBytes;
    }

    /** @param addressSpaceBytes address-space limit of the process in bytes; null: no limit */
    public void setAddressSpaceBytes(Long addressSpaceBytes) {
        this.addressSpaceBytes = PropertyTextConverter.value(addressSpaceBytes);
    }

    /** @return how much of standard output is kept; the rest is read, counted and dropped */
    public long getMaxStdoutBytes() {
        return maxStdoutBytes;
    }

    /** @param maxStdoutBytes how much of standard output is kept; the rest is read, counted and dropped */
    public void setMaxStdoutBytes(long maxStdoutBytes) {
        this.maxStdoutBytes = maxStdoutBytes;
    }

    /** @return how much of standard error is kept; the rest is read, counted and dropped */
    public long getMaxStderrBytes() {
        return maxStderrBytes;
    }

    /** @param maxStderrBytes how much of standard error is kept; the rest is read, counted and dropped */
    public void setMaxStderrBytes(long maxStderrBytes) {
        this.maxStderrBytes = maxStderrBytes;
    }

    /** @return true: there is no network; false: the host's network */
    public boolean isDisableNetworking() {
        return disableNetworking;
    }

    /** @param disableNetworking true: there is no network; false: the host's network */
    public void setDisableNetworking(boolean disableNetworking) {
        this.disableNetworking = disableNetworking;
    }

    /** @return true: the script has no file access, neither with open() nor in another way */
    public boolean isDisableOpen() {
        return disableOpen;
    }

    /** @param disableOpen true: the script has no file access, neither with open() nor in another way */
    public void setDisableOpen(boolean disableOpen) {
        this.disableOpen = disableOpen;
    }

    /** @return used when disable-open is false. True: the script may read inside the working directory; false: it may also write there */
    public boolean isAllowReadonlyOpen() {
        return allowReadonlyOpen;
    }

    /** @param allowReadonlyOpen used when disable-open is false. True: the script may read inside the working directory; false: it may also write there */
    public void setAllowReadonlyOpen(boolean allowReadonlyOpen) {
        this.allowReadonlyOpen = allowReadonlyOpen;
    }

    /** @return true: the script may import only allowed-imports; false: everything except banned-imports */
    public boolean isUseImportWhitelist() {
        return useImportWhitelist;
    }

    /** @param useImportWhitelist true: the script may import only allowed-imports; false: everything except banned-imports */
    public void setUseImportWhitelist(boolean useImportWhitelist) {
        this.useImportWhitelist = useImportWhitelist;
    }

    /** @return modules that the script may import when the whitelist is on; empty if it was not set, and then the default set is used */
    public Set<String> getAllowedImports() {
        return allowedImports;
    }

    /** @param allowedImports modules that the script may import when the whitelist is on */
    public void setAllowedImports(Set<String> allowedImports) {
        setsAllowedImports |= allowedImports != this.allowedImports;
        this.allowedImports = allowedImports;
    }

    /** @return hosts that the script may reach, as NAME, NAME:PORT or *.NAME, while disable-networking is true */
    public Set<String> getAllowedHosts() {
        return allowedHosts;
    }

    /** @param allowedHosts hosts that the script may reach, as NAME, NAME:PORT or *.NAME, while disable-networking is true */
    public void setAllowedHosts(Set<String> allowedHosts) {
        this.allowedHosts = allowedHosts;
    }

    /** @return modules that the script may not import when the whitelist is off; empty if it was not set, and then the default set is used */
    public Set<String> getBannedImports() {
        return bannedImports;
    }

    /** @param bannedImports modules that the script may not import when the whitelist is off */
    public void setBannedImports(Set<String> bannedImports) {
        setsBannedImports |= bannedImports != this.bannedImports;
        this.bannedImports = bannedImports;
    }

    /** @return whether imports of names that begin or end with two underscores are refused */
    public boolean isBlockDunderImports() {
        return blockDunderImports;
    }

    /** @param blockDunderImports whether imports of names that begin or end with two underscores are refused */
    public void setBlockDunderImports(boolean blockDunderImports) {
        this.blockDunderImports = blockDunderImports;
    }

    /** @return true: if the last statement is an expression whose value is not None, its repr is the last value */
    public boolean isPrintLastExpression() {
        return printLastExpression;
    }

    /** @param printLastExpression true: if the last statement is an expression whose value is not None, its repr is the last value */
    public void setPrintLastExpression(boolean printLastExpression) {
        this.printLastExpression = printLastExpression;
    }

    /** @return whether the interpreter runs without site-packages and PYTHON* variables */
    public boolean isIsolateSite() {
        return isolateSite;
    }

    /** @param isolateSite whether the interpreter runs without site-packages and PYTHON* variables */
    public void setIsolateSite(boolean isolateSite) {
        this.isolateSite = isolateSite;
    }

    /** @return modules that the warm parent imports once */
    public List<String> getPreloadImports() {
        return preloadImports;
    }

    /** @param preloadImports modules that the warm parent imports once */
    public void setPreloadImports(List<String> preloadImports) {
        this.preloadImports = preloadImports;
    }

    /** @return the environment whose packages the script may import */
    public String getEnvironment() {
        return environment;
    }

    /** @param environment the environment whose packages the script may import; empty: none */
    public void setEnvironment(String environment) {
        this.environment = environment;
    }

    /** @return environments that callers of a server may choose */
    public List<String> getAllowedEnvironments() {
        return allowedEnvironments;
    }

    /** @param allowedEnvironments environments that callers of a server may choose */
    public void setAllowedEnvironments(List<String> allowedEnvironments) {
        this.allowedEnvironments = allowedEnvironments;
    }

    // made from policy.def: accessors
    /** @return How many files the script itself may have open at the same time. Null: no limit */
    public Integer getMaxOpenFiles() {
        return maxOpenFiles;
    }

    /** @param maxOpenFiles How many files the script itself may have open at the same time. Null: no limit */
    public void setMaxOpenFiles(Integer maxOpenFiles) {
        this.maxOpenFiles = PropertyTextConverter.value(maxOpenFiles);
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
        this.toolTimeout = PropertyTextConverter.value(toolTimeout);
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

    /** @return whether sessions may be made at all */
    public boolean isSessionEnabled() {
        return sessionEnabled;
    }

    /** @param sessionEnabled whether sessions may be made at all */
    public void setSessionEnabled(boolean sessionEnabled) {
        this.sessionEnabled = sessionEnabled;
    }

    /** @return how many sessions may exist at once; if there are more, the least recently used idle session ends */
    public int getSessionMaxCount() {
        return sessionMaxCount;
    }

    /** @param sessionMaxCount how many sessions may exist at once; if there are more, the least recently used idle session ends */
    public void setSessionMaxCount(int sessionMaxCount) {
        this.sessionMaxCount = sessionMaxCount;
    }

    /** @return a session ends this long after the end of its last call; null: never */
    public Duration getSessionIdleTtl() {
        return sessionIdleTtl;
    }

    /** @param sessionIdleTtl a session ends this long after the end of its last call; null: never */
    public void setSessionIdleTtl(Duration sessionIdleTtl) {
        this.sessionIdleTtl = PropertyTextConverter.value(sessionIdleTtl);
    }

    /** @return a session ends this long after it was made; null: never */
    public Duration getSessionHardTtl() {
        return sessionHardTtl;
    }

    /** @param sessionHardTtl a session ends this long after it was made; null: never */
    public void setSessionHardTtl(Duration sessionHardTtl) {
        this.sessionHardTtl = PropertyTextConverter.value(sessionHardTtl);
    }

    /** @return host folder in which each session has its workspace; {@code java.io.tmpdir} unless it was set */
    public String getWorkspaceRoot() {
        return workspaceRoot == null || workspaceRoot.isEmpty() ? System.getProperty("java.io.tmpdir") : workspaceRoot;
    }

    /** @param workspaceRoot host folder in which each session has its workspace; null: workspaces are in memory */
    public void setWorkspaceRoot(String workspaceRoot) {
        this.workspaceRoot = workspaceRoot;
    }

    /** @return path of the native program pyexec */
    public String getExecutable() {
        return executable;
    }

    /** @param executable path of the native program pyexec */
    public void setExecutable(String executable) {
        this.executable = executable;
    }

    /** @return isolation layers that runs may lack when the machine refuses them; every result names the missing layers */
    public List<String> getAllowMissing() {
        return allowMissing;
    }

    /** @param allowMissing isolation layers that runs may lack when the machine refuses them; every result names the missing layers */
    public void setAllowMissing(List<String> allowMissing) {
        this.allowMissing = allowMissing;
    }

    /** @return how many calls may wait for a turn; others are refused as overloaded */
    public Integer getQueueLength() {
        return queueLength;
    }

    /** @param queueLength how many calls may wait for a turn; others are refused as overloaded */
    public void setQueueLength(Integer queueLength) {
        this.queueLength = queueLength;
    }

    /** @return how many executions may use the CPUs at once */
    public Integer getMaxConcurrent() {
        return maxConcurrent;
    }

    /** @param maxConcurrent how many executions may use the CPUs at once */
    public void setMaxConcurrent(Integer maxConcurrent) {
        this.maxConcurrent = maxConcurrent;
    }

    /** @return how many more executions may be in progress while they sleep */
    public Integer getMaxAsleep() {
        return maxAsleep;
    }

    /** @param maxAsleep how many more executions may be in progress while they sleep */
    public void setMaxAsleep(Integer maxAsleep) {
        this.maxAsleep = maxAsleep;
    }

    /** @return URL of a pyexec serve that runs the scripts; null: this machine runs them */
    public String getUrl() {
        return url;
    }

    /** @param url URL of a pyexec serve that runs the scripts; null: this machine runs them */
    public void setUrl(String url) {
        this.url = url;
    }

    /** @return bearer token for the server */
    public String getToken() {
        return token;
    }

    /** @param token bearer token for the server */
    public void setToken(String token) {
        this.token = token;
    }

    /** @return the path of the file with the credentials for NATS, or null */
    public String getCredentials() {
        return credentials;
    }

    /** @param credentials the path of a .creds file of NATS, or of a file with the seed of an nkey */
    public void setCredentials(String credentials) {
        this.credentials = credentials;
    }

    /** @return the principal whose subjects of the fleet are used; null: local */
    public String getPrincipal() {
        return principal;
    }

    /** @param principal the principal whose subjects of the fleet are used; null: local */
    public void setPrincipal(String principal) {
        this.principal = principal;
    }

    /** @return the beginning of the subjects to which the fleet answers; null: _INBOX */
    public String getInboxPrefix() {
        return inboxPrefix;
    }

    /** @param inboxPrefix the beginning of the subjects to which the fleet answers; null: _INBOX */
    public void setInboxPrefix(String inboxPrefix) {
        this.inboxPrefix = inboxPrefix;
    }

    /** @return prefix of session ids on the server; null: a random prefix */
    public String getSessionPrefix() {
        return sessionPrefix;
    }

    /** @param sessionPrefix prefix of session ids on the server; null: a random prefix */
    public void setSessionPrefix(String sessionPrefix) {
        this.sessionPrefix = sessionPrefix;
    }

    /** @return how long an answer of the server may take beyond the time limit of the run; null: no limit */
    public Duration getAnswerTimeout() {
        return answerTimeout;
    }

    /** @param answerTimeout how long an answer of the server may take beyond the time limit of the run; null: no limit */
    public void setAnswerTimeout(Duration answerTimeout) {
        this.answerTimeout = PropertyTextConverter.value(answerTimeout);
    }

    /** @return how long a call that was refused as overloaded is repeated */
    public Duration getRetryOverloaded() {
        return retryOverloaded;
    }

    /** @param retryOverloaded how long a call that was refused as overloaded is repeated; null or 0: it is not repeated */
    public void setRetryOverloaded(Duration retryOverloaded) {
        this.retryOverloaded = PropertyTextConverter.value(retryOverloaded);
    }

    /** @return true: the application fails to start when this machine can't run scripts; false: the first call fails */
    public boolean isVerifyAtStartup() {
        return verifyAtStartup;
    }

    /** @param verifyAtStartup true: the application fails to start when this machine can't run scripts; false: the first call fails */
    public void setVerifyAtStartup(boolean verifyAtStartup) {
        this.verifyAtStartup = verifyAtStartup;
    }
}

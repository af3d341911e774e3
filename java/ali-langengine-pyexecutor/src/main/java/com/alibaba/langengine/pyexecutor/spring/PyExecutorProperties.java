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
 * The policy's keys, and those of sessions and host. As text, sizes are bytes or an integer with K, M or G;
 * durations are Spring's or an integer with ms, s, m or h; {@code none} is no limit, which is null here.
 */
@ConfigurationProperties("ali.langengine.pyexecutor")
public class PyExecutorProperties {
    /**
     * Interpreter, by path or looked up in PATH: CPython 3.8 or later, with the GIL; a virtual environment's bin/python too. Unless it is set, the environment variable PYTHON_BIN, else python3.
     */
    private String pythonBin = new PyExecutionPolicy().getPythonBin();

    /** Wall-clock limit of one execution. */
    private Duration timeout = Duration.ofSeconds(5);

    /** CPU limit of one execution, not of the session's life; none: no limit. */
    @PropertyText(value = "cpu-time-seconds", nullable = true)
    private Integer cpuTimeSeconds = 2;

    /** Address-space limit of the process, as bytes or with K, M or G; none: no limit. */
    @PropertyText(value = "address-space-bytes", nullable = true)
    private Long addressSpaceBytes = 536870912L;

    /** Standard output that is kept; the rest is drained, counted and dropped. */
    @PropertyText("max-stdout-bytes")
    private long maxStdoutBytes = 1000000;

    /** Standard error that is kept; the rest is drained, counted and dropped. */
    @PropertyText("max-stderr-bytes")
    private long maxStderrBytes = 256000;

    /** Whether there is no network at all; else the host's. */
    private boolean disableNetworking = true;

    /** Whether there is no file access for the script, by open() or any other way. */
    private boolean disableOpen = true;

    /**
     * With disable-open false: true gives reading inside the working directory, false full access inside it. Never outside it.
     */
    private boolean allowReadonlyOpen = false;

    /** Whether only allowed-imports may be imported; else all but banned-imports. */
    private boolean useImportWhitelist = true;

    /** Modules that the script may import under the whitelist. Replaces the default set. */
    private Set<String> allowedImports = new LinkedHashSet<>();

    /** Modules that the script may not import when the whitelist is off. Replaces the default set. */
    private Set<String> bannedImports = new LinkedHashSet<>();

    /** Whether imports of names that begin or end with two underscores are refused. */
    private boolean blockDunderImports = true;

    /** Whether the repr of a last expression becomes the last value. */
    private boolean printLastExpression = true;

    /** Whether the interpreter runs without site-packages and PYTHON* variables. */
    private boolean isolateSite = true;

    /** Modules imported once in the warm parent. Adds nothing to the whitelist. */
    private List<String> preloadImports;

    // made from policy.def: fields
    /** Files that the script itself may hold open at once. None: no limit. */
    @PropertyText(value = "max-open-files", nullable = true)
    private Integer maxOpenFiles = 16;

    /** Longest last_value_repr, last_value_json and error message kept. */
    @PropertyText("max-value-bytes")
    private long maxValueBytes = 65536;

    /** Displays (display(), figures, a last value with a rich form) that are kept; the rest is counted and dropped. */
    private int maxDisplays = 100;

    /** Data of all displays of one execution together, as the result has it; what does not fit is counted and dropped. */
    @PropertyText("max-display-bytes")
    private long maxDisplayBytes = 8388608;

    /** Most bytes that the files of the workspace may take. */
    @PropertyText("workspace-bytes")
    private long workspaceBytes = 67108864;

    /** Maximum number of concurrent threads. The script can never start processes. */
    private int maxThreads = 16;

    /** Calls of the caller's tools that one execution may make (docs/tools.md). */
    private int maxToolCalls = 1000;

    /** Longest wait for the answer of one tool call. The script gets an error then. None: no limit. */
    @PropertyText(value = "tool-timeout", nullable = true)
    private Duration toolTimeout;
    // end of fields

    /** Whether sessions may be made at all. */
    private boolean sessionEnabled = true;

    /** Most sessions at once; the least recently used idle one makes room. 0: no limit. */
    private int sessionMaxCount = 50;

    /** A session ends when its last call ended so long ago; none: never. */
    @PropertyText(value = "session-idle-ttl", nullable = true)
    private Duration sessionIdleTtl = Duration.ofMinutes(10);

    /** A session ends when it is so old; none: never. */
    @PropertyText(value = "session-hard-ttl", nullable = true)
    private Duration sessionHardTtl = Duration.ofHours(1);

    /**
     * Host folder in which each session has its workspace. Unless it is set, workspaces are in memory, with the kernel keeping the quota.
     */
    private String workspaceRoot;

    /** Path of the native program pyexec. Unless it is set, looked up in PATH, else the one in the jar. */
    private String executable;

    /**
     * Isolation layers that runs may go without where the machine refuses them; each is named in every result.
     */
    private List<String> allowMissing;

    /** Calls that may wait for a free place; more are refused as overloaded. Default: 256. */
    private Integer queueLength;

    /** Executions that may use the CPUs at once. Default: twice the number of CPUs. */
    private Integer maxConcurrent;

    /** Executions that may be in progress beside them while they sleep. Default: 256. */
    private Integer maxAsleep;

    /** URL of a pyexec serve that runs the scripts, http[s]://HOST[:PORT][/PATH]. Unless it is set, this machine does. */
    private String url;

    /** Bearer token for the server of url. */
    private String token;

    /**
     * What stands before session ids at the server of url: executors with the same one and the same token share sessions. Unless it is set, a random one, so that sessions are this application's alone.
     */
    private String sessionPrefix;

    /** How long an answer of the server of url may take beyond a run's own limit; none: no limit. */
    @PropertyText(value = "answer-timeout", nullable = true)
    private Duration answerTimeout = Duration.ofMinutes(5);

    /** How long a call that is refused as overloaded is made again; its code never started. 0: not at all. */
    private Duration retryOverloaded = Duration.ofSeconds(10);

    /**
     * Whether the application fails to start when this machine can't run scripts; else the first call fails.
     */
    private boolean verifyAtStartup = true;

    /** An empty set that was set is empty; one that was not is the default set. */
    private boolean setsAllowedImports;
    private boolean setsBannedImports;

    /** The defaults. */
    public PyExecutorProperties() {
    }

    /**
     * The policy that these properties are.
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
        // made from policy.def: policy
        policy.setMaxOpenFiles(maxOpenFiles);
        policy.setMaxValueBytes(maxValueBytes);
        policy.setMaxDisplays(maxDisplays);
        policy.setMaxDisplayBytes(maxDisplayBytes);
        policy.setWorkspaceBytes(workspaceBytes);
        policy.setMaxThreads(maxThreads);
        policy.setMaxToolCalls(maxToolCalls);
        policy.setToolTimeout(toolTimeout);
        // end of policy
        return policy;
    }

    /**
     * How sessions are kept, as these properties say.
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
     * What concerns this machine, as these properties say.
     *
     * @return a new one
     */
    public HostConfig toHostConfig() {
        HostConfig config = new HostConfig().setExecutable(executable).setQueueLength(queueLength).setMaxConcurrent(maxConcurrent)
                .setMaxAsleep(maxAsleep).setUrl(url).setToken(token).setSessionPrefix(sessionPrefix)
                .setAnswerTimeout(answerTimeout).setRetryOverloaded(retryOverloaded);
        return allowMissing == null ? config : config.setAllowMissing(allowMissing.toArray(new String[0]));
    }

    private static void replace(Set<String> set, Set<String> configured, boolean wasSet) {
        if (configured != null && (wasSet || !configured.isEmpty())) {
            set.clear();
            set.addAll(configured);
        }
    }

    /** @return interpreter, by path or looked up in PATH: CPython 3.8 or later, with the GIL; a virtual environment's bin/python too */
    public String getPythonBin() {
        return pythonBin;
    }

    /** @param pythonBin interpreter, by path or looked up in PATH: CPython 3.8 or later, with the GIL; a virtual environment's bin/python too */
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

    /** @return CPU limit of one execution, not of the session's life; null: no limit */
    public Integer getCpuTimeSeconds() {
        return cpuTimeSeconds;
    }

    /** @param cpuTimeSeconds CPU limit of one execution, not of the session's life; null: no limit */
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

    /** @return standard output that is kept; the rest is drained, counted and dropped */
    public long getMaxStdoutBytes() {
        return maxStdoutBytes;
    }

    /** @param maxStdoutBytes standard output that is kept; the rest is drained, counted and dropped */
    public void setMaxStdoutBytes(long maxStdoutBytes) {
        this.maxStdoutBytes = maxStdoutBytes;
    }

    /** @return standard error that is kept; the rest is drained, counted and dropped */
    public long getMaxStderrBytes() {
        return maxStderrBytes;
    }

    /** @param maxStderrBytes standard error that is kept; the rest is drained, counted and dropped */
    public void setMaxStderrBytes(long maxStderrBytes) {
        this.maxStderrBytes = maxStderrBytes;
    }

    /** @return whether there is no network at all; else the host's */
    public boolean isDisableNetworking() {
        return disableNetworking;
    }

    /** @param disableNetworking whether there is no network at all; else the host's */
    public void setDisableNetworking(boolean disableNetworking) {
        this.disableNetworking = disableNetworking;
    }

    /** @return whether there is no file access for the script, by open() or any other way */
    public boolean isDisableOpen() {
        return disableOpen;
    }

    /** @param disableOpen whether there is no file access for the script, by open() or any other way */
    public void setDisableOpen(boolean disableOpen) {
        this.disableOpen = disableOpen;
    }

    /** @return with disable-open false: true gives reading inside the working directory, false full access inside it */
    public boolean isAllowReadonlyOpen() {
        return allowReadonlyOpen;
    }

    /** @param allowReadonlyOpen with disable-open false: true gives reading inside the working directory, false full access inside it */
    public void setAllowReadonlyOpen(boolean allowReadonlyOpen) {
        this.allowReadonlyOpen = allowReadonlyOpen;
    }

    /** @return whether only allowed-imports may be imported; else all but banned-imports */
    public boolean isUseImportWhitelist() {
        return useImportWhitelist;
    }

    /** @param useImportWhitelist whether only allowed-imports may be imported; else all but banned-imports */
    public void setUseImportWhitelist(boolean useImportWhitelist) {
        this.useImportWhitelist = useImportWhitelist;
    }

    /** @return modules that the script may import under the whitelist; empty when it was not set: the default set */
    public Set<String> getAllowedImports() {
        return allowedImports;
    }

    /** @param allowedImports modules that the script may import under the whitelist */
    public void setAllowedImports(Set<String> allowedImports) {
        setsAllowedImports |= allowedImports != this.allowedImports;
        this.allowedImports = allowedImports;
    }

    /** @return modules that the script may not import when the whitelist is off; empty when it was not set: the default set */
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

    /** @return whether the repr of a last expression becomes the last value */
    public boolean isPrintLastExpression() {
        return printLastExpression;
    }

    /** @param printLastExpression whether the repr of a last expression becomes the last value */
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

    /** @return modules imported once in the warm parent */
    public List<String> getPreloadImports() {
        return preloadImports;
    }

    /** @param preloadImports modules imported once in the warm parent */
    public void setPreloadImports(List<String> preloadImports) {
        this.preloadImports = preloadImports;
    }

    // made from policy.def: accessors
    /** @return Files that the script itself may hold open at once. Null: no limit */
    public Integer getMaxOpenFiles() {
        return maxOpenFiles;
    }

    /** @param maxOpenFiles Files that the script itself may hold open at once. Null: no limit */
    public void setMaxOpenFiles(Integer maxOpenFiles) {
        this.maxOpenFiles = PropertyTextConverter.value(maxOpenFiles);
    }

    /** @return Longest last_value_repr, last_value_json and error message kept */
    public long getMaxValueBytes() {
        return maxValueBytes;
    }

    /** @param maxValueBytes Longest last_value_repr, last_value_json and error message kept */
    public void setMaxValueBytes(long maxValueBytes) {
        this.maxValueBytes = maxValueBytes;
    }

    /** @return Displays (display(), figures, a last value with a rich form) that are kept; the rest is counted and dropped */
    public int getMaxDisplays() {
        return maxDisplays;
    }

    /** @param maxDisplays Displays (display(), figures, a last value with a rich form) that are kept; the rest is counted and dropped */
    public void setMaxDisplays(int maxDisplays) {
        this.maxDisplays = maxDisplays;
    }

    /** @return Data of all displays of one execution together, as the result has it; what does not fit is counted and dropped */
    public long getMaxDisplayBytes() {
        return maxDisplayBytes;
    }

    /** @param maxDisplayBytes Data of all displays of one execution together, as the result has it; what does not fit is counted and dropped */
    public void setMaxDisplayBytes(long maxDisplayBytes) {
        this.maxDisplayBytes = maxDisplayBytes;
    }

    /** @return Most bytes that the files of the workspace may take */
    public long getWorkspaceBytes() {
        return workspaceBytes;
    }

    /** @param workspaceBytes Most bytes that the files of the workspace may take */
    public void setWorkspaceBytes(long workspaceBytes) {
        this.workspaceBytes = workspaceBytes;
    }

    /** @return Maximum number of concurrent threads. The script can never start processes */
    public int getMaxThreads() {
        return maxThreads;
    }

    /** @param maxThreads Maximum number of concurrent threads. The script can never start processes */
    public void setMaxThreads(int maxThreads) {
        this.maxThreads = maxThreads;
    }

    /** @return Calls of the caller's tools that one execution may make (docs/tools.md) */
    public int getMaxToolCalls() {
        return maxToolCalls;
    }

    /** @param maxToolCalls Calls of the caller's tools that one execution may make (docs/tools.md) */
    public void setMaxToolCalls(int maxToolCalls) {
        this.maxToolCalls = maxToolCalls;
    }

    /** @return Longest wait for the answer of one tool call. The script gets an error then. Null: no limit */
    public Duration getToolTimeout() {
        return toolTimeout;
    }

    /** @param toolTimeout Longest wait for the answer of one tool call. The script gets an error then. Null: no limit */
    public void setToolTimeout(Duration toolTimeout) {
        this.toolTimeout = PropertyTextConverter.value(toolTimeout);
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

    /** @return most sessions at once; the least recently used idle one makes room */
    public int getSessionMaxCount() {
        return sessionMaxCount;
    }

    /** @param sessionMaxCount most sessions at once; the least recently used idle one makes room */
    public void setSessionMaxCount(int sessionMaxCount) {
        this.sessionMaxCount = sessionMaxCount;
    }

    /** @return a session ends when its last call ended so long ago; null: never */
    public Duration getSessionIdleTtl() {
        return sessionIdleTtl;
    }

    /** @param sessionIdleTtl a session ends when its last call ended so long ago; null: never */
    public void setSessionIdleTtl(Duration sessionIdleTtl) {
        this.sessionIdleTtl = PropertyTextConverter.value(sessionIdleTtl);
    }

    /** @return a session ends when it is so old; null: never */
    public Duration getSessionHardTtl() {
        return sessionHardTtl;
    }

    /** @param sessionHardTtl a session ends when it is so old; null: never */
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

    /** @return isolation layers that runs may go without where the machine refuses them; each is named in every result */
    public List<String> getAllowMissing() {
        return allowMissing;
    }

    /** @param allowMissing isolation layers that runs may go without where the machine refuses them; each is named in every result */
    public void setAllowMissing(List<String> allowMissing) {
        this.allowMissing = allowMissing;
    }

    /** @return calls that may wait for a free place; more are refused as overloaded */
    public Integer getQueueLength() {
        return queueLength;
    }

    /** @param queueLength calls that may wait for a free place; more are refused as overloaded */
    public void setQueueLength(Integer queueLength) {
        this.queueLength = queueLength;
    }

    /** @return executions that may use the CPUs at once */
    public Integer getMaxConcurrent() {
        return maxConcurrent;
    }

    /** @param maxConcurrent executions that may use the CPUs at once */
    public void setMaxConcurrent(Integer maxConcurrent) {
        this.maxConcurrent = maxConcurrent;
    }

    /** @return executions that may be in progress beside them while they sleep */
    public Integer getMaxAsleep() {
        return maxAsleep;
    }

    /** @param maxAsleep executions that may be in progress beside them while they sleep */
    public void setMaxAsleep(Integer maxAsleep) {
        this.maxAsleep = maxAsleep;
    }

    /** @return URL of a pyexec serve that runs the scripts, or null: this machine does */
    public String getUrl() {
        return url;
    }

    /** @param url URL of a pyexec serve that runs the scripts, or null: this machine does */
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

    /** @return what stands before session ids at the server; null: a random one */
    public String getSessionPrefix() {
        return sessionPrefix;
    }

    /** @param sessionPrefix what stands before session ids at the server; null: a random one */
    public void setSessionPrefix(String sessionPrefix) {
        this.sessionPrefix = sessionPrefix;
    }

    /** @return how long an answer of the server may take beyond a run's own limit; null: no limit */
    public Duration getAnswerTimeout() {
        return answerTimeout;
    }

    /** @param answerTimeout how long an answer of the server may take beyond a run's own limit; null: no limit */
    public void setAnswerTimeout(Duration answerTimeout) {
        this.answerTimeout = PropertyTextConverter.value(answerTimeout);
    }

    /** @return how long a call that is refused as overloaded is made again */
    public Duration getRetryOverloaded() {
        return retryOverloaded;
    }

    /** @param retryOverloaded how long a call that is refused as overloaded is made again; null or 0: not at all */
    public void setRetryOverloaded(Duration retryOverloaded) {
        this.retryOverloaded = PropertyTextConverter.value(retryOverloaded);
    }

    /** @return whether the application fails to start when this machine can't run scripts; else the first call fails */
    public boolean isVerifyAtStartup() {
        return verifyAtStartup;
    }

    /** @param verifyAtStartup whether the application fails to start when this machine can't run scripts; else the first call fails */
    public void setVerifyAtStartup(boolean verifyAtStartup) {
        this.verifyAtStartup = verifyAtStartup;
    }
}

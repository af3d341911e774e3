package com.alibaba.langengine.pyexecutor.spring;

import com.alibaba.langengine.pyexecutor.HostConfig;
import com.alibaba.langengine.pyexecutor.PyExecutionPolicy;
import com.alibaba.langengine.pyexecutor.SessionConfig;
import java.nio.file.Paths;
import java.time.Duration;
import java.util.List;
import java.util.Set;
import org.springframework.boot.context.properties.ConfigurationProperties;

/**
 * The policy's keys, and those of sessions and host. Sizes are bytes or an integer with K, M or G; durations are
 * Spring's or an integer with ms, s, m or h; {@code none} is no limit.
 */
@ConfigurationProperties("ali.langengine.pyexecutor")
public class PyExecutorProperties {
    /**
     * Interpreter, by path or looked up in PATH: CPython 3.8 or later, with the GIL; a virtual environment's bin/python too. Unless it is set, the environment variable PYTHON_BIN, else python3.
     */
    private String pythonBin;

    /** Wall-clock limit of one execution. */
    private Duration timeout = Duration.ofSeconds(5);

    /** CPU limit of one execution, not of the session's life; none: no limit. */
    private String cpuTimeSeconds = "2";

    /** Address-space limit of the process, as bytes or with K, M or G; none: no limit. */
    private String addressSpaceBytes = "512M";

    /** Files that the script itself may hold open at once; none: no limit. */
    private String maxOpenFiles = "16";

    /** Standard output that is kept; the rest is drained, counted and dropped. */
    private String maxStdoutBytes = "1000000";

    /** Standard error that is kept; the rest is drained, counted and dropped. */
    private String maxStderrBytes = "256000";

    /** Longest last value and error message kept. */
    private String maxValueBytes = "65536";

    /** Displays of one execution that are kept; the rest is counted and dropped. */
    private int maxDisplays = 100;

    /** Data of all displays of one execution together; what does not fit is counted and dropped. */
    private String maxDisplayBytes = "8M";

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
    private Set<String> allowedImports;

    /** Modules that the script may not import when the whitelist is off. Replaces the default set. */
    private Set<String> bannedImports;

    /** Whether imports of names that begin or end with two underscores are refused. */
    private boolean blockDunderImports = true;

    /** Whether the repr of a last expression becomes the last value. */
    private boolean printLastExpression = true;

    /** Whether the interpreter runs without site-packages and PYTHON* variables. */
    private boolean isolateSite = true;

    /** Modules imported once in the warm parent. Adds nothing to the whitelist. */
    private List<String> preloadImports;

    /** What the script may write. */
    private String workspaceBytes = "64M";

    /** Threads that the script may run at once. */
    private int maxThreads = 16;

    /** Whether sessions may be made at all. */
    private boolean sessionEnabled = true;

    /** Most sessions at once; the least recently used idle one makes room. 0: no limit. */
    private int sessionMaxCount = 50;

    /** A session ends when its last call ended so long ago; none: never. */
    private String sessionIdleTtl = "10m";

    /** A session ends when it is so old; none: never. */
    private String sessionHardTtl = "1h";

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

    /** Executions that may go on at once. Default: twice the number of CPUs. */
    private Integer maxConcurrent;

    /** URL of a pyexec serve that runs the scripts, http[s]://HOST[:PORT][/PATH]. Unless it is set, this machine does. */
    private String url;

    /** Bearer token for the server of url. */
    private String token;

    /**
     * What stands before session ids at the server of url: executors with the same one and the same token share sessions. Unless it is set, a random one, so that sessions are this application's alone.
     */
    private String sessionPrefix;

    /** How long an answer of the server of url may take beyond a run's own limit; none: no limit. */
    private String answerTimeout = "5m";

    /**
     * Whether the application fails to start when this machine can't run scripts; else the first call fails.
     */
    private boolean verifyAtStartup = true;

    /** The defaults. */
    public PyExecutorProperties() {
    }

    /**
     * The policy that these properties are.
     *
     * @return a new one
     * @throws IllegalArgumentException for a text that is no size or number, naming its property
     */
    public PyExecutionPolicy toPolicy() {
        PyExecutionPolicy policy = new PyExecutionPolicy();
        if (pythonBin != null && !pythonBin.isEmpty()) {
            policy.setPythonBin(pythonBin);
        }
        policy.setTimeout(timeout);
        Long seconds = Texts.size("cpu-time-seconds", cpuTimeSeconds, true);
        policy.setCpuTimeSeconds(seconds == null ? null : (Integer) Math.toIntExact(seconds));
        policy.setAddressSpaceBytes(Texts.size("address-space-bytes", addressSpaceBytes, true));
        Long files = Texts.size("max-open-files", maxOpenFiles, true);
        policy.setMaxOpenFiles(files == null ? null : (Integer) Math.toIntExact(files));
        policy.setMaxStdoutBytes(Texts.size("max-stdout-bytes", maxStdoutBytes, false));
        policy.setMaxStderrBytes(Texts.size("max-stderr-bytes", maxStderrBytes, false));
        policy.setMaxValueBytes(Texts.size("max-value-bytes", maxValueBytes, false));
        policy.setMaxDisplays(maxDisplays);
        policy.setMaxDisplayBytes(Texts.size("max-display-bytes", maxDisplayBytes, false));
        policy.setDisableNetworking(disableNetworking);
        policy.setDisableOpen(disableOpen);
        policy.setAllowReadonlyOpen(allowReadonlyOpen);
        policy.setUseImportWhitelist(useImportWhitelist);
        replace(policy.getAllowedImports(), allowedImports);
        replace(policy.getBannedImports(), bannedImports);
        policy.setBlockDunderImports(blockDunderImports);
        policy.setPrintLastExpression(printLastExpression);
        policy.setIsolateSite(isolateSite);
        if (preloadImports != null) {
            policy.setPreloadImports(preloadImports);
        }
        policy.setWorkspaceBytes(Texts.size("workspace-bytes", workspaceBytes, false));
        policy.setMaxThreads(maxThreads);
        return policy;
    }

    /**
     * How sessions are kept, as these properties say.
     *
     * @return a new one
     * @throws IllegalArgumentException for a text that is no duration, naming its property
     */
    public SessionConfig toSessionConfig() {
        SessionConfig config = new SessionConfig().setEnabled(sessionEnabled).setMaxCount(sessionMaxCount)
                .setIdleTtl(Texts.duration("session-idle-ttl", sessionIdleTtl))
                .setHardTtl(Texts.duration("session-hard-ttl", sessionHardTtl));
        if (workspaceRoot != null && !workspaceRoot.isEmpty()) {
            config.setWorkspaceRoot(Paths.get(workspaceRoot));
        }
        return config;
    }

    /**
     * What concerns this machine, as these properties say.
     *
     * @return a new one
     */
    public HostConfig toHostConfig() {
        HostConfig config = new HostConfig().setExecutable(executable).setQueueLength(queueLength).setMaxConcurrent(maxConcurrent)
                .setUrl(url).setToken(token).setSessionPrefix(sessionPrefix)
                .setAnswerTimeout(Texts.duration("answer-timeout", answerTimeout));
        return allowMissing == null ? config : config.setAllowMissing(allowMissing.toArray(new String[0]));
    }

    private static void replace(Set<String> set, Set<String> configured) {
        if (configured != null) {
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

    /** @return CPU limit of one execution, not of the session's life; none: no limit */
    public String getCpuTimeSeconds() {
        return cpuTimeSeconds;
    }

    /** @param cpuTimeSeconds CPU limit of one execution, not of the session's life; none: no limit */
    public void setCpuTimeSeconds(String cpuTimeSeconds) {
        this.cpuTimeSeconds = cpuTimeSeconds;
    }

    /** @return address-space limit of the process, as bytes or with K, M or G; none: no limit */
    public String getAddressSpaceBytes() {
        return addressSpaceBytes;
    }

    /** @param addressSpaceBytes address-space limit of the process, as bytes or with K, M or G; none: no limit */
    public void setAddressSpaceBytes(String addressSpaceBytes) {
        this.addressSpaceBytes = addressSpaceBytes;
    }

    /** @return files that the script itself may hold open at once; none: no limit */
    public String getMaxOpenFiles() {
        return maxOpenFiles;
    }

    /** @param maxOpenFiles files that the script itself may hold open at once; none: no limit */
    public void setMaxOpenFiles(String maxOpenFiles) {
        this.maxOpenFiles = maxOpenFiles;
    }

    /** @return standard output that is kept; the rest is drained, counted and dropped */
    public String getMaxStdoutBytes() {
        return maxStdoutBytes;
    }

    /** @param maxStdoutBytes standard output that is kept; the rest is drained, counted and dropped */
    public void setMaxStdoutBytes(String maxStdoutBytes) {
        this.maxStdoutBytes = maxStdoutBytes;
    }

    /** @return standard error that is kept; the rest is drained, counted and dropped */
    public String getMaxStderrBytes() {
        return maxStderrBytes;
    }

    /** @param maxStderrBytes standard error that is kept; the rest is drained, counted and dropped */
    public void setMaxStderrBytes(String maxStderrBytes) {
        this.maxStderrBytes = maxStderrBytes;
    }

    /** @return longest last value and error message kept */
    public String getMaxValueBytes() {
        return maxValueBytes;
    }

    /** @param maxValueBytes longest last value and error message kept */
    public void setMaxValueBytes(String maxValueBytes) {
        this.maxValueBytes = maxValueBytes;
    }

    /** @return displays of one execution that are kept */
    public int getMaxDisplays() {
        return maxDisplays;
    }

    /** @param maxDisplays displays of one execution that are kept */
    public void setMaxDisplays(int maxDisplays) {
        this.maxDisplays = maxDisplays;
    }

    /** @return data of all displays of one execution together */
    public String getMaxDisplayBytes() {
        return maxDisplayBytes;
    }

    /** @param maxDisplayBytes data of all displays of one execution together */
    public void setMaxDisplayBytes(String maxDisplayBytes) {
        this.maxDisplayBytes = maxDisplayBytes;
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

    /** @return modules that the script may import under the whitelist */
    public Set<String> getAllowedImports() {
        return allowedImports;
    }

    /** @param allowedImports modules that the script may import under the whitelist */
    public void setAllowedImports(Set<String> allowedImports) {
        this.allowedImports = allowedImports;
    }

    /** @return modules that the script may not import when the whitelist is off */
    public Set<String> getBannedImports() {
        return bannedImports;
    }

    /** @param bannedImports modules that the script may not import when the whitelist is off */
    public void setBannedImports(Set<String> bannedImports) {
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

    /** @return what the script may write */
    public String getWorkspaceBytes() {
        return workspaceBytes;
    }

    /** @param workspaceBytes what the script may write */
    public void setWorkspaceBytes(String workspaceBytes) {
        this.workspaceBytes = workspaceBytes;
    }

    /** @return threads that the script may run at once */
    public int getMaxThreads() {
        return maxThreads;
    }

    /** @param maxThreads threads that the script may run at once */
    public void setMaxThreads(int maxThreads) {
        this.maxThreads = maxThreads;
    }

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

    /** @return a session ends when its last call ended so long ago; none: never */
    public String getSessionIdleTtl() {
        return sessionIdleTtl;
    }

    /** @param sessionIdleTtl a session ends when its last call ended so long ago; none: never */
    public void setSessionIdleTtl(String sessionIdleTtl) {
        this.sessionIdleTtl = sessionIdleTtl;
    }

    /** @return a session ends when it is so old; none: never */
    public String getSessionHardTtl() {
        return sessionHardTtl;
    }

    /** @param sessionHardTtl a session ends when it is so old; none: never */
    public void setSessionHardTtl(String sessionHardTtl) {
        this.sessionHardTtl = sessionHardTtl;
    }

    /** @return host folder in which each session has its workspace */
    public String getWorkspaceRoot() {
        return workspaceRoot;
    }

    /** @param workspaceRoot host folder in which each session has its workspace */
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

    /** @return executions that may go on at once */
    public Integer getMaxConcurrent() {
        return maxConcurrent;
    }

    /** @param maxConcurrent executions that may go on at once */
    public void setMaxConcurrent(Integer maxConcurrent) {
        this.maxConcurrent = maxConcurrent;
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

    /** @return how long an answer of the server may take beyond a run's own limit; none: no limit */
    public String getAnswerTimeout() {
        return answerTimeout;
    }

    /** @param answerTimeout how long an answer of the server may take beyond a run's own limit; none: no limit */
    public void setAnswerTimeout(String answerTimeout) {
        this.answerTimeout = answerTimeout;
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

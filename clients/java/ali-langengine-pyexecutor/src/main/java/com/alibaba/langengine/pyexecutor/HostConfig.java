// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import java.net.http.HttpClient;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Executor;
import java.util.function.Supplier;

/**
 * Where scripts run. On this machine, these settings say where the native program is and which limits it has; they are read
 * when it starts. On a {@code pyexec serve} or a fleet, which have their own limits, they are read when the executor is made.
 */
public class HostConfig {
    private String executable;
    private List<String> allowMissing = new ArrayList<>();
    private Integer queueLength;
    private Integer maxConcurrent;
    private Integer maxAsleep;
    private String url;
    private String token;
    private String credentials;
    private String principal;
    private String inboxPrefix;
    private String sessionPrefix;
    private Duration answerTimeout = Duration.ofMinutes(5);
    private Duration retryOverloaded = Duration.ofSeconds(10);
    private HttpClient httpClient;
    private Executor asyncExecutor;
    private Supplier<Map<String, String>> traceContext;

    /** The defaults. */
    public HostConfig() {
    }

    /** @return the path of the native program, or null */
    public String getExecutable() {
        return executable;
    }

    /**
     * @param executable the path of the native program {@code pyexec}; null: the program in PATH, or else the program in the jar
     * @return this
     */
    public HostConfig setExecutable(String executable) {
        this.executable = executable;
        return this;
    }

    /** @return the isolation layers that runs may go without */
    public List<String> getAllowMissing() {
        return allowMissing;
    }

    /**
     * @param layers isolation layers (names of {@code pyexec doctor}) that runs may go without where the machine
     *     refuses them; each is then in {@link PyExecutionResult#getMissingLayers()}
     * @return this
     */
    public HostConfig setAllowMissing(String... layers) {
        this.allowMissing = new ArrayList<>(Arrays.asList(layers));
        return this;
    }

    /** @return how many calls may wait for a free place; null is pyexec's default, 256 */
    public Integer getQueueLength() {
        return queueLength;
    }

    /**
     * @param queueLength how many calls may wait for a free place; more throw {@link PyExecutorOverloadedException}
     * @return this
     */
    public HostConfig setQueueLength(Integer queueLength) {
        this.queueLength = queueLength;
        return this;
    }

    /** @return how many executions may use the CPUs at once; null is pyexec's default, twice the number of CPUs */
    public Integer getMaxConcurrent() {
        return maxConcurrent;
    }

    /**
     * @param maxConcurrent how many executions may use the CPUs at once; those that sleep do not count
     * @return this
     */
    public HostConfig setMaxConcurrent(Integer maxConcurrent) {
        this.maxConcurrent = maxConcurrent;
        return this;
    }

    /** @return how many more executions may be in progress while they sleep; null is pyexec's default, 256 */
    public Integer getMaxAsleep() {
        return maxAsleep;
    }

    /**
     * @param maxAsleep how many executions may be in progress in addition to {@code maxConcurrent} while they sleep; 0: executions that sleep also count for {@code maxConcurrent}
     * @return this
     */
    public HostConfig setMaxAsleep(Integer maxAsleep) {
        this.maxAsleep = maxAsleep;
        return this;
    }

    /** @return the URL of a {@code pyexec serve}, or of NATS, or null */
    public String getUrl() {
        return url;
    }

    /**
     * @param url {@code http[s]://HOST[:PORT][/PATH]} of the {@code pyexec serve} that runs the scripts, or
     *     {@code nats://[USER:PASSWORD@]HOST[:PORT]}, with {@code tls://} for TLS, of the NATS server whose fleet runs them (more
     *     servers of one cluster after commas); null: this machine runs them. The system property {@code ali.langengine.pyexecutor.url} and the environment variable {@code PYEXEC_URL}
     *     override it
     * @return this
     */
    public HostConfig setUrl(String url) {
        this.url = url;
        return this;
    }

    /** @return the bearer token for the server, or null */
    public String getToken() {
        return token;
    }

    /**
     * @param token the bearer token for the server, or the token of NATS. The system property {@code ali.langengine.pyexecutor.token} and the
     *     environment variable {@code PYEXEC_TOKEN} override it
     * @return this
     */
    public HostConfig setToken(String token) {
        this.token = token;
        return this;
    }

    /** @return the path of the file with the credentials for NATS, or null */
    public String getCredentials() {
        return credentials;
    }

    /**
     * @param credentials the path of a {@code .creds} file of NATS, or of a file with the seed of an nkey. Only for a URL of NATS
     * @return this
     */
    public HostConfig setCredentials(String credentials) {
        this.credentials = credentials;
        return this;
    }

    /** @return the principal whose subjects of the fleet are used; null is {@code local} */
    public String getPrincipal() {
        return principal;
    }

    /**
     * @param principal the principal whose subjects of the fleet are used, if the NATS server gives each user its own
     *     ({@code docs/scale.md}); null: {@code local}. Only for a URL of NATS
     * @return this
     */
    public HostConfig setPrincipal(String principal) {
        this.principal = principal;
        return this;
    }

    /** @return the beginning of the subjects to which the fleet answers; null is {@code _INBOX} */
    public String getInboxPrefix() {
        return inboxPrefix;
    }

    /**
     * @param inboxPrefix the beginning of the subjects to which the fleet answers, if the NATS server gives each user its own; null:
     *     {@code _INBOX}. Only for a URL of NATS
     * @return this
     */
    public HostConfig setInboxPrefix(String inboxPrefix) {
        this.inboxPrefix = inboxPrefix;
        return this;
    }

    /** @return the prefix of session ids on the server; null is a random one */
    public String getSessionPrefix() {
        return sessionPrefix;
    }

    /**
     * @param sessionPrefix the prefix of session ids on the server, where all sessions of a token share one set of ids. Null: a
     *     random prefix, so that the sessions belong to this executor only, and end when it is closed. Executors with the same
     *     prefix and token share sessions, which stay when one of them is closed. With an empty prefix the ids are unchanged
     * @return this
     */
    public HostConfig setSessionPrefix(String sessionPrefix) {
        this.sessionPrefix = sessionPrefix;
        return this;
    }

    /** @return how long the server's answer may take beyond the run's own wall-clock limit; null is no limit */
    public Duration getAnswerTimeout() {
        return answerTimeout;
    }

    /**
     * @param answerTimeout how long the server's answer to a run may take beyond the run's own wall-clock limit, its wait
     *     for a place included, before it is given up and cancelled; null: no limit
     * @return this
     */
    public HostConfig setAnswerTimeout(Duration answerTimeout) {
        this.answerTimeout = answerTimeout;
        return this;
    }

    /** @return how long a call that is refused as overloaded is repeated */
    public Duration getRetryOverloaded() {
        return retryOverloaded;
    }

    /**
     * @param retryOverloaded how long a call that is refused as overloaded is repeated, each time after the refusal's
     *     {@link PyExecutorOverloadedException#getRetryAfter()}; its code never started. Null or zero: not at all
     * @return this
     */
    public HostConfig setRetryOverloaded(Duration retryOverloaded) {
        this.retryOverloaded = retryOverloaded;
        return this;
    }

    /** @return the client for the server, or null */
    public HttpClient getHttpClient() {
        return httpClient;
    }

    /**
     * @param httpClient the client for the server, with its own certificates and proxies. It should not follow redirects, because
     *     they could send the token to another server. For a URL with {@code tls://} only its certificates are used
     *     ({@code sslContext}). Null: a client with Java's defaults
     * @return this
     */
    public HostConfig setHttpClient(HttpClient httpClient) {
        this.httpClient = httpClient;
        return this;
    }

    /** @return the executor that completes futures, or null */
    public Executor getAsyncExecutor() {
        return asyncExecutor;
    }

    /**
     * @param asyncExecutor completes the futures of {@link PyExecutor#executeAsync} and {@link PyExecutor#executeOnceAsync}:
     *     listeners, and actions that the caller adds to a future, run on it. Null: own threads, which are used again and end
     *     when they are idle
     * @return this
     */
    public HostConfig setAsyncExecutor(Executor asyncExecutor) {
        this.asyncExecutor = asyncExecutor;
        return this;
    }

    /** @return what gives each execution the caller's trace, or null */
    public Supplier<Map<String, String>> getTraceContext() {
        return traceContext;
    }

    /**
     * @param traceContext returns {@code traceparent}, and {@code tracestate} if there is one, of the caller's span (W3C Trace Context).
     *     It is called in the thread of the caller for each execution and {@code verify}, whose spans are then below the caller's. Other
     *     entries are ignored. Null: each execution is a trace of its own
     * @return this
     */
    public HostConfig setTraceContext(Supplier<Map<String, String>> traceContext) {
        this.traceContext = traceContext;
        return this;
    }

    Map<String, Object> toMap() {
        Map<String, Object> map = new LinkedHashMap<>();
        if (!allowMissing.isEmpty()) {
            map.put("allow_missing", allowMissing);
        }
        if (queueLength != null) {
            map.put("queue_length", queueLength);
        }
        if (maxConcurrent != null) {
            map.put("max_concurrent", maxConcurrent);
        }
        if (maxAsleep != null) {
            map.put("max_asleep", maxAsleep);
        }
        return map;
    }
}

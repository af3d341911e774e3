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

/**
 * Where scripts run: on this machine, with the native program found and bounded as said here (read when it starts), or
 * at a {@code pyexec serve}, which has its own bounds (read when the executor is made).
 */
public class HostConfig {
    private String executable;
    private List<String> allowMissing = new ArrayList<>();
    private Integer queueLength;
    private Integer maxConcurrent;
    private Integer maxAsleep;
    private String url;
    private String token;
    private String sessionPrefix;
    private Duration answerTimeout = Duration.ofMinutes(5);
    private Duration retryOverloaded = Duration.ofSeconds(10);
    private HttpClient httpClient;
    private Executor asyncExecutor;

    /** The defaults. */
    public HostConfig() {
    }

    /** @return the path of the native program, or null */
    public String getExecutable() {
        return executable;
    }

    /**
     * @param executable the path of the native program {@code pyexec}; null: looked up in PATH, else the one in the jar
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
     * @param maxAsleep how many executions may be in progress in addition to {@code maxConcurrent} while they sleep; 0: one that sleeps counts too
     * @return this
     */
    public HostConfig setMaxAsleep(Integer maxAsleep) {
        this.maxAsleep = maxAsleep;
        return this;
    }

    /** @return the URL of a {@code pyexec serve}, or null */
    public String getUrl() {
        return url;
    }

    /**
     * @param url {@code http[s]://HOST[:PORT][/PATH]} of a {@code pyexec serve} that is to run the scripts; null: this
     *     machine does. The system property {@code ali.langengine.pyexecutor.url} and the environment variable
     *     {@code PYEXEC_URL} come before it
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
     * @param token the bearer token for the server. The system property {@code ali.langengine.pyexecutor.token} and the
     *     environment variable {@code PYEXEC_TOKEN} come before it
     * @return this
     */
    public HostConfig setToken(String token) {
        this.token = token;
        return this;
    }

    /** @return what stands before session ids at the server; null is a random one */
    public String getSessionPrefix() {
        return sessionPrefix;
    }

    /**
     * @param sessionPrefix what stands before session ids at the server, where all sessions of a token are in one place.
     *     Null: a random prefix, so that they are this executor's alone and end when it is closed. Executors with the same
     *     prefix and token share sessions, which stay when one of them is closed; an empty one is the ids as they are
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

    /** @return how long a call that is refused as overloaded is made again */
    public Duration getRetryOverloaded() {
        return retryOverloaded;
    }

    /**
     * @param retryOverloaded how long a call that is refused as overloaded is made again, each time after the refusal's
     *     {@link PyExecutorOverloadedException#getRetryAfter()}; its code never started. Null or zero: not at all
     * @return this
     */
    public HostConfig setRetryOverloaded(Duration retryOverloaded) {
        this.retryOverloaded = retryOverloaded;
        return this;
    }

    /** @return the client that speaks to the server, or null */
    public HttpClient getHttpClient() {
        return httpClient;
    }

    /**
     * @param httpClient speaks to the server, with certificates and proxies of its own; it should not follow redirects,
     *     which could take the token elsewhere. Null: one with Java's defaults
     * @return this
     */
    public HostConfig setHttpClient(HttpClient httpClient) {
        this.httpClient = httpClient;
        return this;
    }

    /** @return what completes futures, or null */
    public Executor getAsyncExecutor() {
        return asyncExecutor;
    }

    /**
     * @param asyncExecutor completes the futures of {@link PyExecutor#executeAsync} and {@link PyExecutor#executeOnceAsync}:
     *     listeners, and what the caller makes dependent on a future, run on it. Null: threads of the executor's own, which
     *     are used again and end when they are idle
     * @return this
     */
    public HostConfig setAsyncExecutor(Executor asyncExecutor) {
        this.asyncExecutor = asyncExecutor;
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

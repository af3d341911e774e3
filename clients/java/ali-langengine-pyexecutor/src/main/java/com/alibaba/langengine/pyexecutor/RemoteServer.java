// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executor;

/**
 * What runs scripts at a URL: a {@code pyexec serve} ({@link HttpRemote}), or a fleet of {@code pyexec worker} over NATS
 * ({@link NatsRemote}). Sends requests and reads the answers. URL and token are searched in the system properties
 * {@value #URL_PROPERTY} and {@value #TOKEN_PROPERTY}, the environment variables {@value #URL_VARIABLE} and
 * {@value #TOKEN_VARIABLE}, and the configuration.
 */
abstract class RemoteServer {
    static final String URL_PROPERTY = "ali.langengine.pyexecutor.url";
    static final String TOKEN_PROPERTY = "ali.langengine.pyexecutor.token";
    static final String URL_VARIABLE = "PYEXEC_URL";
    static final String TOKEN_VARIABLE = "PYEXEC_TOKEN";
    static final Duration AT_ONCE = Duration.ofSeconds(5);
    static final String UNKNOWN = "Whether this code was executed is not known.";

    /** The URL without a password. */
    final String url;

    RemoteServer(String url) {
        this.url = url;
    }

    /**
     * A request of the HTTP API ({@code docs/http.md}).
     *
     * @param object what the body has, if it is JSON; else null
     * @param body null: none
     * @param timeout of the answer; null: none
     * @param key of all requests with it at most one starts; null: none
     */
    record Request(String method, String path, Map<String, Object> object, byte[] body, Duration timeout, String key) {
        Request(String method, String path, Duration timeout) {
            this(method, path, null, null, timeout, null);
        }

        /** A POST. */
        static Request of(String path, Map<String, Object> object, Duration timeout) {
            return of(path, object, timeout, null);
        }

        static Request of(String path, Map<String, Object> object, Duration timeout, String key) {
            byte[] body = Json.write(object).getBytes(StandardCharsets.UTF_8);
            if (body.length > Transport.REQUEST_MAX) {
                throw Failures.tooLong(path.substring(path.lastIndexOf('/') + 1));
            }
            return new Request("POST", path, object, body, timeout, key);
        }
    }

    /**
     * @param retryAfter the text of Retry-After; empty: it has none
     * @param node the node of the fleet that answered; null: there is no fleet
     */
    record Answer(int status, byte[] body, String retryAfter, String node) {
    }

    /** Null: scripts run on this machine. */
    static RemoteServer find(HostConfig host, Executor executor) {
        String url = first(System.getProperty(URL_PROPERTY), System.getenv(URL_VARIABLE), host.getUrl());
        String token = first(System.getProperty(TOKEN_PROPERTY), System.getenv(TOKEN_VARIABLE), host.getToken());
        if (url != null && scheme(url).matches("nats|tls")) {
            return fleet(url, token, host);
        }
        if (host.getCredentials() != null || host.getPrincipal() != null || host.getInboxPrefix() != null) {
            throw new IllegalArgumentException("credentials, principal and inbox prefix are only for URLs with nats:// or tls://");
        }
        return url == null ? null : new HttpRemote(url, token, host.getHttpClient(), executor);
    }

    private static RemoteServer fleet(String url, String token, HostConfig host) {
        try {
            return new NatsRemote(url, token, host);
        } catch (NoClassDefFoundError e) {
            throw new IllegalArgumentException("a URL with " + scheme(url) + ":// needs the NATS client:"
                    + " add the dependency io.nats:jnats (2.25.1 or later)", e);
        }
    }

    static String scheme(String url) {
        return url.substring(0, Math.max(0, url.indexOf(':'))).toLowerCase(Locale.ROOT);
    }

    private static String first(String... texts) {
        for (String text : texts) {
            if (text != null && !text.trim().isEmpty()) {
                return text.trim();
            }
        }
        return null;
    }

    /**
     * Sends a request. Cancelling the future cancels its run.
     *
     * @param tools answers the calls of the script; null: it has none
     */
    abstract CompletableFuture<Answer> send(Request request, ToolCalls tools);

    /** Whether requests may have keys. */
    abstract boolean takesKeys();

    /** Whether it accepts work, and this caller. */
    abstract void check() throws InterruptedException;

    /** Ends what belongs to this object. */
    abstract void close();

    /** Sends a small request, and waits for its answer. */
    byte[] ask(Request request) throws InterruptedException {
        CompletableFuture<Answer> answer = send(request, null);
        try {
            return content(answer.get());
        } catch (ExecutionException e) {
            throw failure(e.getCause());
        } catch (CancellationException e) {
            throw failure(e);
        } catch (InterruptedException e) {
            answer.cancel(true);
            throw e;
        }
    }

    /** Returns the content of a successful answer, or throws the exception that any other answer means. */
    byte[] content(Answer answer) {
        int status = answer.status();
        if (status >= 200 && status < 300) {
            return answer.body();
        }
        Map<String, Object> problem = problem(answer.body());
        if (problem == null) {
            throw new PyExecutorException("internal", url + " answered HTTP status " + status,
                    "pyexec serve does not answer in this form: check the URL, and any proxy in front of pyexec serve.");
        }
        throw failure(problem, answer);
    }

    /** Returns the exception for a problem object. */
    static RuntimeException failure(Map<String, Object> problem, Answer answer) {
        return Failures.of((String) problem.get("code"), String.valueOf(problem.get("title")),
                problem.get("hint") instanceof String hint ? hint : null,
                retryAfter(answer));
    }

    /** Returns the RFC 9457 object in an answer of pyexec. Returns null if it is not an answer of pyexec. */
    private static Map<String, Object> problem(byte[] body) {
        try {
            Map<String, Object> problem = object(body);
            return problem.get("code") instanceof String ? problem : null;
        } catch (IllegalArgumentException e) {
            return null;
        }
    }

    /** Returns the JSON object in an answer. */
    Map<String, Object> answered(byte[] body) {
        try {
            return object(body);
        } catch (IllegalArgumentException e) {
            throw unreadable(e);
        }
    }

    PyExecutorException unreadable(RuntimeException failure) {
        return new PyExecutorException("internal", url + ": an answer that can't be read: " + failure.getMessage(), UNKNOWN, failure);
    }

    static Map<String, Object> object(byte[] body) {
        return Json.parseObject(new String(body, StandardCharsets.UTF_8));
    }

    private static Duration retryAfter(Answer answer) {
        String seconds = answer.retryAfter();
        return Duration.ofSeconds(seconds.matches("[0-9]{1,9}") ? Long.parseLong(seconds) : 1);
    }

    /** Returns the reason why there is no answer. */
    PyExecutorException failure(Throwable cause) {
        if (cause instanceof PyExecutorException) {
            return (PyExecutorException) cause;
        }
        if (cause instanceof CancellationException) {
            return Failures.closed();
        }
        return new PyExecutorException("internal", why(cause), cause instanceof IOException ? UNKNOWN : null, cause);
    }

    final String why(Throwable cause) {
        return url + ": " + (cause.getMessage() == null ? cause.getClass().getSimpleName() : cause.getMessage());
    }
}

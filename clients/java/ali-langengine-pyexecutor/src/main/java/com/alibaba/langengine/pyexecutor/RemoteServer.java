// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import java.io.IOException;
import java.net.ConnectException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpConnectTimeoutException;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executor;

/**
 * A {@code pyexec serve} at a URL. Sends requests with the token, and reads the answers. URL and token are searched in the
 * system properties {@value #URL_PROPERTY} and {@value #TOKEN_PROPERTY}, the environment variables
 * {@value #URL_VARIABLE} and {@value #TOKEN_VARIABLE}, and the configuration. Redirects are not followed, because the
 * token is only for this server.
 */
final class RemoteServer {
    static final String URL_PROPERTY = "ali.langengine.pyexecutor.url";
    static final String TOKEN_PROPERTY = "ali.langengine.pyexecutor.token";
    static final String URL_VARIABLE = "PYEXEC_URL";
    static final String TOKEN_VARIABLE = "PYEXEC_TOKEN";
    private static final Duration CONNECT = Duration.ofSeconds(10);
    private static final String UNKNOWN = "Whether this code was executed is not known.";

    final String url;
    private final String token;
    private final HttpClient client;

    RemoteServer(String url, String token, HttpClient client, Executor executor) {
        this.url = checked(url);
        this.token = token;
        this.client = client != null ? client
                : HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).connectTimeout(CONNECT).executor(executor).build();
    }

    /** Null: scripts run on this machine. */
    static RemoteServer find(HostConfig host, Executor executor) {
        String url = first(System.getProperty(URL_PROPERTY), System.getenv(URL_VARIABLE), host.getUrl());
        return url == null ? null : new RemoteServer(url,
                first(System.getProperty(TOKEN_PROPERTY), System.getenv(TOKEN_VARIABLE), host.getToken()), host.getHttpClient(), executor);
    }

    private static String first(String... texts) {
        for (String text : texts) {
            if (text != null && !text.trim().isEmpty()) {
                return text.trim();
            }
        }
        return null;
    }

    private static String checked(String url) {
        String scheme = url.substring(0, Math.max(0, url.indexOf(':'))).toLowerCase(Locale.ROOT);
        if (scheme.equals("unix")) {
            throw new IllegalArgumentException("'" + url + "': Java's HTTP client can't use UNIX sockets; let pyexec serve listen on"
                    + " HOST:PORT with a token file, or leave the URL out: then a process of this machine runs the scripts");
        }
        URI uri;
        try {
            uri = URI.create(url);
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException("'" + url + "' is not a URL: " + e.getMessage(), e);
        }
        if (!(scheme.equals("http") || scheme.equals("https")) || uri.getHost() == null || uri.getRawUserInfo() != null
                || uri.getRawQuery() != null || uri.getRawFragment() != null) {
            throw new IllegalArgumentException("'" + url + "' is not the URL of a pyexec serve; accepted is http[s]://HOST[:PORT][/PATH]");
        }
        return url.replaceAll("/+$", "");
    }

    HttpRequest.Builder request(String path) {
        HttpRequest.Builder builder = HttpRequest.newBuilder(URI.create(url + path));
        return token == null ? builder : builder.header("Authorization", "Bearer " + token);
    }

    /** Cancelling the future closes the connection, which cancels a run. */
    CompletableFuture<HttpResponse<byte[]>> send(HttpRequest request) {
        return send(request, HttpResponse.BodyHandlers.ofByteArray());
    }

    /** The same, but the caller says how the body is read. */
    CompletableFuture<HttpResponse<byte[]>> send(HttpRequest request, HttpResponse.BodyHandler<byte[]> body) {
        return client.sendAsync(request, body);
    }

    /** Sends a small request, and waits for its answer. */
    byte[] ask(HttpRequest request) throws InterruptedException {
        CompletableFuture<HttpResponse<byte[]>> answer = send(request);
        try {
            return content(answer.get());
        } catch (ExecutionException e) {
            throw failure(e.getCause());
        } catch (InterruptedException e) {
            answer.cancel(true);
            throw e;
        }
    }

    /** Returns the content of a successful answer, or throws the exception that any other answer means. */
    byte[] content(HttpResponse<byte[]> response) {
        int status = response.statusCode();
        if (status >= 200 && status < 300) {
            return response.body();
        }
        Map<String, Object> problem = problem(response.body());
        if (problem == null) {
            throw new PyExecutorException("internal", url + " answered HTTP status " + status,
                    "pyexec serve does not answer in this form: check the URL, and any proxy in front of pyexec serve.");
        }
        throw failure(problem, response);
    }

    /** Returns the exception for a problem object. */
    static RuntimeException failure(Map<String, Object> problem, HttpResponse<byte[]> response) {
        return Failures.of((String) problem.get("code"), String.valueOf(problem.get("title")), (String) problem.get("hint"),
                retryAfter(response));
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

    static Map<String, Object> object(byte[] body) {
        return Json.parseObject(new String(body, StandardCharsets.UTF_8));
    }

    private static Duration retryAfter(HttpResponse<byte[]> response) {
        String seconds = response.headers().firstValue("Retry-After").orElse("");
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
        String why = url + ": " + (cause.getMessage() == null ? cause.getClass().getSimpleName() : cause.getMessage());
        boolean unreached = cause instanceof ConnectException || cause instanceof HttpConnectTimeoutException;
        if (unreached) {
            return new PyExecutorException("unreachable", why, "The code never started. Is pyexec serve running there?", cause);
        }
        return new PyExecutorException("internal", why, cause instanceof IOException ? UNKNOWN : null, cause);
    }
}

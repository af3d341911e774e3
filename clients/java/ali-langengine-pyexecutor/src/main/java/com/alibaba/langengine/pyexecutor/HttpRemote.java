// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import java.net.ConnectException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpConnectTimeoutException;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.Executor;

/** A {@code pyexec serve}. Redirects are not followed, because the token is only for this server. */
final class HttpRemote extends RemoteServer {
    private static final Duration CONNECT = Duration.ofSeconds(10);
    private static final Duration TOOL_ANSWER = Duration.ofSeconds(60);

    private final String token;
    private final HttpClient client;

    HttpRemote(String url, String token, HttpClient client, Executor executor) {
        super(checked(url));
        this.token = token;
        this.client = client != null ? client
                : HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).connectTimeout(CONNECT).executor(executor).build();
    }

    private static String checked(String url) {
        String scheme = scheme(url);
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
            throw new IllegalArgumentException("'" + url + "' is not the URL of a pyexec serve or of NATS; accepted are"
                    + " http[s]://HOST[:PORT][/PATH], nats://HOST[:PORT] and tls://HOST[:PORT]");
        }
        return url.replaceAll("/+$", "");
    }

    /** Cancelling the future closes the connection, which cancels a run. */
    @Override
    CompletableFuture<Answer> send(Request request, ToolCalls tools) {
        HttpRequest.Builder builder = HttpRequest.newBuilder(URI.create(url + request.path())).method(request.method(),
                request.body() == null ? BodyPublishers.noBody() : BodyPublishers.ofByteArray(request.body()));
        if (token != null) {
            builder.header("Authorization", "Bearer " + token);
        }
        if (request.object() != null) {
            builder.header("Content-Type", "application/json");
        }
        if (request.timeout() != null) {
            builder.timeout(request.timeout());
        }
        if (tools != null) {
            builder.header("Accept", "text/event-stream");
        }
        CompletableFuture<HttpResponse<byte[]>> sent = client.sendAsync(builder.build(),
                tools == null ? HttpResponse.BodyHandlers.ofByteArray() : EventBody.handler(call -> callTool(call, tools)));
        CompletableFuture<Answer> answer = sent.thenApply(response -> new Answer(response.statusCode(), response.body(),
                response.headers().firstValue("Retry-After").orElse(""), null));
        answer.whenComplete((given, failure) -> sent.cancel(true));
        return answer;
    }

    /** Posts the answer. A failure is ignored: the script's call then ends by its time limit or with the run. */
    private void callTool(Map<String, Object> call, ToolCalls tools) {
        tools.call(call, answer -> send(new Request("POST", "/v1/calls/" + call.get("call_id"), Map.of(),
                ToolCalls.httpBody(answer).getBytes(StandardCharsets.UTF_8), TOOL_ANSWER, null), null));
    }

    @Override
    boolean takesKeys() {
        return false;
    }

    @Override
    void check() throws InterruptedException {
        ask(new Request("GET", "/readyz", AT_ONCE));
        ask(new Request("GET", "/v1/sessions", AT_ONCE));
    }

    @Override
    void close() {
        // The HttpClient ends its connections when nobody uses it any more.
    }

    @Override
    PyExecutorException failure(Throwable cause) {
        boolean unreached = cause instanceof ConnectException || cause instanceof HttpConnectTimeoutException;
        return unreached ? new PyExecutorException("unreachable", why(cause), "The code never started. Is pyexec serve running there?", cause)
                : super.failure(cause);
    }
}

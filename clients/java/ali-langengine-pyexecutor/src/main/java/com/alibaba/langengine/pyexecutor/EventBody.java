// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import java.io.ByteArrayOutputStream;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.Flow;
import java.util.function.Consumer;

/**
 * The body of an execution whose script may call tools: server-sent events. Each tool call is passed on when it arrives. The
 * body is the data of the last event, {@code result} or {@code error}.
 */
final class EventBody implements HttpResponse.BodySubscriber<byte[]> {
    private final Consumer<Map<String, Object>> toolCalls;
    private final CompletableFuture<byte[]> body = new CompletableFuture<>();
    private final ByteArrayOutputStream line = new ByteArrayOutputStream();
    private final ByteArrayOutputStream data = new ByteArrayOutputStream();
    private String event = "";
    private byte[] last = new byte[0];

    private EventBody(Consumer<Map<String, Object>> toolCalls) {
        this.toolCalls = toolCalls;
    }

    /** Reads events if the answer has them. A refusal, or the answer of another server, is returned unchanged. */
    static HttpResponse.BodyHandler<byte[]> handler(Consumer<Map<String, Object>> toolCalls) {
        return answer -> answer.headers().firstValue("Content-Type").orElse("").startsWith("text/event-stream")
                ? new EventBody(toolCalls) : HttpResponse.BodySubscribers.ofByteArray();
    }

    @Override
    public CompletionStage<byte[]> getBody() {
        return body;
    }

    @Override
    public void onSubscribe(Flow.Subscription subscription) {
        subscription.request(Long.MAX_VALUE);
    }

    @Override
    public void onNext(List<ByteBuffer> buffers) {
        try {
            for (ByteBuffer buffer : buffers) {
                take(buffer);
            }
        } catch (RuntimeException e) {
            body.completeExceptionally(e);
        }
    }

    @Override
    public void onError(Throwable failure) {
        body.completeExceptionally(failure);
    }

    @Override
    public void onComplete() {
        body.complete(last);
    }

    private void take(ByteBuffer buffer) {
        byte[] bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        int from = 0;
        for (int i = 0; i < bytes.length; i++) {
            if (bytes[i] == '\n') {
                line.write(bytes, from, i - from);
                takeLine();
                from = i + 1;
            }
        }
        line.write(bytes, from, bytes.length - from);
    }

    /** A field of an event, or the empty line that ends it. Other fields, and comments, are ignored. */
    private void takeLine() {
        byte[] bytes = line.toByteArray();
        line.reset();
        if (bytes.length == 0) {
            takeEvent();
        } else if (starts(bytes, "event: ")) {
            event = new String(bytes, 7, bytes.length - 7, StandardCharsets.UTF_8);
        } else if (starts(bytes, "data: ")) {
            data.write(bytes, 6, bytes.length - 6);
        }
    }

    private void takeEvent() {
        if (event.equals("tool_call")) {
            toolCalls.accept(RemoteServer.object(data.toByteArray()));
        } else if (event.equals("result") || event.equals("error")) {
            last = data.toByteArray();
        }
        event = "";
        data.reset();
    }

    private static boolean starts(byte[] bytes, String prefix) {
        for (int i = 0; i < prefix.length(); i++) {
            if (i >= bytes.length || bytes[i] != prefix.charAt(i)) {
                return false;
            }
        }
        return true;
    }
}

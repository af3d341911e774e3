// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import com.alibaba.langengine.pyexecutor.RemoteServer.Answer;
import com.alibaba.langengine.pyexecutor.RemoteServer.Request;
import io.nats.client.Message;
import io.nats.client.impl.Headers;
import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.regex.Pattern;

/**
 * One request over NATS, from its first message to the last message of its answer. The thread that takes messages calls
 * {@link #take}, the timer calls {@link #tick}, and anybody may call {@link #cancel}.
 */
final class NatsExchange {
    /** Bytes of a message that are left for its headers. */
    static final int HEADROOM = 4096;
    private static final long ACCEPT_NANOS = TimeUnit.SECONDS.toNanos(30);
    private static final long QUIET_NANOS = TimeUnit.SECONDS.toNanos(1);
    private static final long SILENT_NANOS = TimeUnit.SECONDS.toNanos(30);
    /** Of messages that wait here: four of 8 MiB ahead, and the parts of the longest answer. */
    private static final long HELD_BYTES = 96 << 20;
    /** Of a message besides its content. */
    private static final int MESSAGE_BYTES = 512;
    /** Calls of tools that wait for their answers. */
    private static final int CALLS = 10000;
    private static final Pattern NUMBER = Pattern.compile("[0-9]{1,15}");
    private static final Set<String> ANSWERED = Set.of("tool_call", "tool_approval", "continue");

    /** Fails with {@link NatsLink.NoResponders}, or with the exception that the caller gets. */
    final CompletableFuture<Answer> answer = new CompletableFuture<>();
    private final NatsLink link;
    private final ToolCalls tools;
    private final byte[] body;
    private final String token;
    /** The beginning of the subjects about this request; null: no node has accepted it yet. */
    private volatile String about;
    private volatile String node;
    private volatile NatsUpload upload;
    private volatile boolean cancelled;
    /** When the last message came, or the last sign that the node still has the request. */
    private volatile long heard;
    private volatile long gone;     // since when the node does not know the request; 0: it does
    private volatile long asked;    // when the node was asked about it; 0: it has answered
    private String asking;
    private long number;            // of the next message
    private final Map<Long, Message> early = new HashMap<>();
    private Headers first;          // of a message in parts
    private ByteArrayOutputStream parts;
    private long part;              // the next one
    private long held;              // bytes of messages before their turn, and of parts
    private final AtomicInteger unanswered = new AtomicInteger();

    NatsExchange(NatsLink link, ToolCalls tools, byte[] body) {
        this.link = link;
        this.tools = tools;
        this.body = body == null ? new byte[0] : body;
        this.token = link.expect(this::take);
    }

    /** @param request has the type of the body, and the key; null: the body is JSON */
    void begin(String subject, String what, Request request) {
        // With events the node says that it has accepted the request. Only then it can be asked about it, or cancel it.
        Headers headers = new Headers().add("Accept", "text/event-stream");
        if (!what.isEmpty()) {
            headers.add("Pyexec-Call", what);
        }
        if (request != null && request.body() != null && request.object() == null) {
            headers.add("Content-Type", "application/octet-stream");
        }
        if (request != null && request.key() != null) {
            headers.add("Pyexec-Key", request.key());
        }
        heard = System.nanoTime();
        link.began(this);
        try {
            NatsUpload parted = new NatsUpload(link, body, this::unreadable);
            if (parted.count() > 1) {
                headers.add("Pyexec-Parts", String.valueOf(parted.count())).add("Pyexec-Bytes", String.valueOf(body.length));
                upload = parted;
            }
            link.publish(subject, token, headers, parted.part(0));
        } catch (PyExecutorException e) {
            fail(e);
        } catch (RuntimeException e) {
            fail(new PyExecutorException("unreachable", link.name + ": " + e.getMessage(), "The code never started.", e));
        }
    }

    private PyExecutorException lost(String why, String hint) {
        return new PyExecutorException("internal", link.name + ": " + why, hint);
    }

    void fail(Throwable failure) {
        end();
        answer.completeExceptionally(failure);
    }

    private void end() {
        link.forget(token);
        link.ended(this);
        NatsUpload parted = upload;
        if (parted != null) {
            parted.end();
        }
    }

    // ---- The answer ----

    private void take(Message message) {
        heard = System.nanoTime();
        gone = 0;
        try {
            if (message.isStatusMessage()) {
                fail(new NatsLink.NoResponders());
            } else if (message.getHeaders() != null) {
                takeInOrder(message);
            }
        } catch (PyExecutorException e) {
            giveUp(e);
        } catch (RuntimeException e) {
            unreadable(e);
        }
    }

    private void unreadable(RuntimeException failure) {
        giveUp(lost("an answer that can't be read: " + failure.getMessage(), RemoteServer.UNKNOWN));
    }

    /** Fails, and ends the run if its node is known. */
    private void giveUp(PyExecutorException failure) {
        fail(failure);
        if (about != null) {
            sendCancel();
        }
    }

    static long number(Headers headers, String name) {
        String text = headers.getFirst(name);
        if (text == null || !NUMBER.matcher(text).matches()) {
            throw new IllegalArgumentException(name + " is not a number");
        }
        return Long.parseLong(text);
    }

    /** Counts bytes that wait; or do not wait any more, if they are negative. */
    private void hold(long bytes) {
        held += bytes;
        if (held > HELD_BYTES) {
            throw lost("the node sends more than it may without an acknowledgement", RemoteServer.UNKNOWN);
        }
    }

    private static long cost(Message message) {
        return MESSAGE_BYTES + message.getData().length + message.getHeaders().serializedLength();
    }

    private void takeInOrder(Message message) {
        if (!message.getHeaders().containsKey("Pyexec-Seq")) {
            takeNext(message);
            return;
        }
        long sequence = number(message.getHeaders(), "Pyexec-Seq");
        if (sequence < number) {        // it has come before, but its acknowledgement may be lost
            acknowledge(message);
        } else if (early.putIfAbsent(sequence, message) == null) {
            hold(cost(message));
            for (Message next = early.remove(number); next != null; next = early.remove(number)) {
                hold(-cost(next));
                number++;
                takeNext(next);
            }
        }
    }

    /** The other messages with a reply subject want an answer that is not empty. */
    private void acknowledge(Message message) {
        Headers headers = message.getHeaders();
        if (message.getReplyTo() != null && (headers.containsKey("Pyexec-Part") || !ANSWERED.contains(event(headers)))) {
            link.tryPublish(message.getReplyTo(), null, null, null);
        }
    }

    private static String event(Headers headers) {
        String name = headers.getFirst("Pyexec-Event");
        return name == null ? "" : name;
    }

    private void takeNext(Message message) {
        acknowledge(message);
        Headers headers = message.getHeaders();
        if (!headers.containsKey("Pyexec-Part")) {
            takeWhole(headers, message.getData(), message.getReplyTo());
            return;
        }
        if (parts == null) {
            first = headers;
            parts = new ByteArrayOutputStream();
            part = 0;
        }
        if (number(headers, "Pyexec-Part") != part++) {
            throw new IllegalArgumentException("Pyexec-Part is not the next one");
        }
        hold(message.getData().length);
        parts.writeBytes(message.getData());
        if (part >= number(first, "Pyexec-Parts")) {
            byte[] whole = parts.toByteArray();
            parts = null;
            hold(-whole.length);
            takeWhole(first, whole, null);
        }
    }

    private void takeWhole(Headers headers, byte[] data, String reply) {
        String status = headers.getFirst("Pyexec-Status");
        String event = event(headers);
        if (status != null) {
            int code = (int) number(headers, "Pyexec-Status");
            String retryAfter = headers.getFirst("Retry-After");
            String owner = headers.getFirst("Pyexec-Node");
            if (owner != null && !NatsLink.isName(owner)) {
                throw new IllegalArgumentException("Pyexec-Node is not a name");
            }
            end();
            answer.complete(new Answer(code, data, retryAfter == null ? "" : retryAfter, owner));
        } else if (event.equals("accepted")) {
            Map<String, Object> told = RemoteServer.object(data);
            if (!NatsLink.isName(told.get("node")) || !NatsLink.isName(told.get("request"))) {
                throw new IllegalArgumentException("node or request is not a name");
            }
            node = (String) told.get("node");
            about = "pyexec.v1.node." + node + ".r." + told.get("request");
            if (cancelled) {
                sendCancel();
            }
        } else if (event.equals("continue") && upload != null) {
            upload.begin(reply);
        } else if (event.equals("tool_call") && tools != null) {
            Map<String, Object> call = RemoteServer.object(data);
            if (!(call.get("call_id") instanceof String)) {
                throw new IllegalArgumentException("a tool call without an id");
            }
            if (unanswered.incrementAndGet() > CALLS) {
                throw lost("the node sends more calls of tools than a client takes", RemoteServer.UNKNOWN);
            }
            link.execute(() -> tools.call(call, given -> answerTool(call, given, reply)));
        }
    }

    /**
     * Answers a tool call. Its reply subject takes no parts, and a call in parts has none, so these answers go to the node. A failure is
     * ignored: the script's call then ends by its time limit or with the run.
     */
    private void answerTool(Map<String, Object> call, ToolCalls.Answer given, String reply) {
        unanswered.decrementAndGet();
        byte[] content = ToolCalls.httpBody(given).getBytes(StandardCharsets.UTF_8);
        boolean direct = reply != null && content.length <= link.room();
        NatsExchange posted = new NatsExchange(link, null, content);
        posted.begin(direct ? reply : "pyexec.v1.node." + node + ".p." + link.principal, direct ? "" : "POST /v1/calls/" + call.get("call_id"), null);
    }

    // ---- Cancelling, and looking whether the request is still in progress ----

    /** Cancels the run, at once or when its node is known. */
    void cancel() {
        if (answer.isDone()) {
            return;
        }
        cancelled = true;
        if (about != null) {
            sendCancel();
        }
        answer.cancel(false);
    }

    private void sendCancel() {
        end();
        link.tryPublish(about + ".cancel", null, null, null);
    }

    void tick(long now) {
        NatsUpload parted = upload;
        if (about == null || cancelled) {
            if (now - heard > ACCEPT_NANOS) {
                fail(lost("no worker has answered for 30 seconds", RemoteServer.UNKNOWN));
            }
        } else if (gone != 0) {
            if (now - gone > QUIET_NANOS) {     // the last message was perhaps on its way, but it did not come
                boolean whole = parted == null || parted.isSent();
                fail(lost("the node is gone, or a message of the answer was lost", whole ? RemoteServer.UNKNOWN : "The code never started."));
            }
        } else if (now - heard > SILENT_NANOS) {
            fail(lost("the node has not answered for 30 seconds", RemoteServer.UNKNOWN));
        } else if (now - heard > QUIET_NANOS && (asked == 0 || now - asked > 2 * QUIET_NANOS)) {
            ping(now);
        }
        if (parted != null) {
            parted.tick(now);
        }
    }

    private void ping(long now) {
        link.forget(asking);
        asked = now;
        asking = link.expect(message -> {
            asked = 0;
            Headers headers = message.getHeaders();
            if (!message.isStatusMessage() && headers != null && "204".equals(headers.getFirst("Pyexec-Status"))) {
                heard = System.nanoTime();
            } else {
                gone = System.nanoTime();
            }
        });
        link.tryPublish(about + ".ping", asking, null, null);
    }
}

// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import io.nats.client.Message;
import io.nats.client.impl.Headers;
import java.util.Arrays;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;

/**
 * The body of a request in parts. The first one is in the first message. The node takes the others in their order, and answers each. At most
 * four are without an answer; if the next one to be answered is late, they are sent again.
 */
final class NatsUpload {
    private static final int AHEAD = 4;
    private static final long LATE_NANOS = TimeUnit.SECONDS.toNanos(2);

    private final NatsLink link;
    private final byte[] body;
    private final Consumer<RuntimeException> failed;
    private final int room;
    private final int count;
    private String subject;
    private String token;
    private int arrived = 1;    // parts that the node has
    private int sent = 1;
    private long moved;

    /** @param failed takes the reason why an answer can't be read */
    NatsUpload(NatsLink link, byte[] body, Consumer<RuntimeException> failed) {
        this.failed = failed;
        this.link = link;
        this.body = body;
        this.room = link.room();
        this.count = Math.max(1, (body.length + room - 1) / room);
    }

    int count() {
        return count;
    }

    byte[] part(int number) {
        return count == 1 ? body : Arrays.copyOfRange(body, number * room, Math.min(body.length, (number + 1) * room));
    }

    /** Whether the last part was sent, so that the request may have begun. */
    synchronized boolean isSent() {
        return sent == count;
    }

    /** @param to the subject for the other parts */
    synchronized void begin(String to) {
        if (subject == null) {
            subject = to;
            token = link.expect(this::take);
            send();
        }
    }

    synchronized void end() {
        link.forget(token);
        subject = null;
    }

    private void send() {
        moved = System.nanoTime();
        while (sent < count && sent < arrived + AHEAD) {
            link.tryPublish(subject, token, new Headers().add("Pyexec-Part", String.valueOf(sent)), part(sent));
            sent++;
        }
    }

    private synchronized void take(Message answer) {
        if (subject == null || answer.getHeaders() == null || !answer.getHeaders().containsKey("Pyexec-Part")) {
            return;
        }
        try {
            long number = NatsExchange.number(answer.getHeaders(), "Pyexec-Part");
            if (number >= sent) {
                throw new IllegalArgumentException("part " + number + " was not sent");
            }
            if (number >= arrived) {
                arrived = (int) number + 1;
                send();
            }
        } catch (IllegalArgumentException e) {
            failed.accept(e);
        }
    }

    synchronized void tick(long now) {
        if (subject != null && arrived < count && now - moved > LATE_NANOS) {
            sent = arrived;
            send();
        }
    }
}

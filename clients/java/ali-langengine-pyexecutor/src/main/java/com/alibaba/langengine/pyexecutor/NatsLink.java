// SPDX-License-Identifier: Apache-2.0
package com.alibaba.langengine.pyexecutor;

import io.nats.client.AuthHandler;
import io.nats.client.Connection;
import io.nats.client.ErrorListener;
import io.nats.client.Message;
import io.nats.client.Nats;
import io.nats.client.Options;
import io.nats.client.impl.Headers;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Paths;
import java.security.GeneralSecurityException;
import java.time.Duration;
import java.util.Arrays;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.Consumer;
import java.util.regex.Pattern;
import javax.net.ssl.SSLContext;

/**
 * The connection to NATS, with jnats. It is made at the first request, and made again when it breaks. All answers come to subjects below
 * one inbox, also those of requests that were sent before it broke; the last token of the subject says for whom a message is. One thread
 * takes the messages, so what it calls does not wait.
 */
final class NatsLink {
    private static final Duration CONNECT = Duration.ofSeconds(10);
    private static final Duration CONNECT_ONE = Duration.ofSeconds(3);
    private static final Duration PING = Duration.ofSeconds(10);
    private static final Duration LOOK = Duration.ofMillis(100);
    private static final long TICK_MILLIS = 500;
    private static final Duration DISCOVER = Duration.ofMillis(300);
    private static final long PENDING_MAX = 1 << 30;
    private static final Pattern NAME = Pattern.compile("[A-Za-z0-9_-]{1,200}");

    /** Nobody listens to the subject, so nothing was started. */
    static final class NoResponders extends Exception {
        private static final long serialVersionUID = 1L;

        NoResponders() {
            super("no responders", null, false, false);
        }
    }

    /** The name of the servers, for messages. */
    final String name;
    /** The principal, as subjects have it. */
    final String principal;
    private final Options options;
    private final ThreadPoolExecutor threads = AsyncExecutor.threads("pyexec-nats");
    private final ScheduledThreadPoolExecutor timer;
    private final Map<String, Consumer<Message>> takers = new ConcurrentHashMap<>();
    private final Set<NatsExchange> exchanges = ConcurrentHashMap.newKeySet();
    private final AtomicLong tokens = new AtomicLong();
    private final ReentrantLock opening = new ReentrantLock();
    private final String inbox;
    private CompletableFuture<Void> opened;
    private boolean closed;
    private volatile Connection connection;

    NatsLink(String name, String principal, String[] servers, String token, HostConfig host) {
        this.name = name;
        this.principal = principal;
        this.inbox = (host.getInboxPrefix() == null ? "_INBOX" : host.getInboxPrefix()) + "." + UUID.randomUUID().toString().replace("-", "") + ".";
        this.timer = new ScheduledThreadPoolExecutor(1, threads.getThreadFactory());
        timer.setRemoveOnCancelPolicy(true);
        Options.Builder builder = new Options.Builder().connectionName("pyexec").connectionTimeout(CONNECT_ONE).noReconnect()
                .pingInterval(PING).executor(threads).connectExecutor(threads).callbackExecutor(threads).scheduledExecutor(timer)
                .errorListener(new ErrorListener() {
                });
        if (host.getCredentials() != null) {
            builder.authHandler(credentials(host.getCredentials()));
        } else if (token != null) {
            builder.token(token.toCharArray());
        }
        if (Arrays.stream(servers).anyMatch(server -> RemoteServer.scheme(server).equals("tls"))) {
            builder.noResolveHostnames().sslContext(NatsTls.checkingNames(tls(host)));
        }
        try {
            this.options = builder.servers(servers).build();
        } catch (IllegalArgumentException e) {      // its message has the password
            throw new IllegalArgumentException("'" + name + "' is not the URL of NATS; accepted are nats://[USER:PASSWORD@]HOST[:PORT] and tls://…");
        }
    }

    private static SSLContext tls(HostConfig host) {
        try {
            return host.getHttpClient() == null ? SSLContext.getDefault() : host.getHttpClient().sslContext();
        } catch (GeneralSecurityException e) {
            throw new IllegalArgumentException("TLS: " + e.getMessage(), e);
        }
    }

    /** The file has a user's JWT and the seed of its nkey, or only the seed. */
    private static AuthHandler credentials(String path) {
        try {
            String text = Files.readString(Paths.get(path)).trim();
            return text.startsWith("SU") ? Nats.staticCredentials(null, text.toCharArray()) : Nats.credentials(path);
        } catch (IOException e) {
            throw new IllegalArgumentException("credentials '" + path + "': can't be read: " + e, e);
        }
    }

    // ---- The connection ----

    /**
     * Completes when there is a connection. Fails when there is none; nothing was sent then. A connection that was lost is made again
     * for a while, the first one is not.
     */
    CompletableFuture<Void> connected() {
        return isConnected() ? CompletableFuture.completedFuture(null) : connected(System.nanoTime() + CONNECT.toNanos());
    }

    private boolean isConnected() {
        Connection current = connection;
        return current != null && current.getStatus() == Connection.Status.CONNECTED;
    }

    private CompletableFuture<Void> connected(long end) {
        return opened().exceptionallyCompose(failure -> connection == null || System.nanoTime() - end > 0
                ? CompletableFuture.failedFuture(NatsRemote.cause(failure)) : sleep(LOOK).thenCompose(waited -> connected(end)));
    }

    private CompletableFuture<Void> opened() {
        opening.lock();
        try {
            if (closed) {
                return CompletableFuture.failedFuture(Failures.closed());
            }
            if (opened == null || opened.isDone() && !isConnected()) {
                opened = CompletableFuture.runAsync(this::connect, threads);
            }
            return opened;
        } finally {
            opening.unlock();
        }
    }

    /** jnats could make a connection again by itself. But then a thread of the lost one may take messages of the new one, and lose them. */
    private void connect() {
        try {
            Connection made = Nats.connect(options);
            made.createDispatcher(this::take).subscribe(inbox + "*").setPendingLimits(-1, PENDING_MAX);
            boolean isFirst = connection == null;
            connection = made;
            if (isFirst) {
                timer.scheduleAtFixedRate(this::tick, TICK_MILLIS, TICK_MILLIS, TimeUnit.MILLISECONDS);
            }
        } catch (InterruptedException e) {
            throw Failures.closed();
        } catch (IOException | IllegalArgumentException | IllegalStateException e) {
            // Without the cause: its message may have the URL with the password.
            String why = String.valueOf(e.getMessage()).replaceAll("//[^/@\\s]*@", "//");
            throw new PyExecutorException("unreachable", name + ": " + why,
                    "Check that a NATS server listens there and that it lets this client in. The code never started.");
        }
    }

    /** Completes after this time. */
    CompletableFuture<Void> sleep(Duration time) {
        return CompletableFuture.runAsync(() -> {
        }, CompletableFuture.delayedExecutor(time.toMillis(), TimeUnit.MILLISECONDS, threads));
    }

    /** Ends the connection and its threads. Requests in progress fail. */
    void close() {
        CompletableFuture<Void> last;
        opening.lock();
        try {
            if (closed) {
                return;
            }
            closed = true;
            last = opened == null ? CompletableFuture.completedFuture(null) : opened;
        } finally {
            opening.unlock();
        }
        exchanges.forEach(exchange -> exchange.fail(Failures.closed()));
        last.whenComplete((made, failure) -> end());
    }

    private void end() {
        boolean interrupted = Thread.interrupted();
        Connection last = connection;
        if (isConnected()) {
            interrupted |= !done(() -> last.flush(CONNECT_ONE));    // what cancels runs
        }
        if (last != null) {
            interrupted |= !done(last::close);
        }
        timer.shutdownNow();
        threads.shutdown();
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    private interface Step {
        void make() throws InterruptedException, TimeoutException;
    }

    /** Returns whether this thread was not interrupted. */
    private static boolean done(Step step) {
        try {
            step.make();
        } catch (TimeoutException | IllegalStateException e) {
            // The server does not answer, or the connection is closed.
        } catch (InterruptedException e) {
            return false;
        }
        return true;
    }

    // ---- Messages ----

    private void take(Message message) {
        String subject = message.getSubject();
        Consumer<Message> taker = takers.get(subject.substring(subject.lastIndexOf('.') + 1));
        if (taker != null) {
            taker.accept(message);
        }
    }

    /** Whether a name from an answer may be a part of a subject. */
    static boolean isName(Object text) {
        return text instanceof String name && NAME.matcher(name).matches();
    }

    /** Returns a token of an answer's subject. Messages to it go to the taker until it is forgotten. */
    String expect(Consumer<Message> taker) {
        String token = Long.toString(tokens.incrementAndGet(), Character.MAX_RADIX);
        takers.put(token, taker);
        return token;
    }

    void forget(String token) {
        if (token != null) {
            takers.remove(token);
        }
    }

    /** Sends a message, or does nothing if there is no connection. What is not sent is sent again later, or is missed by the other side. */
    void tryPublish(String subject, String token, Headers headers, byte[] body) {
        try {
            publish(subject, token, headers, body);
        } catch (IllegalStateException e) {
            // There is no connection.
        }
    }

    /** Sends a message whose answers are those of a token; null: it has none. */
    void publish(String subject, String token, Headers headers, byte[] body) {
        connection.publish(subject, token == null ? null : inbox + token, headers, body);
    }

    /** The longest body of a message. */
    int room() {
        long most = connection.getMaxPayload();
        if (most <= NatsExchange.HEADROOM) {
            throw new PyExecutorException("unreachable", name + ": the NATS server takes messages of at most " + most + " bytes (max_payload)",
                    "pyexec needs more than " + NatsExchange.HEADROOM + ": set max_payload of the NATS server. The code never started.");
        }
        return (int) Math.min(most, Integer.MAX_VALUE) - NatsExchange.HEADROOM;
    }

    /** Runs what may take longer than a thread of messages can wait. */
    void execute(Runnable command) {
        threads.execute(command);
    }

    void began(NatsExchange exchange) {
        exchanges.add(exchange);
    }

    void ended(NatsExchange exchange) {
        exchanges.remove(exchange);
    }

    private void tick() {
        long now = System.nanoTime();
        if (!exchanges.isEmpty() && !isConnected()) {
            opened();
        }
        for (NatsExchange exchange : exchanges) {
            try {
                exchange.tick(now);
            } catch (RuntimeException e) {      // it would end the timer
                exchange.fail(e);
            }
        }
    }

    /** Asks which nodes there are. Those that are known are among them, because their answers may come late. */
    CompletableFuture<Set<String>> discover(Set<String> known) {
        Set<String> found = ConcurrentHashMap.newKeySet();
        found.addAll(known);
        String token = expect(message -> {
            if (!message.isStatusMessage() && RemoteServer.object(message.getData()).get("id") instanceof String node && isName(node)) {
                found.add(node);
            }
        });
        publish("$SRV.PING.pyexec", token, null, null);
        return sleep(DISCOVER).thenApply(waited -> {
            forget(token);
            return new TreeSet<>(found);
        });
    }
}

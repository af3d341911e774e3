package com.alibaba.langengine.pyexecutor;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.math.BigInteger;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Assumptions;

/**
 * Starts a {@code pyexec serve} on TCP with one principal, or a {@code pyexec worker} that also serves HTTP, and ends it. Tests of other
 * packages use it too.
 */
public final class Serve implements AutoCloseable {
    public static final String TOKEN = "token-of-the-tests";
    private static final HttpClient CLIENT = HttpClient.newHttpClient();
    static final String[] WIDE = {"--files", "full", "--any-import", "--forkable", "--auto-checkpoint", "--no-block-dunder-imports", "--timeout", "1h",
        "--cpu-time-seconds", "none"};

    private final Path folder;
    private final Process process;
    private final StringBuffer log = new StringBuffer();
    public final String url;

    /** Starts a server with these environment variables and flags. */
    public Serve(Map<String, String> environment, String... flags) throws Exception {
        this(0, "", environment, flags);
    }

    /** Starts a server on this port. `principal`: settings in the line of the token file. */
    Serve(int port, String principal, Map<String, String> environment, String... flags) throws Exception {
        this(List.of("serve", "--listen", "127.0.0.1:" + port), "", principal, environment, flags);
    }

    /** `ready`: what the last line of its start has. `principal`: as above, or lines of the token file. */
    Serve(List<String> words, String ready, String principal, Map<String, String> environment, String... flags) throws Exception {
        ProcessBuilder command = program(words.get(0)).command(words.toArray(String[]::new));
        command.command().addAll(List.of("--config", "/dev/null"));
        folder = Files.createTempDirectory("pyexec-serve");
        Path tokens = folder.resolve("tokens");
        String hash = String.format("%064x", new BigInteger(1, MessageDigest.getInstance("SHA-256").digest(TOKEN.getBytes())));
        Files.write(tokens, ("java sha256:" + hash + " " + principal + "\n").getBytes());
        command.command().addAll(List.of("--token-file", tokens.toString()));
        command.command().addAll(Arrays.asList(flags));
        command.environment().putAll(environment);
        process = command.redirectErrorStream(true).start();
        process.getOutputStream().close();
        BufferedReader out = new BufferedReader(new InputStreamReader(process.getInputStream()));
        Matcher address = null;
        boolean done = false;
        for (String line = out.readLine(); line != null; line = done && address != null ? null : out.readLine()) {
            log.append(line).append('\n');
            Matcher found = Pattern.compile("listening.*(127\\.0\\.0\\.1:[0-9]+)").matcher(line);
            address = found.find() ? found : address;
            done |= line.contains(ready);
        }
        if (address == null || !done) {
            throw new AssertionError("the server does not start: " + log);
        }
        url = "http://" + address.group(1);
        Thread reader = new Thread(() -> {
            try (out) {
                for (String line = out.readLine(); line != null; line = out.readLine()) {
                    log.append(line).append('\n');
                }
            } catch (IOException e) {
                // The server has ended.
            }
        });
        reader.setDaemon(true);
        reader.start();
    }

    private static NativeProgram program(String command) {
        Path path = Path.of(System.getProperty("pyexec.server", "")).normalize();
        Path worker = path.resolveSibling(path.getFileName() + "-worker");
        Assumptions.assumeTrue(command.equals("serve") || Files.isExecutable(worker), () -> "no worker: " + worker + " is not a program");
        Assumptions.assumeTrue(Files.isExecutable(path), () -> "no server: " + path + " is not a program (make it, or set pyexec.server)");
        return new NativeProgram(path, false);
    }

    static Serve wide(Map<String, String> environment) throws Exception {
        return new Serve(environment, WIDE);
    }

    HostConfig host() {
        return new HostConfig().setUrl(url).setToken(TOKEN);
    }

    int port() {
        return URI.create(url).getPort();
    }

    /** Returns the value of a metric; 0 if the server does not have it. */
    public int metric(String name) throws Exception {
        HttpRequest request = HttpRequest.newBuilder(URI.create(url + "/metrics")).header("Authorization", "Bearer " + TOKEN).build();
        String page = CLIENT.send(request, HttpResponse.BodyHandlers.ofString()).body();
        Matcher value = Pattern.compile("(?m)^" + Pattern.quote(name) + " ([0-9]+)").matcher(page);
        return value.find() ? Integer.parseInt(value.group(1)) : 0;
    }

    /** What it has written. */
    String log() {
        return log.toString();
    }

    /** Kills it, or ends it, and waits for its end. */
    void end(boolean kill) {
        if (kill) {
            process.destroyForcibly();
        } else {
            process.destroy();
        }
        process.onExit().orTimeout(60, TimeUnit.SECONDS).join();
    }

    @Override
    public void close() throws IOException {
        process.destroy();
        process.onExit().orTimeout(60, TimeUnit.SECONDS).join();
        Files.deleteIfExists(folder.resolve("tokens"));
        Files.delete(folder);
    }

    /** Servers with a wide ceiling. */
    static final class Remote extends HostPerConfig<Serve> {
        @Override
        Serve start(Map<String, String> environment) throws Exception {
            return wide(environment);
        }

        @Override
        HostConfig config(Serve serve) {
            return serve.host();
        }

        @Override
        int metric(Serve serve, String name) throws Exception {
            return serve.metric(name);
        }
    }
}
